"""Error rates and power of the weights and their gate on simulated clients, 200 seeds each.

Leads: data_quality uniform on 0..20 points, authority from a fixed law, company_fit uniform on
0..25, timing and risk from fixed laws, all over their maxima; logit P = a + direction . x with a
set for an 8 % base rate. The quick version with fewer seeds is `tests/learning/test_weights.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
from scipy import optimize, special

from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.learning.weights_gate import learn_weights
from cis_server.stats.arrays import FloatArray
from tests.bench.figures import Figure, report

BASE_RATE = 0.08
DIRECTIONS = {
    "noise": np.zeros(5),
    "defaults true, slope 4": 4.0 * np.array(DEFAULT_WEIGHTS.as_tuple()),
    "authority, slope 3": np.array([0.0, 3.0, 0.0, 0.0, 0.0]),
    "authority, slope 5": np.array([0.0, 5.0, 0.0, 0.0, 0.0]),
}


def components(generator: np.random.Generator, n: int) -> FloatArray:
    """(n, 5) components over their maxima."""
    return np.column_stack(
        [
            generator.integers(0, 21, n) / 20.0,
            generator.choice(
                np.array([0, 5, 7, 15, 18, 22, 25]) / 25.0,
                n,
                p=[0.1, 0.25, 0.2, 0.2, 0.1, 0.05, 0.1],
            ),
            generator.integers(0, 26, n) / 25.0,
            generator.choice(np.array([0, 3, 5, 6, 9, 11, 15]) / 15.0, n),
            generator.choice(np.array([5, 10, 15]) / 15.0, n, p=[0.05, 0.1, 0.85]),
        ]
    )


def intercept(direction: FloatArray) -> float:
    """a that makes the mean probability `BASE_RATE`."""
    score = components(np.random.default_rng(0), 100_000) @ direction
    return float(optimize.brentq(lambda a: special.expit(a + score).mean() - BASE_RATE, -20.0, 5.0))


def client(kind: str, a: float, n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """One simulated client: components and outcomes."""
    generator = np.random.default_rng([seed, n])
    x = components(generator, n)
    y = generator.random(n) < special.expit(a + x @ DIRECTIONS[kind])
    return x, y.astype(np.float64)


BOUNDS: Final[dict[tuple[str, int], tuple[float, Literal["more", "less"]]]] = {
    ("noise", 400): (0.05, "less"),
    ("noise", 1000): (0.05, "less"),
    ("defaults true, slope 4", 400): (0.08, "less"),
    ("defaults true, slope 4", 1000): (0.08, "less"),
    ("authority, slope 3", 400): (0.85, "more"),
    ("authority, slope 3", 1000): (0.97, "more"),
    ("authority, slope 5", 400): (0.97, "more"),
    ("authority, slope 5", 1000): (0.97, "more"),
}
"""Share of clients whose learned weights may, or must, be promoted."""


def figures(seeds: int = 200) -> Iterator[Figure]:
    """Learn and judge one client per seed, truth and size."""
    for kind in DIRECTIONS:
        a = intercept(DIRECTIONS[kind])
        for n in (400, 1000):
            decisions = [
                learn_weights(*client(kind, a, n, seed), np.random.default_rng([seed, n, 1]))
                for seed in range(seeds)
            ]
            bound, better = BOUNDS[kind, n]
            promoted = float(np.mean([decision.passed for decision in decisions]))
            yield Figure(f"promoted: {kind}, {n} leads", (promoted,), "share", bound, better)
            if kind.startswith("authority"):
                found = [decision.result.weights.authority > 0.25 for decision in decisions]
                name = f"authority above .25: {kind}, {n} leads"
                yield Figure(name, (float(np.mean(found)),), "share", 0.95, "more")


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
