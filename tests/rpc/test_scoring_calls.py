"""ScoreLead and BatchScoreLeads over the wire and a real database."""

from __future__ import annotations

import datetime as dt
import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from running_server import make_client, wait_until

from cis_client import Client
from cis_client.errors import InvalidArgument, NotFound
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import EmailStatus, LeadStatus

AS_OF = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)

CEO = {
    "email": "ceo@target.example",
    "title": "CEO",
    "industry": "Software",
    "employee_count": 20,
    "country": "Australia",
    "phone": "+61 400 000 000",
    "linkedin_url": "https://linkedin.com/in/ceo",
    "is_hiring": True,
}


def ceo(lead_id: str = "l-1") -> core.Lead:
    return core.Lead(lead_id=lead_id, email_status=core.EMAIL_STATUS_VERIFIED, **CEO)


def stored_ceo(lead_id: str = "l-1", **changes: Any) -> Lead:
    return Lead(lead_id=lead_id, email_status=EmailStatus.VERIFIED, **{**CEO, **changes})


def score(api: Client, client_id: str, **fields: Any) -> core.LeadScore:
    request = scoring.ScoreLeadRequest(client_id=client_id, **fields)
    if not request.HasField("as_of_time"):
        request.as_of_time.FromDatetime(AS_OF)
    return api.score_lead(request)


def test_by_attributes(api: Client, tenant_id: str) -> None:
    answer = score(api, tenant_id, lead=ceo())
    assert answer.lead_id == "l-1"
    points = [getattr(answer.components, f.name) for f in core.Components.DESCRIPTOR.fields]
    assert all(value > 0 for value in points)
    parts = [getattr(answer.contributions, f.name) for f in core.Contributions.DESCRIPTOR.fields]
    total = 0.0
    for part in parts:
        total += part
    assert total == answer.weighted_sum
    assert answer.score == min(100, math.floor(answer.weighted_sum))
    assert answer.tier == core.TIER_HOT
    assert "email" in answer.channels
    assert 1 <= len(answer.reasons) <= 6
    assert answer.model.source == core.SOURCE_DEFAULT
    assert not answer.HasField("conversion_probability")


def test_as_of_counts(api: Client, tenant_id: str) -> None:
    lead = core.Lead(lead_id="x", employment_start_date="2026-01-15")
    request = scoring.ScoreLeadRequest(client_id=tenant_id, lead=lead)
    request.as_of_time.FromDatetime(AS_OF)
    fresh = api.score_lead(request)
    request.as_of_time.FromDatetime(AS_OF + dt.timedelta(days=800))
    assert fresh.components.timing > api.score_lead(request).components.timing


def test_unknown_client(api: Client) -> None:
    with pytest.raises(NotFound, match="client 'nobody' does not exist") as refused:
        score(api, "nobody", lead=ceo())
    assert (refused.value.resource_type, refused.value.resource_name) == ("client", "nobody")
    with pytest.raises(NotFound, match="client 'nobody'"):
        score(api, "nobody", lead_id="l-1")


def test_a_wrong_field_is_named(api: Client, tenant_id: str) -> None:
    lead = ceo()
    lead.employee_count = -5
    with pytest.raises(InvalidArgument) as refused:
        score(api, tenant_id, lead=lead)
    assert [v.field for v in refused.value.violations] == ["lead.employee_count"]
    with pytest.raises(InvalidArgument) as refused:
        score(api, "", lead=ceo())
    assert [v.field for v in refused.value.violations] == ["client_id"]


def test_a_stored_lead_scores_as_its_attributes_do(
    api: Client, tenant_id: str, store_leads: Callable[..., None]
) -> None:
    store_leads(tenant_id, [stored_ceo()])
    by_id = score(api, tenant_id, lead_id="l-1")
    given = ceo()
    given.status = core.LEAD_STATUS_NEW
    given.bounce_count = 0
    given.unsubscribed = given.do_not_contact = False
    assert by_id == score(api, tenant_id, lead=given)
    with pytest.raises(NotFound, match="lead 'l-2' does not exist"):
        score(api, tenant_id, lead_id="l-2")


def test_the_profile_of_the_lead_s_campaign_counts(
    api: Client, tenant_id: str, store_leads: Callable[..., None]
) -> None:
    """Alone or in a batch, a stored lead is scored for the campaign it is in."""
    campaign = admin.Campaign(
        campaign_id="miners", icp=core.Icp(industries=["mining"], countries=["Chile"])
    )
    api.upsert_campaigns(admin.UpsertCampaignsRequest(client_id=tenant_id, campaigns=[campaign]))
    store_leads(tenant_id, [stored_ceo("plain")])
    store_leads(tenant_id, [stored_ceo("mine")], "miners")
    plain, mine = (score(api, tenant_id, lead_id=name) for name in ("plain", "mine"))
    assert mine.score < plain.score
    request = scoring.BatchScoreLeadsRequest(
        client_id=tenant_id, lead_ids=["mine", "plain", "mine"], view=scoring.LEAD_SCORE_VIEW_FULL
    )
    request.as_of_time.FromDatetime(AS_OF)
    batch = api.batch_score_leads(request)
    assert [s.score for s in batch.scores] == [mine.score, plain.score, mine.score]
    request.campaign_id = "miners"
    batch = api.batch_score_leads(request)
    assert [s.score for s in batch.scores] == [mine.score] * 3


def row(sql: Callable[..., Any], client_id: str, lead_id: str = "l-1") -> dict[str, Any]:
    names = ["status", "score", "tier", "components", "components_at_first_touch"]
    names += ["weights_used", "weights_source", "scored_at", "score_as_of"]
    (values,) = sql(
        f"SELECT {', '.join(names)} FROM leads WHERE client_id = %s AND lead_id = %s",
        client_id,
        lead_id,
    )
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LeadStatus.NEW, "scored"),
        (LeadStatus.ENRICHED, "scored"),
        (LeadStatus.IN_SEQUENCE, "in_sequence"),
        (LeadStatus.CONVERTED, "converted"),
        (LeadStatus.UNSUBSCRIBED, "unsubscribed"),
    ],
)
def test_persist_leaves_the_lifecycle_alone(
    api: Client,
    tenant_id: str,
    sql: Callable[..., Any],
    store_leads: Callable[..., None],
    before: LeadStatus,
    after: str,
) -> None:
    store_leads(tenant_id, [stored_ceo(status=before)])
    answer = score(api, tenant_id, lead_id="l-1", persist=True)
    stored = row(sql, tenant_id)
    assert stored["status"] == after
    assert stored["score"] == answer.score
    assert stored["tier"] == core.Tier.Name(answer.tier).removeprefix("TIER_").lower()
    assert stored["components"]["authority"] == answer.components.authority
    assert stored["weights_used"]["timing"] == answer.weights.timing
    assert stored["weights_source"] == "default"
    assert stored["score_as_of"] == AS_OF
    assert abs((dt.datetime.now(dt.UTC) - stored["scored_at"]).total_seconds()) < 60


def test_components_before_first_touch_are_the_last_before_it(
    api: Client, tenant_id: str, sql: Callable[..., Any], store_leads: Callable[..., None]
) -> None:
    store_leads(tenant_id, [stored_ceo()])
    score(api, tenant_id, lead_id="l-1", persist=True)
    first = row(sql, tenant_id)["components_at_first_touch"]
    changed = ceo()
    changed.title = "Intern"
    score(api, tenant_id, lead=changed, persist=True)
    stored = row(sql, tenant_id)
    assert stored["components"]["authority"] < first["authority"]
    assert stored["components_at_first_touch"] == stored["components"]


def test_persist_names_what_is_missing(api: Client, tenant_id: str) -> None:
    with pytest.raises(NotFound, match="lead 'l-1'"):
        score(api, tenant_id, lead=ceo(), persist=True)
    with pytest.raises(InvalidArgument, match=r"lead\.lead_id: is required with persist"):
        score(api, tenant_id, lead=core.Lead(title="CEO"), persist=True)


def test_a_batch_gives_what_single_calls_give(api: Client, tenant_id: str) -> None:
    leads = [ceo("a"), core.Lead(lead_id="b", title="Analyst"), core.Lead(lead_id="c")]
    request = scoring.BatchScoreLeadsRequest(
        client_id=tenant_id, leads=leads, view=scoring.LEAD_SCORE_VIEW_FULL
    )
    request.as_of_time.FromDatetime(AS_OF)
    batch = api.batch_score_leads(request)
    for one, lead in zip(batch.scores, leads, strict=True):
        alone = score(api, tenant_id, lead=lead)
        assert one.HasField("components")
        alone.ClearField("model")  # stands once for the batch
        assert one == alone
    assert batch.mean_score == pytest.approx(sum(s.score for s in batch.scores) / 3)
    counts = batch.tier_counts
    assert sum(getattr(counts, f.name) for f in counts.DESCRIPTOR.fields) == 3
    assert batch.weights == batch.scores[0].weights
    assert batch.model.source == core.SOURCE_DEFAULT


def test_one_bad_lead_fails_alone(api: Client, tenant_id: str) -> None:
    bad = ceo("bad")
    bad.employee_count = -1
    broken = core.Lead(lead_id="broken", latest_funding_date="last year")
    batch = api.batch_score_leads(
        scoring.BatchScoreLeadsRequest(client_id=tenant_id, leads=[ceo("a"), bad, broken, ceo("d")])
    )
    assert [s.lead_id for s in batch.scores] == ["a", "d"]
    assert [(f.index, f.lead_id, f.code) for f in batch.failures] == [
        (1, "bad", 3),
        (2, "broken", 3),
    ]
    assert "leads[1].employee_count" in batch.failures[0].message
    assert "leads[2].latest_funding_date" in batch.failures[1].message
    assert not batch.scores[0].HasField("components")


def test_too_many_leads_are_refused(api: Client, tenant_id: str) -> None:
    leads = [core.Lead(lead_id=str(i)) for i in range(10_001)]
    with pytest.raises(InvalidArgument) as refused:
        api.batch_score_leads(scoring.BatchScoreLeadsRequest(client_id=tenant_id, leads=leads))
    assert [v.field for v in refused.value.violations] == ["leads"]
    full = scoring.BatchScoreLeadsRequest(
        client_id=tenant_id, leads=leads[:2001], view=scoring.LEAD_SCORE_VIEW_FULL
    )
    with pytest.raises(InvalidArgument, match="at most 2000 entries in the full view, not 2001"):
        api.batch_score_leads(full)
    request = scoring.BatchScoreLeadsRequest(client_id=tenant_id, leads=leads[:10_000])
    assert len(api.batch_score_leads(request).scores) == 10_000


def test_stored_leads_in_a_batch(
    api: Client, tenant_id: str, sql: Callable[..., Any], store_leads: Callable[..., None]
) -> None:
    store_leads(tenant_id, [stored_ceo(f"l-{i}") for i in range(3)])
    batch = api.batch_score_leads(
        scoring.BatchScoreLeadsRequest(
            client_id=tenant_id, lead_ids=["l-0", "ghost", "l-2"], persist=True
        )
    )
    assert [s.lead_id for s in batch.scores] == ["l-0", "l-2"]
    assert [(f.index, f.lead_id, f.code) for f in batch.failures] == [(1, "ghost", 5)]
    assert row(sql, tenant_id, "l-0")["status"] == "scored"
    assert row(sql, tenant_id, "l-1")["status"] == "new"


def test_a_batch_that_is_stored_reports_what_was_not(
    api: Client, tenant_id: str, store_leads: Callable[..., None]
) -> None:
    store_leads(tenant_id, [stored_ceo("a")])
    batch = api.batch_score_leads(
        scoring.BatchScoreLeadsRequest(
            client_id=tenant_id, leads=[ceo("a"), ceo("ghost"), ceo("")], persist=True
        )
    )
    assert [s.lead_id for s in batch.scores] == ["a"]
    assert [(f.index, f.code) for f in batch.failures] == [(1, 5), (2, 3)]


def test_one_client_never_sees_another_s_leads(
    api: Client, tenant_id: str, sql: Callable[..., Any], store_leads: Callable[..., None]
) -> None:
    make_client(api, "other")
    store_leads("other", [stored_ceo("theirs")])
    with pytest.raises(NotFound, match="lead 'theirs'"):
        score(api, tenant_id, lead_id="theirs")
    with pytest.raises(NotFound, match="lead 'theirs'"):
        score(api, tenant_id, lead=ceo("theirs"), persist=True)
    assert row(sql, "other", "theirs")["score"] is None


def closed_in_time(read: Callable[[], core.LeadScore], committed: float) -> core.LeadScore:
    wait_until(lambda: read().suppressed, 1.0 - (time.monotonic() - committed), "suppression")
    return read()


def test_an_unsubscribe_by_sql_closes_the_channels(
    api: Client, tenant_id: str, sql: Callable[..., Any], store_leads: Callable[..., None]
) -> None:
    store_leads(tenant_id, [stored_ceo()])
    assert score(api, tenant_id, lead=ceo()).channels
    sql("UPDATE leads SET unsubscribed = true WHERE client_id = %s", tenant_id)
    committed = time.monotonic()
    closed = closed_in_time(lambda: score(api, tenant_id, lead=ceo()), committed)
    assert (closed.tier, list(closed.channels)) == (core.TIER_DEAD, [])
    assert closed.score > 0
    # The same person under another key, known by the address alone.
    again = score(api, tenant_id, lead=ceo("another-key"))
    assert again.suppressed


def test_the_global_list_counts_for_everybody(
    api: Client, tenant_id: str, sql: Callable[..., Any]
) -> None:
    lead = ceo()
    lead.email = "Private@Person.example"
    sql("INSERT INTO global_suppression (kind, value, reason)"
        " VALUES ('email', 'private@person.example', 'legal')")  # fmt: skip
    committed = time.monotonic()
    assert closed_in_time(lambda: score(api, tenant_id, lead=lead), committed).channels == []


def test_weights_that_go_live_reach_scores(
    api: Client, tenant_id: str, sql: Callable[..., Any]
) -> None:
    weights = {
        "data_quality": 0.05,
        "authority": 0.5,
        "company_fit": 0.25,
        "timing": 0.1,
        "risk": 0.1,
    }
    before = score(api, tenant_id, lead=ceo())
    sql(
        "INSERT INTO models (client_id, kind, target, version, origin, parameters, state,"
        " sample_size, confidence) VALUES (%s, 'weights', '', 3, 'learned', %s, 'live', 500, 0.75)",
        tenant_id,
        json.dumps(weights),
    )
    wait_until(lambda: score(api, tenant_id, lead=ceo()).model.source == core.SOURCE_LEARNED, 1.0)
    after = score(api, tenant_id, lead=ceo())
    assert after.model.model_version == "weights-3"
    assert (after.model.sample_size, after.model.confidence) == (500, 0.75)
    assert after.weights.authority == 0.5
    assert after.components == before.components
    assert after.weighted_sum != before.weighted_sum


def test_weights_that_do_not_hold_are_not_used(
    api: Client, tenant_id: str, sql: Callable[..., Any]
) -> None:
    sql(
        "INSERT INTO models (client_id, kind, target, version, origin, parameters, state)"
        " VALUES (%s, 'weights', '', 1, 'learned', '{\"authority\": 7}', 'live')",
        tenant_id,
    )
    time.sleep(0.5)
    assert score(api, tenant_id, lead=ceo()).model.source == core.SOURCE_DEFAULT
