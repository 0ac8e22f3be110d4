"""Population and label: which leads and touches a run learns from, and how each one ended.

The one definition for every detector and for the learner (rules: pattern facts 1.2, statistics
"Attribution horizon"). A lead is

- converted: `converted_at` is known and not after `as_of` (whatever made it so: a booked meeting,
  a deal or a status; `conversion_type` tells which);
- not converted: unsubscribed, not interested (status or rejection reason), exhausted, or its
  sequence is finished and neither side said anything for `quiet_days`;
- bounced: a fault of the data, not a refusal. Left out and counted;
- undated: said to be converted, but not when. Left out and counted;
- open: everything else, e.g. still in sequence.

The label tells how a lead stands; what a rate counts is chosen by age alone, never by outcome,
because successes are known sooner than failures. Lead-level rates are those of the cohort
(`cis_server.detectors.cohort`): leads followed for the same number of days after their first
contact.

An outcome before the window is not part of the run. That of a lead that did not convert is dated by
the last thing done for it: one that was taken up again after its first sequence had ended is part
of the run by its later touches, whether they led to a conversion or not. A touch is part of the run
when it lies in the window and not after the conversion of its lead; it is resolved when it is older
than the horizon (then what it could do it has done), and left out when it is younger, whatever it
has led to. Its success is a conversion credited to it within the same time, so that no touch had
longer to succeed than another: that horizon is `horizon_days` at least, and longer where credited
conversions take longer, as with leads.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
import polars as pl

from cis_server.detectors.cohort import Cohort, cohort, follow_up_days, followed_touches
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.vocabulary import (
    GAP_PRECISE,
    HOUR_PRECISE,
    WEEKDAY_PRECISE,
    Action,
    LeadStatus,
)

T = TypeVar("T")


class Label(StrEnum):
    """How a lead stands at `as_of`."""

    CONVERTED = "converted"
    NOT_CONVERTED = "not_converted"
    OPEN = "open"
    BOUNCED = "bounced"
    UNDATED = "undated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The leads and touches of a run, labelled and in a fixed order.

    Attributes:
        leads: one row a lead of the run, ordered by `lead_id`, with the columns of the dataset and
            `lead` (row number), `label`, `outcome_at`, `contacted_at` (first contact, or the first
            touch seen), `touches` (in the window).
        touches: one row an outbound touch of the run, ordered by lead, time and id: `lead` (row in
            `leads`), `position` (1, 2, ... within the run), `touch_number` (filled from `position`
            where missing), `label` and `tier` of the lead, `resolved`, `success` (the conversion
            is credited to it), `in_time` (that came within the horizon), `hour_known`,
            `weekday_known`, `gap_known` (precise enough, and the local time is known), and
            `channel` and `occurred_at` of the dataset. What else the dataset has of them,
            `columns_of` brings together.
        resolved_leads: rows of `leads` that were followed long enough, with `converted`, their
            outcome: the denominator of every lead-level rate.
        activity: the row of each touch among the activities of the dataset.
        dataset: whose columns belong to the touches.
        followed: `row` in `touches` of each touch of those leads within their follow-up, in order,
            and its `success` by then.
        follow_up_days: days from first contact within which a conversion of `resolved_leads`
            counts.
        horizon_days: age from which on a touch is resolved, and within which its conversion counts.
        excluded: why leads of the dataset are not in `resolved_leads`, with their number.
    """

    leads: pl.DataFrame
    touches: pl.DataFrame
    activity: pl.Series
    dataset: Dataset
    resolved_leads: pl.DataFrame
    followed: pl.DataFrame
    follow_up_days: int
    horizon_days: int
    excluded: dict[str, int]
    window_start: dt.datetime
    as_of: dt.datetime
    _made: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def once(self, make: Callable[[Population], T]) -> T:
        """What a function makes of this population, kept for others who ask for the same.

        Args:
            make: a function of a module, which stands for what it makes.
        """
        if make not in self._made:
            self._made[make] = make(self)
        found: T = self._made[make]
        return found

    # Made anew for each who asks: kept, the two would take as much memory as the touches again.
    @property
    def followed_touches(self) -> pl.DataFrame:
        """Rows of `touches` of `resolved_leads` within their follow-up, with `success` by then."""
        return self.followed_columns((*self.touches.columns, *_OF_TOUCHES))

    @property
    def resolved_touches(self) -> pl.DataFrame:
        """Rows of `touches` older than the horizon, the denominator of every touch-level rate, with
        `success` within it."""
        return self.resolved_columns((*self.touches.columns, *_OF_TOUCHES))

    def followed_columns(self, names: Iterable[str]) -> pl.DataFrame:
        """`followed_touches` with these columns only, as far as there are any of the name."""
        touches = self.columns_of(names, self.followed["row"])
        return touches.with_columns(self.followed["success"])

    def resolved_columns(self, names: Iterable[str]) -> pl.DataFrame:
        """`resolved_touches` with these columns only, as far as there are any of the name."""
        rows = self.touches["resolved"].arg_true()
        touches = self.columns_of(names, rows)
        if "success" in touches.columns:
            touches = touches.with_columns(success=self.touches["in_time"].gather(rows))
        return touches

    def resolved_pieces(self, name: str) -> Iterator[pl.Series]:
        """A column of the activities of `resolved_touches`, in parts."""
        rows = self.activity.filter(self.touches["resolved"])
        for piece in self.dataset.pieces("activities", (name,), rows):
            yield piece[name]

    def columns_of(self, names: Iterable[str], rows: pl.Series) -> pl.DataFrame:
        """Some touches with these columns of theirs, as far as there are any of the name.

        What lacks a column fails where it is read, and loses no more than that.

        Args:
            names: columns of `touches`, or of the activities of the dataset.
            rows: of `touches`.
        """
        wanted = list(dict.fromkeys(names))
        own = self.touches.select([name for name in wanted if name in self.touches.columns])
        others = [name for name in wanted if name not in own.columns]
        found = own[rows]
        if others:
            found = found.hstack(self.dataset.rows("activities", others, self.activity[rows]))
        return found.select([name for name in wanted if name in found.columns])

    def without_touches(self) -> Population:
        """The same leads, for those who read no touches."""
        return replace(
            self,
            touches=self.touches.clear(),
            activity=self.activity.clear(),
            followed=self.followed.clear(),
        )

    @property
    def note(self) -> str:
        """How long leads and touches were followed, and what was left out, in words."""
        left_out = [f"{count} {reason}" for reason, count in self.excluded.items() if count]
        young = self.touches.height - int(self.touches["resolved"].sum())
        told = [f"leads count as converted within {self.follow_up_days} days of first contact"]
        if left_out:
            told.append("leads left out: " + ", ".join(left_out))
        if young:
            told.append(f"touches left out: {young} of the last {self.horizon_days} days")
        return "; ".join(told)


def population(dataset: Dataset, settings: DetectorSettings) -> Population:
    """Label the leads and touches of a dataset.

    Args:
        dataset: the frames of one client and its window.
        settings: horizon, and the silence after which a lead counts as lost.

    Returns:
        The population; the same whatever the row order of the frames.
    """
    window = dataset.window
    # Rows are chosen by a few columns, and of the others only those that most detectors read are
    # taken along: a copy of a touch with all it has is what would take the memory.
    activities = dataset.columns("activities", _DECIDING)
    replies = _last_replies(activities, window.as_of)
    sent = (
        activities.drop("replied_at")
        .with_columns(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        .filter(pl.col("action") == Action.SENT.value, pl.col("occurred_at") <= window.as_of)
        .drop("action")
    )
    del activities
    labelled = _labelled(dataset, sent, replies, settings)
    outside = (pl.col("outcome_at") < window.start).fill_null(False)
    known = pl.col("label").is_in([Label.CONVERTED, Label.NOT_CONVERTED, Label.OPEN])
    kept = labelled.select(kept=known & ~outside)["kept"]
    leads = dataset.leads.hstack(labelled).filter(kept)
    if not leads["lead_id"].is_sorted():
        leads = leads.sort("lead_id")
    leads = leads.with_row_index("lead")
    activity, touches = _touches(sent, leads, dataset)
    touches, horizon_days = _resolved(touches, leads["converted_at"], window, settings)
    counts = touches.group_by("lead").agg(touches=pl.len())
    leads = leads.join(counts, on="lead", how="left", maintain_order="left").with_columns(
        pl.col("touches").fill_null(0).cast(pl.Int64)
    )
    followed = cohort(leads, window, settings)
    excluded = {
        "bounced": _count(labelled, pl.col("label") == Label.BOUNCED),
        "converted without a date": _count(labelled, pl.col("label") == Label.UNDATED),
        "with an outcome before the window": _count(labelled, known & outside),
        **followed.excluded,
    }
    return Population(
        leads=leads,
        touches=touches,
        activity=activity,
        dataset=dataset,
        resolved_leads=followed.leads,
        followed=_followed(touches, followed),
        follow_up_days=followed.follow_up_days,
        horizon_days=horizon_days,
        excluded=excluded,
        window_start=window.start,
        as_of=window.as_of,
    )


def _followed(touches: pl.DataFrame, of: Cohort) -> pl.DataFrame:
    """`Population.followed`; the columns that decide it are enough."""
    few = touches.select(
        "lead", "occurred_at", "success", row=pl.int_range(pl.len(), dtype=pl.UInt32)
    )
    return followed_touches(few, of).select("row", "success")


def _count(frame: pl.DataFrame, condition: pl.Expr) -> int:
    return int(frame.select(condition.sum()).item())


def _last_replies(activities: pl.DataFrame, as_of: dt.datetime) -> pl.DataFrame:
    return (
        activities.select("lead_id", "replied_at")
        .filter(pl.col("replied_at") <= as_of)
        .group_by("lead_id")
        .agg(last_reply_at=pl.col("replied_at").max())
    )


def _labelled(
    dataset: Dataset, sent: pl.DataFrame, replies: pl.DataFrame, settings: DetectorSettings
) -> pl.DataFrame:
    """`contacted_at`, `label` and `outcome_at` of each lead of the dataset, in its order."""
    as_of = dataset.window.as_of
    seen = sent.group_by("lead_id").agg(
        first_touch_at=pl.col("occurred_at").min(), last_touch_at=pl.col("occurred_at").max()
    )
    completed = pl.when(pl.col("sequence_completed_at") <= as_of).then(
        pl.col("sequence_completed_at")
    )
    contacted = pl.min_horizontal(
        pl.when(pl.col("first_contacted_at") <= as_of).then(pl.col("first_contacted_at")),
        "first_touch_at",
    )
    last_word = pl.max_horizontal("last_touch_at", "last_reply_at", "completed_at")
    label = _label(as_of, settings, last_word)
    return (
        dataset.leads.select(_TELLING)
        .join(seen, on="lead_id", how="left", maintain_order="left")
        .join(replies, on="lead_id", how="left", maintain_order="left")
        .with_columns(completed_at=completed, contacted_at=contacted)
        .with_columns(label=label)
        .with_columns(
            outcome_at=pl.when(pl.col("label") == Label.CONVERTED)
            .then(pl.col("converted_at"))
            .when(pl.col("label") == Label.NOT_CONVERTED)
            .then(pl.coalesce(pl.max_horizontal("completed_at", "last_touch_at"), "contacted_at"))
        )
        .select("contacted_at", "label", "outcome_at")
    )


_DECIDING = ("lead_id", "activity_id", "action", "occurred_at", "converting", "replied_at")
"""Columns of activities that decide which leads and touches are part of a run."""
_TELLING = (
    *("lead_id", "status", "unsubscribed", "rejection_reason", "sequence_completed_at"),
    *("first_contacted_at", "converted_at"),
)
"""Columns of leads that tell how one stands."""


def _label(as_of: dt.datetime, settings: DetectorSettings, last_word: pl.Expr) -> pl.Expr:
    status = pl.col("status")
    quiet_since = as_of - dt.timedelta(days=settings.quiet_days)
    said_converted = status.is_in([LeadStatus.CONVERTED.value, LeadStatus.MEETING_BOOKED.value])
    refused = (
        (status == LeadStatus.UNSUBSCRIBED.value)
        | pl.col("unsubscribed").fill_null(False)
        | (status == LeadStatus.NOT_INTERESTED.value)
        | pl.col("rejection_reason").is_not_null()
    )
    exhausted = (status == LeadStatus.EXHAUSTED.value) & (
        pl.col("sequence_completed_at").is_null() | pl.col("completed_at").is_not_null()
    )
    finished = pl.col("completed_at").is_not_null() & (last_word <= quiet_since)
    return (
        pl.when(pl.col("converted_at") <= as_of)
        .then(pl.lit(Label.CONVERTED.value))
        # A later conversion has not happened yet, whatever the status says today.
        .when(pl.col("converted_at").is_not_null())
        .then(pl.lit(Label.OPEN.value))
        .when(said_converted)
        .then(pl.lit(Label.UNDATED.value))
        .when(status == LeadStatus.BOUNCED.value)
        .then(pl.lit(Label.BOUNCED.value))
        .when(refused | exhausted | finished)
        .then(pl.lit(Label.NOT_CONVERTED.value))
        .otherwise(pl.lit(Label.OPEN.value))
    )


def _resolved(
    touches: pl.DataFrame, converted_at: pl.Series, window: Window, settings: DetectorSettings
) -> tuple[pl.DataFrame, int]:
    """The touches with `resolved` and `in_time`, and the horizon in days."""
    credited = touches["success"].arg_true()
    delay = converted_at.gather(touches["lead"].gather(credited)) - touches["occurred_at"].gather(
        credited
    )
    days = follow_up_days(delay, window, settings)
    horizon = dt.timedelta(days=days)
    in_time = np.zeros(touches.height, dtype=np.bool_)
    in_time[credited.to_numpy()] = (delay <= horizon).to_numpy()
    resolved = pl.col("occurred_at") <= window.as_of - horizon
    return touches.with_columns(resolved=resolved, in_time=pl.Series(in_time)), days


def _touches(
    sent: pl.DataFrame, leads: pl.DataFrame, dataset: Dataset
) -> tuple[pl.Series, pl.DataFrame]:
    """`Population.activity`, and `Population.touches` but for what the horizon decides."""
    window = dataset.window
    converted = pl.col("label") == Label.CONVERTED
    facts = leads.select("lead_id", "lead", "label", "tier", ended_at="converted_at")
    chosen = (
        sent.filter(pl.col("occurred_at") >= window.start)
        .join(facts, on="lead_id", how="inner")
        # Times of months or days may put the credited touch a little after the conversion.
        .filter(
            ~converted
            | (pl.col("occurred_at") <= pl.col("ended_at"))
            | pl.col("converting").fill_null(False)
        )
        .sort("lead", "occurred_at", "activity_id")
    )
    touches = dataset.rows("activities", _READ, chosen["row"]).hstack(
        chosen.select("lead", "label", "tier", "occurred_at", "converting")
    )
    precision = pl.col("time_precision")
    touches = (
        touches.with_columns(
            position=_positions(touches["lead"]),
            success=converted & pl.col("converting").fill_null(False),
            hour_known=precision.is_in([value.value for value in HOUR_PRECISE])
            & pl.col("local_hour").is_not_null()
            & pl.col("local_weekday").is_not_null(),
            weekday_known=precision.is_in([value.value for value in WEEKDAY_PRECISE])
            & pl.col("local_weekday").is_not_null(),
            gap_known=precision.is_in([value.value for value in GAP_PRECISE]),
        )
        .with_columns(touch_number=pl.coalesce("touch_number", "position").cast(pl.Int64))
        .drop("time_precision", "converting", "local_hour", "local_weekday")
    )
    return chosen["row"], touches


def _positions(lead: pl.Series) -> pl.Series:
    """1, 2, ... within each lead, whose touches stand together."""
    of = lead.to_numpy()
    begins = np.append(True, of[1:] != of[:-1])[: of.size]
    place = np.arange(of.size)
    return pl.Series(place - np.maximum.accumulate(np.where(begins, place, 0)) + 1)


_READ = ("channel", "touch_number", "time_precision", "local_hour", "local_weekday")
"""Columns of activities that the facts of `Population.touches` rest on, beside those of `sent`."""

_OF_TOUCHES = (
    *("activity_id", "lead_id", "gap_days", "local_weekday", "local_hour", "lead_timezone"),
    *("human_opened_at", "human_clicked_at", "machine_open", "minutes_to_open"),
    *("minutes_to_click", "template_id", "ab_test_id", "ab_variant", "ai_model"),
    *("prompt_version", "links", "content"),
)
"""Columns of activities that detectors read of a touch, beside those in `Population.touches`."""
