"""An acknowledged score is committed, whatever happens to the server."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import psycopg
from running_server import connected, make_client, serve

from cis_client import CisError, Client
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.leads import upsert_leads

CALLERS = 6
LEADS = 300
"""Of each caller; more than are scored before the end."""
ENOUGH = 300
BATCH = 10
TITLES = ("CEO", "Intern", "Manager", "Director", "Founder")


def test_every_acknowledged_score_outlives_a_killed_server(database_url: str) -> None:
    acknowledged: dict[str, int] = {}
    enough, killed = threading.Event(), threading.Event()

    def call(target: str, number: int) -> None:
        """Persist this caller's leads, each once, alone and in batches in turn, until the end."""
        leads = iter([f"l{number}-{i:05}" for i in range(LEADS)])
        with connected(target) as client:
            for turn in itertools.count():
                chosen = list(itertools.islice(leads, BATCH if turn % 4 == 0 else 1))
                if not chosen or killed.is_set():
                    return
                # On a busy machine some are not stored in time; those were not acknowledged.
                with contextlib.suppress(CisError, grpc.RpcError):
                    acknowledged.update(persisted(client, chosen, TITLES[turn % len(TITLES)]))
                if len(acknowledged) >= ENOUGH:
                    enough.set()

    with (
        serve(database_url, "--workers=1", "--no-worker") as server,
        ThreadPoolExecutor(CALLERS) as callers,
    ):
        server.wait_ready()
        with connected(server.target) as client:
            make_client(client, "acme")
        store_leads(database_url)
        calls = [callers.submit(call, server.target, number) for number in range(CALLERS)]
        try:
            assert enough.wait(30)
        finally:
            os.kill(server.children()["rpc-0"], signal.SIGKILL)
            killed.set()
        for each in calls:
            each.result()
    with psycopg.connect(database_url) as connection:
        stored = dict(connection.execute("SELECT lead_id, score FROM leads").fetchall())
    assert len(set(acknowledged.values())) > 2, "titles tell scores apart"
    assert {lead: stored[lead] for lead in acknowledged} == acknowledged


def persisted(client: Client, lead_ids: list[str], title: str) -> dict[str, int]:
    """Scores that the server says it has stored."""
    leads = [core.Lead(lead_id=lead_id, title=title) for lead_id in lead_ids]
    if len(leads) == 1:
        one = scoring.ScoreLeadRequest(client_id="acme", lead=leads[0], persist=True)
        return {lead_ids[0]: client.score_lead(one).score}
    many = scoring.BatchScoreLeadsRequest(client_id="acme", leads=leads, persist=True)
    answer = client.batch_score_leads(many)
    return {score.lead_id: score.score for score in answer.scores}


def store_leads(database_url: str) -> None:
    engine = make_engine(database_url, pool_size=1)
    leads = [Lead(lead_id=f"l{n}-{i:05}") for n in range(CALLERS) for i in range(LEADS)]
    with tenant(engine, "acme") as connection:
        upsert_leads(connection, "acme", leads)
    engine.dispose()
