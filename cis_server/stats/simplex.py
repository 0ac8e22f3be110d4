"""Vectors with bounded entries of fixed total: projection, and a normal law on them."""

from __future__ import annotations

import numpy as np
from scipy import special

from cis_server.stats.arrays import FloatArray


def project_to_box_simplex(
    point: FloatArray, *, low: float, high: float, total: float
) -> FloatArray:
    """The nearest vector with entries in [low, high] that sum to ``total``.

    It is clip(point - tau, low, high) for the one tau that makes the sum right (the Karush-Kuhn-
    Tucker conditions of the projection); the sum falls as tau rises, so bisection finds it.

    Args:
        point: (m,) finite.
        low: smallest entry.
        high: largest entry.
        total: the sum; m * low <= total <= m * high.

    Raises:
        ValueError: no such vector exists.
    """
    m = len(point)
    if not m * low - 1e-12 <= total <= m * high + 1e-12:
        raise ValueError(f"{m} entries within [{low}, {high}] cannot sum to {total}")
    under, over = float(point.min()) - high, float(point.max()) - low
    for _ in range(100):
        middle = (under + over) / 2.0
        if np.clip(point - middle, low, high).sum() > total:
            under = middle
        else:
            over = middle
    result: FloatArray = np.clip(point - (under + over) / 2.0, low, high)
    return result


def truncated_normal_quantiles(
    mode: FloatArray,
    gradient: FloatArray,
    precision: FloatArray,
    *,
    low: float,
    high: float,
    probabilities: tuple[float, ...],
    generator: np.random.Generator,
    chains: int = 1000,
    sweeps: int = 40,
) -> FloatArray:
    """Marginal quantiles of density exp(-(g.d + d'Hd/2)), d = w - mode, on the box simplex.

    This is a Laplace approximation that respects the bounds: where the mode lies on a bound the
    gradient there does not vanish and keeps the law one-sided, which a symmetric interval around
    the mode would miss. Drawn by Gibbs steps along the directions e_i - e_j (they keep the sum),
    along which the law is a truncated normal with a closed-form quantile function; many short
    chains run side by side from the mode.

    Args:
        mode: (m,) a point of the box simplex, m >= 2.
        gradient: (m,) gradient g of the negative log density at the mode.
        precision: (m, m) Hessian H there, positive definite along the simplex.
        low: smallest entry.
        high: largest entry.
        probabilities: which quantiles.
        generator: randomness.
        chains: draws.
        sweeps: passes over all pairs.

    Returns:
        (len(probabilities), m) quantiles.
    """
    m = len(mode)
    pairs = [(i, j) for i in range(m) for j in range(i + 1, m)]
    state = np.tile(mode, (chains, 1))
    slope = np.tile(gradient, (chains, 1))
    for _ in range(sweeps):
        for i, j in pairs:
            curvature = precision[i, i] - 2.0 * precision[i, j] + precision[j, j]
            sd = 1.0 / np.sqrt(max(curvature, 1e-12))
            centre = -(slope[:, i] - slope[:, j]) * sd * sd
            lower = np.maximum(low - state[:, i], state[:, j] - high)
            upper = np.minimum(high - state[:, i], state[:, j] - low)
            step = _truncated_normal(centre, sd, lower, upper, generator.random(chains))
            state[:, i] += step
            state[:, j] -= step
            slope += step[:, None] * (precision[i] - precision[j])
    result: FloatArray = np.quantile(state, probabilities, axis=0)
    return result


def _truncated_normal(
    centre: FloatArray, sd: float, lower: FloatArray, upper: FloatArray, uniform: FloatArray
) -> FloatArray:
    # Work in the lower tail, where the distribution function keeps its digits.
    flip = np.where(lower + upper > 2.0 * centre, -1.0, 1.0)
    a = (np.where(flip > 0, lower - centre, centre - upper)) / sd
    b = (np.where(flip > 0, upper - centre, centre - lower)) / sd
    log_a, log_b = special.log_ndtr(a), special.log_ndtr(b)
    log_u = log_b + np.log1p(-(1.0 - uniform) * -np.expm1(np.minimum(log_a - log_b, 0.0)))
    step = centre + flip * sd * special.ndtri_exp(log_u)
    result: FloatArray = np.clip(step, lower, np.maximum(upper, lower))
    return result
