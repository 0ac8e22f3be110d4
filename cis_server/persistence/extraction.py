"""Around the reading of a dataset: who read what, and what the reading leaves out."""

from __future__ import annotations

import datetime as dt
import json
from typing import Final

from sqlalchemy import Engine, text

from cis_server.domain.dataset import Window
from cis_server.persistence.connections import tenant

EXTRACT: Final = "extract"
FUTURE_TOLERANCE: Final = dt.timedelta(days=1)
"""Clocks differ, and a time of day precision is noon of a day that has only begun."""

_LONG_SECONDS: Final = 600.0

_FUTURE: Final = (
    "SELECT (SELECT count(*) FROM activities"
    " WHERE client_id = :client AND occurred_at > :limit)"
    " + (SELECT count(*) FROM email_events WHERE client_id = :client AND occurred_at > :limit)"
    " + (SELECT count(*) FROM meetings WHERE client_id = :client AND booked_at > :limit)"
    " + (SELECT count(*) FROM leads WHERE client_id = :client AND deleted_at IS NULL"
    " AND converted_at > :limit)"
)


def record_extract(
    engine: Engine, client_id: str, window: Window, *, actor: str, run_id: str, now: dt.datetime
) -> int:
    """Write into the audit that a client's data are read, before they are.

    Args:
        engine: connections to the database.
        client_id: whose data.
        window: what of them.
        actor: who reads; the program's version for a learning run.
        run_id: what for.
        now: the time now, aware.

    Returns:
        How many rows claim to have happened more than `FUTURE_TOLERANCE` after ``now``.

    Raises:
        StoreUnavailable: the database is away; then nothing may be read.
    """
    with tenant(engine, client_id, statement_seconds=_LONG_SECONDS) as connection:
        connection.execute(
            text(
                "INSERT INTO access_audit (client_id, occurred_at, actor, action, subject, detail)"
                " VALUES (:client, :now, :actor, :action, :subject, CAST(:detail AS jsonb))"
            ),
            {
                "client": client_id,
                "now": now,
                "actor": actor,
                "action": EXTRACT,
                "subject": run_id,
                "detail": json.dumps(
                    {
                        "window_start": window.start.isoformat(),
                        "as_of": window.as_of.isoformat(),
                    }
                ),
            },
        )
        limit = now + FUTURE_TOLERANCE
        return int(connection.scalar(text(_FUTURE), {"client": client_id, "limit": limit}) or 0)
