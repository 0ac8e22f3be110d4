"""Which warnings the figures of a client give. Pure: figures and the time now in, warnings out.

Conditions and severities are those of the health checks; what is added to them are lower bounds on
the numbers behind a rate, so that a client with a handful of leads is not alarmed by chance.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final

from cis_server.domain.health import (
    ClientHealth,
    DriftedVersion,
    HealthFigures,
    HealthWarning,
    ModelFigures,
    PatternFigures,
    Severity,
    Shift,
    WarningType,
)
from cis_server.domain.vocabulary import PatternType
from cis_server.learning.drift import DRIFT_LIMIT, category_index

EXPIRING_DAYS: Final = 3
SAMPLE_MIN: Final = 30
CONFIDENCE_MIN: Final = 0.5
WEIGHT_HIGH: Final = 0.45
WEIGHT_LOW: Final = 0.08
MISSING_FROM: Final = 10
"""Conversions a learning saw from which the required patterns have to be there."""
FUNNEL_FROM: Final = 20
"""Meetings from which the funnel is required too."""
WEIGHT_CHANGE: Final = 0.10
PR_AUC_DROP: Final = 0.10
"""Relative; over two weeks."""
CONTENT_MIN: Final = 0.80
LOCAL_TIME_MIN: Final = 0.70
MACHINE_MAX: Final = 0.50
STALE_DAYS: Final = 8

TOUCHES_MIN: Final = 30
"""Touches from which a share of them is told."""
SHIFT_LEADS_MIN: Final = 100
"""Leads on each side from which a shift is told."""
CALIBRATION_LEADS_MIN: Final = 100
CALIBRATION_CONVERTED_MIN: Final = 20
MODEL_CONVERTED_MIN: Final = 20
"""Converted leads from which the PR-AUC of a period is told."""

_REQUIRED: Final = (PatternType.WHO, PatternType.WHAT, PatternType.WHEN, PatternType.HOW)


def client_health(figures: HealthFigures, now: dt.datetime) -> ClientHealth:
    """Every warning of one client, worst first, then by type and pattern.

    Args:
        figures: of the client.
        now: aware.
    """
    warnings = [
        *_of_patterns(figures.patterns, now),
        *_missing(figures),
        *_of_weights(figures),
        *(warning for model in figures.models for warning in _of_model(model)),
        *_of_shifts(figures.shifts),
        *_of_flow(figures),
        *_of_calibration(figures),
        *_of_runs(figures, now),
    ]
    return ClientHealth(
        client_id=figures.client_id,
        warnings=tuple(sorted(warnings, key=lambda it: (-it.severity, it.type, it.pattern or ""))),
        last_success_at=figures.last_success_at,
        drifted=tuple(_drifted(figures, warnings)),
    )


def _drifted(figures: HealthFigures, warnings: Sequence[HealthWarning]) -> Iterator[DriftedVersion]:
    """Live versions that a drift alarm takes back.

    Only what a version itself does wrong counts: other leads than before (`WarningType.DRIFT`)
    would meet the version before no better.
    """
    moved = [warning.message for warning in warnings if warning.type is WarningType.WEIGHT_DRIFT]
    if figures.weights is not None and moved:
        yield DriftedVersion(model_id=figures.weights.model_id, reason="; ".join(moved))
    for model in figures.models:
        for warning in _of_model(model):
            yield DriftedVersion(model_id=model.model_id, reason=warning.message)


def _of_patterns(patterns: tuple[PatternFigures, ...], now: dt.datetime) -> Iterator[HealthWarning]:
    for pattern in patterns:
        left = (pattern.valid_until - now).total_seconds() / 86_400
        if left <= 0:
            yield HealthWarning(
                type=WarningType.EXPIRED,
                pattern=pattern.type,
                severity=Severity.HIGH,
                message=f"the {pattern.type} pattern expired {-left:.1f} days ago; answers from it"
                " are marked stale",
                remedy="see why the last runs failed (ListLearningRuns), then learn again",
                value=round(left, 2),
                bound=0.0,
            )
        elif left <= EXPIRING_DAYS:
            yield HealthWarning(
                type=WarningType.EXPIRING_SOON,
                pattern=pattern.type,
                severity=Severity.MEDIUM,
                message=f"the {pattern.type} pattern expires in {left:.1f} days",
                remedy="learn again; the weekly run should have done so",
                value=round(left, 2),
                bound=float(EXPIRING_DAYS),
            )
        if pattern.sample_size < SAMPLE_MIN:
            yield HealthWarning(
                type=WarningType.LOW_SAMPLE,
                pattern=pattern.type,
                severity=Severity.MEDIUM,
                message=f"the {pattern.type} pattern rests on {pattern.sample_size} units,"
                f" {SAMPLE_MIN} are wanted",
                remedy="read it as a hint; import more history, or wait for more outcomes",
                value=float(pattern.sample_size),
                bound=float(SAMPLE_MIN),
            )
        if pattern.confidence < CONFIDENCE_MIN:
            yield HealthWarning(
                type=WarningType.LOW_CONFIDENCE,
                pattern=pattern.type,
                severity=Severity.MEDIUM,
                message=f"confidence in the {pattern.type} pattern is {pattern.confidence:.2f},"
                f" {CONFIDENCE_MIN} is wanted",
                remedy="read it as a hint; more conversions raise it",
                value=pattern.confidence,
                bound=CONFIDENCE_MIN,
            )


def _missing(figures: HealthFigures) -> Iterator[HealthWarning]:
    if figures.conversion_sample_count < MISSING_FROM:
        return
    present = {pattern.type for pattern in figures.patterns}
    required = [*_REQUIRED, *([PatternType.FUNNEL] if figures.flow.meetings >= FUNNEL_FROM else [])]
    for kind in required:
        if kind not in present:
            yield HealthWarning(
                type=WarningType.MISSING_PATTERN,
                pattern=kind,
                severity=Severity.HIGH,
                message=f"there is no {kind} pattern though the last learning saw"
                f" {figures.conversion_sample_count} conversions",
                remedy="the pattern's status in the last run says what it lacks (GetLearningRun);"
                " a backfill rebuilds what can be",
                value=float(figures.conversion_sample_count),
                bound=float(MISSING_FROM),
            )


def _of_weights(figures: HealthFigures) -> Iterator[HealthWarning]:
    live = figures.weights
    if live is None or not live.learned:
        return
    for name, weight in live.weights.items():
        if weight > WEIGHT_HIGH:
            yield HealthWarning(
                type=WarningType.EXTREME_WEIGHT_HIGH,
                severity=Severity.HIGH,
                message=f"the weight of {name} is {weight:.3f}: the score is nearly that alone",
                remedy="look at its evidence (GetModel); roll back, or set weights by hand",
                value=weight,
                bound=WEIGHT_HIGH,
            )
        elif weight < WEIGHT_LOW:
            yield HealthWarning(
                type=WarningType.EXTREME_WEIGHT_LOW,
                severity=Severity.MEDIUM,
                message=f"the weight of {name} is {weight:.3f}: it hardly counts any more",
                remedy="see whether the data behind it are still filled in",
                value=weight,
                bound=WEIGHT_LOW,
            )
        before = None if live.previous is None else live.previous.get(name)
        low, high = live.intervals.get(name, (weight, weight))
        if before is None or low <= before <= high or abs(weight - before) <= WEIGHT_CHANGE:
            continue
        yield HealthWarning(
            type=WarningType.WEIGHT_DRIFT,
            severity=Severity.HIGH,
            message=f"the weight of {name} went from {before:.3f} to {weight:.3f} with"
            f" weights-{live.version}; its interval is {low:.3f} to {high:.3f}",
            remedy="compare both versions (ListModels); roll back unless the change is understood",
            value=round(abs(weight - before), 4),
            bound=WEIGHT_CHANGE,
        )


def _of_model(model: ModelFigures) -> Iterator[HealthWarning]:
    if model.pr_auc is None:
        return
    bound = model.pr_auc * (1 - PR_AUC_DROP)
    recent, earlier = model.recent_pr_auc, model.earlier_pr_auc
    told = min(model.recent_converted, model.earlier_converted) >= MODEL_CONVERTED_MIN
    if recent is None or earlier is None or not told or max(recent, earlier) >= bound:
        return
    yield HealthWarning(
        type=WarningType.MODEL_DRIFT,
        severity=Severity.HIGH,
        message=f"propensity-{model.version} ({model.target.replace('_', ' ')}) had a PR-AUC of"
        f" {model.pr_auc:.3f} when it went live; on leads since it has {recent:.3f}, and"
        f" {earlier:.3f} two weeks ago",
        remedy="roll back, or learn again and promote the new version",
        value=round(recent, 4),
        bound=round(bound, 4),
    )


def _of_shifts(shifts: tuple[Shift, ...]) -> Iterator[HealthWarning]:
    for shift in shifts:
        sides = (sum(shift.reference.values()), sum(shift.current.values()))
        if min(sides) < SHIFT_LEADS_MIN:
            continue
        index = category_index(shift.reference, shift.current)
        if index > DRIFT_LIMIT:
            yield HealthWarning(
                type=WarningType.DRIFT,
                severity=Severity.HIGH,
                message=f"{shift.feature} of the last weeks' {sides[1]} leads is not that of the"
                f" {sides[0]} learned from (stability index {index:.2f})",
                remedy="see where the leads come from; learn again once they have outcomes",
                value=round(index, 4),
                bound=DRIFT_LIMIT,
            )


def _of_flow(figures: HealthFigures) -> Iterator[HealthWarning]:
    flow = figures.flow
    if flow.conversions and not flow.marked:
        yield HealthWarning(
            type=WarningType.NO_CONVERTING_TOUCH,
            severity=Severity.HIGH,
            message=f"{flow.conversions} leads converted in 90 days, but no touch of theirs is"
            " marked as converting",
            remedy="record the touches with their times, then run a backfill",
            value=0.0,
            bound=1.0,
        )
    if flow.touches >= TOUCHES_MIN and flow.with_content / flow.touches < CONTENT_MIN:
        share = flow.with_content / flow.touches
        yield HealthWarning(
            type=WarningType.SNAPSHOT_COVERAGE,
            severity=Severity.HIGH,
            message=f"content is known of {share:.0%} of {flow.touches} touches in 90 days",
            remedy="send subject and body with RecordActivity; a backfill rebuilds what is stored",
            value=round(share, 4),
            bound=CONTENT_MIN,
        )
    if flow.timed >= TOUCHES_MIN and flow.with_local_time / flow.timed < LOCAL_TIME_MIN:
        share = flow.with_local_time / flow.timed
        yield HealthWarning(
            type=WarningType.LOCAL_TIME_COVERAGE,
            severity=Severity.HIGH,
            message=f"the lead's local time is known of {share:.0%} of {flow.timed} touches",
            remedy="give leads a timezone, or country, region and city",
            value=round(share, 4),
            bound=LOCAL_TIME_MIN,
        )
    if flow.opened >= TOUCHES_MIN and flow.machine_only / flow.opened > MACHINE_MAX:
        share = flow.machine_only / flow.opened
        yield HealthWarning(
            type=WarningType.MACHINE_OPENS,
            severity=Severity.HIGH,
            message=f"{share:.0%} of {flow.opened} opened touches were opened by machines only",
            remedy="judge by replies and clicks; opens say little here",
            value=round(share, 4),
            bound=MACHINE_MAX,
        )


def _of_calibration(figures: HealthFigures) -> Iterator[HealthWarning]:
    seen = figures.calibration
    few = seen.leads < CALIBRATION_LEADS_MIN or seen.converted < CALIBRATION_CONVERTED_MIN
    if few or not seen.top_leads:
        return
    base, top = seen.converted / seen.leads, seen.top_converted / seen.top_leads
    if top < base:
        yield HealthWarning(
            type=WarningType.CALIBRATION,
            severity=Severity.HIGH,
            message=f"the best-scored tenth ({seen.top_leads} leads) converted at {top:.1%},"
            f" all {seen.leads} at {base:.1%}",
            remedy="the score ranks wrongly: check the profile, learn again, or roll back",
            value=round(top, 4),
            bound=round(base, 4),
        )


def _of_runs(figures: HealthFigures, now: dt.datetime) -> Iterator[HealthWarning]:
    if figures.eligible_since is None:
        return
    since = figures.last_success_at or figures.eligible_since
    days = (now - since).total_seconds() / 86_400
    if days <= STALE_DAYS:
        return
    when = "never learned" if figures.last_success_at is None else "last learned"
    yield HealthWarning(
        type=WarningType.STALE_RUN,
        severity=Severity.HIGH,
        message=f"{when} successfully; that is {days:.1f} days"
        if figures.last_success_at is None
        else f"{when} {days:.1f} days ago",
        remedy="see the last runs (ListLearningRuns) and whether a worker runs",
        value=round(days, 2),
        bound=float(STALE_DAYS),
    )
