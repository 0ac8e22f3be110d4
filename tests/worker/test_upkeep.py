"""The daily tasks over a real Postgres: results kept, operators told, drift taken back."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from cis_server.domain.runs import LearnOptions
from cis_server.domain.vocabulary import RunState
from cis_server.persistence.runs import Runs
from cis_server.serving.learning_runs import LearningRuns
from cis_server.worker.learner import Learner
from cis_server.worker.upkeep import Upkeep

NOW = dt.datetime(2026, 6, 1, 6, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
BEFORE = {"data_quality": 0.2, "authority": 0.25, "company_fit": 0.25, "timing": 0.15, "risk": 0.15}
AFTER = {"data_quality": 0.15, "authority": 0.42, "company_fit": 0.2, "timing": 0.13, "risk": 0.1}

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    with psycopg.connect(database_url, autocommit=True) as connection:

        def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            done = connection.execute(statement, values)
            return done.fetchall() if done.description else []

        yield run


def plant(sql: Sql, client_id: str, promotion: str) -> None:
    """A client whose live weights have moved further than their interval explains."""
    sql(
        "INSERT INTO clients (client_id, subscription_status, policy) VALUES (%s, 'active', %s)",
        client_id,
        json.dumps({"promotion": promotion}),
    )
    for version, state, weights, replaced in (
        (1, "retired", BEFORE, None),
        (2, "live", AFTER, "one"),
    ):
        sql(
            "INSERT INTO models (client_id, model_id, kind, version, state, parameters, metrics,"
            " promoted_at, replaced_id, valid_until, as_of) VALUES"
            " (%s, %s, 'weights', %s, %s, %s, %s, %s, %s, %s, %s)",
            client_id,
            ("one", "two")[version - 1],
            version,
            state,
            json.dumps(weights),
            json.dumps({"intervals": {"authority": [0.38, 0.46]}}),
            NOW - (9 - version) * DAY,
            replaced,
            NOW + 7 * DAY,
            NOW - 9 * DAY,
        )


def test_alerts_are_kept_and_logged_and_drift_is_taken_back_by_policy(
    database: Engine, sql: Sql, tmp_path: Path
) -> None:
    plant(sql, "auto", "auto")
    plant(sql, "manual", "manual")
    sql("INSERT INTO clients (client_id, subscription_status) VALUES ('fine', 'trialing')")
    upkeep = Upkeep(database, tmp_path, lambda: NOW)
    with capture_logs() as logs:
        upkeep.check_health()
    alerts = {entry["client"]: entry for entry in logs if entry["event"] == "health_alert"}
    assert set(alerts) == {"auto", "manual"}
    assert alerts["auto"]["types"] == ["weight_drift"]
    assert alerts["auto"]["log_level"] == "error"
    (summary,) = [entry for entry in logs if entry["event"] == "health_checked"]
    assert (summary["clients"], summary["healthy"], summary["alerts"]) == (3, 1, 2)
    assert sql("SELECT client_id, high_count FROM health_checks ORDER BY 1") == [
        ("auto", 1),
        ("fine", 0),
        ("manual", 1),
    ]
    states = "SELECT version, state FROM models WHERE client_id = %s ORDER BY 1"
    assert sql(states, "auto") == [(1, "live"), (2, "rolled_back")]
    assert sql(states, "manual") == [(1, "retired"), (2, "live")]
    ((reason,),) = sql("SELECT reason FROM models WHERE client_id = 'auto' AND version = 2")
    assert reason.startswith("drift alarm: the weight of authority went from 0.250 to 0.420")
    # The next day there is nothing more to take back.
    with capture_logs() as logs:
        Upkeep(database, tmp_path, lambda: NOW + DAY).check_health()
    assert not [entry for entry in logs if entry["event"] == "rolled_back"]
    assert sql("SELECT count(*) FROM health_checks") == [(6,)]


def test_data_that_are_not_sound_end_the_run_and_every_reading_is_written_down(
    database: Engine, database_url: str, sql: Sql, tmp_path: Path
) -> None:
    sql("INSERT INTO clients (client_id, subscription_status) VALUES ('c', 'active')")
    sql("INSERT INTO leads (client_id, lead_id) VALUES ('c', 'l')")
    sql(
        "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at)"
        " VALUES ('c', 'l', 'email', 'sent', %s), ('c', 'l', 'email', 'sent', %s)",
        NOW - DAY,
        NOW + 3 * DAY,
    )
    runs = Runs(database)
    requests = LearningRuns(runs, queue=None)  # type: ignore[arg-type]
    learner = Learner(database, database_url, tmp_path, requests, lambda: NOW)
    runs.request("c", "run", LearnOptions(as_of=NOW))
    learner.learn("c", "run", will_be_retried=False)
    (ended,) = runs.read(["run"])["run"]
    assert ended.state is RunState.FAILED
    assert ended.error_code == "DATA_QUALITY"
    assert ended.error.endswith(
        "the data are not sound: 1 events or conversions lie in the future; none may"
    )
    assert sql("SELECT actor LIKE 'learning %%', action, subject FROM access_audit") == [
        (True, "extract", "run")
    ]
    # Forced, it goes on without them.
    runs.request("c", "forced", LearnOptions(as_of=NOW, force=True))
    learner.learn("c", "forced", will_be_retried=False)
    (ended,) = runs.read(["forced"])["forced"]
    assert ended.state is RunState.SUCCEEDED, ended.error
    assert ended.result is not None
    assert ended.result.activities == 1
    ((manifest,),) = sql("SELECT manifest FROM dataset_snapshots")
    assert {"code_version", "python", "libraries", "rows", "content_hash"} <= manifest.keys()
    assert sql("SELECT count(*) FROM access_audit") == [(2,)]
