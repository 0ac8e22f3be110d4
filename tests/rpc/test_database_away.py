"""The database goes away and comes back: answers from memory go on, the rest says when to retry."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from running_server import connected, make_client, serving_here, wait_until

from cis_client import Client
from cis_client.errors import CisError, Unavailable
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import pattern_service_pb2 as patterns
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.embedded import EmbeddedPostgres
from cis_server.persistence.leads import upsert_leads
from cis_server.persistence.migrate import migrate

pytestmark = pytest.mark.faults

BOUND = 0.25
"""Longest wait for the database inside a scoring call."""
SLACK = 0.35
"""A shared machine may keep a thread waiting that long besides."""


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[EmbeddedPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="cis-away-"))
    try:
        with EmbeddedPostgres(folder, {"fsync": "off", "synchronous_commit": "off"}) as server:
            migrate(server.url)
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def by_attributes() -> scoring.ScoreLeadRequest:
    return scoring.ScoreLeadRequest(client_id="acme", lead=core.Lead(lead_id="l", title="CEO"))


def timed(call: Callable[[], Any]) -> tuple[float, CisError | None]:
    started = time.perf_counter()
    try:
        call()
    except CisError as error:
        return time.perf_counter() - started, error
    return time.perf_counter() - started, None


def test_away_and_back(own_postgres: EmbeddedPostgres) -> None:
    url = own_postgres.url
    with serving_here(url, poll_seconds=1.0) as target, connected(target) as api:
        make_client(api, "acme")
        store_lead(url)
        by_id = scoring.ScoreLeadRequest(client_id="acme", lead_id="l")
        assert api.score_lead(by_id).lead_id == "l"
        before = api.score_lead(by_attributes())
        own_postgres.stop()
        try:
            assert_answers_from_memory(api, before)
            assert_the_rest_is_refused_in_time(api)
            assert_waiting_calls_take_no_thread_from_scoring(api)
        finally:
            own_postgres.start()
        wait_until(lambda: timed(lambda: api.score_lead(by_id))[1] is None, 15.0, "reconnect")
        # The listener is back too, with everything that happened meanwhile.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE leads SET do_not_contact = true WHERE lead_id = 'l'")
        wait_until(lambda: api.score_lead(by_attributes()).suppressed, 15.0, "suppression")


def test_hung(own_postgres: EmbeddedPostgres) -> None:
    """The worst way to be away: connections stay open and nobody answers on them."""
    url = own_postgres.url
    with serving_here(url) as target, connected(target) as api:
        make_client(api, "acme")
        store_lead(url)
        before = api.score_lead(by_attributes())
        pids = server_processes(url)
        signalled(pids, signal.SIGSTOP)
        try:
            assert_answers_from_memory(api, before)
            stored = scoring.ScoreLeadRequest(client_id="acme", lead_id="l")
            for _ in range(8):
                seconds, error = timed(lambda: api.score_lead(stored))
                assert isinstance(error, Unavailable)
                assert seconds < BOUND + SLACK
            assert_waiting_calls_take_no_thread_from_scoring(api, give_up=1.0)
        finally:
            signalled(pids, signal.SIGCONT)
        wait_until(lambda: timed(lambda: api.score_lead(stored))[1] is None, 15.0, "recovery")


def signalled(pids: list[int], number: signal.Signals) -> None:
    """Signal all of them; the backend that told who they are may have ended meanwhile."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def server_processes(url: str) -> list[int]:
    """The server and all its children."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT current_setting('data_directory')").fetchone()
    assert row is not None
    postmaster = int(Path(row[0], "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


def store_lead(url: str) -> None:
    engine = make_engine(url)
    with tenant(engine, "acme") as connection:
        upsert_leads(connection, "acme", [Lead(lead_id="l", title="CEO")])
    engine.dispose()


def assert_answers_from_memory(api: Client, before: core.LeadScore) -> None:
    for _ in range(200):
        seconds, error = timed(lambda: api.score_lead(by_attributes()))
        assert error is None
        assert seconds < 1.0
    after = api.score_lead(by_attributes())
    assert (after.score, after.weights) == (before.score, before.weights)
    timing = api.get_timing(recommendation.GetTimingRequest(client_id="acme"))
    assert timing.windows
    channels = recommendation.GetChannelsRequest(client_id="acme", tier=core.TIER_HOT)
    assert api.get_channels(channels).next_channel
    api.get_weights(patterns.GetWeightsRequest(client_id="acme"))


def assert_the_rest_is_refused_in_time(api: Client) -> None:
    persist = by_attributes()
    persist.persist = True
    calls: list[Callable[[], Any]] = [
        lambda: api.score_lead(scoring.ScoreLeadRequest(client_id="acme", lead_id="l")),
        lambda: api.score_lead(persist),
        lambda: api.batch_score_leads(
            scoring.BatchScoreLeadsRequest(client_id="acme", lead_ids=["l"])
        ),
        lambda: api.get_timing(recommendation.GetTimingRequest(client_id="acme", lead_id="l")),
        lambda: api.get_channels(recommendation.GetChannelsRequest(client_id="acme", lead_id="l")),
    ]
    for call in calls:
        seconds, error = timed(call)
        assert isinstance(error, Unavailable)
        assert error.retry_after_seconds is not None
        assert error.retry_after_seconds > 0
        assert seconds < BOUND + SLACK
    others: list[Callable[[], Any]] = [
        lambda: api.get_client(admin.GetClientRequest(client_id="acme")),
        lambda: make_client(api, "late"),
        lambda: list(api.learn(learning.LearnRequest(client_id="acme"))),
        lambda: api.list_learning_runs(learning.ListLearningRunsRequest()),
    ]
    for call in others:
        _, error = timed(call)
        assert isinstance(error, Unavailable), error
        assert error.retry_after_seconds is not None


def assert_waiting_calls_take_no_thread_from_scoring(api: Client, give_up: float = 10.0) -> None:
    """Forty dashboards and forty stored leads wait; scoring by attributes does not."""
    stored = scoring.ScoreLeadRequest(client_id="acme", lead_id="l")
    wanted = admin.GetClientRequest(client_id="acme")
    with concurrent.futures.ThreadPoolExecutor(80) as pool:
        waiting = [
            pool.submit(timed, lambda: api.get_client(wanted, timeout_seconds=give_up))
            for _ in range(40)
        ]
        waiting += [pool.submit(timed, lambda: api.score_lead(stored)) for _ in range(40)]
        slowest = max(timed(lambda: api.score_lead(by_attributes()))[0] for _ in range(50))
        assert slowest < 1.0
        assert all(isinstance(call.result()[1], CisError) for call in waiting)
