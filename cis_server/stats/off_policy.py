"""What another policy would have earned, from choices that were drawn with known probabilities.

A choice made with propensity p that the policy in question would make with probability q stands for
q / p such choices. The self-normalised inverse-propensity estimate (Hájek 1971; Swaminathan &
Joachims 2015, "The Self-Normalized Estimator for Counterfactual Learning") is

    V = sum of w_i r_i / sum of w_i,   w_i = q_i / p_i,

biased by O(1 / n), but inside the range of the rewards and unmoved when all weights are off by the
same factor. Choices about the same unit (a lead) are not independent, so the variance is that of
the linearised ratio over units (Särndal, Swensson & Wretman 1992, section 5.6), and the interval is
that of a share with as many observations as would have this variance (Korn & Graubard 1998), which
stays inside 0..1 and holds for rare rewards, where a symmetric one does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as laws

from cis_server.stats.arrays import FloatArray
from cis_server.stats.proportions import Interval, jeffreys

EXTREME_SHARE: Final = 0.10
"""One choice that carries more than this share of all weight decides the estimate alone."""
MINIMUM_EFFECTIVE: Final = 30.0
"""Effective choices below which an estimate is a guess: the minimum of every rate here."""
MINIMUM_EFFECTIVE_SHARE: Final = 0.05
"""Effective choices / choices below which hardly any choice speaks for the policy."""

_Z90: Final = 1.6448536269514722


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEstimate:
    """Mean reward of a policy, as far as the logged choices tell."""

    value: float | None
    """0..1; None when no logged choice is one that the policy would make."""
    low: float
    """5 % bound; 0 without a value."""
    high: float
    """95 % bound; 1 without a value."""
    effective_size: float
    """(sum of w)^2 / sum of w^2 (Kish 1965): as many equally weighted choices say as much."""
    choices: int
    """Logged choices that were looked at."""
    supporting: int
    """Of those, the ones that the policy could have made."""
    largest_share: float
    """Share of all weight on the heaviest choice, 0..1."""
    warning: str
    """Why the estimate should not be trusted, in words; empty when nothing speaks against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDifference:
    """How much more one policy earns than another, both judged on the same choices."""

    value: float
    low: float
    high: float
    """90 % interval; the two estimates share their choices, which makes it narrower than the two
    intervals suggest."""


def policy_value(
    reward: ArrayLike, propensity: ArrayLike, target: ArrayLike, unit: ArrayLike
) -> PolicyEstimate:
    """Mean reward under another policy.

    Args:
        reward: (n,) what each choice earned, 0..1.
        propensity: (n,) probability with which it was drawn, above 0 and at most 1.
        target: (n,) probability with which the policy in question would make it, 0..1.
        unit: (n,) whom it was about; choices of one unit are taken to depend on each other.

    Raises:
        ValueError: lengths differ, or a number is outside of its range.
    """
    r, weight, of = _checked(reward, propensity, target, unit)
    total = float(weight.sum())
    if total <= 0.0:
        return PolicyEstimate(
            value=None,
            low=0.0,
            high=1.0,
            effective_size=0.0,
            choices=len(r),
            supporting=0,
            largest_share=0.0,
            warning="no logged choice is one that this policy would make",
        )
    found = _estimate(r, weight, of)
    effective = total**2 / float(np.square(weight).sum())
    largest = float(weight.max()) / total
    return PolicyEstimate(
        value=found.value,
        low=found.low,
        high=found.high,
        effective_size=effective,
        choices=len(r),
        supporting=int((weight > 0.0).sum()),
        largest_share=largest,
        warning=_warning(effective, len(r), largest),
    )


def policy_difference(
    reward: ArrayLike,
    propensity: ArrayLike,
    target: ArrayLike,
    baseline: ArrayLike,
    unit: ArrayLike,
) -> PolicyDifference | None:
    """Value of the policy ``target`` less that of the policy ``baseline``.

    The interval is put together from those of the two values, recovering a variance from each of
    their ends (Zou & Donner 2008, "Construction of confidence limits about effect measures: a
    general approach"; Newcombe 1998 for paired shares): with l, u the ends of v and rho the
    correlation of the two estimates,

        low = v1 - v2 - sqrt((v1 - l1)^2 - 2 rho (v1 - l1) (u2 - v2) + (u2 - v2)^2)

    and likewise up. It keeps what the intervals of `policy_value` know of rare rewards and heavy
    choices. (Measured over 400 seeds: a symmetric interval by the variance of the difference holds
    the truth in .65 to .87 of them where the value rests on 15 to 75 effective choices, this one
    in .89 to .94; from 120 on both do.)

    Args:
        reward, propensity, target, unit: as for `policy_value`.
        baseline: (n,) as ``target``, of the other policy.

    Returns:
        None when either policy has no value, or there is but one unit. Equal policies differ by 0.

    Raises:
        ValueError: as for `policy_value`.
    """
    r, first, of = _checked(reward, propensity, target, unit)
    _, second, _ = _checked(reward, propensity, baseline, unit)
    units = int(of.max()) + 1 if len(of) else 0
    if not (first.sum() > 0.0 and second.sum() > 0.0 and units > 1):
        return None
    if np.allclose(first / first.sum(), second / second.sum(), rtol=1e-12, atol=0.0):
        return PolicyDifference(value=0.0, low=0.0, high=0.0)
    ahead, behind = _estimate(r, first, of), _estimate(r, second, of)
    rho = _correlation(_scores(first, r, ahead.value, of), _scores(second, r, behind.value, of))
    gain = ahead.value - behind.value
    return PolicyDifference(
        value=gain,
        low=gain - _apart(ahead.value - ahead.low, behind.high - behind.value, rho),
        high=gain + _apart(ahead.high - ahead.value, behind.value - behind.low, rho),
    )


def _correlation(first: FloatArray, second: FloatArray) -> float:
    """Of two estimates from their linearised contributions; 0 where one has no spread."""
    spread = float(np.square(first).sum() * np.square(second).sum())
    if spread <= 0.0:
        return 0.0
    return min(1.0, max(-1.0, float((first * second).sum()) / math.sqrt(spread)))


def _apart(one: float, other: float, rho: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2.0 * rho * one * other + other**2))


@dataclass(frozen=True, slots=True)
class _Estimate:
    value: float
    low: float
    high: float


def _estimate(r: FloatArray, weight: FloatArray, of: NDArray[np.int64]) -> _Estimate:
    """Self-normalised value of a policy with some weight, and its interval."""
    value = min(1.0, max(0.0, float((weight * r).sum()) / float(weight.sum())))
    interval = _interval(value, weight, _scores(weight, r, value, of), of)
    return _Estimate(value, min(interval.low, value), max(interval.high, value))


def _scores(weight: FloatArray, r: FloatArray, value: float, of: NDArray[np.int64]) -> FloatArray:
    """Linearised contribution of each unit to the ratio; they add to 0."""
    result: FloatArray = np.bincount(of, weight * (r - value)) / weight.sum()
    return result


def _interval(
    value: float, weight: FloatArray, scores: FloatArray, of: NDArray[np.int64]
) -> Interval:
    """Jeffreys' interval with the observations that this variance is worth."""
    speaking = int((np.bincount(of, weight) > 0.0).sum())
    carried = np.bincount(of, weight)
    worth = float(carried.sum() ** 2 / np.square(carried).sum())
    variance = float(np.square(scores).sum())
    if speaking > 1 and variance > 0.0:
        variance *= speaking / (speaking - 1)
        # A few heavy units that happened not to convert would seem certain: their weight says at
        # most as much as so many equal ones (measured: coverage .82 without this where the value
        # rests on 38 effective choices, .94 with it).
        effective = float(weight.sum() ** 2 / np.square(weight).sum())
        worth = min(effective, value * (1.0 - value) / variance)
        # The variance is itself estimated, on one degree of freedom less than there are units.
        worth *= (_Z90 / float(laws.t.ppf(0.95, speaking - 1))) ** 2
    return jeffreys(value * worth, worth)


def _warning(effective: float, choices: int, largest: float) -> str:
    reasons = []
    if effective < MINIMUM_EFFECTIVE:
        reasons.append(f"only {effective:.0f} effective choices")
    elif effective < MINIMUM_EFFECTIVE_SHARE * choices:
        reasons.append(f"{choices} choices are worth only {effective:.0f}")
    if largest > EXTREME_SHARE:
        reasons.append(f"one choice carries {largest:.0%} of the weight")
    return "; ".join(reasons)


def _checked(
    reward: ArrayLike, propensity: ArrayLike, target: ArrayLike, unit: ArrayLike
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Rewards, weights and units as numbers from 0, in an order of their own: sums do not depend on
    the order of the rows."""
    r, p, q = (np.asarray(x, dtype=np.float64) for x in (reward, propensity, target))
    units = np.asarray(unit)
    if not r.shape == p.shape == q.shape == units.shape or r.ndim != 1:
        raise ValueError("rewards, propensities, targets and units must be as many")
    if not (np.isfinite(p).all() and (p > 0.0).all() and (p <= 1.0 + 1e-9).all()):
        raise ValueError("a propensity must lie above 0 and not above 1")
    if not ((q >= 0.0).all() and (q <= 1.0 + 1e-9).all() and (r >= 0.0).all() and (r <= 1.0).all()):
        raise ValueError("targets and rewards must lie in 0..1")
    _, of = np.unique(units, return_inverse=True)
    weight = q / p
    order = np.lexsort((r, weight, of))
    return r[order], weight[order], of[order].astype(np.int64)
