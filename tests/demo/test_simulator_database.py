"""Simulations in a real Postgres: keys hold, and what the database derives is what was planned."""

from __future__ import annotations

import datetime as dt

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from cis_server.demo.dataset import to_dataset
from cis_server.demo.loading import write
from cis_server.demo.simulator import TABLES, Simulation
from cis_server.domain.dataset import Dataset, Window
from cis_server.errors import PreconditionFailed

AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def stored(two_small: Simulation, module_database_url: str) -> str:
    counts = write(two_small, module_database_url)
    assert counts == {name: len(frame) for name, frame in two_small.tables.items()}
    return module_database_url


@pytest.fixture(scope="module")
def direct(two_small: Simulation) -> Dataset:
    window = Window(start=AS_OF - dt.timedelta(days=1_000), as_of=AS_OF)
    return to_dataset(two_small, "first", window)


def _rows(url: str, query: str, like: pl.DataFrame) -> pl.DataFrame:
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        rows = connection.execute(query).fetchall()
    return pl.DataFrame(rows, schema=like.schema, orient="row")


def test_every_row_is_stored(two_small: Simulation, stored: str) -> None:
    with psycopg.connect(stored) as connection:
        for name in TABLES:
            found = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
            assert found == (len(two_small.tables[name]),), name
        assert connection.execute("SELECT count(*) FROM dirty_leads").fetchone() == (0,)
        clients = connection.execute(
            "SELECT DISTINCT subscription_status, policy->>'promotion' FROM clients"
        ).fetchall()
    assert clients == [("active", "auto")]


def test_derived_touches_agree_with_the_database(stored: str, direct: Dataset) -> None:
    columns = (
        "activity_id, lead_id, channel, action, occurred_at, touch_number, gap_days,"
        " local_weekday, local_hour, lead_timezone, converting, human_opened_at,"
        " human_clicked_at, replied_at, machine_open, minutes_to_open, minutes_to_click,"
        " minutes_to_reply, template_id, ab_variant, links"
    )
    wanted = direct.activities.select(columns.replace(" ", "").split(","))
    query = columns.replace("activity_id", "activity_id::text", 1)
    query = query.replace("minutes_to", "time_to").replace("links", "cardinality(links_included)")
    for kind in ("open", "click", "reply"):
        query = query.replace(f"time_to_{kind}", f"time_to_{kind}_minutes")
    found = _rows(stored, f"SELECT {query} FROM activities WHERE client_id = 'first'", wanted)
    assert_frame_equal(found.sort("activity_id"), wanted.sort("activity_id"), abs_tol=1e-6)


def test_derived_leads_agree_with_the_database(stored: str, direct: Dataset) -> None:
    wanted = direct.leads.select(
        "lead_id", "status", "first_contacted_at", "converted_at", "conversion_type", "tier"
    )
    found = _rows(
        stored,
        "SELECT lead_id, status, first_contacted_at, converted_at, conversion_type, tier"
        " FROM leads WHERE client_id = 'first' AND first_contacted_at IS NOT NULL",
        wanted,
    )
    assert_frame_equal(found.sort("lead_id"), wanted.sort("lead_id"))


def test_derived_events_deals_and_messages_agree_with_the_database(
    stored: str, direct: Dataset
) -> None:
    events = direct.email_events.select("activity_id", "event_type", "occurred_at", "is_machine")
    query = (
        "SELECT activity_id::text, event_type, occurred_at, is_machine FROM email_events"
        " WHERE client_id = 'first'"
    )
    keys = ["activity_id", "occurred_at", "event_type"]
    assert_frame_equal(_rows(stored, query, events).sort(keys), events.sort(keys))

    deals = direct.deals.select(
        "deal_id", "stage", "won", "closed_at", "first_touch_channel", "touches_before_deal"
    )
    query = (
        "SELECT deal_id, stage, won, closed_at, first_touch_channel, touches_before_deal"
        " FROM deals WHERE client_id = 'first' ORDER BY deal_id"
    )
    assert_frame_equal(_rows(stored, query, deals), deals)

    meetings = direct.meetings.select("meeting_id", "converting_channel", "deal_id")
    query = (
        "SELECT meeting_id, converting_channel, deal_id FROM meetings"
        " WHERE client_id = 'first' ORDER BY meeting_id"
    )
    assert_frame_equal(_rows(stored, query, meetings), meetings)

    messages = direct.messages.select("thread_id", "position", "direction", "response_minutes")
    query = (
        "SELECT thread_id, position, direction, response_time_minutes FROM thread_messages"
        " WHERE client_id = 'first' ORDER BY thread_id, position"
    )
    assert_frame_equal(_rows(stored, query, messages), messages, abs_tol=1e-6)

    threads = direct.threads.select("thread_id", "message_count", "their_message_count")
    query = (
        "SELECT thread_id, message_count, their_message_count FROM conversation_threads"
        " WHERE client_id = 'first' ORDER BY thread_id"
    )
    assert_frame_equal(_rows(stored, query, threads), threads)

    stages = direct.deal_stages.drop_nulls("days_in_previous_stage")
    query = (
        "SELECT deal_id, from_stage, to_stage, changed_at, days_in_previous_stage"
        " FROM deal_stage_history WHERE client_id = 'first' AND from_stage IS NOT NULL"
        " ORDER BY deal_id, changed_at"
    )
    assert_frame_equal(_rows(stored, query, stages), stages, abs_tol=1e-6)


def test_machine_and_human_signals_are_told_apart_by_the_database(stored: str) -> None:
    with psycopg.connect(stored) as connection:
        reasons = connection.execute(
            "SELECT user_agent LIKE '%ggpht%' OR user_agent LIKE '%Barracuda%', is_machine,"
            " count(*) FROM email_events WHERE event_type IN ('opened', 'clicked') GROUP BY 1, 2"
        ).fetchall()
    assert {(robot, machine) for robot, machine, _ in reasons} == {(True, True), (False, False)}


def test_text_and_lists_arrive_unchanged(two_small: Simulation, stored: str) -> None:
    wanted = (
        two_small.tables["activities"]
        .filter((pl.col("client_id") == "first") & (pl.col("action") == "sent"))
        .select("activity_id", "full_message_body", "subject", "links_included")
        .sort("activity_id")
    )
    found = _rows(
        stored,
        "SELECT activity_id::text, full_message_body, subject, links_included FROM activities"
        " WHERE client_id = 'first' AND action = 'sent'",
        wanted,
    )
    assert_frame_equal(found.sort("activity_id"), wanted)


def test_an_existing_client_is_replaced_only_when_asked(two_small: Simulation, stored: str) -> None:
    with pytest.raises(PreconditionFailed, match="CLIENT_EXISTS"):
        write(two_small, stored)
    with psycopg.connect(stored) as connection:
        connection.execute("UPDATE leads SET title = 'Changed' WHERE client_id = 'first'")
    write(two_small, stored, replace=True)
    with psycopg.connect(stored) as connection:
        query = "SELECT count(*) FROM leads WHERE title = 'Changed'"
        assert connection.execute(query).fetchone() == (0,)
        found = connection.execute("SELECT count(*) FROM leads").fetchone()
    assert found == (len(two_small.tables["leads"]),)
