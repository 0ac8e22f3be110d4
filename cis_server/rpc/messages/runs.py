"""Learning runs and their results as messages, and the options of a request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from cis_client.v1 import core_pb2
from cis_client.v1 import learning_service_pb2 as learning
from cis_server.domain.policy_value import PolicyOutcome
from cis_server.domain.runs import (
    Gate,
    LearnOptions,
    PropensityOutcome,
    Run,
    WeightsOutcome,
)
from cis_server.domain.vocabulary import PatternStatus, PatternType, RunState
from cis_server.rpc.messages.models import comparison_message
from cis_server.rpc.messages.scores import weights_message
from cis_server.rpc.messages.values import instant, number_of, timestamp, word_of
from cis_server.serving.learning_runs import Requested, Skipped

RUN_STATE = word_of(core_pb2.RunState, RunState)
RUN_STATE_NUMBER = number_of(core_pb2.RunState, RunState)
PATTERN_TYPE = word_of(core_pb2.PatternType, PatternType)
PATTERN_TYPE_NUMBER = number_of(core_pb2.PatternType, PatternType)
PATTERN_STATUS_NUMBER = number_of(core_pb2.PatternStatus, PatternStatus)

_TARGET_NUMBER = {
    name.removeprefix("CONVERSION_TARGET_").lower(): number
    for name, number in core_pb2.ConversionTarget.items()
}


def learn_options(message: learning.LearnRequest, now: dt.datetime) -> LearnOptions:
    """What a request asks for; defaults where it says nothing."""
    default = LearnOptions(as_of=now)
    return LearnOptions(
        as_of=instant(message, "as_of_time", "as_of_time") or now,
        lookback_days=message.lookback_days
        if message.HasField("lookback_days")
        else default.lookback_days,
        min_conversions=message.min_conversions
        if message.HasField("min_conversions")
        else default.min_conversions,
        validity_days=message.validity_days
        if message.HasField("validity_days")
        else default.validity_days,
        force=message.force,
        dry_run=message.dry_run,
    )


def progress_message(run: Run, now: dt.datetime) -> learning.LearnProgress:
    """How far one client's run is."""
    return learning.LearnProgress(
        run_id=run.run_id,
        client_id=run.client_id,
        stage=run.stage or run.state,
        fraction=run.fraction,
        message=run.message,
        event_time=timestamp(now),
    )


def result_message(
    requested: Requested, runs: Iterable[Run], seconds: float
) -> learning.LearnResult:
    """The end of a request: every client's result, and who was left out."""
    return learning.LearnResult(
        run_id=requested.run_id,
        clients=[client_result(run) for run in sorted(runs, key=lambda run: run.client_id)],
        seconds=seconds,
        skipped=[skipped_message(entry) for entry in requested.skipped],
    )


def run_message(runs: Sequence[Run]) -> learning.LearningRun:
    """One run id with the state of all its clients; ``runs`` is not empty."""
    first = runs[0]
    started = [run.started_at for run in runs if run.started_at]
    ended = all(run.ended for run in runs)
    finished = max((r.finished_at for r in runs if r.finished_at), default=None) if ended else None
    results = [run.result for run in runs if run.result]
    return learning.LearningRun(
        run_id=first.run_id,
        client_id=first.client_id if len(runs) == 1 else "",
        state=RUN_STATE_NUMBER[_overall(runs)],
        fraction=sum(run.fraction for run in runs) / len(runs),
        stage=first.stage if len(runs) == 1 else "",
        created_time=timestamp(first.requested_at),
        started_time=timestamp(min(started, default=None)),
        finished_time=timestamp(finished),
        as_of_time=timestamp(first.options.as_of),
        lookback_days=first.options.lookback_days,
        min_conversions=first.options.min_conversions,
        validity_days=first.options.validity_days,
        force=first.options.force,
        dry_run=first.options.dry_run,
        stages=[
            learning.RunStage(
                stage=stage.stage,
                started_time=timestamp(stage.started_at),
                seconds=stage.seconds,
                rows=stage.rows,
                client_id=run.client_id,
            )
            for run in runs
            for stage in run.stages
        ],
        errors=[
            learning.RunError(
                client_id=run.client_id,
                stage=run.stage,
                message=run.error,
                event_time=timestamp(run.finished_at),
                retried=not run.ended,
            )
            for run in runs
            if run.error
        ],
        counts={
            "leads": sum(result.leads for result in results),
            "activities": sum(result.activities for result in results),
            "conversions": sum(result.conversions for result in results),
            **{
                name: sum(run.counts.get(name, 0) for run in runs)
                for name in sorted({name for run in runs for name in run.counts})
            },
        },
        results=[client_result(run) for run in runs if run.ended],
        snapshot_hash=results[0].snapshot_hash if len(results) == 1 else "",
        peak_memory_bytes=max((r.peak_memory_bytes for r in results), default=None),
        seconds=(finished - min(started)).total_seconds() if finished and started else 0.0,
        code_version=first.code_version,
        attempt=max(run.attempts for run in runs),
        trigger=first.trigger,
        message=first.message if len(runs) == 1 else "",
    )


def client_result(run: Run) -> learning.ClientLearnResult:
    """What one client's run came to; with the error when it failed."""
    result = run.result
    if result is None:
        return learning.ClientLearnResult(
            client_id=run.client_id, error=run.error, reason=run.error or run.message
        )
    weights = result.weights
    return learning.ClientLearnResult(
        client_id=run.client_id,
        patterns=[
            learning.PatternResult(
                type=PATTERN_TYPE_NUMBER[outcome.type],
                status=PATTERN_STATUS_NUMBER[outcome.status],
                sample_size=outcome.sample_size,
                converted=outcome.n_converted,
                confidence=outcome.confidence,
                reason=outcome.reason,
                seconds=outcome.seconds,
            )
            for outcome in result.patterns
        ],
        weights_before=weights_message(weights.before),
        weights_after=weights_message(weights.after),
        weights_status=learning.WeightsStatus.Value(f"WEIGHTS_STATUS_{weights.status.upper()}"),
        weights_fitted=weights_message(weights.learned) if weights.learned else None,
        weights_version=weights.version or None,
        evaluation=_weights_evaluation(weights),
        weights_low=weights_message(weights.low) if weights.low else None,
        weights_high=weights_message(weights.high) if weights.high else None,
        gates=[_gate(gate) for gate in weights.gates],
        promoted=weights.promoted,
        forced=weights.forced,
        reason=weights.reason,
        propensity=[
            _propensity(outcome) for outcome in (result.propensity, *result.propensity_targets)
        ],
        seconds=result.seconds,
        sample_size=result.leads,
        converted=result.conversions,
        error=run.error,
        policies=[_policy(outcome) for outcome in result.policies.outcomes],
        policies_note=result.policies.note,
        snapshot_hash=result.snapshot_hash,
    )


def _overall(runs: Sequence[Run]) -> RunState:
    states = {run.state for run in runs}
    for state in (RunState.RUNNING, RunState.QUEUED, RunState.FAILED):
        if state in states:
            return state
    return RunState.SUCCEEDED


def _weights_evaluation(weights: WeightsOutcome) -> learning.Evaluation:
    before, after = weights.baseline_log_loss, weights.log_loss
    return learning.Evaluation(
        metric_name="log_loss",
        baseline_metric=before,
        metric=after,
        gain=before - after if before is not None and after is not None else None,
        n=weights.n,
        n_converted=weights.n_converted,
        method="out-of-fold, the default weights against the fitted ones",
    )


def _propensity(outcome: PropensityOutcome) -> learning.PropensityResult:
    gain = (
        outcome.pr_auc - outcome.pr_auc_baseline
        if outcome.pr_auc is not None and outcome.pr_auc_baseline is not None
        else None
    )
    evaluation = learning.Evaluation(
        metric_name="pr_auc",
        baseline_metric=outcome.pr_auc_baseline,
        metric=outcome.pr_auc,
        gain=gain,
        low=outcome.pr_auc_gain_low,
        high=outcome.pr_auc_gain_high,
        interval_level=0.8,
        n=outcome.n_test,
        n_converted=outcome.positives_test,
        pr_auc=outcome.pr_auc,
        baseline_pr_auc=outcome.pr_auc_baseline,
        brier=outcome.brier,
        baseline_brier=outcome.brier_baseline,
        log_loss=outcome.log_loss,
        calibration_slope=outcome.calibration_slope,
        calibration_slope_low=outcome.calibration_slope_low,
        calibration_slope_high=outcome.calibration_slope_high,
        lift_at_10=outcome.lift_at_10,
        lift_at_20=outcome.lift_at_20,
        method="held out in time, against the lead score under the weights in force before",
        metrics={"n_train": outcome.n_train, "positives_train": outcome.positives_train},
        comparisons=[comparison_message(each) for each in outcome.comparisons],
    )
    return learning.PropensityResult(
        target=_TARGET_NUMBER[outcome.target],
        status=learning.PropensityStatus.Value(f"PROPENSITY_STATUS_{outcome.status.upper()}"),
        evaluation=evaluation,
        gates=[_gate(gate) for gate in outcome.gates],
        promoted=outcome.promoted,
        reason=outcome.reason,
        model_version=outcome.version or None,
        forced=outcome.forced,
        n_train=outcome.n_train + outcome.n_test,
        n_train_converted=outcome.positives_train + outcome.positives_test,
    )


def _policy(outcome: PolicyOutcome) -> learning.PolicyValue:
    """Fields of both have the same names."""
    said = {name: value for name, value in outcome.to_json().items() if value is not None}
    return learning.PolicyValue(**said)


def _gate(gate: Gate) -> learning.Gate:
    return learning.Gate(
        name=gate.name, value=gate.value, bound=gate.bound, passed=gate.passed, text=gate.text
    )


def skipped_message(entry: Skipped) -> learning.SkippedClient:
    """A client that was left out."""
    return learning.SkippedClient(
        client_id=entry.client_id, reason=entry.reason, converted=entry.conversions
    )
