"""What grpcio and the interpreter can be set to, each against the setting in force.

    python -m tests.bench.transport_tries

One hot method that answers at once stands for all, so that what differs is the transport. Every
setting has a server of its own on a port of its own; those that hold for a whole process (pinning,
the garbage collector) have a process of their own. Figures are processor time of the server a call,
eight callers, as a ratio to the setting in force in the same round; shown, not judged.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, Literal

import grpc

from cis_client.v1 import scoring_service_pb2_grpc as scoring_grpc
from cis_client.v1.core_pb2 import LeadScore
from cis_server.rpc.interceptor import CallInterceptor
from cis_server.rpc.rules import check_request
from tests.bench.figures import Figure, report
from tests.bench.harness import SCORE, Calls, Side, called, callers_elsewhere, score_request

ROUNDS: Final = 5
SECONDS: Final = 1.0
CALLERS: Final = 8

# Objects that a process with many clients holds, which a full collection walks.
_BALLAST: Final = 1_000_000

Options = tuple[tuple[str, int | str], ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """One server."""

    name: str
    threads: int = 8
    inline: bool = False
    wrapped: bool = True
    """Whether our interceptor is around the method."""
    answers_bytes: bool = True
    options: Options = ()


@dataclass(frozen=True, slots=True)
class Process:
    """Settings of a process and the servers in it."""

    name: str
    settings: tuple[Setting, ...]
    pinned: bool = True
    collector: Literal["frozen", "usual", "rare", "off"] = "frozen"


IN_FORCE: Final = Setting("inline", inline=True)
POOL: Final = Setting("pool of 8")

SERVERS: Final = (
    IN_FORCE,
    POOL,
    *(Setting(f"pool of {n}", threads=n) for n in (1, 2, 4, 16)),
    Setting("pool of 8, no interceptor", wrapped=False, answers_bytes=False),
    Setting("inline, message instead of bytes", inline=True, answers_bytes=False),
    Setting(
        "inline, optimised for throughput",
        inline=True,
        options=(("grpc.optimization_target", "throughput"),),
    ),
    Setting(
        "inline, optimised for latency",
        inline=True,
        options=(("grpc.optimization_target", "latency"),),
    ),
    Setting("inline, no BDP probe", inline=True, options=(("grpc.http2.bdp_probe", 0),)),
    Setting(
        "inline, 100 streams a connection",
        inline=True,
        options=(("grpc.max_concurrent_streams", 100),),
    ),
    Setting("inline, no channelz", inline=True, options=(("grpc.enable_channelz", 0),)),
    Setting(
        "inline, minimal stack", inline=True, options=(("grpc.minimal_stack", 1),)
    ),
)  # fmt: skip

PROCESSES: Final = (
    Process("pinned", SERVERS),
    Process("not pinned", (IN_FORCE, POOL), pinned=False),
    Process("collector not frozen", (IN_FORCE,), collector="usual"),
    Process("collector rare, frozen", (IN_FORCE,), collector="rare"),
    Process("collector off", (IN_FORCE,), collector="off"),
)


def figures() -> Iterator[Figure]:
    """CPU a call of every setting over that of the one in force."""
    taken: dict[str, list[Calls]] = {}
    with ExitStack() as stack:
        running = [(process, *stack.enter_context(_started(process))) for process in PROCESSES]
        stack.enter_context(callers_elsewhere())
        for _ in range(ROUNDS):
            for process, pid, targets in running:
                for setting in process.settings:
                    name = setting.name if process.name == "pinned" else (
                        f"{process.name}, {setting.name}"
                    )  # fmt: skip
                    side = Side(name, targets[setting.name], SCORE, [score_request()])
                    taken.setdefault(name, []).append(called(side, pid, CALLERS, SECONDS))
    base = taken[IN_FORCE.name]
    yield Figure(
        f"{IN_FORCE.name}, CPU a call",
        tuple(calls.cpu_microseconds for calls in base),
        "µs",
        note="the setting in force: reading thread, pinned, frozen",
    )
    for name, own in taken.items():
        yield Figure(
            f"{name} / in force",
            tuple(
                o.cpu_microseconds / b.cpu_microseconds for o, b in zip(own, base, strict=True)
            ),
            note=f"p99 {sorted(o.quantile(0.99) for o in own)[len(own) // 2]:.2f} ms",
        )  # fmt: skip


@contextmanager
def _started(process: Process) -> Iterator[tuple[int, dict[str, str]]]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=_serve, args=(process, theirs))
    child.start()
    try:
        if not ours.poll(60):
            sys.exit("a server did not start")
        yield child.pid or 0, ours.recv()
    finally:
        ours.send(None)
        child.join(20)


def _serve(process: Process, said: Connection) -> None:
    if process.pinned:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ballast = [[number] for number in range(_BALLAST)]
    servers = {setting.name: _server(setting) for setting in process.settings}
    gc.collect()
    if process.collector in ("frozen", "rare"):
        gc.freeze()
    if process.collector == "rare":
        gc.set_threshold(50_000, 50, 100)
    if process.collector == "off":
        gc.disable()
    said.send({name: f"127.0.0.1:{port}" for name, (_, port) in servers.items()})
    said.recv()
    for server, _ in servers.values():
        server.stop(0)
    del ballast


def _server(setting: Setting) -> tuple[grpc.Server, int]:
    calls = ThreadPoolExecutor(setting.threads)
    streams = ThreadPoolExecutor(1)
    server = grpc.server(calls, options=list(setting.options))
    around = CallInterceptor(
        check_request,
        stream_pool=streams,
        stream_cap=1,
        waiting_pool=streams,
        waiting=frozenset(),
        inline={SCORE: lambda request: request.persist} if setting.inline else None,
        call_pool=calls,
        quiet=frozenset((SCORE,)),
        quiet_every=1_000_000_000,
    ).around(server)
    scoring_grpc.add_ScoringServiceServicer_to_server(
        Scoring(setting.answers_bytes), around if setting.wrapped else server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


class Scoring(scoring_grpc.ScoringServiceServicer):
    """Answers the same to everyone."""

    def __init__(self, answers_bytes: bool) -> None:
        self._answer: Any = LeadScore(lead_id="lead-000001", score=71, tier=5)
        if answers_bytes:
            self._answer = self._answer.SerializeToString()

    def ScoreLead(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The one answer."""
        del request, context
        return self._answer

    ScoreLead.checks_requests = True  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
