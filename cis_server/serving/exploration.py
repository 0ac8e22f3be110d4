"""Choosing between options: the best one, or now and then one drawn by Thompson sampling.

With an exploration share e > 0 a choice is drawn by Thompson sampling with probability e, else the
best one is taken. Thompson sampling picks an option with the probability that it is the best one
(Thompson 1933; Russo et al. 2018, A Tutorial on Thompson Sampling, section 3); that probability is
computed by quadrature and drawn from directly, so the logged propensity is exact, not an estimate.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.rates import RateEstimate
from cis_server.serving.draws import Draws

PRIOR_STRENGTH = 10.0
"""Pseudo-observations of an option without data: wide enough to be tried, not to be believed."""
DEFAULT_BASELINE = 0.05
"""Conversion rate assumed where a client has none: middle of the 3-8 % seen in outreach."""

_NORMAL_95 = 1.6448536269514722
_GRID = 1024


@dataclass(frozen=True, slots=True)
class Choice:
    """Which option was taken and how likely each was to be taken."""

    index: int
    propensities: tuple[float, ...]
    """Same order as the options; they add to 1."""


def choose(
    estimates: Sequence[RateEstimate | None],
    greedy: int,
    exploration_share: float,
    draws: Draws,
    *,
    baseline: float | None = None,
    discounts: Sequence[float] | None = None,
) -> Choice:
    """Take the greedy option or, with the exploration share, one by Thompson sampling.

    Args:
        estimates: belief about each option's rate; None for an option without data. At least one.
        greedy: index of the option that is best by the caller's ranking.
        exploration_share: probability of exploring, 0..1; at 0 nothing is drawn.
        draws: at most one number is taken.
        baseline: mean of the belief about an option without data, 0..1.
        discounts: factor in 0..1 on each option's rate, e.g. for the delay it costs.

    Returns:
        The option and the propensity of every option.
    """
    propensities = propensities_of(
        estimates, greedy, exploration_share, baseline=baseline, discounts=discounts
    )
    return Choice(drawn(propensities, greedy, exploration_share, draws), propensities)


def propensities_of(
    estimates: Sequence[RateEstimate | None],
    greedy: int,
    exploration_share: float,
    *,
    baseline: float | None = None,
    discounts: Sequence[float] | None = None,
) -> tuple[float, ...]:
    """How likely `choose` takes each option; arguments as there."""
    count = len(estimates)
    if exploration_share <= 0.0 or count == 1:
        return tuple(1.0 if i == greedy else 0.0 for i in range(count))
    share = min(exploration_share, 1.0)
    propensities = share * probabilities_best(estimates, baseline=baseline, discounts=discounts)
    propensities[greedy] += 1.0 - share
    propensities /= propensities.sum()
    return tuple(float(p) for p in propensities)


def drawn(
    propensities: Sequence[float], greedy: int, exploration_share: float, draws: Draws
) -> int:
    """The option `choose` takes at these propensities; arguments as there."""
    count = len(propensities)
    if exploration_share <= 0.0 or count <= 1:
        return greedy
    return min(bisect_right(list(accumulate(propensities)), draws.random()), count - 1)


def probabilities_best(
    estimates: Sequence[RateEstimate | None],
    *,
    baseline: float | None = None,
    discounts: Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """Probability that each option has the highest (discounted) rate, independent betas assumed.

    P(i best) = integral of f_i(x) * prod over j != i of F_j(x) dx, on a grid of equal steps; ties
    inside one step are shared evenly.

    Args:
        estimates: as in `choose`.
        baseline: as in `choose`.
        discounts: as in `choose`.

    Returns:
        One probability per option; they add to 1.
    """
    mean = DEFAULT_BASELINE if baseline is None or not 0.0 < baseline < 1.0 else baseline
    shapes = [_beta_shape(estimate, mean) for estimate in estimates]
    factors = [1.0] * len(shapes) if discounts is None else list(discounts)
    top = min(1.0, max(f * _upper_reach(a, b) for f, (a, b) in zip(factors, shapes, strict=True)))
    grid = (np.arange(_GRID) + 0.5) / _GRID * top
    mass = np.array([_mass(a, b, f, grid) for f, (a, b) in zip(factors, shapes, strict=True)])
    below = np.cumsum(mass, axis=1) - 0.5 * mass
    best = np.empty(len(shapes))
    for option in range(len(shapes)):
        others = np.delete(below, option, axis=0)
        best[option] = float(np.sum(mass[option] * np.prod(others, axis=0)))
    total = best.sum()
    return best / total if total > 0.0 else np.full(len(shapes), 1.0 / len(shapes))


def _beta_shape(estimate: RateEstimate | None, baseline: float) -> tuple[float, float]:
    """Beta with the estimate's mean and the spread that its 90 % interval has under normality."""
    if estimate is None:
        return baseline * PRIOR_STRENGTH, (1.0 - baseline) * PRIOR_STRENGTH
    mean = min(max(estimate.adjusted_rate, 1e-6), 1.0 - 1e-6)
    spread = max((estimate.high - estimate.low) / (2.0 * _NORMAL_95), 1e-9)
    strength = min(max(mean * (1.0 - mean) / spread**2 - 1.0, 1.0), 1e9)
    return mean * strength, (1.0 - mean) * strength


def _upper_reach(a: float, b: float) -> float:
    mean, strength = a / (a + b), a + b
    return min(1.0, mean + 8.0 * math.sqrt(mean * (1.0 - mean) / (strength + 1.0)))


def _mass(a: float, b: float, factor: float, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability mass of factor * Beta(a, b) on the grid's steps."""
    rate = grid / max(factor, 1e-12)
    inside = rate < 1.0
    log = np.full(grid.shape, -np.inf)
    log[inside] = (a - 1.0) * np.log(rate[inside]) + (b - 1.0) * np.log1p(-rate[inside])
    mass: NDArray[np.float64] = np.exp(log - log.max())
    mass /= mass.sum()
    return mass
