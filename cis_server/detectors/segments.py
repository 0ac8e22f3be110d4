"""Every segment of one detector run, judged together.

A detector names its dimensions; nothing is judged until all of them are known, because the false
discovery rate is controlled over every segment tested in the run (statistics, "Evidence"). Each
segment is compared with its complement: the units whose value is known and is another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cis_server.detectors.estimates import complement_p_values, shrunk_estimates, stratified
from cis_server.detectors.levels import Levels
from cis_server.detectors.risk_set import RiskSet, StratumCounts
from cis_server.detectors.rounding import rounded
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.patterns import AttributeRanking
from cis_server.domain.rates import SegmentRate
from cis_server.domain.vocabulary import Verdict
from cis_server.stats.arrays import BoolArray, FloatArray, IntArray
from cis_server.stats.multiplicity import benjamini_hochberg


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A dimension after the run: its published segments, best evidence first.

    Attributes:
        segments: ranked by `low`, then sample, then name; all that reached the minimum.
        coverage: share of units for which the dimension is known.
        tested: segments that took part in the multiplicity control.
    """

    dimension: str
    segments: tuple[SegmentRate, ...]
    coverage: float
    tested: int

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
    strata: StratumCounts | None


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
        self._dimensions: list[_Dimension] = []

    def add(
        self,
        levels: Levels,
        success: BoolArray,
        risk: RiskSet | None = None,
        *,
        baseline: float | None = None,
        strata: StratumCounts | None = None,
    ) -> None:
        """Add a dimension whose counts follow from its levels.

        Args:
            levels: which unit has which value.
            success: per unit, whether it converted.
            risk: rows of the same units for the stratified lift.
            baseline: rate of the population when it is not that of the run.
            strata: stratum counts worked out elsewhere, instead of `risk`.
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
        strata: StratumCounts | None = None,
        baseline: float | None = None,
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
        """
        self._dimensions.append(
            _Dimension(
                name=dimension,
                values=values,
                n=n,
                k=k,
                total_n=total[0],
                total_k=total[1],
                baseline=self._baseline if baseline is None else baseline,
                coverage=coverage,
                strata=strata,
            )
        )

    def judged(self) -> Mapping[str, Judged]:
        """Judge everything that was added.

        Returns:
            The dimensions by name, in the order they were added.
        """
        tested = [self._tested(dimension) for dimension in self._dimensions]
        p_values = [
            complement_p_values(d.n[mask], d.k[mask], d.total_n, d.total_k)
            for d, mask in zip(self._dimensions, tested, strict=True)
        ]
        everything = np.concatenate(p_values) if p_values else np.empty(0)
        q_values = benjamini_hochberg(everything)
        result: dict[str, Judged] = {}
        start = 0
        for dimension, mask in zip(self._dimensions, tested, strict=True):
            q = np.full(mask.size, np.nan)
            end = start + int(mask.sum())
            q[mask] = q_values[start:end]
            start = end
            result[dimension.name] = self._judge(dimension, mask, q)
        return result

    def _tested(self, dimension: _Dimension) -> BoolArray:
        least = self._settings.minimum_tested
        rest = dimension.total_n - dimension.n
        return np.asarray((dimension.n >= least) & (rest > 0), dtype=np.bool_)

    def _judge(self, dimension: _Dimension, tested: BoolArray, q: FloatArray) -> Judged:
        seen = dimension.n > 0
        estimates = shrunk_estimates(
            dimension.n[seen],
            dimension.k[seen],
            baseline=dimension.baseline,
            total=(dimension.total_n, dimension.total_k),
        )
        segments: list[SegmentRate] = []
        for place, estimate in zip(np.flatnonzero(seen), estimates, strict=True):
            if estimate.sample < self._settings.minimum_listed:
                continue
            # Rounded first, so that the verdict is the one a reader of the figures would give.
            complete = rounded(
                replace(
                    stratified(estimate, dimension.strata, int(place)),
                    q_value=float(q[place]) if tested[place] else None,
                )
            )
            segments.append(
                SegmentRate(
                    value=dimension.values[place],
                    estimate=complete,
                    verdict=self._verdict(complete.low, complete.high, complete.q_value, dimension),
                )
            )
        segments.sort(key=lambda s: (-s.estimate.low, -s.estimate.sample, s.value))
        return Judged(
            dimension=dimension.name,
            segments=tuple(segments),
            coverage=dimension.coverage,
            tested=int(tested.sum()),
        )

    def _verdict(
        self, low: float, high: float, q: float | None, dimension: _Dimension
    ) -> Verdict:
        # Where a dimension is known for some leads only, their own rate may differ from the
        # client's; a verdict has to hold against both.
        known = dimension.total_k / dimension.total_n if dimension.total_n else dimension.baseline
        if q is None or q > self._settings.false_discovery_rate:
            return Verdict.UNDECIDED
        if low > max(known, dimension.baseline):
            return Verdict.WINNING
        if high < min(known, dimension.baseline):
            return Verdict.LOSING
        return Verdict.UNDECIDED
