"""Projection onto bounded weights, and the normal law on them against rejection sampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from cis_server.stats.simplex import project_to_box_simplex, truncated_normal_quantiles

POINT = st.lists(st.floats(-2, 2), min_size=5, max_size=5)


@given(POINT)
@settings(max_examples=40, deadline=None)
def test_projection_is_the_nearest_point(point: list[float]) -> None:
    p = np.array(point)
    found = project_to_box_simplex(p, low=0.05, high=0.5, total=1.0)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert (found >= 0.05).all()
    assert (found <= 0.5).all()
    solved = optimize.minimize(
        lambda w: ((w - p) ** 2).sum(),
        np.full(5, 0.2),
        method="SLSQP",
        bounds=[(0.05, 0.5)] * 5,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-12},
    )
    assert ((found - p) ** 2).sum() <= solved.fun + 1e-7


def test_what_cannot_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot sum"):
        project_to_box_simplex(np.ones(2), low=0.05, high=0.4, total=1.0)


def test_quantiles_are_those_of_rejection_sampling() -> None:
    rng = np.random.default_rng(0)
    mode = np.array([0.5, 0.2, 0.2, 0.05, 0.05])
    root = rng.normal(size=(5, 5))
    precision = root @ root.T * 30 + 50 * np.eye(5)
    gradient = np.array([-5.0, 0.0, 0.0, 4.0, 2.0])
    found = truncated_normal_quantiles(
        mode,
        gradient,
        precision,
        low=0.05,
        high=0.5,
        probabilities=(0.05, 0.5, 0.95),
        generator=rng,
        chains=4000,
    )
    points = rng.dirichlet(np.ones(5), 800_000)
    points = points[(points > 0.05).all(axis=1) & (points < 0.5).all(axis=1)]
    away = points - mode
    weight = np.exp(-(away @ gradient + 0.5 * np.einsum("ij,jk,ik->i", away, precision, away)))
    drawn = points[rng.choice(len(points), 100_000, p=weight / weight.sum())]
    np.testing.assert_allclose(found, np.quantile(drawn, [0.05, 0.5, 0.95], axis=0), atol=0.015)


def test_a_sharp_law_is_a_normal_one() -> None:
    mode, precision = np.array([0.3, 0.4, 0.3]), np.diag([4e4, 4e4, 4e4])
    found = truncated_normal_quantiles(
        mode,
        np.zeros(3),
        precision,
        low=0.05,
        high=0.5,
        probabilities=(0.05, 0.95),
        generator=np.random.default_rng(1),
        chains=8000,
    )
    # On the plane sum = 1 the variance of one of three equal coordinates is 2/3 of 1/precision.
    half = 1.6449 * np.sqrt(2 / 3 / 4e4)
    np.testing.assert_allclose(found, [mode - half, mode + half], atol=4e-4)
