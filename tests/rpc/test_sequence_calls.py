"""Plans, content and prompt lines over the wire: defaults, then what is stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pytest
import stored_patterns
from google.protobuf.timestamp_pb2 import Timestamp
from running_server import make_client, wait_until

from cis_client import Client
from cis_client.errors import InvalidArgument, NotFound
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import recommendation_service_pb2_grpc as recommendation_grpc
from cis_server.domain.lead import Lead
from cis_server.domain.patterns import SequencePatterns, SequenceRate
from cis_server.domain.rates import SegmentRate
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import EmailStatus, LeadStatus, PatternType, Verdict
from cis_server.domain.what_pattern import (
    Ctas,
    OptimalLength,
    PainPointRate,
    PainPoints,
    WhatPattern,
)
from cis_server.persistence.connections import Role, make_engine, tenant
from cis_server.persistence.patterns import save_patterns

SEOUL = "Asia/Seoul"


@pytest.fixture(scope="module")
def store(module_database_url: str) -> Iterator[Callable[..., None]]:
    engine = make_engine(module_database_url)

    def save(client_id: str, *stored: Stored, **how: Any) -> None:
        now = dt.datetime.now(dt.UTC)
        with tenant(engine, client_id, Role.APP) as connection:
            rows = [stored_patterns.to_store(pattern, now, **how) for pattern in stored]
            save_patterns(connection, client_id, rows, "run-1")

    yield save
    engine.dispose()


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def plan(api: Client, client_id: str, **fields: Any) -> recommendation.GetSequenceResponse:
    return api.get_sequence(recommendation.GetSequenceRequest(client_id=client_id, **fields))


def content(api: Client, client_id: str, **fields: Any) -> recommendation.GetContentResponse:
    return api.get_content(recommendation.GetContentRequest(client_id=client_id, **fields))


def context(api: Client, client_id: str, **fields: Any) -> recommendation.GetPromptContextResponse:
    return api.get_prompt_context(
        recommendation.GetPromptContextRequest(client_id=client_id, **fields)
    )


def segment(value: str, k: int, n: int, verdict: Verdict) -> SegmentRate:
    return replace(stored_patterns.segment(value, k, n), verdict=verdict)


def what() -> WhatPattern:
    """Naming the lack of leads works, naming the cost does not."""
    return WhatPattern(
        envelope=stored_patterns.envelope(PatternType.WHAT, now(), 0.9),
        subject_patterns=None,
        pain_points=PainPoints(
            effective=(
                PainPointRate(
                    value="leads",
                    estimate=stored_patterns.rate(300, 1500),
                    verdict=Verdict.WINNING,
                    share_all=0.4,
                    share_converting=0.6,
                ),
            ),
            ineffective=(
                PainPointRate(
                    value="cost",
                    estimate=stored_patterns.rate(20, 1500),
                    verdict=Verdict.LOSING,
                    share_all=0.4,
                    share_converting=0.05,
                ),
            ),
            undecided=(),
        ),
        ctas=Ctas(
            effective=(segment("open to a quick chat", 200, 1000, Verdict.WINNING),),
            ineffective=(),
            undecided=(segment("worth a look", 90, 900, Verdict.UNDECIDED),),
            by_type={},
        ),
        angles=None,
        optimal_length={
            "email": OptimalLength(
                optimal_words=64,
                optimal_chars=None,
                range_min=55,
                range_max=80,
                unit="words",
                verdict=Verdict.WINNING,
                bins=(),
            )
        },
        personalization_lift={},
        template_performance=None,
        ab_test_insights=None,
        link_effectiveness=None,
        ai_model_performance=None,
        question_effect=None,
        attachment_effect=None,
    )


def winning(*channels: str) -> SequencePatterns:
    text = "→".join(channels)
    rate = SequenceRate(
        channels=channels, sequence=text, segment=segment(text, 250, 1000, Verdict.WINNING)
    )
    return SequencePatterns(winning_sequences=(rate,), sequences=(rate,), three_channel=())


def learned(api: Client, client_id: str) -> None:
    """Wait until WHAT, WHEN and HOW are in memory: a question after a change loads them."""

    def here() -> bool:
        versions = context(api, client_id).model.model_version
        return all(name in versions for name in ("what:", "when:", "how:"))

    wait_until(here, 2.0)


def test_a_plan_before_anything_was_learned(api: Client, tenant_id: str) -> None:
    answer = plan(api, tenant_id, tier=core.TIER_HOT, timezone=SEOUL)
    assert [t.channel for t in answer.touches] == [
        "email",
        "linkedin",
        "email",
        "sms",
        "voice",
        "email",
    ]
    assert [t.touch_number for t in answer.touches] == [1, 2, 3, 4, 5, 6]
    assert not answer.touches[0].HasField("gap_days")
    for touch in answer.touches:
        at = touch.scheduled_time.ToDatetime(dt.UTC)
        local = at.astimezone(ZoneInfo(SEOUL))
        assert touch.local_time == local.isoformat()
        assert touch.timezone == SEOUL
        assert at > now() - dt.timedelta(minutes=1)
        assert local.isoweekday() <= 5
        assert 9 <= local.hour < 17
        assert (touch.source, touch.confidence) == (core.SOURCE_DEFAULT, 0.0)
    for before, after in pairwise(answer.touches):
        waited = after.scheduled_time.ToDatetime() - before.scheduled_time.ToDatetime()
        assert after.gap_days == waited / dt.timedelta(days=1)
    assert answer.model.source == core.SOURCE_DEFAULT
    assert not answer.HasField("estimate")
    assert answer.decision_id
    assert answer.propensity == 1.0


def test_stored_patterns_decide_the_plan(
    api: Client, tenant_id: str, store: Callable[..., None]
) -> None:
    how = replace(stored_patterns.how(now()), sequence_patterns=winning("linkedin", "voice"))
    store(tenant_id, what(), stored_patterns.when(now()), how)
    learned(api, tenant_id)
    answer = plan(api, tenant_id, tier=core.TIER_HOT)
    assert [t.channel for t in answer.touches] == ["linkedin", "voice"], "1.4 touches, and one more"
    assert answer.estimate.converted == 250
    assert answer.model.source == core.SOURCE_LEARNED
    assert answer.model.model_version == "how:1 when:1"
    assert 7.0 <= answer.touches[1].gap_days <= 12.0
    assert all(t.source == core.SOURCE_LEARNED for t in answer.touches)
    assert [t.confidence for t in answer.touches] == [0.9, 0.9]
    longer = plan(api, tenant_id, tier=core.TIER_HOT, touch_count=5)
    assert len(longer.touches) == 5
    email = plan(api, tenant_id, tier=core.TIER_HOT, available_channels=["email"])
    assert {t.channel for t in email.touches} == {"email"}
    assert not email.HasField("estimate")


def test_a_given_lead_is_scored_and_reached_where_it_can_be(api: Client, tenant_id: str) -> None:
    lead = core.Lead(
        lead_id="given",
        email="ann@firm.example",
        email_status=core.EMAIL_STATUS_VERIFIED,
        linkedin_url="https://www.linkedin.com/in/ann",
        title="CEO",
        industry="software",
        employee_count=20,
        country="Australia",
        timezone="Australia/Perth",
    )
    start = Timestamp()
    start.FromDatetime(now() + dt.timedelta(days=10))
    answer = plan(api, tenant_id, lead=lead, start_time=start, touch_count=3)
    assert {t.channel for t in answer.touches} <= {"email", "linkedin"}
    assert {t.timezone for t in answer.touches} == {"Australia/Perth"}
    assert (
        answer.touches[0].scheduled_time.ToNanoseconds() >= start.ToNanoseconds() // 10**9 * 10**9
    )
    again = plan(api, tenant_id, lead=lead, start_time=start, touch_count=3)
    assert again == answer


def test_a_stored_lead_goes_on_from_its_touches(
    api: Client, tenant_id: str, sql: Callable[..., Any], store_leads: Callable[..., None]
) -> None:
    lead = Lead(
        lead_id="l",
        email="a@b.example",
        email_status=EmailStatus.VERIFIED,
        linkedin_url="https://www.linkedin.com/in/a",
        timezone="Asia/Tokyo",
        title="CEO",
        industry="software",
        employee_count=20,
        country="Australia",
    )
    store_leads(tenant_id, [lead])
    sql(
        "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at,"
        " idempotency_key) VALUES (%s, 'l', 'email', 'sent', now() - interval '1 day', 'k')",
        tenant_id,
    )
    sql(
        "UPDATE leads SET last_contacted_at = now() - interval '1 day' WHERE client_id = %s",
        tenant_id,
    )
    answer = plan(api, tenant_id, lead_id="l")
    assert [t.touch_number for t in answer.touches] == [2, 3, 4, 5, 6]
    assert answer.touches[0].gap_days >= 2.0
    assert {t.timezone for t in answer.touches} == {"Asia/Tokyo"}
    with pytest.raises(NotFound, match="lead 'ghost'"):
        plan(api, tenant_id, lead_id="ghost")


def test_a_suppressed_lead_gets_no_touches_and_the_reason(
    api: Client, target: str, tenant_id: str, store_leads: Callable[..., None]
) -> None:
    lead = Lead(lead_id="out", email="out@b.example", status=LeadStatus.UNSUBSCRIBED)
    store_leads(tenant_id, [lead])
    with grpc.insecure_channel(target) as channel:
        stub = recommendation_grpc.RecommendationServiceStub(channel)
        for subject in (
            {"lead_id": "out"},
            {"lead": core.Lead(email="out@b.example", unsubscribed=True)},
        ):
            request = recommendation.GetSequenceRequest(client_id=tenant_id, **subject)
            answer = stub.GetSequence(request)
            assert not answer.touches
            assert answer.decision_id
            assert answer.why_not == "suppressed"
            assert answer.why_not_text.startswith("the lead must not be contacted: ")
        open_ = recommendation.GetSequenceRequest(client_id=tenant_id, tier=core.TIER_HOT)
        planned = stub.GetSequence(open_)
        assert planned.touches
        assert not planned.HasField("why_not")
        assert planned.why_not_text == ""
    dead = plan(api, tenant_id, tier=core.TIER_DEAD)
    assert not dead.touches


def test_exploration_is_logged(api: Client, sql: Callable[..., Any], tenant_id: str) -> None:
    make_client(api, tenant_id, policy=admin.ClientPolicy(exploration_share=1.0))
    answer = plan(api, tenant_id, tier=core.TIER_HOT, touch_count=2)
    assert 0.0 < answer.propensity < 1.0

    def rows() -> list[tuple[Any, ...]]:
        statement = "SELECT kind, choice, propensity FROM decision_log WHERE decision_id = %s"
        return list(sql(statement, answer.decision_id))

    wait_until(lambda: bool(rows()), 5.0)
    channels = ",".join(t.channel for t in answer.touches)
    assert rows() == [("sequence", channels, answer.propensity)]


def test_content_before_and_after_learning(
    api: Client, tenant_id: str, store: Callable[..., None]
) -> None:
    before = content(api, tenant_id, channel="email")
    assert before.model.source == core.SOURCE_DEFAULT
    assert not before.pain_points.effective
    length = before.optimal_length
    assert (length.optimal, length.range_min, length.range_max) == (75, 50, 100)
    assert length.unit == "words"
    assert not content(api, tenant_id, channel="voice").optimal_length.HasField("optimal")
    store(tenant_id, what())
    wait_until(lambda: content(api, tenant_id).model.source == core.SOURCE_LEARNED, 2.0)
    after = content(api, tenant_id, channel="email")
    assert [r.value for r in after.pain_points.effective] == ["leads"]
    assert after.pain_points.effective[0].estimate.converted == 300
    assert after.pain_points.effective[0].verdict == core.VERDICT_WINNING
    assert [r.value for r in after.pain_points.ineffective] == ["cost"]
    assert [r.value for r in after.ctas.undecided] == ["worth a look"]
    assert after.optimal_length.optimal == 64
    assert after.model.sample_size == 4000
    store(tenant_id, what(), days=-1.0)
    wait_until(lambda: content(api, tenant_id).model.stale, 2.0)
    expired = content(api, tenant_id)
    assert expired.model.source == core.SOURCE_DEFAULT
    assert not expired.pain_points.effective


def test_prompt_lines_before_and_after_learning(
    api: Client, tenant_id: str, store: Callable[..., None]
) -> None:
    assert not context(api, tenant_id).lines
    how = replace(stored_patterns.how(now()), sequence_patterns=winning("linkedin", "voice"))
    store(tenant_id, what(), stored_patterns.when(now()), how)
    learned(api, tenant_id)
    answer = context(api, tenant_id)
    types = [line.type for line in answer.lines]
    assert types == sorted(types)
    assert set(types) == {core.PATTERN_TYPE_WHAT, core.PATTERN_TYPE_WHEN, core.PATTERN_TYPE_HOW}
    first = answer.lines[0]
    assert first.text == (
        "Most effective pain point: leads, 19.9 % of messages convert; it is in 60 % of converting"
        " messages (n = 1500, high confidence)."
    )
    assert (first.key, first.sample_size) == ("pain_points", 1500)
    assert first.estimate.converted == 300
    assert dict(first.figures) == {"share_converting": 0.6}
    assert answer.model.model_version == "how:1 what:1 when:1"
    assert answer.model.source == core.SOURCE_LEARNED
    assert len(context(api, tenant_id, max_lines=2).lines) == 2


def test_wrong_questions_are_refused(api: Client, tenant_id: str) -> None:
    for wrong, field in (
        ({}, "lead"),
        ({"tier": core.TIER_UNSPECIFIED}, "tier"),
        ({"tier": core.TIER_HOT, "touch_count": 21}, "touch_count"),
        ({"tier": core.TIER_HOT, "timezone": "Middle/Earth"}, "timezone"),
        ({"lead": core.Lead(employment_start_date="soon")}, "lead.employment_start_date"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            plan(api, tenant_id, **wrong)
        assert [v.field for v in refused.value.violations] == [field]
    with pytest.raises(InvalidArgument):
        context(api, tenant_id, max_lines=51)
    with pytest.raises(InvalidArgument):
        content(api, tenant_id, channel="E-MAIL")
    for ask in (content, context):
        with pytest.raises(NotFound, match="client 'nobody'"):
            ask(api, "nobody")
    with pytest.raises(NotFound, match="client 'nobody'"):
        plan(api, "nobody", tier=core.TIER_HOT)
