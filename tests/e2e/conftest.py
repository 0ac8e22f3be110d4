"""A whole installation: a database with simulated outreach, RPC processes and a worker.

Fixtures
    installation    session: the running program, with the client ``acme`` that has a history, and
                    ``fresh`` that has none
    api             session: a client of it, as engines use one
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from running_server import Program, connected, make_client, serve

from cis_client import Client
from cis_server.demo.demo_clients import demo_clients
from cis_server.demo.loading import write
from cis_server.demo.simulator import simulate

LEADS = 3_000


@dataclass
class Installation:
    program: Program
    database_url: str

    @property
    def target(self) -> str:
        return self.program.target


@pytest.fixture(scope="session")
def history_url(postgres_server: str, _migrated_template: str) -> Iterator[str]:
    """A database in which ``acme`` has reached out to leads for months, up to now."""
    name = f"cis_e2e_{uuid.uuid4().hex[:12]}"
    url = urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{_migrated_template}"')
    try:
        as_of = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
        write(simulate(demo_clients(LEADS)[:1], seed=3, as_of=as_of), url)
        yield url
    finally:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def installation(history_url: str) -> Iterator[Installation]:
    with serve(history_url, "--workers=1") as program:
        program.wait_ready()
        with connected(program.target) as client:
            make_client(client, "fresh")
        yield Installation(program, history_url)


@pytest.fixture(scope="session")
def api(installation: Installation) -> Iterator[Client]:
    with connected(installation.target, retry_attempts=5) as client:
        yield client
