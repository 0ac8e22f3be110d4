"""A start looks whether the schema is in place, and changes only what is not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from cis_server.errors import StoreUnavailable
from cis_server.persistence import schema
from cis_server.persistence.database import opened_database
from cis_server.persistence.migrate import current_revision, downgrade, migrate
from cis_server.persistence.schema import (
    ForeignSchema,
    ensure_schema,
    fingerprint,
    has_current_schema,
    newest_revision,
)


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


CHANGED = "COMMENT ON TABLE alembic_version IS 'other migrations'"
UNSIGNED = "COMMENT ON TABLE alembic_version IS NULL"


def damaged(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ([CHANGED], "revision 0002 has changed since"),
        ([CHANGED, "UPDATE alembic_version SET version_num = '0001'"], "0001 has changed since"),
        (["UPDATE alembic_version SET version_num = '9999'"], "9999, which this version does not"),
        # From before there were signatures: its tables tell.
        ([UNSIGNED, "ALTER TABLE leads DROP COLUMN seniority"], "its tables are not those"),
        (
            [UNSIGNED, "UPDATE alembic_version SET version_num = '0001'"],
            "its tables are not those",
        ),
    ],
)
def test_a_database_of_another_state_of_the_program_is_refused_in_one_line(
    database_url: str, damage: list[str], words: str
) -> None:
    damaged(database_url, *damage)
    for bring_up in (ensure_schema, migrate):
        with pytest.raises(ForeignSchema, match=words) as told:
            bring_up(database_url)
        assert "use a new data folder (CIS_DATA_DIR)" in str(told.value)
        assert "\n" not in str(told.value)


def test_one_that_nobody_signed_is_signed_when_its_tables_agree(database_url: str) -> None:
    damaged(database_url, UNSIGNED)
    assert not has_current_schema(database_url)
    ensure_schema(database_url)
    assert has_current_schema(database_url)


def test_words_and_layout_of_a_migration_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_VERSIONS", tmp_path)

    def of(python: str, sql: str, later: str = "x") -> str:
        (tmp_path / "0001_a.py").write_text(python)
        (tmp_path / "0001_a.sql").write_text(sql)
        (tmp_path / "0002_b.sql").write_text(later)
        return fingerprint.__wrapped__("0001")

    first = of(
        '"""Words."""\ndef up():\n    """More."""\n    run(1)\n', "CREATE  TABLE a (-- b\nc int)"
    )
    assert (
        of('"""Other."""\n\n\ndef up():\n    run(1)  # so\n', "CREATE TABLE a (\nc int)", "y")
        == first
    )
    assert of("def up():\n    run(2)\n", "CREATE TABLE a (c int)") != first
    assert of("def up():\n    run(1)\n", "CREATE TABLE a (c text)") != first


def test_a_command_says_it_in_one_line(database_url: str) -> None:
    damaged(database_url, CHANGED)
    done = subprocess.run(
        [sys.executable, "-m", "cis_server", "serve", "--port=0", "--http-port=0"],
        env={**os.environ, "CIS_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    (line,) = done.stderr.strip().splitlines()
    assert "another state of this program" in line


def test_a_throwaway_database_is_made_anew() -> None:
    with tempfile.TemporaryDirectory(prefix="cis-schema-") as name:
        place = Path(name)
        place.chmod(0o711)
        with opened_database(None, place) as url:
            damaged(url, "CREATE TABLE left_over AS SELECT 1 AS n", CHANGED)
            with pytest.raises(ForeignSchema), opened_database(None, place):
                pass
            with opened_database(None, place, throwaway=True) as again:
                assert again == url
                assert has_current_schema(url)
                with psycopg.connect(url) as connection:
                    found = connection.execute("SELECT to_regclass('left_over')").fetchone()
                assert found == (None,)


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
