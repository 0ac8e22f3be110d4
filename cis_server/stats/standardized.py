"""Rates as they would be if every segment had the same confounders, and the test that goes with it.

Where something else (the score tier, how far a sequence got) decides both who is in a segment and
who converts, raw rates compare unlike with unlike. Here a segment is compared with the rest within
strata, and the ratio is put back on the scale of the whole: if a share e of the rows is exposed and
exposure multiplies the rate by r, the whole rate h is h1 (e + (1 - e) / r), so that

    h1 = h r / (e r + 1 - e).

r = 1 gives the rate of the whole, and h1 > h exactly when r > 1. The rate of the whole is an
estimate as well: with K conversions log h has variance (1 - h) / K, which the interval of h1 takes
in (delta method).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special

from cis_server.stats.arrays import FloatArray, IntArray
from cis_server.stats.rates import Strata
from cis_server.stats.stratified import stratified_lift

_Z90: Final = 1.6448536269514722
EXACT_BELOW: Final = 25.0
"""Variance of a segment's conversions below which the test is exact."""
_TIE: Final = 1.0 + 1e-7
LOG_RATIO_SD: Final = 0.7
"""Prior standard deviation of log r: most ratios lie between 1/3 and 3."""


def stratified_p_values(strata: Strata) -> FloatArray:
    """Two-sided Cochran-Mantel-Haenszel test of each segment against the rest of each stratum.

    z = sum_s (k1 - n1 K / N) / sqrt(sum_s n1 n0 K (N - K) / (N^2 (N - 1))), without continuity
    correction (Mantel & Haenszel 1959). Where that variance is below `EXACT_BELOW` the normal
    distribution makes too many small p-values; there the test is exact: the law of sum_s k1 given
    all margins is the convolution of the strata's hypergeometric laws, and the p-value is the
    probability of all sums no likelier than the observed one. One stratum is Fisher's test.

    Args:
        strata: counts of m segments.

    Returns:
        (m,) p-values; NaN where no stratum allows a comparison.
    """
    excess, variance = _excess(strata)
    with np.errstate(divide="ignore", invalid="ignore"):
        p: FloatArray = 2.0 * special.ndtr(-np.abs(excess) / np.sqrt(variance))
    p = np.where(variance > 0, p, np.nan)
    exact = np.flatnonzero((variance > 0) & (variance < EXACT_BELOW))
    if exact.size:
        k, n = (np.atleast_2d(np.asarray(v, dtype=np.int64))[exact] for v in (strata.k, strata.n))
        total_k, total_n = (
            np.asarray(value, dtype=np.int64) for value in (strata.total_k, strata.total_n)
        )
        p[exact] = _exact_p_values(k.sum(axis=1), n, total_k, total_n)
    return p


def _exact_p_values(
    observed: IntArray, n: IntArray, total_k: IntArray, total_n: IntArray
) -> FloatArray:
    """(m,) exact p-values of observed sums (m,), given the margins (m, s), (s,) and (s,).

    The hypergeometric laws of all segments and strata stand behind each other in one array. A
    stratum that leaves no choice moves the sum and nothing else.
    """
    least = np.maximum(0, n + total_k - total_n)
    segment, stratum = np.nonzero(np.minimum(n, total_k) > least)
    first = least[segment, stratum]
    size, wins, units = n[segment, stratum], total_k[stratum], total_n[stratum]
    ends = np.cumsum(np.minimum(size, wins) - first + 1)
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    owner = np.repeat(np.arange(len(ends)), ends - starts)
    x = np.arange(len(owner)) - starts[owner] + first[owner]
    log_p = (
        (special.gammaln(size + 1.0) + special.gammaln(units - size + 1.0))[owner]
        - special.gammaln(x + 1.0)
        - special.gammaln(size[owner] - x + 1.0)
        - special.gammaln(wins[owner] - x + 1.0)
        - special.gammaln((units - size - wins)[owner] + x + 1.0)
    )
    law = np.exp(log_p - np.maximum.reduceat(log_p, starts)[owner])
    law /= np.add.reduceat(law, starts)[owner]
    p = np.empty(len(observed))
    laws = np.split(law, starts[1:])
    ofs = np.searchsorted(segment, np.arange(len(observed) + 1))
    for number, seen in enumerate((observed - least.sum(axis=1)).tolist()):
        total = np.ones(1)
        for own in laws[ofs[number] : ofs[number + 1]]:
            total = np.convolve(total, own)
        p[number] = min(1.0, total[total <= total[seen] * _TIE].sum())
    return p


@dataclass(frozen=True, slots=True)
class StandardizedRates:
    """Rates with the strata held fixed; NaN where no stratum allows a comparison.

    Attributes:
        mean: (m,) centre of each rate.
        low: (m,) 5 % bound.
        high: (m,) 95 % bound.
        ratio: (m,) shrunk ratio to the rest.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    ratio: FloatArray


@dataclass(frozen=True, slots=True)
class LogRatios:
    """Normal laws of log r, one per segment.

    Attributes:
        mean: (m,) centres; 0 where nothing is known.
        sd: (m,) standard deviations; infinite where nothing is known.
    """

    mean: FloatArray
    sd: FloatArray


def log_ratios(strata: Strata) -> LogRatios:
    """What the data alone say of log r.

    The Mantel-Haenszel estimate with the variance of Greenland & Robins, or, where one side has no
    conversion, Peto's one-step estimate (Yusuf et al. 1985).

    Args:
        strata: counts of m segments.
    """
    found = stratified_lift(strata.k, strata.n, strata.total_k, strata.total_n)
    excess, variance = _excess(strata)
    bounded = np.isfinite(found.low) & np.isfinite(found.high) & (found.lift > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.where(bounded, np.log(found.lift), excess / variance)
        spread = (np.log(found.high) - np.log(found.low)) / (2.0 * _Z90)
        sd = np.where(bounded, spread, 1.0 / np.sqrt(variance))
        told = (variance > 0) & np.isfinite(sd) & (sd > 0)
    return LogRatios(np.where(told, log_ratio, 0.0), np.where(told, sd, np.inf))


def expected_from(elsewhere: Strata) -> LogRatios:
    """Prior of log r in one part (a channel), given the same segments in all other parts.

    log r = u + d: u is common to all parts, d is the part's own, both normal around 0 with half the
    variance of `LOG_RATIO_SD`, so that a part without others has the usual prior. What the others
    show is u with a deviation of theirs, and their noise.

    Args:
        elsewhere: counts of the m segments in the other parts.
    """
    common = LOG_RATIO_SD**2 / 2.0
    seen = log_ratios(elsewhere)
    noise = np.square(seen.sd) + common
    precision = 1.0 / common + 1.0 / noise
    return LogRatios(seen.mean / noise / precision, np.sqrt(1.0 / precision + common))


def standardized_rates(
    strata: Strata, whole: float, prior: LogRatios | None = None
) -> StandardizedRates:
    """Rate of each segment with the strata held fixed, with its 90 % interval.

    log r as of `log_ratios`, shrunk by a normal prior.

    Args:
        strata: counts of m segments.
        whole: rate of all units whose segment is known, 0..1.
        prior: of log r; around 0 with `LOG_RATIO_SD` by default.
    """
    found = log_ratios(strata)
    _, variance = _excess(strata)
    mean, sd = (prior.mean, prior.sd) if prior is not None else (0.0, LOG_RATIO_SD)
    evidence = np.square(1.0 / found.sd)
    precision = evidence + 1.0 / np.square(sd)
    centre = (found.mean * evidence + mean / np.square(sd)) / precision
    half = _Z90 / np.sqrt(precision)
    exposed = np.atleast_2d(np.asarray(strata.n, dtype=np.float64)).sum(axis=1)
    share = exposed / max(float(np.asarray(strata.total_n).sum()), 1.0)

    events = max(float(np.asarray(strata.total_k).sum()), 1.0)

    half_of_whole = _Z90 * np.sqrt(max(1.0 - whole, 0.0) / events)

    def log_factor(log_r: FloatArray) -> FloatArray:
        """log(h1 / h) for log r."""
        result: FloatArray = log_r - np.log(share * np.exp(log_r) + 1.0 - share)
        return result

    def rate(log_ratio_to_whole: FloatArray) -> FloatArray:
        standard = np.clip(whole * np.exp(log_ratio_to_whole), 0.0, 1.0)
        return np.where(variance > 0, standard, np.nan)

    middle = log_factor(centre)
    below = np.hypot(middle - log_factor(centre - half), half_of_whole)
    above = np.hypot(log_factor(centre + half) - middle, half_of_whole)
    return StandardizedRates(
        mean=rate(middle),
        low=rate(middle - below),
        high=rate(middle + above),
        ratio=np.where(variance > 0, np.exp(centre), np.nan),
    )


def _excess(strata: Strata) -> tuple[FloatArray, FloatArray]:
    """Conversions beyond the expected number and their variance, per segment, over strata."""
    k1 = np.atleast_2d(np.asarray(strata.k, dtype=np.float64))
    n1 = np.atleast_2d(np.asarray(strata.n, dtype=np.float64))
    total_k = np.asarray(strata.total_k, dtype=np.float64)
    total_n = np.asarray(strata.total_n, dtype=np.float64)
    size = np.maximum(total_n, 1.0)
    excess = (k1 - n1 * (total_k / size)).sum(axis=1)
    spread = total_k * (total_n - total_k) / (np.square(size) * np.maximum(total_n - 1.0, 1.0))
    return excess, (n1 * (total_n - n1) * spread).sum(axis=1)
