"""How many leads an experiment needs, judged the way it will be judged.

The verdict rests on a confidence sequence, which asks for more leads than a test that is looked at
once. So the size is not the textbook one of two proportions, which would promise a power that the
verdict does not have: it is the number of leads at which the sequence excludes no difference with
the stated probability, if the effect is as large as stated.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

from cis_server.stats.experiments import MINIMUM_OUTCOMES, MINIMUM_PER_ARM, sequence_half_width

POWER: Final = 0.8
"""Probability of finding the effect when it is there."""
MINIMUM_EFFECT: Final = 0.2
"""Relative effect worth finding."""
_MOST: Final = 1 << 40


def leads_per_arm(
    base_rate: float, effect: float, *, power: float = POWER, alpha: float = 0.05, arms: int = 2
) -> int:
    """Leads each arm needs for the verdict to name the better one.

    With rates p and p (1 + effect), n leads an arm and V the variance of the difference of raw
    rates, the sequence excludes 0 with probability `power` once p effect - h(n) >= z_power
    sqrt(V(n)), h being its half width (`stats.experiments.confidence_sequence`). Looking earlier
    too only adds chances to see it, so the power is a lower bound.

    Args:
        base_rate: p, above 0 and below 1.
        effect: relative, above 0; p (1 + effect) must stay below 1.
        power: 0.5..0.99.
        alpha: of the experiment; each of its pairs of arms gets its share, as in the verdict.
        arms: two or more.

    Returns:
        The smallest such n, at least what the verdict asks for in any case.

    Raises:
        ValueError: rates outside 0..1, or an effect that cannot be.
    """
    better = base_rate * (1.0 + effect)
    if not (0.0 < base_rate < 1.0 and effect > 0.0 and better < 1.0):
        raise ValueError("the rates with and without the effect lie between 0 and 1")
    share = alpha / math.comb(arms, 2)
    z = NormalDist().inv_cdf(power)
    spread = base_rate * (1.0 - base_rate) + better * (1.0 - better)
    pooled = (base_rate + better) / 2.0

    def enough(n: int) -> bool:
        half = sequence_half_width(pooled, n, n, share)
        return better - base_rate - half >= z * math.sqrt(spread / n)

    rarer = min(pooled, 1.0 - pooled)
    low = max(MINIMUM_PER_ARM, math.ceil(MINIMUM_OUTCOMES / (2.0 * rarer)))
    if enough(low):
        return low
    high = low
    while not enough(high) and high < _MOST:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
