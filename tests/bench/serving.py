"""ScoreLead on one core, beside a bare echo in the same process, and with 200 followers of a run.

    python tests/bench/serving.py [seconds per measurement]

The server is one RPC process pinned to the first core, over an embedded Postgres in a temporary
folder; callers run in a process of their own on the other cores. As callers in Python spend as much
as the server does, calls a second here are those of both; the server's own limit follows from the
processor time it spends on a call. Where `h2load` is installed, it measures that limit.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
import psycopg

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import learning_service_pb2_grpc as learning_grpc
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server import bootstrap, logs
from cis_server.domain.clients import ClientRecord
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import make_engine
from cis_server.persistence.database import opened_database
from cis_server.settings import Settings

ECHO = "/bench.Echo/Echo"
SCORE = "/cis.v1.ScoringService/ScoreLead"
BATCH = "/cis.v1.ScoringService/BatchScoreLeads"
FOLLOWERS = 200


@dataclass(frozen=True)
class Figures:
    """Calls of one measurement."""

    calls: int
    seconds: float
    server_cpu_seconds: float
    milliseconds: list[float]

    def line(self, name: str) -> str:
        quantiles = statistics.quantiles(self.milliseconds, n=1000)
        cpu = self.server_cpu_seconds / self.calls
        return (
            f"{name:<34}{self.calls / self.seconds:8.0f} calls/s"
            f"{quantiles[499]:9.2f} ms p50{quantiles[989]:9.2f} ms p99"
            f"{cpu * 1e6:8.0f} µs server CPU a call = {1 / cpu:6.0f} calls/s on one core"
        )


def request() -> scoring.ScoreLeadRequest:
    return scoring.ScoreLeadRequest(client_id="bench", lead=lead("lead-000001"))


def lead(lead_id: str) -> core.Lead:
    return core.Lead(
        lead_id=lead_id,
        email="dana@northwind.example",
        email_status=core.EMAIL_STATUS_VERIFIED,
        phone="+61 400 000 000",
        linkedin_url="https://www.linkedin.com/in/dana-northwind",
        first_name="Dana",
        last_name="North",
        title="Founder & CEO",
        employment_start_date="2025-11-01",
        timezone="Australia/Sydney",
        company_name="Northwind",
        domain="northwind.example",
        industry="Software",
        employee_count=40,
        is_hiring=True,
        city="Sydney",
        country="Australia",
    )


def serve(url: str, said: Connection) -> None:
    """The server process: ours, and on a port of its own a bare server that echoes."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    logs.configure("warning")
    settings = Settings(database_url=url, host="127.0.0.1")
    with bootstrap.rpc_server(settings, url, port=0) as server:
        bare = grpc.server(ThreadPoolExecutor(8))
        echo = grpc.unary_unary_rpc_method_handler(lambda body, _: body)
        bare.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("bench.Echo", {"Echo": echo}),)
        )
        port = bare.add_insecure_port("127.0.0.1:0")
        bare.start()
        server.start()
        said.send((f"127.0.0.1:{server.port}", f"127.0.0.1:{port}"))
        stop = threading.Event()
        bootstrap.serve_until_stopped(server, stop, grace_seconds=0.0)


@contextmanager
def server_process(url: str) -> Iterator[tuple[str, str, int]]:
    """Targets of the server and of the echo, and the id of their process."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(url, theirs))
    process.start()
    try:
        if not ours.poll(60):
            sys.exit("the server did not start")
        yield *ours.recv(), process.pid or 0
    finally:
        process.terminate()
        process.join(20)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def called(
    target: str, pid: int, method: str, body: bytes, callers: int, seconds: float
) -> Figures:
    """Closed loop: each caller makes its next call when the last one is answered."""
    counted: list[list[float]] = [[] for _ in range(callers)]
    go_on = threading.Event()
    go_on.set()
    channels = [
        grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(min(callers, 4))
    ]

    def call(number: int) -> None:
        unary = channels[number % len(channels)].unary_unary(method)
        while go_on.is_set():
            started = time.perf_counter()
            unary(body, timeout=10)
            counted[number].append((time.perf_counter() - started) * 1e3)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)  # connections are made, caches are warm
    before = [len(times) for times in counted]
    cpu, started = cpu_seconds(pid), time.perf_counter()
    time.sleep(seconds)
    taken, spent = time.perf_counter() - started, cpu_seconds(pid) - cpu
    measured = [times[first:] for times, first in zip(counted, before, strict=True)]
    go_on.clear()
    for thread in threads:
        thread.join()
    for channel in channels:
        channel.close()
    times = [value for each in measured for value in each]
    return Figures(len(times), taken, spent, times)


def h2load(target: str, method: str, body: bytes, folder: str) -> str:
    """Calls a second by h2load, which costs next to nothing beside the server."""
    frame = Path(folder, "frame")
    frame.write_bytes(struct.pack(">BI", 0, len(body)) + body)
    done = subprocess.run(
        [
            *("h2load", "--clients=4", "--max-concurrent-streams=8", "--requests=40000"),
            *("--header=content-type: application/grpc", "--header=te: trailers"),
            *(f"--data={frame}", f"http://{target}{method}"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"([\d.]+) req/s", done.stdout)
    return found.group(1) if found else done.stdout


@contextmanager
def followers(target: str, url: str) -> Iterator[Callable[[], int]]:
    """Open Learn streams of one run that moves five times a second; gives a count of messages."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(target, options) for _ in range(4)]
    asked = learning.LearnRequest(client_id="bench", force=True)
    streams = [
        learning_grpc.LearningServiceStub(channels[i % 4]).Learn(asked) for i in range(FOLLOWERS)
    ]
    for stream in streams:
        next(stream)
    heard = [1] * FOLLOWERS
    go_on = threading.Event()
    go_on.set()

    def listen(number: int) -> None:
        try:
            for _ in streams[number]:
                heard[number] += 1
        except grpc.RpcError:
            pass  # cancelled below

    def move() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            fraction = 0.0
            while go_on.is_set():
                fraction += 1e-4
                connection.execute("UPDATE learning_runs SET fraction = %s", (fraction,))
                time.sleep(0.2)

    threads = [threading.Thread(target=listen, args=(i,)) for i in range(FOLLOWERS)]
    threads.append(threading.Thread(target=move))
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(heard)
    finally:
        go_on.clear()
        for stream in streams:
            stream.cancel()
        for thread in threads:
            thread.join()
        for channel in channels:
            channel.close()


def measure(url: str, folder: str, seconds: float) -> None:
    score = request().SerializeToString()
    leads = [lead(f"lead-{i:06}") for i in range(1000)]
    batch = scoring.BatchScoreLeadsRequest(client_id="bench", leads=leads).SerializeToString()
    with server_process(url) as (target, echo, pid):
        scored, echoed = ("ScoreLead", target, SCORE), ("bare echo", echo, ECHO)
        others = os.sched_getaffinity(0) - {min(os.sched_getaffinity(0))}
        os.sched_setaffinity(0, others or os.sched_getaffinity(0))
        print(f"a ScoreLead request of {len(score)} bytes; server on one core")
        for callers in (1, 8):
            for name, where, method in (echoed, scored):
                figures = called(where, pid, method, score, callers, seconds)
                print(figures.line(f"{name}, {callers} callers"), flush=True)
        figures = called(target, pid, BATCH, batch, 1, seconds)
        print(figures.line("BatchScoreLeads of 1000, 1 caller"))
        print(f"{'':<34}{1000 * figures.calls / figures.seconds:8.0f} leads/s")
        if shutil.which("h2load"):
            for name, where, method in (echoed, scored):
                print(f"{name + ', h2load':<34}{h2load(where, method, score, folder):>8} calls/s")
        with followers(target, url) as heard:
            before, started = heard(), time.perf_counter()
            figures = called(target, pid, SCORE, score, 1, seconds)
            print(figures.line(f"ScoreLead, 1 caller, {FOLLOWERS} followers"))
            rate = (heard() - before) / (time.perf_counter() - started)
            print(f"{'':<34}{rate:8.0f} messages/s to the followers")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with (
        tempfile.TemporaryDirectory(prefix="cis-bench-") as folder,
        opened_database(None, Path(folder)) as url,
    ):
        engine = make_engine(url)
        Clients(engine).upsert(ClientRecord(client_id="bench", created_at=dt.datetime.now(dt.UTC)))
        engine.dispose()
        measure(url, folder, seconds)


if __name__ == "__main__":
    main()
