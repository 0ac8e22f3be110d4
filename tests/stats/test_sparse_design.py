"""Compressed designs are the dense ones; fits may begin anywhere and with any curvature."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from cis_server.stats.logistic import GaussianPrior, fit_logistic, logistic_mode
from cis_server.stats.sparse_design import SparseDesign


def encoded(seed: int, n: int, features: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    level = rng.integers(-1, levels, size=(n, features))
    index = np.where(level < 0, -1, level + levels * np.arange(features)).astype(np.int32)
    return index, np.where(index < 0, 0.0, rng.choice([1.0, -0.5, 2.25], size=index.shape))


def dense(index: np.ndarray, value: np.ndarray, width: int) -> np.ndarray:
    x = np.zeros((len(index), width))
    for row, (columns, numbers) in enumerate(zip(index, value, strict=True)):
        for column, number in zip(columns, numbers, strict=True):
            if column >= 0:
                x[row, column] = number
    return x


@given(st.integers(0, 10**6), st.integers(0, 12), st.data())
def test_the_same_design_in_either_form(seed: int, n: int, data: st.DataObject) -> None:
    index, value = encoded(seed, n, 3, 4)
    x = dense(index, value, 12)
    sparse = SparseDesign.of_slots(index, value, 12)
    assert (len(sparse), sparse.shape) == (n, (n, 12))
    assert sparse.dense().tolist() == x.tolist()
    assert SparseDesign.of(x).dense().tolist() == x.tolist()
    some = data.draw(st.lists(st.integers(0, n - 1), max_size=20) if n else st.just([]))
    first = data.draw(st.integers(0, n))
    for rows in (np.array(some, dtype=np.int64), np.arange(first, n)):
        assert sparse.taken(rows).dense().tolist() == x[rows].tolist()
    rng = np.random.default_rng(seed)
    beta, weights = rng.normal(size=12), rng.random(n)
    np.testing.assert_allclose(sparse @ beta, x @ beta, atol=1e-12)
    np.testing.assert_allclose(sparse.sums(weights), weights @ x, atol=1e-12)
    np.testing.assert_allclose(sparse.gram(weights), x.T @ (x * weights[:, None]), atol=1e-12)


@pytest.fixture(scope="module")
def sample() -> tuple[SparseDesign, np.ndarray]:
    index, value = encoded(5, 3000, 5, 6)
    design = SparseDesign.of_slots(index, value, 30)
    beta = np.random.default_rng(6).normal(0, 0.6, 30)
    chance = special.expit(design @ beta - 2)
    return design, (np.random.default_rng(7).random(3000) < chance).astype(float)


@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_any_curvature_reaches_the_mode(
    sample: tuple[SparseDesign, np.ndarray], scale: float
) -> None:
    design, y = sample
    prior = GaussianPrior(np.zeros(31), np.diag(np.append(1e-4, np.full(30, 2.0))))
    plain = fit_logistic(design.dense(), y, prior=prior)
    far = fit_logistic(design, y, prior=GaussianPrior(prior.mean, 64.0 * prior.precision))
    start = far.intercept, far.coefficients
    curvature = scale * far.information
    fit = fit_logistic(design, y, prior=prior, start=start, curvature=curvature, tolerance=1e-10)
    assert fit.converged
    np.testing.assert_allclose(fit.coefficients, plain.coefficients, atol=1e-9)
    np.testing.assert_allclose(fit.covariance, plain.covariance, rtol=1e-6, atol=1e-9)
    assert fit.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-9)
    intercept, slopes = logistic_mode(
        design, y, prior, start=start, curvature=curvature, tolerance=1e-10
    )
    assert (intercept, slopes.tolist()) == (fit.intercept, fit.coefficients.tolist())


def test_the_error_left_is_below_the_tolerance(sample: tuple[SparseDesign, np.ndarray]) -> None:
    design, y = sample
    prior = GaussianPrior(np.zeros(31), np.diag(np.append(1e-4, np.full(30, 2.0))))
    exact = fit_logistic(design, y, prior=prior, tolerance=1e-12)
    far = fit_logistic(design, y, prior=GaussianPrior(prior.mean, 4.0 * prior.precision))
    for tolerance in (1e-3, 1e-5, 1e-7, 1e-9):
        _, slopes = logistic_mode(
            design,
            y,
            prior,
            start=(far.intercept, far.coefficients),
            curvature=far.information,
            tolerance=tolerance,
        )
        assert np.abs(slopes - exact.coefficients).max() < tolerance
