"""The figures behind health warnings, of planted histories in a real database."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
import pytest
from sklearn.metrics import average_precision_score
from sqlalchemy import Engine

from cis_server.domain.health import ClientHealth, HealthFigures, Severity, WarningType
from cis_server.domain.vocabulary import PatternType
from cis_server.learning.health import client_health
from cis_server.persistence.connections import make_engine
from cis_server.persistence.health import HealthReader, save_health
from cis_server.persistence.rederive import rederive

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


class Place:
    """Writes rows as the owner of the database, and checks."""

    def __init__(self, url: str, engine: Engine) -> None:
        self.engine = engine
        self._url = url

    def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        names = list(rows[0])
        columns, marks = ", ".join(names), ", ".join(["%s"] * len(names))
        values = [
            tuple(json.dumps(v) if isinstance(v, dict) else v for v in row.values()) for row in rows
        ]
        with psycopg.connect(self._url) as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)

    def client(self, client_id: str, **columns: Any) -> None:
        known = {"subscription_status": "active", "created_at": NOW - 300 * DAY}
        self.insert("clients", [{"client_id": client_id, **known, **columns}])

    def derive(self, client_id: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL ROLE cis_owner")
            rederive(connection, client_id)

    def figures(self, client_id: str) -> HealthFigures:
        (found,) = HealthReader(self.engine).figures(client_id, NOW)
        return found

    def health(self, client_id: str) -> ClientHealth:
        return client_health(self.figures(client_id), NOW)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url) as connection:
            return connection.execute(statement, values).fetchall()


@pytest.fixture
def place(database_url: str) -> Iterator[Place]:
    engine = make_engine(database_url)
    yield Place(database_url, engine)
    engine.dispose()


def types(health: ClientHealth) -> set[WarningType]:
    return {warning.type for warning in health.warnings}


def leads(n: int, **columns: Any) -> list[dict[str, Any]]:
    """Rows of leads; a function among the columns is given the number of the lead."""
    return [
        {"lead_id": f"l{i:04}"}
        | {name: value(i) if callable(value) else value for name, value in columns.items()}
        for i in range(n)
    ]


def test_a_client_whose_learning_never_worked_is_checked(place: Place) -> None:
    place.client("silent")
    place.client("gone", deleted_at=NOW)
    place.client("paused", subscription_status="paused")
    place.insert(
        "leads",
        leads(
            25,
            client_id="silent",
            status="converted",
            stated_converted_at=NOW - 5 * DAY,
        ),
    )
    place.derive("silent")
    found = HealthReader(place.engine).figures(None, NOW)
    assert [figures.client_id for figures in found] == ["silent"]
    assert found[0].flow.conversions == 25
    health = client_health(found[0], NOW)
    assert types(health) == {WarningType.STALE_RUN, WarningType.NO_CONVERTING_TOUCH}
    assert health.high_count == 2
    # One that is asked for by name is checked whatever its subscription.
    assert place.figures("paused").client_id == "paused"
    assert HealthReader(place.engine).figures("gone", NOW) == []
    assert HealthReader(place.engine).figures("nobody", NOW) == []


def test_a_learned_client_is_not_stale_until_eight_days(place: Place) -> None:
    place.client("c")
    place.insert(
        "leads",
        leads(25, client_id="c", status="converted", stated_converted_at=NOW - 5 * DAY),
    )
    place.derive("c")
    run = {"client_id": "c", "run_id": "r1", "state": "succeeded", "results": {"x": 1}}
    place.insert("learning_runs", [run | {"finished_at": NOW - 7.9 * DAY}])
    dry = run | {"run_id": "dry", "dry_run": True, "finished_at": NOW}
    failed = run | {"run_id": "bad", "state": "failed", "finished_at": NOW}
    place.insert("learning_runs", [dry])
    place.insert("learning_runs", [failed])
    assert place.figures("c").last_success_at == NOW - 7.9 * DAY
    assert WarningType.STALE_RUN not in types(place.health("c"))
    late = client_health(place.figures("c"), NOW + 0.2 * DAY)
    assert WarningType.STALE_RUN in types(late)


def test_flow_of_data(place: Place) -> None:
    place.client("c")
    place.insert(
        "leads",
        leads(
            40,
            client_id="c",
            timezone=lambda i: "Australia/Sydney" if i < 20 else None,
            status=lambda i: "converted" if i < 4 else "in_sequence",
            stated_converted_at=lambda i: NOW - 3 * DAY if i < 4 else None,
        ),
    )
    place.insert(
        "activities",
        [
            {
                "client_id": "c",
                "lead_id": f"l{i:04}",
                "channel": "email",
                "action": "sent",
                "occurred_at": NOW - 10 * DAY,
                "full_message_body": "hello",
                "content_snapshot": {"word_count": 1} if i < 10 else None,
                "idempotency_key": f"k{i}",
            }
            for i in range(40)
        ],
    )
    place.insert(
        "email_events",
        [
            {
                "client_id": "c",
                "activity_id": row[0],
                "lead_id": row[1],
                "event_type": "opened",
                "occurred_at": NOW - 9 * DAY,
                "reported_machine": row[1] < "l0020",
            }
            for row in place.query(
                "SELECT activity_id, lead_id FROM activities WHERE lead_id < 'l0032'"
            )
        ],
    )
    place.derive("c")
    flow = place.figures("c").flow
    assert (flow.conversions, flow.marked) == (4, 4)
    assert (flow.touches, flow.with_content) == (40, 10)
    assert (flow.timed, flow.with_local_time) == (40, 20)
    assert (flow.opened, flow.machine_only) == (32, 20)
    assert types(place.health("c")) == {
        WarningType.SNAPSHOT_COVERAGE,
        WarningType.LOCAL_TIME_COVERAGE,
        WarningType.MACHINE_OPENS,
    }


def test_calibration_looks_at_the_score_before_contact_and_a_month_later(place: Place) -> None:
    place.client("c")
    contacted = NOW - 60 * DAY

    def components(i: int) -> dict[str, float]:
        return {"data_quality": float(i % 10), "authority": float(i // 10)}

    place.insert(
        "leads",
        leads(
            200,
            client_id="c",
            components_at_first_touch=components,
            # Scored again since: what that says of a lead includes what became of it.
            score=99,
            scored_at=NOW,
            status=lambda i: "converted" if i < 40 or i > 195 else "in_sequence",
            stated_converted_at=lambda i: (
                contacted + 10 * DAY if i < 40 else contacted + 40 * DAY if i > 195 else None
            ),
        ),
    )
    place.insert(
        "activities",
        [
            {
                "client_id": "c",
                "lead_id": f"l{i:04}",
                "channel": "voice",
                "action": "sent",
                "occurred_at": contacted,
            }
            for i in range(200)
        ],
    )
    place.derive("c")
    seen = place.figures("c").calibration
    # Those that converted after 40 days count as not converted within 30.
    assert (seen.leads, seen.converted) == (200, 40)
    assert (seen.top_leads, seen.top_converted) == (20, 0)
    (warning,) = [w for w in place.health("c").warnings if w.type is WarningType.CALIBRATION]
    assert warning.value == 0.0
    assert warning.bound == pytest.approx(0.2)


def models(client_id: str, kind: str, **columns: Any) -> dict[str, Any]:
    return {
        "client_id": client_id,
        "model_id": f"{kind}-{columns.get('version', 2)}",
        "kind": kind,
        "version": 2,
        "state": "live",
        "as_of": NOW - 60 * DAY,
        "promoted_at": NOW - 60 * DAY,
        **columns,
    }


def test_average_precision_is_that_of_scikit_learn(place: Place) -> None:
    rng = np.random.default_rng(5)
    place.client("c")
    place.insert(
        "models",
        [
            models(
                "c",
                "propensity",
                target="converted",
                parameters={},
                metrics={"pr_auc": 0.9},
                promoted_at=NOW - 100 * DAY,
            )
        ],
    )
    # Ties on purpose, and another version's leads, which do not count.
    probability = rng.integers(0, 12, 300) / 20.0
    converted = rng.random(300) < probability
    day = rng.integers(31, 95, 300)
    place.insert(
        "leads",
        leads(
            300,
            client_id="c",
            conversion_probability=lambda i: float(probability[i]),
            probability_version=lambda i: "propensity-2" if i < 250 else "propensity-1",
            scored_at=NOW - 99 * DAY,
            status=lambda i: "converted" if converted[i] else "in_sequence",
            stated_converted_at=lambda i: (
                NOW - int(day[i]) * DAY + 2 * DAY if converted[i] else None
            ),
        ),
    )
    place.insert(
        "activities",
        [
            {
                "client_id": "c",
                "lead_id": f"l{i:04}",
                "channel": "email",
                "action": "sent",
                "occurred_at": NOW - int(day[i]) * DAY,
            }
            for i in range(300)
        ],
    )
    place.derive("c")
    (model,) = place.figures("c").models
    now, then = np.arange(300) < 250, (np.arange(300) < 250) & (day >= 44)
    assert model.recent_pr_auc == pytest.approx(
        average_precision_score(converted[now], probability[now])
    )
    assert model.earlier_pr_auc == pytest.approx(
        average_precision_score(converted[then], probability[then])
    )
    assert model.recent_converted == int(converted[now].sum())
    health = place.health("c")
    assert WarningType.MODEL_DRIFT in types(health)
    assert [version.model_id for version in health.drifted] == ["propensity-2"]


# Meetings and deals of lead i, by target: what counts within the target's days and what does not.
EVENTS: dict[str, tuple[int, str, dict[str, Any], dict[str, Any]]] = {
    "call_booked": (7, "meetings", {"booked_at": 6}, {"booked_at": 8}),
    "qualified": (14, "deals", {"opened_at": 13}, {"opened_at": 15}),
    "customer": (
        30,
        "deals",
        {"opened_at": 5, "closed_at": 29, "stage": "closed_won"},
        {"opened_at": 5, "closed_at": 29, "stage": "closed_lost"},
    ),
}


@pytest.mark.parametrize("target", EVENTS)
def test_every_target_is_judged_by_its_own_event(place: Place, target: str) -> None:
    """The probability was right for one half of the leads and wrong for the other."""
    days, table, reached, missed = EVENTS[target]
    place.client("c")
    metrics = {"pr_auc": 0.9, "follow_up_days": days}
    live = models("c", "propensity", target=target, parameters={}, metrics=metrics,
                  promoted_at=NOW - 100 * DAY)  # fmt: skip
    place.insert("models", [live])
    n, contact = 120, NOW - 60 * DAY
    probability = np.arange(n) / n
    place.insert(
        "leads",
        leads(n, client_id="c", conversion_probability=lambda i: float(probability[i]),
              probability_version="propensity-2", scored_at=NOW - 99 * DAY),
    )  # fmt: skip
    touch = {"client_id": "c", "channel": "email", "action": "sent", "occurred_at": contact}
    place.insert("activities", [{**touch, "lead_id": f"l{i:04}"} for i in range(n)])
    hit = np.arange(n) % 4 == 0
    for which, event in ((0, reached), (1, missed)):
        place.insert(
            table,
            [
                {"client_id": "c", f"{table[:-1]}_id": f"e{i}", "lead_id": f"l{i:04}"}
                | {
                    name: contact + value * DAY if isinstance(value, int) else value
                    for name, value in event.items()
                }
                for i in np.flatnonzero(hit if which == 0 else ~hit).tolist()
            ],
        )
    place.derive("c")
    (model,) = place.figures("c").models
    assert (model.target, model.recent_converted) == (target, int(hit.sum()))
    assert model.recent_pr_auc == pytest.approx(average_precision_score(hit, probability))
    assert [version.model_id for version in place.health("c").drifted] == ["propensity-2"]


def test_a_shift_of_the_leads_is_told_by_feature(place: Place) -> None:
    place.client("c")
    place.insert("models", [models("c", "weights", parameters={"authority": 0.2})])
    place.insert(
        "leads",
        leads(
            400,
            client_id="c",
            # The last 200 are contacted after the learning, and are of another industry.
            industry=lambda i: "software" if i < 200 or i % 10 == 0 else " Mining ",
            country=lambda i: ("Australia", "New Zealand")[i % 2],
        ),
    )
    place.insert(
        "activities",
        [
            {
                "client_id": "c",
                "lead_id": f"l{i:04}",
                "channel": "email",
                "action": "sent",
                "occurred_at": NOW - (90 if i < 200 else 10) * DAY,
            }
            for i in range(400)
        ],
    )
    place.derive("c")
    shifts = {shift.feature: shift for shift in place.figures("c").shifts}
    assert shifts["industry"].reference == {"software": 200, "mining": 0}
    assert shifts["industry"].current == {"software": 20, "mining": 180}
    told = [w for w in place.health("c").warnings if w.type is WarningType.DRIFT]
    assert [w.message.split()[0] for w in told] == ["industry"]


def test_patterns_and_weights(place: Place) -> None:
    place.client("c", conversion_sample_count=40)
    place.insert(
        "patterns",
        [
            {
                "client_id": "c",
                "pattern_type": kind,
                "patterns": {},
                "sample_size": size,
                "confidence": confidence,
                "valid_until": NOW + left * DAY,
            }
            for kind, size, confidence, left in (
                ("who", 100, 0.9, 10),
                ("what", 20, 0.4, 2),
                ("when", 100, 0.9, -1),
            )
        ],
    )
    before = {"data_quality": 0.2, "authority": 0.25, "company_fit": 0.25, "timing": 0.15}
    after = {"data_quality": 0.05, "authority": 0.5, "company_fit": 0.20, "timing": 0.10}
    place.insert(
        "models",
        [
            models("c", "weights", version=1, state="retired", parameters=before),
        ],
    )
    place.insert(
        "models",
        [
            models(
                "c",
                "weights",
                parameters=after,
                replaced_id="weights-1",
                metrics={"intervals": {"authority": [0.4, 0.6], "data_quality": [0.01, 0.3]}},
            )
        ],
    )
    health = place.health("c")
    said = {(w.type, w.pattern) for w in health.warnings}
    assert said == {
        (WarningType.EXPIRED, PatternType.WHEN),
        (WarningType.EXPIRING_SOON, PatternType.WHAT),
        (WarningType.LOW_SAMPLE, PatternType.WHAT),
        (WarningType.LOW_CONFIDENCE, PatternType.WHAT),
        (WarningType.MISSING_PATTERN, PatternType.HOW),
        (WarningType.EXTREME_WEIGHT_HIGH, None),
        (WarningType.EXTREME_WEIGHT_LOW, None),
        (WarningType.WEIGHT_DRIFT, None),
    }
    assert [w.severity for w in health.warnings] == sorted(
        (w.severity for w in health.warnings), reverse=True
    )
    assert all(w.remedy and w.message for w in health.warnings)
    assert [version.model_id for version in health.drifted] == ["weights-2"]


def test_results_of_a_day_are_kept_once(place: Place) -> None:
    place.client("c", conversion_sample_count=40)
    health = place.health("c")
    assert {w.severity for w in health.warnings} == {Severity.HIGH}
    gone = ClientHealth(client_id="no such client", warnings=())
    save_health(place.engine, [health, gone], NOW)
    save_health(place.engine, [health], NOW + dt.timedelta(hours=1))
    rows = place.query("SELECT client_id, warning_count, high_count, warnings FROM health_checks")
    assert [row[:3] for row in rows] == [("c", 4, 4)]
    assert {w["type"] for w in rows[0][3]} == {"missing_pattern"}
    assert all(w["remedy"] for w in rows[0][3])
