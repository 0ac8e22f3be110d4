"""Penalised logistic regression against scikit-learn and statsmodels; kernels against Python."""

import time

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special
from sklearn.linear_model import LogisticRegression

from cis_server.stats import kernels
from cis_server.stats.logistic import GaussianPrior, fit_logistic, log_evidence


def one_hot(seed: int, n: int, features: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.zeros((n, features * levels))
    for f in range(features):
        x[np.arange(n), f * levels + rng.integers(0, levels, n)] = 1.0
    x[:, 0] *= rng.normal(size=n)
    beta = rng.normal(0, 0.5, x.shape[1])
    y = rng.random(n) < special.expit(x @ beta - 2)
    return x, y.astype(float)


@pytest.mark.parametrize(("features", "levels"), [(3, 4), (8, 10)])
@pytest.mark.parametrize("penalty", [0.3, 5.0])
def test_mode_is_that_of_scikit_learn(features: int, levels: int, penalty: float) -> None:
    x, y = one_hot(1, 3000, features, levels)
    ours = fit_logistic(x, y, prior_precision=penalty)
    theirs = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=5000).fit(x, y)
    assert ours.converged
    np.testing.assert_allclose(ours.coefficients, theirs.coef_[0], atol=2e-4)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=5e-4)


def test_covariance_without_a_prior_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(800, 3))
    y = (rng.random(800) < special.expit(x @ [0.5, -1, 0] - 1)).astype(float)
    ours = fit_logistic(x, y, prior_precision=1e-9)
    theirs = sm.Logit(y, sm.add_constant(x)).fit(disp=0)
    np.testing.assert_allclose(ours.covariance, theirs.cov_params(), rtol=1e-3, atol=1e-6)
    assert ours.log_likelihood == pytest.approx(theirs.llf, abs=1e-6)
    row = np.array([[0.3, -0.2, 1.0]])
    expected = np.sqrt(np.array([1, *row[0]]) @ theirs.cov_params() @ np.array([1, *row[0]]))
    assert ours.log_odds_sd(row)[0] == pytest.approx(expected, rel=1e-3)


def test_dense_and_sparse_rows_give_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = one_hot(3, 2000, 6, 8)
    sparse = fit_logistic(x, y, prior_precision=2.0)
    monkeypatch.setattr("cis_server.stats.logistic._SPARSE_BELOW", 0.0)
    dense = fit_logistic(x, y, prior_precision=2.0)
    np.testing.assert_allclose(sparse.coefficients, dense.coefficients, atol=1e-9)
    np.testing.assert_allclose(sparse.covariance, dense.covariance, atol=1e-9)
    np.testing.assert_allclose(sparse.information, dense.information, rtol=1e-9, atol=1e-9)


def test_kernels_are_their_python_twins_to_the_last_bit() -> None:
    rng = np.random.default_rng(4)
    x = np.where(rng.random((60, 9)) < 0.3, rng.normal(size=(60, 9)), 0.0)
    row, column = np.nonzero(x)
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=60))]).astype(np.int64)
    entries = start, column.astype(np.int32), x[row, column]
    beta, weights = rng.normal(size=9), rng.random(60)
    assert kernels.dot(*entries, beta).tolist() == kernels.dot_reference(*entries, beta).tolist()
    for name in ("transposed_dot", "weighted_gram"):
        fast = getattr(kernels, name)(*entries, weights, 9)
        slow = getattr(kernels, f"{name}_reference")(*entries, weights, 9)
        assert fast.tolist() == slow.tolist()
    np.testing.assert_allclose(kernels.dot(*entries, beta), x @ beta, atol=1e-12)
    gram = kernels.weighted_gram(*entries, weights, 9)
    np.testing.assert_allclose(gram, x.T @ (x * weights[:, None]), atol=1e-12)


def test_no_rows_give_the_prior_exactly() -> None:
    mean = np.array([0.5, -0.25])
    precision = np.array([[4.0, 1.0], [1.0, 3.0]])
    fit = fit_logistic(
        np.empty((0, 2)),
        [],
        prior_mean=mean,
        prior_precision=precision,
        intercept_prior=(-2.5, 9.0),
    )
    assert fit.coefficients.tolist() == mean.tolist()
    assert fit.intercept == pytest.approx(-2.5, abs=1e-6)
    np.testing.assert_allclose(fit.covariance[1:, 1:], np.linalg.inv(precision), rtol=1e-6)


def test_many_rows_forget_the_prior_and_few_keep_it() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(20_000, 2))
    y = (rng.random(20_000) < special.expit(x @ [1.0, 0.0] - 1)).astype(float)
    prior = {"prior_mean": np.array([-1.0, 1.0]), "prior_precision": np.eye(2) * 25}
    np.testing.assert_allclose(fit_logistic(x, y, **prior).coefficients, [1.0, 0.0], atol=0.08)
    few = fit_logistic(x[:20], y[:20], **prior)
    np.testing.assert_allclose(few.coefficients, [-1.0, 1.0], atol=0.3)


def test_offset_and_weights() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(500, 2))
    y = (rng.random(500) < 0.3).astype(float)
    shifted = fit_logistic(x, y, offset=np.full(500, 1.5))
    plain = fit_logistic(x, y)
    assert shifted.intercept == pytest.approx(plain.intercept - 1.5, abs=1e-3)
    twice = fit_logistic(np.repeat(x, 2, axis=0), np.repeat(y, 2))
    weighted = fit_logistic(x, y, row_weights=np.full(500, 2.0))
    np.testing.assert_allclose(twice.coefficients, weighted.coefficients, atol=1e-9)


def test_separable_and_single_class_data_stay_finite() -> None:
    x = np.linspace(-1, 1, 50)[:, None]
    assert np.isfinite(fit_logistic(x, (x[:, 0] > 0).astype(float)).coefficients).all()
    assert np.isfinite(fit_logistic(x, np.zeros(50)).intercept)
    with pytest.raises(ValueError, match="finite"):
        fit_logistic(np.array([[np.nan]]), [1.0])
    with pytest.raises(ValueError, match="prior_precision"):
        fit_logistic(x, np.zeros(50), prior_precision=np.eye(3))


def test_three_hundred_columns_and_a_hundred_thousand_rows_are_quick() -> None:
    x, y = one_hot(8, 100_000, 20, 15)
    begin = time.perf_counter()
    assert fit_logistic(x, y, prior_precision=3.0).converged
    assert time.perf_counter() - begin < 8.0


def test_a_prior_of_intercept_and_slopes_together_is_that_of_the_parts() -> None:
    rng = np.random.default_rng(21)
    x = rng.normal(size=(200, 3))
    y = (rng.random(200) < 0.3).astype(float)
    mean = np.array([-1.0, 0.5, 0.0, -0.2])
    precision = np.diag([2.0, 1.0, 4.0, 8.0])
    joint = fit_logistic(x, y, prior=GaussianPrior(mean, precision))
    parts = fit_logistic(
        x,
        y,
        prior_mean=mean[1:],
        prior_precision=np.array([1.0, 4.0, 8.0]),
        intercept_prior=(-1.0, 2.0),
    )
    assert joint.intercept == pytest.approx(parts.intercept, abs=1e-9)
    np.testing.assert_allclose(joint.coefficients, parts.coefficients, atol=1e-9)
    with pytest.raises(ValueError, match="prior"):
        fit_logistic(x, y, prior=GaussianPrior(mean[:3], precision[:3, :3]))


def test_without_rows_the_mode_is_the_prior_to_the_last_bit() -> None:
    mean = np.array([-1.3, 0.7, 0.1])
    prior = GaussianPrior(mean, np.array([[2.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 5.0]]))
    fit = fit_logistic(np.empty((0, 2)), [], prior=prior)
    assert np.array_equal(np.append(fit.intercept, fit.coefficients), mean)
    np.testing.assert_allclose(fit.covariance, np.linalg.inv(prior.precision), rtol=1e-6)


def test_the_evidence_is_the_integral_of_likelihood_times_prior() -> None:
    # One coefficient: the integral over it and the intercept, by brute force on a grid.
    rng = np.random.default_rng(22)
    x = rng.normal(size=(60, 1))
    y = (rng.random(60) < special.expit(-0.5 + 0.8 * x[:, 0])).astype(float)
    a, b = np.meshgrid(np.linspace(-4, 3, 281), np.linspace(-3, 4, 281))
    eta = a[..., None] + b[..., None] * x[:, 0]
    log_likelihood = (y * eta - np.logaddexp(0.0, eta)).sum(axis=-1)
    for precision in (0.5, 2.0, 8.0):
        prior = GaussianPrior(np.zeros(2), np.diag([1.0, precision]))
        log_prior = -0.5 * (a**2 + precision * b**2) + 0.5 * np.log(precision) - np.log(2.0 * np.pi)
        cell = (7.0 / 280.0) ** 2
        exact = special.logsumexp(log_likelihood + log_prior) + np.log(cell)
        found = log_evidence(fit_logistic(x, y, prior=prior), prior)
        assert found == pytest.approx(exact, abs=0.05)
