"""From a dataset to everything one run learns: patterns, weights and a propensity model.

Pure: data in, results out. The same dataset, state and options give the same content, byte for
byte; only times differ, and those stand in stages and results, never in what is learned.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import polars as pl
from threadpoolctl import threadpool_limits

from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.runner import DETECTORS, DetectorOutcome, run_detectors
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.learned import (
    Learned,
    LearnedModel,
    LearnedPattern,
    LearningState,
)
from cis_server.domain.patterns import PATTERN_CLASSES, Pattern
from cis_server.domain.policy_value import PolicyOutcomes
from cis_server.domain.recommendations import Recommendation
from cis_server.domain.runs import (
    LearnOptions,
    PatternOutcome,
    PropensityOutcome,
    RunResult,
    WeightsOutcome,
)
from cis_server.domain.vocabulary import PatternStatus, PatternType
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.learning.first_touch import first_touch
from cis_server.learning.labels import learning_rows
from cis_server.learning.policy_value import policy_values
from cis_server.learning.promotion import fate
from cis_server.learning.propensity_stage import LearnedTargets, learn_targets
from cis_server.learning.recommendations import recommend
from cis_server.learning.stages import Stages
from cis_server.learning.targets import CONVERTED
from cis_server.learning.weights_gate import WeightsDecision, learn_weights
from cis_server.stats.seeds import generator

_DETECTING, _WEIGHING, _MODELLING, _JUDGING, _PROPOSING = 0.35, 0.75, 0.80, 0.94, 0.95
"""Share of a run that is done when these begin."""


def learn(
    dataset: Dataset,
    state: LearningState,
    options: LearnOptions,
    stages: Stages,
    *,
    settings: DetectorSettings | None = None,
) -> Learned:
    """Learn everything from one client's window.

    Args:
        dataset: the window.
        state: what is in force.
        options: of the run.
        stages: told of every stage; may hold earlier ones.
        settings: thresholds of detectors, and the horizon.
    """
    # How many threads share a sum decides its last digits, and small matrices gain nothing.
    with threadpool_limits(1):
        return _learned(dataset, state, options, stages, settings or DetectorSettings())


def _learned(
    dataset: Dataset,
    state: LearningState,
    options: LearnOptions,
    stages: Stages,
    settings: DetectorSettings,
) -> Learned:
    run = population(dataset, settings)
    patterns, pattern_outcomes = _patterns(run, dataset, settings, stages)
    # What is left looks at leads, and models take the memory.
    run = run.without_touches()
    weights, weights_model = _weights(run, dataset, state, options, stages)
    targets = _propensity(run, dataset, state, options, stages)
    policies = _policies(dataset, settings, stages)
    recommendations = _recommendations(patterns, dataset, stages)
    propensity, *others = targets.outcomes
    models = [*([weights_model] if weights_model is not None else []), *targets.models]
    result = RunResult(
        patterns=pattern_outcomes,
        weights=weights,
        propensity=propensity,
        propensity_targets=tuple(others),
        promoted=weights.promoted or any(outcome.promoted for outcome in targets.outcomes),
        reason="; ".join(_sentences(pattern_outcomes, weights, targets.outcomes, options)),
        seconds=stages.seconds,
        leads=dataset.height("leads"),
        activities=dataset.height("activities"),
        conversions=_conversions(dataset),
        snapshot_hash=dataset.content_hash,
        peak_memory_bytes=0,
        policies=policies,
    )
    return Learned(
        result=result,
        patterns=patterns,
        models=tuple(models),
        recommendations=recommendations,
        contributions=targets.contributions,
    )


def _policies(dataset: Dataset, settings: DetectorSettings, stages: Stages) -> PolicyOutcomes:
    with stages.run("policies", _JUDGING, "judging what exploration tells") as count:
        count(dataset.decisions.height)
        return policy_values(dataset.decisions, dataset.window.as_of, settings.horizon_days)


def _conversions(dataset: Dataset) -> int:
    inside = pl.col("converted_at").is_between(
        dataset.window.start, dataset.window.as_of, closed="right"
    )
    return dataset.leads.filter(inside).height


def _patterns(
    run: Population, dataset: Dataset, settings: DetectorSettings, stages: Stages
) -> tuple[tuple[LearnedPattern, ...], tuple[PatternOutcome, ...]]:
    begun: dict[PatternType, dt.datetime] = {}

    def begin(kind: PatternType, done: float) -> None:
        fraction = _DETECTING + (_WEIGHING - _DETECTING) * done
        begun[kind] = stages.begin(f"detect_{kind}", fraction, f"looking for the {kind} pattern")

    outcomes: list[PatternOutcome] = []
    patterns: list[LearnedPattern] = []
    found = run_detectors(dataset, settings=settings, progress=begin, run=run)
    for kind, outcome in found.items():
        started = begun.get(kind, stages.begun_at)
        stages.record(f"detect_{kind}", started, outcome.seconds, outcome.sample)
        learned, reported = _storable(kind, outcome)
        outcomes.append(reported)
        patterns += [learned] if learned is not None else []
    return tuple(patterns), tuple(outcomes)


def _storable(
    kind: PatternType, outcome: DetectorOutcome
) -> tuple[LearnedPattern | None, PatternOutcome]:
    """The pattern to store and how its detector came out.

    A pattern that holds a number that JSON cannot is an error: one detector's fault must not keep
    the others from being stored.
    """
    if outcome.pattern is None:
        return None, _pattern_outcome(kind, outcome)
    content = outcome.pattern.to_json()
    broken = _not_finite(content, outcome.pattern.TYPE.value)
    if broken is not None:
        reason = f"{broken} is not a number"
        failed = replace(outcome, status=PatternStatus.ERROR, reason=reason, pattern=None)
        return None, _pattern_outcome(kind, failed)
    learned = LearnedPattern(
        type=kind,
        content=content,
        sample_size=outcome.sample,
        confidence=outcome.pattern.envelope.confidence,
    )
    return learned, _pattern_outcome(kind, outcome, _hash(content))


def _not_finite(value: Any, path: str) -> str | None:
    """Path of the first number that is NaN or infinite."""
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        if isinstance(item, (dict, list, float)):
            broken = _not_finite(item, f"{path}.{key}")
            if broken is not None:
                return broken
    return None


def _pattern_outcome(
    kind: PatternType, outcome: DetectorOutcome, content_hash: str = ""
) -> PatternOutcome:
    pattern = outcome.pattern
    return PatternOutcome(
        type=kind,
        status=outcome.status,
        reason=outcome.reason,
        sample_size=outcome.sample,
        n_converted=outcome.converted,
        confidence=pattern.envelope.confidence if pattern is not None else 0.0,
        seconds=round(outcome.seconds, 4),
        content_hash=content_hash,
    )


def _hash(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _recommendations(
    patterns: Sequence[LearnedPattern], dataset: Dataset, stages: Stages
) -> tuple[Recommendation, ...]:
    with stages.run("recommend", _PROPOSING, "drawing up proposals") as count:
        found = {
            pattern.type: cast(Pattern, PATTERN_CLASSES[pattern.type].from_json(pattern.content))
            for pattern in patterns
        }
        proposed = recommend(found, dataset)
        count(len(proposed))
    return proposed


def _weights(
    run: Population,
    dataset: Dataset,
    state: LearningState,
    options: LearnOptions,
    stages: Stages,
) -> tuple[WeightsOutcome, LearnedModel | None]:
    before = state.live_weights or DEFAULT_WEIGHTS
    with stages.run("weights", _WEIGHING, "estimating the weights") as count:
        rows = learning_rows(run)
        count(rows.leads.height)
        at_first = first_touch(
            rows.leads,
            client=state.client,
            campaigns=state.campaigns,
            as_of=dataset.window.as_of,
        )
        decision = learn_weights(
            at_first.fractions,
            rows.converted.to_numpy(),
            generator(dataset.client_id, dataset.window.as_of, "weights"),
            live=None if state.weights_by_hand else state.live_weights,
            promotions=state.promotions,
        )
    rebuilt = int(at_first.reconstructed.sum())
    outcome = _weights_outcome(decision, before, rebuilt)
    candidate = decision.promotable
    if candidate is None:
        return outcome, None
    if not decision.result.slope:
        # Proportions of nothing: without a slope the data say nothing about the weights.
        reason = f"the components explain nothing here; {outcome.reason}"
        return replace(outcome, reason=reason), None
    decided = fate("weights", decision.gates, state.client, options, by_hand=state.weights_by_hand)
    limited = "; moved as far as a week allows" if decision.limited and decided.live else ""
    outcome = replace(
        outcome,
        after=candidate if decided.live else before,
        promoted=decided.live,
        forced=decided.forced,
        reason=f"{decided.reason}{limited}{_rebuilt(rebuilt, outcome.n)}",
    )
    model = LearnedModel(
        kind="weights",
        content=candidate.as_dict(),
        metrics=_weights_metrics(decision, rebuilt),
        gates={gate.name: gate.to_json() for gate in decision.gates},
        sample_size=decision.result.n,
        confidence=round(decision.result.confidence, 4),
        decision=decided,
    )
    return outcome, model


def _rebuilt(rebuilt: int, n: int) -> str:
    if not rebuilt:
        return ""
    return f"; components of {rebuilt} of {n} leads were computed again as of first contact"


def _weights_outcome(decision: WeightsDecision, before: Weights, rebuilt: int) -> WeightsOutcome:
    result = decision.result
    intervals = result.intervals
    return WeightsOutcome(
        status=result.status.value,
        reason=f"{result.reason}{_rebuilt(rebuilt, result.n)}",
        before=before,
        learned=result.weights if decision.promotable is not None else None,
        after=before,
        n=result.n,
        n_converted=result.n_converted,
        baseline_log_loss=result.baseline_metric,
        log_loss=result.metric,
        gates=decision.gates,
        low=Weights(**{name: at.low for name, at in intervals.items()}) if intervals else None,
        high=Weights(**{name: at.high for name, at in intervals.items()}) if intervals else None,
    )


def _weights_metrics(decision: WeightsDecision, rebuilt: int) -> dict[str, Any]:
    result = decision.result
    return {
        "status": result.status.value,
        "method": result.method,
        "n": result.n,
        "n_converted": result.n_converted,
        "reconstructed": rebuilt,
        "estimate": result.weights.as_dict(),
        "limited": decision.limited,
        "held": list(result.held),
        "intervals": {name: [at.low, at.high] for name, at in (result.intervals or {}).items()},
        "intercept": result.intercept,
        "slope": result.slope,
        "baseline_log_loss": result.baseline_metric,
        "log_loss": result.metric,
        "baseline_pr_auc": result.baseline_pr_auc,
        "pr_auc": result.pr_auc,
        "iterations": result.iterations,
    }


def _propensity(
    run: Population,
    dataset: Dataset,
    state: LearningState,
    options: LearnOptions,
    stages: Stages,
) -> LearnedTargets:
    with stages.run("propensity", _MODELLING, "fitting the conversion probability") as count:
        count(run.resolved_leads.height)
        return learn_targets(run, dataset, state, options, _unheard)


def _unheard(target: str) -> None:
    del target


def _sentences(
    patterns: tuple[PatternOutcome, ...],
    weights: WeightsOutcome,
    propensity: Sequence[PropensityOutcome],
    options: LearnOptions,
) -> list[str]:
    found = [outcome.type.value for outcome in patterns if outcome.status is PatternStatus.OK]
    sentences = [
        f"{len(found)} of {len(DETECTORS)} patterns found"
        + (f" ({', '.join(found)})" if found else ""),
        f"weights {weights.status}: {weights.reason}",
        *(
            f"{'conversion probability' if outcome.target == CONVERTED else outcome.target} "
            f"{outcome.status}: {outcome.reason}"
            for outcome in propensity
        ),
    ]
    if options.dry_run:
        sentences.append("nothing was stored: dry run")
    return sentences
