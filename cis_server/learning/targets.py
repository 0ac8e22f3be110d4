"""What the models predict: a call booked, a qualified lead, a customer, each within its days.

All windows start at first engagement: the first outreach, or the first reply of a human where that
came earlier (learning facts 7; defect 51). A lead younger than a window is left out, never counted
as a failure: what it will come to is not known yet. A lead whose event lies before its engagement
owes it to something else and is left out as well.

- call_booked: a meeting is booked;
- qualified: a deal is opened, or a meeting was attended and ended well;
- customer: a deal is won.

Beside these stands `CONVERTED`, the client's own word for success (whatever set `converted_at`),
followed for as long as the client's conversions take (`cis_server.learning.labels`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import polars as pl

from cis_server.detectors.outcomes import Population
from cis_server.domain.dataset import Dataset
from cis_server.domain.vocabulary import ConversionType, MeetingOutcome

CONVERTED: Final = "converted"
"""The target that serving prefers: every client has it."""


@dataclass(frozen=True, slots=True)
class Target:
    """An event within a time from first engagement."""

    name: str
    days: int


TARGETS: Final = (Target("call_booked", 7), Target("qualified", 14), Target("customer", 30))
"""T1, T2 and T3."""


@dataclass(frozen=True, slots=True)
class TargetRows:
    """The leads of a target and what became of them.

    Attributes:
        lead: (n,) numbers of the leads, `Population.leads.lead`, ascending.
        reached: (n,) whether the event came within the days.
        young: leads left out because they are younger than the window.
        before: leads left out because the event came before their engagement.
    """

    lead: pl.Series
    reached: pl.Series
    young: int
    before: int


def target_rows(run: Population, dataset: Dataset, target: Target) -> TargetRows:
    """Who is old enough for a target, and who reached it.

    Args:
        run: its leads, engaged inside the window.
        dataset: meetings, deals and replies.
        target: which.
    """
    engaged = _engaged(run, dataset)
    events = _events(dataset, target.name, run.as_of)
    leads = (
        run.leads.select("lead", "lead_id")
        .join(engaged, on="lead_id", how="inner")
        .join(events, on="lead_id", how="left")
        .sort("lead")
    )
    length = dt.timedelta(days=target.days)
    young = pl.col("engaged_at") > run.as_of - length
    before = (pl.col("event_at") < pl.col("engaged_at")).fill_null(False)
    old = leads.filter(~young)
    kept = old.filter(~before)
    reached = (pl.col("event_at") <= pl.col("engaged_at") + length).fill_null(False)
    return TargetRows(
        lead=kept["lead"],
        reached=kept.select(reached=reached)["reached"],
        young=leads.height - old.height,
        before=old.height - kept.height,
    )


def _engaged(run: Population, dataset: Dataset) -> pl.DataFrame:
    """lead_id, engaged_at of leads first engaged inside the window."""
    replies = (
        dataset.columns("activities", ("lead_id", "replied_at"))
        .filter(pl.col("replied_at") <= run.as_of)
        .group_by("lead_id")
        .agg(first_reply_at=pl.col("replied_at").min())
    )
    return (
        run.leads.select("lead_id", "contacted_at")
        .join(replies, on="lead_id", how="left")
        .select("lead_id", engaged_at=pl.min_horizontal("contacted_at", "first_reply_at"))
        .filter(pl.col("engaged_at") >= run.window_start)
    )


def _events(dataset: Dataset, target: str, as_of: dt.datetime) -> pl.DataFrame:
    """lead_id, event_at: the first event of each lead that is known at `as_of`."""
    at = {"call_booked": _booked, "qualified": _qualified, "customer": _customer}[target](dataset)
    known = at.filter(pl.col("event_at") <= as_of)
    return known.group_by("lead_id").agg(pl.col("event_at").min())


def _converted_by(dataset: Dataset, kind: ConversionType) -> pl.DataFrame:
    """Conversions of a kind, for clients that tell of them without meetings or deals."""
    return dataset.leads.filter(pl.col("conversion_type") == kind.value).select(
        "lead_id", event_at="converted_at"
    )


def _booked(dataset: Dataset) -> pl.DataFrame:
    booked = dataset.meetings.select("lead_id", event_at="booked_at")
    return pl.concat([booked, _converted_by(dataset, ConversionType.MEETING_BOOKED)])


def _qualified(dataset: Dataset) -> pl.DataFrame:
    opened = dataset.deals.select("lead_id", event_at="created_at")
    went_well = dataset.meetings.filter(
        pl.col("showed_up") & (pl.col("outcome") == MeetingOutcome.GOOD.value)
    ).select("lead_id", event_at="scheduled_at")
    return pl.concat([opened, went_well])


def _customer(dataset: Dataset) -> pl.DataFrame:
    won = dataset.deals.filter(pl.col("won")).select("lead_id", event_at="closed_at")
    return pl.concat([won, _converted_by(dataset, ConversionType.DEAL_WON)])
