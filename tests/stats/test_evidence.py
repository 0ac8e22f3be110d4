"""p-values against scipy, q-values against statsmodels, and the rule for winners."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from cis_server.domain.vocabulary import Verdict
from cis_server.stats.evidence import fisher_p_values, segment_p_values
from cis_server.stats.multiplicity import benjamini_hochberg, ranked, verdict

TABLES = st.tuples(
    st.integers(0, 60), st.integers(0, 60), st.integers(0, 400), st.integers(0, 400)
).filter(lambda t: t[0] + t[1] > 0 and t[2] + t[3] > 0)


@given(st.lists(TABLES, min_size=1, max_size=8))
@settings(max_examples=60)
def test_small_segments_get_fishers_exact_test(tables: list[tuple[int, int, int, int]]) -> None:
    t = np.array(tables)
    counts = t[:, 0], t[:, :2].sum(1), t[:, 0] + t[:, 2], t.sum(1)
    exact = [stats.fisher_exact([[a, b], [c, d]]).pvalue for a, b, c, d in tables]
    np.testing.assert_allclose(fisher_p_values(*counts), exact, rtol=1e-9)
    halves = [half_of_the_ties(*row) for row in zip(*counts, strict=True)]
    np.testing.assert_allclose(
        segment_p_values(*counts), np.array(exact) - halves, rtol=1e-7, atol=1e-12
    )


def half_of_the_ties(k: int, n: int, total_k: int, total_n: int) -> float:
    """Half the probability of the tables as probable as the observed one; 0 if it is the only."""
    law = stats.hypergeom(total_n, total_k, n)
    chance = law.pmf(np.arange(max(0, n + total_k - total_n), min(n, total_k) + 1))
    tied = np.isclose(chance, law.pmf(k), rtol=1e-7, atol=0)
    return float(chance[tied].sum() / 2) if chance.size > 1 else 0.0


def test_the_mid_p_value_keeps_its_level_on_the_average() -> None:
    """Chance of p <= level where nothing matters, over all outcomes of segments of many sizes."""
    total_n, total_k = 1000, 80
    for level in (0.1, 0.01, 0.001):
        kept, too_careful = [], []
        for n in range(30, 500, 10):
            k = np.arange(min(n, total_k) + 1)
            chance = stats.hypergeom(total_n, total_k, n).pmf(k)
            counts = k, *(np.full(k.size, value) for value in (n, total_k, total_n))
            kept.append(chance[segment_p_values(*counts) <= level].sum() / level)
            too_careful.append(chance[fisher_p_values(*counts) <= level].sum() / level)
        assert max(too_careful) <= 1 + 1e-9
        assert np.mean(too_careful) < 0.85
        assert 0.85 < np.mean(kept) <= 1.05
        assert max(kept) < 2


def test_large_segments_get_the_score_test() -> None:
    k, n, total_k, total_n = 115, 1200, 900, 11_000
    p = segment_p_values([k], [n], total_k, total_n)[0]
    table = [[k, n - k], [total_k - k, total_n - n - total_k + k]]
    assert p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=1e-9)
    # The exact test, which it stands in for, says nearly the same.
    assert p == pytest.approx(stats.fisher_exact(table).pvalue, rel=0.15)


def test_no_complement_no_test_and_one_outcome_no_evidence() -> None:
    assert np.isnan(segment_p_values([3, 0], [10, 0], 3, 10)).all()
    assert segment_p_values([0, 10], [10, 10], [0, 40], 40).tolist() == [1.0, 1.0]
    for bad in ([5], [3], 8, 20), ([2], [9], 3, 9.5), ([4], [5], 3, 20), ([0], [18], 5, 20):
        with pytest.raises(ValueError, match=r"part of|whole"):
            segment_p_values(*bad)


def test_a_detector_run_of_forty_dimensions_is_quick() -> None:
    rng = np.random.default_rng(0)
    n = rng.multinomial(100_000, rng.dirichlet(np.full(500, 0.5)))
    k = rng.binomial(n, 0.08)
    segment_p_values(k, n, k.sum(), n.sum())
    begin = time.perf_counter()
    for _ in range(10):
        segment_p_values(k, n, k.sum(), n.sum())
    assert (time.perf_counter() - begin) / 10 < 0.1


@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=40))
def test_q_values_are_those_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="fdr_bh")[1]
    np.testing.assert_allclose(benjamini_hochberg(p_values), expected, rtol=1e-12)


def test_tests_that_were_not_made_do_not_count() -> None:
    q = benjamini_hochberg([0.01, np.nan, 0.04])
    np.testing.assert_allclose(q[[0, 2]], benjamini_hochberg([0.01, 0.04]))
    assert np.isnan(q[1])
    assert benjamini_hochberg([]).size == 0
    with pytest.raises(ValueError, match="p-values"):
        benjamini_hochberg([1.2])


def test_weights_share_the_error_rate_out() -> None:
    p, weights = np.array([0.01, 0.2, np.nan, 0.04, 0.5]), np.array([3.0, 1.0, 9.0, 2.0, 2.0])
    shared = benjamini_hochberg(p, weights)
    made = np.isfinite(p)
    expected = multipletests(np.minimum(p[made] * 2.0 / weights[made], 1.0), method="fdr_bh")[1]
    np.testing.assert_allclose(shared[made], expected)
    np.testing.assert_allclose(benjamini_hochberg(p, 7 * weights), shared)
    np.testing.assert_allclose(benjamini_hochberg(p, np.ones(5)), benjamini_hochberg(p))
    with pytest.raises(ValueError, match="weights"):
        benjamini_hochberg([0.1, 0.2], [1.0, 0.0])


def test_verdict_needs_both_the_interval_and_the_false_discovery_rate() -> None:
    assert verdict(0.09, 0.2, 0.1, 0.08, 30) is Verdict.WINNING
    assert verdict(0.01, 0.07, 0.1, 0.08, 30) is Verdict.LOSING
    assert verdict(0.09, 0.2, 0.11, 0.08, 30) is Verdict.UNDECIDED
    assert verdict(0.09, 0.2, None, 0.08, 30) is Verdict.UNDECIDED
    assert verdict(0.09, 0.2, float("nan"), 0.08, 30) is Verdict.UNDECIDED
    assert verdict(0.08, 0.2, 0.01, 0.08, 30) is Verdict.UNDECIDED
    assert verdict(0.09, 0.2, 0.01, 0.08, 29) is Verdict.UNDECIDED


def test_ranked_by_low_then_sample_then_name() -> None:
    assert ranked([0.1, 0.2, 0.1, 0.1], [50, 10, 60, 50], ["b", "x", "c", "a"]) == [1, 2, 3, 0]
