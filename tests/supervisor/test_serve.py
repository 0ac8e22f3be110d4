"""`cis-server serve` as it runs in production: processes are killed, and nobody notices."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from running_server import Program, alive, connected, make_client, serve, wait_until

from cis_client import Client
from cis_client.errors import Cancelled, NotFound
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.supervisor import EXIT_OK

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def program(module_database_url: str) -> Iterator[Program]:
    with serve(module_database_url, "--workers=2", "--no-worker") as it:
        it.wait_ready()
        yield it


def request(client_id: str = "acme") -> scoring.ScoreLeadRequest:
    lead = core.Lead(lead_id="l", email="ceo@target.example", title="CEO")
    return scoring.ScoreLeadRequest(client_id=client_id, lead=lead)


class Load:
    """Callers that score as fast as they can, and what went wrong for them."""

    def __init__(self, client: Client, callers: int) -> None:
        self.calls = 0
        self.failures: list[Exception] = []
        self._client = client
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        while not self._stop.is_set():
            try:
                self._client.score_lead(request())
                self.calls += 1
            except Exception as error:
                self.failures.append(error)


def test_ready_means_serving(program: Program) -> None:
    status = program.status
    assert status["ready"]
    assert [child["name"] for child in status["children"]] == ["rpc-0", "rpc-1"]
    with connected(program.target, connections=8) as client:
        client.wait_ready(5.0)


def test_a_killed_process_costs_no_call(program: Program) -> None:
    with connected(program.target, retry_attempts=5, connections=8) as client:
        make_client(client, "acme")
        wait_until_known(client, "acme")
        before = program.children()["rpc-0"]
        with Load(client, callers=6) as load:
            time.sleep(0.3)
            calls = load.calls
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: program.children().get("rpc-0", before) != before, 30.0, "restart")
            time.sleep(0.2)
        assert load.failures == []
        assert load.calls > calls + 50
    restarts = {child["name"]: child["restarts"] for child in program.status["children"]}
    assert restarts == {"rpc-0": 1, "rpc-1": 0}


def wait_until_known(client: Client, client_id: str) -> None:
    """Wait until every process has heard of a client."""

    def known() -> bool:
        try:
            return all(client.score_lead(request(client_id)).tier for _ in range(16))
        except NotFound:
            return False

    wait_until(known, 2.0)


def test_what_one_process_writes_all_hear_of(program: Program) -> None:
    with connected(program.target, connections=8) as client:
        make_client(client, "heard")
        started = time.monotonic()
        wait_until_known(client, "heard")
        assert time.monotonic() - started < 1.0


def test_an_unsubscribe_by_sql_closes_the_channels_everywhere(
    program: Program, module_database_url: str
) -> None:
    with (
        connected(program.target, connections=8) as client,
        psycopg.connect(module_database_url, autocommit=True) as database,
    ):
        make_client(client, "optout")
        wait_until_known(client, "optout")
        database.execute(
            "INSERT INTO leads (client_id, lead_id, email) VALUES ('optout', 'l',"
            " 'ceo@target.example')"
        )
        assert client.score_lead(request("optout")).channels
        database.execute("UPDATE leads SET unsubscribed = true WHERE client_id = 'optout'")
        committed = time.monotonic()
        # Sixteen calls in turn over eight connections reach both processes.
        wait_until(
            lambda: all(client.score_lead(request("optout")).suppressed for _ in range(16)),
            1.0,
            "suppression",
        )
        assert time.monotonic() - committed < 1.0
        assert not client.score_lead(request("optout")).channels


FOLLOWERS = 200


@pytest.mark.slow
def test_followers_do_not_slow_scoring(program: Program, module_database_url: str) -> None:
    """Nobody works on the run here; it moves by SQL, as often as a worker would let it."""
    with (
        connected(program.target) as scorer,
        connected(program.target, connections=4) as client,
        psycopg.connect(module_database_url, autocommit=True) as database,
    ):
        make_client(client, "followed")
        wait_until_known(client, "followed")
        alone = slowest(scorer)
        asked = learning.LearnRequest(client_id="followed", force=True)
        streams = [client.learn(asked, timeout_seconds=60) for _ in range(FOLLOWERS)]
        assert len({next(stream).progress.run_id for stream in streams}) == 1
        heard = [0] * FOLLOWERS
        with ThreadPoolExecutor(FOLLOWERS) as listeners:
            for number, stream in enumerate(streams):
                listeners.submit(listen, stream, heard, number)
            with Moved(database):
                followed = slowest(scorer)
                news = "news for every follower"
                wait_until(lambda: all(count > 2 for count in heard), 10.0, news)
            for stream in streams:
                stream.cancel()
        # Real figures are printed by tests/bench/transport.py; here a machine may be busy.
        assert followed < max(5 * alone, alone + 0.05)


def slowest(client: Client) -> float:
    """Seconds that 99 of 100 calls stay below."""
    taken = []
    for _ in range(500):
        started = time.perf_counter()
        client.score_lead(request("followed"))
        taken.append(time.perf_counter() - started)
    return statistics.quantiles(taken, n=100)[98]


def listen(stream: Iterator[learning.LearnResponse], heard: list[int], number: int) -> None:
    with contextlib.suppress(Cancelled):
        for _ in stream:
            heard[number] += 1


class Moved:
    """A run that gets on five times a second."""

    def __init__(self, database: psycopg.Connection[object]) -> None:
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move)

    def __enter__(self) -> Moved:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(1.0)
        self._stop.set()
        self._thread.join()

    def _move(self) -> None:
        while not self._stop.wait(0.2):
            self._database.execute("UPDATE learning_runs SET fraction = fraction + 0.0001")


def test_sigterm_drains(database_url: str) -> None:
    with serve(database_url, "--workers=2", "--no-worker") as program:
        program.wait_ready()
        children = list(program.children().values())
        with connected(program.target, retry_attempts=5, connections=4) as client:
            make_client(client, "acme")
            with Load(client, callers=2):
                time.sleep(0.2)
                program.process.send_signal(signal.SIGTERM)
                assert program.process.wait(20) == EXIT_OK
                client.close()
        assert alive([program.process.pid, *children]) == []
        assert "Traceback" not in program.log


def test_children_of_a_killed_supervisor_end_by_themselves(database_url: str) -> None:
    with serve(database_url, "--workers=1", "--no-worker") as program:
        program.wait_ready()
        children = list(program.children().values())
        assert alive(children) == children
        program.process.kill()
        program.process.wait()
        wait_until(lambda: alive(children) == [], 15.0, "end of the children")
