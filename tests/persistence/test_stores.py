"""Leads, patterns, models and suppression in a real database."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from cis_server.domain.lead import Job, Lead
from cis_server.domain.live_state import Change, ChangeKind
from cis_server.domain.pattern_history import HistoryPosition
from cis_server.domain.runs import PatternOutcome
from cis_server.domain.scores import Components, ConversionProbability, LeadScore
from cis_server.domain.suppression import (
    IdentifierKind,
    SuppressionEntry,
    SuppressionReason,
    normalised_identifier,
)
from cis_server.domain.vocabulary import (
    EmailStatus,
    LeadStatus,
    PatternStatus,
    PatternType,
    Source,
    Tier,
)
from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.errors import NotFound, StoreUnavailable
from cis_server.persistence.connections import Role, loader, make_engine, tenant
from cis_server.persistence.leads import get_leads, upsert_leads, write_scores
from cis_server.persistence.listen import ChangeListener
from cis_server.persistence.models import (
    ModelKind,
    ModelState,
    NewModel,
    activate,
    get_model,
    insert_model,
    list_models,
    live_model,
    settle,
)
from cis_server.persistence.patterns import (
    NewPattern,
    history_page,
    save_outcomes,
    save_patterns,
)
from cis_server.persistence.rederive import rederive
from cis_server.persistence.suppression import (
    add_suppressions,
    read_suppressions,
    remove_suppression,
)

NOW = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)

FULL = Lead(
    lead_id="ann",
    email="Ann@Example.org",
    email_status=EmailStatus.VERIFIED,
    phone="+61 2 5550 1234",
    phone_verified=True,
    call_register_listed=False,
    linkedin_url="https://linkedin.com/in/ann",
    first_name="Ann",
    title="Chief Financial Officer",
    employment_start_date=dt.date(2025, 11, 3),
    employment_history=(
        Job("Old Co", "Controller", dt.date(2019, 1, 1), dt.date(2025, 10, 31), False),
        Job("New Co", "CFO", dt.date(2025, 11, 3), None, True),
    ),
    timezone="Australia/Sydney",
    company_name="New Co",
    domain="newco.example",
    industry="Fintech",
    employee_count=40,
    revenue=12.5e6,
    technologies=("postgres", "grpc"),
    latest_funding_date=dt.date(2025, 6, 1),
    is_hiring=True,
    founded_year=2011,
    country="Australia",
    status=LeadStatus.ENRICHED,
    bounce_count=1,
    unsubscribed=False,
    do_not_contact=False,
    attributes={"job": "finance", "sätze": "ja"},
)


@pytest.fixture
def acme(database: Engine) -> Engine:
    with tenant(database, "acme") as connection:
        connection.execute(text("INSERT INTO clients (client_id) VALUES ('acme')"))
    return database


def _score(lead_id: str, number: int, points: int) -> LeadScore:
    return LeadScore(
        lead_id=lead_id,
        score=number,
        score_tier=Tier.COOL,
        tier=Tier.COOL,
        components=Components(points, 20, 10, 5, 15),
        contributions=(1.0, 2.0, 3.0, 4.0, 5.0),
        weighted_sum=15.0,
        weights=DEFAULT_WEIGHTS,
        weights_source=Source.DEFAULT,
        suppressed=False,
        suppression_reason=None,
        tier_channels=("email",),
        channels=("email",),
        conversion_probability=ConversionProbability(0.25, 0.1, 0.4, "converted"),
    )


def test_a_lead_comes_back_as_it_was_given(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        upsert_leads(connection, "acme", [FULL, Lead(lead_id="bob")])
        found = get_leads(connection, "acme", ["ann", "bob", "nobody"])
    assert set(found) == {"ann", "bob"}
    assert found["ann"].lead == FULL
    bob = dataclasses.replace(
        Lead(lead_id="bob"),
        status=LeadStatus.NEW,
        bounce_count=0,
        unsubscribed=False,
        do_not_contact=False,
    )
    assert found["bob"].lead == bob
    assert found["bob"].touches == ()


def test_what_a_record_does_not_say_stays_and_opt_outs_are_kept(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        upsert_leads(connection, "acme", [dataclasses.replace(FULL, do_not_contact=True)])
        change = Lead(
            lead_id="ann",
            title="CEO",
            bounce_count=0,
            do_not_contact=False,
            attributes={"plan": "gold"},
            status=LeadStatus.NEW,
        )
        upsert_leads(connection, "acme", [change])
        stored = get_leads(connection, "acme", ["ann"])["ann"].lead
    assert stored == dataclasses.replace(
        FULL,
        title="CEO",
        do_not_contact=True,
        attributes={"job": "finance", "sätze": "ja", "plan": "gold"},
    )


def test_an_opt_out_event_shows_on_the_lead(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        upsert_leads(connection, "acme", [FULL])
        for action, channel, hours in (
            ("sent", "email", 0),
            ("sent", "voice", 5),
            ("sent", "email", 2),
            ("unsubscribed", "email", 6),
        ):
            connection.execute(
                text(
                    "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at)"
                    " VALUES ('acme', 'ann', :channel, :action, :at)"
                ),
                {"channel": channel, "action": action, "at": NOW + dt.timedelta(hours=hours)},
            )
        rederive(connection, "acme", ["ann"])
        found = get_leads(connection, "acme", ["ann"])["ann"]
    assert found.lead.unsubscribed is True
    assert [touch.channel for touch in found.touches] == ["email", "email", "voice"]
    assert found.last_contact_at == NOW + dt.timedelta(hours=5)


@pytest.mark.parametrize("status", list(LeadStatus))
def test_scoring_changes_no_status_but_the_first_two(acme: Engine, status: LeadStatus) -> None:
    with tenant(acme, "acme") as connection:
        upsert_leads(connection, "acme", [dataclasses.replace(FULL, status=status)])
        written = write_scores(
            connection,
            "acme",
            [_score("ann", 55, 7), _score("nobody", 1, 1)],
            scored_at=NOW,
            as_of=NOW,
            scorer_version="1",
        )
        row = connection.execute(
            text("SELECT status, score, tier, conversion_probability FROM leads")
        ).one()
    assert written == ["ann"]
    fresh = status in (LeadStatus.NEW, LeadStatus.ENRICHED)
    assert tuple(row) == ("scored" if fresh else status.value, 55, "cool", 0.25)


def test_components_before_first_outreach_are_the_last_before_it(acme: Engine) -> None:
    snapshot = text(
        "SELECT lead_id, components->>'data_quality', components_at_first_touch->>'data_quality'"
        " FROM leads ORDER BY 1"
    )
    with tenant(acme, "acme") as connection:
        upsert_leads(connection, "acme", [FULL, dataclasses.replace(FULL, lead_id="bob")])
        for points, contacted in ((5, "bob"), (7, "ann"), (9, None)):
            write_scores(
                connection,
                "acme",
                [_score("ann", 50, points), _score("bob", 50, points)],
                scored_at=NOW,
                as_of=NOW,
                scorer_version="1",
            )
            connection.execute(
                text(
                    "INSERT INTO activities (client_id, lead_id, channel, action)"
                    " SELECT 'acme', lead_id, 'email', 'sent' FROM leads WHERE lead_id = :lead"
                ),
                {"lead": contacted},
            )
        found = [tuple(row) for row in connection.execute(snapshot)]
    assert found == [("ann", "9", "7"), ("bob", "9", "5")]


def _pattern(type_: PatternType, value: int) -> NewPattern:
    return NewPattern(
        type=type_,
        content={"type": type_.value, "value": value},
        sample_size=100 + value,
        confidence=0.7,
        computed_at=NOW + dt.timedelta(days=value),
        valid_until=NOW + dt.timedelta(days=14 + value),
    )


def test_a_second_run_replaces_patterns_and_keeps_the_first_in_the_history(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        both = [_pattern(PatternType.WHO, 1), _pattern(PatternType.WHEN, 1)]
        save_patterns(connection, "acme", both, "r1")
    with tenant(acme, "acme") as connection:
        for value in (2, 3):
            save_patterns(connection, "acme", [_pattern(PatternType.WHO, value)], f"r{value}")
        outcome = PatternOutcome(
            type=PatternType.WHEN, status=PatternStatus.INSUFFICIENT_DATA, reason="3 conversions"
        )
        save_outcomes(connection, "acme", [outcome], "r3", NOW)
    with tenant(acme, "acme", Role.READER) as connection:
        active = connection.execute(
            text(
                "SELECT pattern_type, version, patterns->>'value', run_id FROM patterns ORDER BY 1"
            )
        ).all()
        history = history_page(connection, "acme", PatternType.WHO, limit=10).versions
        newest = HistoryPosition(
            archived_at=history[0].archived_at, type=PatternType.WHO, version=history[0].version
        )
        page = history_page(connection, "acme", PatternType.WHO, limit=10, after=newest)
        status = connection.execute(text("SELECT status, reason FROM pattern_status")).all()
    assert [tuple(row) for row in active] == [("when", 1, "1", "r1"), ("who", 3, "3", "r3")]
    assert [(v.version, v.content["value"], v.run_id, v.reason) for v in history] == [
        (2, 2, "r2", "replaced"),
        (1, 1, "r1", "replaced"),
    ]
    assert history[0].valid_until == NOW + dt.timedelta(days=16)
    assert [v.version for v in page.versions] == [1]
    assert [tuple(row) for row in status] == [("insufficient_data", "3 conversions")]


def test_nothing_of_a_failed_run_is_seen(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        save_patterns(connection, "acme", [_pattern(PatternType.WHO, 1)], "r1")

    def fail_after_saving() -> None:
        with tenant(acme, "acme") as connection:
            save_patterns(connection, "acme", [_pattern(PatternType.WHO, 2)], "r2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_saving()
    with tenant(acme, "acme") as connection:
        assert connection.execute(text("SELECT version FROM patterns")).scalars().all() == [1]
        assert history_page(connection, "acme", PatternType.WHO, 10).total == 0


def test_one_version_of_a_kind_is_live(acme: Engine) -> None:
    weights = NewModel(
        kind=ModelKind.WEIGHTS, content=DEFAULT_WEIGHTS.as_dict(), sample_size=400, confidence=0.8
    )
    with tenant(acme, "acme") as connection:
        first = insert_model(connection, "acme", weights)
        assert first.state is ModelState.CANDIDATE
        assert live_model(connection, "acme", ModelKind.WEIGHTS) is None
        activate(connection, "acme", first.model_id, by="auto", at=NOW)
        second = insert_model(connection, "acme", weights)
        third = insert_model(connection, "acme", weights)
        settle(connection, "acme", third.model_id, ModelState.REJECTED, "gate")
        live = activate(connection, "acme", second.model_id, by="eve", at=NOW, reason="better")
        assert live == live_model(connection, "acme", ModelKind.WEIGHTS)
        assert live.label == "weights-2"
        assert live.promoted_by == "eve"
        assert live.content == DEFAULT_WEIGHTS.as_dict()
        assert get_model(connection, "acme", first.model_id).state is ModelState.RETIRED
        # Back to the one before.
        activate(connection, "acme", first.model_id, by="eve", at=NOW)
        states = {m.version: m.state for m in list_models(connection, "acme")}
        with pytest.raises(NotFound):
            get_model(connection, "acme", "nothing")
    assert states == {1: ModelState.LIVE, 2: ModelState.RETIRED, 3: ModelState.REJECTED}


_texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20
)  # fmt: skip


@given(kind=st.sampled_from(IdentifierKind), value=st.one_of(
    _texts, st.sampled_from(["@WWW.Example.COM.", "0061 2-555", "+61 (2) 555", " a@B.c "])
))  # fmt: skip
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_database_and_code_write_identifiers_alike(
    module_database_url: str, kind: IdentifierKind, value: str
) -> None:
    engine = make_engine(module_database_url, pool_size=1)
    with engine.connect() as connection:
        stored = connection.execute(
            text("SELECT nullif(cis_normalise_identifier(:kind, :value), '')"),
            {"kind": kind.value, "value": value},
        ).scalar()
    engine.dispose()
    assert stored == normalised_identifier(kind, value)


def test_everything_that_closes_a_lead_is_on_the_list(acme: Engine) -> None:
    with tenant(acme, "acme") as connection:
        leads = [
            dataclasses.replace(FULL, lead_id=name, email=f"{name}@Example.org", **flags)
            for name, flags in {
                "open": {},
                "flag": {"unsubscribed": True},
                "dnc": {"do_not_contact": True},
                "status": {"status": LeadStatus.UNSUBSCRIBED},
                "event": {},
                "mail": {},
            }.items()
        ]
        upsert_leads(connection, "acme", leads)
        connection.execute(
            text(
                "INSERT INTO activities (client_id, activity_id, lead_id, channel, action) VALUES"
                " ('acme', '00000000-0000-0000-0000-000000000001', 'mail', 'email', 'sent'),"
                " ('acme', '00000000-0000-0000-0000-000000000002', 'event', 'sms', 'unsubscribed')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO email_events (client_id, activity_id, lead_id, event_type) VALUES"
                " ('acme', '00000000-0000-0000-0000-000000000001', 'mail', 'complained')"
            )
        )
        entry = SuppressionEntry(
            "acme", IdentifierKind.DOMAIN, " @Rival.COM", SuppressionReason.COMPETITOR
        )
        assert add_suppressions(connection, [entry, entry]) == 1
        assert add_suppressions(connection, [entry]) == 0
    with tenant(acme, "acme", Role.OWNER) as connection:
        phone = SuppressionEntry(None, IdentifierKind.PHONE, "+61 2 555", SuppressionReason.LEGAL)
        assert add_suppressions(connection, [phone]) == 1
    with loader(acme) as connection:
        mine = {
            (e.kind.value, e.value, e.reason.value) for e in read_suppressions(connection, "acme")
        }
        everybodys = read_suppressions(connection, None)
    wanted = {("domain", "rival.com", "competitor")}
    for name, reason in (
        ("flag", "unsubscribe"),
        ("dnc", "do_not_contact"),
        ("status", "unsubscribe"),
        ("event", "unsubscribe"),
        ("mail", "complaint"),
    ):
        wanted |= {("lead_id", name, reason), ("email", f"{name}@example.org", reason)}
    assert mine == wanted
    assert [(e.client_id, e.kind.value, e.value) for e in everybodys] == [(None, "phone", "612555")]
    with tenant(acme, "acme") as connection:
        assert remove_suppression(connection, "acme", IdentifierKind.DOMAIN, "RIVAL.com")
        assert not remove_suppression(connection, "acme", IdentifierKind.DOMAIN, "rival.com")


@pytest.mark.parametrize(
    ("statement", "change"),
    [
        ("UPDATE leads SET unsubscribed = true", Change(ChangeKind.SUPPRESSION, "acme")),
        ("UPDATE leads SET status = 'unsubscribed'", Change(ChangeKind.SUPPRESSION, "acme")),
        ("UPDATE leads SET do_not_contact = true", Change(ChangeKind.SUPPRESSION, "acme")),
        (
            "INSERT INTO activities (client_id, lead_id, channel, action)"
            " VALUES ('acme', 'ann', 'sms', 'unsubscribed')",
            Change(ChangeKind.SUPPRESSION, "acme"),
        ),
        (
            "INSERT INTO suppression (client_id, kind, value) VALUES ('acme', 'email', 'a@b.c')",
            Change(ChangeKind.SUPPRESSION, "acme"),
        ),
        (
            "INSERT INTO global_suppression (kind, value) VALUES ('email', 'a@b.c')",
            Change(ChangeKind.SUPPRESSION, None),
        ),
        (
            "INSERT INTO patterns (client_id, pattern_type, patterns, sample_size, confidence,"
            " valid_until) VALUES ('acme', 'who', '{}', 1, .5, now())",
            Change(ChangeKind.PATTERNS, "acme"),
        ),
        (
            "INSERT INTO models (client_id, kind, version, parameters)"
            " VALUES ('acme', 'weights', 1, '{}')",
            Change(ChangeKind.CLIENT, "acme"),
        ),
        ("UPDATE clients SET name = 'x'", Change(ChangeKind.CLIENT, "acme")),
        ("UPDATE leads SET title = 'CEO'", None),
        ("UPDATE leads SET unsubscribed = false", None),
    ],
)
def test_plain_sql_is_heard_at_once(
    acme: Engine, database_url: str, statement: str, change: Change | None
) -> None:
    with tenant(acme, "acme") as connection:
        upsert_leads(connection, "acme", [FULL])
    listener = ChangeListener(database_url)
    listener.listen()
    try:
        began = time.monotonic()
        with acme.begin() as connection:
            connection.execute(text(statement))
        heard = listener.wait(5.0 if change else 0.2)
        assert heard == ([change] if change else [])
        assert change is None or time.monotonic() - began < 1.0
    finally:
        listener.close()


def test_a_lost_listening_connection_is_told(acme: Engine, database_url: str) -> None:
    listener = ChangeListener(database_url)
    with pytest.raises(StoreUnavailable):
        listener.wait(0.1)
    listener.listen()
    with acme.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'cis-listen' AND datname = current_database()"
            )
        )
    with pytest.raises(StoreUnavailable):
        listener.wait(2.0)
    listener.listen()
    with acme.begin() as connection:
        connection.execute(text("UPDATE clients SET name = 'y'"))
    assert listener.wait(5.0) == [Change(ChangeKind.CLIENT, "acme")]
    listener.close()


def test_a_slow_or_absent_database_is_unavailable_soon(acme: Engine) -> None:
    began = time.monotonic()
    with (
        pytest.raises(StoreUnavailable),
        tenant(acme, "acme", statement_seconds=0.2) as connection,
    ):
        connection.execute(text("SELECT pg_sleep(5)"))
    assert time.monotonic() - began < 1.5
    gone = make_engine("postgresql://cis@127.0.0.1:1/nowhere")
    with pytest.raises(StoreUnavailable), tenant(gone, "acme"):
        pass
    gone.dispose()
