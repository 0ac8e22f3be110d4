"""How far an estimate is trusted, for blending learned answers with defaults. Gates nothing."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

LEARNED_FROM: Final = 0.7
"""Confidence from which an answer is the learned one alone."""
BLENDED_FROM: Final = 0.5
"""Confidence from which learning begins to count."""

_ANCHORS: Final = ((30.0, 0.5), (100.0, 0.7), (500.0, 0.85), (1000.0, 0.95))


def effective_sample(n: int, converted: int) -> int:
    """min(n, 10 * converted, 10 * not converted): a thousand touches with one conversion are ten.

    Args:
        n: units observed, >= 0.
        converted: of them, 0..n.

    Raises:
        ValueError: counts that cannot be.
    """
    if not 0 <= converted <= n:
        raise ValueError(f"{converted} of {n} cannot have converted")
    return min(n, 10 * converted, 10 * (n - converted))


def confidence(n: int, converted: int) -> float:
    """Confidence 0..1 of a result that rests on ``converted`` of ``n``.

    Anchors (patterns, section 1.1) on the effective sample m: m < 10 gives .2; 10..29 gives
    .3 + .2 (m - 10) / 20; from 30 on linear in log10(m) through (30, .5), (100, .7), (500, .85),
    (1000, .95), flat above.
    """
    m = effective_sample(n, converted)
    if m < 10:
        return 0.2
    if m < 30:
        return 0.3 + 0.2 * (m - 10) / 20.0
    for (x0, y0), (x1, y1) in pairwise(_ANCHORS):
        if m <= x1:
            share = (math.log10(m) - math.log10(x0)) / (math.log10(x1) - math.log10(x0))
            return y0 + share * (y1 - y0)
    return _ANCHORS[-1][1]


def blend_weight(value: float) -> float:
    """Share of the learned answer in a blend with the default: (c - .5) / .2, kept in 0..1."""
    return min(1.0, max(0.0, (value - BLENDED_FROM) / (LEARNED_FROM - BLENDED_FROM)))
