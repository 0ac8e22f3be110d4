"""Platt scaling: from a model's log-odds to probabilities that hold on leads it has not seen.

logit P = a + b * eta, fitted on out-of-time predictions (Platt 1999, "Probabilistic outputs for
support vector machines"). Two restraints make it work with few positives: b has a Gaussian prior
around 1 (a penalised model is nearly calibrated already), and it is kept inside `SLOPE_RANGE`, so
that thirty outcomes cannot flatten a model or turn its ranking round.

The predictions come from several models, each fitted on another stretch of the past. Where the rate
of conversion moves over the years, those models are wrong in the mean by different amounts, which
would pass for a slope; b is therefore found with a mean of its own for every stretch. a comes after
it: what keeps the model's own mean, plus a shift with a tight prior around 0. The rate of the next
stretch differs from that of the past by chance alone, by a fifth with fifty conversions on either
side, and a shift that followed it freely would make probabilities worse; where it really moves,
outcomes are many enough to overrule the prior.
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
SHIFT_PRIOR_SD: Final = 0.1
"""Standard deviation, in log-odds, of the prior of the shift of the mean."""

# Of the means of the stretches: next to no prior.
_WEAK = 1e-2
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


def fit_platt(eta: ArrayLike, y: ArrayLike, stretch: ArrayLike | None = None) -> Platt:
    """Scale log-odds to outcomes the model was not fitted on.

    Args:
        eta: (n,) log-odds, finite.
        y: (n,) outcomes 0/1.
        stretch: (n,) number of the stretch of time a prediction belongs to; None: one for all.

    Returns:
        The scaling; `UNCHANGED` where both classes are not there to scale to.
    """
    x = np.asarray(eta, dtype=np.float64).reshape(-1)
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    if outcome.size == 0 or outcome.min() == outcome.max():
        return UNCHANGED
    part = np.zeros(len(x), dtype=np.int64) if stretch is None else np.asarray(stretch)
    later = np.unique(part)[1:]
    fit = fit_logistic(
        np.column_stack([x, *((part == number).astype(np.float64) for number in later)]),
        outcome,
        prior_mean=np.append(1.0, np.zeros(len(later))),
        prior_precision=np.append(SLOPE_PRIOR_SD**-2, np.full(len(later), _WEAK)),
    )
    low, high = SLOPE_RANGE
    slope = min(max(float(fit.coefficients[0]), low), high)
    kept = mean_shift(slope * x, special.expit(x))
    shift = mean_shift(slope * x + kept, outcome, SHIFT_PRIOR_SD**-2)
    return Platt(kept + shift, slope)


def mean_shift(eta: FloatArray, y: FloatArray, prior_precision: float = 1e-4) -> float:
    """What has to be added to log-odds so that their mean probability is the mean of ``y``.

    Args:
        eta: (n,) log-odds.
        y: (n,) outcomes, or probabilities.
        prior_precision: of the shift around 0.
    """
    nothing = np.empty((len(eta), 0))
    return fit_logistic(nothing, y, offset=eta, intercept_prior=(0.0, prior_precision)).intercept


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
