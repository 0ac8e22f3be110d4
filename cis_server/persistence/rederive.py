"""The one owner of everything that is derived from events.

Touch numbers, gaps, lead-local time, engagement, the converting touch, counters: all of it is
computed here, from the stored events alone, whenever something about a lead has changed. Import,
simulator and capture call it in the transaction that wrote the events; what other programs write
straight into the tables is queued by triggers and drained by `drain_dirty`.

The result depends on what is stored, not on the order it came in or on how often this runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from cis_server.persistence.connections import Role, tenant
from cis_server.persistence.derivations import IN_ORDER, MACHINE_PATTERNS, scoped

WHOLE_CLIENT_FROM = 20_000
"""From so many leads on, one pass over the whole client is cheaper than a filtered one."""


def rederive(connection: Connection, client_id: str, lead_ids: Sequence[str] | None = None) -> None:
    """Bring every derived column of these leads and their events up to date.

    Set-based: a fixed number of statements whatever the number of leads; rows whose values are
    right already are not rewritten. Two transactions that derive the same lead take turns.

    Args:
        connection: inside a transaction with the rights of `Role.APP` on the client (or of the
            owner of the database).
        client_id: the client.
        lead_ids: the leads; None for all of the client's.
    """
    some = lead_ids is not None and len(lead_ids) < WHOLE_CLIENT_FROM
    parameters: dict[str, object] = {"client": client_id}
    if some:
        if not lead_ids:
            return
        parameters["leads"] = sorted(set(lead_ids or ()))
    with _quietly(connection):
        _take_turns(connection, parameters)
        connection.execute(
            text(
                scoped(
                    "DELETE FROM dirty_leads d WHERE d.client_id = :client {scope:d}", leads=some
                )
            ),
            parameters,
        )
        if not some:
            connection.execute(text("SELECT cis_analyze()"))
            connection.execute(text("SELECT set_config('work_mem', '128MB', true)"))
        for statement in IN_ORDER:
            uses_patterns = ":proxies" in statement
            connection.execute(
                text(scoped(statement, leads=some)),
                {**parameters, **MACHINE_PATTERNS} if uses_patterns else parameters,
            )


@contextmanager
def loading(connection: Connection, client_id: str) -> Iterator[None]:
    """Around a bulk load that derives the whole client at its end.

    Rows written inside are not queued one by one; leaving the block without an error derives
    everything of the client.
    """
    with _quietly(connection):
        yield
    rederive(connection, client_id)


def drain_dirty(connection: Connection, client_id: str) -> int:
    """Derive the client's queued leads; gives back how many there were.

    Args:
        connection: inside a transaction with the rights of `Role.APP` on the client.
        client_id: the client.
    """
    queued = connection.execute(
        text("SELECT lead_id FROM dirty_leads WHERE client_id = :client ORDER BY lead_id"),
        {"client": client_id},
    )
    leads = list(queued.scalars())
    if leads:
        rederive(connection, client_id, leads)
    return len(leads)


def drain_all(engine: Engine) -> int:
    """Drain every client's queue, each in a transaction of its own; gives back how many leads."""
    with engine.begin() as connection:
        connection.execute(text("SELECT set_config('role', :role, true)"), {"role": Role.OWNER})
        queued = connection.execute(text("SELECT DISTINCT client_id FROM dirty_leads ORDER BY 1"))
        clients = list(queued.scalars())
    total = 0
    for client_id in clients:
        with tenant(engine, client_id) as connection:
            total += drain_dirty(connection, client_id)
    return total


@contextmanager
def _quietly(connection: Connection) -> Iterator[None]:
    """Keep the triggers from queueing what is written here."""
    before = connection.execute(text("SELECT current_setting('cis.rederiving', true)")).scalar()
    quiet = text("SELECT set_config('cis.rederiving', :value, true)")
    connection.execute(quiet, {"value": "on"})
    yield
    # After an error the transaction is lost, and with it the setting.
    connection.execute(quiet, {"value": before or ""})


def _take_turns(connection: Connection, parameters: dict[str, object]) -> None:
    """Wait for other transactions that derive the same leads.

    Without it two of them could each miss the other's uncommitted events. A whole client excludes
    every other derivation of it; single leads exclude each other by row lock.
    """
    some = "leads" in parameters
    lock = "pg_advisory_xact_lock_shared" if some else "pg_advisory_xact_lock"
    connection.execute(
        text(f"SELECT {lock}(hashtextextended('cis.rederive', 0) # hashtextextended(:client, 1))"),
        {"client": parameters["client"]},
    )
    if some:
        connection.execute(
            text(
                "SELECT FROM leads WHERE client_id = :client AND lead_id = ANY(:leads)"
                " ORDER BY lead_id FOR NO KEY UPDATE"
            ),
            parameters,
        )
