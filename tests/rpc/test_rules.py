"""Rules: what each kind refuses, and that the refusal names the field."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import analytics_service_pb2 as analytics
from cis_client.v1 import capture_service_pb2 as capture
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import experiment_service_pb2 as experiment
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import pattern_service_pb2 as patterns
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.errors import InvalidInput
from cis_server.rpc.rules import (
    Entries,
    Instant,
    Items,
    Number,
    OneOfNumbers,
    Text,
    Words,
    channel,
    check_item,
    check_request,
    clock,
    currency,
    ip_address,
    iso_date,
    true,
    uuid_text,
    zone,
)

UUID = "3f0c4b2a-1111-4222-8333-444455556666"


def violations(message: Message) -> list[tuple[str, str]]:
    try:
        check_request(message)
    except InvalidInput as error:
        return list(error.violations)
    return []


def score(**lead: Any) -> scoring.ScoreLeadRequest:
    return scoring.ScoreLeadRequest(client_id="c", lead=core.Lead(**lead))


def timing(**fields: Any) -> recommendation.GetTimingRequest:
    return recommendation.GetTimingRequest(client_id="c", **fields)


def client(**fields: Any) -> admin.UpsertClientRequest:
    return admin.UpsertClientRequest(client=admin.Client(client_id="c", **fields))


def campaign(**fields: Any) -> admin.UpsertCampaignsRequest:
    one = admin.Campaign(campaign_id="k", **fields)
    return admin.UpsertCampaignsRequest(client_id="c", campaigns=[one])


GOOD_JOB = core.Job(company="A", start_date="2020-01-01", end_date="2020-01-01")

WRONG: list[tuple[Message, str, str]] = [
    (scoring.ScoreLeadRequest(lead=core.Lead()), "client_id", "is required"),
    (scoring.ScoreLeadRequest(client_id="c"), "lead", "one of lead or lead_id is required"),
    (
        scoring.ScoreLeadRequest(client_id="c", lead_id=""),
        "lead_id",
        "must be 1 to 128 characters long, not 0",
    ),
    (scoring.ScoreLeadRequest(client_id="c" * 129, lead_id="x"), "client_id", "not 129"),
    (score(employee_count=-3), "lead.employee_count", "must lie in 0..100000000, not -3"),
    (score(email="no-at"), "lead.email", "must contain '@'"),
    (score(email="a@" + "b" * 400), "lead.email", "at most 320 characters"),
    (score(revenue=-0.5), "lead.revenue", "must be 0 or more, not -0.5"),
    (score(revenue=math.nan), "lead.revenue", "finite"),
    (score(revenue=math.inf), "lead.revenue", "finite"),
    (score(founded_year=999), "lead.founded_year", "1000..2200"),
    (score(timezone="Mars/Olympus"), "lead.timezone", "is not an IANA time zone"),
    (score(latest_funding_date="2024-2-30"), "lead.latest_funding_date", "YYYY-MM-DD"),
    (score(latest_funding_date="2024-02-30"), "lead.latest_funding_date", "YYYY-MM-DD"),
    (score(technologies=["ok", "x" * 201]), "lead.technologies[1]", "not 201"),
    (score(attributes={"k": "v" * 1001}), "lead.attributes[k]", "not 1001"),
    (score(attributes={"": "v"}), "lead.attributes", "key ''"),
    (score(email_status=77), "lead.email_status", "EmailStatus"),
    (score(status=-1), "lead.status", "LeadStatus"),
    (
        score(employment_history=[GOOD_JOB, GOOD_JOB, core.Job(end_date="2020/01/01")]),
        "lead.employment_history[2].end_date",
        "'2020/01/01' is not a date",
    ),
    (
        score(employment_history=[core.Job(start_date="2020-01-02", end_date="2020-01-01")]),
        "lead.employment_history[0].end_date",
        "2020-01-01 is before start_date, 2020-01-02",
    ),
    (
        scoring.ScoreLeadRequest(
            client_id="c", lead_id="x", as_of_time=Timestamp(seconds=20_000_000_000)
        ),
        "as_of_time",
        "1970..2200",
    ),
    (
        scoring.ScoreLeadRequest(client_id="c", lead_id="x", icp=core.Icp(employee_min=60)),
        "icp.employee_max",
        "50 is less than employee_min, 60",
    ),
    (scoring.BatchScoreLeadsRequest(client_id="c"), "leads", "either leads or lead_ids"),
    (
        scoring.BatchScoreLeadsRequest(client_id="c", leads=[core.Lead()], lead_ids=["a"]),
        "leads",
        "either leads or lead_ids",
    ),
    (
        scoring.BatchScoreLeadsRequest(client_id="c", leads=[core.Lead()] * 10_001),
        "leads",
        "at most 10000 entries, not 10001",
    ),
    (
        scoring.BatchScoreLeadsRequest(client_id="c", lead_ids=["a", ""]),
        "lead_ids[1]",
        "must be 1 to 128",
    ),
    (
        scoring.BatchScoreLeadsRequest(
            client_id="c", lead_ids=["a"] * 2001, view=scoring.LEAD_SCORE_VIEW_FULL
        ),
        "lead_ids",
        "at most 2000 entries in the full view, not 2001",
    ),
    (timing(channel="E-Mail"), "channel", "'E-Mail' is no channel"),
    (timing(count=51), "count", "1..50"),
    (timing(timezone="Sydney"), "timezone", "IANA"),
    (
        recommendation.GetChannelsRequest(client_id="c", used_channels=["email", "Bad one"]),
        "used_channels[1]",
        "is no channel",
    ),
    (recommendation.GetChannelsRequest(client_id="c", score=101), "score", "0..100"),
    (recommendation.GetChannelsRequest(client_id="c", tier=9), "tier", "Tier"),
    (patterns.GetPatternRequest(client_id="c"), "type", "is required"),
    (patterns.GetPatternRequest(client_id="c", type=99), "type", "PatternType"),
    (learning.LearnRequest(), "client_id", "one of client_id or all_eligible is required"),
    (learning.LearnRequest(all_eligible=False), "all_eligible", "must be true when given"),
    (
        learning.LearnRequest(client_id="c", as_of_time=Timestamp(seconds=int(time.time()) + 999)),
        "as_of_time",
        "must not lie in the future",
    ),
    (learning.GetLearningRunRequest(run_id="7"), "run_id", "'7' is not a UUID"),
    (learning.ListLearningRunsRequest(states=[1, 55]), "states[1]", "RunState"),
    (
        learning.SetWeightsRequest(
            client_id="c",
            approver="me",
            weights=core.Weights(
                data_quality=0.5, authority=0.5, company_fit=0.05, timing=0.05, risk=0.05
            ),
        ),
        "weights.data_quality",
        "must add up to 1, not 1.15",
    ),
    (admin.UpsertClientRequest(), "client", "is required"),
    (client(policy=admin.ClientPolicy(retention_days=1)), "client.policy.retention_days", "30.."),
    (
        client(policy=admin.ClientPolicy(tier_channels={"tepid": core.ChannelList()})),
        "client.policy.tier_channels",
        "hot, warm, cool, cold",
    ),
    (
        client(
            policy=admin.ClientPolicy(
                tier_channels={"hot": core.ChannelList(channels=["email", "X"])}
            )
        ),
        "client.policy.tier_channels[hot].channels[1]",
        "is no channel",
    ),
    (client(competitor_domains=["a.example", ""]), "client.competitor_domains[1]", "1 to 253"),
    (campaign(local_work_start="9:00"), "campaigns[0].local_work_start", "09:00"),
    (
        campaign(local_work_start="17:00", local_work_end="09:00"),
        "campaigns[0].local_work_end",
        "09:00 is not after 17:00",
    ),
    (campaign(work_days=[1, 1]), "campaigns[0].work_days", "twice"),
    (campaign(work_days=[8]), "campaigns[0].work_days[0]", "DayOfWeek"),
    (campaign(allocation={"email": 60}), "campaigns[0].allocation", "add up to 100, not 60"),
    (campaign(allocation={"email": 101}), "campaigns[0].allocation[email]", "0..100"),
    (admin.UpsertCampaignsRequest(client_id="c"), "campaigns", "1 to 1000"),
    (
        analytics.GetDealStatsRequest(
            client_id="c",
            period=analytics.Period(start_time=Timestamp(seconds=9), end_time=Timestamp(seconds=9)),
        ),
        "period.end_time",
        "must be after start_time",
    ),
    (
        analytics.GetDealStatsRequest(
            client_id="c",
            period=analytics.Period(
                start_time=Timestamp(seconds=0), end_time=Timestamp(seconds=3661 * 86_400)
            ),
        ),
        "period.end_time",
        "at most 3660 days",
    ),
]


@pytest.mark.parametrize(("message", "path", "words"), WRONG, ids=[f"{w[1]}-{w[2]}" for w in WRONG])
def test_a_wrong_field_is_named(message: Message, path: str, words: str) -> None:
    found = violations(message)
    assert path in [name for name, _ in found]
    assert words in dict(found)[path]


GOOD: list[Message] = [
    score(),
    score(employee_count=0, email="", timezone="", latest_funding_date="", founded_year=1000),
    score(employment_history=[GOOD_JOB], attributes={"k": ""}),
    scoring.BatchScoreLeadsRequest(client_id="c", leads=[core.Lead()] * 10_000),
    scoring.BatchScoreLeadsRequest(
        client_id="c", lead_ids=["a"] * 2000, view=scoring.LEAD_SCORE_VIEW_FULL
    ),
    timing(timezone="Australia/Sydney", channel="whatsapp_2", count=50),
    learning.LearnRequest(client_id="c", as_of_time=Timestamp(seconds=int(time.time()))),
    learning.LearnRequest(all_eligible=True),
    campaign(allocation={"email": 60, "sms": 40}, work_days=[7, 1], local_work_end="23:59"),
    client(timezone="UTC", policy=admin.ClientPolicy(exploration_share=0.0)),
]


@pytest.mark.parametrize("message", GOOD, ids=range(len(GOOD)))
def test_a_right_request_passes(message: Message) -> None:
    assert violations(message) == []


def test_items_of_a_batch_are_checked_alone() -> None:
    bad = core.Lead(employee_count=-1)
    request = scoring.BatchScoreLeadsRequest(client_id="c", leads=[core.Lead(), bad])
    assert violations(request) == []
    check_item(request.leads[0], "leads[0]")
    with pytest.raises(InvalidInput) as refused:
        check_item(bad, "leads[1]")
    assert refused.value.violations[0][0] == "leads[1].employee_count"


def test_several_wrong_fields_are_all_named() -> None:
    found = violations(score(employee_count=-1, email="x", timezone="?"))
    assert {name for name, _ in found} == {"lead.employee_count", "lead.email", "lead.timezone"}


def test_no_more_than_twenty_are_reported() -> None:
    jobs = [core.Job(start_date="x")] * 50
    assert len(violations(score(employment_history=jobs))) == 20


def test_money_of_a_deal_is_not_negative() -> None:
    item = capture.DealItem(
        idempotency_key="k",
        deal_id="d",
        lead_id="l",
        value=core.Money(currency_code="AUD", amount=-1),
    )
    with pytest.raises(InvalidInput) as refused:
        check_item(item, "items[4]")
    assert refused.value.violations == (("items[4].value.amount", "must be 0 or more, not -1"),)
    item.value.currency_code = "aud"
    with pytest.raises(InvalidInput, match=r"items\[4\]\.value\.currency_code"):
        check_item(item, "items[4]")


def test_variants_are_checked_each() -> None:
    request = experiment.CreateExperimentRequest(
        client_id="c",
        experiment_id="e",
        variants=[experiment.ExperimentVariant(name="a"), experiment.ExperimentVariant()],
    )
    assert ("variants[1].name", "is required") in violations(request)


# Kinds of rules


@given(st.text(st.characters(exclude_characters="\0"), max_size=20))
def test_text(value: str) -> None:
    rule = Text(2, 10)
    assert (rule(value) is None) == (2 <= len(value) <= 10)


@given(st.floats())
def test_numbers(value: float) -> None:
    assert (Number(-1, 1)(value) is None) == (-1 <= value <= 1)
    assert (Number(-1, 1, open_ends=True)(value) is None) == (-1 < value < 1)
    assert (Number(0)(value) is None) == (0 <= value < math.inf)


def test_instants() -> None:
    now = int(time.time())
    assert Instant()(Timestamp(seconds=0)) is None
    assert Instant()(Timestamp(seconds=-1)) is not None
    assert Instant(3600)(Timestamp(seconds=now + 1800)) is None
    assert Instant(3600)(Timestamp(seconds=now + 5400)) is not None


def test_items_and_entries() -> None:
    assert Items(3, least=1, each=Text(1, 2))(["a", "bb"]) is None
    assert Items(3, each=Text(1, 2))(["a", "bbb"]) == "[1] must be 1 to 2 characters long, not 3"
    assert Items(3, distinct=True)(["a", "a"]) is not None
    rule = Entries(2, Text(1, 1), Number(0, 10), total=10)
    assert rule({"a": 4, "b": 6}) is None
    assert rule({}) is None
    assert rule({"a": 4, "b": 5}) is not None
    assert rule({"a": 1, "b": 2, "c": 7}) is not None
    assert rule({"a": 11}) is not None
    assert rule({"aa": 10}) is not None


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        (channel, "email", "1mail"),
        (channel, "a" * 32, "a" * 33),
        (zone, "Europe/Vienna", "Europe/Atlantis"),
        (zone, "UTC", "../../etc/passwd"),
        (iso_date, "2024-02-29", "2023-02-29"),
        (iso_date, "", "20240229"),
        (clock, "23:59", "24:00"),
        (uuid_text, UUID, "nope"),
        (ip_address, "2001:db8::1", "1.2.3.256"),
        (currency, "AUD", "aud"),
        (true, True, False),
        (Words(("a", "b")), "a", "c"),
        (OneOfNumbers(frozenset((2, 3)), "two or three"), 2, 4),
    ],
)
def test_words_and_forms(rule: Any, right: Any, wrong: Any) -> None:
    assert rule(right) is None
    assert rule(wrong)
