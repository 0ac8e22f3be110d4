"""Words of events go when the client's policy says so; the events and their measurements stay."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from cis_server.persistence.connections import make_engine
from cis_server.persistence.rederive import drain_dirty
from cis_server.persistence.retention import Removed, clean_up
from cis_server.worker.upkeep import Upkeep

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SNAPSHOT = {"word_count": 40, "cta_type": "soft_ask", "body": "Hi Eva", "links": ["x"]}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    it = make_engine(database_url)
    yield it
    it.dispose()


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def client(sql: psycopg.Connection, client_id: str, policy: Any) -> None:
    sql.execute(
        "INSERT INTO clients (client_id, policy) VALUES (%s, %s)", (client_id, json.dumps(policy))
    )
    sql.execute("INSERT INTO leads (client_id, lead_id) VALUES (%s, 'l')", (client_id,))
    sql.execute(
        "INSERT INTO conversation_threads (client_id, thread_id, lead_id, channel)"
        " VALUES (%s, 't', 'l', 'email')",
        (client_id,),
    )


def events(
    sql: psycopg.Connection, client_id: str, days: float, snapshot: Any = SNAPSHOT
) -> dict[str, str]:
    """A touch with its event, an answer and its message in a thread, so many days ago."""
    at = NOW - days * DAY
    (activity,) = sql.execute(
        "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at, subject,"
        " content_preview, full_message_body, metadata, content_snapshot, user_agent)"
        " VALUES (%s, 'l', 'email', 'sent', %s, 'About Eva', 'Hi', 'Hi Eva', '{\"x\": 1}', %s,"
        " 'Agent') RETURNING activity_id",
        (client_id, at, json.dumps(snapshot)),
    ).fetchone()  # type: ignore[misc]
    (event,) = sql.execute(
        "INSERT INTO email_events (client_id, activity_id, lead_id, event_type, occurred_at,"
        " raw_payload, user_agent) VALUES (%s, %s, 'l', 'opened', %s, '{\"ip\": \"1.2.3.4\"}', 'A')"
        " RETURNING event_id",
        (client_id, activity, at),
    ).fetchone()  # type: ignore[misc]
    (reply,) = sql.execute(
        "INSERT INTO replies (client_id, lead_id, channel, received_at, subject, content, intent,"
        " question_extracted, extracted_data) VALUES (%s, 'l', 'email', %s, 'Re', 'I am Eva',"
        " 'interested', 'what does it cost', '{\"phone\": \"1\"}') RETURNING reply_id",
        (client_id, at),
    ).fetchone()  # type: ignore[misc]
    (message,) = sql.execute(
        "INSERT INTO thread_messages (client_id, thread_id, reply_id, direction, sent_at, content,"
        " content_preview, question_extracted) VALUES (%s, 't', %s, 'inbound', %s, 'I am Eva',"
        " 'I am', 'what does it cost') RETURNING message_id",
        (client_id, reply, at),
    ).fetchone()  # type: ignore[misc]
    return {"activities": activity, "email_events": event, "replies": reply,
            "thread_messages": message}  # fmt: skip


WORDS = {
    "activities": ("activity_id", "subject, content_preview, full_message_body, metadata"),
    "email_events": ("event_id", "raw_payload"),
    "replies": ("reply_id", "subject, content, extracted_data"),
    "thread_messages": ("message_id", "content, content_preview"),
}


def words(sql: psycopg.Connection, ids: dict[str, str]) -> set[bool]:
    """Whether words are left, over all columns of all events."""
    found = set()
    for table, (key, columns) in WORDS.items():
        row = sql.execute(f"SELECT {columns} FROM {table} WHERE {key} = %s", (ids[table],))
        found |= {value is not None for value in row.fetchone() or ()}
    return found


def snapshot_of(sql: psycopg.Connection, ids: dict[str, str]) -> Any:
    row = sql.execute(
        "SELECT content_snapshot FROM activities WHERE activity_id = %s", (ids["activities"],)
    ).fetchone()
    assert row is not None
    return row[0]


def test_words_go_after_the_days_of_the_policy(
    engine: Engine, sql: psycopg.Connection, tmp_path: Path
) -> None:
    client(sql, "short", {"retention_days": 60})
    client(sql, "unset", {})
    old, young = events(sql, "short", 61), events(sql, "short", 59)
    very_old, kept = events(sql, "unset", 731), events(sql, "unset", 729)
    with engine.begin() as connection:
        for name in ("short", "unset"):
            drain_dirty(connection, name)
    derived = (
        "SELECT client_id, occurred_at, touch_number, machine_open, opened_at, replied_at,"
        " conversion_credit, user_agent FROM activities ORDER BY 1, 2"
    )
    before = sql.execute(derived).fetchall()
    assert clean_up(engine, tmp_path, NOW) == Removed(texts=8)
    assert words(sql, old) == words(sql, very_old) == {False}
    assert words(sql, young) == words(sql, kept) == {True}
    # The measurements stay, and so does what everything derived rests on.
    assert snapshot_of(sql, old) == {"word_count": 40, "cta_type": "soft_ask"}
    assert snapshot_of(sql, young) == SNAPSHOT
    assert sql.execute(derived).fetchall() == before
    assert sql.execute("SELECT count(*) FROM dirty_leads").fetchone() == (0,)
    kept_columns = "SELECT intent, question_extracted FROM replies WHERE reply_id = %s"
    assert sql.execute(kept_columns, (old["replies"],)).fetchone() == (
        "interested",
        "what does it cost",
    )
    each = {"activities": 1, "email_events": 1, "replies": 1, "thread_messages": 1}
    audit = "SELECT client_id, actor, action, occurred_at, detail FROM access_audit ORDER BY 1"
    assert sql.execute(audit).fetchall() == [
        (name, "retention", "remove_texts", NOW, each) for name in ("short", "unset")
    ]
    # Nothing is left to do, so nothing is said.
    assert clean_up(engine, tmp_path, NOW) == Removed()
    assert len(sql.execute(audit).fetchall()) == 2
    # The next day one more day is over.
    assert clean_up(engine, tmp_path, NOW + 2 * DAY).texts == 8
    assert words(sql, young) == words(sql, kept) == {False}


@pytest.mark.parametrize(
    "policy",
    [[], "none", {"retention_days": "many"}, {"retention_days": -5}, {"retention_days": 1}],
)
def test_a_broken_policy_stops_nobody_and_removes_nothing_young(
    engine: Engine, sql: psycopg.Connection, tmp_path: Path, policy: Any
) -> None:
    client(sql, "broken", policy)
    client(sql, "sound", {"retention_days": 60})
    young, old = events(sql, "broken", 29), events(sql, "sound", 61)
    odd = [events(sql, "sound", 61, snapshot) for snapshot in ([1], "text", None)]
    assert clean_up(engine, tmp_path, NOW).texts == 16
    assert words(sql, young) == {True}
    assert words(sql, old) == {False}
    assert [snapshot_of(sql, ids) for ids in odd] == [[1], "text", None]
    assert clean_up(engine, tmp_path, NOW).texts == 0


def test_the_daily_task_does_it(engine: Engine, sql: psycopg.Connection, tmp_path: Path) -> None:
    client(sql, "c", {"retention_days": 30})
    ids = events(sql, "c", 31)
    Upkeep(engine, tmp_path, lambda: NOW).clean_up()
    assert words(sql, ids) == {False}
