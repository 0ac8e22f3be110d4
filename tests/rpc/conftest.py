"""A server in this process over a real Postgres, shared by the tests of one module.

Fixtures
    target      module: ``host:port`` of the server
    api         module: a client of it, without retries
    sql         module: runs one statement as the owner of the database
    tenant_id   function: a client that exists and has nothing yet
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest
from running_server import connected, make_client, serving_here

from cis_client import Client
from cis_server.domain.lead import Lead
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.leads import upsert_leads

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def target(module_database_url: str) -> Iterator[str]:
    # A server pins no core here: the tests share the process.
    assert "CIS_DATABASE_URL" not in os.environ
    # A busy machine may take longer than the 250 ms a scoring call gives the database.
    with serving_here(module_database_url, store_seconds=10.0) as it:
        yield it


@pytest.fixture(scope="module")
def api(target: str) -> Iterator[Client]:
    with connected(target) as client:
        yield client


@pytest.fixture(scope="module")
def sql(module_database_url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    with psycopg.connect(module_database_url, autocommit=True) as connection:

        def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            done = connection.execute(statement, values)
            return done.fetchall() if done.description else []

        yield run


@pytest.fixture(scope="module")
def store_leads(module_database_url: str) -> Iterator[Callable[..., None]]:
    engine = make_engine(module_database_url)

    def store(client_id: str, leads: Sequence[Lead], campaign_id: str | None = None) -> None:
        with tenant(engine, client_id) as connection:
            upsert_leads(connection, client_id, leads, campaign_id)

    yield store
    engine.dispose()


@pytest.fixture
def tenant_id(api: Client) -> str:
    client_id = f"client-{next(_numbers)}"
    make_client(api, client_id)
    return client_id
