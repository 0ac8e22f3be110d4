"""How long 100 000 leads with 500 000 activities take: drawn, stored through COPY, derived.

Starts an embedded Postgres in a temporary folder; both share one core. Seconds of CPU stand beside
those of the clock, which other work on the machine lengthens.
"""

from __future__ import annotations

import datetime as dt
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cis_server.demo.dataset import to_dataset
from cis_server.demo.loading import write
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec, Outreach
from cis_server.demo.truth import Effects
from cis_server.domain.dataset import Window
from cis_server.persistence.embedded import EmbeddedPostgres
from cis_server.persistence.migrate import migrate
from tests.bench.figures import Figure, report

AS_OF = dt.datetime(2026, 1, 21, tzinfo=dt.UTC)

SEQUENCES = {
    ("email", "linkedin", "email", "voice", "email", "linkedin"): 1.0,
    ("linkedin", "email", "voice", "email", "sms", "email"): 1.0,
}
"""Six touches each: five a lead are left after answers, bounces and what is still to come."""


def figures(leads: int = 100_000) -> Iterator[Figure]:
    """Draw one client, store it, and read it as a dataset."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})  # the server inherits it
    spec = ClientSpec(
        client_id="big",
        leads=leads,
        outreach=Outreach(sequences=SEQUENCES, history_days=250),
        effects=Effects(components={"authority": 4.0}),
    )
    with (
        tempfile.TemporaryDirectory(prefix="cis-speed-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder)) as server,
    ):
        migrate(server.url)
        postmaster = int(next(Path(folder).rglob("postmaster.pid")).read_text().split()[0])
        before = _cpu_of_children(postmaster)
        start = time.perf_counter()
        simulation = simulate([spec], seed=1, as_of=AS_OF)
        drawn = time.perf_counter()
        counts = write(simulation, server.url)
        stored = time.perf_counter()
        database = _cpu_of_children(postmaster) - before
        python = time.process_time()
    to_dataset(simulation, "big", Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF))
    converted = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    how = f"{counts['leads']} leads, {counts['activities']} activities"
    yield Figure("drawn", (drawn - start,), "s", note=how)
    yield Figure("stored and derived", (stored - drawn,), "s", note="COPY, then one derivation")
    yield Figure("processor time of Python", (python,), "s", note="start-up included")
    yield Figure("processor time of Postgres", (database,), "s")
    yield Figure("as a dataset", (converted - stored,), "s")
    yield Figure("peak memory", (peak,), "MB")


def _cpu_of_children(pid: int) -> float:
    """Seconds of CPU of the ended children of a process: cutime and cstime of proc(5)."""
    time.sleep(0.5)  # the postmaster reaps the backend a moment after the connection closes
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
