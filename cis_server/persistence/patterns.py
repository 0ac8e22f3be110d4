"""Patterns: the active row of each type, the versions before it, and how the last run ended."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from cis_server.domain.pattern_history import HistoryPage, HistoryPosition, PatternVersion
from cis_server.domain.runs import PatternOutcome
from cis_server.domain.vocabulary import PatternType
from cis_server.persistence.connections import Role, tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPattern:
    """A pattern to store."""

    type: PatternType
    content: Mapping[str, Any]
    """JSON values; holds `as_of`, no clock times."""
    sample_size: int
    confidence: float
    computed_at: dt.datetime
    valid_until: dt.datetime


def save_patterns(
    connection: Connection, client_id: str, patterns: Sequence[NewPattern], run_id: str
) -> None:
    """Make these the active patterns of their types; what was active goes to the history.

    A pattern whose content is what is active already only counts as fresh again: same version, and
    nothing in the history. A type that was archived goes on with the number after its last one.

    Two statements whatever their number, both in the caller's transaction: nobody sees one without
    the other. Types that are not named keep their pattern.
    """
    if not patterns:
        return
    parameters = {
        "client": client_id,
        "run": run_id,
        "rows": json.dumps(
            [
                {
                    "pattern_type": pattern.type.value,
                    "patterns": pattern.content,
                    "sample_size": pattern.sample_size,
                    "confidence": pattern.confidence,
                    "computed_at": pattern.computed_at.isoformat(),
                    "valid_until": pattern.valid_until.isoformat(),
                }
                for pattern in patterns
            ],
            allow_nan=False,
        ),
    }
    connection.execute(
        text(
            "INSERT INTO pattern_history (client_id, pattern_type, version, patterns, sample_size,"
            " confidence, computed_at, valid_until, run_id)"
            " SELECT p.client_id, p.pattern_type, p.version, p.patterns, p.sample_size,"
            " p.confidence, p.computed_at, p.valid_until, p.run_id FROM patterns p"
            " JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (pattern_type text,"
            " patterns jsonb) ON r.pattern_type = p.pattern_type"
            " WHERE p.client_id = :client AND p.patterns IS DISTINCT FROM r.patterns"
            " FOR UPDATE OF p"
        ),
        parameters,
    )
    connection.execute(
        text(
            "INSERT INTO patterns AS p (client_id, pattern_type, patterns, sample_size, confidence,"
            " computed_at, valid_until, run_id, version)"
            " SELECT :client, r.pattern_type, r.patterns, r.sample_size, r.confidence,"
            " r.computed_at, r.valid_until, :run, 1 + coalesce((SELECT max(h.version)"
            " FROM pattern_history h WHERE h.client_id = :client"
            " AND h.pattern_type = r.pattern_type), 0)"
            " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (pattern_type text,"
            " patterns jsonb, sample_size integer, confidence double precision,"
            " computed_at timestamptz, valid_until timestamptz)"
            " ON CONFLICT (client_id, pattern_type) DO UPDATE SET patterns = excluded.patterns,"
            " sample_size = excluded.sample_size, confidence = excluded.confidence,"
            " computed_at = excluded.computed_at, valid_until = excluded.valid_until,"
            " run_id = excluded.run_id, version = p.version"
            " + (p.patterns IS DISTINCT FROM excluded.patterns)::int"
        ),
        parameters,
    )


def save_outcomes(
    connection: Connection,
    client_id: str,
    outcomes: Sequence[PatternOutcome],
    run_id: str,
    ran_at: dt.datetime,
) -> None:
    """Store how each type's last run ended; a bad end never touches the pattern itself."""
    connection.execute(
        text(
            "INSERT INTO pattern_status (client_id, pattern_type, status, reason, sample_size,"
            " run_id, ran_at)"
            " SELECT :client, r.pattern_type, r.status, r.reason, r.sample_size, :run, :ran_at"
            " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (pattern_type text, status text,"
            " reason text, sample_size integer)"
            " ON CONFLICT (client_id, pattern_type) DO UPDATE SET status = excluded.status,"
            " reason = excluded.reason, sample_size = excluded.sample_size,"
            " run_id = excluded.run_id, ran_at = excluded.ran_at"
        ),
        {
            "client": client_id,
            "run": run_id,
            "ran_at": ran_at,
            "rows": json.dumps(
                [
                    {
                        "pattern_type": outcome.type.value,
                        "status": outcome.status.value,
                        "reason": outcome.reason,
                        "sample_size": outcome.sample_size,
                    }
                    for outcome in outcomes
                ]
            ),
        },
    )


class PatternHistory:
    """Reads earlier versions of patterns for dashboards.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read_history(
        self,
        client_id: str,
        type_: PatternType | None,
        limit: int,
        after: HistoryPosition | None,
        timeout_seconds: float,
    ) -> HistoryPage:
        """One page of `history_page`.

        Raises:
            StoreUnavailable: the database is away or did not answer within the time given.
        """
        with tenant(
            self._engine, client_id, Role.READER, statement_seconds=timeout_seconds
        ) as connection:
            return history_page(connection, client_id, type_, limit, after)


def history_page(
    connection: Connection,
    client_id: str,
    type_: PatternType | None,
    limit: int,
    after: HistoryPosition | None = None,
) -> HistoryPage:
    """Versions that are no longer active, of one type or of all, newest first.

    Versions archived at the same instant (by one run) stand in the order of the types' names.

    Args:
        connection: with the rights of the client.
        client_id: the client.
        type_: which pattern; None: all.
        limit: most versions given back, at least 1.
        after: where the page before ended.
    """
    parameters: dict[str, Any] = {
        "client": client_id,
        "type": type_.value if type_ is not None else None,
        "limit": limit + 1,
    }
    beyond = ""
    if after is not None:
        beyond = (
            " AND (archived_at < :archived OR (archived_at = :archived AND (pattern_type > :after"
            " OR (pattern_type = :after AND version < :version))))"
        )
        parameters |= {
            "archived": after.archived_at,
            "after": after.type.value,
            "version": after.version,
        }
    rows = connection.execute(
        text(
            f"SELECT * FROM pattern_history WHERE {_OF_TYPE}{beyond}"
            " ORDER BY archived_at DESC, pattern_type, version DESC LIMIT :limit"
        ),
        parameters,
    ).all()
    total = connection.execute(
        text(f"SELECT count(*) FROM pattern_history WHERE {_OF_TYPE}"), parameters
    ).scalar_one()
    return HistoryPage(
        versions=tuple(_version(row) for row in rows[:limit]), more=len(rows) > limit, total=total
    )


_OF_TYPE = (
    "client_id = :client AND (CAST(:type AS text) IS NULL OR pattern_type = CAST(:type AS text))"
)


def _version(row: Row[Any]) -> PatternVersion:
    return PatternVersion(
        type=PatternType(row.pattern_type),
        version=row.version,
        content=row.patterns,
        sample_size=row.sample_size,
        confidence=row.confidence,
        computed_at=row.computed_at,
        valid_until=row.valid_until,
        run_id=row.run_id or "",
        archived_at=row.archived_at,
        reason=row.reason,
    )
