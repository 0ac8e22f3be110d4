"""Timing, channels and patterns over the wire: defaults, then what is stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import stored_patterns
from google.protobuf.timestamp_pb2 import Timestamp
from running_server import make_client, wait_until

from cis_client import Client
from cis_client.errors import InvalidArgument, NotFound
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import pattern_service_pb2 as patterns
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_server.domain.lead import Lead
from cis_server.domain.runs import PatternOutcome
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import LeadStatus, PatternStatus, PatternType
from cis_server.persistence.connections import Role, make_engine, tenant
from cis_server.persistence.patterns import save_outcomes, save_patterns
from cis_server.rpc.pages import page_token

SYDNEY = ZoneInfo("Australia/Sydney")


@pytest.fixture(scope="module")
def store(module_database_url: str) -> Iterator[Callable[..., None]]:
    """Stores patterns, and how the runs of their types ended, as a run does."""
    engine = make_engine(module_database_url)

    def save(
        client_id: str,
        *stored: Stored,
        confidence: float = 0.9,
        days: float = 14.0,
        outcomes: tuple[PatternOutcome, ...] = (),
    ) -> None:
        now = dt.datetime.now(dt.UTC)
        rows = [
            stored_patterns.to_store(pattern, now, confidence=confidence, days=days)
            for pattern in stored
        ]
        with tenant(engine, client_id, Role.APP) as connection:
            save_patterns(connection, client_id, rows, "run-1")
            save_outcomes(connection, client_id, outcomes, "run-1", now)

    yield save
    engine.dispose()


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def timing(api: Client, client_id: str, **fields: Any) -> recommendation.GetTimingResponse:
    return api.get_timing(recommendation.GetTimingRequest(client_id=client_id, **fields))


def channels(api: Client, client_id: str, **fields: Any) -> recommendation.GetChannelsResponse:
    return api.get_channels(recommendation.GetChannelsRequest(client_id=client_id, **fields))


def local_start(window: recommendation.SendWindow, zone: str) -> dt.datetime:
    return window.start_time.ToDatetime(dt.UTC).astimezone(ZoneInfo(zone))


def learned(api: Client, client_id: str) -> None:
    """Wait until the pattern is in memory: the first question after a change loads it."""
    wait_until(
        lambda: (
            timing(api, client_id).model.source == core.SOURCE_LEARNED
            and channels(api, client_id).model.source == core.SOURCE_LEARNED
        ),
        2.0,
    )


def test_timing_before_anything_was_learned(api: Client, tenant_id: str) -> None:
    answer = timing(api, tenant_id, timezone="America/New_York", count=5)
    assert answer.model.source == core.SOURCE_DEFAULT
    assert answer.timezone == "America/New_York"
    assert answer.timezone_source == recommendation.TIMEZONE_SOURCE_EXACT
    assert len(answer.windows) == 5
    for window in answer.windows:
        local = local_start(window, "America/New_York")
        assert (local.isoweekday(), local.hour) == (window.day_of_week, window.hour)
        assert window.end_time.ToDatetime(dt.UTC) > now()
        assert window.local_start == local.isoformat()
        assert window.propensity in (0.0, 1.0)
    first, send = answer.windows[0], answer.next_send_time.ToNanoseconds()
    assert first.start_time.ToNanoseconds() <= send < first.end_time.ToNanoseconds()
    assert answer.decision_id
    assert answer.propensity == 1.0


def test_timing_of_an_unknown_place_is_assumed(api: Client, tenant_id: str) -> None:
    answer = timing(api, tenant_id)
    assert answer.timezone == "Australia/Sydney"
    assert answer.timezone_source == recommendation.TIMEZONE_SOURCE_ASSUMED
    vienna = timing(api, tenant_id, country="Austria")
    assert vienna.timezone == "Europe/Vienna"
    assert vienna.timezone_source == recommendation.TIMEZONE_SOURCE_COUNTRY


def test_wrong_questions_are_refused(api: Client, tenant_id: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        timing(api, tenant_id, timezone="Middle/Earth", channel="E-MAIL")
    assert [v.field for v in refused.value.violations] == ["timezone", "channel"]
    with pytest.raises(NotFound, match="client 'nobody'"):
        timing(api, "nobody")
    with pytest.raises(NotFound, match="client 'nobody'"):
        channels(api, "nobody")


def test_a_tier_that_is_not_stated_opens_no_channel(api: Client, tenant_id: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        channels(api, tenant_id, tier=core.TIER_UNSPECIFIED)
    assert [(v.field, v.description) for v in refused.value.violations] == [
        ("tier", "must be stated")
    ]
    assert channels(api, tenant_id).tier == core.TIER_UNSPECIFIED, "none asked for: all together"


def test_a_campaign_that_is_not_known_is_named(api: Client, tenant_id: str) -> None:
    with pytest.raises(NotFound, match="campaign 'typo'"):
        timing(api, tenant_id, campaign_id="typo")
    with pytest.raises(NotFound, match="campaign 'typo'"):
        channels(api, tenant_id, campaign_id="typo")


def test_a_stored_pattern_decides_the_timing(
    api: Client, tenant_id: str, store: Callable[..., None]
) -> None:
    store(tenant_id, stored_patterns.when(now()), stored_patterns.how(now()))
    learned(api, tenant_id)
    answer = timing(api, tenant_id, timezone="Europe/Berlin")
    assert answer.best_days[0].day_of_week == core.DAY_OF_WEEK_THURSDAY
    assert answer.best_hours[0].hour == 15
    window = answer.windows[0]
    assert (window.day_of_week, window.hour) == (core.DAY_OF_WEEK_THURSDAY, 15)
    local = local_start(window, "Europe/Berlin")
    assert (local.isoweekday(), local.hour) == (4, 15)
    assert window.estimate.sample > 0
    assert answer.model.model_version == "1"
    assert answer.model.sample_size == 4000
    assert not answer.model.stale


def test_the_gap_is_the_learned_one(
    api: Client, tenant_id: str, store: Callable[..., None]
) -> None:
    store(tenant_id, stored_patterns.when(now()), stored_patterns.how(now()))
    learned(api, tenant_id)
    last = Timestamp()
    last.FromDatetime(now() - dt.timedelta(days=1))
    answer = timing(api, tenant_id, touch_number=2, last_touch_time=last)
    assert (answer.gap_days, answer.gap_min_days, answer.gap_max_days) == (9.0, 7.0, 12.0)
    waited = answer.next_send_time.ToDatetime(dt.UTC) - last.ToDatetime(dt.UTC)
    assert dt.timedelta(days=7) <= waited <= dt.timedelta(days=12, hours=1)


def test_a_stored_lead_brings_zone_and_touches(
    api: Client, tenant_id: str, sql: Callable[..., Any], store_leads: Callable[..., None]
) -> None:
    lead = Lead(lead_id="l", email="a@b.example", timezone="Asia/Tokyo", title="CEO")
    store_leads(tenant_id, [lead])
    sql(
        "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at,"
        " idempotency_key) VALUES (%s, 'l', 'email', 'sent', now() - interval '1 day', 'k')",
        tenant_id,
    )
    answer = timing(api, tenant_id, lead_id="l")
    assert answer.timezone == "Asia/Tokyo"
    assert answer.gap_days > 0
    choice = channels(api, tenant_id, lead_id="l")
    assert choice.tier != core.TIER_UNSPECIFIED
    assert {c.channel: c.allowed for c in choice.channels}["voice"] is False
    with pytest.raises(NotFound, match="lead 'ghost'"):
        timing(api, tenant_id, lead_id="ghost")
    with pytest.raises(NotFound, match="lead 'ghost'"):
        channels(api, tenant_id, lead_id="ghost")


def test_a_stored_lead_counts_the_touches_of_the_campaign_asked_for(
    api: Client, tenant_id: str, sql: Callable[..., Any], store_leads: Callable[..., None]
) -> None:
    api.upsert_campaigns(
        admin.UpsertCampaignsRequest(
            client_id=tenant_id,
            campaigns=[admin.Campaign(campaign_id=name) for name in ("spring", "autumn")],
        )
    )
    lead = Lead(lead_id="l", email="a@b.example", timezone="Asia/Tokyo", title="CEO")
    store_leads(tenant_id, [lead], "spring")
    for days, campaign in ((9, "spring"), (8, "autumn"), (7, "spring"), (5, "spring")):
        sql(
            "INSERT INTO activities (client_id, lead_id, campaign_id, channel, action, occurred_at,"
            " idempotency_key) VALUES (%s, 'l', %s, 'email', 'sent', now() - %s * interval '1 day',"
            " %s)",
            tenant_id,
            campaign,
            days,
            f"k{days}",
        )
    by_default = {2: 2.0, 4: 4.0}  # days before the touch of this number
    assert timing(api, tenant_id, lead_id="l").gap_days == by_default[4]
    assert timing(api, tenant_id, lead_id="l", campaign_id="autumn").gap_days == by_default[2]
    plan = api.get_sequence(
        recommendation.GetSequenceRequest(
            client_id=tenant_id, lead_id="l", campaign_id="autumn", available_channels=["email"]
        )
    )
    assert [touch.touch_number for touch in plan.touches] == [2, 3, 4, 5, 6]


def test_an_opted_out_lead_has_no_channel(
    api: Client, tenant_id: str, store_leads: Callable[..., None]
) -> None:
    store_leads(
        tenant_id, [Lead(lead_id="l", email="out@b.example", status=LeadStatus.UNSUBSCRIBED)]
    )
    answer = channels(api, tenant_id, lead_id="l")
    assert not answer.next_channel
    assert not any(choice.allowed for choice in answer.channels)
    assert all(choice.why_not for choice in answer.channels)


def test_channels_before_anything_was_learned(api: Client, tenant_id: str) -> None:
    answer = channels(api, tenant_id, tier=core.TIER_HOT)
    assert answer.model.source == core.SOURCE_DEFAULT
    assert answer.next_channel
    assert answer.multi_channel.recommendation == core.MULTI_CHANNEL_RECOMMENDATION_UNKNOWN
    dead = channels(api, tenant_id, tier=core.TIER_DEAD)
    assert not dead.next_channel
    by_score = channels(api, tenant_id, score=100)
    assert by_score.tier == core.TIER_HOT
    assert by_score.next_channel == answer.next_channel


def test_a_stored_pattern_decides_the_channel(
    api: Client, tenant_id: str, store: Callable[..., None]
) -> None:
    store(tenant_id, stored_patterns.when(now()), stored_patterns.how(now()))
    learned(api, tenant_id)
    answer = channels(api, tenant_id, tier=core.TIER_HOT)
    assert answer.next_channel == "voice"
    assert answer.channels[0].channel == "voice"
    assert answer.channels[0].estimate.sample == 1000
    assert answer.multi_channel.recommendation == core.MULTI_CHANNEL_RECOMMENDATION_MULTI
    assert answer.multi_channel.multi.converted == 200
    only = channels(api, tenant_id, tier=core.TIER_HOT, available_channels=["email"])
    assert only.next_channel == "email"


def test_get_pattern(api: Client, tenant_id: str, store: Callable[..., None]) -> None:
    request = patterns.GetPatternRequest(client_id=tenant_id, type=core.PATTERN_TYPE_WHO)
    with pytest.raises(NotFound, match="pattern 'who'"):
        api.get_pattern(request)
    ok = PatternOutcome(type=PatternType.WHO, status=PatternStatus.OK, sample_size=4000)
    store(tenant_id, stored_patterns.who(now()), outcomes=(ok,))
    wait_until(lambda: found(api, request), 2.0)
    answer = api.get_pattern(request)
    assert [s.value for s in answer.pattern.who.title_rankings] == ["founder", "analyst"]
    assert answer.pattern.who.title_rankings[0].estimate.converted == 90
    assert answer.pattern.client_id == tenant_id
    assert answer.last_run.status == core.PATTERN_STATUS_OK
    assert answer.model.source == core.SOURCE_LEARNED


def found(api: Client, request: patterns.GetPatternRequest) -> bool:
    try:
        return api.get_pattern(request).HasField("pattern")
    except NotFound:
        return False


def test_insufficient_data_keep_the_last_good_pattern(
    api: Client, tenant_id: str, store: Callable[..., None]
) -> None:
    few = PatternOutcome(
        type=PatternType.HOW,
        status=PatternStatus.INSUFFICIENT_DATA,
        reason="3 conversions",
        sample_size=40,
    )
    ok = PatternOutcome(type=PatternType.HOW, status=PatternStatus.OK)
    store(tenant_id, stored_patterns.how(now()), outcomes=(ok,))
    store(tenant_id, outcomes=(few,))
    request = patterns.GetPatternRequest(client_id=tenant_id, type=core.PATTERN_TYPE_HOW)

    def told() -> bool:
        try:
            return api.get_pattern(request).last_run.reason == "3 conversions"
        except NotFound:  # the notification is still under way
            return False

    wait_until(told, 2.0)
    answer = api.get_pattern(request)
    assert answer.last_run.status == core.PATTERN_STATUS_INSUFFICIENT_DATA
    assert answer.pattern.how.channel_effectiveness[0].value == "voice"


def test_list_patterns(api: Client, tenant_id: str, store: Callable[..., None]) -> None:
    request = patterns.ListPatternsRequest(client_id=tenant_id)
    assert list(api.list_patterns(request).patterns) == []
    failed = PatternOutcome(type=PatternType.WHEN, status=PatternStatus.ERROR, reason="bug")
    store(tenant_id, stored_patterns.who(now()), stored_patterns.how(now()), outcomes=(failed,))
    wait_until(lambda: len(api.list_patterns(request).patterns) == 2, 2.0)
    answer = api.list_patterns(request)
    assert [p.type for p in answer.patterns] == [core.PATTERN_TYPE_WHO, core.PATTERN_TYPE_HOW]
    assert [(r.type, r.status) for r in answer.last_runs] == [
        (core.PATTERN_TYPE_WHEN, core.PATTERN_STATUS_ERROR)
    ]
    with pytest.raises(NotFound, match="client 'nobody'"):
        api.list_patterns(patterns.ListPatternsRequest(client_id="nobody"))


def test_patterns_come_in_pages(api: Client, tenant_id: str, store: Callable[..., None]) -> None:
    store(tenant_id, stored_patterns.when(now()), stored_patterns.how(now()))
    wait_until(lambda: len(listed(api, tenant_id).patterns) == 2, 2.0)
    whole = listed(api, tenant_id)
    assert not whole.next_page_token
    first = listed(api, tenant_id, page_size=1)
    second = listed(api, tenant_id, page_size=1, page_token=first.next_page_token)
    assert [*first.patterns, *second.patterns] == list(whole.patterns)
    assert (len(first.patterns), len(second.patterns)) == (1, 1)
    assert not second.next_page_token
    assert first.last_runs == second.last_runs == whole.last_runs


@pytest.mark.parametrize("token", ["garbage", page_token("who", "1"), page_token("dreams")])
def test_a_token_that_the_list_did_not_give_is_refused(
    api: Client, tenant_id: str, token: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        listed(api, tenant_id, page_token=token)
    assert [v.field for v in refused.value.violations] == ["page_token"]


def listed(api: Client, client_id: str, **fields: Any) -> patterns.ListPatternsResponse:
    return api.list_patterns(patterns.ListPatternsRequest(client_id=client_id, **fields))


def test_expired_patterns_are_shown_when_asked_for(
    api: Client, tenant_id: str, store: Callable[..., None]
) -> None:
    store(tenant_id, stored_patterns.when(now()), days=-1.0)
    asked = patterns.ListPatternsRequest(client_id=tenant_id, include_expired=True)
    wait_until(lambda: len(api.list_patterns(asked).patterns) == 1, 2.0)
    assert api.list_patterns(asked).patterns[0].stale
    assert not api.list_patterns(patterns.ListPatternsRequest(client_id=tenant_id)).patterns
    answer = timing(api, tenant_id)
    assert answer.model.source == core.SOURCE_DEFAULT
    assert answer.model.stale


def test_one_client_never_sees_another_s_patterns(
    api: Client, tenant_id: str, store: Callable[..., None]
) -> None:
    make_client(api, f"{tenant_id}-other")
    store(f"{tenant_id}-other", stored_patterns.when(now()), stored_patterns.how(now()))
    learned(api, f"{tenant_id}-other")
    assert timing(api, tenant_id).model.source == core.SOURCE_DEFAULT
    assert channels(api, tenant_id, tier=core.TIER_HOT).model.source == core.SOURCE_DEFAULT


def test_get_weights(api: Client, tenant_id: str, sql: Callable[..., Any]) -> None:
    request = patterns.GetWeightsRequest(client_id=tenant_id)
    before = api.get_weights(request)
    assert before.weights == before.default_weights
    assert not before.HasField("learned_weights")
    assert before.model.source == core.SOURCE_DEFAULT
    sql(
        "INSERT INTO models (client_id, kind, target, version, origin, parameters, state,"
        " sample_size, confidence, valid_until) VALUES (%s, 'weights', '', 1, 'learned',"
        ' \'{"data_quality": 0.1, "authority": 0.4, "company_fit": 0.2, "timing": 0.2,'
        " \"risk\": 0.1}', 'live', 700, 0.8, now() + interval '1 day')",
        tenant_id,
    )
    wait_until(lambda: api.get_weights(request).sample_size == 700, 2.0)
    after = api.get_weights(request)
    assert after.weights.authority == 0.4
    assert after.default_weights == before.default_weights
    assert not after.HasField("learned_weights"), "they are the ones in force"
    assert after.model.model_version == "weights-1"
    assert after.HasField("updated_time")
    sql("UPDATE models SET valid_until = now() WHERE client_id = %s", tenant_id)
    wait_until(lambda: api.get_weights(request).HasField("learned_weights"), 2.0)
    expired = api.get_weights(request)
    assert expired.weights == expired.default_weights
    assert expired.learned_weights.authority == 0.4
    assert expired.learned_version == "weights-1"
    assert expired.sample_size == 0
    assert expired.model.stale
