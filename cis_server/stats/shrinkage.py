"""Rates of the segments of one dimension, pulled towards each other as far as they look alike.

k_i of n_i converted in segment i (a title, an industry, an hour); k_i ~ Binomial(n_i, p_i),
p_i ~ Beta(mu s, (1 - mu) s). Mean mu and strength s of the dimension are integrated out on a grid
instead of being plugged in: a plug-in treats the estimated s as known, and with few segments its
intervals cover far less than they claim (hierarchical model of Gelman et al., Bayesian Data
Analysis, 3rd ed., section 5.3). The posterior of p_i is then a mixture of Beta distributions.

Hyperprior: Jeffreys' Beta(1/2, 1/2) for mu; for s, density n0 / (s + n0)^2, which makes the
shrinkage factor s / (s + n0) uniform on 0..1 (Daniels 1999, "A prior for the variance in
hierarchical models"), where n0 is the geometric mean of the segments' sizes.

Results depend neither on the order of segments nor on that of the rows behind them: distinct
(k, n) pairs are sorted and counted first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cis_server.stats.arrays import FloatArray

LOW_QUANTILE: Final = 0.05
HIGH_QUANTILE: Final = 0.95

# Log-odds of the shrinkage factor: even steps reach strengths far from the sizes seen, which a few
# huge segments beside many small ones need.
_REACH, _STRENGTHS = 5.5, 19
# Many segments tell s so exactly that the grid must be finer to hold its posterior.
_MANY, _STRENGTHS_OF_MANY = 100, 35
_MEANS = 9
_SPREAD = 4.5
_KEPT_MASS = 0.997


@dataclass(frozen=True, slots=True)
class ShrunkRates:
    """Posterior of each segment's rate, in the order given.

    Attributes:
        mean: (m,) posterior means, the adjusted rates.
        low: (m,) 5 % quantiles.
        high: (m,) 95 % quantiles.
        complement_mean: (m,) posterior mean of everything outside the segment, shrunk like a
            segment.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    complement_mean: FloatArray


def shrink_rates(
    k: ArrayLike, n: ArrayLike, *, total: tuple[float, float] | None = None
) -> ShrunkRates:
    """Posterior mean and 90 % interval of every segment of one dimension.

    Args:
        k: (m,) converted per segment.
        n: (m,) leads per segment, 0 <= k <= n. n = 0 gives the law of a new segment of this
            dimension.
        total: (converted, leads) of which each segment's complement is the rest; None: the sums of
            ``k`` and ``n``, right where the segments divide the leads among them.

    Raises:
        ValueError: counts that cannot be.
    """
    converted, trials = _checked(k, n)
    if len(trials) == 0:
        return ShrunkRates(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))
    total_k, total_n = total if total is not None else (converted.sum(), trials.sum())
    others_k, others_n = _checked(total_k - converted, total_n - trials)
    pairs, inverse, count = np.unique(
        np.column_stack([trials, converted]), axis=0, return_inverse=True, return_counts=True
    )
    mixture = _hyperposterior(pairs[:, 1], pairs[:, 0], count.astype(np.float64))
    a = mixture.a[None, :] + pairs[:, 1][:, None]
    b = mixture.b[None, :] + (pairs[:, 0] - pairs[:, 1])[:, None]
    mean_of_each = a / (a + b)
    mean = mean_of_each @ mixture.weight
    variance = (
        mean_of_each * (1.0 - mean_of_each) / (a + b + 1.0) + np.square(mean_of_each)
    ) @ mixture.weight - np.square(mean)
    low = _quantile(LOW_QUANTILE, a, b, mixture.weight, mean, variance)
    high = _quantile(HIGH_QUANTILE, a, b, mixture.weight, mean, variance)
    back = inverse.reshape(-1)
    complement = np.unique(np.column_stack([others_n, others_k]), axis=0, return_inverse=True)
    rest, rest_back = complement[0], complement[1].reshape(-1)
    complement_mean = (mixture.a + rest[:, 1][:, None]) / (
        mixture.a + mixture.b + rest[:, 0][:, None]
    )
    return ShrunkRates(
        mean[back], low[back], high[back], (complement_mean @ mixture.weight)[rest_back]
    )


@dataclass(frozen=True, slots=True)
class _Mixture:
    """Beta(a_g, b_g) with weight_g: the law of a new segment's rate."""

    a: FloatArray
    b: FloatArray
    weight: FloatArray


def _hyperposterior(k: FloatArray, n: FloatArray, count: FloatArray) -> _Mixture:
    """Posterior weights of (mu, s) on a grid whose mu axis follows the spread each s implies."""
    informative = n > 0
    k, n, count = k[informative], n[informative], count[informative]
    scale = _typical_size(n, count)
    steps = _STRENGTHS if count.sum() < _MANY else _STRENGTHS_OF_MANY
    factor = special.expit(np.linspace(-_REACH, _REACH, steps))
    strength = scale * factor / (1.0 - factor)
    centre, sd = _location(k, n, count, strength)
    offset = np.linspace(-_SPREAD, _SPREAD, _MEANS)
    logit = centre[:, None] + sd[:, None] * offset[None, :]
    mu = special.expit(logit).reshape(-1)
    s = np.repeat(strength, _MEANS)
    a, b = mu * s, (1.0 - mu) * s
    # Per unit of log-odds Jeffreys' density of mu is sqrt(mu (1 - mu)), that of a uniform factor
    # f (1 - f); sd is the width of a cell.
    log_weight = 0.5 * (np.log(mu) + np.log1p(-mu))
    log_weight += np.repeat(np.log(sd * factor * (1.0 - factor)), _MEANS)
    if len(n):
        marginal = special.betaln(a + k[:, None], b + (n - k)[:, None]) - special.betaln(a, b)
        log_weight = log_weight + count @ marginal
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    order = np.argsort(-weight, kind="stable")
    kept = order[: int(np.searchsorted(np.cumsum(weight[order]), _KEPT_MASS)) + 1]
    return _Mixture(a[kept], b[kept], weight[kept] / weight[kept].sum())


def _typical_size(n: FloatArray, count: FloatArray) -> float:
    """n0, at least 2."""
    if len(n) == 0:
        return 10.0
    return float(max(2.0, np.exp(count @ np.log(n) / count.sum())))


def _location(
    k: FloatArray, n: FloatArray, count: FloatArray, strength: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Centre and standard deviation of log-odds of mu for each strength, roughly.

    Overdispersion makes a segment of n leads worth n (s + 1) / (s + n) independent ones.
    """
    if len(n) == 0:
        return np.zeros(len(strength)), np.full(len(strength), 2.0)
    worth = n[None, :] * (strength[:, None] + 1.0) / (strength[:, None] + n[None, :])
    total = worth @ count
    rate = ((worth * (k / n)) @ count + 0.5) / (total + 1.0)
    return special.logit(rate), 1.0 / np.sqrt((total + 1.0) * rate * (1.0 - rate))


def _quantile(
    level: float,
    a: FloatArray,
    b: FloatArray,
    weight: FloatArray,
    mean: FloatArray,
    variance: FloatArray,
) -> FloatArray:
    """Quantiles of Beta mixtures by Newton steps on log-odds, kept inside a shrinking bracket."""
    size = np.maximum(mean * (1.0 - mean) / np.maximum(variance, 1e-300) - 1.0, 1e-3)
    start = special.betaincinv(mean * size, (1.0 - mean) * size, level)
    x = special.logit(np.clip(start, 1e-12, 1.0 - 1e-12))
    lower, upper = np.full(len(x), -28.0), np.full(len(x), 28.0)
    norm = special.betaln(a, b)
    live = np.arange(len(x))
    for _ in range(60):
        p = special.expit(x[live])
        cdf = special.betainc(a[live], b[live], p[:, None]) @ weight
        lower[live] = np.where(cdf < level, x[live], lower[live])
        upper[live] = np.where(cdf < level, upper[live], x[live])
        log_p, log_q = special.log_expit(x[live]), special.log_expit(-x[live])
        density = np.exp(a[live] * log_p[:, None] + b[live] * log_q[:, None] - norm[live]) @ weight
        step = (level - cdf) / np.maximum(density, 1e-300)
        moved = x[live] + np.clip(step, -2.0, 2.0)
        outside = (moved <= lower[live]) | (moved >= upper[live])
        moved = np.where(outside, (lower[live] + upper[live]) / 2.0, moved)
        # Newton squares the error: after a step this short it is of the order 1e-7.
        done = ~outside & (np.abs(step) < 3e-4)
        x[live] = moved
        live = live[~done]
        if live.size == 0:
            break
    result: FloatArray = special.expit(x)
    return result


def _checked(k: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    converted = np.asarray(k, dtype=np.float64).reshape(-1)
    trials = np.asarray(n, dtype=np.float64).reshape(-1)
    if len(converted) != len(trials):
        raise ValueError("k and n must have the same length")
    if not (np.isfinite(trials).all() and ((converted >= 0) & (converted <= trials)).all()):
        raise ValueError("0 <= k <= n must hold in every segment")
    return converted, trials
