"""Calls of `score_lead` that travel together beside separate ones, over gRPC in the same run.

The server is one process pinned to the first core; callers run in this process on the others. Both
sides are measured in turn over several rounds, each in a closed loop: a caller makes its next call
when the last one is answered.
"""

from __future__ import annotations

import array
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
FEW_CALLERS: Final = (1, 8, 32)
SECONDS: Final = 0.5
WARM_SECONDS: Final = 0.15
ROUNDS: Final = 11
"""Many and short: a shared machine changes its speed from one second to the next."""
LOADING_SECONDS: Final = 8.0

REQUESTS: Final = [
    ScoreLeadRequest(client_id=CLIENT, lead=lead(f"lead-{i:06}")) for i in range(512)
]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one side did in one round."""

    per_second: float
    milliseconds: float
    """Median latency."""
    cpu_microseconds: float
    """Processor time of the callers' process a call."""


class Tally:
    """Counts calls, those of the warm-up left out."""

    def __init__(self) -> None:
        self.begin = time.perf_counter() + WARM_SECONDS
        self.end = self.begin + SECONDS
        self._cpu = 0.0
        # Not a list: its growth would let the garbage collector, which is the callers' too, run.
        self._took = array.array("d")

    def note(self, started: float, ended: float) -> bool:
        """Takes a call in; whether its caller shall go on."""
        if started >= self.begin:
            if not self._took:
                self._cpu = time.process_time()
            self._took.append(ended - started)
        return ended < self.end

    def measured(self) -> Measured:
        """The outcome, at the end of the last call."""
        cpu, seconds = time.process_time() - self._cpu, time.perf_counter() - self.begin
        count = len(self._took)
        return Measured(count / seconds, statistics.median(self._took) * 1e3, cpu / count * 1e6)


def by_tasks(target: str, callers: int, *, coalesce: bool) -> Measured:
    """Calls of `AsyncClient`."""

    async def run() -> Measured:
        options = ClientOptions(target=target, coalesce=coalesce, timeout_seconds=60)
        async with AsyncClient(options) as client:
            await client.wait_ready()
            tally, clock = Tally(), time.perf_counter

            async def call(requests: Iterator[ScoreLeadRequest]) -> None:
                score, started, goes_on = client.score_lead, clock(), True
                while goes_on:
                    await score(next(requests))
                    ended = clock()
                    goes_on = tally.note(started, ended)
                    started = ended

            await asyncio.gather(*(call(requests_from(n)) for n in range(callers)))
            return tally.measured()

    return asyncio.run(run())


def by_threads(target: str, callers: int, *, coalesce: bool) -> Measured:
    """Calls of `Client`."""
    options = ClientOptions(target=target, coalesce=coalesce, timeout_seconds=60)
    with Client(options) as client:
        client.wait_ready()
        tally, clock = Tally(), time.perf_counter

        def call(requests: Iterator[ScoreLeadRequest]) -> None:
            score, started, goes_on = client.score_lead, clock(), True
            while goes_on:
                score(next(requests))
                ended = clock()
                goes_on = tally.note(started, ended)
                started = ended

        threads = [threading.Thread(target=call, args=(requests_from(n),)) for n in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return tally.measured()


def requests_from(first: int) -> Iterator[ScoreLeadRequest]:
    """Requests without end; each caller begins at another one."""
    return itertools.cycle(REQUESTS[first:] + REQUESTS[:first])


Run = Callable[..., Measured]


def compared(
    run: Run, target: str, callers: int, rounds: int
) -> tuple[list[Measured], list[Measured]]:
    """Separate and coalesced calls in turn."""
    separate: list[Measured] = []
    together: list[Measured] = []
    for turn in range(rounds):
        for coalesce in (False, True) if turn % 2 == 0 else (True, False):
            (together if coalesce else separate).append(run(target, callers, coalesce=coalesce))
    return separate, together


def figures() -> Iterator[Figure]:
    """Ratios of coalesced to separate calls, round by round."""
    with bench_database() as (url, _), server_process(url) as served, callers_elsewhere():
        _settle(served.target)
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
                    f"{of}: callers' processor time",
                    tuple(one.cpu_microseconds / two.cpu_microseconds for one, two in pairs),
                    "× less",
                    note=f"{statistics.median(one.cpu_microseconds for one in separate):.0f} -> "
                    f"{statistics.median(two.cpu_microseconds for two in together):.0f} µs a call",
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


def _settle(target: str) -> None:
    """Wait until the server has loaded what batches are scored with, which the first one begins."""
    until = time.monotonic() + LOADING_SECONDS
    while time.monotonic() < until:
        by_tasks(target, CALLERS, coalesce=True)
        time.sleep(1.0)  # loading has the same core


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
