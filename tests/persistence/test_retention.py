"""The daily cleanup: what has outlived its time goes, once, and nothing else does."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from cis_server.domain.vocabulary import PatternType
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.patterns import NewPattern, history_page, save_patterns
from cis_server.persistence.retention import Removed, clean_up

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
NOTHING = Removed()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    it = make_engine(database_url)
    yield it
    it.dispose()


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO clients (client_id) VALUES ('c'), ('d')")
        yield connection


def pattern(valid_until: dt.datetime, content: int = 1) -> NewPattern:
    return NewPattern(
        type=PatternType.WHO,
        content={"n": content},
        sample_size=10,
        confidence=0.5,
        computed_at=NOW,
        valid_until=valid_until,
    )


def test_an_expired_pattern_is_archived_after_its_time_of_grace(
    engine: Engine, sql: psycopg.Connection, tmp_path: Path
) -> None:
    with tenant(engine, "c") as connection:
        save_patterns(connection, "c", [pattern(NOW - 13 * DAY)], "r1")
    with tenant(engine, "d") as connection:
        save_patterns(connection, "d", [pattern(NOW - 15 * DAY)], "r1")
    removed = clean_up(engine, tmp_path, NOW)
    assert removed == dataclasses.replace(NOTHING, patterns_archived=1)
    assert clean_up(engine, tmp_path, NOW) == NOTHING
    assert sql.execute("SELECT client_id FROM patterns").fetchall() == [("c",)]
    with tenant(engine, "d") as connection:
        (archived,) = history_page(connection, "d", PatternType.WHO, 10).versions
        assert (archived.version, archived.reason) == (1, "expired")
        # The next one has a number of its own, and can itself be archived later.
        save_patterns(connection, "d", [pattern(NOW - 15 * DAY, 2)], "r2")
    assert sql.execute("SELECT version FROM patterns WHERE client_id = 'd'").fetchall() == [(2,)]
    assert clean_up(engine, tmp_path, NOW).patterns_archived == 1
    with tenant(engine, "d") as connection:
        page = history_page(connection, "d", PatternType.WHO, 10)
    assert [v.version for v in page.versions] == [2, 1]


def test_history_only_when_the_content_changes(engine: Engine, sql: psycopg.Connection) -> None:
    del sql
    with tenant(engine, "c") as connection:
        save_patterns(connection, "c", [pattern(NOW + DAY)], "r1")
        save_patterns(connection, "c", [pattern(NOW + 8 * DAY)], "r2")
        assert history_page(connection, "c", PatternType.WHO, 10).total == 0
        row = connection.exec_driver_sql("SELECT version, run_id, valid_until FROM patterns").one()
        assert tuple(row) == (1, "r2", NOW + 8 * DAY)
        save_patterns(connection, "c", [pattern(NOW + 9 * DAY, 2)], "r3")
        (old,) = history_page(connection, "c", PatternType.WHO, 10).versions
    assert (old.version, old.content, old.run_id) == (1, {"n": 1}, "r2")


def test_history_stays_for_24_months(
    engine: Engine, sql: psycopg.Connection, tmp_path: Path
) -> None:
    for version, days in ((1, 731), (2, 729)):
        sql.execute(
            "INSERT INTO pattern_history (client_id, pattern_type, version, patterns, sample_size,"
            " confidence, valid_until, archived_at) VALUES ('c', 'who', %s, '{}', 1, 0, %s, %s)",
            (version, NOW, NOW - days * DAY),
        )
        sql.execute(
            "INSERT INTO access_audit (client_id, occurred_at, actor, action)"
            " VALUES ('c', %s, 'a', 'read')",
            (NOW - days * DAY,),
        )
        sql.execute(
            "INSERT INTO health_checks (client_id, checked_on, checked_at) VALUES ('c', %s, %s)",
            (NOW - days * DAY, NOW - days * DAY),
        )
    assert clean_up(engine, tmp_path, NOW) == Removed(history=1, audit=1, health_checks=1)
    assert clean_up(engine, tmp_path, NOW) == NOTHING
    assert sql.execute("SELECT version FROM pattern_history").fetchall() == [(2,)]


def model(sql: psycopg.Connection, version: int, state: str, snapshot: str = "") -> None:
    sql.execute(
        "INSERT INTO models (client_id, model_id, kind, version, state, parameters, lineage,"
        " created_at) VALUES ('c', %s, 'weights', %s, %s, '{}', %s, %s)",
        (str(version), version, state, json.dumps({"snapshot_hash": snapshot}), NOW - 800 * DAY),
    )


def test_ten_versions_stay_and_whatever_is_in_force(
    engine: Engine, sql: psycopg.Connection, tmp_path: Path
) -> None:
    model(sql, 1, "retired")
    model(sql, 2, "live")
    model(sql, 3, "rolling_out")
    model(sql, 4, "rejected")
    for version in range(5, 15):
        model(sql, version, "candidate")
    assert clean_up(engine, tmp_path, NOW) == dataclasses.replace(NOTHING, models=2)
    assert clean_up(engine, tmp_path, NOW) == NOTHING
    left = [row[0] for row in sql.execute("SELECT version FROM models ORDER BY 1")]
    assert left == [2, 3, *range(5, 15)]


def snapshot(sql: psycopg.Connection, root: Path, name: str, days: int, client: str = "c") -> Path:
    place = root / client / name
    place.mkdir(parents=True)
    (place / "leads.parquet").write_text("rows")
    sql.execute(
        "INSERT INTO dataset_snapshots (client_id, content_hash, run_id, window_start, as_of, path,"
        " created_at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (client, name, f"run-{name}", NOW, NOW, str(place), NOW - days * DAY),
    )
    return place


def test_datasets_that_nothing_was_learned_from_go(
    engine: Engine, sql: psycopg.Connection, tmp_path: Path
) -> None:
    kept = [snapshot(sql, tmp_path, f"new{i}", 100 + i) for i in range(4)]
    kept.append(snapshot(sql, tmp_path, "live", 300))
    kept.append(snapshot(sql, tmp_path, "only", 300, client="d"))
    gone = snapshot(sql, tmp_path, "old", 200)
    model(sql, 1, "live", "live")
    # A refused version is not made again; its dataset has no reason to stay.
    model(sql, 2, "rejected", "old")
    elsewhere = tmp_path.parent / "elsewhere"
    elsewhere.mkdir()
    sql.execute(
        "INSERT INTO dataset_snapshots (client_id, content_hash, window_start, as_of, path,"
        " created_at) VALUES ('c', 'far', %s, %s, %s, %s)",
        (NOW, NOW, str(elsewhere), NOW - 400 * DAY),
    )
    kept_run = tmp_path / "c" / "runs" / "run-live.json"
    gone_run = tmp_path / "c" / "runs" / "run-old.json"
    kept_run.parent.mkdir()
    for file in (kept_run, gone_run):
        file.write_text("{}")
    # Earlier runs that looked at the same data, and what is no run's.
    earlier = [tmp_path / "c" / "runs" / f"{name}.json" for name in ("first", "second")]
    for file in earlier:
        file.write_text('{"dataset_hash": "old"}')
    others = [tmp_path / "c" / "runs" / f"{name}.json" for name in ("live", "broken", "odd")]
    for file, content in zip(others, ('{"dataset_hash": "live"}', "{", "[1]"), strict=True):
        file.write_text(content)
    leftover = tmp_path / "c" / ".writing-abc"
    fresh = tmp_path / "c" / ".writing-def"
    for folder in (leftover, fresh):
        folder.mkdir()
    os.utime(leftover, (0, (NOW - 2 * DAY).timestamp()))
    os.utime(fresh, (0, NOW.timestamp()))
    assert clean_up(engine, tmp_path, NOW) == dataclasses.replace(NOTHING, datasets=2)
    assert clean_up(engine, tmp_path, NOW) == NOTHING
    assert all(place.exists() for place in kept)
    assert not gone.exists()
    assert not gone_run.exists()
    assert not [file for file in earlier if file.exists()]
    assert all(file.exists() for file in others)
    assert kept_run.exists()
    assert not leftover.exists()
    assert fresh.exists()
    # Nothing outside of the folder is touched, whatever a row says.
    assert elsewhere.exists()
    assert sql.execute("SELECT count(*) FROM dataset_snapshots").fetchone() == (6,)
