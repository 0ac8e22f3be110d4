"""A statement that is sent with its transaction: all or nothing, under the client's rights only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, text

from cis_server.domain.clients import ClientRecord
from cis_server.domain.lead import Lead
from cis_server.errors import StoreUnavailable
from cis_server.persistence import connections
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import (
    close_engine,
    committed_at_once,
    libpq_url,
    make_engine,
    tenant,
)
from cis_server.persistence.leads import upsert_leads

RENAME = text(
    "UPDATE leads SET company_name = :company WHERE lead_id <> '' RETURNING lead_id, company_name"
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """One connection; two clients with two leads each."""
    engine = make_engine(database_url, pool_size=1)
    for client_id in ("acme", "other"):
        Clients(engine).upsert(ClientRecord(client_id=client_id))
        with tenant(engine, client_id) as connection:
            upsert_leads(connection, client_id, [Lead(lead_id="ann"), Lead(lead_id="bob")])
    yield engine
    close_engine(engine)


def renamed(engine: Engine, company: Any, seconds: float = 5.0) -> list[tuple[Any, ...]]:
    return sorted(
        committed_at_once(engine, "acme", RENAME, {"company": company}, statement_seconds=seconds)
    )


def companies(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(libpq_url(url)) as connection:
        return connection.execute(
            "SELECT client_id, lead_id, company_name FROM leads ORDER BY 1, 2"
        ).fetchall()


def test_it_is_committed_for_one_client_and_leaves_nothing_behind(
    engine: Engine, database_url: str
) -> None:
    for company in ("first", "second", "third"):  # prepared once, run again
        assert renamed(engine, company) == [("ann", company), ("bob", company)]
    assert companies(database_url) == [
        ("acme", "ann", "third"),
        ("acme", "bob", "third"),
        ("other", "ann", None),
        ("other", "bob", None),
    ]
    with engine.connect() as connection:
        left = connection.execute(
            text(
                "SELECT current_user = session_user, current_setting('cis.client_id', true),"
                " current_setting('statement_timeout')"
            )
        ).one()
    assert (left[0], left[1] or "", left[2]) == (True, "", "30s")


def test_an_error_commits_nothing_and_keeps_the_connection(
    engine: Engine, database_url: str
) -> None:
    wrong = text(
        "UPDATE leads SET company_name = 'half'"
        " WHERE lead_id = 'ann' OR 1 / CAST(:zero AS integer) = 1 RETURNING lead_id"
    )
    for _ in range(2):
        with pytest.raises(psycopg.errors.DivisionByZero):
            committed_at_once(engine, "acme", wrong, {"zero": 0}, statement_seconds=5.0)
    assert {row[2] for row in companies(database_url)} == {None}
    assert renamed(engine, "after") == [("ann", "after"), ("bob", "after")]
    assert engine.pool.status().endswith("Current Checked out connections: 0")


def test_waiting_for_a_lock_ends_in_time_and_writes_nothing(
    engine: Engine, database_url: str
) -> None:
    renamed(engine, "before")
    with psycopg.connect(libpq_url(database_url)) as other:
        other.execute("SELECT FROM leads WHERE client_id = 'acme' AND lead_id = 'bob' FOR UPDATE")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            renamed(engine, "late", seconds=0.1)
        assert time.monotonic() - started < 5.0, "it ended while the lock was held"
    assert {row[2] for row in companies(database_url)} == {"before", None}
    assert renamed(engine, "after") == [("ann", "after"), ("bob", "after")]


def test_a_connection_lost_just_now_costs_one_call(engine: Engine, database_url: str) -> None:
    renamed(engine, "before")
    end_connections(database_url)
    with pytest.raises(StoreUnavailable):
        renamed(engine, "lost")
    assert renamed(engine, "after") == [("ann", "after"), ("bob", "after")]


def test_a_connection_lost_while_idle_costs_none(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed(engine, "before")
    end_connections(database_url)
    monkeypatch.setattr(connections, "_TRUSTED_SECONDS", 0.0)
    assert renamed(engine, "after") == [("ann", "after"), ("bob", "after")]
    with tenant(engine, "acme") as connection:
        assert connection.execute(text("SELECT count(*) FROM leads")).scalar_one() == 2


def test_only_a_connection_that_has_idled_is_asked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    ping = engine.dialect.do_ping
    monkeypatch.setattr(
        engine.dialect, "do_ping", lambda driver: (asked.append(driver), ping(driver))[1]
    )
    taken: list[object] = []
    event.listen(engine, "checkout", lambda driver, *_: taken.append(driver))
    renamed(engine, "now")
    renamed(engine, "and now")
    assert (len(taken), asked) == (2, [])
    monkeypatch.setattr(connections, "_TRUSTED_SECONDS", 0.0)
    renamed(engine, "later")
    assert len(asked) == 1


def end_connections(url: str) -> None:
    with psycopg.connect(libpq_url(url), autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'cis' AND datname = current_database()"
        )
