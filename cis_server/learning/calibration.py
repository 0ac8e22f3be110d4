"""Platt scaling: from a model's log-odds to probabilities that hold on leads it has not seen.

logit P = a + b * eta, fitted on out-of-time predictions (Platt 1999, "Probabilistic outputs for
support vector machines"). Two restraints make it work with few positives: b has a Gaussian prior
around 1 (a penalised model is nearly calibrated already), and it is kept inside `SLOPE_RANGE`, so
that thirty outcomes cannot flatten a model or turn its ranking round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cis_server.learning.metrics import log_odds
from cis_server.stats.arrays import FloatArray
from cis_server.stats.logistic import fit_logistic
from cis_server.stats.nonnegative_logistic import fit_nonnegative, group_rows

SLOPE_RANGE: Final = (0.2, 3.0)
"""Bounds of b."""
SLOPE_PRIOR_SD: Final = 0.5
"""Standard deviation of the prior of b around 1."""

# Enough to keep the order of the scores where they say nothing or the opposite of the outcomes.
_LEAST_SCORE_SLOPE = 1e-3


@dataclass(frozen=True, slots=True)
class Platt:
    """logit P = intercept + slope * eta, slope > 0."""

    intercept: float
    slope: float

    def probability(self, eta: ArrayLike) -> FloatArray:
        """Calibrated probabilities of log-odds (n,)."""
        result: FloatArray = special.expit(
            self.intercept + self.slope * np.asarray(eta, dtype=np.float64)
        )
        return result


UNCHANGED: Final = Platt(0.0, 1.0)
"""Believes the model."""


def fit_platt(eta: ArrayLike, y: ArrayLike) -> Platt:
    """Scale log-odds to outcomes the model was not fitted on.

    Args:
        eta: (n,) log-odds, finite.
        y: (n,) outcomes 0/1.

    Returns:
        The scaling; `UNCHANGED` where both classes are not there to scale to.
    """
    x = np.asarray(eta, dtype=np.float64).reshape(-1)
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    if outcome.size == 0 or outcome.min() == outcome.max():
        return UNCHANGED
    fit = fit_logistic(
        x[:, None],
        outcome,
        prior_mean=np.ones(1),
        prior_precision=np.full(1, SLOPE_PRIOR_SD**-2),
    )
    slope = float(fit.coefficients[0])
    low, high = SLOPE_RANGE
    if low <= slope <= high:
        return Platt(fit.intercept, slope)
    slope = min(max(slope, low), high)
    # At the bound the intercept is fitted anew: the mean must be right whatever the slope.
    fixed = fit_logistic(np.empty((len(x), 0)), outcome, offset=slope * x)
    return Platt(fixed.intercept, slope)


@dataclass(frozen=True, slots=True)
class ScaledScore:
    """A score made comparable with a model: logit P = intercept + slope * score, slope > 0."""

    intercept: float
    slope: float

    def probability(self, score: ArrayLike) -> FloatArray:
        """Probabilities of scores (n,), in the order of the scores."""
        result: FloatArray = special.expit(
            self.intercept + self.slope * np.asarray(score, dtype=np.float64)
        )
        return result


def fit_score(score: ArrayLike, y: ArrayLike) -> ScaledScore:
    """Platt-scale a score that is no log-odds, e.g. the lead score as the baseline of a model.

    The slope may not be negative: a score is used as it ranks, so a baseline that ranks wrongly is
    flattened (its order survives), never turned round.

    Args:
        score: (n,) scores of any scale.
        y: (n,) outcomes 0/1.
    """
    values = np.asarray(score, dtype=np.float64).reshape(-1)
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    spread = float(values.std())
    if outcome.size == 0 or spread == 0.0 or outcome.min() == outcome.max():
        rate = (outcome.sum() + 0.5) / (outcome.size + 1.0)
        return ScaledScore(float(log_odds(rate)), _LEAST_SCORE_SLOPE)
    centre = float(values.mean())
    grouped = group_rows(((values - centre) / spread)[:, None], outcome.astype(np.int64))
    fit = fit_nonnegative(grouped.x, grouped.n, grouped.k[None])
    slope = max(float(fit.slopes[0, 0]) / spread, _LEAST_SCORE_SLOPE)
    return ScaledScore(float(fit.intercept[0]) - slope * centre, slope)
