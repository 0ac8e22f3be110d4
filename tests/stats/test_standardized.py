"""Rates with the strata held fixed."""

import numpy as np
import pytest
from scipy.stats import fisher_exact, hypergeom
from statsmodels.stats.contingency_tables import StratifiedTable

from cis_server.stats.rates import Strata
from cis_server.stats.standardized import (
    LOG_RATIO_SD,
    expected_from,
    standardized_rates,
    stratified_p_values,
)


def strata(seed: int, ratio: float = 1.0, size: int = 4000) -> Strata:
    """Two strata with rates .02 and .10; the segment is nine times as common in the second."""
    rng = np.random.default_rng(seed)
    base, exposure = np.array([0.02, 0.10]), np.array([0.1, 0.9])
    n1 = rng.binomial(size, exposure)
    k1 = rng.binomial(n1, base * ratio)
    k0 = rng.binomial(size - n1, base)
    return Strata(k=k1[None, :], n=n1[None, :], total_k=k1 + k0, total_n=np.full(2, size))


def test_the_test_is_that_of_statsmodels() -> None:
    counts = strata(3, ratio=1.3)
    k1, n1 = np.asarray(counts.k)[0], np.asarray(counts.n)[0]
    k0, n0 = np.asarray(counts.total_k) - k1, np.asarray(counts.total_n) - n1
    tables = [np.array([[k1[s], n1[s] - k1[s]], [k0[s], n0[s] - k0[s]]]) for s in range(2)]
    expected = StratifiedTable(tables).test_null_odds(correction=False).pvalue
    assert stratified_p_values(counts)[0] == pytest.approx(expected, rel=1e-9)


def test_a_small_single_stratum_is_fishers_test() -> None:
    counts = Strata(k=[[6, 0], [1, 0]], n=[[40, 0], [25, 3]], total_k=[20, 0], total_n=[300, 9])
    expected = [
        fisher_exact([[6, 34], [14, 246]]).pvalue,
        fisher_exact([[1, 24], [19, 256]]).pvalue,
    ]
    assert stratified_p_values(counts) == pytest.approx(expected, rel=1e-9)


def test_two_strata_convolve() -> None:
    counts = Strata(k=[[2, 3]], n=[[10, 12]], total_k=[4, 6], total_n=[40, 50])
    one, other = hypergeom(40, 4, 10), hypergeom(50, 6, 12)
    law = np.convolve(one.pmf(range(5)), other.pmf(range(7)))
    assert stratified_p_values(counts)[0] == pytest.approx(law[law <= law[5] * (1 + 1e-9)].sum())


def test_a_confounded_segment_has_the_rate_of_the_whole() -> None:
    inside = 0
    for seed in range(100):
        counts = strata(seed)
        whole = float(np.sum(counts.total_k) / np.sum(counts.total_n))
        found = standardized_rates(counts, whole)
        inside += bool(found.low[0] <= 0.06 <= found.high[0])
        raw = float(np.sum(counts.k) / np.sum(counts.n))
        assert abs(found.mean[0] - whole) < abs(raw - whole)
    assert 84 <= inside <= 96


def test_a_planted_ratio_comes_out_on_the_scale_of_the_whole() -> None:
    counts = strata(1, ratio=1.5, size=200_000)
    whole = float(np.sum(counts.total_k) / np.sum(counts.total_n))
    found = standardized_rates(counts, whole)
    assert found.low[0] > whole
    assert found.ratio[0] == pytest.approx(1.5, rel=0.05)
    assert found.mean[0] == pytest.approx(whole * 1.5 / (0.5 * 1.5 + 0.5), rel=0.03)


def test_the_interval_is_about_that_of_the_segments_own_conversions() -> None:
    counts = Strata(k=[[3853]], n=[[62_877]], total_k=[4640], total_n=[105_754])
    found = standardized_rates(counts, 4640 / 105_754)
    width = np.log(found.high[0] / found.low[0])
    assert width == pytest.approx(2 * 1.645 / np.sqrt(3853), rel=0.1)
    assert found.low[0] < 3853 / 62_877 < found.high[0]


@pytest.mark.parametrize(("size", "rate", "other"), [(200, 0.85, 0.85), (200, 0.92, 0.78)])
def test_intervals_of_high_rates_hold_their_truth_nine_times_of_ten(
    size: int, rate: float, other: float
) -> None:
    rng = np.random.default_rng(4)
    inside, runs = 0, 400
    for _ in range(runs):
        k1, k0 = int(rng.binomial(size, rate)), int(rng.binomial(size, other))
        counts = Strata(k=[[k1]], n=[[size]], total_k=[k1 + k0], total_n=[2 * size])
        found = standardized_rates(counts, (k1 + k0) / (2 * size))
        inside += bool(found.low[0] <= rate <= found.high[0])
        assert found.high[0] - found.low[0] < 0.12  # .084 is that of a binomial at .85
    assert inside / runs >= 0.85


def test_a_clear_difference_of_high_rates_is_seen() -> None:
    counts = Strata(k=[[95], [75]], n=[[100], [100]], total_k=[170], total_n=[200])
    found = standardized_rates(counts, 0.85)
    assert found.low[0] > 0.85
    assert found.high[1] < 0.85


def test_a_segment_without_conversions_is_low_and_finite() -> None:
    counts = Strata(k=[[0]], n=[[300]], total_k=[60], total_n=[900])
    found = standardized_rates(counts, 60 / 900)
    assert 0 < found.low[0] < found.mean[0] < found.high[0] < 60 / 900
    assert stratified_p_values(counts)[0] < 1e-6


def test_nothing_to_compare_is_not_a_number() -> None:
    counts = Strata(k=[[5]], n=[[50]], total_k=[5], total_n=[50])
    assert np.isnan(stratified_p_values(counts)).all()
    assert np.isnan(standardized_rates(counts, 0.1).mean).all()


def test_a_part_follows_the_others_as_far_as_it_says_little_itself() -> None:
    def pair(k: int, n: int) -> Strata:
        return Strata(k=[[k]], n=[[n]], total_k=[k + 1000], total_n=[n + 10_000])

    others = pair(800, 4000)  # twice the rate
    expected = expected_from(others)
    alone = expected_from(pair(0, 0))
    assert expected.mean[0] == pytest.approx(np.log(2) / 2, rel=0.02)
    assert (alone.mean[0], alone.sd[0]) == pytest.approx((0.0, LOG_RATIO_SD))
    thin, rich = pair(1, 10), pair(2000, 20_000)
    for own, towards in ((thin, 1.3), (rich, 1.0)):
        plain = standardized_rates(own, 0.1)
        helped = standardized_rates(own, 0.1, expected)
        assert helped.ratio[0] > plain.ratio[0]
        assert helped.ratio[0] == pytest.approx(towards, rel=0.12)
        default = standardized_rates(own, 0.1, alone)
        assert default.ratio[0] == pytest.approx(plain.ratio[0])
        assert default.low[0] == pytest.approx(plain.low[0])
