"""How strongly a propensity model is held back: the lambda that makes the outcomes most probable.

The evidence (MacKay 1992) needs no held-out part. What predicts the next stretch best would: where
the business moves, that asks for a model that says nothing, and whether a moving model may go live
is for the gates to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cis_server.domain.propensity import FeatureSpace
from cis_server.learning.metrics import log_odds
from cis_server.learning.pooling import PooledPrior
from cis_server.stats.arrays import FloatArray
from cis_server.stats.logistic import GaussianPrior, LogisticFit, fit_logistic, log_evidence
from cis_server.stats.sparse_design import SparseDesign

PENALTIES: Final = (512.0, 128.0, 32.0, 8.0, 2.0, 0.5)
"""Candidates for lambda, strongest first."""
CLOSE: Final = 1e-10
"""Largest error of a coefficient that is kept or predicted with: under the digits of a model."""

# The evidence is compared by six decimals; it is flat at the mode.
_ROUGH = 1e-4
# Precision of the intercept: only keeps it finite.
_OPEN = 1e-4


@dataclass(frozen=True, slots=True)
class ChosenFit:
    """The fit with the highest evidence, its lambda and its prior."""

    penalty: float
    prior: GaussianPrior
    fit: LogisticFit


def most_evident(
    x: SparseDesign, y: FloatArray, space: FeatureSpace, pool: PooledPrior | None
) -> ChosenFit:
    """The fit of the lambda with the highest evidence; ties to the stronger one.

    Modes of neighbouring lambdas lie close together, so each fit begins at the last one and with
    its curvature.

    Args:
        x: (n, p) design.
        y: (n,) outcomes 0/1.
        space: its columns.
        pool: what other clients say; None: coefficients lie around 0.
    """
    chosen: ChosenFit | None = None
    highest, curvature = -np.inf, None
    level = float(log_odds((y.sum() + 0.5) / (len(y) + 1.0)))
    start = None if pool is not None else (level, np.zeros(space.width))
    for penalty in PENALTIES:
        prior = _prior(pool, space, penalty)
        fit = fit_logistic(x, y, prior=prior, start=start, curvature=curvature, tolerance=_ROUGH)
        start, curvature = (fit.intercept, fit.coefficients), fit.information
        evidence = round(log_evidence(fit, prior), 6)
        if chosen is None or evidence > highest:
            chosen, highest = ChosenFit(penalty, prior, fit), evidence
    assert chosen is not None
    return replace(
        chosen,
        fit=fit_logistic(
            x,
            y,
            prior=chosen.prior,
            start=(chosen.fit.intercept, chosen.fit.coefficients),
            curvature=chosen.fit.information,
            tolerance=CLOSE,
        ),
    )


def _prior(pool: PooledPrior | None, space: FeatureSpace, penalty: float) -> GaussianPrior:
    """Of intercept and slopes: what the pool says, and around 0 what it does not know."""
    if pool is not None:
        return pool.prior(space, penalty)
    precision = np.full(space.width + 1, penalty)
    precision[0] = _OPEN
    return GaussianPrior(np.zeros(space.width + 1), np.diag(precision))
