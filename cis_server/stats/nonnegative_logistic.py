"""Logistic regression with slopes that may not be negative, for many outcome vectors at once.

The design is the same for every fit and only the outcomes differ, as in a parametric bootstrap:
all replicates go through one projected Newton iteration together, so that a thousand fits of five
slopes on a few hundred leads take a fraction of a second.

Rows with equal values are merged into counts first (`group_rows`): counts are sufficient for a
logistic model, points are integers and repeat a lot, and sorted groups make every result
independent of the order of the rows, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cis_server.stats.arrays import FloatArray

# Keeps a fit finite when classes separate; against information of order n it is invisible.
_RIDGE = 1e-6
_MAX_ETA = 30.0


@dataclass(frozen=True, slots=True)
class GroupedRows:
    """Rows of a design with equal values merged, in lexicographic order.

    Attributes:
        x: (g, p) distinct rows.
        n: (g,) how many rows had these values.
        k: (g,) how many of them converted.
    """

    x: FloatArray
    n: FloatArray
    k: FloatArray

    @property
    def size(self) -> int:
        """Rows before merging."""
        return int(self.n.sum())

    @property
    def converted(self) -> int:
        """Converted rows."""
        return int(self.k.sum())

    @property
    def base_rate(self) -> float:
        """Converted / all."""
        return float(self.k.sum() / self.n.sum())


def group_rows(x: FloatArray, y: ArrayLike) -> GroupedRows:
    """Merge equal rows of a design into counts. Independent of the order of the rows.

    Args:
        x: (n, p) design, finite.
        y: (n,) outcome, 0/1 or bool.
    """
    rows, inverse = np.unique(
        np.ascontiguousarray(x, dtype=np.float64), axis=0, return_inverse=True
    )
    inverse = inverse.reshape(-1)
    n = np.bincount(inverse, minlength=len(rows)).astype(np.float64)
    outcome = np.asarray(y, dtype=np.float64)
    k = np.bincount(inverse, weights=outcome, minlength=len(rows)).astype(np.float64)
    return GroupedRows(rows, n, k)


@dataclass(frozen=True, slots=True)
class NonNegativeFits:
    """Maximum-likelihood fits, one per outcome vector.

    Attributes:
        intercept: (b,) free intercepts.
        slopes: (b, p) slopes, all >= 0.
        log_posterior: (b,) maximised log-likelihood (natural log, summed over rows, without the
            binomial coefficients, which no difference of two fits contains) less the penalty of
            the prior; without a prior the log-likelihood itself.
        converged: (b,) whether the step vanished before the iterations ran out.
    """

    intercept: FloatArray
    slopes: FloatArray
    log_posterior: FloatArray
    converged: NDArray[np.bool_]


def fit_nonnegative(
    x: FloatArray,
    n: FloatArray,
    k: FloatArray,
    *,
    prior_mean: FloatArray | None = None,
    prior_precision: float = 0.0,
    max_iterations: int = 60,
    tolerance: float = 1e-7,
) -> NonNegativeFits:
    """Fit logit P = a + sum_j beta_j x_j with beta >= 0 to each row of ``k``.

    Projected Newton (Bertsekas 1982, "Projected Newton methods for optimization problems with
    simple constraints"): slopes at zero whose gradient points outward are held, Newton's step is
    taken in the rest, projected onto the orthant and halved until the likelihood does not fall.

    Args:
        x: (g, p) distinct rows of the design.
        n: (g,) trials per row.
        k: (b, g) successes per row, one outcome vector per line; 0 <= k <= n.
        prior_mean: (b, p) centre of a Gaussian prior on the slopes of each replicate; None is 0.
        prior_precision: of that prior, the same in every direction; 0 is maximum likelihood.
        max_iterations: Newton iterations at most; a handful is usual.
        tolerance: largest step, in log-odds, that counts as standing still.

    Returns:
        The fits in the order of ``k``. A replicate with one class only gets an intercept at about
        plus or minus 15 rather than infinity.
    """
    fits, p = k.shape[0], x.shape[1]
    design = np.column_stack([np.ones(len(x)), x])
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(x), -1)
    trials = n.sum()
    # Half a success and failure more: a start must exist for one class as well.
    rate = (k.sum(axis=1) + 0.5) / (trials + 1.0)
    beta = np.zeros((fits, p + 1))
    beta[:, 0] = np.log(rate / (1.0 - rate))
    centre = np.zeros((fits, p + 1))
    if prior_mean is not None:
        centre[:, 1:] = prior_mean
    precision = np.full(p + 1, max(prior_precision, _RIDGE))
    precision[0] = _RIDGE
    value = _log_posterior(beta, design, n, k, centre, precision)
    converged = np.zeros(fits, dtype=bool)
    for _ in range(max_iterations):
        live = np.flatnonzero(~converged)
        if live.size == 0:
            break
        current = beta[live]
        probability = _probability(current, design)
        gradient = (k[live] - n * probability) @ design - precision * (current - centre[live])
        hessian = ((n * probability * (1.0 - probability)) @ outer).reshape(-1, p + 1, p + 1)
        hessian += np.diag(precision)
        held = (current <= 0.0) & (gradient <= 0.0)
        held[:, 0] = False
        step = _masked_newton_step(hessian, gradient, held)
        moved, new_value = _line_search(
            current, step, value[live], design, n, k[live], centre[live], precision
        )
        still = np.abs(moved - current).max(axis=1) < tolerance
        beta[live], value[live] = moved, new_value
        converged[live[still]] = True
    return NonNegativeFits(beta[:, 0], beta[:, 1:], value, converged)


def _masked_newton_step(
    hessian: FloatArray, gradient: FloatArray, held: NDArray[np.bool_]
) -> FloatArray:
    free = ~held
    masked = np.where(free[:, :, None] & free[:, None, :], hessian, 0.0)
    masked += np.where(held, 1.0, 0.0)[:, :, None] * np.eye(gradient.shape[1])
    solution: FloatArray = np.linalg.solve(masked, np.where(free, gradient, 0.0)[:, :, None])[
        :, :, 0
    ]
    return solution


def _line_search(
    start: FloatArray,
    step: FloatArray,
    value: FloatArray,
    design: FloatArray,
    n: FloatArray,
    k: FloatArray,
    centre: FloatArray,
    precision: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    best, best_value = start.copy(), value.copy()
    todo = np.arange(len(start))
    scale = 1.0
    for _ in range(30):
        candidate = start[todo] + scale * step[todo]
        candidate[:, 1:] = np.maximum(candidate[:, 1:], 0.0)
        reached = _log_posterior(candidate, design, n, k[todo], centre[todo], precision)
        better = reached >= value[todo]
        best[todo[better]], best_value[todo[better]] = candidate[better], reached[better]
        todo = todo[~better]
        if todo.size == 0:
            break
        scale /= 2.0
    return best, best_value


def _probability(beta: FloatArray, design: FloatArray) -> FloatArray:
    eta = np.clip(beta @ design.T, -_MAX_ETA, _MAX_ETA)
    result: FloatArray = 1.0 / (1.0 + np.exp(-eta))
    return result


def _log_posterior(
    beta: FloatArray,
    design: FloatArray,
    n: FloatArray,
    k: FloatArray,
    centre: FloatArray,
    precision: FloatArray,
) -> FloatArray:
    eta = np.clip(beta @ design.T, -_MAX_ETA, _MAX_ETA)
    likelihood = (k * eta).sum(axis=1) - np.log1p(np.exp(eta)) @ n
    result: FloatArray = likelihood - 0.5 * np.square(beta - centre) @ precision
    return result
