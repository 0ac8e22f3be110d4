"""What exploration tells: the value of the policy in force, and of always taking the best choice.

Serving logs every choice it draws with its propensity, and which one it would have taken without
drawing; an activity names the decision that led to it. Decisions of one sort that were followed,
and are old enough to have an outcome, are judged by inverse propensity (`stats.off_policy`), by
lead.

A decision earned 1 when the client's conversion is credited to a touch it led to. That is the
outcome of a touch, not of a lead: values of timing and channels are conversions per touch, those of
sequences conversions per plan.

A decision is judged once its time is over, which is the same for all of its sort whatever became of
them: a plan that ends early because it converted must not count sooner than one that goes on.

Which choices are followed must not depend on the choice, else both values are off: the share that
was followed is reported.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import polars as pl

from cis_server.domain.policy_value import PolicyOutcome, PolicyOutcomes
from cis_server.stats.off_policy import PolicyEstimate, policy_difference, policy_value

KINDS: Final = ("timing", "channel", "sequence")
LATENESS: Final = dt.timedelta(hours=2)
"""A touch sent this long after its window began still followed the decision: windows are hours, and
sending engines have queues. Our choice; no source gives a figure."""
PLAN_SPAN: Final = dt.timedelta(days=28)
"""Touches of a plan that come later than this after it was made are not counted: by then most plans
are through. Our choice; no source gives a figure."""
PROPENSITY_MIN: Final = 1e-9


def policy_values(
    decisions: pl.DataFrame, as_of: dt.datetime, horizon_days: float
) -> PolicyOutcomes:
    """Judge the logged decisions.

    Args:
        decisions: columns of `Dataset.decisions`.
        as_of: the instant of knowledge.
        horizon_days: days after a touch until its outcome counts as known.

    Returns:
        One outcome per sort of decision that was logged, in the order of `KINDS`.
    """
    counted = decisions.filter(pl.col("kind").is_in(KINDS))
    if counted.is_empty():
        return PolicyOutcomes(
            note="no decisions were logged: with an exploration_share above 0 they are"
        )
    by_kind = {kind: counted.filter(pl.col("kind") == kind) for kind in KINDS}
    return PolicyOutcomes(
        outcomes=tuple(
            _outcome(kind, rows, as_of - dt.timedelta(days=horizon_days))
            for kind, rows in by_kind.items()
            if not rows.is_empty()
        )
    )


def _outcome(kind: str, rows: pl.DataFrame, known_until: dt.datetime) -> PolicyOutcome:
    known = _judged(rows.filter(_followed(kind), _in_span(kind)), kind, known_until)
    columns = ("reward", "propensity", "best_chosen", "lead_id")
    reward, propensity, best_chosen, lead = (known[name].to_numpy() for name in columns)
    current = policy_value(reward, propensity, propensity, lead)
    best = policy_value(reward, propensity, best_chosen, lead)
    gain = policy_difference(reward, propensity, best_chosen, propensity, lead)
    explored = known.filter(pl.col("best_chosen") == 0.0).height
    return PolicyOutcome(
        kind=kind,
        decisions=rows["decision_id"].n_unique(),
        followed=rows.filter(_followed(kind))["decision_id"].n_unique(),
        judged=known.height,
        leads=known["lead_id"].n_unique(),
        explored=explored,
        converted=int(known["reward"].sum()),
        current_value=current.value,
        current_low=current.low,
        current_high=current.high,
        best_value=best.value,
        best_low=best.low,
        best_high=best.high,
        gain=None if gain is None else gain.value,
        gain_low=None if gain is None else gain.low,
        gain_high=None if gain is None else gain.high,
        effective_size=best.effective_size,
        largest_weight_share=best.largest_share,
        warning=_warning(best, explored),
    )


def _warning(best: PolicyEstimate, explored: int) -> str:
    reasons = [best.warning] if best.warning else []
    if best.choices and not explored:
        reasons.append("nothing was explored: the two policies are one")
    return "; ".join(reasons)


def _followed(kind: str) -> pl.Expr:
    """Whether the activity did what the decision said."""
    there = pl.col("activity_id").is_not_null() & pl.col("best").is_not_null()
    if kind == "timing":
        start = pl.col("choice").str.to_datetime(
            "%+", time_unit="us", time_zone="UTC", strict=False
        )
        late = pl.col("occurred_at") - start
        return there & (late >= dt.timedelta()) & (late < LATENESS)
    planned = pl.col("choice").str.split(",")
    if kind == "channel":
        return there & (pl.col("channel") == pl.col("choice"))
    return there & planned.list.contains(pl.col("channel"))


def _in_span(kind: str) -> pl.Expr:
    """Whether a touch came while its decision ran."""
    late = pl.col("occurred_at") - pl.col("decided_at")
    return late <= PLAN_SPAN if kind == "sequence" else pl.lit(True)


def _judged(followed: pl.DataFrame, kind: str, known_until: dt.datetime) -> pl.DataFrame:
    """One row per decision that is old enough for every touch it can have to have an outcome."""
    whole = pl.col("decided_at") + PLAN_SPAN if kind == "sequence" else pl.col("latest")
    return (
        followed.sort("decision_id", "occurred_at", "activity_id")
        .group_by("decision_id", maintain_order=True)
        .agg(
            pl.first("lead_id", "decided_at", "propensity", "choice", "best", "best_propensity"),
            latest=pl.col("occurred_at").max(),
            reward=pl.col("converting").fill_null(False).any().cast(pl.Float64),
        )
        .filter(
            whole <= known_until,
            pl.col("propensity") > PROPENSITY_MIN,
            pl.col("lead_id").is_not_null(),
        )
        .with_columns(best_chosen=(pl.col("choice") == pl.col("best")).cast(pl.Float64))
    )
