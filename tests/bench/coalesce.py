"""Calls of `score_lead` that travel together beside separate ones, over gRPC in the same run.

The server is one process pinned to the first core; callers run in this process on the others. Both
sides are measured in turn over several rounds, each in a closed loop: a caller makes its next call
when the last one is answered.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cis_client import AsyncClient, Client, ClientOptions
from cis_client.v1.scoring_service_pb2 import ScoreLeadRequest
from tests.bench.figures import Figure, report
from tests.bench.harness import CLIENT, bench_database, callers_elsewhere, lead, server_process

CALLERS: Final = 256
FEW_CALLERS: Final = (1, 2, 8, 32)
SECONDS: Final = 1.2
WARM_SECONDS: Final = 0.3
ROUNDS: Final = 5

REQUESTS: Final = [
    ScoreLeadRequest(client_id=CLIENT, lead=lead(f"lead-{i:06}")) for i in range(512)
]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one side did in one round."""

    per_second: float
    milliseconds: float
    """Median latency."""


def measured(times: list[tuple[float, float]], started: float) -> Measured:
    """From (end, duration) of calls, those of the warm-up left out."""
    kept = [(end, took) for end, took in times if end >= started + WARM_SECONDS]
    seconds = max(end for end, _ in kept) - started - WARM_SECONDS
    return Measured(len(kept) / seconds, statistics.median(took for _, took in kept) * 1e3)


def by_tasks(target: str, callers: int, *, coalesce: bool) -> Measured:
    """Calls of `AsyncClient`."""

    async def run() -> Measured:
        options = ClientOptions(target=target, coalesce=coalesce, timeout_seconds=60)
        async with AsyncClient(options) as client:
            await client.wait_ready()
            times: list[tuple[float, float]] = []
            started = time.perf_counter()

            async def call(number: int) -> None:
                score, last = client.score_lead, time.perf_counter()
                for request in itertools.cycle(REQUESTS[number:] + REQUESTS[:number]):
                    await score(request)
                    now = time.perf_counter()
                    times.append((now, now - last))
                    last = now
                    if now - started > SECONDS + WARM_SECONDS:
                        return

            await asyncio.gather(*(call(number) for number in range(callers)))
            return measured(times, started)

    return asyncio.run(run())


def by_threads(target: str, callers: int, *, coalesce: bool) -> Measured:
    """Calls of `Client`."""
    options = ClientOptions(target=target, coalesce=coalesce, timeout_seconds=60)
    with Client(options) as client:
        client.wait_ready()
        times: list[tuple[float, float]] = []
        started = time.perf_counter()

        def call(number: int) -> None:
            score, last = client.score_lead, time.perf_counter()
            for request in itertools.cycle(REQUESTS[number:] + REQUESTS[:number]):
                score(request)
                now = time.perf_counter()
                times.append((now, now - last))
                last = now
                if now - started > SECONDS + WARM_SECONDS:
                    return

        threads = [threading.Thread(target=call, args=(n,)) for n in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return measured(times, started)


Run = Callable[..., Measured]


def compared(
    run: Run, target: str, callers: int, rounds: int
) -> tuple[list[Measured], list[Measured]]:
    """Separate and coalesced calls in turn."""
    separate, together = [], []
    for turn in range(rounds):
        for coalesce in (False, True) if turn % 2 == 0 else (True, False):
            (together if coalesce else separate).append(run(target, callers, coalesce=coalesce))
    return separate, together


def figures() -> Iterator[Figure]:
    """Ratios of coalesced to separate calls, round by round."""
    with bench_database() as (url, _), server_process(url) as served, callers_elsewhere():
        for name, run, bound in (("AsyncClient", by_tasks, 10.0), ("Client", by_threads, 4.0)):
            for callers in (CALLERS, *FEW_CALLERS):
                rounds = ROUNDS if callers == CALLERS else 3
                separate, together = compared(run, served.target, callers, rounds)
                pairs = list(zip(separate, together, strict=True))
                of = f"{name}, {callers} callers"
                yield Figure(
                    f"{of}: throughput",
                    tuple(two.per_second / one.per_second for one, two in pairs),
                    "× separate",
                    bound if callers == CALLERS else None,
                    "more",
                    note=f"{statistics.median(one.per_second for one in separate):.0f} -> "
                    f"{statistics.median(two.per_second for two in together):.0f} calls/s",
                )
                yield Figure(
                    f"{of}: p50",
                    tuple(two.milliseconds / one.milliseconds for one, two in pairs),
                    "× separate",
                    1.0 if callers == CALLERS else None,
                    "less",
                    note=f"{statistics.median(one.milliseconds for one in separate):.2f} -> "
                    f"{statistics.median(two.milliseconds for two in together):.2f} ms",
                )


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
