"""What the six detectors cost on one core: seconds, growth with the number of leads, memory.

    python -m tests.bench.detectors

One simulated client, made larger by leads that are like those it has, so that all sizes are of one
kind. Each size is measured in a process of its own that has read the frames from their files, as a
run does; what is counted is population and detectors, by processor time.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from cis_server.worker.allocators import give_back_freed_memory
from tests.bench.figures import Figure, report, short

LEADS: Final = 100_000
TIMES: Final = (1, 3, 10)
"""Sizes, as multiples of `LEADS`."""
ROUNDS: Final = 3
"""Repetitions of the smallest size; the others are measured once."""
SECONDS_MAX: Final = 6.0
PEAK_MB_MAX: Final = 1000.0
GROWTH_MAX: Final = 1.25
"""Cost of a lead at a larger size over that at the smallest."""
AS_OF: Final = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
WINDOW_DAYS: Final = 150
CLIENT: Final = "bench"
ONE_CORE: Final = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# A size is left out where its frames would not fit: what making them takes, in bytes a lead.
_ROOM_A_LEAD: Final = 12_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one size."""

    leads: int
    activities: int
    email_events: int
    seconds: float
    """Processor time of population and detectors together."""
    by_stage: dict[str, float]
    peak_mb: float
    """Most that the process held, in millions of bytes."""


def figures() -> Iterator[Figure]:
    """Cost at `LEADS`, by detector, and how it grows."""
    # Threads are bounded before the processes make their pools.
    os.environ.update(dict.fromkeys(ONE_CORE, "1"))
    with tempfile.TemporaryDirectory(prefix="cis-bench-") as folder:
        places = in_own_process(stored, folder, TIMES)
        first = [in_own_process(measured, places[0]) for _ in range(ROUNDS)]
        base = first[0]
        size = f"{short(base.leads)} leads"
        kinds = f"{base.activities} activities, {base.email_events} e-mail events"
        yield Figure(
            f"six detectors over {size}",
            tuple(cost.seconds for cost in first),
            "s CPU",
            bound=SECONDS_MAX,
            note=kinds,
        )
        for stage in base.by_stage:
            yield Figure(stage, tuple(cost.by_stage[stage] for cost in first), "s CPU")
        yield Figure(
            "peak memory", tuple(cost.peak_mb for cost in first), "MB", bound=PEAK_MB_MAX, note=size
        )
        a_lead = min(cost.seconds for cost in first) / base.leads
        for place in places[1:]:
            cost = in_own_process(measured, place)
            yield Figure(
                f"a lead of {short(cost.leads)}, to one of {short(base.leads)}",
                (cost.seconds / cost.leads / a_lead,),
                bound=GROWTH_MAX,
                note=f"{cost.seconds:.1f} s CPU, {cost.peak_mb:.0f} MB",
            )


def in_own_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in a fresh process that sets its memory up as a worker does."""
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=give_back_freed_memory
    ) as pool:
        return pool.submit(work, *arguments).result()


def stored(folder: str, times: Sequence[int]) -> list[str]:
    """Make the client in every size that memory allows; gives the folders of their files."""
    import polars as pl

    from cis_server.demo.dataset import to_dataset
    from cis_server.demo.simulator import simulate
    from cis_server.demo.specs import ClientSpec
    from cis_server.domain.dataset import FRAMES, Dataset, Window
    from cis_server.persistence.dataset import content_hash, save_dataset

    window = Window(start=AS_OF - dt.timedelta(days=WINDOW_DAYS), as_of=AS_OF)
    made = simulate([ClientSpec(client_id=CLIENT, leads=LEADS)], 1, AS_OF)
    one = to_dataset(made, CLIENT, window)
    del made
    identifiers = ("lead_id", "activity_id", "meeting_id", "deal_id", "thread_id")
    room = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    places = []
    for number in times:
        if number > 1 and number * LEADS * _ROOM_A_LEAD > room:
            break

        def again(frame: pl.DataFrame, copy: int) -> pl.DataFrame:
            known = [name for name in identifiers if name in frame.columns]
            # One digit in front: rows stay in key order, one copy after the other.
            marked = (pl.concat_str(pl.lit(f"{copy}-"), name).alias(name) for name in known)
            return frame.with_columns(marked)

        frames: dict[str, Any] = {
            name: pl.concat(again(getattr(one, name), copy) for copy in range(number))
            for name in FRAMES
        }
        many = Dataset(client_id=f"{CLIENT}-{number}", window=window, **frames)
        kept = save_dataset(_named(many, content_hash(many)), Path(folder))
        places.append(str(kept.path))
        del frames, many, kept
    return places


def _named(dataset: Any, content_hash: str) -> Any:
    import dataclasses

    return dataclasses.replace(dataset, content_hash=content_hash)


def measured(place: str) -> Cost:
    """Read a client's files, then find its patterns, one core and one detector after the other."""
    from cis_server.detectors.outcomes import population
    from cis_server.detectors.runner import DETECTORS
    from cis_server.detectors.settings import DetectorSettings
    from cis_server.persistence.dataset import load_dataset

    settings, by_stage = DetectorSettings(), {}
    dataset = load_dataset(Path(place))
    # Five resets the high-water mark: reading files is not what is measured here.
    Path("/proc/self/clear_refs").write_text("5")
    started = time.process_time()
    run = population(dataset, settings)
    by_stage["population"] = time.process_time() - started
    for kind, detect in DETECTORS.items():
        before = time.process_time()
        detect(dataset, settings=settings, run=run)
        by_stage[kind.value] = time.process_time() - before
    return Cost(
        leads=dataset.height("leads"),
        activities=dataset.height("activities"),
        email_events=dataset.height("email_events"),
        seconds=time.process_time() - started,
        by_stage=by_stage,
        peak_mb=_high_water() / 1e6,
    )


def _high_water() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
