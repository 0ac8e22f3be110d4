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

from cis_server.stats.arrays import FloatArray, IntArray
from cis_server.stats.beta_mixture import mixture_quantiles

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
# Of quantiles: the error is then of the order 1e-7.
_PRECISION = 3e-4


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
    found = _posterior(converted, trials)
    low, high = mixture_quantiles(
        (LOW_QUANTILE, HIGH_QUANTILE), found.a, found.b, found.mixture.weight, precision=_PRECISION
    )
    mixture = found.mixture
    rest, back = np.unique(np.column_stack([others_n, others_k]), axis=0, return_inverse=True)
    complement_mean = (mixture.a + rest[:, 1][:, None]) / (
        mixture.a + mixture.b + rest[:, 0][:, None]
    )
    return ShrunkRates(
        found.mean[found.back],
        low[found.back],
        high[found.back],
        (complement_mean @ mixture.weight)[back.reshape(-1)],
    )


def shrunk_means(k: ArrayLike, n: ArrayLike) -> FloatArray:
    """(m,) posterior means, as of `shrink_rates`, for those who need no intervals.

    Args:
        k: (m,) converted per segment.
        n: (m,) leads per segment.

    Raises:
        ValueError: counts that cannot be.
    """
    converted, trials = _checked(k, n)
    if len(trials) == 0:
        return np.zeros(0)
    found = _posterior(converted, trials)
    return found.mean[found.back]


@dataclass(frozen=True, slots=True)
class _Posterior:
    """Of each distinct pair (n, k): a mixture of Beta(a_g, b_g), and its mean; `back` tells which
    pair a segment is."""

    a: FloatArray
    b: FloatArray
    mean: FloatArray
    mixture: _Mixture
    back: IntArray


def _posterior(converted: FloatArray, trials: FloatArray) -> _Posterior:
    pairs, back, count = np.unique(
        np.column_stack([trials, converted]), axis=0, return_inverse=True, return_counts=True
    )
    mixture = _hyperposterior(pairs[:, 1], pairs[:, 0], count.astype(np.float64))
    a = mixture.a[None, :] + pairs[:, 1][:, None]
    b = mixture.b[None, :] + (pairs[:, 0] - pairs[:, 1])[:, None]
    return _Posterior(a, b, (a / (a + b)) @ mixture.weight, mixture, back.reshape(-1))


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


def _checked(k: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    converted = np.asarray(k, dtype=np.float64).reshape(-1)
    trials = np.asarray(n, dtype=np.float64).reshape(-1)
    if len(converted) != len(trials):
        raise ValueError("k and n must have the same length")
    if not (np.isfinite(trials).all() and ((converted >= 0) & (converted <= trials)).all()):
        raise ValueError("0 <= k <= n must hold in every segment")
    return converted, trials
