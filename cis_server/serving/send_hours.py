"""When a channel may be used on the lead's clock: campaign hours, channel windows, weekends.

Facts of the consumption sheet, section 3: business hours are Monday to Friday 9-17 unless the
campaign has its own; e-mail goes out 9:00-10:59 and LinkedIn messages 9-11 and 13-14 on weekdays,
never outside (reach is raised by more sending domains, not by longer windows).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cis_server.domain.clients import CampaignRecord

WEEKDAYS: Final = frozenset({1, 2, 3, 4, 5})
WEEKEND: Final = frozenset({6, 7})
DAY_MINUTES: Final = 24 * 60

Span = tuple[int, int]
"""Minutes of the local day, [start, end), 0..1440."""


@dataclass(frozen=True, slots=True)
class SendHours:
    """Local weekdays and minutes of the day in which sending is allowed."""

    days: frozenset[int]
    """ISO weekdays, never empty."""
    spans: tuple[Span, ...]
    """Ascending and disjoint, never empty."""

    def by_hour(self) -> tuple[tuple[int, int, int], ...]:
        """The spans cut at full hours: (hour, first minute of the day, minute after the last)."""
        return tuple(
            (hour, max(start, hour * 60), min(end, hour * 60 + 60))
            for start, end in self.spans
            for hour in range(start // 60, (end + 59) // 60)
        )


BUSINESS_HOURS: Final = SendHours(WEEKDAYS, ((9 * 60, 17 * 60),))

CHANNEL_WINDOWS: Final[Mapping[str, SendHours]] = MappingProxyType(
    {
        "email": SendHours(WEEKDAYS, ((9 * 60, 11 * 60),)),
        "linkedin": SendHours(WEEKDAYS, ((9 * 60, 11 * 60), (13 * 60, 14 * 60))),
    }
)


def send_hours(
    channel: str | None,
    campaign: CampaignRecord | None,
    learned_days: frozenset[int],
    *,
    zone_assumed: bool,
) -> SendHours:
    """Where a touch may be placed.

    Args:
        channel: whose window counts; None or a channel without one: no window.
        campaign: its work hours and days replace the business hours; None: Monday to Friday 9-17,
            and a weekend day too when it is among the best learned ones.
        learned_days: best learned weekdays.
        zone_assumed: whether the lead's zone is only assumed; 20:00 there may be the middle of the
            lead's night, so that work hours keep to 9-17 and are 9-17 where the two do not meet.

    Returns:
        Work hours inside the channel's window. Where the two do not meet, the campaign's hours
        stand: they were set by a person for this campaign.
    """
    work = _campaign_hours(campaign, learned_days)
    if zone_assumed:
        cautious = BUSINESS_HOURS.spans
        work = SendHours(work.days, _common(work.spans, cautious) or cautious)
    window = CHANNEL_WINDOWS.get(channel or "")
    if window is None:
        return work
    return SendHours(
        work.days & window.days or work.days, _common(work.spans, window.spans) or work.spans
    )


def _common(spans: tuple[Span, ...], others: tuple[Span, ...]) -> tuple[Span, ...]:
    return tuple(
        (max(a, c), min(b, d)) for a, b in spans for c, d in others if max(a, c) < min(b, d)
    )


def _campaign_hours(campaign: CampaignRecord | None, learned_days: frozenset[int]) -> SendHours:
    if campaign is None:
        return SendHours(WEEKDAYS | (learned_days & WEEKEND), BUSINESS_HOURS.spans)
    start, end = _minute(campaign.work_hours_start), _minute(campaign.work_hours_end)
    if start < end:
        spans: tuple[Span, ...] = ((start, end),)
    elif start == end:
        spans = ((0, DAY_MINUTES),)
    else:  # over midnight; an end of 00:00 is the end of the day
        spans = tuple(span for span in ((0, end), (start, DAY_MINUTES)) if span[0] < span[1])
    days = frozenset(day for day in campaign.work_days if 1 <= day <= 7)
    return SendHours(days or WEEKDAYS, spans)


def _minute(time: dt.time) -> int:
    return time.hour * 60 + time.minute
