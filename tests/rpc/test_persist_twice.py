"""A lead that stands in a batch twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cis_client import Client
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead


def test_the_last_score_is_the_one_that_is_kept(
    api: Client,
    tenant_id: str,
    store_leads: Callable[..., None],
    sql: Callable[..., list[tuple[Any, ...]]],
) -> None:
    store_leads(tenant_id, [Lead(lead_id="twice")])
    titles = ["CEO", "Intern", "Manager", "CEO", "Director"]
    request = scoring.BatchScoreLeadsRequest(
        client_id=tenant_id,
        leads=[core.Lead(lead_id="twice", title=title) for title in titles],
        persist=True,
    )
    answer = api.batch_score_leads(request)
    assert len(answer.scores) == len(titles)
    [(kept,)] = sql("SELECT score FROM leads WHERE client_id = %s", tenant_id)
    assert kept == answer.scores[-1].score != answer.scores[0].score
