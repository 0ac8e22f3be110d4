"""The segments of one dimension as rate estimates: the place where counts become answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cis_server.domain.rates import RateEstimate
from cis_server.stats.arrays import FloatArray, IntArray
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


@dataclass(frozen=True, slots=True)
class Posterior:
    """Rates of m segments that were worked out otherwise than by pulling them towards each other.

    Attributes:
        mean: (m,) adjusted rates; NaN where there is none, and the usual one is taken.
        low: (m,) 5 % quantiles.
        high: (m,) 95 % quantiles.
        ratio: (m,) of the adjusted rate to that of the rest; NaN where unknown.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    ratio: FloatArray


def estimate_segments(
    k: ArrayLike,
    n: ArrayLike,
    *,
    total: tuple[int, int] | None = None,
    baseline: float | None = None,
    strata: Strata | None = None,
    posterior: Posterior | None = None,
    p_values: FloatArray | None = None,
) -> SegmentEstimates:
    """Rate, shrunk rate with interval, lifts and p-value of every segment of one dimension.

    Args:
        k: (m,) converted per segment.
        n: (m,) units per segment; 0 gives the dimension's prior.
        total: (converted, units) of which each segment's complement is the rest; None: the sums.
        baseline: rate that `lift` refers to; None: that of ``total``.
        strata: counts within strata, for the stratified lift.
        posterior: adjusted rates known already.
        p_values: (m,) of a test that was made already, instead of segment against complement.

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
    adjusted = _adjusted(converted, units, (total_k, total_n), posterior)
    if p_values is None:
        p_values = segment_p_values(converted, units, total_k, total_n)
    pooled = None
    if strata is not None and len(units):
        pooled = stratified_lift(strata.k, strata.n, strata.total_k, strata.total_n)
    estimates = tuple(
        RateEstimate(
            rate=int(converted[i]) / int(units[i]) if units[i] else None,
            adjusted_rate=float(adjusted.mean[i]),
            low=float(adjusted.low[i]),
            high=float(adjusted.high[i]),
            sample=int(units[i]),
            converted=int(converted[i]),
            lift=lift(int(converted[i]) / int(units[i]), reference) if units[i] else None,
            adjusted_lift=_known(adjusted.ratio[i]),
            stratified_lift=None if pooled is None else _known(pooled.lift[i]),
            stratified_low=None if pooled is None else _known(pooled.low[i]),
            stratified_high=None if pooled is None else _known(pooled.high[i]),
        )
        for i in range(len(units))
    )
    return SegmentEstimates(estimates, p_values)


def _adjusted(
    k: IntArray, n: IntArray, total: tuple[int, int], given: Posterior | None
) -> Posterior:
    """The given rates, and those pulled towards each other where none is given."""
    if given is not None and np.isfinite(given.mean).all():
        return given
    shrunk = shrink_rates(k, n, total=total)
    compared = (n > 0) & (n < total[1])
    ratio = np.where(compared, shrunk.mean / shrunk.complement_mean, np.nan)
    if given is None:
        return Posterior(shrunk.mean, shrunk.low, shrunk.high, ratio)
    told = np.isfinite(given.mean)
    return Posterior(
        np.where(told, given.mean, shrunk.mean),
        np.where(told, given.low, shrunk.low),
        np.where(told, given.high, shrunk.high),
        np.where(told, given.ratio, ratio),
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
