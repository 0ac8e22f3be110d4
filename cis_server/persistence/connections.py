"""Connections to Postgres: engines, and the checkout of a tenant's view of the database.

Every connection logs in as one user and then takes the role that its work needs, so that
row-level security holds for all of it:

- ``cis_app`` reads and writes one client's rows (serving, capture, import);
- ``cis_reader`` reads one client's rows (learning);
- ``cis_loader`` reads what every serving process keeps of all clients: clients, campaigns,
  patterns, models and suppression, nothing else;
- ``cis_owner`` owns the tables (migrations).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import errors as pg
from sqlalchemy import Connection, Dialect, Engine, TextClause, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from cis_server.errors import StoreUnavailable


class Role(StrEnum):
    """What a connection may do."""

    APP = "cis_app"
    READER = "cis_reader"
    LOADER = "cis_loader"
    OWNER = "cis_owner"


def sqlalchemy_url(url: str) -> str:
    """A libpq URI (``postgresql://`` or ``postgres://``) as SQLAlchemy wants it for psycopg."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme="postgresql+psycopg"))


def libpq_url(url: str) -> str:
    """The opposite of `sqlalchemy_url`: what psycopg, ADBC and Procrastinate understand."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme="postgresql"))


def make_engine(
    url: str,
    *,
    pool_size: int = 4,
    statement_seconds: float = 30.0,
    connect_seconds: float = 3.0,
    checkout_seconds: float = 5.0,
) -> Engine:
    """An engine whose connections fail soon when the server is away, instead of hanging.

    A hung socket holds a psycopg call far beyond any Python timeout, so the kernel is told to give
    up: unacknowledged data after 5 s, a silent peer after about 9 s.

    Args:
        url: ``postgresql://`` URI.
        pool_size: connections kept; as many again are opened under load.
        statement_seconds: default statement timeout, see `tenant` to set it per transaction.
        connect_seconds: timeout of a new connection (at least 2 s take effect, as libpq says).
        checkout_seconds: wait for a free connection.
    """
    engine = create_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=checkout_seconds,
        pool_recycle=1800,
        hide_parameters=True,  # an error's text goes to the log, and parameters hold people's data
        connect_args={
            "connect_timeout": max(2, round(connect_seconds)),
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 5000,
            "application_name": "cis",
            "options": (
                f"-c statement_timeout={round(statement_seconds * 1000)}"
                " -c idle_in_transaction_session_timeout=300000 -c timezone=UTC"
            ),
        },
    )
    _ping_after_idling(engine)
    return engine


def _ping_after_idling(engine: Engine) -> None:
    """Ask a connection whether it is alive before it is used again, unless it just was.

    Asking takes a round trip and a transaction, which is half of what a short statement takes.
    """
    used = "cis_used_at"

    def given_back(_: object, record: ConnectionPoolEntry) -> None:
        record.info[used] = time.monotonic()

    def taken(driver: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
        at = record.info.get(used)
        if at is None or time.monotonic() - at < _TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(driver)
        except psycopg.Error as error:
            raise InvalidatePoolError from error  # the pool opens others

    event.listen(engine, "checkin", given_back)
    event.listen(engine, "checkout", taken)


_TRUSTED_SECONDS: Final = 1.0
"""A connection that was given back so recently is taken to be alive."""


def close_engine(engine: Engine) -> None:
    """Close the connections of a pool: idle ones now, those at work when they are given back.

    `Engine.dispose` alone forgets those at work: they come back to a pool that nobody has any more
    and stay open until the collector finds them.
    """
    event.listen(engine.pool, "checkin", lambda _, record: record.invalidate())
    engine.dispose()


@contextmanager
def tenant(
    engine: Engine,
    client_id: str,
    role: Role = Role.APP,
    *,
    statement_seconds: float | None = None,
) -> Iterator[Connection]:
    """A transaction that sees one client's rows only; commits at the end, rolls back on an error.

    Role and client are set for the transaction alone, so that a connection given back to the pool
    remembers neither.

    Raises:
        StoreUnavailable: the database cannot be reached or did not answer in time.
    """
    with unavailable_as_such(), engine.begin() as connection:
        enter_tenant(connection, client_id, role, statement_seconds=statement_seconds)
        yield connection


def committed_at_once(
    engine: Engine,
    client_id: str,
    statement: TextClause,
    values: Mapping[str, Any],
    role: Role = Role.APP,
    *,
    statement_seconds: float,
) -> list[tuple[Any, ...]]:
    """Run one statement in a `tenant` transaction of its own, all of it in one round trip.

    Beginning, rights, statement and commit are sent together (libpq's pipeline mode); after an
    error in any of them the server skips those that follow, the commit among them.

    Returns:
        The rows of the statement, which is committed by then.

    Raises:
        StoreUnavailable: the database cannot be reached or did not answer in time.
    """
    entering, settings = _entering(client_id, role, statement_seconds)
    with unavailable_as_such(), engine.connect() as connection:
        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        try:
            with driver.cursor() as cursor:
                with driver.pipeline():
                    driver.execute(_as_sent(entering, engine.dialect), settings, prepare=True)
                    cursor.execute(_as_sent(statement, engine.dialect), values, prepare=True)
                    driver.commit()
                return cursor.fetchall()
        except psycopg.Error as error:
            if driver.closed:
                connection.invalidate(error)
            if driver.closed or _may_succeed_later(error):
                raise StoreUnavailable(_AWAY) from error
            raise


@lru_cache(maxsize=64)
def _as_sent(statement: TextClause, dialect: Dialect) -> str:
    return str(statement.compile(dialect=dialect))


def enter_tenant(
    connection: Connection,
    client_id: str,
    role: Role = Role.APP,
    *,
    statement_seconds: float | None = None,
) -> None:
    """Give the transaction of ``connection`` the rights of ``role`` on one client's rows."""
    connection.execute(*_entering(client_id, role, statement_seconds))


def _entering(
    client_id: str, role: Role, statement_seconds: float | None
) -> tuple[TextClause, dict[str, str]]:
    settings = {"role": role.value, "cis.client_id": client_id}
    if statement_seconds is not None:
        settings["statement_timeout"] = str(max(1, round(statement_seconds * 1000)))
    return (
        _ENTERING[len(settings)],
        {
            **{f"n{i}": name for i, name in enumerate(settings)},
            **{f"v{i}": value for i, value in enumerate(settings.values())},
        },
    )


_ENTERING: Final = {
    count: text("SELECT " + ", ".join(f"set_config(:n{i}, :v{i}, true)" for i in range(count)))
    for count in (2, 3)
}


@contextmanager
def loader(engine: Engine) -> Iterator[Connection]:
    """A read-only transaction over what serving keeps of all clients, all of it as of one moment.

    Raises:
        StoreUnavailable: the database cannot be reached or did not answer in time.
    """
    with unavailable_as_such(), engine.begin() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        connection.execute(text("SELECT set_config('role', :role, true)"), {"role": Role.LOADER})
        yield connection


@contextmanager
def operator(engine: Engine) -> Iterator[Connection]:
    """A transaction over the rows of all clients, for what the installation itself keeps: runs.

    Every statement in it must name the clients it means.

    Raises:
        StoreUnavailable: the database cannot be reached or did not answer in time.
    """
    with unavailable_as_such(), engine.begin() as connection:
        connection.execute(text("SELECT set_config('role', :role, true)"), {"role": Role.OWNER})
        yield connection


@contextmanager
def unavailable_as_such() -> Iterator[None]:
    """Turn "the database is away, busy or too slow" into `StoreUnavailable`; let the rest pass."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable("no free database connection") from error
    except DBAPIError as error:
        if not is_transient(error):
            raise
        raise StoreUnavailable(_AWAY) from error


_AWAY: Final = "the database is away or did not answer in time"
_TRANSIENT = (
    pg.QueryCanceled,
    pg.LockNotAvailable,
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.ReadOnlySqlTransaction,
)


def is_transient(error: DBAPIError) -> bool:
    """Whether the same statement may succeed later: connection trouble, timeouts, deadlocks."""
    if error.connection_invalidated:
        return True
    return error.orig is not None and _may_succeed_later(error.orig)


def _may_succeed_later(error: BaseException) -> bool:
    if isinstance(error, _TRANSIENT):
        return True
    return isinstance(error, psycopg.OperationalError) and not isinstance(error, pg.DiskFull)
