"""A model of the conversion probability for every target of a run, and what is to become of each.

Features are worked out once for all targets. A client that shares its coefficients gets those of
the others as the prior of its own fit; where it has too few outcomes for a model of its own, the
pooled answer, moved by the few it has, is served until it has.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from cis_server.detectors.outcomes import Population
from cis_server.domain.dataset import Dataset
from cis_server.domain.learned import Decision, LearnedModel, LearningState
from cis_server.domain.model_comparison import comparisons_of
from cis_server.domain.pooling import Contribution
from cis_server.domain.propensity import PropensityModel
from cis_server.domain.runs import LearnOptions, PropensityOutcome
from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.learning.design import taken
from cis_server.learning.first_touch import first_touch
from cis_server.learning.labels import learning_rows
from cis_server.learning.live_comparison import Incumbent
from cis_server.learning.pooling import PooledPrior, contribution
from cis_server.learning.promotion import fate
from cis_server.learning.propensity import PropensityFit, learn_propensity, pooled_fit
from cis_server.learning.targets import CONVERTED, TARGETS, target_rows
from cis_server.scoring.coded_columns import CodedColumn
from cis_server.scoring.features import COLUMNS, raw_columns
from cis_server.stats.arrays import BoolArray, FloatArray, IntArray
from cis_server.stats.confidence import confidence
from cis_server.stats.seeds import generator


@dataclass(frozen=True, slots=True)
class LearnedTargets:
    """What a run learned about probabilities.

    Attributes:
        outcomes: one a target, `CONVERTED` first.
        models: those to store.
        contributions: what the client adds to the pool; empty when it does not share.
    """

    outcomes: tuple[PropensityOutcome, ...]
    models: tuple[LearnedModel, ...]
    contributions: tuple[Contribution, ...]


def learn_targets(
    run: Population,
    dataset: Dataset,
    state: LearningState,
    options: LearnOptions,
    begin: Callable[[str], None],
) -> LearnedTargets:
    """Fit, judge and decide on a model for every target.

    Args:
        run: the leads.
        dataset: their events.
        state: what is in force, and the pool.
        options: of the run.
        begin: told the name of each target before it is worked on.
    """
    features = _features(run, dataset, state)
    outcomes: list[PropensityOutcome] = []
    models: list[LearnedModel] = []
    contributions: list[Contribution] = []
    for rows in _all_rows(run, dataset, features):
        begin(rows.target)
        outcome, model = _learned(rows, features, dataset, state, options)
        outcomes.append(outcome)
        if model is not None:
            models.append(model)
        if state.client.policy.pooling:
            part = contribution(taken(features.raw, rows.at), rows.reached, rows.target)
            if part is not None:
                contributions.append(part)
    return LearnedTargets(tuple(outcomes), tuple(models), tuple(contributions))


@dataclass(frozen=True, slots=True)
class _Features:
    """What is known of n leads at first contact, ordered by `Population.leads.lead`."""

    lead: IntArray
    raw: Mapping[str, CodedColumn]
    contacted: FloatArray
    """Microseconds since 1970."""
    company: Sequence[str | None]
    score: FloatArray
    known_at: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class _Rows:
    target: str
    at: IntArray
    """Positions in `_Features`."""
    reached: BoolArray
    days: int
    left_out: Mapping[str, int]


def _features(run: Population, dataset: Dataset, state: LearningState) -> _Features:
    leads = run.leads.filter(pl.col("contacted_at") >= run.window_start).sort("lead")
    at_first = first_touch(
        leads, client=state.client, campaigns=state.campaigns, as_of=dataset.window.as_of
    )
    return _Features(
        lead=leads["lead"].to_numpy().astype(np.int64),
        raw=raw_of(leads, at_first.points, at_first.days),
        contacted=leads["contacted_at"].dt.epoch("us").to_numpy().astype(np.float64),
        company=leads["company_key"].to_list(),
        score=at_first.scores(state.live_weights or DEFAULT_WEIGHTS),
        known_at=_known_at(leads, at_first.days),
    )


def _known_at(leads: pl.DataFrame, days: Sequence[dt.date]) -> dict[str, FloatArray]:
    """When the dated features became known; a date that lies ahead is no feature yet."""
    known = {}
    for name, column in (
        ("role_age", "employment_start_date"),
        ("funding_age", "latest_funding_date"),
    ):
        dates = leads[column].to_list()
        known[name] = np.array(
            [
                _midnight(date) if date is not None and date <= day else np.nan
                for date, day in zip(dates, days, strict=True)
            ],
            dtype=np.float64,
        )
    return known


def _midnight(date: dt.date) -> float:
    return (date - dt.date(1970, 1, 1)).days * 86_400e6


def _all_rows(run: Population, dataset: Dataset, features: _Features) -> list[_Rows]:
    resolved = learning_rows(run)
    found = [
        _rows(
            CONVERTED,
            resolved.leads["lead"],
            resolved.converted,
            resolved.follow_up_days,
            {},
            features,
        )
    ]
    for target in TARGETS:
        rows = target_rows(run, dataset, target)
        left_out = {"younger than the window": rows.young, "reached it before": rows.before}
        found.append(_rows(target.name, rows.lead, rows.reached, target.days, left_out, features))
    return found


def _rows(
    target: str,
    lead: pl.Series,
    reached: pl.Series,
    days: int,
    left_out: Mapping[str, int],
    features: _Features,
) -> _Rows:
    numbers = lead.to_numpy().astype(np.int64)
    inside = np.isin(numbers, features.lead)
    at = np.searchsorted(features.lead, numbers[inside])
    return _Rows(target, at, reached.to_numpy().astype(np.bool_)[inside], days, left_out)


def _learned(
    rows: _Rows,
    features: _Features,
    dataset: Dataset,
    state: LearningState,
    options: LearnOptions,
) -> tuple[PropensityOutcome, LearnedModel | None]:
    pool = _pool(state, rows.target)
    raw = taken(features.raw, rows.at)
    # The first target keeps the seed it had when it was the only one.
    purpose = "propensity" if rows.target == CONVERTED else f"propensity {rows.target}"
    fit = learn_propensity(
        raw,
        rows.reached,
        features.contacted[rows.at],
        [features.company[i] for i in rows.at.tolist()],
        generator(dataset.client_id, dataset.window.as_of, purpose),
        baseline_score=features.score[rows.at],
        target=rows.target,
        pool=pool,
        incumbent=_incumbent(state, rows.target),
        known_at={name: times[rows.at] for name, times in features.known_at.items()},
    )
    compared = comparisons_of({**_figures(fit.outcome), **fit.report})
    fit = replace(fit, outcome=replace(fit.outcome, comparisons=compared))
    if fit.model is None and pool is not None:
        return _pooled(fit, pooled_fit(raw, rows.reached, pool), pool, rows, state, options)
    if fit.model is None:
        return fit.outcome, None
    decided = fate(_name(rows.target), fit.outcome.gates, state.client, options)
    outcome = replace(
        fit.outcome, promoted=decided.live, forced=decided.forced, reason=decided.reason
    )
    model = LearnedModel(
        kind="propensity",
        target=outcome.target,
        content=fit.model.to_json(),
        metrics={**_figures(outcome), **fit.report, **_followed(rows)},
        gates={gate.name: gate.to_json() for gate in outcome.gates},
        sample_size=outcome.n_train + outcome.n_test,
        confidence=round(fit.confidence, 4),
        decision=decided,
    )
    return outcome, model


def _pooled(
    fit: PropensityFit,
    model: PropensityModel,
    pool: PooledPrior,
    rows: _Rows,
    state: LearningState,
    options: LearnOptions,
) -> tuple[PropensityOutcome, LearnedModel | None]:
    """The pooled answer where a client has no model of its own."""
    decided = pooled_decision(pool, own_live=_own_live(state, rows.target))
    if options.dry_run and decided.live:
        decided = Decision(live=False, reason=f"{decided.reason} (would be: dry run)")
    outcome = replace(
        fit.outcome,
        promoted=decided.live,
        reason=f"{fit.outcome.reason}; {decided.reason}",
    )
    if not decided.live:
        return outcome, None
    return outcome, pooled_model(
        model,
        pool,
        decided,
        {**_figures(outcome), **_followed(rows)},
        confidence(len(rows.reached), int(rows.reached.sum())),
    )


def pooled_decision(pool: PooledPrior, *, own_live: bool) -> Decision:
    """Whether the pooled answer is served: by consent to the pool, and where nothing better is."""
    if own_live:
        return Decision(live=False, reason="the client's own model stays live")
    return Decision(
        live=True,
        reason=f"the pooled model of {pool.contributors} other clients "
        f"({pool.leads} leads, {pool.positives} successes) answers until the client's own can",
    )


def pooled_model(
    model: PropensityModel,
    pool: PooledPrior,
    decision: Decision,
    metrics: Mapping[str, Any],
    own_confidence: float = 0.0,
) -> LearnedModel:
    """The pooled answer as a version to store."""
    return LearnedModel(
        kind="propensity",
        target=model.target,
        origin="pooled",
        content=model.to_json(),
        metrics={
            **metrics,
            "pool": {
                "contributors": pool.contributors,
                "leads": pool.leads,
                "positives": pool.positives,
                "columns": pool.space.width,
            },
        },
        gates={},
        sample_size=pool.leads,
        confidence=round(own_confidence, 4),
        decision=decision,
    )


def _figures(outcome: PropensityOutcome) -> dict[str, Any]:
    # Comparisons stand among the figures as they were measured, see `comparisons_of`.
    left_out = ("gates", "promoted", "forced", "reason", "version", "comparisons")
    return {name: value for name, value in outcome.to_json().items() if name not in left_out}


def _followed(rows: _Rows) -> dict[str, Any]:
    return {"follow_up_days": rows.days, "left_out": dict(rows.left_out)}


def _name(target: str) -> str:
    if target == CONVERTED:
        return "conversion probability"
    return f"probability of {target.replace('_', ' ')}"


def _pool(state: LearningState, target: str) -> PooledPrior | None:
    stored = state.pools.get(target)
    return None if stored is None else PooledPrior.from_json(stored)


def _own_live(state: LearningState, target: str) -> bool:
    live = state.live_propensity.get(target)
    return live is not None and live.origin != "pooled"


def _incumbent(state: LearningState, target: str) -> Incumbent | None:
    live = state.live_propensity.get(target)
    if live is None:
        return None
    try:
        model = PropensityModel.from_json(live.content)
    except (ValueError, KeyError, TypeError):
        return None
    # A pooled model has seen none of the client's leads but the few it was moved by.
    seen = live.seen_until.timestamp() * 1e6 if live.seen_until is not None else -np.inf
    return Incumbent(model, float(seen))


_SIMPLE: Final = tuple(name for name in COLUMNS if name != "attributes")


def raw_of(leads: pl.DataFrame, points: Any, days: Any) -> dict[str, CodedColumn]:
    """Raw features of leads of a dataset, with their components and days of first contact."""
    columns: dict[str, list[Any]] = {name: leads[name].to_list() for name in _SIMPLE}
    columns["attributes"] = [_attributes(text) for text in leads["attributes"].to_list()]
    raw = raw_columns(columns, points, days)
    return {name: CodedColumn.of(values) for name, values in raw.items()}


def _attributes(text: str | None) -> dict[str, str]:
    """CRM columns of one lead as serving gets them: text only, nulls left out."""
    if not text:
        return {}
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in json.loads(text).items()
        if value is not None
    }
