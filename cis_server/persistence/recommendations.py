"""Proposals to people: stored by runs, listed, decided on by an approver."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, text

from cis_server.domain.recommendations import (
    ListedRecommendation,
    Recommendation,
    RecommendationState,
    StoredRecommendation,
)
from cis_server.domain.vocabulary import PatternType
from cis_server.errors import NotFound, PreconditionFailed
from cis_server.persistence.connections import tenant

_log = structlog.get_logger(__name__)

_SAVE = """
INSERT INTO recommendations (client_id, recommendation_id, kind, title, detail,
    expected_conversions, expected_low, expected_high, state, run_id, created_at)
SELECT :client, r.recommendation_id, r.kind, r.title, r.detail, r.expected, r.low, r.high,
       'proposed', :run, :at
FROM jsonb_to_recordset(CAST(:found AS jsonb)) AS r(
    recommendation_id text, kind text, title text, detail jsonb, expected float8, low float8,
    high float8)
ON CONFLICT (client_id, recommendation_id) DO UPDATE
SET title = excluded.title, detail = excluded.detail, state = 'proposed', run_id = excluded.run_id,
    expected_conversions = excluded.expected_conversions, expected_low = excluded.expected_low,
    expected_high = excluded.expected_high,
    created_at = CASE WHEN recommendations.state = 'expired' THEN excluded.created_at
                      ELSE recommendations.created_at END
WHERE recommendations.state IN ('proposed', 'expired')
"""

_RANK = (
    "CASE WHEN expected_conversions BETWEEN -1e300 AND 1e300 THEN expected_conversions"
    " ELSE -1e300 END"
)
"""What lists are ordered by: what is no number, or missing, comes last."""

_EXPIRE = """
UPDATE recommendations SET state = 'expired'
WHERE client_id = :client AND state = 'proposed' AND NOT (recommendation_id = ANY(:kept))
  AND detail -> 'evidence' ->> 'pattern' = ANY(:patterns)
"""


def save_recommendations(
    connection: Connection,
    client_id: str,
    found: Sequence[Recommendation],
    patterns: Sequence[PatternType],
    run_id: str,
    at: dt.datetime,
) -> None:
    """Store what a run proposes: new ones, and those proposed before with their new figures.

    What somebody has decided on stays as it was decided. What is proposed no longer expires, unless
    its pattern was not found this time, which leaves that pattern, and what follows from it, alone.

    Args:
        connection: inside a transaction with the rights of `Role.APP` on the client.
        client_id: whose.
        found: what the run proposes.
        patterns: types the run has found.
        run_id: the run.
        at: its time.
    """
    rows = [
        {
            "recommendation_id": one.recommendation_id,
            "kind": one.kind.value,
            "title": one.title,
            "detail": one.to_json(),
            "expected": one.expected,
            "low": one.low,
            "high": one.high,
        }
        for one in found
    ]
    connection.execute(
        text(_EXPIRE),
        {
            "client": client_id,
            "kept": [one.recommendation_id for one in found],
            "patterns": [kind.value for kind in patterns],
        },
    )
    connection.execute(
        text(_SAVE),
        {
            "client": client_id,
            "run": run_id,
            "at": at,
            "found": json.dumps(rows, allow_nan=False),
        },
    )


class Recommendations:
    """The proposals of all clients; every method raises `StoreUnavailable` when it cannot.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(
        self,
        client_id: str,
        states: Sequence[RecommendationState],
        limit: int,
        after: tuple[float, str] | None,
    ) -> Sequence[ListedRecommendation]:
        """Most expected extra conversions first, then by id; one that cannot be read hides none.

        Args:
            client_id: whose.
            states: of which states.
            limit: at most so many.
            after: (rank, id) of the last one of the page before.

        Raises:
            NotFound: no such client.
        """
        expected, last = after or (None, "")
        with tenant(self._engine, client_id) as connection:
            _known(connection, client_id)
            rows = connection.execute(
                text(
                    f"SELECT *, {_RANK} AS rank FROM recommendations"
                    " WHERE client_id = :client AND state = ANY(:states)"
                    " AND (CAST(:expected AS float8) IS NULL"
                    f" OR (-({_RANK}), recommendation_id) > (-:expected, :last))"
                    f" ORDER BY -({_RANK}), recommendation_id LIMIT :limit"
                ),
                {
                    "client": client_id,
                    "states": [state.value for state in states],
                    "expected": expected,
                    "last": last,
                    "limit": limit,
                },
            )
            return [
                ListedRecommendation(
                    recommendation_id=row["recommendation_id"],
                    rank=row["rank"],
                    stored=_readable(row),
                )
                for row in rows.mappings()
            ]

    def decide(
        self,
        client_id: str,
        recommendation_id: str,
        decision: RecommendationState,
        by: str,
        reason: str,
        at: dt.datetime,
    ) -> StoredRecommendation:
        """Record an approver's decision; the same one by the same approver again changes nothing.

        Raises:
            NotFound: no such client or recommendation.
            PreconditionFailed: RECOMMENDATION_DECIDED already, RECOMMENDATION_EXPIRED, or
                RECOMMENDATION_UNREADABLE.
        """
        key = {"client": client_id, "id": recommendation_id}
        with tenant(self._engine, client_id) as connection:
            _known(connection, client_id)
            found = _read(connection, key, "FOR UPDATE")
            if found is None:
                raise NotFound("recommendation", recommendation_id)
            if found.state is decision and found.decided_by == by:
                return found
            if found.state is not RecommendationState.PROPOSED:
                raise _refusal(found)
            connection.execute(
                text(
                    "UPDATE recommendations SET state = :state, decided_by = :by,"
                    " decided_at = :at, decision_reason = :reason"
                    " WHERE client_id = :client AND recommendation_id = :id"
                ),
                {**key, "state": decision.value, "by": by, "at": at, "reason": reason},
            )
            connection.execute(
                text(
                    "INSERT INTO access_audit (client_id, occurred_at, actor, action, subject,"
                    " detail) VALUES (:client, :at, :by, 'decide_recommendation', :id,"
                    " jsonb_build_object('decision', CAST(:state AS text),"
                    " 'reason', CAST(:reason AS text)))"
                ),
                {**key, "state": decision.value, "by": by, "at": at, "reason": reason},
            )
            decided = _read(connection, key)
        if decided is None:
            raise NotFound("recommendation", recommendation_id)
        return decided


def _refusal(found: StoredRecommendation) -> PreconditionFailed:
    if found.state is RecommendationState.EXPIRED:
        return PreconditionFailed(
            "RECOMMENDATION_EXPIRED",
            "a later run no longer proposes it",
            {"run_id": found.run_id},
        )
    return PreconditionFailed(
        "RECOMMENDATION_DECIDED",
        f"it was {found.state} by {found.decided_by}",
        {"state": found.state, "approver": found.decided_by},
    )


def _known(connection: Connection, client_id: str) -> None:
    known = connection.execute(
        text("SELECT FROM clients WHERE client_id = :client AND deleted_at IS NULL"),
        {"client": client_id},
    )
    if known.one_or_none() is None:
        raise NotFound("client", client_id)


def _read(
    connection: Connection, key: Mapping[str, str], lock: str = ""
) -> StoredRecommendation | None:
    row = connection.execute(
        text(
            "SELECT * FROM recommendations"
            f" WHERE client_id = :client AND recommendation_id = :id {lock}"
        ),
        key,
    ).mappings()
    found = row.one_or_none()
    if found is None:
        return None
    stored = _readable(found)
    if stored is None:
        raise PreconditionFailed(
            "RECOMMENDATION_UNREADABLE", "what is stored of it cannot be read", {}
        )
    return stored


def _readable(row: Any) -> StoredRecommendation | None:
    """The proposal of a row; None, with a line in the log, when it cannot be read."""
    try:
        return _stored(row)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        _log.warning(
            "recommendation_unreadable",
            client=row["client_id"],
            recommendation=row["recommendation_id"],
            problem=f"{type(problem).__name__}: {problem}",
        )
        return None


def _stored(row: Any) -> StoredRecommendation:
    return StoredRecommendation(
        client_id=row["client_id"],
        recommendation=Recommendation.read(row["detail"]),
        state=RecommendationState(row["state"]),
        run_id=row["run_id"] or "",
        created_at=row["created_at"],
        decided_by=row["decided_by"] or "",
        decided_at=row["decided_at"],
        decision_reason=row["decision_reason"] or "",
    )
