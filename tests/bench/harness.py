"""What benchmarks of the serving side are made of: the server, the callers, and processor time.

The server is one RPC process pinned to the first core, with a bare echo on a port of its own in the
same process; callers run in the benchmark's process on the other cores. As callers in Python spend
about as much as the server does, what is compared is the processor time that the server spends on a
call, which also says how many calls a second one saturated core answers. `frames` measures that
rate itself.
"""

from __future__ import annotations

import datetime as dt
import itertools
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

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

CLIENT: Final = "bench"
"""The client of `bench_database`."""

ECHO: Final = "/bench.Echo/Echo"
STREAM: Final = "/bench.Echo/Stream"
"""Answers each message of a stream by one of three eighths of its size."""
SIZED: Final = "/bench.Echo/Sized"
"""Answers with as many bytes as the first ten of the request, in digits, say."""
SCORE: Final = "/cis.v1.ScoringService/ScoreLead"
BATCH: Final = "/cis.v1.ScoringService/BatchScoreLeads"
TIMING: Final = "/cis.v1.RecommendationService/GetTiming"
CHANNELS: Final = "/cis.v1.RecommendationService/GetChannels"


@dataclass(frozen=True)
class Calls:
    """Calls of one measurement."""

    count: int
    seconds: float
    server_cpu_seconds: float
    milliseconds: list[float]

    @property
    def cpu_microseconds(self) -> float:
        """Processor time of the server a call."""
        return self.server_cpu_seconds / self.count * 1e6

    @property
    def per_second(self) -> float:
        """Calls answered a second, callers included."""
        return self.count / self.seconds

    def quantile(self, share: float) -> float:
        """The latency that `share` of the calls stay within, in milliseconds."""
        return statistics.quantiles(self.milliseconds, n=1000)[round(share * 1000) - 1]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the things compared."""

    name: str
    target: str
    method: str
    bodies: Sequence[bytes]
    """Serialised requests, sent in turn."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs."""

    target: str
    """Of the service."""
    echo: str
    """Of the bare echo in the same process."""
    pid: int


def lead(lead_id: str) -> core.Lead:
    """A lead with what most leads have, 258 bytes."""
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


def score_request() -> bytes:
    """A ScoreLead request of `lead`."""
    return scoring.ScoreLeadRequest(client_id=CLIENT, lead=lead("lead-000001")).SerializeToString()


@contextmanager
def bench_database() -> Iterator[tuple[str, Path]]:
    """URL of an embedded Postgres with the client `CLIENT`, and a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="cis-bench-") as folder,
        opened_database(None, Path(folder)) as url,
    ):
        engine = make_engine(url)
        Clients(engine).upsert(ClientRecord(client_id=CLIENT, created_at=dt.datetime.now(dt.UTC)))
        engine.dispose()
        yield url, Path(folder)


def serve(url: str, said: Connection, core_index: int | None, settings: Settings | None) -> None:
    """The server process: ours, and on a port of its own a bare server that echoes."""
    if core_index is not None:
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[core_index % len(allowed)]})
    logs.configure("warning")
    if settings is None:
        settings = Settings(database_url=url, host="127.0.0.1")
    with bootstrap.rpc_server(settings, url, port=0) as server:
        bare = grpc.server(ThreadPoolExecutor(8))
        echo = grpc.unary_unary_rpc_method_handler(lambda body, _: body)
        sized = grpc.unary_unary_rpc_method_handler(lambda body, _: bytes(int(body[:10])))
        streamed = grpc.stream_stream_rpc_method_handler(
            lambda bodies, _: (bytes(len(body) * 3 // 8) for body in bodies)
        )
        methods = {"Echo": echo, "Sized": sized, "Stream": streamed}
        bare.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("bench.Echo", methods),)
        )
        port = bare.add_insecure_port("127.0.0.1:0")
        bare.start()
        server.start()
        said.send((f"127.0.0.1:{server.port}", f"127.0.0.1:{port}"))
        stop = threading.Event()
        bootstrap.serve_until_stopped(server, stop, grace_seconds=0.0)


@contextmanager
def server_process(
    url: str, core_index: int | None = 0, settings: Settings | None = None
) -> Iterator[Served]:
    """A server in a process of its own.

    Args:
        url: of the database.
        core_index: the core it is pinned to; None: any.
        settings: its settings; None: the usual ones.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(url, theirs, core_index, settings))
    process.start()
    try:
        if not ours.poll(60):
            sys.exit("the server did not start")
        target, echo = ours.recv()
        yield Served(target, echo, process.pid or 0)
    finally:
        process.terminate()
        process.join(20)


@contextmanager
def callers_elsewhere() -> Iterator[None]:
    """This process off the first core, where the server is pinned."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed - {min(allowed)} or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has spent, user and system, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def called(side: Side, pid: int, callers: int, seconds: float) -> Calls:
    """Closed loop: each caller makes its next call when the last one is answered.

    Args:
        side: what is called.
        pid: of the process whose processor time counts.
        callers: threads.
        seconds: length of the measurement.
    """
    counted: list[list[float]] = [[] for _ in range(callers)]
    go_on = threading.Event()
    go_on.set()
    channels = [
        grpc.insecure_channel(side.target, [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(min(callers, 4))
    ]

    def call(number: int) -> None:
        unary = channels[number % len(channels)].unary_unary(side.method)
        first = number * len(side.bodies) // callers
        for body in itertools.cycle([*side.bodies[first:], *side.bodies[:first]]):
            if not go_on.is_set():
                return
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
    return Calls(len(times), taken, spent, times)


def compared(
    sides: Sequence[Side], pid: int, *, callers: int, seconds: float, rounds: int
) -> dict[str, list[Calls]]:
    """Measure several sides in turn, so that a machine that slows down favours none.

    Returns:
        Name of each side -> one measurement a round.
    """
    taken: dict[str, list[Calls]] = {side.name: [] for side in sides}
    for turn in range(rounds):
        for side in sides if turn % 2 == 0 else sides[::-1]:
            taken[side.name].append(called(side, pid, callers, seconds))
    return taken


@contextmanager
def followers(target: str, url: str, count: int) -> Iterator[Callable[[], int]]:
    """Open Learn streams of one run that moves five times a second; gives a count of messages."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(target, options) for _ in range(4)]
    asked = learning.LearnRequest(client_id=CLIENT, force=True)
    streams = [
        learning_grpc.LearningServiceStub(channels[i % 4]).Learn(asked) for i in range(count)
    ]
    for stream in streams:
        next(stream)
    heard = [1] * count
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

    threads = [threading.Thread(target=listen, args=(i,)) for i in range(count)]
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
