"""What learning reads of the state in force, and how its results are stored: all or nothing."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine, text

from cis_server.domain.dataset import Dataset
from cis_server.domain.learned import (
    Decision,
    Learned,
    LearnedModel,
    LearningState,
    LivePropensity,
)
from cis_server.domain.registry import BY_LEARNING
from cis_server.domain.runs import PropensityOutcome, Run, RunResult, Stage
from cis_server.domain.weights import read_weights
from cis_server.errors import NotFound, StoreUnavailable
from cis_server.persistence.client_rows import campaign_record, client_record
from cis_server.persistence.connections import tenant, unavailable_as_such
from cis_server.persistence.dataset import record_snapshot
from cis_server.persistence.models import (
    ModelKind,
    ModelState,
    NewModel,
    activate,
    insert_model,
    live_model,
    next_version,
    settle,
    version_label,
)
from cis_server.persistence.patterns import NewPattern, save_outcomes, save_patterns
from cis_server.persistence.pooling import save_contributions
from cis_server.persistence.recommendations import save_recommendations
from cis_server.persistence.rederive import drain_dirty
from cis_server.persistence.registry import obstacle_to_learning
from cis_server.persistence.runs import finish_run

_LONG_SECONDS = 600.0
# Between looks at a lock that somebody else holds.
_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What is stored beside the results of a run."""

    now: dt.datetime
    """Clock of the run; validity counts from here."""
    lineage: Mapping[str, Any]
    """How the results can be made again, JSON values."""
    dataset: Dataset | None
    """The saved dataset; None when it was not kept."""
    ended: Callable[[RunResult], tuple[RunResult, Sequence[Stage]]]
    """Called when everything but the end of the run is written: adds what is known only then."""


def learning_state(engine: Engine, client_id: str) -> LearningState:
    """What is in force for a client.

    Raises:
        NotFound: the client does not exist or was deleted.
        StoreUnavailable: the database is away.
    """
    with tenant(engine, client_id) as connection:
        client = (
            connection.execute(
                text("SELECT * FROM clients WHERE client_id = :client AND deleted_at IS NULL"),
                {"client": client_id},
            )
            .mappings()
            .first()
        )
        if client is None:
            raise NotFound("client", client_id)
        campaigns = connection.execute(
            text("SELECT * FROM campaigns WHERE client_id = :client AND deleted_at IS NULL"),
            {"client": client_id},
        ).mappings()
        by_id = {row["campaign_id"]: campaign_record(dict(row)) for row in campaigns}
        live = live_model(connection, client_id, ModelKind.WEIGHTS)
        promotions = connection.scalar(
            text(
                "SELECT count(*) FROM models WHERE client_id = :client AND kind = 'weights'"
                " AND origin = 'learned' AND promoted_at IS NOT NULL"
            ),
            {"client": client_id},
        )
        served = connection.execute(
            text(
                "SELECT target, parameters, origin,"
                " as_of - make_interval(days => coalesce((metrics ->> 'follow_up_days')::int, 0))"
                " AS seen_until"
                " FROM models WHERE client_id = :client AND kind = 'propensity' AND state = 'live'"
            ),
            {"client": client_id},
        )
        live_propensity = {
            row.target: LivePropensity(
                content=row.parameters, origin=row.origin, seen_until=row.seen_until
            )
            for row in served
        }
    weights, objection = read_weights(live.content if live is not None else None)
    usable = live is not None and objection is None
    return LearningState(
        client=client_record(dict(client)),
        campaigns=by_id,
        live_weights=weights if usable else None,
        weights_by_hand=live is not None and live.origin == "manual",
        promotions=int(promotions or 0),
        live_propensity=live_propensity,
    )


def drained(engine: Engine, client_id: str) -> int:
    """Bring the client's derived columns up to date; gives back how many leads that touched.

    Raises:
        StoreUnavailable: the database is away.
    """
    with tenant(engine, client_id, statement_seconds=_LONG_SECONDS) as connection:
        return drain_dirty(connection, client_id)


@contextmanager
def only_learner_of(engine: Engine, client_id: str, wait_seconds: float) -> Iterator[None]:
    """Hold the client's learning lock; it goes when the process that holds it dies.

    Raises:
        StoreUnavailable: another process kept it for longer than ``wait_seconds``, or the
            database is away.
    """
    key = {"name": f"cis.learn:{client_id}"}
    until = time.monotonic() + wait_seconds
    with unavailable_as_such(), engine.connect() as connection:
        # Outside of transactions: the lock belongs to the session, which otherwise idles.
        session = connection.execution_options(isolation_level="AUTOCOMMIT")
        take = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 3))")
        while not session.scalar(take, key):
            if time.monotonic() >= until:
                raise StoreUnavailable("another worker is learning for this client", 10.0)
            time.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            _released(session, key)


def _released(session: Connection, key: Mapping[str, str]) -> None:
    """Give the lock back; a broken connection has lost it already."""
    try:
        session.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 3))"), key)
    except Exception:
        session.invalidate()


def save_learned(engine: Engine, run: Run, learned: Learned, saving: Saving) -> RunResult | None:
    """Store everything a run learned and end the run, in one transaction.

    Patterns of types that were found replace those before, which go to the history; types without
    enough data keep theirs. Weights and models are stored as versions; those that are to go live
    replace the live ones. Serving processes are notified by the commit. A dry run only ends.

    Args:
        engine: connections to the database.
        run: as claimed; its attempt must still be the latest.
        learned: what to store.
        saving: what is stored beside it.

    Returns:
        The result with the versions given; None when another attempt has taken the run over:
        then nothing was stored.

    Raises:
        StoreUnavailable: the database is away; nothing was stored.
    """
    try:
        with tenant(engine, run.client_id, statement_seconds=_LONG_SECONDS) as connection:
            result = learned.result
            if not run.options.dry_run:
                result = _stored(connection, run, learned, saving)
            result, stages = saving.ended(result)
            if not finish_run(connection, run.client_id, run.run_id, run.attempts, result, stages):
                raise _TakenOver
            return result
    except _TakenOver:
        return None


class _TakenOver(Exception):  # noqa: N818 - leaves the transaction, which then rolls back
    """Another attempt works on the run."""


def _stored(connection: Connection, run: Run, learned: Learned, saving: Saving) -> RunResult:
    valid_until = saving.now + dt.timedelta(days=run.options.validity_days)
    save_patterns(
        connection,
        run.client_id,
        [
            NewPattern(
                type=pattern.type,
                content=pattern.content,
                sample_size=pattern.sample_size,
                confidence=pattern.confidence,
                computed_at=saving.now,
                valid_until=valid_until,
            )
            for pattern in learned.patterns
        ],
        run.run_id,
    )
    save_outcomes(connection, run.client_id, learned.result.patterns, run.run_id, saving.now)
    result = learned.result
    for model in learned.models:
        model, held_back = _as_things_stand(connection, run.client_id, model)
        label = _stored_model(connection, run, model, saving, valid_until)
        result = _with_version(result, model, label, held_back=held_back)
    save_contributions(connection, run.client_id, learned.contributions, run.run_id)
    save_recommendations(
        connection,
        run.client_id,
        learned.recommendations,
        [pattern.type for pattern in learned.patterns],
        run.run_id,
        saving.now,
    )
    connection.execute(
        text(
            "UPDATE clients SET conversion_sample_count = :count WHERE client_id = :client"
            " AND conversion_sample_count <> :count"
        ),
        {"client": run.client_id, "count": result.conversions},
    )
    if saving.dataset is not None:
        record_snapshot(connection, saving.dataset, run.run_id)
    # A run that found no pattern has changed how its types stand, which no trigger looks at.
    connection.execute(text("SELECT cis_notify('patterns', :client)"), {"client": run.client_id})
    return result


def _as_things_stand(
    connection: Connection, client_id: str, model: LearnedModel
) -> tuple[LearnedModel, bool]:
    """The model, and whether it may not go live although the run, as it began, let it."""
    fate = model.decision
    if not fate.live:
        return model, False
    obstacle = obstacle_to_learning(connection, client_id, ModelKind(model.kind), model.target)
    if obstacle is None:
        return model, False
    return replace(model, decision=Decision(live=False, reason=obstacle)), True


def _with_version(
    result: RunResult, model: LearnedModel, label: str, *, held_back: bool
) -> RunResult:
    """The result with the version's name; and without its promotion where that was held back."""
    if model.kind == ModelKind.WEIGHTS:
        weights = replace(result.weights, version=label)
        if held_back:
            weights = replace(
                weights,
                after=weights.before,
                promoted=False,
                forced=False,
                reason=f"weights {model.decision.reason}",
            )
        result = replace(result, weights=weights)
    else:
        outcomes = [
            _named(outcome, model, label, held_back=held_back)
            if outcome.target == model.target
            else outcome
            for outcome in (result.propensity, *result.propensity_targets)
        ]
        result = replace(result, propensity=outcomes[0], propensity_targets=tuple(outcomes[1:]))
    probabilities = (result.propensity, *result.propensity_targets)
    promoted = result.weights.promoted or any(outcome.promoted for outcome in probabilities)
    return replace(result, promoted=promoted)


def _named(
    outcome: PropensityOutcome, model: LearnedModel, label: str, *, held_back: bool
) -> PropensityOutcome:
    named = replace(outcome, version=label)
    if not held_back:
        return named
    reason = f"{outcome.target} {model.decision.reason}"
    return replace(named, promoted=False, forced=False, reason=reason)


def save_pooled(
    engine: Engine, client_id: str, models: Sequence[LearnedModel], at: dt.datetime
) -> int:
    """Make pooled answers live for a client that has nothing of its own; how many went live.

    What is live already, number for number, stays as it is.

    Raises:
        StoreUnavailable: the database is away; nothing was stored.
    """
    stored = 0
    with tenant(engine, client_id) as connection:
        for model in models:
            model, _ = _as_things_stand(connection, client_id, model)
            live = live_model(connection, client_id, ModelKind.PROPENSITY, model.target)
            same = live is not None and {**live.content, "version": ""} == dict(model.content)
            if same or not model.decision.live:
                continue
            label = version_label(
                ModelKind.PROPENSITY, next_version(connection, client_id, ModelKind.PROPENSITY)
            )
            version = insert_model(
                connection,
                client_id,
                NewModel(
                    kind=ModelKind.PROPENSITY,
                    content={**model.content, "version": label},
                    target=model.target,
                    origin=model.origin,
                    metrics=model.metrics,
                    sample_size=model.sample_size,
                    confidence=model.confidence,
                    as_of=at,
                ),
            )
            activate(
                connection,
                client_id,
                version.model_id,
                by=BY_LEARNING,
                at=at,
                reason=model.decision.reason,
            )
            stored += 1
    return stored


def _stored_model(
    connection: Connection,
    run: Run,
    model: LearnedModel,
    saving: Saving,
    valid_until: dt.datetime,
) -> str:
    """Store one version and give it its state; its label."""
    kind = ModelKind(model.kind)
    number = next_version(connection, run.client_id, kind)
    label = version_label(kind, number)
    content = dict(model.content)
    if kind is ModelKind.PROPENSITY:
        content["version"] = label
    stored = insert_model(
        connection,
        run.client_id,
        NewModel(
            kind=kind,
            content=content,
            target=model.target,
            origin=model.origin,
            metrics=model.metrics,
            gates=model.gates,
            lineage=saving.lineage,
            sample_size=model.sample_size,
            confidence=model.confidence,
            as_of=run.options.as_of,
            valid_until=valid_until,
            run_id=run.run_id,
        ),
    )
    fate = model.decision
    if fate.live:
        activate(
            connection,
            run.client_id,
            stored.model_id,
            by=BY_LEARNING,
            at=saving.now,
            reason=fate.reason,
        )
    else:
        state = ModelState.REJECTED if fate.refused else ModelState.CANDIDATE
        settle(connection, run.client_id, stored.model_id, state, fate.reason)
    return label
