"""Simulated rows into Postgres, through `COPY`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import polars as pl
from psycopg import sql
from sqlalchemy import Connection, text

from cis_server.demo.simulator import TABLES, Simulation
from cis_server.errors import PreconditionFailed
from cis_server.persistence.connections import Role, make_engine, tenant
from cis_server.persistence.rederive import loading

_CHUNK = 50_000
"""Rows turned into text at a time: some 40 MB for messages."""
_SECONDS = 1_800.0
_LARGE = frozenset(("activities", "email_events"))


def write(simulation: Simulation, database_url: str, *, replace: bool = False) -> dict[str, int]:
    """Store a simulation: each client in one transaction, everything derived at its end.

    Rows go by `COPY` into temporary tables and from there in one `INSERT` a table, because
    row-level security, which is forced on every table, does not allow `COPY` into them.

    Args:
        simulation: what to store.
        database_url: ``postgresql://`` URI of a migrated database; its login may take the role of
            the owner.
        replace: delete clients of the same id first, with everything they have.

    Returns:
        Rows written to each table.

    Raises:
        PreconditionFailed: a client of the same id exists and `replace` is not set.
        StoreUnavailable: the database is away.
    """
    counts = dict.fromkeys(TABLES, 0)
    engine = make_engine(database_url, pool_size=1, statement_seconds=_SECONDS)
    try:
        for spec in simulation.clients:
            with tenant(
                engine, spec.client_id, Role.OWNER, statement_seconds=_SECONDS
            ) as connection:
                _make_room(connection, spec.client_id, replace=replace)
                with loading(connection, spec.client_id):
                    for name in TABLES:
                        frame = simulation.tables[name]
                        frame = frame.filter(pl.col("client_id") == spec.client_id)
                        counts[name] += _store(connection, name, frame)
    finally:
        engine.dispose()
    return counts


def _make_room(connection: Connection, client_id: str, *, replace: bool) -> None:
    client = {"client": client_id}
    if replace:
        connection.execute(text("DELETE FROM clients WHERE client_id = :client"), client)
        return
    found = connection.execute(
        text("SELECT EXISTS (SELECT FROM clients WHERE client_id = :client)"), client
    )
    if found.scalar():
        raise PreconditionFailed(
            "CLIENT_EXISTS", f"client {client_id!r} exists already", {"client_id": client_id}
        )


def _store(connection: Connection, table: str, frame: pl.DataFrame) -> int:
    if table == "deal_stage_history":
        # Storing a deal records its stage as the first one; the simulated history says it all.
        connection.execute(
            text("DELETE FROM deal_stage_history WHERE client_id = :client"),
            {"client": frame["client_id"][0] if len(frame) else ""},
        )
    if frame.is_empty():
        return 0
    names = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    target, staged = sql.Identifier(table), sql.Identifier(f"simulated_{table}")
    cursor = connection.connection.cursor()
    cursor.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA"
        ).format(staged, names, target)
    )
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(staged, names)
    with cursor.copy(statement) as copy:
        for chunk in _csv_chunks(frame):
            copy.write(chunk)
    with _unchecked(connection) if table in _LARGE else nullcontext():
        cursor.execute(
            sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(target, names, names, staged)
        )
    cursor.execute(sql.SQL("DROP TABLE {}").format(staged))
    return len(frame)


@contextmanager
def _unchecked(connection: Connection) -> Iterator[None]:
    """Without foreign-key checks and triggers, where the login may do that (a superuser).

    Simulated rows refer to each other by construction (a test looks), and their triggers would only
    spool every row to tell what the end of the load tells anyway: derive, and read the client anew.
    """
    role = connection.execute(text("SELECT current_setting('role')")).scalar_one()
    may = text("SELECT rolsuper FROM pg_roles WHERE rolname = session_user")
    if not connection.execute(may).scalar_one():
        yield
        return
    switch = text("SELECT set_config('role', 'none', true), set_config(:name, :value, true)")
    back = text("SELECT set_config('role', :role, true)")
    for value in ("replica", "origin"):
        connection.execute(switch, {"name": "session_replication_role", "value": value})
        connection.execute(back, {"role": role})
        if value == "replica":
            yield


def _csv_chunks(frame: pl.DataFrame) -> Iterator[bytes]:
    """CSV as Postgres reads it: nothing is null, quotes with nothing between them are empty."""
    lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
    for start in range(0, len(frame), _CHUNK):
        chunk = frame.slice(start, _CHUNK).with_columns(_array(name) for name in lists)
        buffer = io.BytesIO()
        chunk.write_csv(buffer, include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6f%z")
        yield buffer.getvalue()


def _array(name: str) -> pl.Expr:
    """A list of texts as an array literal."""
    quoted = (
        pl.element()
        .cast(pl.String)
        .str.replace_all("\\", "\\\\", literal=True)
        .str.replace_all('"', '\\"', literal=True)
    )
    items = pl.col(name).list.eval('"' + quoted + '"').list.join(",")
    return ("{" + items + "}").alias(name)
