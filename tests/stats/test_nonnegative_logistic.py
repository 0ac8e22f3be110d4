"""Batched fits against a plain scipy solve, merged rows against single ones."""

import numpy as np
import pytest
from scipy import optimize, special

from cis_server.stats.nonnegative_logistic import fit_nonnegative, group_rows


def sample(seed: int, n: int = 300, p: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 6, (n, p)) / 5
    y = rng.random(n) < special.expit(-2 + x @ rng.normal(0.3, 1, p))
    return x, y


def plain(x: np.ndarray, y: np.ndarray, mean: np.ndarray, precision: float) -> float:
    def objective(beta: np.ndarray) -> float:
        eta = beta[0] + x @ beta[1:]
        penalty = 0.5 * precision * ((beta[1:] - mean) ** 2).sum()
        return float(np.logaddexp(0, eta).sum() - y @ eta + penalty)

    return -min(
        optimize.minimize(
            objective,
            start,
            method="L-BFGS-B",
            bounds=[(None, None)] + [(0, None)] * x.shape[1],
            options={"ftol": 1e-13, "gtol": 1e-9},
        ).fun
        for start in (np.zeros(x.shape[1] + 1), np.append(-2, np.ones(x.shape[1])))
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("precision", [0.0, 2.0])
def test_each_fit_reaches_the_maximum(seed: int, precision: float) -> None:
    x, y = sample(seed)
    grouped = group_rows(x, y)
    mean = np.full((1, 4), 0.5)
    fit = fit_nonnegative(
        grouped.x, grouped.n, grouped.k[None], prior_mean=mean, prior_precision=precision
    )
    assert fit.converged.all()
    assert (fit.slopes >= 0).all()
    expected = plain(x, y.astype(float), mean[0], precision)
    assert fit.log_posterior[0] == pytest.approx(expected, abs=1e-3)
    assert fit.log_posterior[0] >= expected - 1e-3


def test_replicates_do_not_touch_each_other() -> None:
    x, y = sample(3)
    grouped = group_rows(x, y)
    rng = np.random.default_rng(0)
    k = rng.binomial(grouped.n.astype(int), 0.2, (50, len(grouped.n))).astype(float)
    together = fit_nonnegative(grouped.x, grouped.n, k)
    for i in (0, 17, 49):
        alone = fit_nonnegative(grouped.x, grouped.n, k[i : i + 1])
        np.testing.assert_allclose(together.slopes[i], alone.slopes[0], atol=1e-6)
        assert together.log_posterior[i] == pytest.approx(alone.log_posterior[0], abs=1e-8)


def test_one_class_stays_finite() -> None:
    x, _ = sample(1)
    for y in (np.zeros(len(x)), np.ones(len(x))):
        grouped = group_rows(x, y)
        fit = fit_nonnegative(grouped.x, grouped.n, grouped.k[None])
        assert np.isfinite(fit.intercept).all()
        assert fit.log_posterior[0] == pytest.approx(0.0, abs=0.01)


def test_merged_rows_are_the_same_whatever_their_order() -> None:
    x, y = sample(5)
    order = np.random.default_rng(0).permutation(len(x))
    one, other = group_rows(x, y), group_rows(x[order], y[order])
    assert one.x.tolist() == other.x.tolist()
    assert one.n.tolist() == other.n.tolist()
    assert one.k.tolist() == other.k.tolist()
    assert (one.size, one.converted) == (len(x), int(y.sum()))
    assert one.base_rate == y.mean()
