"""Quantiles of mixtures of Beta distributions.

The posterior of a rate, with mean and strength of its dimension integrated out on a grid, is such a
mixture. It has no closed quantiles; Newton steps on the log-odds of the rate find them, kept inside
a bracket that shrinks at every step.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import special

from cis_server.stats.arrays import FloatArray

# Log-odds that no quantile of interest lies beyond.
_REACH: Final = 28.0
_STEPS: Final = 60
# Density of a log-odds below which a step has no direction.
_LEAST_DENSITY: Final = 1e-300


def mixture_quantiles(
    levels: tuple[float, ...],
    a: FloatArray,
    b: FloatArray,
    weight: FloatArray,
    *,
    precision: float,
) -> tuple[FloatArray, ...]:
    """Quantiles of m mixtures of g components that share their weights.

    Args:
        levels: strictly between 0 and 1.
        a: (m, g) first parameters of the components.
        b: (m, g) second parameters.
        weight: (g,) weights, sum 1.
        precision: length of a Newton step, in log-odds, after which the point it leads to is taken.
            Newton squares the error: after a step of 3e-4 it is of the order 1e-7.

    Returns:
        (m,) quantiles per level.
    """
    start, norm = _start(levels, a, b, weight), special.betaln(a, b)
    # All levels together: rows i, i + m, ... are those of mixture i.
    level = np.repeat(levels, len(a))
    x = special.logit(np.clip(start, 1e-12, 1.0 - 1e-12))
    lower, upper = np.full(len(x), -_REACH), np.full(len(x), _REACH)
    live = np.arange(len(x))
    for _ in range(_STEPS):
        row, at = live % len(a), x[live]
        own_a, own_b = a[row], b[row]
        cdf = special.betainc(own_a, own_b, special.expit(at)[:, None]) @ weight
        below = cdf < level[live]
        lower[live] = np.where(below, at, lower[live])
        upper[live] = np.where(below, upper[live], at)
        log_p, log_q = special.log_expit(at)[:, None], special.log_expit(-at)[:, None]
        density = np.exp(own_a * log_p + own_b * log_q - norm[row]) @ weight
        step = (level[live] - cdf) / np.maximum(density, _LEAST_DENSITY)
        moved = at + np.clip(step, -2.0, 2.0)
        outside = (moved <= lower[live]) | (moved >= upper[live])
        moved = np.where(outside, (lower[live] + upper[live]) / 2.0, moved)
        x[live] = moved
        live = live[outside | (np.abs(step) >= precision)]
        if live.size == 0:
            break
    return tuple(special.expit(x).reshape(len(levels), len(a)))


def _start(
    levels: tuple[float, ...], a: FloatArray, b: FloatArray, weight: FloatArray
) -> FloatArray:
    """(levels * m,) quantiles of the Beta distributions with the means and variances of the
    mixtures."""
    each = a / (a + b)
    mean = each @ weight
    square = (each * (1.0 - each) / (a + b + 1.0) + np.square(each)) @ weight
    variance = square - np.square(mean)
    size = np.maximum(mean * (1.0 - mean) / np.maximum(variance, 1e-300) - 1.0, 1e-3)
    level = np.array(levels)[:, None]
    found = np.asarray(special.betaincinv(mean * size, (1.0 - mean) * size, level))
    return found.astype(np.float64, copy=False).reshape(-1)
