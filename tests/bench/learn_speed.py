"""How long a run takes over 100 000 leads with 500 000 touches, and how much memory its worker.

    python tests/bench/learn_speed.py [leads]

Simulates one client into an embedded Postgres in a temporary folder, then learns it in a process of
its own, as a worker does. Seconds by stage stand beside the time of only reading the same rows.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from cis_server.bootstrap import learn_here
from cis_server.demo.loading import write
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec
from cis_server.domain.dataset import Window
from cis_server.domain.runs import LearnOptions, Run
from cis_server.persistence.database import opened_database
from cis_server.persistence.dataset import read_dataset
from cis_server.settings import Settings

CLIENT = "bench"
AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
LOOKBACK_DAYS = 150


def read_seconds(url: str) -> float:
    started = time.perf_counter()
    window = Window(start=AS_OF - dt.timedelta(days=LOOKBACK_DAYS), as_of=AS_OF)
    read_dataset(url, CLIENT, window)
    return time.perf_counter() - started


def learned(folder: str, url: str) -> Run:
    settings = Settings(data_dir=Path(folder), database_url=url)
    options = LearnOptions(as_of=AS_OF, lookback_days=LOOKBACK_DAYS)
    return learn_here(settings, url, CLIENT, options)[1][CLIENT]


def main() -> None:
    leads = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    # As the supervisor starts a worker: thread pools bounded before they are made.
    os.environ.update(dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS"), "1"))
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="cis-bench-") as folder,
        opened_database(None, Path(folder)) as url,
        spawn.Pool(1, maxtasksperchild=1) as worker,
    ):
        simulation = simulate([ClientSpec(client_id=CLIENT, leads=leads)], 1, AS_OF)
        counts = write(simulation, url)
        print({name: count for name, count in counts.items() if count})
        del simulation
        reading = worker.apply(read_seconds, (url,))
        run = worker.apply(learned, (folder, url))
    result = run.result
    if result is None:
        sys.exit(f"the run failed: {run.error}")
    for stage in run.stages:
        print(f"{stage.stage:<16}{stage.seconds:8.2f} s  {stage.rows or ''}")
    print(f"{'reading alone':<16}{reading:8.2f} s")
    print(
        f"{'total':<16}{result.seconds:8.2f} s  = {result.seconds / reading:.1f} x reading; "
        f"peak memory {result.peak_memory_bytes / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
