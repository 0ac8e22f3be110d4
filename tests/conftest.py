"""A real Postgres for every test that asks for one.

Fixtures
    postgres_server   session: URL of a server; an embedded one in a temporary folder, or the one of
                      ``CIS_TEST_DATABASE_URL``
    database_url      function: URL of a fresh, fully migrated database (cloned from a template, in
                      about 50 ms)
    database          function: a SQLAlchemy `Engine` on `database_url`, disposed at the end
    module_database_url   module: like `database_url`, shared by the tests of one module

All databases are dropped and the server is stopped at the end.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import settings
from sqlalchemy import Engine

from cis_server.persistence.connections import make_engine
from cis_server.persistence.embedded import EmbeddedPostgres
from cis_server.persistence.migrate import migrate
from cis_server.settings import Settings

# A property holds or does not; how long an example takes says what else the machine is doing.
settings.register_profile("cis", settings(), deadline=None)
settings.load_profile("cis")

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    given = Settings().test_database_url
    if given is not None:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="cis-test-"))
    try:
        with EmbeddedPostgres(folder, _FAST, temporary=True) as server:
            yield server.url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _migrated_template(postgres_server: str) -> Iterator[str]:
    with _database(postgres_server, "CREATE DATABASE {name}") as url:
        migrate(url)
        yield _name(url)


@pytest.fixture
def database_url(postgres_server: str, _migrated_template: str) -> Iterator[str]:
    with _database(postgres_server, _clone(_migrated_template)) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(postgres_server: str, _migrated_template: str) -> Iterator[str]:
    with _database(postgres_server, _clone(_migrated_template)) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def _clone(template: str) -> str:
    return f'CREATE DATABASE {{name}} TEMPLATE "{template}"'


@contextmanager
def _database(server: str, statement: str) -> Iterator[str]:
    name = f"cis_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.format(name=f'"{name}"'))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
