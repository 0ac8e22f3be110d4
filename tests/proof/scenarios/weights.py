"""The five weights of the score and the gate before they go live."""

from __future__ import annotations

from functools import cache

import numpy as np

from cis_server.learning.weights_gate import learn_weights
from tests.bench.weights_power import DIRECTIONS, client, intercept
from tests.proof.cases import Figures


def measure(seed: int, *, truth: str, leads: int) -> Figures:
    """One client's leads: whether new weights go live, and what authority gets.

    Args:
        seed: of the client.
        truth: a name of `tests.bench.weights_power.DIRECTIONS`.
        leads: with an outcome.
    """
    x, y = client(truth, _intercept(truth), leads, seed)
    decision = learn_weights(x, y, np.random.default_rng([seed, leads, 1]))
    return {
        "promoted": bool(decision.passed),
        "authority": float(decision.result.weights.authority),
    }


@cache
def _intercept(truth: str) -> float:
    return intercept(DIRECTIONS[truth])
