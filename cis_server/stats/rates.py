"""The segments of one dimension as rate estimates: the place where counts become answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cis_server.domain.rates import RateEstimate
from cis_server.stats.arrays import FloatArray
from cis_server.stats.evidence import segment_p_values
from cis_server.stats.proportions import lift
from cis_server.stats.shrinkage import shrink_rates
from cis_server.stats.stratified import stratified_lift


@dataclass(frozen=True, slots=True)
class Strata:
    """Counts of a dimension within strata of confounders (score tier x touch number).

    Attributes:
        k: (m, s) converted units per segment and stratum.
        n: (m, s) units per segment and stratum.
        total_k: (s,) converted units per stratum, over all segments.
        total_n: (s,) units per stratum, over all segments.
    """

    k: ArrayLike
    n: ArrayLike
    total_k: ArrayLike
    total_n: ArrayLike


@dataclass(frozen=True, slots=True)
class SegmentEstimates:
    """The m segments of one dimension before they are judged together with the rest of the run.

    Attributes:
        estimates: one per segment, in the order given; `q_value` still None.
        p_values: (m,) of segment against complement; NaN where there is no complement.
    """

    estimates: tuple[RateEstimate, ...]
    p_values: FloatArray


def estimate_segments(
    k: ArrayLike,
    n: ArrayLike,
    *,
    total: tuple[int, int] | None = None,
    baseline: float | None = None,
    strata: Strata | None = None,
) -> SegmentEstimates:
    """Rate, shrunk rate with interval, lifts and p-value of every segment of one dimension.

    Args:
        k: (m,) converted per segment.
        n: (m,) units per segment; 0 gives the dimension's prior.
        total: (converted, units) of which each segment's complement is the rest; None: the sums.
        baseline: rate that `lift` refers to; None: that of ``total``.
        strata: counts within strata, for the stratified lift.

    Returns:
        The estimates; independent of the order of segments and rows.

    Raises:
        ValueError: counts that cannot be.
    """
    converted = np.asarray(k, dtype=np.int64).reshape(-1)
    units = np.asarray(n, dtype=np.int64).reshape(-1)
    total_k, total_n = total if total is not None else (int(converted.sum()), int(units.sum()))
    reference = baseline
    if reference is None:
        reference = total_k / total_n if total_n else 0.0
    shrunk = shrink_rates(converted, units, total=(total_k, total_n))
    p_values = segment_p_values(converted, units, total_k, total_n)
    pooled = None
    if strata is not None and len(units):
        pooled = stratified_lift(strata.k, strata.n, strata.total_k, strata.total_n)
    estimates = tuple(
        RateEstimate(
            rate=int(converted[i]) / int(units[i]) if units[i] else None,
            adjusted_rate=float(shrunk.mean[i]),
            low=float(shrunk.low[i]),
            high=float(shrunk.high[i]),
            sample=int(units[i]),
            converted=int(converted[i]),
            lift=lift(int(converted[i]) / int(units[i]), reference) if units[i] else None,
            adjusted_lift=float(shrunk.mean[i] / shrunk.complement_mean[i])
            if units[i] and units[i] < total_n
            else None,
            stratified_lift=None if pooled is None else _known(pooled.lift[i]),
            stratified_low=None if pooled is None else _known(pooled.low[i]),
            stratified_high=None if pooled is None else _known(pooled.high[i]),
        )
        for i in range(len(units))
    )
    return SegmentEstimates(estimates, p_values)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
