"""Bring a database to the schema this version needs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from procrastinate.schema import SchemaManager
from sqlalchemy import Connection, create_engine, pool, text
from sqlalchemy.exc import ProgrammingError

from cis_server.persistence.connections import sqlalchemy_url, unavailable_as_such
from cis_server.persistence.schema import (
    MISSING_TIME_ZONES,
    ForeignSchema,
    fingerprint,
    newest_revision,
)
from cis_server.persistence.tables import metadata

# Any number will do as long as every process uses the same.
_LOCK = 7_205_759_403_792_793


def migrate(url: str, revision: str = "head") -> None:
    """Apply every migration that is missing, and the tables of the job queue.

    Safe to call again and from several processes at once: an advisory lock lets one at a time in.

    Args:
        url: ``postgresql://`` URI. Its login needs to own the database and to be allowed to
            create roles (or the roles ``cis_owner``, ``cis_app``, ``cis_reader`` and
            ``cis_loader`` exist and were granted to it).
        revision: Alembic revision to stop at.

    Raises:
        ForeignSchema: other migrations than those of this version made it; nothing is changed.
        StoreUnavailable: the database cannot be reached.
    """
    with unavailable_as_such():
        with _locked_connection(url) as connection:
            made_by_us = _checked(connection)
            try:
                command.upgrade(_config(connection), revision)
            except ProgrammingError as error:
                if made_by_us:
                    raise
                raise ForeignSchema("its tables are not those of this version") from error
            _refresh_time_zones(connection)
            if not made_by_us and revision == "head" and schema_differences(connection):
                raise ForeignSchema("its tables are not those of this version")
            _sign(connection)
            connection.commit()
        _apply_queue_schema(url)


def downgrade(url: str, revision: str = "base") -> None:
    """Undo migrations down to ``revision``; the job queue's tables stay.

    Roles stay too: they belong to the whole server and other databases may use them.
    """
    with _locked_connection(url) as connection:
        command.downgrade(_config(connection), revision)
        _sign(connection)
        connection.commit()


def current_revision(url: str) -> str | None:
    """Revision the database is at; None when it was never migrated."""
    engine = create_engine(sqlalchemy_url(url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def schema_differences(connection: Connection) -> list[object]:
    """What Alembic would change to make the database match the tables; empty when they agree."""
    context = MigrationContext.configure(
        connection, opts={"include_name": is_ours, "compare_server_default": True}
    )
    return list(compare_metadata(context, metadata))


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Whether Alembic should look at a thing: the job queue's tables are not ours."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate"))


def _checked(connection: Connection) -> bool:
    """Whether the migrations of this version made what is there, as far as they have run.

    Returns:
        True also when there is nothing yet; False when nobody has signed it.
    """
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        return True
    if revision > newest_revision():
        raise ForeignSchema(f"revision {revision}, which this version does not know")
    signature = connection.scalar(
        text("SELECT obj_description('alembic_version'::regclass, 'pg_class')")
    )
    connection.rollback()
    if signature not in (None, fingerprint(revision)):
        raise ForeignSchema(f"revision {revision} has changed since")
    return signature is not None


def _sign(connection: Connection) -> None:
    """Leave the fingerprint of the migrations that ran with Alembic's own table."""
    revision = MigrationContext.configure(connection).get_current_revision()
    signature = "NULL" if revision is None else f"'{fingerprint(revision)}'"
    connection.execute(text(f"COMMENT ON TABLE alembic_version IS {signature}"))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _locked_connection(url: str) -> Iterator[Connection]:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    engine = create_engine(sqlalchemy_url(url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        # Held by the session, not by a transaction: Alembic commits on its own.
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.commit()
        try:
            yield connection
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
            connection.commit()
    engine.dispose()


def _refresh_time_zones(connection: Connection) -> None:
    if connection.execute(text("SELECT to_regclass('time_zones')")).scalar() is None:
        return
    connection.execute(
        text(f"INSERT INTO time_zones (name) {MISSING_TIME_ZONES} ON CONFLICT DO NOTHING")
    )


def _apply_queue_schema(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
        if found is None or found[0] is None:
            connection.execute(SchemaManager.get_schema())
