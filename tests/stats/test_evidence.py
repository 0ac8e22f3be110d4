"""p-values against scipy, q-values against statsmodels, and the rule for winners."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from cis_server.domain.vocabulary import Verdict
from cis_server.stats.evidence import segment_p_values
from cis_server.stats.multiplicity import benjamini_hochberg, ranked, verdict

TABLES = st.tuples(
    st.integers(0, 60), st.integers(0, 60), st.integers(0, 400), st.integers(0, 400)
).filter(lambda t: t[0] + t[1] > 0 and t[2] + t[3] > 0)


@given(st.lists(TABLES, min_size=1, max_size=8))
@settings(max_examples=60)
def test_small_segments_get_fishers_exact_test(tables: list[tuple[int, int, int, int]]) -> None:
    t = np.array(tables)
    p = segment_p_values(t[:, 0], t[:, :2].sum(1), t[:, 0] + t[:, 2], t.sum(1))
    expected = [stats.fisher_exact([[a, b], [c, d]]).pvalue for a, b, c, d in tables]
    np.testing.assert_allclose(p, expected, rtol=1e-9)


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
