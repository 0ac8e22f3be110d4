"""Rates pulled towards what is known from elsewhere."""

import numpy as np
import pytest
from scipy import stats

from cis_server.stats.towards import shrink_towards


def test_without_data_it_is_what_is_known_from_elsewhere() -> None:
    mean, low, high = shrink_towards([0, 0], [0, 0], [0.05, 0.2])
    assert mean == pytest.approx([0.05, 0.2])
    assert (low < mean).all()
    assert (mean < high).all()


def test_much_data_of_its_own_beats_elsewhere() -> None:
    mean, low, high = shrink_towards([4000, 1000], [20_000, 20_000], [0.05, 0.2])
    assert mean == pytest.approx([0.2, 0.05], abs=1e-3)
    exact = stats.beta(4000.5, 16_000.5)
    assert low[0] == pytest.approx(exact.ppf(0.05), abs=1e-3)
    assert high[0] == pytest.approx(exact.ppf(0.95), abs=1e-3)


def test_a_thin_part_that_agrees_follows_the_others() -> None:
    expected = np.array([0.02, 0.04, 0.08, 0.16])
    n = np.full(4, 50)
    mean, low, high = shrink_towards(np.round(expected * n), n, expected)
    assert mean == pytest.approx(expected, rel=0.15)
    raw = [stats.beta(k + 0.5, 50 - k + 0.5).ppf([0.05, 0.95]) for k in np.round(expected * n)]
    assert (high - low < [top - bottom for bottom, top in raw]).all()


def test_intervals_cover_rates_drawn_around_the_expected() -> None:
    rng = np.random.default_rng(5)
    covered = total = 0
    for _ in range(300):
        expected = rng.uniform(0.03, 0.2, 7)
        n = rng.integers(20, 300, 7)
        share = rng.uniform(0.02, 0.98)
        strength = 130 * share / (1 - share)
        truth = rng.beta(expected * strength, (1 - expected) * strength)
        _, low, high = shrink_towards(rng.binomial(n, truth), n, expected)
        covered += int(((low <= truth) & (truth <= high)).sum())
        total += 7
    assert 0.85 <= covered / total <= 0.95


@pytest.mark.parametrize("bad", [([2], [1], [0.5]), ([1], [2], [0.0]), ([1], [2], [1.0])])
def test_impossible_input_is_refused(bad: tuple[list[int], list[int], list[float]]) -> None:
    with pytest.raises(ValueError, match=r"must hold|strictly"):
        shrink_towards(*bad)
