"""`BatchScoreLeads` over the wire, before and after the kernels of columns are there."""

from __future__ import annotations

import datetime as dt
import threading

import grpc
import pytest
from running_server import wait_until

from cis_client import Client
from cis_client.errors import InvalidArgument, NotFound
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.rpc.services.batch_scoring import LOADING

BATCH = "/cis.v1.ScoringService/BatchScoreLeads"
COPIES = 8  # batches of few leads are never columns
VIEWS = (scoring.LEAD_SCORE_VIEW_BASIC, scoring.LEAD_SCORE_VIEW_FULL)


def request(
    client_id: str, view: scoring.LeadScoreView.ValueType
) -> scoring.BatchScoreLeadsRequest:
    leads = [
        core.Lead(lead_id="l-1", title="CEO", email="ceo@target.example", country="Australia"),
        core.Lead(lead_id="l-2", email="nobody"),
        core.Lead(title="Geschäftsführer", unsubscribed=True, attributes={"plan": "free"}),
    ]
    asked = scoring.BatchScoreLeadsRequest(client_id=client_id, leads=leads * COPIES, view=view)
    asked.as_of_time.FromDatetime(dt.datetime(2026, 3, 2, tzinfo=dt.UTC))
    return asked


def loaded(api: Client, client_id: str) -> None:
    """Have the kernels loaded: the first batch sets that off."""
    api.batch_score_leads(request(client_id, VIEWS[0]))
    wait_until(lambda: all(thread.name != LOADING for thread in threading.enumerate()), 120)


def test_answers_stay_the_same_once_leads_are_columns(api: Client, tenant_id: str) -> None:
    before = [api.batch_score_leads(request(tenant_id, view)) for view in VIEWS]
    loaded(api, tenant_id)
    assert [api.batch_score_leads(request(tenant_id, view)) for view in VIEWS] == before
    assert [failure.index for failure in before[0].failures] == list(range(1, 3 * COPIES, 3))
    assert len(before[0].scores) == 2 * COPIES
    assert before[0].scores[1].suppressed


def test_bytes_that_are_no_message_are_refused(api: Client, target: str, tenant_id: str) -> None:
    loaded(api, tenant_id)
    good = request(tenant_id, VIEWS[0]).SerializeToString()
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(BATCH)
        for body in (good[:-1], good.replace(b"CEO", b"C\xffO"), b"\x12\x05"):
            with pytest.raises(grpc.RpcError) as raised:
                call(body, timeout=10)
            assert raised.value.code() is grpc.StatusCode.INTERNAL
            assert raised.value.details() == "Exception deserializing request!"


def test_what_surrounds_the_leads_is_checked(api: Client, tenant_id: str) -> None:
    loaded(api, tenant_id)
    asked = request(tenant_id, VIEWS[0])
    asked.icp.employee_min, asked.icp.employee_max = 9, 3
    with pytest.raises(InvalidArgument) as refused:
        api.batch_score_leads(asked)
    assert "icp.employee_max" in str(refused.value)
    with pytest.raises(NotFound):
        api.batch_score_leads(request("nobody", VIEWS[1]))
    many = scoring.BatchScoreLeadsRequest(
        client_id=tenant_id, leads=[core.Lead()] * 2001, view=VIEWS[1]
    )
    with pytest.raises(InvalidArgument, match="2000"):
        api.batch_score_leads(many)
