"""Platt's scaling: right with many outcomes, restrained with few."""

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression

from cis_server.learning.calibration import (
    SLOPE_RANGE,
    UNCHANGED,
    fit_platt,
    fit_score,
    mean_shift,
)


def drawn(n: int, a: float, b: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    eta = rng.normal(-2, 1.2, n)
    return eta, (rng.random(n) < special.expit(a + b * eta)).astype(float)


def test_many_outcomes_give_the_scaling_of_scikit_learn() -> None:
    eta, y = drawn(40_000, -0.3, 0.6)
    found = fit_platt(eta, y)
    theirs = LogisticRegression(C=1e9).fit(eta[:, None], y)
    assert found.slope == pytest.approx(theirs.coef_[0, 0], abs=0.01)
    assert found.intercept == pytest.approx(theirs.intercept_[0], abs=0.03)
    # The prior holds the mean back a little, whatever the number of outcomes.
    assert found.probability(eta).mean() == pytest.approx(y.mean(), rel=5e-3)


def test_few_outcomes_move_it_little_and_never_turn_the_ranking() -> None:
    eta, y = drawn(60, 0.0, 1.0, seed=3)
    backwards = fit_platt(eta, (eta < np.quantile(eta, 0.2)).astype(float))
    assert backwards.slope == SLOPE_RANGE[0]
    assert (np.diff(backwards.probability(np.sort(eta))) > 0).all()
    assert abs(fit_platt(eta, y).slope - 1) < 0.6
    assert fit_platt(eta, np.zeros(60)) == UNCHANGED
    assert fit_platt([], []) == UNCHANGED


def test_a_moving_rate_is_not_taken_for_a_slope() -> None:
    # Each stretch's model is off in the mean by another amount; within each the slope is 1.
    eta, stretch, outcomes = [], [], []
    for number, shift in enumerate((-1.0, 0.0, 1.0)):
        part, y = drawn(8000, 0.0, 1.0, seed=number)
        eta.append(part + shift)
        outcomes.append(y)
        stretch.append(np.full(8000, number))
    arrays = np.concatenate(eta), np.concatenate(outcomes), np.concatenate(stretch)
    assert fit_platt(*arrays).slope == pytest.approx(1.0, abs=0.06)
    assert fit_platt(*arrays[:2]).slope < 0.85


def test_mean_shift_makes_the_mean_right() -> None:
    eta, y = drawn(3000, 0.7, 1.0)
    shifted = special.expit(eta + mean_shift(eta, y))
    assert shifted.mean() == pytest.approx(y.mean(), abs=1e-4)


def test_scores_of_any_scale_keep_their_order() -> None:
    eta, y = drawn(5000, 0.0, 1.0)
    score = 50 + 10 * eta
    found = fit_score(score, y)
    assert found.slope == pytest.approx(0.1, abs=0.015)
    assert found.probability(score).mean() == pytest.approx(y.mean(), abs=1e-4)
    wrong = fit_score(-score, y)
    assert wrong.slope > 0
    assert np.ptp(wrong.probability(-score)) < 0.05
    flat = fit_score(np.full(100, 7.0), (np.arange(100) < 10).astype(float))
    assert flat.probability([7.0])[0] == pytest.approx(0.1, abs=0.01)
