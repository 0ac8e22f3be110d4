"""Penalised logistic regression: Gaussian prior on the slopes, free intercept, Newton's method.

Maximised is sum_i m_i [y_i log p_i + (1 - y_i) log(1 - p_i)] - (beta - mu)' P (beta - mu) / 2 with
logit p = offset + a + x beta: the posterior mode under beta ~ N(mu, P^-1). Its inverse negative
Hessian is the covariance of the Laplace approximation (MacKay 1992). With no rows the mode is mu
and the covariance that of the prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special

from cis_server.stats.arrays import FloatArray, IntArray
from cis_server.stats.kernels import dot, transposed_dot, weighted_gram

# Rows are taken in blocks so that the weighted copy of a dense design stays in cache.
_BLOCK = 8192
# Below this share of filled entries the loops over them beat the dense products.
_SPARSE_BELOW, _SPARSE_FROM_COLUMNS = 0.25, 16


@dataclass(frozen=True, slots=True)
class LogisticFit:
    """A posterior mode and its curvature.

    Attributes:
        intercept: a.
        coefficients: (p,) beta.
        covariance: (p + 1, p + 1) Laplace covariance, intercept first. Where prior and data leave
            a direction open its variance is very large, not an error.
        information: (p + 1, p + 1) of the data alone (no prior), intercept first; what is pooled
            across clients.
        log_likelihood: of the data at the mode, natural log, without the prior.
        iterations: Newton steps taken.
        converged: whether the step vanished before the iterations ran out.
    """

    intercept: float
    coefficients: FloatArray
    covariance: FloatArray
    information: FloatArray
    log_likelihood: float
    iterations: int
    converged: bool

    def log_odds(self, x: FloatArray) -> FloatArray:
        """(n,) log-odds of rows (n, p)."""
        result: FloatArray = self.intercept + x @ self.coefficients
        return result

    def log_odds_sd(self, x: FloatArray) -> FloatArray:
        """(n,) standard deviation of the log-odds of rows (n, p) under the Laplace law."""
        across = x @ self.covariance[1:, 1:]
        variance = (
            self.covariance[0, 0]
            + 2.0 * (x @ self.covariance[1:, 0])
            + np.einsum("ij,ij->i", across, x)
        )
        result: FloatArray = np.sqrt(np.maximum(variance, 0.0))
        return result


@dataclass(frozen=True, slots=True)
class GaussianPrior:
    """beta ~ N(mean, precision^-1) of intercept and slopes together, intercept first.

    Attributes:
        mean: (p + 1,).
        precision: (p + 1, p + 1), symmetric positive semi-definite.
    """

    mean: FloatArray
    precision: FloatArray


def fit_logistic(
    x: FloatArray,
    y: ArrayLike,
    *,
    prior: GaussianPrior | None = None,
    prior_precision: FloatArray | float = 1.0,
    prior_mean: FloatArray | None = None,
    intercept_prior: tuple[float, float] = (0.0, 1e-4),
    offset: FloatArray | None = None,
    row_weights: FloatArray | None = None,
    start: tuple[float, FloatArray] | None = None,
    max_iterations: int = 50,
    tolerance: float = 1e-8,
) -> LogisticFit:
    """Fit by Newton's method (iteratively reweighted least squares) with step halving.

    Args:
        x: (n, p) design without an intercept column; finite.
        y: (n,) outcome 0/1.
        prior: of intercept and slopes together; the three arguments after it are then not looked
            at. None: the prior they describe.
        prior_precision: of the slopes: a number (ridge), (p,) a diagonal, or (p, p) a symmetric
            positive semi-definite matrix. On the scale of the summed log-likelihood.
        prior_mean: (p,) centre of the prior; None is 0.
        intercept_prior: (mean, precision) of the intercept; the default says next to nothing and
            only keeps it finite when one class is absent.
        offset: (n,) known part of the log-odds.
        row_weights: (n,) how often each row counts, >= 0.
        start: intercept and slopes to start from; any start reaches the same mode.
        max_iterations: Newton steps at most.
        tolerance: largest change of a coefficient that counts as standing still. Information and
            covariance are those before that last step, off by as little.

    Returns:
        The fit. Sums run over the rows in their order: to get the same last bit for the same rows,
        bring them into one order first.

    Raises:
        ValueError: shapes do not agree or values are not finite.
    """
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    n, p = x.shape
    if len(outcome) != n or not np.isfinite(outcome).all() or not np.isfinite(x).all():
        raise ValueError("x and y must be finite and have the same number of rows")
    weight = np.ones(n) if row_weights is None else np.asarray(row_weights, dtype=np.float64)
    base = np.zeros(n) if offset is None else np.asarray(offset, dtype=np.float64)
    rows = _rows_of(x)
    if prior is not None and start is None:
        # With no rows this is the mode already, to the last bit.
        start = float(prior.mean[0]), prior.mean[1:]
    if prior is None:
        prior = _prior(prior_precision, prior_mean, intercept_prior, p)
    precision, centre = prior.precision, prior.mean
    if precision.shape != (p + 1, p + 1) or centre.shape != (p + 1,):
        raise ValueError(f"the prior must be of {p + 1} numbers, got {centre.shape}")
    if start is None:
        total = weight.sum()
        rate = (weight @ outcome + 0.5) / (total + 1.0)
        beta = np.append(special.logit(rate) - (weight @ base) / max(total, 1.0), centre[1:])
    else:
        beta = np.append(start[0], start[1])

    value = _objective(beta, rows, outcome, weight, base, precision, centre)
    converged, iterations = False, 0
    information = np.zeros((p + 1, p + 1))
    for iterations in range(1, max_iterations + 1):  # noqa: B007 - reported
        gradient, information = _derivatives(beta, rows, outcome, weight, base)
        gradient -= precision @ (beta - centre)
        step = linalg.solve(_nudged(information + precision), gradient, assume_a="pos")
        beta, value, moved = _accepted(
            beta, step, value, rows, outcome, weight, base, precision, centre
        )
        if moved < tolerance:
            converged = True
            break
    if not converged:
        _, information = _derivatives(beta, rows, outcome, weight, base)
    covariance = linalg.inv(_nudged(information + precision))
    deviation = beta - centre
    return LogisticFit(
        intercept=float(beta[0]),
        coefficients=beta[1:],
        covariance=(covariance + covariance.T) / 2.0,
        information=information,
        log_likelihood=float(value + deviation @ precision @ deviation / 2.0),
        iterations=iterations,
        converged=converged,
    )


def log_evidence(fit: LogisticFit, prior: GaussianPrior) -> float:
    """Log of the marginal likelihood of the data under a prior, by Laplace's approximation.

    log L(mode) - (mode - mu)' P (mode - mu) / 2 + log|P| / 2 - log|H| / 2 (MacKay 1992, "Bayesian
    interpolation"), up to nothing: priors of the same data can be compared by it.

    Args:
        fit: under that prior.
        prior: with a precision that can be inverted.
    """
    deviation = np.append(fit.intercept, fit.coefficients) - prior.mean
    spread = float(np.linalg.slogdet(fit.covariance)[1])
    held = float(np.linalg.slogdet(prior.precision)[1])
    pull = float(deviation @ prior.precision @ deviation)
    return fit.log_likelihood + (held + spread - pull) / 2.0


def _prior(
    prior_precision: FloatArray | float,
    prior_mean: FloatArray | None,
    intercept_prior: tuple[float, float],
    p: int,
) -> GaussianPrior:
    precision = _precision_matrix(prior_precision, p)
    precision[0, 0] = intercept_prior[1]
    mean = np.zeros(p + 1)
    mean[0] = intercept_prior[0]
    if prior_mean is not None:
        mean[1:] = prior_mean
    return GaussianPrior(mean, precision)


def _precision_matrix(prior_precision: FloatArray | float, p: int) -> FloatArray:
    given = np.asarray(prior_precision, dtype=np.float64)
    result = np.zeros((p + 1, p + 1))
    if given.ndim == 2:
        if given.shape != (p, p):
            raise ValueError(f"prior_precision must be ({p}, {p}), got {given.shape}")
        result[1:, 1:] = given
    else:
        result[range(1, p + 1), range(1, p + 1)] = given
    return result


def _nudged(matrix: FloatArray) -> FloatArray:
    # Directions open in both prior and data (aliased dummies) get a hair of curvature.
    result: FloatArray = matrix + (1e-10 * float(np.trace(matrix)) / len(matrix)) * np.eye(
        len(matrix)
    )
    return result


class _Rows(Protocol):
    """A design by what is asked of it."""

    def times(self, beta: FloatArray) -> FloatArray:
        """(n,) x beta."""

    def sums(self, weights: FloatArray) -> FloatArray:
        """(p,) x' weights."""

    def gram(self, weights: FloatArray) -> FloatArray:
        """(p, p) x' diag(weights) x."""


@dataclass(frozen=True, slots=True)
class _DenseRows:
    x: FloatArray

    def times(self, beta: FloatArray) -> FloatArray:
        result: FloatArray = self.x @ beta
        return result

    def sums(self, weights: FloatArray) -> FloatArray:
        result: FloatArray = weights @ self.x
        return result

    def gram(self, weights: FloatArray) -> FloatArray:
        p = self.x.shape[1]
        result = np.zeros((p, p))
        for begin in range(0, len(self.x), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            half = self.x[part] * np.sqrt(weights[part])[:, None]
            result += half.T @ half
        return result


@dataclass(frozen=True, slots=True)
class _SparseRows:
    start: IntArray
    columns: NDArray[np.int32]
    values: FloatArray
    p: int

    def times(self, beta: FloatArray) -> FloatArray:
        return dot(self.start, self.columns, self.values, np.ascontiguousarray(beta))

    def sums(self, weights: FloatArray) -> FloatArray:
        return transposed_dot(self.start, self.columns, self.values, weights, self.p)

    def gram(self, weights: FloatArray) -> FloatArray:
        return weighted_gram(self.start, self.columns, self.values, weights, self.p)


def _rows_of(x: FloatArray) -> _Rows:
    n, p = x.shape
    if p < _SPARSE_FROM_COLUMNS or n == 0 or np.count_nonzero(x) >= _SPARSE_BELOW * x.size:
        return _DenseRows(x)
    row, column = np.nonzero(x)
    start = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=n), out=start[1:])
    return _SparseRows(start, column.astype(np.int32), np.ascontiguousarray(x[row, column]), p)


def _objective(
    beta: FloatArray,
    rows: _Rows,
    y: FloatArray,
    weight: FloatArray,
    base: FloatArray,
    precision: FloatArray,
    centre: FloatArray,
) -> float:
    eta = base + beta[0] + rows.times(beta[1:])
    deviation = beta - centre
    return float(
        weight @ (y * eta - np.logaddexp(0.0, eta)) - deviation @ precision @ deviation / 2.0
    )


def _derivatives(
    beta: FloatArray, rows: _Rows, y: FloatArray, weight: FloatArray, base: FloatArray
) -> tuple[FloatArray, FloatArray]:
    p = len(beta) - 1
    probability = special.expit(base + beta[0] + rows.times(beta[1:]))
    residual = weight * (y - probability)
    curvature = weight * probability * (1.0 - probability)
    information = np.empty((p + 1, p + 1))
    information[0, 0] = curvature.sum()
    information[0, 1:] = information[1:, 0] = rows.sums(curvature)
    information[1:, 1:] = rows.gram(curvature)
    return np.append(residual.sum(), rows.sums(residual)), information


def _accepted(
    beta: FloatArray,
    step: FloatArray,
    value: float,
    rows: _Rows,
    y: FloatArray,
    weight: FloatArray,
    base: FloatArray,
    precision: FloatArray,
    centre: FloatArray,
) -> tuple[FloatArray, float, float]:
    scale = 1.0
    for _ in range(30):
        candidate = beta + scale * step
        reached = _objective(candidate, rows, y, weight, base, precision, centre)
        if reached >= value - 1e-12 * abs(value):
            return candidate, reached, float(np.abs(scale * step).max())
        scale /= 2.0
    return beta, value, 0.0
