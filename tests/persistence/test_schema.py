"""A start looks whether the schema is in place, and changes only what is not."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest

from cis_server.errors import StoreUnavailable
from cis_server.persistence.migrate import current_revision, downgrade
from cis_server.persistence.schema import ensure_schema, has_current_schema, newest_revision


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE alembic_version SET version_num = '0001'",
        "DELETE FROM time_zones WHERE name = 'Australia/Sydney'",
        "DROP TABLE procrastinate_jobs CASCADE",
        "DELETE FROM alembic_version",
    ],
)
def test_whatever_is_missing_is_seen(database_url: str, damage: str) -> None:
    assert has_current_schema(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute(damage)
    assert not has_current_schema(database_url)


def test_what_is_missing_is_added(database_url: str) -> None:
    downgrade(database_url, "0001")
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM time_zones")
    ensure_schema(database_url)
    assert has_current_schema(database_url)
    assert current_revision(database_url) == newest_revision()


def test_a_database_that_is_away_is_no_database_without_a_schema() -> None:
    with pytest.raises(StoreUnavailable):
        ensure_schema("postgresql://nobody@127.0.0.1:9/none")


def test_looking_loads_nothing_that_changes_schemas(database_url: str) -> None:
    code = (
        "import sys; from cis_server.persistence.schema import ensure_schema;"
        f" ensure_schema({database_url!r});"
        " print(*({'alembic', 'sqlalchemy', 'procrastinate'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not run.stdout.split()
