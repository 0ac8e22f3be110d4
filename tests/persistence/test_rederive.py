"""What is derived from events: right, whole, repeatable, and whatever the order of arrival."""

from __future__ import annotations

import datetime as dt
import json
import random
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.rederive import drain_all, drain_dirty, loading, rederive

START = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)
MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)


def put(connection: Connection, table: str, **values: Any) -> None:
    ready = {
        key: json.dumps(value) if isinstance(value, dict) else value
        for key, value in {"client_id": "acme", **values}.items()
    }
    names = ", ".join(ready)
    places = ", ".join(f":{key}" for key in ready)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), ready)


def touch(connection: Connection, at: dt.datetime, lead_id: str = "ann", **values: Any) -> str:
    activity_id = str(values.pop("activity_id", uuid.uuid4()))
    row = {"channel": "email", "action": "sent", **values}
    put(connection, "activities", activity_id=activity_id, lead_id=lead_id, occurred_at=at, **row)
    return activity_id


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]


@pytest.fixture
def acme(database: Engine) -> Engine:
    with tenant(database, "acme") as connection:
        put(connection, "clients", client_id="acme")
        put(connection, "leads", lead_id="ann", timezone="Australia/Sydney")
    return database


def test_touches_are_numbered_by_time_within_a_campaign(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        put(connection, "campaigns", campaign_id="spring")
        touch(connection, START + 5 * DAY, channel="voice")
        touch(connection, START)
        touch(connection, START + 2.5 * DAY, channel="linkedin")
        touch(connection, START + 3 * DAY, campaign_id="spring")
        touch(connection, START + 1 * DAY, action="profile_viewed")
        rederive(connection, "acme", ["ann"])
        found = rows(
            connection,
            "SELECT channel, campaign_id, touch_number, gap_days FROM activities"
            " WHERE action = 'sent' ORDER BY occurred_at",
        )
        lead = rows(
            connection,
            "SELECT touch_count, first_contacted_at, last_contacted_at, first_touch_channel"
            " FROM leads",
        )
    assert found == [
        ("email", None, 1, None),
        ("linkedin", None, 2, 2.5),
        ("email", "spring", 1, None),
        ("voice", None, 3, 2.5),
    ]
    assert lead == [(4, START, START + 5 * DAY, "email")]


@pytest.mark.parametrize(
    ("zone", "utc", "weekday"),
    [
        # Clocks change on Sundays: Sydney's on 2026-04-05 and 2026-10-04, New York's on
        # 2026-03-08 and 2026-11-01. Perth keeps its clocks.
        ("Australia/Sydney", "2026-04-03T22:00Z", 6),
        ("Australia/Sydney", "2026-04-04T23:00Z", 7),
        ("Australia/Sydney", "2026-04-05T23:00Z", 1),
        ("Australia/Sydney", "2026-10-02T23:00Z", 6),
        ("Australia/Sydney", "2026-10-03T22:00Z", 7),
        ("Australia/Sydney", "2026-10-04T22:00Z", 1),
        ("Australia/Perth", "2026-04-05T01:00Z", 7),
        ("Australia/Perth", "2026-10-05T01:00Z", 1),
        ("America/New_York", "2026-03-06T14:00Z", 5),
        ("America/New_York", "2026-03-08T13:00Z", 7),
        ("America/New_York", "2026-03-09T13:00Z", 1),
        ("America/New_York", "2026-10-31T13:00Z", 6),
        ("America/New_York", "2026-11-01T14:00Z", 7),
    ],
)
def test_nine_in_the_morning_is_hour_nine_everywhere(
    acme: Engine, zone: str, utc: str, weekday: int
) -> None:
    with tenant(acme, "acme") as connection:
        put(connection, "leads", lead_id="bob", timezone=zone)
        touch(connection, dt.datetime.fromisoformat(utc), "bob")
        rederive(connection, "acme", ["bob"])
        found = rows(
            connection,
            "SELECT lead_timezone, local_weekday, local_hour, local_time FROM activities",
        )
    assert found == [(zone, weekday, 9, dt.time(9))]


def test_unknown_zones_and_coarse_times_stay_out(acme: Engine) -> None:
    noon = dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)  # a Wednesday
    with tenant(acme, "acme") as connection:
        put(connection, "leads", lead_id="bob", timezone="Mars/Olympus")
        put(connection, "leads", lead_id="cat")
        touch(connection, noon, "bob")
        touch(connection, noon, "cat", time_precision="month")
        touch(connection, noon + 3 * DAY, "cat", time_precision="day")
        touch(connection, noon + 5 * DAY, "cat", time_precision="weekday")
        touch(connection, noon + 8 * DAY, "cat", time_precision="day")
        touch(connection, noon, "ann", time_precision="hour", timezone="Europe/Berlin")
        rederive(connection, "acme")
        found = rows(
            connection,
            "SELECT lead_id, time_precision, lead_timezone, local_weekday, local_hour, local_time,"
            " gap_days FROM activities ORDER BY lead_id, occurred_at",
        )
    assert found == [
        ("ann", "hour", "Europe/Berlin", 3, 13, None, None),
        ("bob", "instant", None, None, None, None, None),
        ("cat", "month", None, None, None, None, None),
        ("cat", "day", None, 6, None, None, None),
        ("cat", "weekday", None, 1, None, None, None),
        ("cat", "day", None, 4, None, None, None),
    ]


def test_the_converting_touch_is_the_last_before_the_conversion(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        first = touch(connection, START)
        last = touch(connection, START + 2 * DAY)
        touch(connection, START + 4 * DAY)
        put(connection, "meetings", meeting_id="m1", lead_id="ann", booked_at=START + 3 * DAY)
        rederive(connection, "acme", ["ann"])
        assert rows(connection, "SELECT activity_id::text FROM activities WHERE converting") == [
            (last,)
        ]
        assert rows(
            connection,
            "SELECT converted_at, conversion_type, meeting_booked, meeting_id FROM leads",
        ) == [(START + 3 * DAY, "meeting_booked", True, "m1")]
        assert rows(
            connection,
            "SELECT converting_activity_id::text, converting_channel, touches_before_booking,"
            " days_to_booking FROM meetings",
        ) == [(last, "email", 2, 3.0)]
        # An earlier booking comes in late, then the conversion is undone.
        put(connection, "meetings", meeting_id="m0", lead_id="ann", booked_at=START + MINUTE)
        rederive(connection, "acme", ["ann"])
        assert rows(connection, "SELECT activity_id::text FROM activities WHERE converting") == [
            (first,)
        ]
        connection.execute(text("DELETE FROM meetings"))
        rederive(connection, "acme", ["ann"])
        assert rows(connection, "SELECT count(*) FROM activities WHERE converting") == [(0,)]
        assert rows(connection, "SELECT converted_at, conversion_type FROM leads") == [(None, None)]


@pytest.mark.parametrize(
    ("precision", "zone", "sent", "booked", "credited"),
    [
        ("day", "UTC", START.replace(hour=12), START, True),
        ("day", "UTC", START.replace(hour=12), START.replace(hour=0) - MINUTE, False),
        # Nine in the evening of the first of March is the second in Sydney.
        ("day", None, START.replace(hour=1), START - 0.5 * DAY, True),
        ("month", "UTC", START.replace(day=15, hour=12), START, True),
        ("weekday", "UTC", START.replace(day=15, hour=12), START, True),
        ("month", "UTC", START.replace(day=15, hour=12), START - 2 * DAY, False),
        ("hour", "UTC", START.replace(hour=12), START, False),
        ("instant", "UTC", START.replace(hour=12), START, False),
    ],
)
def test_what_is_booked_in_the_period_of_a_coarse_touch_is_credited_to_it(
    acme: Engine,
    precision: str,
    zone: str | None,
    sent: dt.datetime,
    booked: dt.datetime,
    credited: bool,
) -> None:
    with tenant(acme, "acme") as connection:
        touch(connection, sent, time_precision=precision, timezone=zone)
        put(connection, "meetings", meeting_id="m", lead_id="ann", booked_at=booked)
        put(connection, "deals", deal_id="d", lead_id="ann", opened_at=booked)
        for _ in range(2):
            rederive(connection, "acme", ["ann"])
            assert rows(connection, "SELECT converting FROM activities") == [(credited,)]
            assert rows(
                connection,
                "SELECT converting_channel, touches_before_booking, days_to_booking FROM meetings",
            ) == [("email", 1, 0.0) if credited else (None, 0, None)]
            assert rows(
                connection, "SELECT converting_channel, touches_before_deal FROM deals"
            ) == [("email", 1) if credited else (None, 0)]


def test_a_conversion_written_as_plain_status_is_kept_and_can_be_taken_back(acme: Engine) -> None:
    when = START + 2 * DAY
    with tenant(acme, "acme") as connection:
        touch(connection, START)
        connection.execute(
            text("UPDATE leads SET status = 'converted', converted_at = :at"), {"at": when}
        )
        drain_dirty(connection, "acme")
        put(connection, "meetings", lead_id="ann", booked_at=START + DAY)
        drain_dirty(connection, "acme")
        assert rows(connection, "SELECT converted_at, conversion_type FROM leads") == [
            (START + DAY, "meeting_booked")
        ]
        connection.execute(text("DELETE FROM meetings"))
        drain_dirty(connection, "acme")
        assert rows(connection, "SELECT converted_at, conversion_type FROM leads") == [
            (when, "status")
        ]
        # A customer who unsubscribes has still converted; one set back to the sequence has not.
        connection.execute(text("UPDATE leads SET status = 'unsubscribed'"))
        drain_dirty(connection, "acme")
        assert rows(connection, "SELECT converted_at FROM leads") == [(when,)]
        connection.execute(text("UPDATE leads SET status = 'in_sequence'"))
        drain_dirty(connection, "acme")
        assert rows(connection, "SELECT converted_at, conversion_type FROM leads") == [(None, None)]
        assert rows(connection, "SELECT count(*) FROM activities WHERE converting") == [(0,)]


def test_machine_opens_are_recorded_but_do_not_engage(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        sent = touch(connection, START)
        for kind, minutes, agent in (
            ("delivered", 1, None),
            ("opened", 1.5, "Mozilla/5.0"),
            ("opened", 30, "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"),
            ("opened", 61, "Mozilla/5.0 (iPhone)"),
            ("clicked", 1.2, "Mozilla/5.0"),
            ("clicked", 70, "Barracuda Sentinel (EE)"),
            ("clicked", 90, "Mozilla/5.0 (iPhone)"),
        ):
            put(
                connection,
                "email_events",
                activity_id=sent,
                lead_id="ann",
                event_type=kind,
                occurred_at=START + minutes * MINUTE,
                user_agent=agent,
            )
        rederive(connection, "acme", ["ann"])
        reasons = rows(
            connection,
            "SELECT event_type, machine_reason FROM email_events WHERE event_type <> 'delivered'"
            " ORDER BY occurred_at",
        )
        found = rows(
            connection,
            "SELECT open_count, machine_open, human_opened_at, time_to_open_minutes, click_count,"
            " machine_click, time_to_click_minutes FROM activities",
        )
    assert reasons == [
        ("clicked", "fast_click"),
        ("opened", "fast_open"),
        ("opened", "privacy_proxy"),
        ("opened", None),
        ("clicked", "scanner"),
        ("clicked", None),
    ]
    assert found == [(3, True, START + 61 * MINUTE, 61.0, 3, True, 90.0)]


@pytest.mark.parametrize("delivered_as", ["activities", "email_events"])
@pytest.mark.parametrize("opened_as", ["activities", "email_events"])
def test_opens_are_timed_from_the_delivery_whichever_way_they_are_told(
    acme: Engine, delivered_as: str, opened_as: str
) -> None:
    def tell(table: str, kind: str, sent: str, minutes: float) -> None:
        at = START + minutes * MINUTE
        if table == "activities":
            touch(connection, at, action=kind, about_activity_id=sent)
        else:
            event = {"activity_id": sent, "event_type": kind, "occurred_at": at}
            put(connection, "email_events", lead_id="ann", **event)

    with tenant(acme, "acme") as connection:
        # Half a minute after the delivery, and long enough after it.
        for opened in (10.5, 15):
            sent = touch(connection, START, template_id=str(opened))
            tell(delivered_as, "delivered", sent, 10)
            tell(opened_as, "opened", sent, opened)
        rederive(connection, "acme", ["ann"])
        assert rows(
            connection,
            "SELECT template_id, human_opened_at, machine_open FROM activities"
            " WHERE action = 'sent' ORDER BY opened_at",
        ) == [("10.5", None, True), ("15", START + 15 * MINUTE, False)]


def test_events_of_mail_reach_the_lead_and_soft_bounces_do_not(acme: Engine) -> None:
    state = (
        "SELECT bounces_seen, unsubscribed_at, complained_at, status FROM leads"
        " WHERE lead_id = 'ann'"
    )
    with tenant(acme, "acme") as connection:
        sent = touch(connection, START)
        again = touch(connection, START + DAY)

        def happens(kind: str, minutes: int, activity_id: str, bounce: str | None = None) -> None:
            put(
                connection,
                "email_events",
                activity_id=activity_id,
                lead_id="ann",
                event_type=kind,
                bounce_class=bounce,
                occurred_at=START + minutes * MINUTE,
            )

        happens("bounced", 1, sent, "soft")
        drain_dirty(connection, "acme")
        assert rows(connection, state) == [(0, None, None, "new")]
        happens("bounced", 2, sent, "hard")
        happens("bounced", 3, sent, "hard")  # the same message, reported twice
        drain_dirty(connection, "acme")
        assert rows(connection, state) == [(1, None, None, "new")]
        happens("bounced", 1500, again)  # of a kind not told: taken as hard
        happens("unsubscribed", 1501, again)
        happens("complained", 1502, again)
        drain_dirty(connection, "acme")
        assert rows(connection, state) == [(2, START + 1501 * MINUTE, START + 1502 * MINUTE, "new")]


def test_replies_answer_the_last_touch_and_automatic_ones_do_not_count(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        touch(connection, START, channel="email")
        answered = touch(connection, START + DAY, channel="email")
        touch(connection, START + 2 * DAY, channel="linkedin")
        for minutes, intent in ((30, "out_of_office"), (90, "interested"), (120, "question")):
            put(
                connection,
                "replies",
                lead_id="ann",
                channel="email",
                received_at=START + 2 * DAY + minutes * MINUTE,
                intent=intent,
            )
        rederive(connection, "acme", ["ann"])
        assert rows(connection, "SELECT DISTINCT answered_activity_id::text FROM replies") == [
            (answered,)
        ]
        assert rows(
            connection,
            "SELECT replied_at, time_to_reply_minutes FROM activities WHERE replied_at IS NOT NULL",
        ) == [(START + 2 * DAY + 90 * MINUTE, 1440.0 + 90)]
        assert rows(connection, "SELECT reply_count FROM leads") == [(2,)]


def test_threads_count_answers_to_the_other_side_only(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        put(connection, "conversation_threads", thread_id="t", lead_id="ann", channel="email")
        for minutes, side in ((50, "inbound"), (0, "outbound"), (10, "outbound"), (80, "outbound")):
            put(
                connection,
                "thread_messages",
                thread_id="t",
                direction=side,
                sent_at=START + minutes * MINUTE,
            )
        assert drain_dirty(connection, "acme") == 1
        found = rows(
            connection,
            "SELECT position, response_time_minutes FROM thread_messages ORDER BY sent_at",
        )
        thread = rows(
            connection,
            "SELECT message_count, our_message_count, avg_our_response_minutes,"
            " avg_their_response_minutes, last_message_at FROM conversation_threads",
        )
    assert found == [(1, None), (2, None), (3, 40.0), (4, 30.0)]
    assert thread == [(4, 3, 30.0, 40.0, START + 80 * MINUTE)]


def test_deals_close_reopen_and_keep_their_history(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        touch(connection, START, channel="voice")
        put(connection, "deals", deal_id="d", lead_id="ann", opened_at=START + DAY, value=100)
        connection.execute(text("SELECT set_config('cis.actor', 'webhook', true)"))
        connection.execute(
            text("UPDATE deals SET stage = 'closed_won', stage_changed_at = :at"),
            {"at": START + 11 * DAY},
        )
        drain_dirty(connection, "acme")
        assert rows(
            connection,
            "SELECT won, days_to_close, first_touch_channel, touches_before_deal FROM deals",
        ) == [(True, 10.0, "voice", 1)]
        assert rows(connection, "SELECT conversion_type, deal_won, deal_value FROM leads") == [
            ("deal_won", True, 100)
        ]
        assert rows(
            connection,
            "SELECT from_stage, to_stage, changed_by, days_in_previous_stage"
            " FROM deal_stage_history ORDER BY changed_at",
        ) == [
            (None, "qualification", "system", None),
            ("qualification", "closed_won", "webhook", 10.0),
        ]
        connection.execute(
            text("UPDATE deals SET stage = 'negotiation', stage_changed_at = :at"),
            {"at": START + 12 * DAY},
        )
        drain_dirty(connection, "acme")
        assert rows(connection, "SELECT won, closed_at, days_to_close FROM deals") == [
            (None, None, None)
        ]
        assert rows(connection, "SELECT converted_at, deal_won FROM leads") == [(None, False)]


def test_a_second_pass_rewrites_nothing(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        sent = touch(connection, START)
        put(
            connection,
            "email_events",
            activity_id=sent,
            lead_id="ann",
            event_type="opened",
            occurred_at=START + 9 * MINUTE,
        )
        put(connection, "meetings", lead_id="ann", booked_at=START + DAY)
        rederive(connection, "acme")
    versions = "SELECT xmin::text FROM {}"
    tables = ("activities", "leads", "email_events", "meetings")
    with tenant(acme, "acme") as connection:
        before = [rows(connection, versions.format(table)) for table in tables]
        rederive(connection, "acme")
    with tenant(acme, "acme") as connection:
        assert [rows(connection, versions.format(table)) for table in tables] == before


def test_other_programs_queue_what_they_touch_and_rederive_does_not(acme: Engine) -> None:
    queued = "SELECT lead_id FROM dirty_leads ORDER BY 1"
    with tenant(acme, "acme") as connection:
        put(connection, "leads", lead_id="bob")
        assert rows(connection, queued) == []
        sent = touch(connection, START)
        assert rows(connection, queued) == [("ann",)]
        assert drain_dirty(connection, "acme") == 1
        assert rows(connection, queued) == []
        connection.execute(text("UPDATE leads SET timezone = 'UTC' WHERE lead_id = 'bob'"))
        connection.execute(text("UPDATE leads SET title = 'CEO' WHERE lead_id = 'ann'"))
        assert rows(connection, queued) == [("bob",)]
        connection.execute(
            text("UPDATE activities SET occurred_at = occurred_at + interval '1 hour'")
        )
        assert rows(connection, queued) == [("ann",), ("bob",)]
        drain_dirty(connection, "acme")
        connection.execute(
            text("DELETE FROM activities WHERE activity_id = CAST(:id AS uuid)"), {"id": sent}
        )
        assert rows(connection, queued) == [("ann",)]
    assert drain_all(acme) == 1
    with tenant(acme, "acme") as connection, loading(connection, "acme"):
        touch(connection, START)
        assert rows(connection, queued) == []
    with tenant(acme, "acme") as connection:
        assert rows(connection, "SELECT touch_number FROM activities") == [(1,)]


_STATE = """
    SELECT to_jsonb(x) - '{{created_at,updated_at,queued_at}}'::text[] FROM {} x
    ORDER BY 1
"""
_WATCHED = ("leads", "activities", "email_events", "replies", "meetings", "thread_messages")

_moment = st.integers(0, 40).map(lambda hours: START + hours * dt.timedelta(hours=6))
_event = st.one_of(
    st.tuples(st.just("touch"), _moment, st.sampled_from(["email", "linkedin", "voice"])),
    st.tuples(st.just("open"), _moment, st.integers(0, 200)),
    st.tuples(st.just("reply"), _moment, st.sampled_from(["interested", "auto_reply"])),
    st.tuples(st.just("meeting"), _moment, st.none()),
    st.tuples(st.just("message"), _moment, st.sampled_from(["inbound", "outbound"])),
)


@given(
    events=st.lists(_event, min_size=2, max_size=12),
    order=st.randoms(use_true_random=False),
    batches=st.integers(1, 4),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_order_of_arrival_gives_the_same_state(
    module_database_url: str,
    events: Sequence[tuple[str, dt.datetime, Any]],
    order: random.Random,
    batches: int,
) -> None:
    engine = make_engine(module_database_url, pool_size=1)
    shuffled = list(enumerate(events))
    order.shuffle(shuffled)
    first = _state_after(engine, [list(enumerate(events))])
    cut = max(1, len(shuffled) // batches)
    pieces = [shuffled[i : i + cut] for i in range(0, len(shuffled), cut)]
    late = _state_after(engine, pieces)
    engine.dispose()
    assert late == first
    (lead,), touches = ([row for (row,) in state] for state in (first[0], first[1]))
    booked = lead["converted_at"] or ""
    before = [touch["occurred_at"] for touch in touches if touch["occurred_at"] <= booked]
    marked = [touch["occurred_at"] for touch in touches if touch["converting"]]
    assert marked == ([max(before)] if before else [])


def _state_after(engine: Engine, pieces: Sequence[Sequence[tuple[int, Any]]]) -> list[Any]:
    with tenant(engine, "acme") as connection:
        put(connection, "clients", client_id="acme")
        put(connection, "leads", lead_id="ann", timezone="America/New_York")
        put(connection, "conversation_threads", thread_id="t", lead_id="ann", channel="email",
            started_at=START)  # fmt: skip
        anchor = touch(connection, START, activity_id=uuid.UUID(int=10_000))
        for piece in pieces:
            for number, event in piece:
                _arrive(connection, number, event, anchor)
            drain_dirty(connection, "acme")
        state = [rows(connection, _STATE.format(table)) for table in _WATCHED]
        connection.rollback()
    return state


def _arrive(connection: Connection, number: int, event: tuple[Any, ...], anchor: str) -> None:
    kind, at, detail = event
    key = str(uuid.UUID(int=number + 1))
    if kind == "touch":
        touch(connection, at, channel=detail, activity_id=key)
    elif kind == "open":
        put(connection, "email_events", event_id=key, activity_id=anchor, lead_id="ann",
            event_type="opened", occurred_at=START + detail * MINUTE)  # fmt: skip
    elif kind == "reply":
        put(connection, "replies", reply_id=key, lead_id="ann", channel="email", received_at=at,
            intent=detail)  # fmt: skip
    elif kind == "meeting":
        put(connection, "meetings", meeting_id=key, lead_id="ann", booked_at=at)
    else:
        put(connection, "thread_messages", message_id=key, thread_id="t", direction=detail,
            sent_at=at)  # fmt: skip
