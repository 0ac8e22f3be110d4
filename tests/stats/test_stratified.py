"""Risk ratios within strata against statsmodels and against known truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import StratifiedTable

from cis_server.stats.stratified import stratified_lift

STRATUM = st.tuples(*[st.integers(1, 80)] * 4)


@given(st.lists(STRATUM, min_size=1, max_size=6))
@settings(max_examples=60)
def test_pooled_ratio_is_that_of_statsmodels(strata: list[tuple[int, int, int, int]]) -> None:
    a, b, c, d = np.array(strata, dtype=float).T
    found = stratified_lift([a], [a + b], a + c, a + b + c + d)
    tables = np.array([[[w, x], [y, z]] for w, x, y, z in strata], dtype=float)
    expected = StratifiedTable(list(tables)).riskratio_pooled
    assert found.lift[0] == pytest.approx(expected, rel=1e-9)
    assert found.low[0] < found.lift[0] < found.high[0]


def test_greenland_robins_interval_worked_by_hand() -> None:
    # One stratum, 20 of 100 against 10 of 100: RR 2 and the interval of a single table,
    # var log RR = 1/20 - 1/100 + 1/10 - 1/100.
    found = stratified_lift([[20]], [[100]], [30], [200])
    assert found.lift[0] == pytest.approx(2.0)
    sd = np.sqrt(1 / 20 - 1 / 100 + 1 / 10 - 1 / 100)
    assert found.high[0] == pytest.approx(2 * np.exp(1.6448536269514722 * sd))
    assert found.low[0] == pytest.approx(2 * np.exp(-1.6448536269514722 * sd))


def test_strata_without_both_outcomes_or_both_sides_are_dropped_and_counted() -> None:
    k = [[20, 0, 5, 0]]
    n = [[100, 40, 5, 0]]
    found = stratified_lift(k, n, [30, 0, 10, 3], [200, 80, 10, 50])
    assert found.lift[0] == pytest.approx(2.0)
    assert (found.strata_used[0], found.strata_dropped[0]) == (1, 3)


def test_no_comparison_is_not_a_number() -> None:
    found = stratified_lift([[5], [0]], [[10], [10]], [5], [20])
    assert np.isnan(found.lift[0])
    assert found.lift[1] == 0.0
    assert np.isnan([found.low[1], found.high[1]]).all()
    with pytest.raises(ValueError, match="part of its stratum"):
        stratified_lift([[5]], [[4]], [5], [20])


def test_a_channel_that_only_hot_leads_get_has_no_lift() -> None:
    rng = np.random.default_rng(4)
    rates = np.array([0.02, 0.06, 0.2])
    given_to = np.array([0.1, 0.4, 0.9])
    n = np.array([20_000, 10_000, 5_000])
    exposed = rng.binomial(n, given_to)
    k1, k0 = rng.binomial(exposed, rates), rng.binomial(n - exposed, rates)
    crude = (k1.sum() / exposed.sum()) / (k0.sum() / (n - exposed).sum())
    found = stratified_lift([k1], [exposed], k1 + k0, n)
    assert crude > 2
    assert 0.9 <= found.lift[0] <= 1.1


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    base, n1, n0 = np.array([0.03, 0.06, 0.12]), np.array([80, 120, 60]), np.array([300, 200, 90])
    runs = 1500
    k1, k0 = rng.binomial(n1, base * 1.5, (runs, 3)), rng.binomial(n0, base, (runs, 3))
    found = stratified_lift(k1, np.tile(n1, (runs, 1)), k1 + k0, n1 + n0)
    covered = np.mean((found.low <= 1.5) & (found.high >= 1.5))
    assert 0.875 <= covered <= 0.925
