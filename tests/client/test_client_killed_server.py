"""A server process that is killed under load loses no call of a retrying client."""

from __future__ import annotations

import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cis_client.v1.core_pb2 import Lead
from cis_client.v1.scoring_service_pb2 import BatchScoreLeadsRequest, ScoreLeadRequest

PROGRAM = Path(__file__).with_name("client_test_server.py")
START_SECONDS = 30


class Process:
    """One server process on a shared port."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    @property
    def pid(self) -> str:
        return str(self._process.pid)

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        assert readable, "the server process did not start"
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def two_processes(free_port: int) -> Iterator[list[Process]]:
    processes = [Process(free_port), Process(free_port)]
    try:
        for process in processes:
            process.wait_ready()
        yield processes
    finally:
        for process in processes:
            if process._process.poll() is None:
                process.kill()


class Load:
    """Threads that call without a pause, and what came of it."""

    def __init__(self, call: Callable[[], Any], threads: int) -> None:
        self.served: Counter[str] = Counter()
        self.failed: list[Exception] = []
        self._stop = threading.Event()
        self._call = call
        self._pool = ThreadPoolExecutor(threads)
        self._work = [self._pool.submit(self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.served[self._call().model.model_version] += 1
            except Exception as error:
                self.failed.append(error)

    def stop(self) -> None:
        self._stop.set()
        for work in self._work:
            work.result()
        self._pool.shutdown()

    def wait_for_calls(self, count: int) -> None:
        """Returns once ``count`` more calls were answered."""
        wanted = self.served.total() + count
        end = time.monotonic() + START_SECONDS
        while self.served.total() < wanted:
            assert time.monotonic() < end, f"no answers any more; failed: {self.failed[:3]}"
            time.sleep(0.01)


@pytest.mark.faults
@pytest.mark.parametrize("coalesce", [False, True])
def test_kill_9_loses_no_call(
    free_port: int, two_processes: list[Process], connect: Callable[..., Any], coalesce: bool
) -> None:
    client = connect(
        f"127.0.0.1:{free_port}", connections=16, timeout_seconds=20, coalesce=coalesce
    )
    client.wait_ready()
    request = ScoreLeadRequest(client_id="echo", lead=Lead(lead_id="x"))
    load = Load(lambda: client.score_lead(request), threads=8)
    try:
        load.wait_for_calls(300)
        first, second = two_processes
        assert set(load.served) == {first.pid, second.pid}, "calls reach only one process"
        first.kill()
        load.wait_for_calls(300)
        # The supervisor brings it back; then the other one is hit.
        again = Process(free_port)
        two_processes.append(again)
        again.wait_ready()
        second.kill()
        load.wait_for_calls(300)
    finally:
        load.stop()
    assert load.failed == []
    assert load.served[again.pid] > 0


@pytest.mark.faults
def test_a_restart_of_the_only_process_loses_no_call(
    free_port: int, connect: Callable[..., Any]
) -> None:
    only = Process(free_port)
    processes = [only]
    try:
        only.wait_ready()
        client = connect(f"127.0.0.1:{free_port}", timeout_seconds=20)
        leads = [Lead(lead_id=str(index), title="x" * 300) for index in range(1_500)]
        request = BatchScoreLeadsRequest(client_id="echo", leads=leads)
        load = Load(lambda: client.batch_score_leads(request), threads=4)
        try:
            load.wait_for_calls(40)
            only.kill()
            processes.append(Process(free_port))
            processes[-1].wait_ready()
            load.wait_for_calls(40)
        finally:
            load.stop()
        assert load.failed == []
        assert load.served[processes[-1].pid] > 0
    finally:
        for process in processes:
            if process._process.poll() is None:
                process.kill()
