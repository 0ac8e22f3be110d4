"""What a backfill changes: converting marks, content snapshots, first scores; and how much of it.

Each step is one transaction that also adds its counts to the run, so that an attempt which is
repeated neither changes nor counts anything twice.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from cis_server.domain.lead import Lead
from cis_server.domain.runs import BackfillCounts, Run
from cis_server.persistence.connections import operator, tenant
from cis_server.persistence.rederive import rederive

_LONG_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BareTouch:
    """An outbound touch whose body is stored and whose content snapshot is not."""

    activity_id: str
    channel: str
    subject: str | None
    body: str
    lead: Lead
    """As far as a snapshot looks at it: first name, company and industry."""


@contextmanager
def step(engine: Engine, run: Run) -> Iterator[Connection]:
    """One step of a backfill: kept when it ends well, taken back in a dry run.

    Raises:
        StoreUnavailable: the database is away; nothing of the step was stored.
    """
    with tenant(engine, run.client_id, statement_seconds=_LONG_SECONDS) as connection:
        savepoint = connection.begin_nested()
        yield connection
        if run.options.dry_run:
            savepoint.rollback()


def mark_converting(connection: Connection, client_id: str) -> BackfillCounts:
    """Derive everything of the client anew; says how the marks of converting touches changed.

    The converting touch of a lead is its last outbound one at or before `converted_at`; a mark on
    any other goes. Whoever marked touches by other rules, by the last edit of a lead for example,
    is put right by this.
    """
    connection.execute(
        text(
            "CREATE TEMPORARY TABLE marked_before ON COMMIT DROP AS"
            " SELECT activity_id FROM activities WHERE client_id = :client AND converting"
        ),
        {"client": client_id},
    )
    rederive(connection, client_id)
    row = connection.execute(
        text(
            "SELECT count(*) FILTER (WHERE b.activity_id IS NULL) AS marked,"
            " count(*) FILTER (WHERE a.activity_id IS NULL) AS cleared"
            " FROM (SELECT activity_id FROM activities WHERE client_id = :client AND converting) a"
            " FULL JOIN marked_before b USING (activity_id)"
        ),
        {"client": client_id},
    ).one()
    return BackfillCounts(touches_marked=row.marked, marks_cleared=row.cleared)


def touches_without_snapshot(
    connection: Connection, client_id: str, since: dt.datetime, after: str | None, limit: int
) -> Sequence[BareTouch]:
    """Outbound touches with a body and without a content snapshot, in the order of their ids.

    Args:
        connection: with the rights of the client.
        client_id: the client.
        since: touches before it are left alone.
        after: id of the last touch of the call before.
        limit: most touches given back.
    """
    rows = connection.execute(
        text(
            "SELECT a.activity_id, a.channel, a.subject, a.full_message_body AS body,"
            " l.lead_id, l.first_name, l.company_name, l.industry"
            " FROM activities a"
            " JOIN leads l ON l.client_id = :client AND l.lead_id = a.lead_id"
            " WHERE a.client_id = :client AND a.action = 'sent' AND a.content_snapshot IS NULL"
            " AND a.full_message_body <> '' AND a.occurred_at >= :since"
            " AND (CAST(:after AS uuid) IS NULL OR a.activity_id > CAST(:after AS uuid))"
            " ORDER BY a.activity_id LIMIT :limit"
        ),
        {"client": client_id, "since": since, "after": after, "limit": limit},
    )
    return [
        BareTouch(
            activity_id=str(row.activity_id),
            channel=row.channel,
            subject=row.subject,
            body=row.body,
            lead=Lead(
                lead_id=row.lead_id,
                first_name=row.first_name,
                company_name=row.company_name,
                industry=row.industry,
            ),
        )
        for row in rows
    ]


def store_snapshots(
    connection: Connection, client_id: str, snapshots: Mapping[str, Mapping[str, Any]]
) -> int:
    """Store content snapshots by touch; one that is there already stays. Gives back how many."""
    done = connection.execute(
        text(
            "UPDATE activities a SET content_snapshot = r.snapshot"
            " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (activity_id uuid, snapshot jsonb)"
            " WHERE a.client_id = :client AND a.activity_id = r.activity_id"
            " AND a.content_snapshot IS NULL"
        ),
        {
            "client": client_id,
            "rows": json.dumps(
                [{"activity_id": key, "snapshot": value} for key, value in snapshots.items()]
            ),
        },
    )
    return done.rowcount


def leads_to_score(connection: Connection, client_id: str, after: str, limit: int) -> Sequence[str]:
    """Ids of leads without components that were never contacted, in order, beyond ``after``.

    Leads that were contacted are left out: what is known of them now includes what came of it.
    """
    return list(
        connection.execute(
            text(
                "SELECT l.lead_id FROM leads l"
                " WHERE l.client_id = :client AND l.lead_id > :after AND l.deleted_at IS NULL"
                " AND l.components IS NULL AND l.first_contacted_at IS NULL"
                " AND NOT EXISTS (SELECT FROM activities a WHERE a.client_id = :client"
                " AND a.lead_id = l.lead_id AND a.action = 'sent')"
                " ORDER BY l.lead_id LIMIT :limit"
            ),
            {"client": client_id, "after": after, "limit": limit},
        ).scalars()
    )


def add_counts(connection: Connection, run: Run, counts: BackfillCounts) -> None:
    """Add to what the run has counted, in the transaction of the change itself.

    Nothing is added for an attempt that another one has taken over.
    """
    connection.execute(
        text(
            "UPDATE learning_runs r SET counts = r.counts || ("
            " SELECT jsonb_object_agg(e.key,"
            " coalesce((r.counts ->> e.key)::bigint, 0) + e.value::bigint)"
            " FROM jsonb_each_text(CAST(:counts AS jsonb)) e), heartbeat_at = now()"
            " WHERE client_id = :client AND run_id = :run AND attempts = :attempt"
            " AND state = 'running'"
        ),
        {
            "client": run.client_id,
            "run": run.run_id,
            "attempt": run.attempts,
            "counts": json.dumps(counts.to_json()),
        },
    )


def set_counts(engine: Engine, run: Run, counts: BackfillCounts) -> None:
    """State what a dry run would have changed.

    Raises:
        StoreUnavailable: the database is away.
    """
    with operator(engine) as connection:
        connection.execute(
            text(
                "UPDATE learning_runs SET counts = CAST(:counts AS jsonb)"
                " WHERE client_id = :client AND run_id = :run AND attempts = :attempt"
                " AND state = 'running'"
            ),
            {
                "client": run.client_id,
                "run": run.run_id,
                "attempt": run.attempts,
                "counts": json.dumps(counts.to_json()),
            },
        )
