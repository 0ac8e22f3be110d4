"""ScoreLead while a run of 100 000 leads is under way, beside ScoreLead on an idle machine.

python -m tests.bench.learn_beside

One caller, closed loop, against `cis-server serve` as it is installed: one pinned RPC process, and
a worker that yields to it. The database is on the same machine.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import grpc

from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import learning_service_pb2_grpc as learning_grpc
from cis_server.persistence.database import opened_database
from tests.bench.figures import Figure, report
from tests.bench.harness import CLIENT, SCORE, score_request
from tests.bench.startup import started

LEADS: Final = 100_000
AS_OF: Final = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
LOOKBACK_DAYS: Final = 150
IDLE_SECONDS: Final = 10.0
IN_A_SAMPLE: Final = 1_000
"""Calls of one p99."""


def figures(leads: int = LEADS) -> Iterator[Figure]:
    """Before, during and after a run."""
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="cis-bench-") as folder,
        opened_database(None, Path(folder)) as url,
    ):
        with spawn.Pool(1, maxtasksperchild=1) as filling:
            filling.apply(_fill, (url, leads))
        with started(url, Path(folder), worker=True) as process:
            until = time.perf_counter() + IDLE_SECONDS
            idle = _latencies(process.channel, lambda: time.perf_counter() < until)
            run = threading.Thread(target=_learn, args=(process.channel,))
            run.start()
            begun = time.perf_counter()
            beside = _latencies(process.channel, run.is_alive)
            seconds = time.perf_counter() - begun
            until = time.perf_counter() + IDLE_SECONDS
            idle += _latencies(process.channel, lambda: time.perf_counter() < until)
            quiet = statistics.median(_p99s(idle))
            yield Figure("p99 idle, before and after", _p99s(idle), "ms")
            yield Figure("p99 during the run", _p99s(beside), "ms", limit=quiet)
            yield Figure(
                "p99 during the run, of that idle",
                tuple(value / quiet for value in _p99s(beside)),
                bound=3.0,
                note=f"{leads} leads, {seconds:.0f} s; one value per {IN_A_SAMPLE} calls",
            )
            yield Figure(
                "p50 during the run, of that idle",
                (statistics.median(beside) / statistics.median(idle),),
            )


def _fill(url: str, leads: int) -> None:
    from cis_server.demo.loading import write
    from cis_server.demo.simulator import simulate
    from cis_server.demo.specs import ClientSpec

    write(simulate([ClientSpec(client_id=CLIENT, leads=leads)], 1, AS_OF), url)


def _learn(channel: grpc.Channel) -> None:
    request = learning.LearnRequest(client_id=CLIENT, force=True, lookback_days=LOOKBACK_DAYS)
    request.as_of_time.FromDatetime(AS_OF)
    for message in learning_grpc.LearningServiceStub(channel).Learn(request):
        stage = message.progress.stage or "ended"
        print(f"  {stage} {message.progress.fraction:.2f}", file=sys.stderr, flush=True)


def _latencies(channel: grpc.Channel, go_on: Callable[[], bool]) -> list[float]:
    """Milliseconds of calls made one after the other, at least one sample of them."""
    unary, body = channel.unary_unary(SCORE), score_request()
    times: list[float] = []
    while go_on() or len(times) < IN_A_SAMPLE:
        started_at = time.perf_counter()
        unary(body, timeout=10)
        times.append((time.perf_counter() - started_at) * 1e3)
    return times


def _p99s(times: list[float]) -> tuple[float, ...]:
    samples = [times[i : i + IN_A_SAMPLE] for i in range(0, len(times), IN_A_SAMPLE)]
    return tuple(
        statistics.quantiles(sample, n=100)[98] for sample in samples if len(sample) == IN_A_SAMPLE
    )


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
