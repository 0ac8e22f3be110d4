"""RescoreLeads through the front door, worked off by a real worker process."""

from __future__ import annotations

import psycopg

from cis_client import Client
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring

FROZEN = (
    "SELECT lead_id, components_at_first_touch::text FROM leads WHERE client_id = 'acme'"
    " AND first_contacted_at IS NOT NULL ORDER BY lead_id"
)


def test_every_active_lead_is_scored_again(api: Client, history_url: str) -> None:
    with psycopg.connect(history_url, autocommit=True) as connection:
        before = connection.execute(FROZEN).fetchall()
        found = connection.execute(
            "SELECT count(*) FROM leads WHERE client_id = 'acme' AND deleted_at IS NULL"
            " AND status IN ('new', 'enriched', 'scored', 'in_sequence')"
        ).fetchone()
        assert found is not None
        active = found[0]
        assert active > 20
        request = scoring.RescoreLeadsRequest(client_id="acme")
        *_, last = api.rescore_leads(request, timeout_seconds=120)
        assert last.state == core.RUN_STATE_SUCCEEDED, last.message
        assert (last.total, last.scored, last.failed) == (active, active, 0)
        # What learning goes by is as it was.
        assert connection.execute(FROZEN).fetchall() == before
    top = api.list_top_leads(scoring.ListTopLeadsRequest(client_id="acme", page_size=20)).scores
    assert len(top) == 20
    for stored in top[:3]:
        asked = scoring.ScoreLeadRequest(client_id="acme", lead_id=stored.lead_id)
        assert api.score_lead(asked).score == stored.score
