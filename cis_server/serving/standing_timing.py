"""GetTiming's answer for as long as it stays the same but for the clock.

Between two moments at which something happens (a window begins or has too little left, the day
turns, the pattern runs out) an answer about no lead in particular changes in nothing but where a
window under way begins, which instant is drawn from the first window, and the number drawn into the
decision's id. So it is worked out once and holds until the next such moment; `timing.timing_answer`
is what it must equal at every instant in between.

The order of windows holds meanwhile: waiting costs every window that has not begun the same factor,
so that only one under way, whose delay stays 0, can be overtaken; when is solved for.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.model_info import ModelInfo
from cis_server.serving.answers import TimingAnswer
from cis_server.serving.draws import DecisionIds, Draws, frame, framed
from cis_server.serving.slots import LEAST_REMAINDER, Slot
from cis_server.serving.timing import (
    DELAY_COST_PER_DAY,
    LeadZone,
    TimingRequest,
    by_worth,
    first_touch_slots,
    inside,
    lead_zone,
    slot_choices,
    timing_answer,
    worth,
)
from cis_server.serving.timing_plan import TimingPlan

# Worths closer than this could change places by rounding alone; such an answer is not kept.
_DISTINCT: Final = 1e-9
_MARGIN: Final = dt.timedelta(seconds=1)
_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TimingMoment:
    """What of an answer follows the clock and the draws."""

    decision_id: str
    next_send_time: dt.datetime
    start: dt.datetime | None
    """Of the window under way; None when none of the answer's is."""
    local_start: str
    """`start` on the lead's clock; empty for None."""


@dataclass(frozen=True, slots=True)
class TimingMoments:
    """Gives the moment of an answer at any instant while it holds."""

    since: dt.datetime
    until: dt.datetime
    """First instant at which the answer must be worked out again."""
    under_way: int | None
    """Which of the answer's windows is under way."""
    first: Slot
    zone: LeadZone
    ids: DecisionIds
    later_parts: bytes
    """Of the decision's identity, framed: what stands behind the drawn number."""

    def holds(self, now: dt.datetime) -> bool:
        """Whether the answer may be given at `now`."""
        return self.since <= now < self.until

    def at(self, now: dt.datetime, draws: Draws) -> TimingMoment:
        """The moment at `now`, at which the answer must hold; draws as `timing_answer` does."""
        first, start, local_start = self.first, None, ""
        if self.under_way is not None:
            start = now
            local_start = now.astimezone(self.zone.zone).isoformat(timespec="seconds")
            if self.under_way == 0:
                first = Slot(now, first.end, first.nominal_start, first.cell)
        identity = self.ids.of_framed(frame(str(draws.random())) + self.later_parts)
        return TimingMoment(identity, inside(first, draws), start, local_start)


@dataclass(frozen=True, slots=True)
class StandingTiming:
    """An answer and what of it changes meanwhile."""

    answer: TimingAnswer
    """As of `moments.since`, with an identity of no meaning."""
    moments: TimingMoments

    def as_of(self, now: dt.datetime, draws: Draws) -> TimingAnswer:
        """The whole answer at `now`, at which it must hold."""
        moment = self.moments.at(now, draws)
        windows = list(self.answer.windows)
        if moment.start is not None:
            under_way = self.moments.under_way or 0
            windows[under_way] = replace(
                windows[under_way], start=moment.start, local_start=moment.local_start
            )
        return replace(
            self.answer,
            windows=tuple(windows),
            next_send_time=moment.next_send_time,
            decision_id=moment.decision_id,
        )


def standing_timing(
    plan: TimingPlan,
    request: TimingRequest,
    client: ClientRecord,
    campaign: CampaignRecord | None,
    model: ModelInfo,
    now: dt.datetime,
) -> StandingTiming | None:
    """The answer from `now` on; arguments as of `timing.timing_answer`.

    Returns:
        None where every call must be worked out by itself: for a lead, for instants that the
        request names, under exploration, and in the second in which two windows change places.
    """
    if (
        request.lead_id is not None
        or request.last_touch_time is not None
        or request.last_contact_time is not None
        or request.earliest_time is not None
        or client.policy.exploration_share > 0.0
    ):
        return None
    now = now.astimezone(dt.UTC)
    zone = lead_zone(request, campaign, client)
    choices = slot_choices(plan.channel(request.channel), request, campaign, zone)
    slots = by_worth(first_touch_slots(choices, zone.zone, now, request.count), now)
    until = _until(slots, request.count, now)
    if model.valid_until is not None and model.valid_until > now:
        until = min(until, model.valid_until)
    until = _same_day(zone, now, until)
    if until <= now:
        return None
    answer, _ = timing_answer(plan, request, client, campaign, model, now, _NoDraws())
    place = next((n for n, s in enumerate(slots[: request.count]) if s.start <= now), None)
    return StandingTiming(
        answer,
        TimingMoments(
            since=now,
            until=until,
            under_way=place,
            first=slots[0],
            zone=zone,
            ids=DecisionIds("timing", request.client_id),
            later_parts=framed(
                request.channel or "",
                request.campaign_id or "",
                str(request.touch_number or 0),
                model.model_version,
                slots[0].nominal_start.isoformat(),
            ),
        ),
    )


class _NoDraws:
    """For an answer whose drawn parts are replaced."""

    def random(self) -> float:
        return 0.0


def _until(slots: list[Slot], count: int, now: dt.datetime) -> dt.datetime:
    """Until when the first `count` of all slots are the same in the same order; `now`: not at all.

    Args:
        slots: every one that was to be chosen from, best first.
        count: how many are shown.
        now: UTC.
    """
    worths = [worth(slot, now) for slot in slots[: count + 1]]
    under_way = [place for place, slot in enumerate(slots) if slot.start <= now]
    if len(under_way) > 1 or any(a - b <= _DISTINCT * a for a, b in pairwise(worths)):
        return now
    until = min((slot.start for slot in slots if slot.start > now), default=now + _DAY)
    for place in under_way:
        until = min(until, slots[place].end - LEAST_REMAINDER)
        if place < min(count, len(slots) - 1):
            # One that is not shown only falls further behind, and nothing overtakes the last one.
            until = min(until, _overtaken(slots[place], slots[place + 1]))
    return until


def _overtaken(slot: Slot, behind: Slot) -> dt.datetime:
    """When a slot that is waited for comes to be worth as much as the one under way.

    p_u = p_b (1 - d) ** days, solved for the days left until the later one begins.
    """
    ratio = slot.cell.preference / behind.cell.preference
    if ratio >= 1.0:
        return behind.start
    days = math.log(ratio) / math.log(1.0 - DELAY_COST_PER_DAY)
    return behind.start - dt.timedelta(days=days) - _MARGIN


def _same_day(zone: LeadZone, now: dt.datetime, until: dt.datetime) -> dt.datetime:
    """`until`, or an earlier instant up to which the lead's date and clock change keep still."""
    offset = now.astimezone(zone.zone).utcoffset()
    while until > now and until.astimezone(zone.zone).utcoffset() != offset:
        until = now + (until - now) / 2
    local = now.astimezone(zone.zone)
    midnight = dt.datetime.combine(local.date() + _DAY, dt.time(), dt.UTC) - (
        offset or dt.timedelta()
    )
    return min(until, midnight)
