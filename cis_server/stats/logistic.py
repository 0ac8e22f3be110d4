"""Penalised logistic regression: Gaussian prior on the slopes, free intercept, Newton's method.

Maximised is sum_i m_i [y_i log p_i + (1 - y_i) log(1 - p_i)] - (beta - mu)' P (beta - mu) / 2 with
logit p = offset + a + x beta: the posterior mode under beta ~ N(mu, P^-1). Its inverse negative
Hessian is the covariance of the Laplace approximation (MacKay 1992). With no rows the mode is mu
and the covariance that of the prior.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, special

from cis_server.stats.arrays import FloatArray
from cis_server.stats.sparse_design import SparseDesign

Design: TypeAlias = FloatArray | SparseDesign
"""(n, p) rows without an intercept column."""

# Rows are taken in blocks so that the weighted copy of a dense design stays in cache.
_BLOCK = 8192
# Below this share of filled entries the loops over them beat the dense products.
_SPARSE_BELOW, _SPARSE_FROM_COLUMNS = 0.25, 16
# A step with a curvature of another place has to leave no more than this share of the error, else
# the curvature is computed anew: one costs as much as a handful of steps.
_LEFT_BY_A_STEP = 0.2


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

    def log_odds(self, x: Design) -> FloatArray:
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
    x: Design,
    y: ArrayLike,
    *,
    prior: GaussianPrior | None = None,
    prior_precision: FloatArray | float = 1.0,
    prior_mean: FloatArray | None = None,
    intercept_prior: tuple[float, float] = (0.0, 1e-4),
    offset: FloatArray | None = None,
    row_weights: FloatArray | None = None,
    start: tuple[float, FloatArray] | None = None,
    curvature: FloatArray | None = None,
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
        curvature: (p + 1, p + 1) information near ``start``, as of a fit under another prior.
            Steps are taken with it as long as they shrink fast, which spares computing it at each
            of them; where they do not, it is computed where they have come to. Any curvature
            reaches the same mode.
        max_iterations: Newton steps at most.
        tolerance: largest change of a coefficient that counts as standing still. Information and
            covariance are those before that last step, off by as little; with a ``curvature`` the
            error of the mode itself is below it, and they are those at the mode.

    Returns:
        The fit. Sums run over the rows in their order: to get the same last bit for the same rows,
        bring them into one order first.

    Raises:
        ValueError: shapes do not agree or values are not finite.
    """
    problem = _problem(x, y, row_weights, offset)
    p = problem.rows.shape[1]
    if prior is not None and start is None:
        # With no rows this is the mode already, to the last bit.
        start = float(prior.mean[0]), prior.mean[1:]
    if prior is None:
        prior = _prior(prior_precision, prior_mean, intercept_prior, p)
    problem = problem.under(prior)
    beta = problem.plain_start() if start is None else np.append(start[0], start[1])
    reached = (
        _newton(problem, beta, tolerance, max_iterations)
        if curvature is None
        else _chord(problem, beta, curvature, tolerance, max_iterations)
    )
    point, information = reached.point, reached.information
    if information is None:
        information = problem.information(point)
    covariance = linalg.inv(_nudged(information + prior.precision))
    deviation = point.beta - prior.mean
    return LogisticFit(
        intercept=float(point.beta[0]),
        coefficients=point.beta[1:],
        covariance=(covariance + covariance.T) / 2.0,
        information=information,
        log_likelihood=float(point.value + deviation @ prior.precision @ deviation / 2.0),
        iterations=reached.iterations,
        converged=reached.converged,
    )


def logistic_mode(
    x: Design,
    y: ArrayLike,
    prior: GaussianPrior,
    *,
    start: tuple[float, FloatArray],
    curvature: FloatArray,
    max_iterations: int = 50,
    tolerance: float = 1e-8,
) -> tuple[float, FloatArray]:
    """Intercept and slopes of `fit_logistic` alone, which spares the last look at the curvature.

    Args:
        x, y, prior, start, curvature, max_iterations, tolerance: as there. A ``curvature`` of more
            rows than these is to be scaled down to their number.

    Raises:
        ValueError: as `fit_logistic`.
    """
    problem = _problem(x, y, None, None).under(prior)
    beta = np.append(start[0], start[1])
    found = _chord(problem, beta, curvature, tolerance, max_iterations).point.beta
    return float(found[0]), found[1:]


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

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p)."""

    def __matmul__(self, beta: FloatArray) -> FloatArray:
        """(n,) x beta."""

    def sums(self, weights: FloatArray) -> FloatArray:
        """(p,) x' weights."""

    def gram(self, weights: FloatArray) -> FloatArray:
        """(p, p) x' diag(weights) x."""


@dataclass(frozen=True, slots=True)
class _DenseRows:
    x: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        n, p = self.x.shape
        return n, p

    def __matmul__(self, beta: FloatArray) -> FloatArray:
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


def _rows_of(x: Design) -> _Rows:
    if isinstance(x, SparseDesign):
        return x
    n, p = x.shape
    if p < _SPARSE_FROM_COLUMNS or n == 0 or np.count_nonzero(x) >= _SPARSE_BELOW * x.size:
        return _DenseRows(x)
    return SparseDesign.of(x)


@dataclass(frozen=True, slots=True)
class _Point:
    """A place of the search: coefficients, intercept first, log-odds of the rows there, and the
    log-posterior."""

    beta: FloatArray
    eta: FloatArray
    value: float


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is maximised."""

    rows: _Rows
    y: FloatArray
    weight: FloatArray
    base: FloatArray
    prior: GaussianPrior

    def under(self, prior: GaussianPrior) -> _Problem:
        size = self.rows.shape[1] + 1
        if prior.precision.shape != (size, size) or prior.mean.shape != (size,):
            raise ValueError(f"the prior must be of {size} numbers, got {prior.mean.shape}")
        return replace(self, prior=prior)

    def plain_start(self) -> FloatArray:
        """The rate of all rows, and slopes at the mean of the prior."""
        total = self.weight.sum()
        rate = (self.weight @ self.y + 0.5) / (total + 1.0)
        level = special.logit(rate) - (self.weight @ self.base) / max(total, 1.0)
        return np.append(level, self.prior.mean[1:])

    def at(self, beta: FloatArray) -> _Point:
        eta = self.base + beta[0] + self.rows @ beta[1:]
        deviation = beta - self.prior.mean
        likelihood = self.weight @ (self.y * eta - np.logaddexp(0.0, eta))
        penalty = deviation @ self.prior.precision @ deviation / 2.0
        return _Point(beta, eta, float(likelihood - penalty))

    def gradient(self, point: _Point) -> FloatArray:
        residual = self.weight * (self.y - special.expit(point.eta))
        of_data = np.append(residual.sum(), self.rows.sums(residual))
        result: FloatArray = of_data - self.prior.precision @ (point.beta - self.prior.mean)
        return result

    def information(self, point: _Point) -> FloatArray:
        """Of the data alone."""
        probability = special.expit(point.eta)
        curvature = self.weight * probability * (1.0 - probability)
        size = len(point.beta)
        result = np.empty((size, size))
        result[0, 0] = curvature.sum()
        result[0, 1:] = result[1:, 0] = self.rows.sums(curvature)
        result[1:, 1:] = self.rows.gram(curvature)
        return result


def _problem(
    x: Design, y: ArrayLike, row_weights: FloatArray | None, offset: FloatArray | None
) -> _Problem:
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    n, p = x.shape
    values = x.values if isinstance(x, SparseDesign) else x
    if len(outcome) != n or not np.isfinite(outcome).all() or not np.isfinite(values).all():
        raise ValueError("x and y must be finite and have the same number of rows")
    return _Problem(
        rows=_rows_of(x),
        y=outcome,
        weight=np.ones(n) if row_weights is None else np.asarray(row_weights, dtype=np.float64),
        base=np.zeros(n) if offset is None else np.asarray(offset, dtype=np.float64),
        prior=GaussianPrior(np.zeros(p + 1), np.zeros((p + 1, p + 1))),
    )


@dataclass(frozen=True, slots=True)
class _Reached:
    """Where a search has come to; information as it stands for there, None where it does not."""

    point: _Point
    information: FloatArray | None
    iterations: int
    converged: bool


def _newton(problem: _Problem, beta: FloatArray, tolerance: float, max_iterations: int) -> _Reached:
    point = problem.at(beta)
    for iteration in range(1, max_iterations + 1):
        information = problem.information(point)
        step = linalg.solve(
            _nudged(information + problem.prior.precision),
            problem.gradient(point),
            assume_a="pos",
        )
        point, moved = _accepted(problem, point, step)
        if moved < tolerance:
            return _Reached(point, information, iteration, converged=True)
    return _Reached(point, None, max_iterations, converged=False)


def _chord(
    problem: _Problem,
    beta: FloatArray,
    curvature: FloatArray,
    tolerance: float,
    max_iterations: int,
) -> _Reached:
    """Newton's steps with the curvature of another place, while they converge fast.

    Their error falls by a constant share (Ortega & Rheinboldt 1970, section 7.1): the share that
    two steps show tells how much is left after them.
    """
    precision = problem.prior.precision
    factor = linalg.cho_factor(_nudged(curvature + precision), lower=True)
    point = problem.at(beta)
    last: float | None = None
    for iteration in range(1, max_iterations + 1):
        step = linalg.cho_solve(factor, problem.gradient(point))
        point, moved = _accepted(problem, point, step)
        share = 0.0 if last is None else moved / last
        known = last is not None and share < 1.0
        if moved == 0.0 or (known and moved * share / (1.0 - share) < tolerance):
            return _Reached(point, None, iteration, converged=True)
        if share > _LEFT_BY_A_STEP:
            there = problem.information(point)
            factor, last = linalg.cho_factor(_nudged(there + precision), lower=True), None
        else:
            last = moved
    return _Reached(point, None, max_iterations, converged=False)


def _accepted(problem: _Problem, start: _Point, step: FloatArray) -> tuple[_Point, float]:
    """The first of the full step, half of it, ... that does not fall, and how far it goes."""
    scale = 1.0
    for _ in range(30):
        reached = problem.at(start.beta + scale * step)
        if reached.value >= start.value - 1e-12 * abs(start.value):
            return reached, float(np.abs(scale * step).max())
        scale /= 2.0
    return start, 0.0
