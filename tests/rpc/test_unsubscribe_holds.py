"""Who opts out is closed at once on every answer, and no scoring ever opens or forgets it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from running_server import wait_until

from cis_client import Client
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import EmailStatus, LeadStatus
from cis_server.persistence.connections import make_engine
from cis_server.persistence.rederive import drain_all
from cis_server.worker.rescorer import Rescorer

Sql = Callable[..., list[tuple[Any, ...]]]

OPT_OUTS = {
    "status": "UPDATE leads SET status = 'unsubscribed' WHERE client_id = %s",
    "flag": "UPDATE leads SET do_not_contact = true WHERE client_id = %s",
    "event": "INSERT INTO activities (client_id, lead_id, channel, action)"
    " VALUES (%s, 'l-1', 'email', 'unsubscribed')",
    "complaint": "INSERT INTO email_events (client_id, activity_id, lead_id, event_type)"
    " SELECT client_id, activity_id, lead_id, 'complained' FROM activities WHERE client_id = %s",
    "list": "INSERT INTO suppression (client_id, kind, value)"
    " VALUES (%s, 'email', 'ceo@target.example')",
}


@pytest.fixture
def rescored(module_database_url: str) -> Iterator[Callable[[Client, str], None]]:
    """Scores all leads of a client again, the way a worker does."""
    engine = make_engine(module_database_url)
    rescorer = Rescorer(engine, module_database_url, lambda: dt.datetime.now(dt.UTC), chunk=5)

    def run(api: Client, client_id: str) -> None:
        drain_all(engine)
        request = scoring.RescoreLeadsRequest(client_id=client_id)
        with api.rescore_leads(request, timeout_seconds=30) as stream:
            run_id = next(stream).run_id
        rescorer.rescore(client_id, run_id, False)

    yield run
    engine.dispose()


@pytest.mark.parametrize("how", OPT_OUTS)
def test_the_gate_closes_at_once_and_stays_closed_after_scoring_again(
    api: Client,
    tenant_id: str,
    sql: Sql,
    store_leads: Callable[..., None],
    rescored: Callable[[Client, str], None],
    how: str,
) -> None:
    lead = Lead(
        lead_id="l-1",
        email="ceo@target.example",
        email_status=EmailStatus.VERIFIED,
        title="CEO",
        industry="Software",
        employee_count=20,
        country="Australia",
        phone="+61 400 000 000",
        status=LeadStatus.IN_SEQUENCE,
    )
    store_leads(tenant_id, [lead])
    sql(
        "INSERT INTO activities (client_id, lead_id, channel, action)"
        " VALUES (%s, 'l-1', 'email', 'sent')",
        tenant_id,
    )
    ask = {"client_id": tenant_id, "lead_id": "l-1"}

    def score(**more: Any) -> core.LeadScore:
        return api.score_lead(scoring.ScoreLeadRequest(**ask, **more))

    assert len(score(persist=True).channels) > 1
    columns = "status, unsubscribed, do_not_contact"
    sql(OPT_OUTS[how], tenant_id)
    committed = time.monotonic()
    stated = sql(f"SELECT {columns} FROM leads WHERE client_id = %s", tenant_id)

    def assert_closed() -> None:
        answer = score()
        assert (answer.suppressed, answer.tier, list(answer.channels)) == (
            True,
            core.TIER_DEAD,
            [],
        )
        channels = api.get_channels(recommendation.GetChannelsRequest(**ask))
        assert not channels.HasField("next_channel")
        assert not any(channel.allowed for channel in channels.channels)
        assert not api.get_sequence(recommendation.GetSequenceRequest(**ask)).touches
        top = api.list_top_leads(scoring.ListTopLeadsRequest(client_id=tenant_id))
        assert not top.scores

    wait_until(lambda: score().suppressed, 1.0 - (time.monotonic() - committed), "suppression")
    assert_closed()
    score(persist=True)
    api.batch_score_leads(
        scoring.BatchScoreLeadsRequest(client_id=tenant_id, lead_ids=["l-1"], persist=True)
    )
    rescored(api, tenant_id)
    assert sql(f"SELECT {columns} FROM leads WHERE client_id = %s", tenant_id) == stated
    assert sql("SELECT tier FROM leads WHERE client_id = %s", tenant_id) == [("dead",)]
    assert_closed()
