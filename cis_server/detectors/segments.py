"""Every segment of one detector run, judged together.

A detector names its dimensions; nothing is judged until all of them are known, because the false
discovery rate is controlled over every segment tested in the run (statistics, "Evidence"). Each
segment is compared with its complement: the units whose value is known and is another one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from cis_server.detectors.levels import Levels
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.rounding import rounded, rounded_rate
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.envelope import AttributeRanking, KnownUnits
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import Verdict
from cis_server.stats.arrays import BoolArray, FloatArray, IntArray
from cis_server.stats.multiplicity import benjamini_hochberg, ranked, verdict
from cis_server.stats.rates import Posterior, SegmentEstimates, Strata, estimate_segments
from cis_server.stats.standardized import LogRatios, standardized_rates, stratified_p_values

Rates: TypeAlias = tuple[FloatArray, FloatArray, FloatArray]
"""Mean, 5 % and 95 % quantile, each of shape (values,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A dimension after the run: its published segments, best evidence first.

    Attributes:
        segments: ranked by `low`, then sample, then name; all that reached the minimum.
        coverage: share of units for which the dimension is known.
        tested: segments that took part in the multiplicity control.
        units: for which the dimension is known.
        converted: of them.
    """

    dimension: str
    segments: tuple[SegmentRate, ...]
    coverage: float
    tested: int
    units: int
    converted: int

    @property
    def known(self) -> KnownUnits:
        """The units its values are compared among, as a pattern holds them."""
        return KnownUnits(
            units=self.units, converted=self.converted, coverage=rounded_rate(self.coverage)
        )

    def headline(self, most: int) -> tuple[SegmentRate, ...]:
        """The first `most` segments, and every further one that has a verdict."""
        return tuple(
            segment
            for place, segment in enumerate(self.segments)
            if place < most or segment.verdict is not Verdict.UNDECIDED
        )

    def by_value(self) -> dict[str, SegmentRate]:
        """The published segments by value."""
        return {segment.value: segment for segment in self.segments}

    def ranking(self, most: int) -> AttributeRanking:
        """The dimension as a pattern holds it."""
        return AttributeRanking(
            attribute=self.dimension,
            segments=self.headline(most),
            coverage=round(self.coverage, 4),
            segments_tested=self.tested,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dimension:
    name: str
    values: tuple[str, ...]
    n: IntArray
    k: IntArray
    total_n: int
    total_k: int
    baseline: float
    coverage: float
    strata: Strata | None
    posterior: Rates | None
    standardized: bool
    prior: LogRatios | None


class Segments:
    """Collects the dimensions of one run, then judges all their segments at once."""

    def __init__(self, settings: DetectorSettings, baseline: float) -> None:
        """Begin a run.

        Args:
            settings: minimums and the false discovery rate.
            baseline: rate of the whole population, which `lift` refers to.
        """
        self._settings = settings
        self._baseline = baseline
        self._dimensions: list[tuple[_Dimension, SegmentEstimates]] = []

    def add(
        self,
        levels: Levels,
        success: BoolArray,
        risk: RiskSet | None = None,
        *,
        baseline: float | None = None,
        strata: Strata | None = None,
        posterior: Rates | None = None,
        standardized: bool = False,
    ) -> None:
        """Add a dimension whose counts follow from its levels.

        Args:
            levels: which unit has which value.
            success: per unit, whether it converted.
            risk: rows of the same units for the stratified lift.
            baseline: rate of the population when it is not that of the run.
            strata: stratum counts worked out elsewhere, instead of `risk`.
            posterior: mean, low and high per value worked out elsewhere, instead of shrinking the
                values towards each other.
            standardized: judge by the comparison within strata, not by the raw counts: test, mean
                and interval are those of `stats.standardized`, and the baseline is the rate of the
                units whose value is known. For dimensions that the score tier or the length of a
                sequence decides.
        """
        if strata is None and risk is not None and levels.values:
            strata = risk.counts(levels)
        self.add_counts(
            levels.dimension,
            levels.values,
            levels.counts(),
            levels.counts(success),
            total=(int(levels.known.sum()), int((levels.known & success).sum())),
            coverage=levels.coverage,
            strata=strata,
            baseline=baseline,
            posterior=posterior,
            standardized=standardized,
        )

    def add_counts(
        self,
        dimension: str,
        values: tuple[str, ...],
        n: IntArray,
        k: IntArray,
        *,
        total: tuple[int, int],
        coverage: float,
        strata: Strata | None = None,
        baseline: float | None = None,
        posterior: Rates | None = None,
        standardized: bool = False,
        prior: LogRatios | None = None,
    ) -> None:
        """Add a dimension by its counts.

        Args:
            dimension: its name, unique in the run.
            values: its values.
            n: units per value.
            k: of them, converted.
            total: (units, converted) of which each segment's complement is the rest.
            coverage: share of units for which the dimension is known.
            strata: counts per stratum for the stratified lift.
            baseline: rate of the population when it is not that of the run.
            posterior: as in `add`.
            standardized: as in `add`.
            prior: of the log ratios of a standardized dimension, when something is expected of
                them.
        """
        if standardized and total[0]:
            baseline = total[1] / total[0]
        added = _Dimension(
            name=dimension,
            values=values,
            n=n,
            k=k,
            total_n=total[0],
            total_k=total[1],
            baseline=self._baseline if baseline is None else baseline,
            coverage=coverage,
            strata=strata,
            posterior=posterior,
            standardized=standardized,
            prior=prior,
        )
        # Estimated here, so that a dimension that cannot be is lost alone.
        self._dimensions.append((added, _estimated(added)))

    def judged(self) -> Mapping[str, Judged]:
        """Judge everything that was added.

        Returns:
            The dimensions by name, in the order they were added.
        """
        # Which segments are tested follows from their size alone, so it favours no finding.
        p_values = [
            np.where(dimension.n >= self._settings.minimum_tested, estimates.p_values, np.nan)
            for dimension, estimates in self._dimensions
        ]
        q_values = np.empty(0)
        if p_values:
            weights = np.concatenate([_information(dimension) for dimension, _ in self._dimensions])
            q_values = benjamini_hochberg(np.concatenate(p_values), weights)
        result: dict[str, Judged] = {}
        start = 0
        for dimension, estimates in self._dimensions:
            end = start + len(dimension.values)
            result[dimension.name] = self._judge(dimension, estimates, q_values[start:end])
            start = end
        return result

    def _judge(self, dimension: _Dimension, estimates: SegmentEstimates, q: FloatArray) -> Judged:
        found: list[SegmentRate] = []
        for value, estimate, q_value in zip(
            dimension.values, estimates.estimates, q.tolist(), strict=True
        ):
            if estimate.sample < self._settings.minimum_listed:
                continue
            tested = None if math.isnan(q_value) else q_value
            # Rounded first, so that the verdict is the one a reader of the figures would give.
            complete = rounded(replace(estimate, q_value=tested))
            verdict_on_it = self._verdict(complete, dimension)
            found.append(SegmentRate(value=value, estimate=complete, verdict=verdict_on_it))
        order = ranked(
            [segment.estimate.low for segment in found],
            [segment.estimate.sample for segment in found],
            [segment.value for segment in found],
        )
        return Judged(
            dimension=dimension.name,
            segments=tuple(found[place] for place in order),
            coverage=dimension.coverage,
            tested=int(np.isfinite(q).sum()),
            units=dimension.total_n,
            converted=dimension.total_k,
        )

    def _verdict(self, estimate: RateEstimate, dimension: _Dimension) -> Verdict:
        # Where a dimension is known for some units only, their own rate may differ from that of
        # the whole; a verdict has to hold against both.
        own = dimension.total_k / dimension.total_n if dimension.total_n else dimension.baseline
        first, second = (
            verdict(
                estimate.low,
                estimate.high,
                estimate.q_value,
                baseline,
                estimate.sample,
                false_discovery_rate=self._settings.false_discovery_rate,
                minimum=self._settings.minimum_tested,
            )
            for baseline in (own, dimension.baseline)
        )
        return first if first is second else Verdict.UNDECIDED


def _information(dimension: _Dimension) -> FloatArray:
    """How much each segment can tell: 1 / (1/n + 1/rest), the units of the smaller side at most.

    A segment of thirty leads could hardly show anything after the correction; sharing the error
    rate by information lets the large segments, on which most depends, be found sooner. Sizes
    alone decide, so no outcome is favoured.
    """
    n = dimension.n.astype(np.float64)
    rest = np.maximum(dimension.total_n - n, 1.0)
    return np.maximum(n * rest / (n + rest), 1e-9)


def _estimated(dimension: _Dimension) -> SegmentEstimates:
    posterior, p_values = None, None
    if dimension.standardized and dimension.strata is not None and dimension.values:
        rates = standardized_rates(dimension.strata, dimension.baseline, dimension.prior)
        posterior = Posterior(rates.mean, rates.low, rates.high, rates.ratio)
        p_values = stratified_p_values(dimension.strata)
    elif dimension.posterior is not None:
        mean, low, high = dimension.posterior
        rest = dimension.total_n - dimension.n
        others = (dimension.total_k - dimension.k + 0.5) / (rest + 1.0)
        posterior = Posterior(mean, low, high, np.where(rest > 0, mean / others, np.nan))
    return estimate_segments(
        dimension.k,
        dimension.n,
        total=(dimension.total_k, dimension.total_n),
        baseline=dimension.baseline,
        strata=dimension.strata,
        posterior=posterior,
        p_values=p_values,
    )
