"""Meetings and deals of a funnel run, labelled and in a fixed order.

A meeting belongs to the cohort of its booking, a deal to that of its creation. What has not come to
an end by `as_of` is censored, never a failure: meetings still to come, meetings whose attendance
nobody wrote down (reported as a share), attended meetings too young for their deal, open deals.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.local_time import find_zone, local_clock
from cis_server.domain.vocabulary import MeetingOutcome
from cis_server.stats.arrays import IntArray

DAY_MICROSECONDS = 86_400_000_000
DAYS_AHEAD_EDGES = (1.0, 2.0, 4.0, 8.0, 15.0)
DAYS_AHEAD_LABELS = ("under 1", "1", "2–3", "4–7", "8–14", "15+")
_TOOK_PLACE = (MeetingOutcome.GOOD.value, MeetingOutcome.BAD.value)
_CALLED_OFF = (MeetingOutcome.CANCELLED.value, MeetingOutcome.RESCHEDULED.value)


@dataclass(frozen=True, kw_only=True)
class FunnelPopulation:
    """What a funnel run looks at.

    Attributes:
        past: meetings booked in the window whose time has passed and that were not called off
            (unless the lead showed up all the same), by `meeting_id`, with the columns of the
            dataset and `attended` (null where unknown), `days_ahead` (days from booking to
            meeting), `reached_reminder` (booked early enough to be confirmed and reminded),
            `has_deal`, and of the lead `tier`, `employee_count`, `local_weekday` (ISO),
            `local_hour`.
        deals: deals created in the cohort's time, by `deal_id`, with `days` (to the close, for open
            deals to `as_of`), `converting_channel` of the meeting, and `tier` and `employee_count`
            of the lead.
        every_deal: deals known at `as_of`, of whatever age, by `deal_id`.
        deals_since: earliest creation of `deals`.
        currency: the one of most deals of the cohort whose value is known, of most deals if none
            is; None without deals.
    """

    past: pl.DataFrame
    deals: pl.DataFrame
    every_deal: pl.DataFrame
    deals_since: dt.datetime
    as_of: dt.datetime
    currency: str | None

    @cached_property
    def known(self) -> pl.DataFrame:
        """Past meetings whose attendance is known: the denominator of every show rate."""
        return self.past.filter(pl.col("attended").is_not_null())

    @cached_property
    def closed(self) -> pl.DataFrame:
        """Deals won or lost: the denominator of every win rate."""
        return self.deals.filter(pl.col("won").is_not_null())

    @cached_property
    def open_deals(self) -> pl.DataFrame:
        """Open deals of whatever age."""
        return self.every_deal.filter(pl.col("won").is_null())

    def matured(self, settings: DetectorSettings) -> pl.DataFrame:
        """Attended meetings old enough to have brought their deal."""
        before = self.as_of - dt.timedelta(days=settings.deal_delay_days)
        return self.past.filter("attended", pl.col("scheduled_at") <= before)


def funnel_population(dataset: Dataset, settings: DetectorSettings) -> FunnelPopulation:
    """Label the meetings and deals of a dataset.

    Args:
        dataset: the frames of one client and its window.
        settings: reminder time and look-back of deals.

    Returns:
        The population; the same whatever the row order of the frames.
    """
    window = dataset.window
    since = window.as_of - settings.deal_windows * (window.as_of - window.start)
    facts = dataset.leads.select("lead_id", "tier", "employee_count", "timezone")
    channels = dataset.meetings.select("meeting_id", "converting_channel")
    end = pl.when(pl.col("won").is_null()).then(window.as_of).otherwise("closed_at")
    created = pl.col("created_at")
    every = dataset.deals.filter(created <= window.as_of).sort("deal_id").with_columns(_value())
    deals = (
        every.filter(created >= since)
        .join(facts.drop("timezone"), on="lead_id", how="left", maintain_order="left")
        .join(channels, on="meeting_id", how="left", maintain_order="left")
        .with_columns(days=_days(end - created).clip(0))
    )
    return FunnelPopulation(
        past=_past_meetings(dataset, every, facts, settings),
        deals=deals,
        every_deal=every,
        deals_since=since,
        as_of=window.as_of,
        currency=_main_currency(deals),
    )


def ahead_codes(meetings: pl.DataFrame) -> IntArray:
    """Band of the days from booking to meeting, as an index into `DAYS_AHEAD_LABELS`."""
    days = meetings["days_ahead"].fill_null(0.0).to_numpy()
    return np.searchsorted(np.asarray(DAYS_AHEAD_EDGES), days, side="right").astype(np.int64)


def _past_meetings(
    dataset: Dataset, deals: pl.DataFrame, facts: pl.DataFrame, settings: DetectorSettings
) -> pl.DataFrame:
    window = dataset.window
    outcome = pl.col("outcome")
    notice = pl.col("scheduled_at") - pl.col("booked_at")
    with_deal = deals["meeting_id"].drop_nulls().unique()
    attended = pl.coalesce(
        "showed_up",
        pl.when(outcome.is_in(_TOOK_PLACE))
        .then(True)
        .when(outcome == MeetingOutcome.NO_SHOW.value)
        .then(False),
    )
    meetings = (
        dataset.meetings.filter(
            pl.col("booked_at").is_between(window.start, window.as_of),
            pl.col("scheduled_at") <= window.as_of,
        )
        .filter(pl.col("showed_up") | ~outcome.is_in(_CALLED_OFF).fill_null(False))
        .with_columns(attended=attended)
        .with_columns(
            days_ahead=_days(notice),
            reached_reminder=notice >= dt.timedelta(hours=settings.reminder_hours),
            has_deal=pl.col("deal_id").is_not_null()
            | pl.col("meeting_id").is_in(with_deal.implode()),
        )
        .join(facts, on="lead_id", how="left")
        .sort("meeting_id")
    )
    clocks = _local_clocks(meetings["scheduled_at"], meetings["timezone"])
    return meetings.with_columns(clocks).drop("timezone")


def _local_clocks(instants: pl.Series, zones: pl.Series) -> list[pl.Series]:
    """ISO weekday and hour on the lead's clock; null where the zone is unknown."""
    weekdays: list[int | None] = []
    hours: list[int | None] = []
    for instant, name in zip(instants.to_list(), zones.to_list(), strict=True):
        zone = find_zone(name.strip()) if name else None
        clock = local_clock(instant, zone) if zone is not None else None
        weekdays.append(clock.weekday if clock else None)
        hours.append(clock.hour if clock else None)
    return [
        pl.Series("local_weekday", weekdays, dtype=pl.Int64),
        pl.Series("local_hour", hours, dtype=pl.Int64),
    ]


def _value() -> pl.Expr:
    """Value of a deal; nobody owes for one, so below zero it is a slip of the pen, and unknown."""
    value = pl.col("value")
    return pl.when(value.is_between(0, float("inf"), closed="left")).then(value)


def _main_currency(deals: pl.DataFrame) -> str | None:
    counts = (
        deals.drop_nulls("currency")
        .group_by("currency")
        .agg(priced=pl.col("value").count(), deals=pl.len())
        .sort("priced", "deals", "currency", descending=[True, True, False])
    )
    return str(counts["currency"][0]) if counts.height else None


def _days(duration: pl.Expr) -> pl.Expr:
    return duration.dt.total_microseconds() / DAY_MICROSECONDS
