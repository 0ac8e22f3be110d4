"""How well probabilities rank leads and how true they are.

All functions take outcomes ``y`` (n,) 0/1 and probabilities or scores (n,), and none depends on
the order of the rows: ties are one step of the ranking, never broken by position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from cis_server.stats.arrays import BoolArray, FloatArray
from cis_server.stats.logistic import fit_logistic

_TINY: Final = 1e-12
_Z90: Final = 1.6448536269514722
# Replicates are drawn in blocks of about this many counts, which stay in the processor's cache:
# three times as fast as one pass over all of them, and in bounded memory.
_BLOCK: Final = 100_000


def pr_auc(y: ArrayLike, score: ArrayLike) -> float:
    """Average precision: sum over thresholds of (recall step) * precision, not interpolated.

    The base rate for a useless score, 1 for a perfect one. Equal to scikit-learn's
    `average_precision_score`.

    Raises:
        ValueError: no positive in ``y``.
    """
    outcome, values = _checked(y, score)
    return float(_Ranking.of(outcome, values).average_precision(np.ones((1, len(outcome))))[0])


def brier(y: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared difference of probability and outcome (Brier 1950); 0 is perfect."""
    outcome, values = _checked(y, probability, positives=False)
    return float(np.mean(np.sort(np.square(values - outcome))))


def log_loss(y: ArrayLike, probability: ArrayLike) -> float:
    """Mean negative log-likelihood, natural log; probabilities are kept 1e-12 off 0 and 1."""
    outcome, values = _checked(y, probability, positives=False)
    return float(np.mean(np.sort(_log_losses(outcome, values))))


def lift_at(y: ArrayLike, score: ArrayLike, share: float) -> float:
    """Conversion rate among the best ``share`` of leads / base rate.

    Exactly ``share * n`` leads are counted: the tie that straddles the cut enters with the mean
    rate of the tie, so neither row order nor rounding moves the figure.

    Args:
        y: outcomes, at least one positive.
        score: what ranks the leads, high first.
        share: of all leads, in (0, 1].

    Raises:
        ValueError: ``share`` outside (0, 1], or no positive.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    outcome, values = _checked(y, score)
    ranking = _Ranking.of(outcome, values)
    return float(ranking.lift(np.ones((1, len(outcome))), share)[0])


@dataclass(frozen=True, slots=True)
class CalibrationSlope:
    """Slope of outcomes on predicted log-odds: 1 is calibrated, below 1 overconfident.

    Attributes:
        slope: estimate.
        low: 5 % bound.
        high: 95 % bound.
        intercept: of the same fit; 0 when the mean is right as well.
    """

    slope: float
    low: float
    high: float
    intercept: float


def calibration_slope(y: ArrayLike, probability: ArrayLike) -> CalibrationSlope:
    """Cox's recalibration (1958): logit P(y) = intercept + slope * logit(probability), fitted.

    The interval is Wald's at 90 %. Probabilities all equal say nothing about a slope: the result
    is then slope 0 with an unbounded interval.

    Raises:
        ValueError: one class only.
    """
    outcome, values = _checked(y, probability)
    if outcome.min() == outcome.max():
        raise ValueError("a calibration slope needs both classes")
    logit = log_odds(values)
    order = np.lexsort((outcome, logit))
    logit, outcome = logit[order], outcome[order]
    if np.ptp(logit) < 1e-9:
        return CalibrationSlope(0.0, -np.inf, np.inf, float(log_odds(outcome.mean())))
    fit = fit_logistic(logit[:, None], outcome, prior_precision=np.array([1e-8]))
    sd = float(np.sqrt(fit.covariance[1, 1]))
    slope = float(fit.coefficients[0])
    return CalibrationSlope(slope, slope - _Z90 * sd, slope + _Z90 * sd, fit.intercept)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """One bin of a calibration curve: leads sorted by probability, cut into equal counts.

    Attributes:
        predicted: mean probability.
        observed: share converted.
        n: leads.
    """

    predicted: float
    observed: float
    n: int


def calibration_curve(
    y: ArrayLike, probability: ArrayLike, bins: int = 10
) -> tuple[CalibrationBin, ...]:
    """Observed against predicted in up to ``bins`` bins of about equal counts; ties stay whole."""
    outcome, values = _checked(y, probability, positives=False)
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, bins + 1)))
    index = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, max(len(edges) - 2, 0))
    result = []
    for number in np.unique(index):
        inside = index == number
        result.append(
            CalibrationBin(
                float(np.sort(values[inside]).mean()),
                float(outcome[inside].mean()),
                int(inside.sum()),
            )
        )
    return tuple(result)


@dataclass(frozen=True, slots=True)
class Gain:
    """What one model has over another on the same leads, with a bootstrap interval.

    Attributes:
        value: gain on the sample as it is; positive is better.
        low: lower bound of the two-sided interval.
        high: upper bound.
        level: content of the interval, e.g. .8.
    """

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class PairedGains:
    """Gains of a candidate over a baseline, from the same resamples.

    Attributes:
        pr_auc: average precision, candidate - baseline.
        log_loss: mean log-loss, baseline - candidate.
        brier: Brier score, baseline - candidate.
    """

    pr_auc: Gain
    log_loss: Gain
    brier: Gain


def paired_gains(
    y: ArrayLike,
    candidate: ArrayLike,
    baseline: ArrayLike,
    generator: np.random.Generator,
    *,
    groups: ArrayLike | None = None,
    draws: int = 1000,
    level: float = 0.8,
) -> PairedGains:
    """Bootstrap of the gain of ``candidate`` over ``baseline``, pairing kept.

    Leads (or whole groups, e.g. the leads of one company, which share their fate) are drawn with
    replacement, and both models are judged on the same draw; the interval is
    the percentile interval (Efron & Tibshirani 1993, ch. 13). Resamples without a positive carry
    no average precision and are left out.

    Args:
        y: outcomes, at least one positive.
        candidate: probabilities of the model under test.
        baseline: probabilities of what it has to beat.
        generator: randomness.
        groups: (n,) label of the unit that is drawn; None draws single leads.
        draws: resamples.
        level: content of the interval.

    Returns:
        The gains; independent of the order of the rows.
    """
    outcome, new = _checked(y, candidate)
    _, old = _checked(y, baseline)
    if groups is None:
        label = np.arange(len(outcome))
        order = np.lexsort((old, new, outcome))
    else:
        label = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
        order = np.lexsort((old, new, outcome, label))
    outcome, new, old = outcome[order], new[order], old[order]
    unit = np.arange(len(outcome)) if groups is None else label[order]
    units = int(unit.max()) + 1

    rankings = _Ranking.of(outcome, new), _Ranking.of(outcome, old)
    losses = np.column_stack(
        [
            _log_losses(outcome, old) - _log_losses(outcome, new),
            np.square(old - outcome) - np.square(new - outcome),
        ]
    )

    def gains(weights: FloatArray) -> FloatArray:
        precision = rankings[0].average_precision(weights) - rankings[1].average_precision(weights)
        mean = weights @ losses / weights.sum(axis=1)[:, None]
        return np.column_stack([precision, mean])

    point = gains(np.ones((1, len(outcome))))[0]
    blocks = []
    block = max(1, _BLOCK // len(outcome))
    for start in range(0, draws, block):
        drawn = min(block, draws - start)
        picks = generator.integers(0, units, size=(drawn, units))
        picks += units * np.arange(drawn)[:, None]
        counts = np.bincount(picks.reshape(-1), minlength=drawn * units).reshape(drawn, units)
        weights = counts[:, unit].astype(np.float64)
        blocks.append(gains(weights[weights @ outcome > 0.0]))
    tail = (1.0 - level) / 2.0
    bounds = np.quantile(np.concatenate(blocks), [tail, 1.0 - tail], axis=0)
    made = [
        Gain(float(point[i]), float(bounds[0, i]), float(bounds[1, i]), level) for i in range(3)
    ]
    return PairedGains(*made)


def log_odds(probability: ArrayLike) -> FloatArray:
    """log(p / (1 - p)) with p kept 1e-12 off 0 and 1."""
    p = np.clip(np.asarray(probability, dtype=np.float64), _TINY, 1.0 - _TINY)
    result: FloatArray = np.log(p) - np.log1p(-p)
    return result


@dataclass(frozen=True, slots=True)
class _Ranking:
    """Rows sorted by a score, high first, with the ends of its ties, ready for row weights."""

    order: np.ndarray[tuple[int], np.dtype[np.intp]]
    positive: FloatArray
    ends: np.ndarray[tuple[int], np.dtype[np.intp]]

    @staticmethod
    def of(outcome: FloatArray, score: FloatArray) -> _Ranking:
        order = np.lexsort((outcome, -score))
        ranked = score[order]
        last: BoolArray = np.append(ranked[1:] != ranked[:-1], True)
        return _Ranking(order, outcome[order], np.flatnonzero(last))

    def average_precision(self, weights: FloatArray) -> FloatArray:
        """(b,) average precision under row weights (b, n); every line needs a positive."""
        ranked = weights[:, self.order]
        positives = np.flatnonzero(self.positive)
        # Recall steps at ties with a positive only.
        tie, last = np.unique(np.searchsorted(self.ends, positives), return_index=True)
        last = np.append(last[1:], len(positives)) - 1
        seen = np.cumsum(ranked, axis=1)[:, self.ends[tie]]
        hits = np.cumsum(ranked[:, positives], axis=1)[:, last]
        precision = hits / np.maximum(seen, _TINY)
        steps = np.diff(hits, axis=1, prepend=0.0)
        result: FloatArray = (steps * precision).sum(axis=1) / hits[:, -1]
        return result

    def lift(self, weights: FloatArray, share: float) -> FloatArray:
        """(b,) lift of the best ``share`` under row weights (b, n)."""
        hits, seen = self._cumulated(weights)
        result = np.empty(len(weights))
        for i, (hit, count) in enumerate(zip(hits, seen, strict=True)):
            cut = share * count[-1]
            inside = np.interp(cut, np.append(0.0, count), np.append(0.0, hit))
            result[i] = (inside / cut) / (hit[-1] / count[-1])
        return result

    def _cumulated(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        ranked = weights[:, self.order]
        seen = np.cumsum(ranked, axis=1)[:, self.ends]
        hits = np.cumsum(ranked * self.positive, axis=1)[:, self.ends]
        return hits, seen


def _log_losses(outcome: FloatArray, probability: FloatArray) -> FloatArray:
    p = np.clip(probability, _TINY, 1.0 - _TINY)
    result: FloatArray = -np.where(outcome > 0.5, np.log(p), np.log1p(-p))
    return result


def _checked(
    y: ArrayLike, score: ArrayLike, *, positives: bool = True
) -> tuple[FloatArray, FloatArray]:
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    values = np.asarray(score, dtype=np.float64).reshape(-1)
    if len(outcome) != len(values) or len(outcome) == 0:
        raise ValueError("outcomes and scores must have the same length, at least 1")
    if not np.isfinite(values).all() or not np.isin(outcome, (0.0, 1.0)).all():
        raise ValueError("scores must be finite and outcomes 0 or 1")
    if positives and not outcome.any():
        raise ValueError("no positive outcome")
    return outcome, values
