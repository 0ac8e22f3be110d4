"""Clients and campaigns over the wire, and how other processes hear of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health_pb2, health_pb2_grpc
from running_server import connected, make_client, serving_here, wait_until

from cis_client import Client
from cis_client.errors import InvalidArgument, NotFound, Unimplemented
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import analytics_service_pb2 as analytics
from cis_client.v1 import capture_service_pb2 as capture
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import scoring_service_pb2 as scoring


def test_a_client_is_made_changed_and_read(api: Client) -> None:
    request = admin.UpsertClientRequest(
        client=admin.Client(
            client_id="acme",
            name="Acme Pty Ltd",
            timezone="Europe/Vienna",
            icp=core.Icp(industries=["banking"], employee_min=10, employee_max=900),
            competitor_domains=[" Rival.Example "],
            policy=admin.ClientPolicy(
                pooling=True, tier_channels={"cold": core.ChannelList(channels=["fax"])}
            ),
        )
    )
    made = api.upsert_client(request)
    assert made.created
    assert made.client.subscription_status == admin.SUBSCRIPTION_STATUS_TRIALING
    assert made.client.policy.promotion == admin.PROMOTION_MANUAL
    assert list(made.client.competitor_domains) == ["rival.example"]
    again = api.upsert_client(
        admin.UpsertClientRequest(
            client=admin.Client(client_id="acme", name=""),
            update_mask=FieldMask(paths=["name", "policy.pooling"]),
        )
    )
    assert not again.created
    stored = api.get_client(admin.GetClientRequest(client_id="acme")).client
    assert stored == again.client
    assert (stored.name, stored.policy.pooling) == ("", False)
    assert stored.icp == made.client.icp
    assert stored.policy.tier_channels["cold"].channels == ["fax"]
    assert stored.created_time == made.client.created_time
    assert stored.updated_time.ToNanoseconds() >= made.client.updated_time.ToNanoseconds()


def test_wrong_clients_are_refused(api: Client, tenant_id: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        make_client(api, "x", timezone="Nowhere/City")
    assert [v.field for v in refused.value.violations] == ["client.timezone"]
    request = admin.UpsertClientRequest(
        client=admin.Client(client_id=tenant_id), update_mask=FieldMask(paths=["nmae"])
    )
    with pytest.raises(InvalidArgument, match="update_mask"):
        api.upsert_client(request)
    with pytest.raises(NotFound):
        api.get_client(admin.GetClientRequest(client_id="x"))


def test_a_client_answers_from_the_next_call_on(api: Client) -> None:
    make_client(api, "fresh")
    answer = api.score_lead(scoring.ScoreLeadRequest(client_id="fresh", lead=core.Lead()))
    assert answer.tier


def test_the_policy_reaches_scores(api: Client, tenant_id: str) -> None:
    lead = core.Lead(lead_id="x", phone="+61400000000", country="Australia")
    request = scoring.ScoreLeadRequest(client_id=tenant_id, lead=lead)
    before = api.score_lead(request)
    tier = core.Tier.Name(before.tier).removeprefix("TIER_").lower()
    make_client(
        api,
        tenant_id,
        policy=admin.ClientPolicy(tier_channels={tier: core.ChannelList(channels=["voice"])}),
    )
    assert list(api.score_lead(request).tier_channels) == ["voice"]


def test_pages_of_clients(api: Client) -> None:
    names = [f"page-{i:02}" for i in range(7)]
    for name in names:
        paused = name == "page-03"
        status = admin.SUBSCRIPTION_STATUS_PAUSED if paused else admin.SUBSCRIPTION_STATUS_ACTIVE
        make_client(api, name, subscription_status=status)
    seen: list[str] = []
    token = ""
    for _ in range(100):
        page = api.list_clients(admin.ListClientsRequest(page_size=3, page_token=token))
        assert len(page.clients) <= 3
        seen += [client.client_id for client in page.clients]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(set(seen))
    assert [name for name in seen if name.startswith("page-")] == names
    some = api.list_clients(
        admin.ListClientsRequest(subscription_statuses=[admin.SUBSCRIPTION_STATUS_PAUSED])
    )
    assert [client.client_id for client in some.clients] == ["page-03"]
    with pytest.raises(InvalidArgument, match="page_token"):
        api.list_clients(admin.ListClientsRequest(page_token="bogus"))


def test_a_deleted_client_is_gone(api: Client, tenant_id: str, sql: Callable[..., Any]) -> None:
    sql("UPDATE clients SET deleted_at = now() WHERE client_id = %s", tenant_id)
    request = scoring.ScoreLeadRequest(client_id=tenant_id, lead=core.Lead())

    def gone() -> bool:
        try:
            api.score_lead(request)
        except NotFound:
            return True
        return False

    wait_until(gone, 1.0)
    with pytest.raises(NotFound):
        api.get_client(admin.GetClientRequest(client_id=tenant_id))


def test_campaigns(api: Client, tenant_id: str) -> None:
    def put(*campaigns: admin.Campaign) -> admin.UpsertCampaignsResponse:
        return api.upsert_campaigns(
            admin.UpsertCampaignsRequest(client_id=tenant_id, campaigns=campaigns)
        )

    first = put(
        admin.Campaign(campaign_id="a", timezone="Asia/Tokyo", local_work_start="10:00"),
        admin.Campaign(campaign_id="b", work_days=[6, 7]),
    )
    assert (first.created, first.updated) == (2, 0)
    second = put(admin.Campaign(campaign_id="b"), admin.Campaign(campaign_id="c"))
    assert (second.created, second.updated) == (1, 1)
    answer = api.get_timing(recommendation.GetTimingRequest(client_id=tenant_id, campaign_id="a"))
    assert answer.timezone == "Asia/Tokyo"
    with pytest.raises(InvalidArgument, match="names one campaign_id twice"):
        put(admin.Campaign(campaign_id="d"), admin.Campaign(campaign_id="d"))
    with pytest.raises(InvalidArgument, match=r"campaigns\[0\]\.campaign_id"):
        put(admin.Campaign())
    request = admin.UpsertCampaignsRequest(
        client_id="nobody", campaigns=[admin.Campaign(campaign_id="a")]
    )
    with pytest.raises(NotFound, match="client 'nobody'"):
        api.upsert_campaigns(request)


def test_other_processes_hear_of_a_client(
    api: Client, module_database_url: str, tenant_id: str
) -> None:
    """What one process writes, another answers for within a second, by NOTIFY."""
    with serving_here(module_database_url) as target, connected(target) as other:

        def known(client_id: str) -> bool:
            request = scoring.ScoreLeadRequest(
                client_id=client_id, lead=core.Lead(domain="r.example")
            )
            try:
                return bool(other.score_lead(request).tier)
            except NotFound:
                return False

        assert known(tenant_id)
        assert not known("late")
        make_client(api, "late")
        wait_until(lambda: known("late"), 1.0)
        make_client(api, "late", competitor_domains=["r.example"])
        request = scoring.ScoreLeadRequest(client_id="late", lead=core.Lead(domain="r.example"))
        wait_until(lambda: other.score_lead(request).suppressed, 1.0)


def test_rpcs_of_later_releases_say_so(api: Client, tenant_id: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: api.analyze_reply(capture.AnalyzeReplyRequest(client_id=tenant_id, text="no")),
        lambda: api.get_deal_stats(analytics.GetDealStatsRequest(client_id=tenant_id)),
        lambda: api.erase_lead(admin.EraseLeadRequest(client_id=tenant_id, lead_id="l")),
    ]
    for call in calls:
        with pytest.raises(Unimplemented, match="not served by this release"):
            call()


def test_health_of_every_service(target: str) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "cis.v1.ScoringService", "cis.v1.AnalyticsService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            stub.Check(health_pb2.HealthCheckRequest(service="cis.v1.Nonsense"), timeout=5)
