"""Risk ratios with confounders held fixed: compared within strata, then pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from cis_server.stats.arrays import FloatArray, IntArray

_Z90: Final = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class StratifiedLift:
    """Pooled risk ratios of m segments; NaN where no stratum allows one.

    Attributes:
        lift: (m,) Mantel-Haenszel risk ratio of segment against complement, >= 0.
        low: (m,) 5 % bound; NaN where it does not exist (no conversion on one side).
        high: (m,) 95 % bound.
        strata_used: (m,) strata that took part.
        strata_dropped: (m,) strata with units in which both outcomes or both sides were missing.
    """

    lift: FloatArray
    low: FloatArray
    high: FloatArray
    strata_used: IntArray
    strata_dropped: IntArray


def stratified_lift(
    k: ArrayLike, n: ArrayLike, stratum_k: ArrayLike, stratum_n: ArrayLike
) -> StratifiedLift:
    """Mantel-Haenszel risk ratio of each segment against the rest of each stratum.

    RR = sum_s k1 n0 / N over sum_s k0 n1 / N (Mantel & Haenszel 1959), with the interval of
    Greenland & Robins (1985) on log RR: variance = sum_s ((k1 + k0) n1 n0 - k1 k0 N) / N^2 over
    the product of the two sums. Strata in which nobody or everybody converted carry no comparison
    of rates and are dropped, as are those where one side has no unit.

    Args:
        k: (m, s) converted units of each segment per stratum.
        n: (m, s) units of each segment per stratum.
        stratum_k: (s,) or (m, s) converted units of each stratum, the segment's included.
        stratum_n: (s,) or (m, s) units of each stratum, the segment's included.

    Returns:
        One entry per segment; independent of the order of strata up to rounding.

    Raises:
        ValueError: a segment is larger than its stratum.
    """
    k1 = np.atleast_2d(np.asarray(k, dtype=np.float64))
    n1 = np.atleast_2d(np.asarray(n, dtype=np.float64))
    all_k = np.broadcast_to(np.asarray(stratum_k, dtype=np.float64), k1.shape)
    total = np.broadcast_to(np.asarray(stratum_n, dtype=np.float64), n1.shape)
    k0, n0 = all_k - k1, total - n1
    if ((k1 < 0) | (k1 > n1) | (k0 < 0) | (k0 > n0)).any():
        raise ValueError("a segment must be part of its stratum: 0 <= k <= n on both sides")
    used = (n1 > 0) & (n0 > 0) & (all_k > 0) & (all_k < total)
    size = np.where(used, total, 1.0)
    exposed = np.where(used, k1 * n0 / size, 0.0).sum(axis=1)
    compared = np.where(used, k0 * n1 / size, 0.0).sum(axis=1)
    spread = np.where(used, (all_k * n1 * n0 - k1 * k0 * total) / np.square(size), 0.0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = np.where(compared > 0, exposed / compared, np.nan)
        deviation = np.sqrt(np.maximum(spread, 0.0) / (exposed * compared))
        bounded = (exposed > 0) & (compared > 0)
        low = np.where(bounded, lift * np.exp(-_Z90 * deviation), np.nan)
        high = np.where(bounded, lift * np.exp(_Z90 * deviation), np.nan)
    return StratifiedLift(
        lift,
        low,
        high,
        used.sum(axis=1),
        ((total > 0) & ~used).sum(axis=1),
    )
