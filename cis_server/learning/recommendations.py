"""Proposals from patterns: what to change, what to test first, ranked by what it may bring.

An element with a verdict (`statistics`: q <= .10 and its interval on one side of the baseline)
becomes a change: use it more, or drop it. The most promising elements without a verdict become
experiments, with the size their verdict will need. What is expected is the posterior of the
difference between the element and the rest, times the touches or leads of 30 days that would
change; that holds if the association is the cause, which only an experiment can tell, and so every
proposal says which of the two it rests on. Nothing is ever applied.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from cis_server.domain.dataset import Dataset
from cis_server.domain.experiments import PowerPlan
from cis_server.domain.patterns import HowPattern, Pattern, WhenPattern
from cis_server.domain.rates import RateEstimate
from cis_server.domain.recommendations import (
    Evidence,
    EvidenceBasis,
    Recommendation,
    RecommendationKind,
)
from cis_server.domain.vocabulary import PatternType, Verdict
from cis_server.domain.what_pattern import WhatPattern
from cis_server.learning.comparisons import Comparison, comparisons
from cis_server.stats.arrays import FloatArray
from cis_server.stats.experiment_size import leads_per_arm
from cis_server.stats.seeds import generator

MONTH_DAYS: Final = 30
MOST_CHANGES: Final = 20
"""Changes proposed at once, the largest first."""
MOST_EXPERIMENTS: Final = 3
LONGEST_EXPERIMENT_DAYS: Final = 90.0
"""An experiment that would take longer looks for a larger effect, or is not proposed."""
EFFECTS: Final = (0.2, 0.3, 0.5, 0.75, 1.0)
"""Relative effects an experiment may be sized for, the first that can be had in time."""

_DRAWS: Final = 4000
# Nobody can be assigned to "touched at least once by a channel"; an experiment is one already.
_NO_TESTS: Final = ("channel_effectiveness", "ab_test_insights")
_SD_OF_INTERVAL: Final = 2 * 1.6448536269514722
"""Standard deviations in the 90 % interval of a normal law."""
_NAMESPACE: Final = uuid.UUID("6a1f0f56-5c0e-5d0b-9d0e-0d6f3b6f7c51")
"""Of the ids of recommendations; any number would do as long as it never changes."""


def recommend(
    patterns: Mapping[PatternType, Pattern], dataset: Dataset
) -> tuple[Recommendation, ...]:
    """Proposals, most expected extra conversions first; ties by id.

    Args:
        patterns: of the run, by type; a missing one proposes nothing.
        dataset: what they were found in: its last 30 days tell the present volume.

    Returns:
        At most `MOST_CHANGES` changes and `MOST_EXPERIMENTS` experiments. The same data give the
        same, draws included.
    """
    what, when, how = (
        patterns.get(kind) for kind in (PatternType.WHAT, PatternType.WHEN, PatternType.HOW)
    )
    found = comparisons(
        what if isinstance(what, WhatPattern) else None,
        when if isinstance(when, WhenPattern) else None,
        how if isinstance(how, HowPattern) else None,
    )
    volume = _volume(dataset)
    changes = [
        _change(comparison, volume, dataset)
        for comparison in found
        if comparison.verdict is not Verdict.UNDECIDED and _not_contradicted(comparison)
    ]
    base = _lead_rate(patterns)
    experiments = [
        test
        for comparison in found
        if comparison.verdict is Verdict.UNDECIDED
        if (test := _experiment(comparison, volume, dataset, base)) is not None
    ]
    chosen = _ranked(changes)[:MOST_CHANGES] + _one_a_key(_ranked(experiments))[:MOST_EXPERIMENTS]
    return tuple(_ranked(chosen))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Volume:
    """What goes out in 30 days."""

    touches: int
    leads: int
    touches_by_number: Mapping[int, int]
    touches_by_channel: Mapping[str, int]

    def units(self, comparison: Comparison) -> float:
        """Units a month that the comparison is about: not those of which it says nothing."""
        if comparison.to_touch is not None:
            units = self.touches_by_number.get(comparison.to_touch, 0)
        elif comparison.channel is not None:
            units = self.touches_by_channel.get(comparison.channel, 0)
        else:
            units = self.leads if comparison.unit == "leads" else self.touches
        return units * comparison.coverage


def _volume(dataset: Dataset) -> _Volume:
    since = dataset.window.as_of - dt.timedelta(days=MONTH_DAYS)
    columns = ("action", "occurred_at", "touch_number", "channel")
    sent = dataset.columns("activities", columns).filter(
        pl.col("action") == "sent", pl.col("occurred_at") > since
    )
    contacted = dataset.leads.filter(pl.col("first_contacted_at") > since)
    return _Volume(
        touches=sent.height,
        leads=contacted.height,
        touches_by_number=_counts(sent["touch_number"]),
        touches_by_channel=_counts(sent["channel"]),
    )


def _counts(values: pl.Series) -> dict[Any, int]:
    return dict(values.drop_nulls().value_counts().iter_rows())


def _lead_rate(patterns: Mapping[PatternType, Pattern]) -> float:
    """Share of leads that convert, from a pattern that counts by lead; 0 when there is none."""
    for kind in (PatternType.WHO, PatternType.HOW):
        if kind in patterns:
            return patterns[kind].envelope.baseline_conversion_rate
    return 0.0


def _not_contradicted(comparison: Comparison) -> bool:
    """Whether the comparison within strata of the confounders points the same way."""
    stratified = comparison.estimate.stratified_lift
    if stratified is None:
        return True
    return stratified > 1.0 if comparison.verdict is Verdict.WINNING else stratified < 1.0


def _change(comparison: Comparison, volume: _Volume, dataset: Dataset) -> Recommendation:
    winning = comparison.verdict is Verdict.WINNING
    share = _share_changed(comparison)
    identity = _id(dataset.client_id, comparison.kind, comparison)
    gain = _difference(comparison, identity, dataset) * (1.0 if winning else -1.0)
    expected, low, high = _summary(gain * share * volume.units(comparison))
    everywhere = comparison.randomised or comparison.kind is RecommendationKind.GAP
    what = f"{comparison.noun} {comparison.value}"
    if everywhere:
        title, doing = f"Use {what}", "Using it everywhere"
    elif winning:
        title = f"Use more: {what}"
        doing = f"Using it {_as_often(comparison)}"
    else:
        title, doing = f"Use less: {what}", "Doing without it"
    basis = EvidenceBasis.EXPERIMENT if comparison.randomised else EvidenceBasis.ASSOCIATION
    if_cause = "" if comparison.randomised else ", if the association is the cause"
    return Recommendation(
        recommendation_id=identity,
        kind=comparison.kind,
        title=title,
        text=(
            f"{title}. {doing}, at the volume of the last {MONTH_DAYS} days, is expected to bring"
            f" {_signed(expected)} conversions in {MONTH_DAYS} days"
            f" ({_signed(low)} to {_signed(high)}){if_cause}."
        ),
        basis=basis,
        evidence=_evidence(comparison),
        evidence_text=_evidence_text(comparison),
        expected=expected,
        low=low,
        high=high,
        element={**comparison.element, "change": "use_more" if winning else "use_less"},
    )


def _as_often(comparison: Comparison) -> str:
    return "twice as often" if comparison.estimate.sample < comparison.others else "everywhere"


def _share_changed(comparison: Comparison) -> float:
    """Share of the units that would be other than they are: all that hold a losing element; as
    many as hold a winning one, but not more than lack it; all others where one choice is made for
    everybody (the winner of an experiment, a waiting time)."""
    own, rest = comparison.estimate.sample, comparison.others
    if comparison.verdict is Verdict.LOSING:
        return own / comparison.total
    if comparison.randomised or comparison.kind is RecommendationKind.GAP:
        return rest / comparison.total
    return min(own, rest) / comparison.total


def _experiment(
    comparison: Comparison, volume: _Volume, dataset: Dataset, base: float
) -> Recommendation | None:
    plan = _plan(base, volume.leads / MONTH_DAYS)
    if plan is None or comparison.estimate.q_value is None or comparison.key in _NO_TESTS:
        return None
    identity = _id(dataset.client_id, RecommendationKind.EXPERIMENT, comparison)
    difference = _difference(comparison, identity, dataset)
    # The change is made only when it is shown to be better, so it costs nothing when it is not.
    share = min(comparison.estimate.sample, comparison.others) / comparison.total
    gain = np.maximum(difference, 0.0) * share * volume.units(comparison)
    expected, low, high = _summary(gain)
    title = f"Test: {comparison.noun} {comparison.value}"
    days = plan.expected_days or 0.0
    return Recommendation(
        recommendation_id=identity,
        kind=RecommendationKind.EXPERIMENT,
        title=title,
        text=(
            f"{title} against what is done today, by lead, with conversion as the measure:"
            f" {plan.leads_per_variant} leads per variant find a difference of"
            f" {plan.minimum_effect:.0%} of the rate with a probability of {plan.power:.0%}; at"
            f" the volume of the last {MONTH_DAYS} days that takes {days:.0f} days. Used"
            f" {_as_often(comparison)} if it is better, it may bring {_signed(expected)}"
            f" conversions in {MONTH_DAYS} days ({_signed(low)} to {_signed(high)})."
        ),
        basis=EvidenceBasis.ASSOCIATION,
        evidence=_evidence(comparison),
        evidence_text=_evidence_text(comparison),
        expected=expected,
        low=low,
        high=high,
        element={**comparison.element, "metric": "conversion_rate"},
        power_plan=plan,
    )


def _plan(base: float, leads_a_day: float) -> PowerPlan | None:
    """The smallest effect that two variants can tell apart in time; None when there is none."""
    if not 0.0 < base < 1.0 or leads_a_day <= 0.0:
        return None
    for effect in EFFECTS:
        if base * (1.0 + effect) >= 1.0:
            return None
        wanted = PowerPlan(base_rate=base, minimum_effect=effect)
        size = leads_per_arm(base, effect, power=wanted.power, alpha=wanted.alpha)
        days = 2.0 * size / leads_a_day
        if days <= LONGEST_EXPERIMENT_DAYS:
            return PowerPlan(
                base_rate=base, minimum_effect=effect, leads_per_variant=size, expected_days=days
            )
    return None


def _difference(comparison: Comparison, identity: str, dataset: Dataset) -> FloatArray:
    """Draws of the element's rate less that of the others.

    The element stands out of many, so that its posterior alone promises too much. Its q-value is
    the share of false ones among those that stand out as much (Storey 2003, "The positive false
    discovery rate: a Bayesian interpretation"): in that share of the draws nothing differs.
    """
    draws = generator(dataset.client_id, dataset.window.as_of, f"recommend.{identity}")
    own = _rates(comparison.estimate, draws)
    mean = min(max(comparison.other_rate, 1e-9), 1.0 - 1e-9)
    others = draws.beta(mean * comparison.others, (1.0 - mean) * comparison.others, _DRAWS)
    real = draws.random(_DRAWS) >= (comparison.estimate.q_value or 0.0)
    return np.where(real, own - others, 0.0)


def _rates(estimate: RateEstimate, draws: np.random.Generator) -> FloatArray:
    """Draws of a beta law with the mean of the posterior and the width of its 90 % interval."""
    mean = min(max(estimate.adjusted_rate, 1e-9), 1.0 - 1e-9)
    deviation = max((estimate.high - estimate.low) / _SD_OF_INTERVAL, 1e-9)
    # Wider than any beta law with an inner mode: then the flattest one of that mean.
    strength = max(mean * (1.0 - mean) / deviation**2 - 1.0, 1.0)
    return np.asarray(
        draws.beta(mean * strength, (1.0 - mean) * strength, _DRAWS), dtype=np.float64
    )


def _summary(gain: FloatArray) -> tuple[float, float, float]:
    """Mean and 90 % interval, to three digits after the point."""
    low, high = np.quantile(gain, [0.05, 0.95])
    mean, low, high = (round(float(value), 3) + 0.0 for value in (gain.mean(), low, high))
    # A skew law may have its mean outside: the interval holds what is told as expected.
    return mean, min(low, mean), max(high, mean)


def _evidence(comparison: Comparison) -> Evidence:
    own = comparison.estimate
    return Evidence(
        pattern=comparison.pattern,
        key=comparison.key,
        value=comparison.value,
        unit=comparison.unit,
        sample=own.sample,
        converted=own.converted,
        rate=own.adjusted_rate,
        low=own.low,
        high=own.high,
        other_rate=round(comparison.other_rate, 6),
        other_sample=comparison.others,
        q_value=own.q_value,
    )


def _evidence_text(comparison: Comparison) -> str:
    own = comparison.estimate
    how = (
        "Found by an experiment"
        if comparison.randomised
        else "Seen together in past outreach, which may have another cause"
    )
    tested = ""
    if own.q_value is not None:
        tested = f", q = {own.q_value:.2g}" if own.q_value >= 0.001 else ", q < 0.001"
    return (
        f"{how}: {own.adjusted_rate:.2%} ({own.low:.2%} to {own.high:.2%}) of {own.sample}"
        f" {comparison.unit} converted, {comparison.other_rate:.2%} of the other"
        f" {comparison.others}{tested}."
    )


def _id(client_id: str, kind: RecommendationKind, comparison: Comparison) -> str:
    identity = dict(comparison.identity)
    if kind is not RecommendationKind.EXPERIMENT:
        # Dropping a thing and using it more are two proposals.
        identity["verdict"] = comparison.verdict.value
    name = json.dumps([client_id, kind.value, sorted(identity.items())])
    return str(uuid.uuid5(_NAMESPACE, name))


def _ranked(found: Sequence[Recommendation]) -> list[Recommendation]:
    best: dict[str, Recommendation] = {}
    for one in sorted(found, key=lambda each: (-each.expected, each.recommendation_id, each.title)):
        best.setdefault(one.recommendation_id, one)
    return list(best.values())


def _one_a_key(found: Sequence[Recommendation]) -> list[Recommendation]:
    """The best of each block, so that three experiments look at three things."""
    best: dict[str, Recommendation] = {}
    for one in found:
        best.setdefault(one.evidence.key, one)
    return list(best.values())


def _signed(value: float) -> str:
    return f"{value:+.1f}"
