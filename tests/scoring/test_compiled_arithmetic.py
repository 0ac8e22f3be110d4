"""Scores are the same to the last bit before and after the kernels were loaded."""

from __future__ import annotations

import numpy as np
import pytest

from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.errors import ConfigurationError
from cis_server.scoring import compiled, kernel
from cis_server.scoring.arithmetic import ARITHMETIC_WIDTH, CODED_WIDTH

WEIGHTS = DEFAULT_WEIGHTS.as_tuple()


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_kernel", None)


def random_leads(count: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    most = (3, 3, 2, 2, 26, 2, 300, 20, 120, 3, 800, 2, 1500, 2, 2, 2, 2)
    return np.stack([rng.integers(-1, bound, count) for bound in most], axis=1)


def test_scores_before_and_after_loading_are_the_same() -> None:
    leads = random_leads(2_000)
    before = compiled.score_rows(leads, WEIGHTS)
    compiled.load()
    assert compiled._kernel is kernel
    after = compiled.score_rows(leads, WEIGHTS)
    assert before.tobytes() == after.tobytes()
    assert before.shape == (2_000, ARITHMETIC_WIDTH)
    assert len(np.unique(before[:, -2])) > 20, "the leads differ"


def test_probabilities_before_and_after_loading_are_the_same() -> None:
    rng = np.random.default_rng(8)
    index = rng.integers(-1, 30, (500, 9)).astype(np.int32)
    value = rng.normal(size=(500, 9))
    root = rng.normal(size=(31, 31))
    model = (rng.normal(size=31), root @ root.T / 31, -0.3, 0.8)
    before = compiled.propensity_rows(index, value, *model)
    compiled.load()
    assert before.tobytes() == compiled.propensity_rows(index, value, *model).tobytes()


def test_no_lead_is_a_table_of_none() -> None:
    assert compiled.score_rows(np.empty((0, CODED_WIDTH), dtype=np.int64), WEIGHTS).shape == (
        0,
        ARITHMETIC_WIDTH,
    )
    none = compiled.propensity_rows(
        np.empty((0, 2), dtype=np.int32), np.empty((0, 2)), np.zeros(3), np.eye(3), 0.0, 1.0
    )
    assert none.shape == (0, 3)


def test_very_many_leads_are_worth_loading_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "PLAIN_ROWS", 100)
    leads = random_leads(101)
    compiled.score_rows(leads[:100], WEIGHTS)
    assert compiled._kernel is None
    compiled.score_rows(leads, WEIGHTS)
    assert compiled._kernel is kernel


def test_kernels_that_disagree_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    leads = random_leads(5)
    right = compiled.score_rows(leads, WEIGHTS)
    monkeypatch.setattr(
        kernel, "score_rows", lambda leads, weights: np.zeros((len(leads), ARITHMETIC_WIDTH))
    )
    with pytest.raises(ConfigurationError, match="clear the numba cache"):
        compiled.load()
    assert (compiled.score_rows(leads, WEIGHTS) == right).all()
