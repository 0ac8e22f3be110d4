"""What stands between the wire and an answer: GetTiming, GetChannels, latency alone, two processes.

    python -m tests.bench.transport [--check]

Each figure is a ratio to the bare echo of the same run, or of one arrangement to another, taken in
turn. Rates are of one saturated core: 1 / processor time of the server a call. `transport_tries.py`
compares what grpcio and the interpreter can be set to.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import timeit
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_server.rpc.interceptor import CallInterceptor
from tests.bench.figures import Figure, report
from tests.bench.frames import poured_at_once, poured_in_turn
from tests.bench.harness import (
    CHANNELS,
    CLIENT,
    ECHO,
    SCORE,
    TIMING,
    Calls,
    Served,
    Side,
    bench_database,
    called,
    callers_elsewhere,
    compared,
    followers,
    score_request,
    server_process,
)

ROUNDS: Final = 7
SECONDS: Final = 1.5
FOLLOWERS: Final = 200


def figures() -> Iterator[Figure]:
    """Everything, one after the other."""
    yield overhead()
    with bench_database() as (url, _):
        with server_process(url) as served, callers_elsewhere():
            yield from rates(served)
            yield from latencies(served)
            yield under_followers(served, url)
        with server_process(url, 0) as one, server_process(url, 1) as two:
            yield from two_processes(one, two)


def overhead() -> Figure:
    """Microseconds that the wrapper of a hot method adds to a servicer that does nothing."""
    wrapped: dict[str, Any] = {}

    class Taken:
        def add_registered_method_handlers(self, _: str, handlers: dict[str, Any]) -> None:
            wrapped.update(handlers)

    def bare(request: Any, _: Any) -> Any:
        return request

    with ThreadPoolExecutor(1) as pool:
        around = CallInterceptor(
            lambda _: None,
            stream_pool=pool,
            stream_cap=1,
            waiting_pool=pool,
            waiting=frozenset(),
            quiet=frozenset(("/s/Hot",)),
            quiet_every=1_000_000_000,
        ).around(Taken())  # type: ignore[arg-type]
        handler = grpc.unary_unary_rpc_method_handler(bare)
        around.add_registered_method_handlers("s", {"Hot": handler})  # type: ignore[attr-defined]
    call, times, number = wrapped["Hot"].unary_unary, [], 20_000
    for _ in range(ROUNDS):
        with_it, without = (
            min(timeit.repeat(run, timer=time.thread_time, repeat=5, number=number))
            for run in (lambda: call(b"", None), lambda: bare(b"", None))
        )
        times.append((with_it - without) / number * 1e6)
    note = "interceptor around a servicer and a check that do nothing"
    return Figure("interceptor", tuple(times), "µs", bound=5.0, note=note)


def rates(served: Served) -> Iterator[Figure]:
    """Calls a second of one core, relative to the echo."""
    asked = [
        Side("echo", served.echo, ECHO, [b""]),
        Side("GetTiming", served.target, TIMING, timing_requests()),
        Side("GetChannels", served.target, CHANNELS, channel_requests()),
    ]
    taken = poured_in_turn(asked, served.pid, SECONDS, ROUNDS)
    echo = [calls.per_second for calls, *_ in taken]
    yield Figure("echo, calls/s of a busy core", tuple(echo), "calls/s", better="more")
    for place, side in enumerate(asked[1:], 1):
        own = [calls[place].per_second for calls in taken]
        yield Figure(f"{side.name}, calls/s of a busy core", tuple(own), "calls/s", better="more")
        yield Figure(
            f"{side.name}, calls/s of the echo's",
            tuple(o / e for e, o in zip(echo, own, strict=True)),
            bound=0.9,
            better="more",
            note="one pinned server, its caller on the same core",
        )


def latencies(served: Served) -> Iterator[Figure]:
    """p99 of one caller alone, relative to the echo."""
    asked = [
        Side("echo", served.echo, ECHO, [score_request()]),
        Side("ScoreLead", served.target, SCORE, [score_request()]),
        Side("GetTiming", served.target, TIMING, timing_requests()),
        Side("GetChannels", served.target, CHANNELS, channel_requests()),
    ]
    taken = compared(asked, served.pid, callers=1, seconds=SECONDS, rounds=ROUNDS)
    for side in asked[1:]:
        for share, bound in ((0.5, None), (0.99, 1.3)):
            yield Figure(
                f"{side.name}, p{share * 100:.0f} alone / echo",
                ratios(taken[side.name], taken["echo"], share),
                bound=bound,
                note="one caller on one connection",
            )


def under_followers(served: Served, url: str) -> Figure:
    """p99 of ScoreLead while many Learn streams are open, relative to none."""
    side = Side("ScoreLead", served.target, SCORE, [score_request()])
    found = []
    for _ in range(5):
        alone = called(side, served.pid, 1, SECONDS)
        with followers(served.target, url, FOLLOWERS):
            among = called(side, served.pid, 1, SECONDS)
        again = called(side, served.pid, 1, SECONDS)
        found.append(2 * among.quantile(0.99) / (alone.quantile(0.99) + again.quantile(0.99)))
    return Figure(
        f"ScoreLead, p99 with {FOLLOWERS} Learn streams / none",
        tuple(found),
        bound=1.5,
        note="one caller; each stream hears five messages a second",
    )


def two_processes(one: Served, two: Served) -> Iterator[Figure]:
    """Two pinned processes kept busy at once, relative to each of them alone.

    A core is a server's and its caller's; the caller costs about a tenth of it (`frames`).
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    served = [(_score(each), each.pid, core) for each, core in zip((one, two), cores, strict=True)]
    cpu, rate = [], []
    for _ in range(ROUNDS):
        alone = [poured_at_once([each], SECONDS)[0] for each in served]
        both = poured_at_once(served, SECONDS)
        cpu.append(
            statistics.fmean(calls.cpu_microseconds for calls in both)
            / statistics.fmean(calls.cpu_microseconds for calls in alone)
        )
        rate.append(
            sum(calls.per_second for calls in both)
            / statistics.fmean(calls.per_second for calls in alone)
        )
    yield Figure(
        "ScoreLead, CPU a call of two processes / of one",
        tuple(cpu),
        bound=1.1,
        note="each pinned to a core, its caller on the same",
    )
    yield Figure(
        "ScoreLead, calls/s of two processes / of one",
        tuple(rate),
        note=f"of one: {statistics.fmean(calls.per_second for calls in alone):.0f} calls/s",
    )


def _score(served: Served) -> Side:
    return Side("ScoreLead", served.target, SCORE, [score_request()])


def timing_requests() -> list[bytes]:
    """What differs by zone, channel and touch, as an engine asks."""
    return [
        recommendation.GetTimingRequest(
            client_id=CLIENT, timezone=zone, channel=channel, touch_number=touch
        ).SerializeToString()
        for zone in ("Australia/Sydney", "America/New_York", "Europe/Berlin")
        for channel in ("email", "linkedin", "voice")
        for touch in (1, 2, 3)
    ]


def channel_requests() -> list[bytes]:
    """What differs by tier and channels used."""
    return [
        recommendation.GetChannelsRequest(
            client_id=CLIENT, tier=tier, used_channels=used
        ).SerializeToString()
        for tier in (core.TIER_HOT, core.TIER_WARM, core.TIER_COOL)
        for used in ((), ("email",), ("email", "linkedin"))
    ]


def ratios(own: list[Calls], limit: list[Calls], share: float) -> tuple[float, ...]:
    """Latencies of one side over those of another, round by round."""
    return tuple(o.quantile(share) / e.quantile(share) for o, e in zip(own, limit, strict=True))


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
