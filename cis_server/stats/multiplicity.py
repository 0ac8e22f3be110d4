"""False discoveries among many tests, and what counts as a winner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from cis_server.domain.vocabulary import Verdict
from cis_server.stats.arrays import FloatArray

FALSE_DISCOVERY_RATE: Final = 0.10
"""Largest q-value of a winner or loser."""
MINIMUM_FOR_ACTION: Final = 30
"""Units a segment needs before anybody may act on its verdict."""


def benjamini_hochberg(p_values: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """q-values: the false discovery rate at which each test would just be a discovery.

    q_(i) = min over j >= i of m p_(j) / j (Benjamini & Hochberg 1995; holds under independence and
    positive dependence). Equal to statsmodels' `multipletests(method="fdr_bh")`. With weights,
    p_i / w_i takes the place of p_i, where the weights average 1: each test gets its share of the
    error rate, which is controlled as before as long as the weights do not look at the outcomes
    (Genovese, Roeder & Wasserman 2006, "False discovery control with p-value weighting").

    Args:
        p_values: (m,) of every test of one run, 0..1; NaN where none was made.
        weights: (m,) positive, on any scale; those of tests not made do not count. None: all alike.

    Returns:
        (m,) q-values in the order given, NaN where p is NaN (such tests do not count in m).

    Raises:
        ValueError: a p-value lies outside 0..1, or the weight of a test is not positive.
    """
    p = np.asarray(p_values, dtype=np.float64).reshape(-1)
    made = np.isfinite(p)
    tested = p[made]
    if tested.size and (tested.min() < 0.0 or tested.max() > 1.0):
        raise ValueError("p-values must lie in 0..1")
    if weights is not None and tested.size:
        share = np.asarray(weights, dtype=np.float64).reshape(-1)[made]
        if not (np.isfinite(share).all() and share.min() > 0.0):
            raise ValueError("weights must be positive")
        tested = tested * (share.mean() / share)
    order = np.argsort(tested, kind="stable")
    scaled = tested[order] * tested.size / np.arange(1, tested.size + 1)
    q = np.empty(tested.size)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    result = np.full(p.shape, np.nan)
    result[made] = q
    return result


def verdict(
    low: float,
    high: float,
    q_value: float | None,
    baseline: float,
    n: int,
    *,
    false_discovery_rate: float = FALSE_DISCOVERY_RATE,
    minimum: int = MINIMUM_FOR_ACTION,
) -> Verdict:
    """Whether a segment wins, loses, or nobody can say.

    Winning: q <= .10 and ``low`` > baseline. Losing: q <= .10 and ``high`` < baseline. Either
    needs ``minimum`` units. The interval alone would name a false winner in a third of the runs
    where nothing matters; the q-value alone could name one whose rate is not known to differ from
    the client's.

    Args:
        low: 5 % posterior quantile of the segment's rate.
        high: 95 % posterior quantile.
        q_value: from `benjamini_hochberg` over the run; None when it was not tested.
        baseline: the client's rate.
        n: units of the segment.
        false_discovery_rate: largest q-value.
        minimum: units needed.
    """
    if q_value is None or not q_value <= false_discovery_rate or n < minimum:
        return Verdict.UNDECIDED
    if low > baseline:
        return Verdict.WINNING
    if high < baseline:
        return Verdict.LOSING
    return Verdict.UNDECIDED


def ranked(low: Sequence[float], n: Sequence[int], names: Sequence[str]) -> list[int]:
    """Positions of segments, best evidence first: by ``low``, then sample, then name."""
    return sorted(range(len(names)), key=lambda i: (-low[i], -n[i], names[i]))
