"""The probability that a lead converts: a penalised logistic model, judged on later leads.

Encoded attributes, components and signals of a lead at first contact enter a logistic regression
with a Gaussian prior of precision lambda on every coefficient. Numbers are standardised and levels
are 0/1, so a coefficient is a log-odds per standard deviation or of a level against the reference,
and lambda = 1 says that most of them lie within +-1.6. A level whose few leads all failed keeps a
modest coefficient however often the fit is repeated. lambda is the one under which the outcomes
are most probable (the evidence, MacKay 1992). Where a client shares, what the others say is the
prior of all columns they have, and lambda is left for those they do not (`learning.pooling`).

The model is judged on the last `TEST_SHARE` of the leads in time, against the lead score that is in
force. Then it is fitted again on all of them, and calibrated by Platt's scaling of predictions that
were each made from the past alone. Nothing depends on the order of the rows that are given beyond
ties in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from cis_server.domain.propensity import FeatureSpace, PropensityModel
from cis_server.domain.runs import PropensityOutcome
from cis_server.learning.calibration import (
    UNCHANGED,
    Platt,
    fit_platt,
    fit_score,
)
from cis_server.learning.challenger import challenger_report
from cis_server.learning.design import bounded_space, sparse_design, taken
from cis_server.learning.drift import feature_drift, stability_index
from cis_server.learning.leakage import find_leakage
from cis_server.learning.live_comparison import Incumbent, live_report
from cis_server.learning.metrics import (
    brier,
    calibration_curve,
    calibration_slope,
    lift_at,
    log_loss,
    paired_gains,
    pr_auc,
)
from cis_server.learning.penalty_choice import CLOSE, ChosenFit, most_evident
from cis_server.learning.pooling import PooledPrior
from cis_server.learning.propensity_gates import (
    Figures,
    enough_positives,
    measured_gates,
    no_leakage,
    unmeasured,
)
from cis_server.learning.selection import selection_rates
from cis_server.learning.time_order import TimeOrder, TimeSplit
from cis_server.scoring.features import RawValue
from cis_server.stats.arrays import FloatArray, IntArray
from cis_server.stats.confidence import confidence
from cis_server.stats.logistic import LogisticFit, fit_logistic, logistic_mode
from cis_server.stats.sparse_design import SparseDesign

TARGET: Final = "converted"
MINIMUM_LEADS: Final = 50
MINIMUM_POSITIVES: Final = 20
"""Converted leads below which nothing is fitted."""
TEST_SHARE: Final = 0.3
MOST_LEADS: Final = 200_000
"""Leads fitted on; of more the latest are taken, which bounds time and memory."""
_CALIBRATION_FOLDS = 4
_LEVEL = 0.8
# Resamples of large test sets cost most of the time, and their interval is narrow anyway.
_DRAWS_SMALL, _DRAWS_LARGE, _LARGE = 1000, 300, 10_000
_LIFT_SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
# Precision of a column of the pool's clients' own when the client has too little to choose it by.
_LOCAL_PENALTY = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PropensityFit:
    """What came of learning a model.

    Attributes:
        outcome: status, held-out metrics and gates.
        model: fitted on all leads; None when nothing was fitted. A gate that refuses it does not
            take it away: it stays a candidate.
        confidence: 0..1 from the effective number of leads.
        report: further figures for the registry, JSON values.
    """

    outcome: PropensityOutcome
    model: PropensityModel | None = None
    confidence: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return self.outcome.status == "success"


def learn_propensity(
    raw: Mapping[str, Sequence[RawValue]],
    y: ArrayLike,
    order: ArrayLike,
    groups: Sequence[str | None],
    generator: np.random.Generator,
    *,
    baseline_score: ArrayLike,
    version: str = "",
    target: str = TARGET,
    pool: PooledPrior | None = None,
    incumbent: Incumbent | None = None,
    known_at: Mapping[str, ArrayLike] | None = None,
) -> PropensityFit:
    """Learn and judge a model of the conversion probability.

    Args:
        raw: feature name -> n values at first contact, from `scoring.features.raw_columns`.
        y: (n,) 1 converted, 0 not, after the same follow-up for every lead.
        order: (n,) time of first contact, any increasing number; ties stay in the order given.
        groups: (n,) company, None where unknown.
        generator: randomness of company sides and of the bootstrap.
        baseline_score: (n,) lead score under the weights in force, what the model has to beat.
        version: of the model.
        target: what ``y`` says.
        pool: what other clients say, the prior of the fit; None: coefficients lie around 0.
        incumbent: the model that is live, to compare with.
        known_at: feature -> (n,) times, on the scale of ``order``, at which its values became
            known; features that are left out were known by then by the way they are made.

    Returns:
        The outcome and the model. Statuses: success, gate_failed (both with a model),
        insufficient_data, single_class, no_variance, failed.

    Raises:
        ValueError: lengths do not agree or an outcome is not 0 or 1.
    """
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    n, positives = len(outcome), int(outcome.sum())
    if not (len(groups) == len(np.asarray(order)) == len(np.asarray(baseline_score)) == n):
        raise ValueError("outcomes, order, groups and scores must have the same length")
    if not np.isin(outcome, (0.0, 1.0)).all():
        raise ValueError("outcomes must be 0 or 1")
    refusal = _refusal(n, positives)
    if refusal is not None:
        status, reason = refusal
        return PropensityFit(
            outcome=PropensityOutcome(
                status=status, reason=reason, target=target, n_train=n, positives_train=positives
            )
        )
    rows = np.argsort(np.asarray(order), kind="stable")[-MOST_LEADS:]
    past = _Past(
        raw=taken(raw, rows),
        y=outcome[rows],
        score=np.asarray(baseline_score, dtype=np.float64)[rows],
        at=np.asarray(order, dtype=np.float64)[rows],
        known_at={
            name: np.asarray(times, dtype=np.float64)[rows]
            for name, times in (known_at or {}).items()
        },
        time=TimeOrder([groups[i] for i in rows.tolist()], generator),
    )
    try:
        return _learned(past, generator, version, target, pool, incumbent)
    except (ArithmeticError, ValueError) as problem:
        # One target that cannot be fitted must not cost the run its patterns.
        failed = PropensityOutcome(
            status="failed", reason=f"the fit failed: {problem}", target=target
        )
        return PropensityFit(outcome=failed)


def pooled_fit(
    raw: Mapping[str, Sequence[RawValue]], y: ArrayLike, pool: PooledPrior, version: str = ""
) -> PropensityModel:
    """The pooled answer, moved by what few leads of its own a client has.

    Args:
        raw: feature name -> n values at first contact.
        y: (n,) outcomes 0/1; n = 0 gives the pooled answer exactly.
        pool: what other clients say.
        version: of the model.
    """
    outcome = np.asarray(y, dtype=np.float64).reshape(-1)
    if not outcome.size:
        return pool.model(version)
    space = pool.joined(bounded_space(raw, len(outcome)))
    x = sparse_design(space, raw, len(outcome))
    fit = fit_logistic(x, outcome, prior=pool.prior(space, _LOCAL_PENALTY))
    return _model(fit, space, UNCHANGED, version, pool.target)


def _refusal(n: int, positives: int) -> tuple[str, str] | None:
    if n < MINIMUM_LEADS:
        return "insufficient_data", f"{n} leads, {MINIMUM_LEADS} needed"
    if positives in (0, n):
        return "single_class", f"{'no lead' if positives == 0 else 'every lead'} converted"
    if min(positives, n - positives) < MINIMUM_POSITIVES:
        return (
            "insufficient_data",
            f"{positives} leads converted and {n - positives} did not, "
            f"{MINIMUM_POSITIVES} of each needed",
        )
    return None


@dataclass(frozen=True, slots=True)
class _Past:
    """Leads in the order of first contact."""

    raw: Mapping[str, Sequence[RawValue]]
    y: FloatArray
    score: FloatArray
    at: FloatArray
    known_at: Mapping[str, FloatArray]
    time: TimeOrder

    def part(self, rows: IntArray) -> _Past:
        return _Past(
            taken(self.raw, rows),
            self.y[rows],
            self.score[rows],
            self.at[rows],
            {name: times[rows] for name, times in self.known_at.items()},
            self.time.restricted(rows),
        )

    def space(self, pool: PooledPrior | None) -> FeatureSpace:
        own = bounded_space(self.raw, len(self.y))
        return own if pool is None else pool.joined(own)


def _learned(
    past: _Past,
    generator: np.random.Generator,
    version: str,
    target: str,
    pool: PooledPrior | None,
    incumbent: Incumbent | None,
) -> PropensityFit:
    space = past.space(pool)
    if not space.width:
        nothing = PropensityOutcome(
            status="no_variance",
            reason="no attribute of the leads varies",
            target=target,
            n_train=len(past.y),
            positives_train=int(past.y.sum()),
        )
        return PropensityFit(outcome=nothing)
    n = len(past.y)
    split = past.time.split(n - round(TEST_SHARE * n))
    outcome, report = _judged(past, split, generator, pool, incumbent)
    model, fitted = _fitted_on_all(past, space, version, target, pool)
    if pool is not None:
        fitted["pool"] = {
            "contributors": pool.contributors,
            "leads": pool.leads,
            "positives": pool.positives,
            "columns": pool.space.width,
        }
    return PropensityFit(
        outcome=replace(outcome, target=target, version=version),
        model=model,
        confidence=confidence(n, int(past.y.sum())),
        report={**report, **fitted, "leads": n},
    )


def _judged(
    past: _Past,
    split: TimeSplit,
    generator: np.random.Generator,
    pool: PooledPrior | None,
    incumbent: Incumbent | None,
) -> tuple[PropensityOutcome, dict[str, Any]]:
    """Fit on the early leads, predict the late ones; gives metrics and gates."""
    train, test = past.part(split.before), past.part(split.after)
    counts = PropensityOutcome(
        status="gate_failed",
        reason="",
        n_train=len(train.y),
        n_test=len(test.y),
        positives_train=int(train.y.sum()),
        positives_test=int(test.y.sum()),
    )
    leakage = no_leakage(find_leakage(past.raw, past.y, past.known_at, past.at))
    for positives, of, leads, missing in (
        (counts.positives_test, counts.n_test, "latest", "judged on"),
        (counts.positives_train, counts.n_train, "earlier", "fitted to"),
    ):
        if not 0 < positives < of:
            gates = (enough_positives(counts), leakage, *unmeasured())
            reason = (
                f"{positives} of the {of} {leads} leads converted: "
                f"the model cannot be {missing} them"
            )
            return replace(counts, gates=gates, reason=reason), {}
    space = train.space(pool)
    x = sparse_design(space, train.raw, len(train.y))
    chosen = most_evident(x, train.y, space, pool)
    platt, _ = _out_of_time(x, train, chosen)
    trained = platt.probability(chosen.fit.log_odds(x))
    later = sparse_design(space, test.raw, len(test.y))
    predicted = platt.probability(chosen.fit.log_odds(later))
    challenger = challenger_report(x, train.y, later, test.y)
    del x, later
    drift = stability_index(trained, predicted)
    outcome = _measured(counts, train, test, predicted, drift, generator)
    gates = (enough_positives(counts), leakage, *outcome.gates)
    refused = [gate.text for gate in gates if not gate.passed]
    outcome = replace(
        outcome,
        gates=gates,
        status="gate_failed" if refused else "success",
        reason="; ".join(refused)
        or f"all gates passed on the {counts.n_test} latest leads, "
        f"{counts.positives_test} of which converted",
    )
    report = {
        "drift": drift,
        "feature_drift": feature_drift(space, train.raw, test.raw),
        "left_out_for_company": split.left_out,
        "calibration_curve": [
            {"predicted": bin_.predicted, "observed": bin_.observed, "n": bin_.n}
            for bin_ in calibration_curve(test.y, predicted)
        ],
        "lift_curve": [
            {"share": share, "lift": lift_at(test.y, predicted, share)} for share in _LIFT_SHARES
        ],
        "selection": selection_rates(test.raw, predicted),
        "challenger": challenger,
    }
    if incumbent is not None:
        report["live"] = live_report(
            incumbent,
            test.raw,
            test.at,
            test.y,
            predicted,
            generator,
            groups=test.time.units,
            level=_LEVEL,
        )
    return outcome, report


def _out_of_time(x: SparseDesign, past: _Past, of: ChosenFit) -> tuple[Platt, int]:
    """Platt's scaling of predictions made from the past alone, and the folds it rests on.

    Args:
        x: design of the leads.
        past: the leads.
        of: the fit on all of them: what those on a part of them begin with; prior and lambda are
            the same.
    """
    etas: list[FloatArray] = []
    outcomes: list[FloatArray] = []
    stretches: list[IntArray] = []
    for fold in past.time.forward_chaining(_CALIBRATION_FOLDS):
        y = past.y[fold.before]
        if not len(fold.after) or not 0 < y.sum() < len(y):
            continue
        intercept, slopes = logistic_mode(
            x.taken(fold.before),
            y,
            of.prior,
            start=(of.fit.intercept, of.fit.coefficients),
            curvature=of.fit.information * (len(y) / len(past.y)),
            tolerance=CLOSE,
        )
        etas.append(intercept + x.taken(fold.after) @ slopes)
        outcomes.append(past.y[fold.after])
        stretches.append(np.full(len(fold.after), len(stretches)))
    if not etas:
        return UNCHANGED, 0
    platt = fit_platt(np.concatenate(etas), np.concatenate(outcomes), np.concatenate(stretches))
    return platt, len(etas)


def _fitted_on_all(
    past: _Past, space: FeatureSpace, version: str, target: str, pool: PooledPrior | None
) -> tuple[PropensityModel, dict[str, Any]]:
    x = sparse_design(space, past.raw, len(past.y))
    chosen = most_evident(x, past.y, space, pool)
    platt, folds = _out_of_time(x, past, chosen)
    model = _model(chosen.fit, space, platt, version, target)
    return model, {"penalty": chosen.penalty, "calibration_folds": folds}


def _model(
    fit: LogisticFit, space: FeatureSpace, platt: Platt, version: str, target: str
) -> PropensityModel:
    # Digits beyond these are noise of the arithmetic; without them the stored model is half as big.
    return PropensityModel(
        version=version,
        target=target,
        space=space,
        intercept=_significant(fit.intercept, 12),
        coefficients=tuple(_significant(value, 12) for value in fit.coefficients.tolist()),
        covariance=tuple(
            tuple(_significant(value, 8) for value in row) for row in fit.covariance.tolist()
        ),
        calibration_intercept=_significant(platt.intercept, 12),
        calibration_slope=_significant(platt.slope, 12),
    )


def _significant(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _measured(
    counts: PropensityOutcome,
    train: _Past,
    test: _Past,
    predicted: FloatArray,
    drift: float,
    generator: np.random.Generator,
) -> PropensityOutcome:
    """Metrics of the test part, and the gates that look at them."""
    y = test.y
    baseline = fit_score(train.score, train.y).probability(test.score)
    gains = paired_gains(
        y,
        predicted,
        baseline,
        generator,
        groups=test.time.units,
        draws=_DRAWS_SMALL if len(y) < _LARGE else _DRAWS_LARGE,
        level=_LEVEL,
    )
    figures = Figures(
        pr_auc=pr_auc(y, predicted),
        pr_auc_baseline=pr_auc(y, baseline),
        gain=gains.pr_auc,
        brier=brier(y, predicted),
        brier_baseline=brier(y, baseline),
        slope=calibration_slope(y, predicted),
        lift_at_10=lift_at(y, predicted, 0.1),
        drift=drift,
        rate_train=float(train.y.mean()),
        rate_test=float(y.mean()),
    )
    return replace(
        counts,
        pr_auc=figures.pr_auc,
        pr_auc_baseline=figures.pr_auc_baseline,
        pr_auc_gain_low=figures.gain.low,
        pr_auc_gain_high=figures.gain.high,
        brier=figures.brier,
        brier_baseline=figures.brier_baseline,
        log_loss=log_loss(y, predicted),
        calibration_slope=figures.slope.slope,
        calibration_slope_low=_finite(figures.slope.low),
        calibration_slope_high=_finite(figures.slope.high),
        lift_at_10=figures.lift_at_10,
        lift_at_20=lift_at(y, predicted, 0.2),
        gates=measured_gates(figures),
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
