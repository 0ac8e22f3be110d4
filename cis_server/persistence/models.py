"""The registry of learned weights and propensity models: versions, and which one is live."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, text

from cis_server.errors import NotFound


class ModelKind(StrEnum):
    """What a version holds."""

    WEIGHTS = "weights"
    """Component name -> weight."""
    PROPENSITY = "propensity"
    """`PropensityModel.to_json`."""


class ModelState(StrEnum):
    """Where a version stands."""

    CANDIDATE = "candidate"
    ROLLING_OUT = "rolling_out"
    LIVE = "live"
    RETIRED = "retired"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModel:
    """A version to store."""

    kind: ModelKind
    content: Mapping[str, Any]
    """JSON values: what serving loads."""
    target: str = ""
    """What a propensity model predicts; empty for weights."""
    origin: str = "learned"
    """``learned``, ``manual`` or ``pooled``."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    gates: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    """Snapshot hash, seed, code and library versions, parameters."""
    sample_size: int = 0
    confidence: float = 0.0
    as_of: dt.datetime | None = None
    valid_until: dt.datetime | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel(NewModel):
    """A version as stored."""

    model_id: str
    version: int
    state: ModelState
    reason: str
    created_at: dt.datetime
    promoted_at: dt.datetime | None
    promoted_by: str | None

    @property
    def label(self) -> str:
        """Name of the version as answers carry it, e.g. ``weights-3``."""
        return version_label(self.kind, self.version)


def version_label(kind: str, version: int) -> str:
    """Name of a version as answers carry it, e.g. ``weights-3``."""
    return f"{kind}-{version}"


def next_version(connection: Connection, client_id: str, kind: ModelKind, target: str = "") -> int:
    """Number the next version will get; later callers wait until this transaction ends."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 2))"),
        {"name": f"{client_id}\x1f{kind}\x1f{target}"},
    )
    found = connection.execute(
        text(
            "SELECT coalesce(max(version), 0) + 1 FROM models"
            " WHERE client_id = :client AND kind = :kind AND target = :target"
        ),
        {"client": client_id, "kind": kind.value, "target": target},
    )
    return int(found.scalar_one())


def insert_model(connection: Connection, client_id: str, model: NewModel) -> StoredModel:
    """Store a version as a candidate."""
    row = connection.execute(
        text(
            "INSERT INTO models (client_id, kind, target, version, origin, parameters, metrics,"
            " gates, lineage, sample_size, confidence, as_of, valid_until, run_id, parent_id)"
            " VALUES (:client, :kind, :target, :version, :origin, CAST(:content AS jsonb),"
            " CAST(:metrics AS jsonb), CAST(:gates AS jsonb), CAST(:lineage AS jsonb),"
            " :sample_size, :confidence, :as_of, :valid_until, :run_id,"
            " (SELECT model_id FROM models WHERE client_id = :client AND kind = :kind"
            " AND target = :target AND state = 'live'))"
            " RETURNING *"
        ),
        {
            "client": client_id,
            "kind": model.kind.value,
            "target": model.target,
            "version": next_version(connection, client_id, model.kind, model.target),
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
        },
    ).one()
    return _model(row)


def activate(
    connection: Connection,
    client_id: str,
    model_id: str,
    *,
    by: str,
    at: dt.datetime,
    reason: str = "",
) -> StoredModel:
    """Make a version the live one of its kind and target; the one before retires.

    Raises:
        NotFound: there is no such version.
    """
    model = get_model(connection, client_id, model_id)
    connection.execute(
        text(
            "UPDATE models SET state = 'retired', retired_at = :at"
            " WHERE client_id = :client AND kind = :kind AND target = :target"
            " AND state = 'live' AND model_id <> :model"
        ),
        {
            "client": client_id,
            "kind": model.kind.value,
            "target": model.target,
            "model": model_id,
            "at": at,
        },
    )
    row = connection.execute(
        text(
            "UPDATE models SET state = 'live', promoted_at = :at, promoted_by = :by,"
            " reason = :reason, retired_at = NULL"
            " WHERE client_id = :client AND model_id = :model RETURNING *"
        ),
        {"client": client_id, "model": model_id, "at": at, "by": by, "reason": reason},
    ).one()
    return _model(row)


def settle(
    connection: Connection, client_id: str, model_id: str, state: ModelState, reason: str
) -> StoredModel:
    """Give a version that is not live another state, e.g. REJECTED because a gate failed.

    Raises:
        NotFound: there is no such version.
    """
    row = connection.execute(
        text(
            "UPDATE models SET state = :state, reason = :reason"
            " WHERE client_id = :client AND model_id = :model RETURNING *"
        ),
        {"client": client_id, "model": model_id, "state": state.value, "reason": reason},
    ).one_or_none()
    if row is None:
        raise NotFound("model", model_id)
    return _model(row)


def live_model(
    connection: Connection, client_id: str, kind: ModelKind, target: str | None = None
) -> StoredModel | None:
    """The live version of a kind (of a target, or the first one by name); None when none is."""
    row = connection.execute(
        text(
            "SELECT * FROM models WHERE client_id = :client AND kind = :kind AND state = 'live'"
            " AND (CAST(:target AS text) IS NULL OR target = :target) ORDER BY target LIMIT 1"
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
        text("SELECT * FROM models WHERE client_id = :client AND model_id = :model"),
        {"client": client_id, "model": model_id},
    ).one_or_none()
    if row is None:
        raise NotFound("model", model_id)
    return _model(row)


def list_models(
    connection: Connection, client_id: str, kind: ModelKind | None = None, limit: int = 100
) -> list[StoredModel]:
    """Versions of a client, newest first."""
    rows = connection.execute(
        text(
            "SELECT * FROM models WHERE client_id = :client"
            " AND (CAST(:kind AS text) IS NULL OR kind = :kind)"
            " ORDER BY created_at DESC, version DESC LIMIT :limit"
        ),
        {"client": client_id, "kind": None if kind is None else kind.value, "limit": limit},
    )
    return [_model(row) for row in rows]


def _model(row: Row[Any]) -> StoredModel:
    return StoredModel(
        model_id=row.model_id,
        kind=ModelKind(row.kind),
        target=row.target,
        version=row.version,
        state=ModelState(row.state),
        origin=row.origin,
        content=row.parameters,
        metrics=row.metrics,
        gates=row.gates,
        lineage=row.lineage,
        sample_size=row.sample_size,
        confidence=row.confidence,
        as_of=row.as_of,
        valid_until=row.valid_until,
        run_id=row.run_id,
        reason=row.reason,
        created_at=row.created_at,
        promoted_at=row.promoted_at,
        promoted_by=row.promoted_by,
    )
