"""Intervals of a dimension's rates, without anything around them."""

from __future__ import annotations

import numpy as np
from scipy import stats

from cis_server.stats.arrays import FloatArray
from cis_server.stats.shrinkage import shrink_rates
from tests.proof.cases import Figures

BASE = 0.08
TRUTHS = ("null", "planted", "drawn")
STRENGTH = 50.0
"""Of the beta law that rates are drawn from: standard deviation 0.038 around 0.08."""


def measure(seed: int, *, segments: int, leads: int) -> Figures:
    """Share of segments whose 90 % interval holds the truth, by two methods and three truths."""
    figures: dict[str, object] = {}
    for place, name in enumerate(TRUTHS):
        rng = np.random.default_rng([seed, segments, leads, place])
        truth = np.full(segments, BASE)
        if name == "planted":
            truth[0] = 2 * BASE
        if name == "drawn":
            truth = rng.beta(BASE * STRENGTH, (1 - BASE) * STRENGTH, segments)
        n = rng.multinomial(leads, np.full(segments, 1 / segments))
        k = rng.binomial(n, truth)
        shrunk = shrink_rates(k, n)
        intervals = {
            "cis": (shrunk.low, shrunk.high),
            "naive": _textbook(k.astype(float), n.astype(float)),
        }
        for method, (low, high) in intervals.items():
            held = (low <= truth) & (truth <= high)
            figures[f"{name}.{method}"] = float(held.mean())
            if name == "planted":
                figures[f"outlier.{method}"] = bool(held[0])
    return figures


def _textbook(k: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    rate = k / np.maximum(n, 1)
    half = stats.norm.ppf(0.95) * np.sqrt(rate * (1 - rate) / np.maximum(n, 1))
    return rate - half, rate + half
