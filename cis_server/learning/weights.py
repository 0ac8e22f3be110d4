"""The five weights of the score, estimated from what happened to contacted leads.

logit P(convert) = a + b * sum_k w_k x_k, where x_k is a component's points divided by its maximum
(0..1), taken at the first touch, b >= 0, and w lies on the simplex within [.05, .50]. Minimised is
the mean log-loss plus lambda * |w - w0|^2 towards the default weights w0.

lambda = `PRIOR_STRENGTH` / n: the penalty is a prior of fixed strength on w, so that it rules
while outcomes are few and fades as they grow, where a constant lambda would hold the weights near
the defaults however much is known.

A component that does not vary cannot be judged: its weight stays at the default and the others
share the rest. Fewer than two that vary leave nothing to choose, and the status says so.

Every result is independent of the order of the rows: equal rows are merged and sorted first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from cis_server.domain.weights import (
    COMPONENTS,
    DEFAULT_WEIGHTS,
    MAX_WEIGHT,
    MIN_WEIGHT,
    Weights,
    rounded_weights,
)
from cis_server.learning.metrics import log_loss, pr_auc
from cis_server.stats.arrays import BoolArray, FloatArray
from cis_server.stats.confidence import confidence
from cis_server.stats.nonnegative_logistic import GroupedRows, fit_nonnegative, group_rows
from cis_server.stats.simplex import project_to_box_simplex, truncated_normal_quantiles

MINIMUM_LEADS: Final = 50
"""Leads with an outcome, and of them with all five components."""
MINIMUM_PER_CLASS: Final = 20
"""Converted leads, and leads that did not convert."""
PRIOR_STRENGTH: Final = 40.0
"""lambda * n, in units of log-likelihood per squared weight."""
METHOD: Final = "logistic on the simplex, prior at the defaults (SLSQP)"

DEFAULTS: Final = np.array(DEFAULT_WEIGHTS.as_tuple())
"""(5,) w0."""

_MAX_SLOPE = 60.0
_FOLDS = 5
_REPEATS = 2


class WeightsStatus(StrEnum):
    """How the estimation, and the gate after it, ended."""

    SUCCESS = "success"
    INSUFFICIENT_DATA = "insufficient_data"
    INSUFFICIENT_COMPONENT_DATA = "insufficient_component_data"
    SINGLE_CLASS = "single_class"
    NO_VARIANCE = "no_variance"
    NOT_BETTER = "not_better"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class WeightInterval:
    """90 % interval of one weight, within its bounds."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsResult:
    """What was learned about the weights of one client.

    Every status but SUCCESS and NOT_BETTER carries the default weights and confidence 0.
    """

    status: WeightsStatus
    reason: str
    """In plain words, with the figures behind the status."""
    weights: Weights
    """Estimated weights, three decimals, sum exactly 1; defaults when nothing was estimated."""
    n: int
    """Leads with an outcome and all five components."""
    n_converted: int
    held: tuple[str, ...] = ()
    """Components that did not vary; their weights stay at the defaults."""
    intervals: dict[str, WeightInterval] | None = None
    """Component -> 90 % interval (Laplace approximation within the bounds)."""
    intercept: float | None = None
    """a of the fitted model."""
    slope: float | None = None
    """b of the fitted model."""
    baseline_metric: float | None = None
    """Out-of-fold mean log-loss of the default weights, with their own a and b; low is good."""
    metric: float | None = None
    """Out-of-fold mean log-loss of the learned weights."""
    baseline_pr_auc: float | None = None
    """Out-of-fold average precision of the default weights."""
    pr_auc: float | None = None
    """Out-of-fold average precision of the learned weights."""
    confidence: float = 0.0
    """0..1 from the effective number of leads."""
    iterations: int = 0
    """SLSQP iterations of the winning start."""
    method: str = METHOD

    @property
    def gain(self) -> float | None:
        """Out-of-fold log-loss saved per lead; positive is better."""
        if self.metric is None or self.baseline_metric is None:
            return None
        return self.baseline_metric - self.metric


def fit_weights(
    x: ArrayLike,
    y: ArrayLike,
    generator: np.random.Generator,
    *,
    prior_strength: float = PRIOR_STRENGTH,
) -> WeightsResult:
    """Estimate the weights and how they do on leads they were not fitted on.

    Says nothing about promotion: that is the gate's business (`weights_gate`).

    Args:
        x: (n, 5) components at first touch / their maxima, 0..1, in the order of `COMPONENTS`;
            NaN where unknown. Rows with a NaN are left out.
        y: (n,) 1 converted, 0 not.
        generator: randomness of folds and intervals.
        prior_strength: see `PRIOR_STRENGTH`.

    Returns:
        The estimate, or the defaults with the status that says why not. Same rows in any order
        and a generator in the same state give identical results.

    Raises:
        ValueError: shapes do not agree, a value lies outside 0..1 or an outcome is not 0 or 1.
    """
    rows, outcome = _checked(x, y)
    complete: BoolArray = np.asarray(np.isfinite(rows).all(axis=1))
    refusal = _refusal(rows, outcome, complete)
    if refusal is not None:
        return refusal
    grouped = group_rows(rows[complete], outcome[complete])
    varying = np.ptp(grouped.x, axis=0) > 0.0
    try:
        fit = _fit_simplex(grouped, varying, prior_strength)
    except (np.linalg.LinAlgError, FloatingPointError) as problem:
        return _unfitted(WeightsStatus.FAILED, f"the optimiser failed: {problem}", grouped)
    if not fit.converged:
        return _unfitted(WeightsStatus.FAILED, f"the optimiser stopped: {fit.message}", grouped)
    held = tuple(name for name, free in zip(COMPONENTS, varying, strict=True) if not free)
    evaluated = _out_of_fold(grouped, varying, prior_strength, generator)
    kept = f"; {', '.join(held)} did not vary and kept the default" if held else ""
    return replace(
        _unfitted(WeightsStatus.SUCCESS, f"fitted on {grouped.size} leads{kept}", grouped),
        weights=rounded_weights(fit.weights.tolist()),
        held=held,
        intervals=_intervals(grouped, varying, fit, prior_strength, generator),
        intercept=fit.intercept,
        slope=fit.slope,
        baseline_metric=evaluated.baseline_log_loss,
        metric=evaluated.log_loss,
        baseline_pr_auc=evaluated.baseline_pr_auc,
        pr_auc=evaluated.pr_auc,
        confidence=confidence(grouped.size, grouped.converted),
        iterations=fit.iterations,
    )


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    rows = np.asarray(x, dtype=np.float64).reshape(-1, len(COMPONENTS))
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    if len(rows) != len(outcome):
        raise ValueError("x and y must have the same number of rows")
    known = rows[np.isfinite(rows)]
    if known.size and (known.min() < 0.0 or known.max() > 1.0):
        raise ValueError("components must be points / maximum, 0..1")
    if not np.isin(outcome, (0.0, 1.0)).all():
        raise ValueError("outcomes must be 0 or 1")
    return rows, outcome


def _refusal(rows: FloatArray, outcome: FloatArray, complete: BoolArray) -> WeightsResult | None:
    """Why there is nothing to estimate, tested from the plainest cause on; None when there is."""
    n, converted = len(outcome), int(outcome.sum())
    if n < MINIMUM_LEADS:
        return _refused(
            WeightsStatus.INSUFFICIENT_DATA, f"{n} leads, {MINIMUM_LEADS} needed", n, converted
        )
    n, converted = int(complete.sum()), int(outcome[complete].sum())
    if n < MINIMUM_LEADS:
        return _refused(
            WeightsStatus.INSUFFICIENT_COMPONENT_DATA,
            f"{n} of {len(outcome)} leads have all components, {MINIMUM_LEADS} needed",
            n,
            converted,
        )
    if converted in (0, n):
        which = "no lead" if converted == 0 else "every lead"
        return _refused(WeightsStatus.SINGLE_CLASS, f"{which} converted", n, converted)
    if min(converted, n - converted) < MINIMUM_PER_CLASS:
        return _refused(
            WeightsStatus.INSUFFICIENT_DATA,
            f"{converted} converted, {n - converted} did not; {MINIMUM_PER_CLASS} of each needed",
            n,
            converted,
        )
    varying = np.ptp(rows[complete], axis=0) > 0.0
    if varying.sum() < 2:
        names = [name for name, free in zip(COMPONENTS, varying, strict=True) if not free]
        return _refused(
            WeightsStatus.NO_VARIANCE, f"{', '.join(names)} do not vary", n, converted, tuple(names)
        )
    return None


def _refused(
    status: WeightsStatus, reason: str, n: int, converted: int, held: tuple[str, ...] = ()
) -> WeightsResult:
    return WeightsResult(
        status=status,
        reason=reason,
        weights=DEFAULT_WEIGHTS,
        n=n,
        n_converted=converted,
        held=held,
    )


def _unfitted(status: WeightsStatus, reason: str, grouped: GroupedRows) -> WeightsResult:
    return _refused(status, reason, grouped.size, grouped.converted)


@dataclass(frozen=True, slots=True)
class _SimplexFit:
    intercept: float
    slope: float
    weights: FloatArray
    iterations: int
    converged: bool
    message: str


def _fit_simplex(grouped: GroupedRows, varying: BoolArray, strength: float) -> _SimplexFit:
    """SLSQP with analytic gradient from two fixed starts; the lower objective wins."""
    free = np.flatnonzero(varying)
    total = 1.0 - DEFAULTS[~varying].sum()
    # A held component is constant: with its weight fixed it only moves the intercept.
    x, centre, size = grouped.x[:, free], DEFAULTS[free], float(grouped.size)
    penalty = strength / size

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        a, b, w = theta[0], theta[1], theta[2:]
        z = x @ w
        eta = a + b * z
        residual = grouped.n * special.expit(eta) - grouped.k
        away = w - centre
        value = (grouped.n @ np.logaddexp(0.0, eta) - grouped.k @ eta) / size
        slope = np.concatenate([[residual.sum(), residual @ z], b * (residual @ x)]) / size
        slope[2:] += 2.0 * penalty * away
        return float(value + penalty * away @ away), slope

    bounds = optimize.Bounds(
        np.append([-np.inf, 0.0], np.full(len(free), MIN_WEIGHT)),
        np.append([np.inf, _MAX_SLOPE], np.full(len(free), MAX_WEIGHT)),
    )
    one_total = np.append([0.0, 0.0], np.ones(len(free)))[None, :]
    best: optimize.OptimizeResult | None = None
    for start in _starts(x, grouped, centre, total):
        found = optimize.minimize(
            objective,
            start,
            jac=True,
            method="SLSQP",
            bounds=bounds,
            constraints=optimize.LinearConstraint(one_total, total, total),
            options={"maxiter": 200, "ftol": 1e-10},
        )
        if best is None or (found.success, -found.fun) > (best.success, -best.fun):
            best = found
    assert best is not None
    weights = DEFAULTS.copy()
    weights[free] = project_to_box_simplex(best.x[2:], low=MIN_WEIGHT, high=MAX_WEIGHT, total=total)
    # a as if the held components were part of the sum, as they are when the score is computed.
    held_part = float(grouped.x[0, ~varying] @ DEFAULTS[~varying])
    return _SimplexFit(
        intercept=float(best.x[0] - best.x[1] * held_part),
        slope=float(best.x[1]),
        weights=weights,
        iterations=int(best.nit),
        converged=bool(best.success),
        message=str(best.message),
    )


def _starts(
    x: FloatArray, grouped: GroupedRows, centre: FloatArray, total: float
) -> tuple[FloatArray, ...]:
    """The defaults, and the free non-negative fit brought onto the simplex."""
    by_default = fit_nonnegative((x @ centre)[:, None], grouped.n, grouped.k[None])
    at_default = np.concatenate(
        [by_default.intercept, np.minimum(by_default.slopes[0], _MAX_SLOPE), centre]
    )
    free = fit_nonnegative(x, grouped.n, grouped.k[None])
    sum_of_slopes = float(free.slopes[0].sum())
    if sum_of_slopes <= 0.0:
        return (at_default,)
    weights = project_to_box_simplex(
        free.slopes[0] * (total / sum_of_slopes), low=MIN_WEIGHT, high=MAX_WEIGHT, total=total
    )
    at_free = np.concatenate([free.intercept, [min(sum_of_slopes / total, _MAX_SLOPE)], weights])
    return at_default, at_free


@dataclass(frozen=True, slots=True)
class _OutOfFold:
    baseline_log_loss: float
    log_loss: float
    baseline_pr_auc: float
    pr_auc: float


def _out_of_fold(
    grouped: GroupedRows, varying: BoolArray, strength: float, generator: np.random.Generator
) -> _OutOfFold:
    """Learned and default weights on held-out leads; folds are stratified, drawn `_REPEATS` times.

    Leads with equal components and outcome are interchangeable, so folds are dealt to the merged
    rows and the result cannot depend on the order in which leads were read.
    """
    row, outcome = _expanded(grouped)
    sums = np.zeros(4)
    for _ in range(_REPEATS):
        fold = _stratified_folds(outcome, generator)
        learned, plain = np.empty(len(row)), np.empty(len(row))
        for number in range(_FOLDS):
            out = fold == number
            n = grouped.n - np.bincount(row[out], minlength=len(grouped.n))
            k = grouped.k - np.bincount(row[out], outcome[out], minlength=len(grouped.n))
            used = n > 0
            training = GroupedRows(grouped.x[used], n[used], k[used])
            fit = _fit_simplex(training, varying, strength)
            learned[out] = special.expit(
                fit.intercept + fit.slope * (grouped.x @ fit.weights)[row[out]]
            )
            z = training.x @ DEFAULTS
            base = fit_nonnegative(z[:, None], training.n, training.k[None])
            plain[out] = special.expit(
                base.intercept[0] + base.slopes[0, 0] * (grouped.x @ DEFAULTS)[row[out]]
            )
        sums += (
            log_loss(outcome, plain),
            log_loss(outcome, learned),
            pr_auc(outcome, plain),
            pr_auc(outcome, learned),
        )
    return _OutOfFold(*(float(value) for value in sums / _REPEATS))


def _expanded(grouped: GroupedRows) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], FloatArray]:
    """(row number, outcome) of every lead, in canonical order."""
    index = np.arange(len(grouped.n))
    positive = np.repeat(index, grouped.k.astype(np.int64))
    negative = np.repeat(index, (grouped.n - grouped.k).astype(np.int64))
    outcome = np.zeros(len(positive) + len(negative))
    outcome[: len(positive)] = 1.0
    return np.concatenate([positive, negative]), outcome


def _stratified_folds(
    outcome: FloatArray, generator: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    fold = np.empty(len(outcome), dtype=np.intp)
    for label in (1.0, 0.0):
        inside = np.flatnonzero(outcome == label)
        fold[inside] = generator.permutation(np.arange(len(inside)) % _FOLDS)
    return fold


def _intervals(
    grouped: GroupedRows,
    varying: BoolArray,
    fit: _SimplexFit,
    strength: float,
    generator: np.random.Generator,
) -> dict[str, WeightInterval]:
    """90 % intervals: Fisher information of (a, b, w) plus the prior, a and b integrated out."""
    free = np.flatnonzero(varying)
    x = grouped.x[:, free]
    eta = fit.intercept + fit.slope * (grouped.x @ fit.weights)
    p = special.expit(eta)
    jacobian = np.column_stack([np.ones(len(x)), grouped.x @ fit.weights, fit.slope * x])
    information = jacobian.T @ (jacobian * (grouped.n * p * (1.0 - p))[:, None])
    nuisance = information[:2, :2] + 1e-9 * np.eye(2)
    cross = information[2:, :2]
    prior = 2.0 * strength * np.eye(len(free))
    precision = information[2:, 2:] - cross @ np.linalg.solve(nuisance, cross.T) + prior
    residual = grouped.n * p - grouped.k
    gradient = fit.slope * (residual @ x) + 2.0 * strength * (fit.weights - DEFAULTS)[free]
    bounds = truncated_normal_quantiles(
        fit.weights[free],
        gradient,
        precision,
        low=MIN_WEIGHT,
        high=MAX_WEIGHT,
        probabilities=(0.05, 0.95),
        generator=generator,
    )
    low, high = DEFAULTS.copy(), DEFAULTS.copy()
    # The mode can lie on a bound, outside the central 90 %; the interval shown still contains it.
    low[free] = np.minimum(bounds[0], fit.weights[free])
    high[free] = np.maximum(bounds[1], fit.weights[free])
    return {
        name: WeightInterval(float(low[i]), float(high[i])) for i, name in enumerate(COMPONENTS)
    }
