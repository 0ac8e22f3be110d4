"""How long the six detectors take over 100 000 leads, on one core, and in how much memory.

    python tests/bench/detectors.py [--leads N ...] [--json FILE]

Several numbers of leads show how the cost grows. Each number is measured in a process of its own,
over the frames as the simulator makes them: what is counted is the detectors, not the database.
Memory is what the process holds when a stage has ended, and the most it held during it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cis_server.worker.allocators import give_back_freed_memory

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
WINDOW_DAYS = 150
CLIENT = "bench"


class Stages:
    """Seconds of the processor and memory by stage."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        # Five resets the high-water mark of this process.
        Path("/proc/self/clear_refs").write_text("5")
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.rows.append(
            {
                "stage": name,
                "seconds": round(time.perf_counter() - wall, 3),
                "cpu_seconds": round(time.process_time() - processor, 3),
                "held_mb": _memory("VmRSS"),
                "peak_mb": _memory("VmHWM"),
            }
        )


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return round(int(kilobytes) / 1024)


def _prepare(leads: int, file: str) -> None:
    import pickle

    from cis_server.demo.dataset import to_dataset
    from cis_server.demo.simulator import simulate
    from cis_server.demo.specs import ClientSpec
    from cis_server.domain.dataset import Window

    window = Window(start=AS_OF - dt.timedelta(days=WINDOW_DAYS), as_of=AS_OF)
    made = simulate([ClientSpec(client_id=CLIENT, leads=leads)], 1, AS_OF)
    Path(file).write_bytes(pickle.dumps(to_dataset(made, CLIENT, window)))


def _measure(file: str) -> dict[str, Any]:
    import pickle

    from cis_server.detectors.outcomes import population
    from cis_server.detectors.runner import DETECTORS, run_detectors
    from cis_server.detectors.settings import DetectorSettings

    stages, settings = Stages(), DetectorSettings()
    with stages.stage("load"):
        dataset = pickle.loads(Path(file).read_bytes())
    with stages.stage("population"):
        run = population(dataset, settings)
    for kind, detect in DETECTORS.items():
        with stages.stage(kind.value):
            detect(dataset, settings=settings, run=run)
    del run
    with stages.stage("all, as in a run"):
        outcomes = run_detectors(dataset, settings=settings)
    return {
        "leads": dataset.leads.height,
        "activities": dataset.activities.height,
        "email_events": dataset.email_events.height,
        "found": {kind.value: outcome.status.value for kind, outcome in outcomes.items()},
        "stages": stages.rows,
    }


def _in_own_process(work: Callable[..., Any], *arguments: Any) -> Any:
    # As in a worker.
    begin = give_back_freed_memory
    with multiprocessing.get_context("spawn").Pool(1, initializer=begin) as pool:
        return pool.apply(work, arguments)


def _show(result: dict[str, Any]) -> None:
    print(f"{result['leads']} leads, {result['activities']} activities", end=", ")
    print(f"{result['email_events']} e-mail events")
    print(f"{'stage':<18}{'seconds':>9}{'cpu':>9}{'held MB':>9}{'peak MB':>9}")
    for row in result["stages"]:
        print(
            f"{row['stage']:<18}{row['seconds']:>9.2f}{row['cpu_seconds']:>9.2f}"
            f"{row['held_mb']:>9}{row['peak_mb']:>9}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--json", type=Path, default=Path("build/bench/detectors.json"))
    arguments = parser.parse_args()
    # One core, and threads bounded before pools are made.
    pools = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    os.environ.update(dict.fromkeys(pools, "1"))
    results = []
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    frames = arguments.json.with_suffix(".frames")
    try:
        for leads in arguments.leads:
            _in_own_process(_prepare, leads, str(frames))
            results.append(_in_own_process(_measure, str(frames)))
            _show(results[-1])
    finally:
        frames.unlink(missing_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
