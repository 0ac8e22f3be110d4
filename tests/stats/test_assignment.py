"""Variants by keyed hash: stable, exact in their shares, independent between experiments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cis_server.stats.assignment import Assigner

_UNITS = [f"lead-{i}" for i in range(20_000)]


def _drawn(assigner: Assigner) -> np.ndarray:
    return np.array([assigner.variant(unit) for unit in _UNITS])


def test_golden() -> None:
    # These never change: leads keep their variants over every release.
    assigner = Assigner("acme", "subject-line", [1, 1])
    assert [assigner.variant(f"lead-{i}") for i in range(16)] == [
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        1,
        0,
        1,
        0,
        0,
        0,
        1,
        0,
        0,
    ]


def test_shares_are_exact() -> None:
    assigner = Assigner("acme", "x", [0.1, 0.2, 0.7])
    assert assigner.shares == pytest.approx((0.1, 0.2, 0.7), abs=1e-15)
    counts = np.bincount(_drawn(assigner), minlength=3)
    expected = np.array(assigner.shares) * len(_UNITS)
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_experiments_and_clients_are_independent() -> None:
    one = _drawn(Assigner("acme", "one", [1, 1]))
    for other in (Assigner("acme", "two", [1, 1]), Assigner("umbrella", "one", [1, 1])):
        table = np.histogram2d(one, _drawn(other), bins=2)[0]
        assert stats.chi2_contingency(table).pvalue > 0.001


def test_parts_of_the_key_do_not_run_together() -> None:
    assert (_drawn(Assigner("a", "bc", [1, 1])) != _drawn(Assigner("ab", "c", [1, 1]))).any()


@given(st.lists(st.floats(1e-6, 1000), min_size=1, max_size=10), st.text(max_size=20))
def test_every_unit_has_one_variant(weights: list[float], unit: str) -> None:
    assigner = Assigner("acme", "x", weights)
    assert 0 <= assigner.variant(unit) < len(weights)
    assert sum(assigner.shares) == pytest.approx(1.0)


def test_weights_without_meaning_are_refused() -> None:
    for weights in ([], [1.0, 0.0], [-1.0, 2.0]):
        with pytest.raises(ValueError, match="above 0"):
            Assigner("acme", "x", weights)
