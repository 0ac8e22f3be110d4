"""What detectors find does not add points: a score is its five components under its weights.

Points added by patterns would feed themselves, as leads that score high are contacted more.
"""

from __future__ import annotations

import datetime as dt

import stored_patterns
from running_server import wait_until

from cis_client import Client
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.persistence.connections import Role, make_engine, tenant
from cis_server.persistence.patterns import save_patterns


def test_a_lead_that_fits_every_pattern_scores_as_before(
    api: Client, tenant_id: str, module_database_url: str
) -> None:
    founder = core.Lead(lead_id="l", title="Founder", industry="Software", employee_count=20)
    request = scoring.ScoreLeadRequest(client_id=tenant_id, lead=founder)
    before = api.score_lead(request)
    now = dt.datetime.now(dt.UTC)
    patterns = (stored_patterns.who(now), stored_patterns.when(now), stored_patterns.how(now))
    engine = make_engine(module_database_url)
    with tenant(engine, tenant_id, Role.APP) as connection:
        rows = [stored_patterns.to_store(pattern, now) for pattern in patterns]
        save_patterns(connection, tenant_id, rows, "run-1")
    engine.dispose()
    timing = recommendation.GetTimingRequest(client_id=tenant_id, timezone="UTC")
    wait_until(lambda: api.get_timing(timing).model.source == core.SOURCE_LEARNED, 2.0)
    assert api.score_lead(request) == before
    assert before.score <= 100
