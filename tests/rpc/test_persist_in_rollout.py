"""Scores persisted during a staged rollout: two versions, one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cis_client import Client
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.domain.registry import ModelKind, NewModel
from cis_server.domain.weights import Weights
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.models import insert_model

LEADS = 40


def test_both_versions_are_committed_together(
    api: Client,
    tenant_id: str,
    store_leads: Callable[..., None],
    sql: Callable[..., list[tuple[Any, ...]]],
    module_database_url: str,
) -> None:
    engine = make_engine(module_database_url)
    with tenant(engine, tenant_id) as connection:
        for authority in (0.4, 0.1):
            weights = Weights(0.5 - authority, authority, 0.2, 0.2, 0.1)
            model = NewModel(kind=ModelKind.WEIGHTS, content=weights.as_dict())
            insert_model(connection, tenant_id, model)
    engine.dispose()
    for version, share in (("weights-1", 100), ("weights-2", 50)):
        api.promote_model(
            learning.PromoteModelRequest(
                client_id=tenant_id, model_version=version, approver="ana", rollout_percentage=share
            )
        )
    ids = [f"lead-{number}" for number in range(LEADS)]
    store_leads(tenant_id, [Lead(lead_id=name) for name in ids])
    request = scoring.BatchScoreLeadsRequest(
        client_id=tenant_id,
        leads=[core.Lead(lead_id=name, title="CEO") for name in [*ids, "nobody"]],
        persist=True,
        view=scoring.LEAD_SCORE_VIEW_FULL,
    )
    answer = api.batch_score_leads(request)
    assert [failure.lead_id for failure in answer.failures] == ["nobody"]
    told = {one.lead_id: one.model.model_version or answer.model.model_version
            for one in answer.scores}  # fmt: skip
    stored = sql(
        "SELECT lead_id, weights_version, scorer_version, xmin::text FROM leads"
        " WHERE client_id = %s",
        tenant_id,
    )
    assert {lead: version for lead, version, _, _ in stored} == told
    assert set(told.values()) == {"weights-1", "weights-2"}
    assert all(scorer.endswith(f"+{version}") for _, version, scorer, _ in stored)
    # Postgres marks each row with the transaction that wrote it.
    assert len({transaction for *_, transaction in stored}) == 1
