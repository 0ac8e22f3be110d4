"""Error rates and power of the weights and their gate on simulated clients, as a table.

    python tests/bench/weights_power.py [SEEDS]

Leads: data_quality uniform on 0..20 points, authority from a fixed law, company_fit uniform on
0..25, timing and risk from fixed laws, all over their maxima; logit P = a + direction . x with a
set for an 8 % base rate. The quick version with fewer seeds is `tests/learning/test_weights.py`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.learning.weights_gate import learn_weights
from cis_server.stats.arrays import FloatArray

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


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    kind: str
    n: int
    promoted: float
    significant: float
    gained: float
    authority_above: float
    authority_mean: float
    seconds: float


def measure(kind: str, n: int, seeds: range) -> Row:
    """Learn and judge one client per seed."""
    a = intercept(DIRECTIONS[kind])
    begin = time.perf_counter()
    decisions = [
        learn_weights(*client(kind, a, n, seed), np.random.default_rng([seed, n, 1]))
        for seed in seeds
    ]
    seconds = (time.perf_counter() - begin) / len(seeds)
    authority = [decision.result.weights.authority for decision in decisions]
    gates = [{gate.name: gate.passed for gate in decision.gates} for decision in decisions]
    return Row(
        kind,
        n,
        float(np.mean([decision.passed for decision in decisions])),
        float(np.mean([gate.get("nested_deviance", False) for gate in gates])),
        float(np.mean([gate.get("out_of_fold_gain", False) for gate in gates])),
        float(np.mean(np.array(authority) > 0.25)),
        float(np.mean(authority)),
        seconds,
    )


def main() -> None:
    """Print the table."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    print(f"{len(seeds)} seeds each")
    print(
        f"{'truth':<24}{'n':>6}{'promoted':>10}{'deviance':>10}{'gain':>8}"
        f"{'auth>.25':>10}{'mean':>7}{'s':>7}"
    )
    for kind in DIRECTIONS:
        for n in (400, 1000):
            row = measure(kind, n, seeds)
            print(
                f"{row.kind:<24}{row.n:>6}{row.promoted:>10.3f}{row.significant:>10.3f}"
                f"{row.gained:>8.3f}{row.authority_above:>10.3f}{row.authority_mean:>7.3f}"
                f"{row.seconds:>7.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
