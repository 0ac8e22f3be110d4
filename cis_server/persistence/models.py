"""The registry's rows: versions of weights and propensity models, and their events.

What moves a version from state to state stands in `persistence.registry`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from cis_server.domain.registry import (
    BY_LEARNING,
    IN_FORCE,
    ModelEvent,
    ModelKind,
    ModelState,
    NewModel,
    StoredModel,
    read_label,
    version_label,
)
from cis_server.errors import NotFound

__all__ = [
    "ModelKind",
    "ModelState",
    "NewModel",
    "StoredModel",
    "activate",
    "events_of",
    "get_model",
    "in_force",
    "insert_model",
    "list_models",
    "live_model",
    "model_of_label",
    "models_page",
    "move",
    "next_version",
    "settle",
    "take_turn",
    "version_label",
]

_MODELS = (
    "SELECT m.*,"
    " (SELECT p.version FROM models p WHERE p.client_id = m.client_id"
    " AND p.model_id = m.parent_id) AS parent_version,"
    " (SELECT p.version FROM models p WHERE p.client_id = m.client_id"
    " AND p.model_id = m.replaced_id) AS replaced_version,"
    " CASE m.state WHEN 'rolling_out' THEN m.rollout WHEN 'live' THEN 1 - coalesce("
    "(SELECT r.rollout FROM models r WHERE r.client_id = m.client_id AND r.kind = m.kind"
    " AND r.target = m.target AND r.state = 'rolling_out'), 0) ELSE 0 END AS serves"
    " FROM models m WHERE m.client_id = :client"
)


def take_turn(connection: Connection, client_id: str, kind: ModelKind) -> None:
    """Wait until nobody else changes versions of the kind; holds until this transaction ends."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 2))"),
        {"name": f"{client_id}\x1f{kind}"},
    )


def next_version(connection: Connection, client_id: str, kind: ModelKind) -> int:
    """Number the next version will get; later callers wait until this transaction ends.

    Numbers run over all targets of a kind, so that a label names one version of the client.
    """
    take_turn(connection, client_id, kind)
    found = connection.execute(
        # Numbers of versions that retention has deleted are not given again: answers named them.
        text(
            "SELECT greatest("
            "(SELECT max(version) FROM models WHERE client_id = :client AND kind = :kind),"
            "(SELECT max(version) FROM model_events WHERE client_id = :client AND kind = :kind),"
            "0) + 1"
        ),
        {"client": client_id, "kind": kind.value},
    )
    return int(found.scalar_one())


def insert_model(
    connection: Connection, client_id: str, model: NewModel, *, by: str = BY_LEARNING
) -> StoredModel:
    """Store a version as a candidate.

    Args:
        connection: with the rights of the client.
        client_id: the client.
        model: what to store.
        by: who made it.
    """
    row = connection.execute(
        text(
            "WITH made AS (INSERT INTO models (client_id, kind, target, version, origin,"
            " parameters, metrics, gates, lineage, sample_size, confidence, as_of, valid_until,"
            " run_id, parent_id)"
            " VALUES (:client, :kind, :target, :version, :origin, CAST(:content AS jsonb),"
            " CAST(:metrics AS jsonb), CAST(:gates AS jsonb), CAST(:lineage AS jsonb),"
            " :sample_size, :confidence, :as_of, :valid_until, :run_id,"
            " (SELECT model_id FROM models WHERE client_id = :client AND kind = :kind"
            " AND target = :target AND state = 'live'))"
            " RETURNING *), told AS (INSERT INTO model_events (client_id, model_id, kind, target,"
            " version, to_state, rollout, actor)"
            " SELECT client_id, model_id, kind, target, version, state, 0, :by FROM made)"
            " SELECT model_id FROM made"
        ),
        {
            "client": client_id,
            "kind": model.kind.value,
            "target": model.target,
            "version": next_version(connection, client_id, model.kind),
            "origin": model.origin,
            "content": json.dumps(model.content, allow_nan=False),
            "metrics": json.dumps(model.metrics, allow_nan=False),
            "gates": json.dumps(model.gates, allow_nan=False),
            "lineage": json.dumps(model.lineage, allow_nan=False),
            "sample_size": model.sample_size,
            "confidence": model.confidence,
            "as_of": model.as_of,
            "valid_until": model.valid_until,
            "run_id": model.run_id,
            "by": by,
        },
    ).one()
    return get_model(connection, client_id, row.model_id)


def move(
    connection: Connection,
    client_id: str,
    model_id: str,
    state: ModelState,
    *,
    by: str,
    at: dt.datetime,
    reason: str = "",
    rollout: float = 1.0,
    replaced_id: str | None = None,
    decides: bool = True,
) -> StoredModel:
    """Give a version another state, and record it.

    Args:
        connection: with the rights of the client, and in turn (`take_turn`).
        client_id: the client.
        model_id: the version.
        state: its state from now on.
        by: who does it.
        at: when.
        reason: why.
        rollout: share of the leads it serves from now on; counts for states in force only.
        replaced_id: the version that was live before it; counts for states in force only.
        decides: whether this is a decision on the version itself, rather than what follows for it
            from a decision on another one.

    Raises:
        NotFound: there is no such version.
    """
    serves = state in IN_FORCE
    found = connection.execute(
        text(
            "WITH before AS (SELECT model_id, state FROM models"
            " WHERE client_id = :client AND model_id = :model),"
            " moved AS (UPDATE models m SET state = :state,"
            + (
                " rollout = :rollout, replaced_id = :replaced, promoted_at = :at,"
                " promoted_by = :by, retired_at = NULL"
                if serves
                else " retired_at = CASE WHEN m.state IN ('live', 'rolling_out') THEN :at"
                " ELSE m.retired_at END"
            )
            + (", decided_at = :at, decided_by = :by, reason = :reason" if decides else "")
            + " FROM before b WHERE m.client_id = :client AND m.model_id = b.model_id"
            " RETURNING m.*, b.state AS from_state)"
            " INSERT INTO model_events (client_id, model_id, kind, target, version, occurred_at,"
            " from_state, to_state, rollout, actor, reason)"
            " SELECT client_id, model_id, kind, target, version, :at, from_state, state,"
            " CAST(:served AS double precision), :by, :reason FROM moved RETURNING model_id"
        ),
        {
            "client": client_id,
            "model": model_id,
            "state": state.value,
            "by": by,
            "at": at,
            "reason": reason,
            "rollout": rollout,
            "replaced": replaced_id,
            "served": rollout if serves else 0.0,
        },
    ).one_or_none()
    if found is None:
        raise NotFound("model", model_id)
    return get_model(connection, client_id, model_id)


def activate(
    connection: Connection,
    client_id: str,
    model_id: str,
    *,
    by: str,
    at: dt.datetime,
    reason: str = "",
) -> StoredModel:
    """Make a version the live one of its kind and target; whatever was in force retires.

    Raises:
        NotFound: there is no such version.
    """
    model = get_model(connection, client_id, model_id)
    take_turn(connection, client_id, model.kind)
    live, rolling = in_force(connection, client_id, model.kind, model.target)
    for other in (live, rolling):
        if other is not None and other.model_id != model_id:
            move(
                connection,
                client_id,
                other.model_id,
                ModelState.RETIRED,
                by=by,
                at=at,
                reason=f"replaced by {model.label}",
                decides=False,
            )
    return move(
        connection,
        client_id,
        model_id,
        ModelState.LIVE,
        by=by,
        at=at,
        reason=reason,
        replaced_id=live.model_id if live is not None and live.model_id != model_id else None,
    )


def settle(
    connection: Connection,
    client_id: str,
    model_id: str,
    state: ModelState,
    reason: str,
    *,
    by: str = BY_LEARNING,
    at: dt.datetime | None = None,
) -> StoredModel:
    """Give a version that is not in force another state, e.g. REJECTED because a gate failed.

    Args:
        connection: with the rights of the client.
        client_id: the client.
        model_id: the version.
        state: its state from now on.
        reason: why.
        by: who decides.
        at: when; None: the time of the transaction.

    Raises:
        NotFound: there is no such version.
    """
    when = at or connection.execute(text("SELECT now()")).scalar_one()
    return move(connection, client_id, model_id, state, by=by, at=when, reason=reason)


def in_force(
    connection: Connection, client_id: str, kind: ModelKind, target: str
) -> tuple[StoredModel | None, StoredModel | None]:
    """The live version and the one rolling out; None where there is none."""
    rows = connection.execute(
        text(
            _MODELS + " AND m.kind = :kind AND m.target = :target"
            " AND m.state IN ('live', 'rolling_out')"
        ),
        {"client": client_id, "kind": kind.value, "target": target},
    )
    by_state = {model.state: model for model in map(_model, rows)}
    return by_state.get(ModelState.LIVE), by_state.get(ModelState.ROLLING_OUT)


def live_model(
    connection: Connection, client_id: str, kind: ModelKind, target: str | None = None
) -> StoredModel | None:
    """The live version of a kind (of a target, or the first one by name); None when none is."""
    row = connection.execute(
        text(
            _MODELS + " AND m.kind = :kind AND m.state = 'live'"
            " AND (CAST(:target AS text) IS NULL OR m.target = :target) ORDER BY m.target LIMIT 1"
        ),
        {"client": client_id, "kind": kind.value, "target": target},
    ).one_or_none()
    return None if row is None else _model(row)


def get_model(connection: Connection, client_id: str, model_id: str) -> StoredModel:
    """One version.

    Raises:
        NotFound: there is no such version.
    """
    row = connection.execute(
        text(_MODELS + " AND m.model_id = :model"), {"client": client_id, "model": model_id}
    ).one_or_none()
    if row is None:
        raise NotFound("model", model_id)
    return _model(row)


def model_of_label(connection: Connection, client_id: str, label: str) -> StoredModel:
    """The version of a label such as ``weights-3``.

    Raises:
        NotFound: there is no such version.
    """
    named = read_label(label)
    row = None
    if named is not None:
        row = connection.execute(
            text(_MODELS + " AND m.kind = :kind AND m.version = :version"),
            {"client": client_id, "kind": named[0].value, "version": named[1]},
        ).one_or_none()
    if row is None:
        raise NotFound("model", label)
    return _model(row)


def list_models(
    connection: Connection, client_id: str, kind: ModelKind | None = None, limit: int = 100
) -> list[StoredModel]:
    """Versions of a client, newest first."""
    return models_page(connection, client_id, () if kind is None else (kind,), (), limit)


def models_page(
    connection: Connection,
    client_id: str,
    kinds: Sequence[ModelKind],
    states: Sequence[ModelState],
    limit: int,
    after: tuple[dt.datetime, int, str] | None = None,
) -> list[StoredModel]:
    """Versions of a client, newest first.

    Args:
        connection: with the rights of the client.
        client_id: the client.
        kinds: only these; none: all.
        states: only these; none: all.
        limit: most versions given back.
        after: creation time, number and id of the last version of the page before.
    """
    rows = connection.execute(
        text(
            _MODELS + " AND (:any_kind OR m.kind = ANY(:kinds))"
            " AND (:any_state OR m.state = ANY(:states))"
            " AND (CAST(:at AS timestamptz) IS NULL"
            " OR (m.created_at, m.version, m.model_id) < (:at, :version, :id))"
            " ORDER BY m.created_at DESC, m.version DESC, m.model_id DESC LIMIT :limit"
        ),
        {
            "client": client_id,
            "any_kind": not kinds,
            "kinds": [kind.value for kind in kinds],
            "any_state": not states,
            "states": [state.value for state in states],
            "at": after[0] if after is not None else None,
            "version": after[1] if after is not None else None,
            "id": after[2] if after is not None else None,
            "limit": limit,
        },
    )
    return [_model(row) for row in rows]


def events_of(connection: Connection, client_id: str, model_id: str) -> list[ModelEvent]:
    """Every change of one version's state, oldest first."""
    rows = connection.execute(
        text(
            "SELECT * FROM model_events WHERE client_id = :client AND model_id = :model"
            " ORDER BY event_number"
        ),
        {"client": client_id, "model": model_id},
    )
    return [
        ModelEvent(
            version=version_label(row.kind, row.version),
            at=row.occurred_at,
            before=ModelState(row.from_state) if row.from_state is not None else None,
            after=ModelState(row.to_state),
            rollout=row.rollout,
            actor=row.actor,
            reason=row.reason,
        )
        for row in rows
    ]


def _model(row: Row[Any]) -> StoredModel:
    def label(version: int | None) -> str | None:
        return None if version is None else version_label(row.kind, version)

    def mapping(value: Any) -> Mapping[str, Any]:
        return value if isinstance(value, dict) else {}

    return StoredModel(
        model_id=row.model_id,
        kind=ModelKind(row.kind),
        target=row.target,
        version=row.version,
        state=ModelState(row.state),
        origin=row.origin,
        content=row.parameters,
        metrics=mapping(row.metrics),
        gates=mapping(row.gates),
        lineage=mapping(row.lineage),
        sample_size=row.sample_size,
        confidence=row.confidence,
        as_of=row.as_of,
        valid_until=row.valid_until,
        run_id=row.run_id,
        reason=row.reason,
        created_at=row.created_at,
        promoted_at=row.promoted_at,
        promoted_by=row.promoted_by,
        serves=row.serves,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        parent=label(row.parent_version),
        replaced=label(row.replaced_version),
    )
