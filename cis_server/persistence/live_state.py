"""What serving processes keep in memory, read from Postgres; and the notifications of changes.

Implements the port `cis_server.serving.ports.SnapshotSource`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import RowMapping

from cis_server.domain.live_state import (
    Change,
    ClientState,
    LiveRecord,
    PatternKey,
    PatternRecord,
    Revisions,
    RollingOut,
    SuppressionList,
    UnreadableClient,
    WeightsStanding,
)
from cis_server.domain.propensity import SERVED_TARGETS
from cis_server.domain.registry import IN_FORCE, ModelKind, ModelOrigin, ModelState, version_label
from cis_server.domain.rollout import RolloutShare
from cis_server.domain.suppression import IdentifierKind
from cis_server.domain.vocabulary import PatternStatus, PatternType, Source
from cis_server.persistence.client_rows import campaign_record, client_record
from cis_server.persistence.connections import loader
from cis_server.persistence.listen import ChangeListener

# The revision of a client covers the client, its campaigns and its versions in force. A deletion
# changes the number of rows, a change the latest time; both are in it. The newest learned weights
# come along even when they are not in force: they are shown beside those that are.
_STATES = """
SELECT c.*, m.models, g.campaigns,
       concat_ws('/', extract(epoch FROM c.updated_at), m.revision, g.revision) AS revision
FROM clients c
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object(
               'kind', m.kind, 'target', m.target, 'version', m.version, 'state', m.state,
               'origin', m.origin, 'parameters', m.parameters, 'rollout', m.rollout,
               'sample_size', m.sample_size, 'confidence', m.confidence,
               'created_at', m.created_at, 'valid_until', m.valid_until,
               'promoted_at', m.promoted_at, 'n', m.metrics -> 'n',
               'n_converted', m.metrics -> 'n_converted',
               'previous', (SELECT p.version FROM models p WHERE p.client_id = m.client_id
                            AND p.model_id = m.replaced_id AND p.state = 'retired'))
               ORDER BY m.kind, m.version) AS models,
           string_agg(m.model_id || '@' || extract(epoch FROM m.updated_at), ','
                      ORDER BY m.model_id) AS revision
    FROM models m
    WHERE m.client_id = c.client_id AND (m.state IN ('live', 'rolling_out')
        OR m.kind = 'weights' AND m.version = (
            SELECT max(l.version) FROM models l
            WHERE l.client_id = c.client_id AND l.kind = 'weights' AND l.origin <> 'manual'
              AND l.state NOT IN ('rejected', 'rolled_back')))
) m ON true
LEFT JOIN LATERAL (
    SELECT json_agg(to_json(g) ORDER BY g.campaign_id) AS campaigns,
           count(*) || '@' || max(extract(epoch FROM g.updated_at)) AS revision
    FROM campaigns g WHERE g.client_id = c.client_id AND g.deleted_at IS NULL
) g ON true
WHERE c.deleted_at IS NULL
"""

# Order-free: the sum of the hashes of all entries, and their number.
_LIST_REVISION = "count(*) || '/' || coalesce(sum(hashtextextended(kind || value, 0)), 0)"

_PATTERN_ROWS = """
SELECT coalesce(p.client_id, s.client_id) AS client_id,
       coalesce(p.pattern_type, s.pattern_type) AS pattern_type,
       p.version, p.computed_at, p.valid_until, p.sample_size, p.confidence,
       s.status, s.reason, s.run_id, s.ran_at, s.sample_size AS run_sample_size,
       concat_ws('/', p.version, extract(epoch FROM p.updated_at),
                 extract(epoch FROM s.ran_at), s.status) AS revision
       {content}
FROM patterns p
FULL JOIN pattern_status s
       ON s.client_id = p.client_id AND s.pattern_type = p.pattern_type
"""


Identifier = tuple[IdentifierKind, str]


class PostgresSnapshotSource:
    """Reads live state with the rights of ``cis_loader``.

    Args:
        engine: connections to the database.
        database_url: for the listening connection, which is kept apart.
    """

    def __init__(self, engine: Engine, database_url: str) -> None:
        self._engine = engine
        self._listener = ChangeListener(database_url)

    def load_clients(self) -> Iterator[ClientState | UnreadableClient]:
        """All clients that are not deleted, made while they are taken: none is kept here."""
        with loader(self._engine) as connection:
            yield from map(_state, connection.execute(text(_STATES)).mappings())

    def load_client(self, client_id: str) -> ClientState | UnreadableClient | None:
        """One client; None when it does not exist or was deleted."""
        query = text(f"{_STATES} AND c.client_id = :client_id")
        with loader(self._engine) as connection:
            row = connection.execute(query, {"client_id": client_id}).mappings().first()
        return _state(row) if row is not None else None

    def load_suppressions(self) -> Iterable[SuppressionList]:
        """Every list that has entries, the global one included."""
        with loader(self._engine) as connection:
            revisions = _list_revisions(connection)
            lists: dict[str | None, list[Identifier]] = {key: [] for key in revisions}
            for row in connection.execute(text("SELECT * FROM suppressed_identifiers")):
                lists.setdefault(row.client_id, []).append(_identifier(row))
        return [
            SuppressionList(client_id=key, revision=revisions.get(key, ""), identifiers=found)
            for key, found in lists.items()
        ]

    def load_suppression(self, client_id: str | None) -> SuppressionList:
        """One client's list, or the global one for None."""
        query = text(
            "SELECT * FROM suppressed_identifiers WHERE client_id IS NOT DISTINCT FROM :client_id"
        )
        with loader(self._engine) as connection:
            revision = _list_revisions(connection, (client_id,)).get(client_id, "")
            rows = connection.execute(query, {"client_id": client_id})
            identifiers = [_identifier(row) for row in rows]
        return SuppressionList(client_id=client_id, revision=revision, identifiers=identifiers)

    def load_patterns(self, keys: Sequence[PatternKey]) -> Mapping[PatternKey, PatternRecord]:
        """Active patterns and run statuses; keys with neither are left out."""
        query = text(
            _PATTERN_ROWS.format(content=", p.patterns AS content")
            + " WHERE (coalesce(p.client_id, s.client_id),"
            " coalesce(p.pattern_type, s.pattern_type)) IN"
            " (SELECT * FROM unnest(CAST(:clients AS text[]), CAST(:types AS text[])))"
        )
        wanted = {
            "clients": [key.client_id for key in keys],
            "types": [key.type.value for key in keys],
        }
        with loader(self._engine) as connection:
            records = map(_pattern, connection.execute(query, wanted).mappings())
            return {record.key: record for record in records}

    def load_revisions(self) -> Mapping[str | None, Revisions]:
        """Revisions of every client, and of the global suppression list under None."""
        with loader(self._engine) as connection:
            states = {
                row.client_id: row.revision
                for row in connection.execute(
                    text(f"SELECT client_id, revision FROM ({_STATES}) s")
                )
            }
            lists = _list_revisions(connection)
            patterns: dict[str, dict[PatternType, str]] = {}
            for row in connection.execute(text(_PATTERN_ROWS.format(content=""))):
                kinds = patterns.setdefault(row.client_id, {})
                kinds[PatternType(row.pattern_type)] = row.revision
        found: dict[str | None, Revisions] = {
            key: Revisions(
                state=state, suppression=lists.get(key, ""), patterns=patterns.get(key, {})
            )
            for key, state in states.items()
        }
        found[None] = Revisions(state="", suppression=lists.get(None, ""))
        return found

    def listen(self) -> None:
        """Begin to receive notifications, on a connection kept for that."""
        self._listener.listen()

    def wait_for_changes(self, timeout_seconds: float) -> Sequence[Change]:
        """Wait until something was committed, at most the given time."""
        return self._listener.wait(timeout_seconds)

    def close(self) -> None:
        """Drop the listening connection."""
        self._listener.close()


def _list_revisions(
    connection: Connection, only: tuple[str | None, ...] | None = None
) -> dict[str | None, str]:
    where = "" if only is None else "WHERE client_id IS NOT DISTINCT FROM :client_id"
    query = text(
        f"SELECT client_id, {_LIST_REVISION} AS revision FROM suppressed_identifiers"
        f" {where} GROUP BY client_id"
    )
    parameters = {} if only is None else {"client_id": only[0]}
    return {row.client_id: row.revision for row in connection.execute(query, parameters)}


def _identifier(row: Any) -> Identifier:
    return IdentifierKind(row.kind), row.value


def _state(row: RowMapping) -> ClientState | UnreadableClient:
    try:
        client = client_record(dict(row))
        models = row["models"] or ()
        weights, rolling_weights = _in_force(models, ModelKind.WEIGHTS)
        model, rolling_model = _in_force(models, ModelKind.PROPENSITY)
        return ClientState(
            revision=row["revision"],
            client=client,
            campaigns=tuple(campaign_record(campaign) for campaign in row["campaigns"] or ()),
            weights=_record(weights) if weights is not None else None,
            model=_record(model) if model is not None else None,
            weights_rollout=_rolling_out(client.client_id, rolling_weights),
            model_rollout=_rolling_out(client.client_id, rolling_model),
            weights_standing=_standing(models, weights),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Other programs may store JSON of any shape.
        return UnreadableClient(
            client_id=row["client_id"], revision=row["revision"], reason=repr(error)
        )


Version = Mapping[str, Any]


def _in_force(models: Sequence[Version], kind: ModelKind) -> tuple[Version | None, Version | None]:
    """The live version of a kind and the one rolling out.

    One conversion probability is answered: that of the target `SERVED_TARGETS` names first among
    those that have a version in force.
    """
    serving = [m for m in models if m["kind"] == kind and m["state"] in IN_FORCE]
    target = min((model["target"] for model in serving), key=_serving_order, default="")
    of_target = {m["state"]: m for m in serving if m["target"] == target}
    return of_target.get(ModelState.LIVE), of_target.get(ModelState.ROLLING_OUT)


def _serving_order(target: str) -> tuple[int, str]:
    known = target in SERVED_TARGETS
    return (SERVED_TARGETS.index(target) if known else len(SERVED_TARGETS), target)


def _rolling_out(client_id: str, model: Version | None) -> RollingOut | None:
    if model is None:
        return None
    share = RolloutShare.of(
        client_id, model["kind"], model["target"], model["version"], model["rollout"] * 100.0
    )
    return RollingOut(record=_record(model), share=share)


def _standing(models: Sequence[Version], live: Version | None) -> WeightsStanding:
    learned = next((m for m in models if m["state"] not in IN_FORCE), None)
    beside = _record(learned) if learned is not None else None
    if live is None:
        return WeightsStanding(learned=beside)
    previous = live["previous"]
    return WeightsStanding(
        by_hand=live["origin"] == ModelOrigin.MANUAL,
        leads=int(live["n"] or live["sample_size"]),
        converted=int(live["n_converted"] or 0),
        live_since=_instant(live, "promoted_at"),
        previous_version=version_label("weights", previous) if previous is not None else None,
        learned=beside,
    )


def _record(model: Version) -> LiveRecord:
    return LiveRecord(
        version=version_label(model["kind"], model["version"]),
        content=model["parameters"],
        source=Source.POOLED if model["origin"] == ModelOrigin.POOLED else Source.LEARNED,
        computed_at=_instant(model, "created_at"),
        valid_until=_instant(model, "valid_until"),
        sample_size=model["sample_size"],
        confidence=model["confidence"],
    )


def _instant(model: Version, name: str) -> dt.datetime | None:
    return dt.datetime.fromisoformat(model[name]) if model[name] else None


def _pattern(row: RowMapping) -> PatternRecord:
    return PatternRecord(
        key=PatternKey(row["client_id"], PatternType(row["pattern_type"])),
        revision=row["revision"],
        version=str(row["version"]) if row["version"] is not None else "",
        content=row["content"],
        computed_at=row["computed_at"],
        valid_until=row["valid_until"],
        sample_size=row["sample_size"] or 0,
        confidence=row["confidence"] or 0.0,
        run_status=PatternStatus(row["status"]) if row["status"] else None,
        run_reason=row["reason"] or "",
        run_id=row["run_id"] or "",
        run_at=row["ran_at"],
        run_sample_size=row["run_sample_size"] or 0,
    )
