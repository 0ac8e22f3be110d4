"""Does a segment convert otherwise than the rest? p-values for many segments at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cis_server.stats.arrays import FloatArray, IntArray

EXACT_BELOW: Final = 1000
"""Units of a segment (or of its complement) below which the exact test is taken."""

# Tables whose probability equals the observed one up to rounding are as extreme as it.
_TIE = 1.0 + 1e-7
_RAGGED = 5_000_000


def segment_p_values(
    k: ArrayLike, n: ArrayLike, total_k: ArrayLike, total_n: ArrayLike
) -> FloatArray:
    """Two-sided p-value of each segment against its complement.

    Fisher's exact test by its mid-p-value where the segment or its complement has fewer than
    `EXACT_BELOW` units, the score test (Pearson's chi-square without correction) where both are
    large. The plain exact test is more careful than it says it is, which costs findings; tables as
    probable as the observed one counting half, it is as careful as the score test is (Lancaster
    1961; Agresti, Categorical Data Analysis, section 3.5.6).

    Args:
        k: (m,) converted in the segment.
        n: (m,) units in the segment.
        total_k: (m,) or one number: converted in segment and complement together.
        total_n: (m,) or one number: units in segment and complement together.

    Returns:
        (m,) p-values; NaN where segment or complement is empty. 1 where nobody or everybody
        converted.

    Raises:
        ValueError: counts that cannot be.
    """
    a, m, wins, units = np.broadcast_arrays(*(_counts(value) for value in (k, n, total_k, total_n)))
    shape = a.shape
    tables = np.column_stack([value.reshape(-1) for value in (a, m, wins, units)])
    if ((tables[:, 0] > tables[:, 1]) | (tables[:, 2] > tables[:, 3])).any() or (
        (tables[:, 0] > tables[:, 2]) | (tables[:, 1] - tables[:, 0] > tables[:, 3] - tables[:, 2])
    ).any():
        raise ValueError("a segment must be part of its total: k <= n, k <= K, n - k <= N - K")
    distinct, inverse = np.unique(tables, axis=0, return_inverse=True)
    p = np.full(len(distinct), np.nan)
    rest = distinct[:, 3] - distinct[:, 1]
    comparable = (distinct[:, 1] > 0) & (rest > 0)
    exact = comparable & (np.minimum(distinct[:, 1], rest) < EXACT_BELOW)
    p[exact] = fisher_p_values(*distinct[exact].T, mid=True)
    scored = comparable & ~exact
    p[scored] = score_p_values(*distinct[scored].T)
    return p[inverse.reshape(-1)].reshape(shape)


def fisher_p_values(
    k: IntArray, n: IntArray, total_k: IntArray, total_n: IntArray, *, mid: bool = False
) -> FloatArray:
    """Fisher's exact test, two-sided: the probability of all tables no likelier than the observed.

    Equal to `scipy.stats.fisher_exact`, for arrays: the supports of all tables stand behind each
    other in one array and are summed by segment. Cost grows with the sum of min(n, total_k).

    Args:
        k: (m,) converted in the segment; n, total_k and total_n as in `segment_p_values`, (m,).
        mid: tables exactly as probable as the observed one count half (mid-p-value).
    """
    first = np.maximum(0, n + total_k - total_n)
    length = np.minimum(n, total_k) - first + 1
    result = np.empty(len(k))
    begin = 0
    while begin < len(k):
        inside = np.cumsum(length[begin:]) <= _RAGGED
        end = begin + max(1, int(inside.sum()))
        part = slice(begin, end)
        result[part] = _fisher_block(
            k[part], n[part], total_k[part], total_n[part], first[part], length[part], mid
        )
        begin = end
    return result


def _fisher_block(
    k: IntArray,
    n: IntArray,
    total_k: IntArray,
    total_n: IntArray,
    first: IntArray,
    length: IntArray,
    mid: bool,
) -> FloatArray:
    starts = np.cumsum(length) - length
    owner = np.repeat(np.arange(len(k)), length)
    x = np.arange(int(length.sum())) - starts[owner] + first[owner]
    log_p = _log_hypergeometric(x, n[owner], total_k[owner], total_n[owner])
    observed = _log_hypergeometric(k, n, total_k, total_n)
    as_extreme = log_p <= observed[owner] + np.log(_TIE)
    chance = np.where(as_extreme, np.exp(log_p), 0.0)
    if mid:
        tied = as_extreme & (log_p >= observed[owner] - np.log(_TIE))
        # A table that is the only possible one is no evidence, not half of it.
        chance = np.where(tied & (length[owner] > 1), 0.5 * chance, chance)
    total = np.add.reduceat(chance, starts)
    result: FloatArray = np.minimum(total, 1.0)
    return result


def _log_hypergeometric(
    x: IntArray, n: IntArray, total_k: IntArray, total_n: IntArray
) -> FloatArray:
    result: FloatArray = (
        _log_choose(n, x) + _log_choose(total_n - n, total_k - x) - _log_choose(total_n, total_k)
    )
    return result


def _log_choose(n: IntArray, k: IntArray) -> FloatArray:
    result: FloatArray = (
        special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)
    )
    return result


def score_p_values(k: IntArray, n: IntArray, total_k: IntArray, total_n: IntArray) -> FloatArray:
    """Score test of equal rates: z = (p1 - p0) / sqrt(p (1 - p) (1/n1 + 1/n0)), p pooled.

    Args:
        k: (m,) converted in the segment; n, total_k and total_n as in `segment_p_values`, (m,).
    """
    rest = total_n - n
    pooled = total_k / total_n
    difference = k / n - (total_k - k) / rest
    variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / rest)
    z = np.divide(
        np.abs(difference),
        np.sqrt(variance),
        out=np.zeros(len(n)),
        where=variance > 0.0,
    )
    result: FloatArray = 2.0 * special.ndtr(-z)
    return result


def _counts(value: ArrayLike) -> IntArray:
    array = np.atleast_1d(np.asarray(value))
    whole = array.astype(np.int64)
    if (whole != array).any() or (whole < 0).any():
        raise ValueError("counts must be whole and not negative")
    return whole
