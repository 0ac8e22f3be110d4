"""How many leads an experiment needs: the power it promises is the power it has."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.stats.experiment_size import leads_per_arm
from cis_server.stats.experiments import MINIMUM_PER_ARM, Arm, confidence_sequence


def test_golden() -> None:
    assert leads_per_arm(0.08, 0.2) == 9837
    assert leads_per_arm(0.08, 0.5) == 1697
    assert leads_per_arm(0.3, 0.2) == 1926
    assert leads_per_arm(0.3, 0.2, arms=3) == 2293


@pytest.mark.parametrize(("base", "effect", "power"), [(0.1, 0.5, 0.8), (0.3, 0.3, 0.9)])
def test_the_verdict_has_the_power_promised(base: float, effect: float, power: float) -> None:
    n = leads_per_arm(base, effect, power=power)
    draws = np.random.default_rng(7)
    first = draws.binomial(n, base * (1 + effect), 4000)
    second = draws.binomial(n, base, 4000)
    found = 0
    for better, worse in zip(first.tolist(), second.tolist(), strict=True):
        interval = confidence_sequence(Arm(n, better), Arm(n, worse))
        found += interval is not None and interval.low > 0
    assert found / 4000 == pytest.approx(power, abs=0.025)


def test_looking_at_any_time_costs_more_leads_than_looking_once() -> None:
    # Textbook size of two proportions that are compared once: (z_.975 + z_.8)^2 sum p q / d^2.
    once = (1.959964 + 0.841621) ** 2 * (0.2 * 0.8 + 0.24 * 0.76) / 0.04**2
    assert once < leads_per_arm(0.2, 0.2) < 4 * once


@given(st.floats(0.001, 0.4), st.floats(0.02, 1.4), st.floats(0.5, 0.98))
def test_more_is_asked_for_the_harder_it_is(base: float, effect: float, power: float) -> None:
    n = leads_per_arm(base, effect, power=power)
    assert n >= MINIMUM_PER_ARM
    assert leads_per_arm(base, effect / 2, power=power) >= n
    assert leads_per_arm(base, effect, power=power + 0.01) >= n
    assert leads_per_arm(base, effect, power=power, arms=4) >= n


@pytest.mark.parametrize(
    ("base", "effect"), [(0.0, 0.2), (1.0, 0.2), (0.6, 0.8), (0.1, 0.0), (math.nan, 0.2)]
)
def test_impossible_effects_are_refused(base: float, effect: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        leads_per_arm(base, effect)
