"""Experiments with two or more arms: what is believed, and what may be concluded at any time.

Display and verdict are two things. The posterior (Beta-Binomial, uniform prior) says what is
believed of each arm. It must not decide: looked at often enough, it names a winner where there is
none. The verdict rests on a confidence sequence, which holds at all times at once, however often
somebody looks: the mixture sequential probability ratio test (Robbins 1970; Johari, Koomen, Pekelis
& Walsh 2017, "Peeking at A/B tests", section 4).

Counts are leads, never messages: the messages to one lead are not independent trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Final

import numpy as np
from scipy import special

from cis_server.stats.arrays import FloatArray

ALPHA: Final = 0.05
"""Chance that a test of equal arms ever names a winner."""
EQUIVALENCE_MARGIN: Final = 0.10
"""Differences inside +- this share of the pooled rate do not matter."""
MIXTURE_SD: Final = 0.25
"""Standard deviation of the mixture, as a share of the pooled rate: effects of that size are found
soonest. Fixed beforehand, so it costs nothing of the guarantee."""
SAMPLE_RATIO_ALPHA: Final = 0.001
"""p-value of the sample ratio below which nothing is concluded."""
MINIMUM_PER_ARM: Final = 50
"""Leads of each arm below which nothing is concluded."""
MINIMUM_OUTCOMES: Final = 10
"""Conversions, and non-conversions, of two arms together below which the normal law is no good
description of their difference."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)
_TAIL: Final = 1e-9
_HALVINGS: Final = 40


class Conclusion(StrEnum):
    """What an experiment has shown so far."""

    WINNER = "winner"
    NO_DIFFERENCE = "no_difference"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Arm:
    """Leads of one arm, and those of them that converted."""

    n: int
    converted: int

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        if not 0 <= self.converted <= self.n:
            raise ValueError(f"{self.converted} of {self.n} cannot have converted")


@dataclass(frozen=True, slots=True)
class Interval:
    """Two ends of a range."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPosterior:
    """What is believed of one arm.

    Attributes:
        mean: posterior mean of its rate.
        low: 5 % quantile.
        high: 95 % quantile.
        probability_best: that its rate is the highest.
        expected_loss: of rate, on average, when it is chosen: E[max_j p_j] - E[p].
    """

    mean: float
    low: float
    high: float
    probability_best: float
    expected_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment as it stands.

    Attributes:
        arms: posteriors, in the order given.
        best: index of the arm with the highest posterior mean; ties go to the larger arm, then to
            the first.
        worst: index of the one with the lowest; never `best`.
        difference: posterior mean of best less worst.
        difference_interval: its 90 % posterior interval.
        sequence: always-valid confidence sequence of best less worst, at level 1 - `ALPHA` over
            all pairs; None while there is too little to say.
        sample_ratio_p_value: of the check that shares are those planned.
        conclusion: what may be concluded.
    """

    arms: tuple[ArmPosterior, ...]
    best: int
    worst: int
    difference: float
    difference_interval: Interval
    sequence: Interval | None
    sample_ratio_p_value: float
    conclusion: Conclusion


def experiment(
    arms: Sequence[Arm], *, planned_shares: Sequence[float] | None = None, alpha: float = ALPHA,
    margin: float = EQUIVALENCE_MARGIN,
) -> Experiment:  # fmt: skip
    """Judge an experiment.

    A winner is the best arm when its confidence sequences against all others exclude 0. There is no
    difference when those of all pairs lie inside +- `margin` of the pooled rate. With m arms each
    of the m (m - 1) / 2 pairs gets its share of `alpha` (Bonferroni).

    Args:
        arms: two or more.
        planned_shares: of the leads each arm should get, adding to 1; None when the plan is not
            known, see `sample_ratio_p_value`.
        alpha: chance that equal arms are ever told apart.
        margin: as a share of the pooled rate.

    Raises:
        ValueError: fewer than two arms, or shares that do not fit them.
    """
    if len(arms) < 2:
        raise ValueError("an experiment has two or more arms")
    posteriors = posterior(arms)
    order = sorted(range(len(arms)), key=lambda i: (-posteriors[i].mean, -arms[i].n, i))
    best, worst = order[0], order[-1]
    ratio = sample_ratio_p_value([arm.n for arm in arms], planned_shares)
    share = alpha / math.comb(len(arms), 2)
    pairs = {
        (i, j): confidence_sequence(arms[i], arms[j], share)
        for i, j in combinations(order, 2)
    }  # fmt: skip
    return Experiment(
        arms=posteriors,
        best=best,
        worst=worst,
        difference=posteriors[best].mean - posteriors[worst].mean,
        difference_interval=difference_interval(arms[best], arms[worst]),
        sequence=pairs[best, worst],
        sample_ratio_p_value=ratio,
        conclusion=_conclusion(arms, best, pairs, ratio, margin),
    )


def posterior(arms: Sequence[Arm]) -> tuple[ArmPosterior, ...]:
    """Posterior of each arm under independent Beta(1, 1) priors, by quadrature: no draws.

    P(arm i best) = int f_i(x) prod_{j != i} F_j(x) dx and E[max] = int (1 - prod_j F_j(x)) dx.
    """
    a = np.array([1.0 + arm.converted for arm in arms])
    b = np.array([1.0 + arm.n - arm.converted for arm in arms])
    mean = a / (a + b)
    start = float(special.betaincinv(a, b, _TAIL).min())
    end = float(special.betaincinv(a, b, 1.0 - _TAIL).max())
    x, dx = _grid(start, end)
    below = special.betainc(a[:, None], b[:, None], x[None, :])
    density = _density(a, b, x)
    best = np.array(
        [(density[i] * np.delete(below, i, axis=0).prod(axis=0)) @ dx for i in range(len(arms))]
    )
    best /= best.sum()
    highest = start + float((1.0 - below.prod(axis=0)) @ dx)
    low, high = special.betaincinv(a, b, 0.05), special.betaincinv(a, b, 0.95)
    return tuple(
        ArmPosterior(
            mean=float(mean[i]),
            low=float(low[i]),
            high=float(high[i]),
            probability_best=float(best[i]),
            expected_loss=max(0.0, highest - float(mean[i])),
        )
        for i in range(len(arms))
    )


def difference_interval(first: Arm, second: Arm, level: float = 0.90) -> Interval:
    """Equal-tailed posterior interval of the first rate less the second.

    P(p1 - p2 <= d) = int f_2(x) F_1(x + d) dx, inverted by halving.
    """
    a1, b1 = 1.0 + first.converted, 1.0 + first.n - first.converted
    a2, b2 = 1.0 + second.converted, 1.0 + second.n - second.converted
    ends = special.betaincinv(a2, b2, [_TAIL, 1.0 - _TAIL])
    x, dx = _grid(float(ends[0]), float(ends[1]))
    mass = _density(np.array([a2]), np.array([b2]), x)[0] * dx
    mass /= mass.sum()

    def quantile(share: float) -> float:
        low, high = -1.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            reached = float(mass @ special.betainc(a1, b1, np.clip(x + middle, 0.0, 1.0)))
            low, high = (middle, high) if reached < share else (low, middle)
        return (low + high) / 2.0

    tail = (1.0 - level) / 2.0
    return Interval(quantile(tail), quantile(1.0 - tail))


def confidence_sequence(first: Arm, second: Arm, alpha: float = ALPHA) -> Interval | None:
    """Range of the first rate less the second that holds at all times with chance 1 - `alpha`.

    theta = p1 - p2 with V = p (1 - p) (1 / n1 + 1 / n2), p pooled; mixing over theta ~ N(0, t^2)
    gives |theta - estimate| <= sqrt(V (V + t^2) / t^2 (2 ln(1 / alpha) + ln((V + t^2) / V)))
    (Johari et al. 2017, equation 11, inverted). t = `MIXTURE_SD` times the pooled rate.

    Args:
        first: one arm.
        second: the other.
        alpha: chance that the range ever misses.

    Returns:
        The range; None below `MINIMUM_PER_ARM` or `MINIMUM_OUTCOMES`.
    """
    units, won = first.n + second.n, first.converted + second.converted
    too_few = min(first.n, second.n) < MINIMUM_PER_ARM
    if too_few or min(won, units - won) < MINIMUM_OUTCOMES:
        return None
    estimate = first.converted / first.n - second.converted / second.n
    half = sequence_half_width(won / units, first.n, second.n, alpha)
    return Interval(max(-1.0, estimate - half), min(1.0, estimate + half))


def sequence_half_width(pooled: float, first: int, second: int, alpha: float) -> float:
    """Half the width of `confidence_sequence`.

    Args:
        pooled: rate of both arms together, above 0 and below 1.
        first: leads of one arm.
        second: leads of the other.
        alpha: chance that the range ever misses.
    """
    variance = pooled * (1.0 - pooled) * (1.0 / first + 1.0 / second)
    mixture = (MIXTURE_SD * pooled) ** 2
    wide = variance + mixture
    bound = 2.0 * math.log(1.0 / alpha) + math.log(wide / variance)
    return math.sqrt(variance * wide / mixture * bound)


def sample_ratio_p_value(units: Sequence[int], planned: Sequence[float] | None = None) -> float:
    """Chi-square test that the arms got the shares of leads they were meant to get.

    A mismatch means that leads went missing from one arm; then no comparison of rates can be
    trusted (Fabijan et al. 2019, "Diagnosing sample ratio mismatch").

    Args:
        units: leads per arm.
        planned: shares adding to 1. None: the plan is not known; it is taken to be either even or
            the nearest one in whole twentieths (70 : 30, 90 : 10), whichever fits better.

    Raises:
        ValueError: shares that do not fit the arms.
    """
    observed = np.asarray(units, dtype=np.float64)
    total = float(observed.sum())
    if total == 0:
        return 1.0
    if planned is not None:
        shares = np.asarray(planned, dtype=np.float64)
        if shares.shape != observed.shape or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
            raise ValueError("planned shares are positive, one per arm, and add to 1")
        return _chi_square_p_value(observed, shares * total)
    even = np.full(observed.shape, 1.0 / observed.size)
    candidates = [even]
    rounded = np.round(20.0 * observed / total) / 20.0
    if (rounded > 0).all() and abs(rounded.sum() - 1.0) < 1e-9:
        candidates.append(rounded)
    return max(_chi_square_p_value(observed, shares * total) for shares in candidates)


def _chi_square_p_value(observed: FloatArray, expected: FloatArray) -> float:
    statistic = float((np.square(observed - expected) / expected).sum())
    return float(special.chdtrc(observed.size - 1, statistic))


def _conclusion(
    arms: Sequence[Arm],
    best: int,
    pairs: dict[tuple[int, int], Interval | None],
    ratio: float,
    margin: float,
) -> Conclusion:
    known = [found for found in pairs.values() if found is not None]
    if ratio < SAMPLE_RATIO_ALPHA or len(known) < len(pairs):
        return Conclusion.INCONCLUSIVE
    if all(found.low > 0 for (i, _), found in zip(pairs, known, strict=True) if i == best):
        return Conclusion.WINNER
    pooled = sum(arm.converted for arm in arms) / sum(arm.n for arm in arms)
    near = margin * pooled
    if all(-near <= found.low and found.high <= near for found in known):
        return Conclusion.NO_DIFFERENCE
    return Conclusion.INCONCLUSIVE


def _grid(start: float, end: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of Gauss-Legendre quadrature from start to end."""
    half = (end - start) / 2.0
    return start + half * (_NODES + 1.0), half * _WEIGHTS


def _density(a: FloatArray, b: FloatArray, x: FloatArray) -> FloatArray:
    a, b = a[:, None], b[:, None]
    log = (a - 1.0) * np.log(x) + (b - 1.0) * np.log1p(-x) - special.betaln(a, b)
    result: FloatArray = np.exp(log)
    return result
