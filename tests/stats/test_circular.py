"""Rates over the week: one peak around midnight, bandwidth by likelihood, mean direction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.stats.circular import BANDWIDTHS, CELLS, circular_mean, week_rates


def planted(rng: np.random.Generator, peak_hours: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    sends = rng.poisson(60, CELLS)
    hour = np.arange(CELLS) % 24
    rate = np.where(np.isin(hour, peak_hours), 0.25, 0.05)
    return rng.binomial(sends, rate), sends


def test_mean_of_hours_around_midnight() -> None:
    assert circular_mean([22, 22, 23, 23, 0, 0, 1, 1]) == pytest.approx(23.5)
    assert circular_mean([6, 18]) is None
    assert circular_mean([]) is None
    assert circular_mean([0, 7], weights=[0, 2], period=7) == pytest.approx(0.0)


@given(st.lists(st.integers(0, 23), min_size=1, max_size=30), st.integers(0, 23))
def test_turning_the_clock_turns_the_mean(hours: list[int], by: int) -> None:
    mean = circular_mean(hours)
    turned = circular_mean([(hour + by) % 24 for hour in hours])
    if mean is not None and turned is not None:
        assert abs((turned - mean - by + 12) % 24 - 12) < 1e-6


def test_peak_around_midnight_is_found_at_midnight_not_at_noon() -> None:
    found = []
    for seed in range(20):
        k, n = planted(np.random.default_rng(seed), (23, 0))
        rates = week_rates(k, n)
        by_hour = rates.rate.reshape(7, 24).mean(axis=0)
        best = int(by_hour.argmax())
        found.append(min(best, 24 - best))
    assert max(found) <= 1


def test_smoothing_is_chosen_where_neighbours_agree_and_not_where_they_do_not() -> None:
    rng = np.random.default_rng(3)
    sends = np.full(CELLS, 40)
    hour = np.arange(CELLS) % 24
    smooth = rng.binomial(sends, 0.1 + 0.08 * np.cos((hour - 10) / 24 * 2 * np.pi))
    assert week_rates(smooth, sends).bandwidth_hours >= 1.5
    ragged = np.where(np.arange(CELLS) % 2 == 0, 30, 1)
    assert week_rates(ragged, sends).bandwidth_hours <= 0.5


def test_without_smoothing_a_cell_is_a_shrunk_binomial() -> None:
    k, n = np.zeros(CELLS), np.zeros(CELLS)
    k[5], n[5] = 30, 100
    rates = week_rates(k, n, bandwidths=(0.0,))
    assert rates.effective_sample[5] == 100
    assert rates.effective_sample[6] == 0
    assert rates.low[5] < 0.3 < rates.high[5]


def test_intervals_cover_flat_rates() -> None:
    rng = np.random.default_rng(8)
    covered = []
    for _ in range(40):
        sends = rng.poisson(25, CELLS)
        rates = week_rates(rng.binomial(sends, 0.08), sends)
        covered.append(((rates.low <= 0.08) & (rates.high >= 0.08)).mean())
    assert np.mean(covered) >= 0.85


def test_channel_without_evidence_repeats_the_surface_of_all() -> None:
    towards = np.linspace(0.05, 0.2, CELLS)
    rates = week_rates(np.zeros(CELLS), np.zeros(CELLS), towards=towards)
    np.testing.assert_allclose(rates.rate, towards)
    assert rates.bandwidth_hours in BANDWIDTHS


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="168"):
        week_rates(np.ones(CELLS), np.zeros(CELLS))
    with pytest.raises(ValueError, match="168"):
        week_rates(np.ones(24), np.ones(24))


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_a_channel_used_once_a_week_has_finite_rates(bandwidth: float) -> None:
    sends = np.zeros(CELLS)
    sends[34] = 3
    rates = week_rates(np.zeros(CELLS), sends, bandwidths=(bandwidth,))
    for values in (rates.rate, rates.low, rates.high, rates.effective_sample):
        assert np.isfinite(values).all()
    assert rates.effective_sample[34] == pytest.approx(3.0)
    assert rates.effective_sample[(34 + 84) % CELLS] == 0.0
