"""Learn as a whole: beside reading the same rows, its memory, and many small clients.

    python -m tests.bench.learn_speed

One client of 100 000 leads in an embedded Postgres is learned in a process of its own, as a worker
does, from the request to what is stored; its seconds stand beside those of only reading the same
rows through ADBC, before and after. Then clients of 300 leads are learned one after the other by
one worker, and by two at a time.
"""

from __future__ import annotations

import datetime as dt
import itertools
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cis_server.worker.allocators import give_back_freed_memory
from tests.bench.detectors import AS_OF, ONE_CORE, WINDOW_DAYS, in_own_process
from tests.bench.figures import Figure, report

LEADS: Final = 100_000
OF_READING_MAX: Final = 10.0
PEAK_MB_MAX: Final = 1000.0
SMALL_LEADS: Final = 300
SMALL_CLIENTS: Final = 12
"""For each of two workers."""
SMALL_SECONDS_MAX: Final = 1.0
TWO_WORKERS_MIN: Final = 1.8
ROUNDS: Final = 3
LARGE: Final = "bench"


@dataclass(frozen=True, slots=True)
class Large:
    """A run over the large client."""

    seconds: float
    stages: dict[str, float]
    peak_mb: float
    leads: int
    activities: int


def figures() -> Iterator[Figure]:
    """The large client, then the small ones."""
    from cis_server.persistence.database import opened_database

    # Threads are bounded before the processes make their pools.
    os.environ.update(dict.fromkeys(ONE_CORE, "1"))
    with (
        tempfile.TemporaryDirectory(prefix="cis-bench-") as folder,
        opened_database(None, Path(folder)) as url,
    ):
        # Not in this process: a worker's peak memory would begin with that of who starts it.
        in_own_process(simulated, url, {LARGE: LEADS}, 1)
        names = [f"small-{number}" for number in range(2 * SMALL_CLIENTS + 2)]
        in_own_process(simulated, url, dict.fromkeys(names, SMALL_LEADS), 2)
        yield from _large(url, folder)
        yield from _small(url, folder, names)


def _large(url: str, folder: str) -> Iterator[Figure]:
    runs: list[Large] = []
    readings = [in_own_process(read_seconds, url)]
    for _ in range(ROUNDS):
        runs.append(in_own_process(learned, url, folder))
        readings.append(in_own_process(read_seconds, url))
    first = runs[0]
    yield Figure(
        "reading the rows, ADBC", tuple(readings), "s", note=f"{first.activities} activities"
    )
    # Each run beside the mean of the readings on either side of it.
    beside = [(a + b) / 2 for a, b in itertools.pairwise(readings)]
    yield Figure(
        f"Learn over {first.leads} leads, of reading",
        tuple(run.seconds / read for run, read in zip(runs, beside, strict=True)),
        "times",
        bound=OF_READING_MAX,
        note=f"{statistics.median(run.seconds for run in runs):.1f} s from claim to commit",
    )
    for stage in first.stages:
        yield Figure(stage, tuple(run.stages[stage] for run in runs), "s")
    yield Figure(
        "peak memory of the worker",
        tuple(run.peak_mb for run in runs),
        "MB",
        bound=PEAK_MB_MAX,
        note="resident, from the start of the process",
    )


def _small(url: str, folder: str, names: Sequence[str]) -> Iterator[Figure]:
    parts = names[:SMALL_CLIENTS], names[SMALL_CLIENTS : 2 * SMALL_CLIENTS]
    spawn = multiprocessing.get_context("spawn")
    alone: list[float] = []
    together: list[float] = []
    spent: list[float] = []
    shared: list[float] = []
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                ProcessPoolExecutor(1, mp_context=spawn, initializer=give_back_freed_memory)
            )
            for _ in parts
        ]
        # Imports and compiled loops are there before anything is counted.
        for worker, name in zip(workers, names[-2:], strict=True):
            worker.submit(learned_each, url, folder, [name], 0).result()
        for turn in range(1, ROUNDS + 1):
            started = time.perf_counter()
            spent.append(workers[0].submit(learned_each, url, folder, parts[0], turn).result())
            alone.append(time.perf_counter() - started)
            started = time.perf_counter()
            both = [
                worker.submit(learned_each, url, folder, part, -turn)
                for worker, part in zip(workers, parts, strict=True)
            ]
            shared.append(statistics.mean(one.result() for one in both))
            together.append(time.perf_counter() - started)
    yield Figure(
        f"a client of {SMALL_LEADS} leads, one worker",
        tuple(seconds / SMALL_CLIENTS for seconds in alone),
        "s",
        bound=SMALL_SECONDS_MAX,
        note="from request to commit",
    )
    yield Figure(
        "processor time of that in the worker",
        tuple(seconds / SMALL_CLIENTS for seconds in spent),
        "s CPU",
    )
    yield Figure(
        "clients a second, two workers to one",
        tuple(2 * one / two for one, two in zip(alone, together, strict=True)),
        bound=TWO_WORKERS_MIN,
        better="more",
        note=f"{os.cpu_count()} cores, with the database on them",
    )
    yield Figure(
        "processor time of a client, two workers to one",
        tuple(two / one for one, two in zip(spent, shared, strict=True)),
        note="what two cost each other beside waiting for a core",
    )


def simulated(url: str, leads: dict[str, int], seed: int) -> None:
    """Put simulated clients into a database."""
    from cis_server.demo.loading import write
    from cis_server.demo.simulator import simulate
    from cis_server.demo.specs import ClientSpec

    specs = [ClientSpec(client_id=name, leads=number) for name, number in leads.items()]
    write(simulate(specs, seed, AS_OF), url)


def read_seconds(url: str) -> float:
    """Fetch every frame of the large client as Arrow, and let it go."""
    import adbc_driver_manager  # noqa: F401 - imports are no part of reading
    import adbc_driver_postgresql  # noqa: F401
    import polars  # noqa: F401
    import pyarrow  # noqa: F401

    from cis_server.domain.dataset import FRAMES, Window
    from cis_server.persistence.dataset_rows import reading

    window = Window(start=AS_OF - dt.timedelta(days=WINDOW_DAYS), as_of=AS_OF)
    started = time.perf_counter()
    with reading(url, LARGE, window) as rows_of:
        for name in FRAMES:
            rows_of(name)
    return time.perf_counter() - started


def learned(url: str, folder: str) -> Large:
    """Learn the large client as a worker does."""
    from cis_server import logs
    from cis_server.bootstrap import learn_here
    from cis_server.domain.runs import LearnOptions
    from cis_server.settings import Settings

    logs.configure("warning")
    settings = Settings(data_dir=Path(folder), database_url=url)
    options = LearnOptions(as_of=AS_OF, lookback_days=WINDOW_DAYS, force=True)
    run = learn_here(settings, url, LARGE, options)[1][LARGE]
    if run.result is None:
        raise SystemExit(f"the run failed: {run.error}")
    return Large(
        seconds=run.result.seconds,
        stages={stage.stage: stage.seconds for stage in run.stages},
        peak_mb=run.result.peak_memory_bytes / 1e6,
        leads=run.result.leads,
        activities=run.result.activities,
    )


def learned_each(url: str, folder: str, names: Sequence[str], turn: int) -> float:
    """Learn clients one after the other; gives the processor time of this process."""
    from cis_server import logs
    from cis_server.bootstrap import InlineQueue, learner
    from cis_server.domain.runs import LearnOptions
    from cis_server.persistence.runs import Runs
    from cis_server.serving.learning_runs import LearningRuns
    from cis_server.settings import Settings

    logs.configure("warning")
    # Another moment each time, so that no run is taken for one that was there before.
    as_of = AS_OF - dt.timedelta(minutes=60 + turn)
    options = LearnOptions(as_of=as_of, lookback_days=WINDOW_DAYS, force=True)
    settings = Settings(data_dir=Path(folder), database_url=url)
    started = time.process_time()
    with learner(settings, url) as work:
        store = Runs(work.engine)
        requests = LearningRuns(store, InlineQueue(work))
        asked = [requests.request(name, options) for name in names]
        ids = [run_id for each in asked for run_id in each.runs.values()]
        runs = [run for each in store.read(ids).values() for run in each]
    failed = [f"{run.client_id}: {run.error}" for run in runs if run.result is None]
    if failed or len(runs) != len(names):
        raise SystemExit(f"{len(runs)} of {len(names)} runs, failed: {failed}")
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
