"""Versions of the model registry as messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cis_client.v1 import core_pb2
from cis_client.v1 import learning_service_pb2 as learning
from cis_server.domain.model_comparison import ModelComparison, comparisons_of
from cis_server.domain.propensity import PropensityModel
from cis_server.domain.registry import (
    BY_LEARNING,
    IN_FORCE,
    ModelEvent,
    ModelKind,
    ModelOrigin,
    ModelState,
    StoredModel,
)
from cis_server.domain.weights import read_weights
from cis_server.rpc.messages.scores import weights_message
from cis_server.rpc.messages.values import number_of, timestamp, word_of

KIND = word_of(learning.ModelKind, ModelKind)
"""Kind of a number; None for UNSPECIFIED."""
TARGET_NAME = {
    number: name.removeprefix("CONVERSION_TARGET_").lower()
    for name, number in core_pb2.ConversionTarget.items()
    if number
}
"""Stored name of a conversion target's number."""

_TARGET_NUMBER = {name: number for number, name in TARGET_NAME.items()}
_KIND_NUMBER = number_of(learning.ModelKind, ModelKind)
_ORIGIN_NUMBER = number_of(learning.ModelOrigin, ModelOrigin)
# A version that is being rolled out is live for its share; there is no state of that name.
_STATE_NUMBER = {
    state: learning.MODEL_STATE_LIVE
    if state in IN_FORCE
    else learning.ModelState.Value(f"MODEL_STATE_{state.name}")
    for state in ModelState
}
# The 90 % interval of a coefficient under the Laplace approximation, which is normal.
_NORMAL_95 = 1.6448536269514722


def states_of(numbers: Sequence[int]) -> list[ModelState]:
    """Stored states that the states of a filter stand for."""
    return [state for state, number in _STATE_NUMBER.items() if number in numbers]


def model_message(
    client_id: str,
    model: StoredModel,
    history: Sequence[ModelEvent] = (),
    *,
    with_coefficients: bool = False,
) -> learning.Model:
    """One version.

    Args:
        client_id: whose.
        model: as stored.
        history: its events, oldest first.
        with_coefficients: whether a propensity model tells its coefficients.
    """
    weights = None
    if model.kind is ModelKind.WEIGHTS:
        values, objection = read_weights(model.content)
        weights = weights_message(values) if objection is None else None
    decided_by = model.decided_by or ""
    return learning.Model(
        client_id=client_id,
        model_version=model.label,
        kind=_KIND_NUMBER[model.kind],
        target=_TARGET_NUMBER.get(model.target, core_pb2.CONVERSION_TARGET_UNSPECIFIED),
        state=_STATE_NUMBER[model.state],
        origin=_ORIGIN_NUMBER[ModelOrigin(model.origin)],
        created_time=timestamp(model.created_at),
        lineage=_lineage(model),
        evaluation=None if model.by_hand else evaluation_of(model),
        gates=[_gate(name, gate) for name, gate in model.gates.items()],
        rollout_percentage=round(model.serves * 100),
        weights=weights,
        coefficients=_coefficients(model) if with_coefficients else (),
        approver="" if decided_by == BY_LEARNING else decided_by,
        decided_time=timestamp(model.decided_at),
        reason=model.reason,
        live_time=timestamp(model.promoted_at),
        valid_until_time=timestamp(model.valid_until),
        sample_size=int(_figure(model.metrics, "n", "n_train") or model.sample_size),
        converted=int(_figure(model.metrics, "n_converted", "positives_train") or 0),
        confidence=model.confidence,
        replaced_version=model.replaced,
        history=[_event(event) for event in history],
    )


def evaluation_of(model: StoredModel) -> learning.Evaluation:
    """How good a version was on outcomes it had not seen, from the figures stored with it."""
    figures = model.metrics
    if model.kind is ModelKind.WEIGHTS:
        before, after = _figure(figures, "baseline_log_loss"), _figure(figures, "log_loss")
        return learning.Evaluation(
            metric_name="log_loss",
            baseline_metric=before,
            metric=after,
            gain=before - after if before is not None and after is not None else None,
            n=int(_figure(figures, "n") or 0),
            n_converted=int(_figure(figures, "n_converted") or 0),
            pr_auc=_figure(figures, "pr_auc"),
            baseline_pr_auc=_figure(figures, "baseline_pr_auc"),
            log_loss=after,
            baseline_log_loss=before,
            p_value=_figure(figures, "p_value"),
            method="out-of-fold, the default weights against the fitted ones",
            metrics=_further(figures),
        )
    before, after = _figure(figures, "pr_auc_baseline"), _figure(figures, "pr_auc")
    low = _figure(figures, "pr_auc_gain_low")
    return learning.Evaluation(
        metric_name="pr_auc",
        baseline_metric=before,
        metric=after,
        gain=after - before if before is not None and after is not None else None,
        low=low,
        high=_figure(figures, "pr_auc_gain_high"),
        interval_level=0.8 if low is not None else None,
        n=int(_figure(figures, "n_test") or 0),
        n_converted=int(_figure(figures, "positives_test") or 0),
        pr_auc=after,
        baseline_pr_auc=before,
        brier=_figure(figures, "brier"),
        baseline_brier=_figure(figures, "brier_baseline"),
        log_loss=_figure(figures, "log_loss"),
        calibration_slope=_figure(figures, "calibration_slope"),
        calibration_slope_low=_figure(figures, "calibration_slope_low"),
        calibration_slope_high=_figure(figures, "calibration_slope_high"),
        lift_at_10=_figure(figures, "lift_at_10"),
        lift_at_20=_figure(figures, "lift_at_20"),
        method="held out in time, against the lead score under the weights in force before",
        metrics=_further(figures),
        comparisons=[comparison_message(each) for each in comparisons_of(figures)],
    )


def comparison_message(found: ModelComparison) -> learning.ModelComparison:
    """A model beside another."""
    return learning.ModelComparison(
        other=found.other,
        model_version=found.version or None,
        n=found.n,
        n_converted=found.n_converted,
        pr_auc=found.pr_auc,
        other_pr_auc=found.other_pr_auc,
        gain=found.gain,
        low=found.low,
        high=found.high,
        interval_level=found.level,
        log_loss_gain=found.log_loss_gain,
        reason=found.reason,
    )


def _event(event: ModelEvent) -> learning.ModelEvent:
    return learning.ModelEvent(
        event_time=timestamp(event.at),
        from_state=_STATE_NUMBER[event.before]
        if event.before is not None
        else learning.MODEL_STATE_UNSPECIFIED,
        to_state=_STATE_NUMBER[event.after],
        rollout_percentage=round(event.rollout * 100),
        actor=event.actor,
        reason=event.reason,
    )


def _lineage(model: StoredModel) -> learning.Lineage:
    stored = model.lineage
    lineage = learning.Lineage(
        run_id=model.run_id or "",
        snapshot_hash=str(stored.get("snapshot_hash") or ""),
        parent_version=model.parent or "",
        as_of_time=timestamp(model.as_of),
        code_version=str(stored.get("code_version") or ""),
        library_versions=_texts(stored.get("libraries")),
        parameters={
            **_texts(stored.get("options")),
            **_texts(stored.get("parameters")),
            **{key: str(stored[key]) for key in ("seeds", "python") if stored.get(key)},
        },
    )
    if stored.get("window_start"):
        lineage.window_start_time.FromJsonString(str(stored["window_start"]))
    if isinstance(stored.get("seed"), int):
        lineage.seed = stored["seed"]
    return lineage


def _gate(name: str, gate: Mapping[str, Any]) -> learning.Gate:
    return learning.Gate(
        name=str(gate.get("name", name)),
        value=_figure(gate, "value"),
        bound=_figure(gate, "bound") or 0.0,
        passed=bool(gate.get("passed", False)),
        text=str(gate.get("text", "")),
    )


def _coefficients(model: StoredModel) -> list[learning.Coefficient]:
    """Every coefficient with its 90 % interval, the intercept first; none for weights."""
    if model.kind is not ModelKind.PROPENSITY:
        return []
    try:
        stored = PropensityModel.from_json(model.content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    names = ("(intercept)", *stored.space.columns)
    values = (stored.intercept, *stored.coefficients)
    found = []
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        spread = _NORMAL_95 * math.sqrt(max(stored.covariance[place][place], 0.0))
        found.append(
            learning.Coefficient(feature=name, value=value, low=value - spread, high=value + spread)
        )
    return found


def _figure(figures: Mapping[str, Any], *names: str) -> float | None:
    """The first of the names that holds a finite number."""
    for name in names:
        value = figures.get(name)
        if isinstance(value, int | float) and math.isfinite(value) and not isinstance(value, bool):
            return value
    return None


def _further(figures: Mapping[str, Any]) -> dict[str, float]:
    """Every plain number among the figures, by name."""
    found = ((name, _figure(figures, name)) for name in figures)
    return {name: float(value) for name, value in found if value is not None}


def _texts(values: Any) -> dict[str, str]:
    if not isinstance(values, Mapping):
        return {}
    return {str(name): str(value) for name, value in values.items() if value is not None}
