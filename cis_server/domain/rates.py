"""An estimated rate, as every part of the system carries it."""

from __future__ import annotations

from dataclasses import dataclass

from cis_server.domain.vocabulary import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RateEstimate:
    """k of n, what is believed about the rate behind it, and how it compares.

    All rates are fractions 0..1; None means "not computable from this sample".
    """

    rate: float | None
    """Raw k/n; None when n = 0."""
    adjusted_rate: float
    """Posterior mean after shrinkage."""
    low: float
    """5 % posterior quantile."""
    high: float
    """95 % posterior quantile."""
    sample: int
    """n."""
    converted: int
    """k."""
    lift: float | None = None
    """Raw rate / baseline (the client's, or that of the kind of units that are compared); 1.0 when
    the baseline is 0."""
    adjusted_lift: float | None = None
    """Adjusted rate / adjusted rate of the complement."""
    stratified_lift: float | None = None
    """Mantel-Haenszel risk ratio with confounders held fixed."""
    stratified_low: float | None = None
    stratified_high: float | None = None
    q_value: float | None = None
    """Benjamini-Hochberg over every segment tested in the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRate:
    """One value of one dimension with its rate and the verdict on it."""

    value: str
    estimate: RateEstimate
    verdict: Verdict = Verdict.UNDECIDED
