"""Migrations: up, down, twice, at once, and equal to the tables in code."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from sqlalchemy import create_engine, text

from cis_server.persistence.connections import loader, make_engine, sqlalchemy_url, tenant
from cis_server.persistence.migrate import (
    current_revision,
    downgrade,
    migrate,
    schema_differences,
)
from cis_server.persistence.tables import metadata

_CATALOG = """
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
      AND conrelid::regclass::text !~ 'procrastinate|alembic'
      AND contype <> 'n'
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename !~ 'procrastinate|alembic'
    UNION ALL
    SELECT 'column', table_name, column_name, concat_ws(' ', udt_name, is_nullable, column_default)
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name !~ 'procrastinate|alembic|suppressed_identifiers'
"""


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[str]:
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE cis_empty")
    yield urlunsplit(urlsplit(postgres_server)._replace(path="/cis_empty"))
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP DATABASE cis_empty WITH (FORCE)")


def _catalog(url: str) -> set[tuple[str, ...]]:
    with psycopg.connect(url) as connection:
        return set(connection.execute(_CATALOG).fetchall())


def test_two_at_once_then_again(empty_database: str) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate(empty_database)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    migrate(empty_database)
    assert current_revision(empty_database) == "0002"
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (0,)
        zones = connection.execute("SELECT count(*) FROM time_zones").fetchone()
    assert zones is not None
    assert zones[0] > 400


def test_down_leaves_nothing_and_up_again_restores(empty_database: str) -> None:
    migrate(empty_database)
    before = _catalog(empty_database)
    downgrade(empty_database)
    assert _catalog(empty_database) == set()
    with psycopg.connect(empty_database) as connection:
        left = connection.execute(
            "SELECT count(*) FROM pg_proc WHERE proname LIKE 'cis\\_%'"
        ).fetchone()
    assert left == (0,)
    migrate(empty_database)
    assert _catalog(empty_database) == before


def test_a_login_without_special_rights_will_do(
    postgres_server: str, database_url: str, empty_database: str
) -> None:
    if "@/" not in postgres_server:
        pytest.skip("logging in as somebody else needs the embedded server")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE cis_test_login LOGIN")
        # The roles exist already on this server, so an administrator has to grant them.
        connection.execute("GRANT cis_owner, cis_app, cis_reader, cis_loader TO cis_test_login")
        connection.execute("ALTER DATABASE cis_empty OWNER TO cis_test_login")
    url = empty_database.replace("//cis@", "//cis_test_login@")
    try:
        migrate(url)
        engine = make_engine(url)
        with tenant(engine, "a") as connection:
            connection.execute(text("INSERT INTO clients (client_id) VALUES ('a')"))
        with tenant(engine, "b") as connection:
            assert connection.execute(text("SELECT count(*) FROM clients")).scalar() == 0
        with loader(engine) as connection:
            assert connection.execute(text("SELECT count(*) FROM clients")).scalar() == 1
        engine.dispose()
        downgrade(url)
    finally:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute("ALTER DATABASE cis_empty OWNER TO CURRENT_USER")
        with psycopg.connect(empty_database, autocommit=True) as connection:
            connection.execute("REASSIGN OWNED BY cis_test_login TO CURRENT_USER")
            connection.execute("DROP OWNED BY cis_test_login")
            connection.execute("DROP ROLE cis_test_login")


def test_migrated_schema_is_that_of_the_tables(database_url: str, empty_database: str) -> None:
    engine = create_engine(sqlalchemy_url(empty_database))
    metadata.create_all(engine)
    assert _catalog(database_url) == _catalog(empty_database)
    engine.dispose()
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.connect() as connection:
        assert schema_differences(connection) == []
    engine.dispose()


def test_every_key_of_a_tenant_table_starts_with_the_client() -> None:
    # Users, pool persons, zones and the list for all clients belong to no client.
    shared = {"users", "lead_pool", "time_zones", "global_suppression"}
    for table in metadata.sorted_tables:
        if table.name in shared:
            continue
        assert next(iter(table.primary_key.columns)).name == "client_id", table.name
        for constraint in table.foreign_key_constraints:
            if constraint.referred_table.name not in shared:
                assert constraint.column_keys[0] == "client_id", constraint.name
        for index in table.indexes:
            if index.unique and index.name != "uq_pool_assignments_pool_id_active":
                assert next(iter(index.columns)).name == "client_id", index.name
