"""Backfill over a real Postgres: wrong marks go, what is missing is made, twice is as once."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cis_server.capture.content_features import content_snapshot
from cis_server.domain.lead import Lead
from cis_server.domain.runs import BackfillCounts, LearnOptions, Run, Stage
from cis_server.domain.vocabulary import RunState, RunTrigger
from cis_server.errors import NotFound, PreconditionFailed
from cis_server.learning.stages import Stages
from cis_server.persistence.backfill import step
from cis_server.persistence.connections import make_engine
from cis_server.persistence.runs import Runs
from cis_server.serving.learning_runs import LearningRuns
from cis_server.worker.backfill import Backfill
from cis_server.worker.learner import Learner

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
BODY = "Hi Ann, are you struggling with hiring? Book a call: https://example.org/book"


class Deferred:
    """Keeps what was queued."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str]] = []

    def defer_learn(self, client_id: str, run_id: str) -> None:
        self.jobs.append((client_id, run_id))


class Place:
    """A database with one client whose history was written by other programs, and a worker."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.engine = make_engine(url)
        self.runs = Runs(self.engine)
        self.queue = Deferred()
        self.requests = LearningRuns(self.runs, self.queue)
        self.learner = Learner(self.engine, url, folder, self.requests, lambda: NOW)

    def execute(self, statement: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            done = connection.execute(statement, values)
            return done.fetchall() if done.description else []

    def backfilled(self, *, force: bool = False, **options: Any) -> Run:
        wanted = LearnOptions(as_of=NOW, **options)
        requested = self.requests.request_backfill("c", wanted, force=force)
        self.learner.learn("c", requested.run_id, will_be_retried=False)
        (run,) = self.requests.read(requested.run_id)
        assert run.state is RunState.SUCCEEDED, run.error
        assert run.trigger is RunTrigger.BACKFILL
        return run

    def state(self) -> Sequence[tuple[Any, ...]]:
        """Everything a backfill may change."""
        return [
            *self.execute(
                "SELECT lead_id, idempotency_key, converting, content_snapshot FROM activities"
                " ORDER BY 1, 2"
            ),
            *self.execute(
                "SELECT lead_id, components, status, scorer_version, components_at_first_touch"
                " FROM leads ORDER BY 1"
            ),
        ]


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Iterator[Place]:
    it = Place(database_url, tmp_path)
    _plant(it)
    yield it
    it.requests.close()
    it.engine.dispose()


def _plant(place: Place) -> None:
    """A lead that converted between its second and third touch, marked by the last edit of the
    lead, which is wrong; one that was contacted and never scored; two that were never contacted."""
    place.execute("INSERT INTO clients (client_id, subscription_status) VALUES ('c', 'active')")
    place.execute(
        "INSERT INTO leads (client_id, lead_id, first_name, company_name, industry, title, email,"
        " status, stated_converted_at) VALUES"
        " ('c', 'won', 'Ann', 'Kelp Ltd', 'software', 'CEO', 'a@example.org', 'converted', %s),"
        " ('c', 'asked', 'Bob', 'Moss', 'farming', 'CFO', 'b@example.org', 'in_sequence', NULL),"
        " ('c', 'new', 'Cat', 'Fern', 'software', 'CEO', 'c@example.org', 'new', NULL),"
        " ('c', 'old', 'Dan', 'Reed', 'software', 'CTO', 'd@example.org', 'not_interested', NULL)",
        NOW - 20 * DAY,
    )
    for key, lead, days, body in (
        ("t1", "won", 30, BODY),
        ("t2", "won", 22, "Following up"),
        ("t3", "won", 10, ""),
        ("t4", "asked", 30, BODY),
        ("t5", "asked", 120, BODY),
    ):
        place.execute(
            "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at, subject,"
            " full_message_body, idempotency_key) VALUES ('c', %s, 'email', 'sent', %s, 'Hello',"
            " nullif(%s, ''), %s)",
            lead,
            NOW - days * DAY,
            body,
            key,
        )
    # What another program marked, by its own rules.
    place.execute("UPDATE activities SET converting = true WHERE idempotency_key IN ('t3', 't4')")


def _marked(place: Place) -> set[str]:
    return {
        row[0] for row in place.execute("SELECT idempotency_key FROM activities WHERE converting")
    }


def test_wrong_marks_go_and_what_is_missing_is_made(place: Place) -> None:
    run = place.backfilled()
    assert _marked(place) == {"t2"}
    assert BackfillCounts.from_json(run.counts) == BackfillCounts(
        touches_marked=1, marks_cleared=2, snapshots_rebuilt=3, leads_scored=2
    )
    # Too few conversions to learn from: the backfill itself ended well all the same.
    assert run.result is None
    assert "nothing learned: 1 conversions" in run.message
    snapshots = dict(
        place.execute("SELECT idempotency_key, content_snapshot FROM activities ORDER BY 1")
    )
    ann = Lead(lead_id="won", first_name="Ann", company_name="Kelp Ltd", industry="software")
    assert snapshots["t1"] == json.loads(json.dumps(content_snapshot("Hello", BODY, ann, "email")))
    # No body, nothing to tell; and what lies before the look-back stays as it is.
    assert snapshots["t3"] is None
    assert snapshots["t5"] is None
    scored = place.execute(
        "SELECT lead_id, status, components_at_first_touch = components, scorer_version"
        " FROM leads WHERE components IS NOT NULL ORDER BY 1"
    )
    # Scored only where nobody was contacted yet, and flagged as made afterwards.
    assert [row[:3] for row in scored] == [("new", "scored", True), ("old", "not_interested", True)]
    assert all(row[3].endswith("+backfill") for row in scored)


def test_twice_is_as_once(place: Place) -> None:
    place.backfilled()
    before = place.state()
    again = place.backfilled()
    assert BackfillCounts.from_json(again.counts) == BackfillCounts()
    assert place.state() == before


def test_a_dry_run_counts_and_changes_nothing(place: Place) -> None:
    before = place.state()
    run = place.backfilled(dry_run=True)
    assert BackfillCounts.from_json(run.counts) == BackfillCounts(
        touches_marked=1, marks_cleared=2, snapshots_rebuilt=3, leads_scored=2
    )
    assert place.state() == before


def test_an_attempt_that_is_repeated_counts_nothing_twice(place: Place) -> None:
    options = LearnOptions(as_of=NOW)
    requested = place.requests.request_backfill("c", options, force=False)
    first = place.runs.claim("c", requested.run_id, "test")
    assert first is not None
    # The first attempt dies after the marks were put right.
    backfill = Backfill(place.engine, lambda: NOW, "test")
    with pytest.raises(KeyboardInterrupt):
        backfill.run(first, _dying_stages())
    place.learner.learn("c", requested.run_id, will_be_retried=False)
    (run,) = place.requests.read(requested.run_id)
    assert run.attempts == 2
    assert BackfillCounts.from_json(run.counts) == BackfillCounts(
        touches_marked=1, marks_cleared=2, snapshots_rebuilt=3, leads_scored=2
    )


def _dying_stages() -> Stages:
    def killed(stage: str, fraction: float, message: str, finished: Sequence[Stage]) -> None:
        del fraction, message, finished
        if stage == "content":
            raise KeyboardInterrupt

    return Stages(lambda: NOW, killed)


def test_who_may_be_backfilled(place: Place) -> None:
    options = LearnOptions(as_of=NOW)
    with pytest.raises(NotFound):
        place.requests.request_backfill("nobody", options, force=False)
    place.execute(
        "INSERT INTO patterns (client_id, pattern_type, patterns, sample_size, confidence,"
        " valid_until) VALUES ('c', 'who', '{}', 1, 0.5, %s)",
        NOW + DAY,
    )
    with pytest.raises(PreconditionFailed) as refused:
        place.requests.request_backfill("c", options, force=False)
    assert refused.value.reason == "HAS_VALID_PATTERNS"
    requested = place.requests.request_backfill("c", options, force=True)
    # Asking again attaches to the one under way; learning does not stand for it.
    assert place.requests.request_backfill("c", options, force=True).run_id == requested.run_id
    assert place.queue.jobs == [("c", requested.run_id)]
    place.runs.claim("c", requested.run_id, "test")
    place.runs.fail("c", requested.run_id, "INTERNAL", "for the test", attempt=1)
    learning = place.runs.request("c", str(uuid.uuid4()), options)
    with pytest.raises(PreconditionFailed) as refused:
        place.requests.request_backfill("c", options, force=True)
    assert refused.value.reason == "RUN_UNDER_WAY"
    assert learning in str(refused.value)


def test_all_that_need_one(place: Place) -> None:
    for client, status, touches in (("busy", "active", 50), ("idle", "active", 49)):
        place.execute(
            "INSERT INTO clients (client_id, subscription_status) VALUES (%s, %s)", client, status
        )
        place.execute("INSERT INTO leads (client_id, lead_id) VALUES (%s, 'l')", client)
        place.execute(
            "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at)"
            " SELECT %s, 'l', 'email', 'sent', %s::timestamptz - i * interval '1 hour'"
            " FROM generate_series(1, %s) i",
            client,
            NOW,
            touches,
        )
    requested = place.requests.request_backfill_all(LearnOptions(as_of=NOW), force=False)
    assert set(requested.runs) == {"busy"}
    assert {s.client_id: s.reason for s in requested.skipped} == {
        "c": "4 touches in the look-back, 50 are needed",
        "idle": "49 touches in the look-back, 50 are needed",
    }


def test_a_step_of_a_dry_run_leaves_nothing(place: Place) -> None:
    options = LearnOptions(as_of=NOW, dry_run=True)
    run = Run(client_id="c", run_id="r", state=RunState.RUNNING, options=options)
    with step(place.engine, run) as connection:
        connection.exec_driver_sql("UPDATE leads SET title = 'x'")
    assert place.execute("SELECT count(*) FROM leads WHERE title = 'x'") == [(0,)]
