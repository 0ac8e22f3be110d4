"""Experiments looked at again and again while they run."""

from __future__ import annotations

import math

import numpy as np

from cis_server.stats.experiments import Arm, Conclusion, experiment
from tests.proof.cases import Figures

LOOK_EVERY, PER_ARM = 250, 5_000
BASE = 0.08
_Z95 = 1.959963984540054


def measure(seed: int, *, lift: float) -> Figures:
    """Whether any look names a winner, and after how many leads an arm.

    Args:
        seed: of the outcomes.
        lift: rate of the second arm / rate of the first; 1 for an A/A test.
    """
    rng = np.random.default_rng([seed, round(1_000 * lift)])
    looks = PER_ARM // LOOK_EVERY
    rates = np.array([[BASE], [BASE * lift]])
    wins = np.cumsum(rng.binomial(LOOK_EVERY, rates, (2, looks)), axis=1)
    found = tested = lost = None
    for look in range(looks):
        n = LOOK_EVERY * (look + 1)
        a, b = int(wins[0, look]), int(wins[1, look])
        state = experiment([Arm(n, a), Arm(n, b)])
        if found is None and state.conclusion is Conclusion.WINNER:
            found = n
        if tested is None and abs(_z(a, b, n)) > _Z95:
            tested = n
        best = state.arms[state.best]
        if lost is None and best.expected_loss < 0.01 * (a + b) / (2 * n):
            lost = n
    return {"found_at": found, "tested_at": tested, "lost_at": lost}


def _z(a: int, b: int, n: int) -> float:
    """The usual test of two proportions, fit for one look at the end."""
    pooled = (a + b) / (2 * n)
    error = math.sqrt(2 * pooled * (1 - pooled) / n)
    return (b - a) / n / error if error else 0.0
