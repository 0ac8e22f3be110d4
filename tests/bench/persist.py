"""Persisted scores: leads a second in batches, and single calls that share their commits.

python -m tests.bench.persist

The limit is the same statement without a server around it: scores that are made already, written by
one connection, a transaction for each thousand.
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import grpc
import psycopg
from sqlalchemy import text

from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.leads import get_leads, upsert_leads, write_scores
from cis_server.scoring.scorer import score_lead
from tests.bench.figures import Figure, report
from tests.bench.harness import (
    BATCH,
    CLIENT,
    SCORE,
    bench_database,
    callers_elsewhere,
    cpu_seconds,
    lead,
    server_process,
)

LEADS: Final = 20_000
IN_A_BATCH: Final = 1_000
ROUNDS: Final = 5
SECONDS: Final = 3.0
SINGLES: Final = 6
"""Callers of single leads at once; a process lets no more wait for the database."""


class Persisted(NamedTuple):
    """What callers were acknowledged in one measurement."""

    calls: int
    late: int
    """Calls that were not stored in time, and said so."""
    seconds: float
    commits: int
    server_cpu_seconds: float
    database_cpu_seconds: float


def figures() -> Iterator[Figure]:
    """Writing alone and through the server in turn, then single calls."""
    ids = [f"lead-{i:06}" for i in range(LEADS)]
    with bench_database() as (url, _), server_process(url) as served, callers_elsewhere():
        engine = make_engine(url, pool_size=1)
        with tenant(engine, CLIENT) as connection:
            upsert_leads(connection, CLIENT, [Lead(lead_id=lead_id) for lead_id in ids])
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))  # as autovacuum does within a minute
        engine.dispose()
        parts = [ids[i : i + IN_A_BATCH] for i in range(0, LEADS, IN_A_BATCH)]
        batches = [_batch(part) for part in parts]
        alone: list[float] = []
        through: list[float] = []
        of_core: list[float] = []
        late: list[float] = []
        for _ in range(ROUNDS):
            alone.append(_written_alone(url, ids))
            # What is left to write to the disk would be waited for by whoever commits next.
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CHECKPOINT")
            taken = _persisted(url, served.target, served.pid, BATCH, batches, 2)
            leads = (taken.calls - taken.late) * IN_A_BATCH
            late.append(taken.late / taken.calls)
            through.append(leads / taken.seconds)
            of_core.append(leads / (taken.server_cpu_seconds + taken.database_cpu_seconds))
        yield Figure(
            f"persisted leads a second of one core, batches of {IN_A_BATCH}",
            tuple(of_core),
            "leads/s",
            bound=10_000,
            better="more",
            note="by processor time of server and database",
        )
        yield Figure(
            f"persisted leads a second, batches of {IN_A_BATCH}",
            tuple(through),
            "leads/s",
            better="more",
            limit=sorted(alone)[ROUNDS // 2],
            note="2 callers; limit: the same statement, no server",
        )
        yield Figure("batches not stored within 250 ms", tuple(late), note="share; they say so")
        for callers in (1, SINGLES):
            singles = [
                _persisted(url, served.target, served.pid, SCORE, [_one(i) for i in ids], callers)
                for _ in range(3)
            ]
            yield Figure(
                f"persisted single calls a second, {callers} callers",
                tuple((taken.calls - taken.late) / taken.seconds for taken in singles),
                "calls/s",
            )
            yield Figure(
                f"commits a single call, {callers} callers",
                tuple(taken.commits / taken.calls for taken in singles),
                note="all transactions of the database counted",
            )
            yield Figure(
                f"server CPU a single call, {callers} callers",
                tuple(taken.server_cpu_seconds / taken.calls * 1e6 for taken in singles),
                "µs",
            )


def _batch(lead_ids: Sequence[str]) -> bytes:
    leads = [lead(lead_id) for lead_id in lead_ids]
    return scoring.BatchScoreLeadsRequest(
        client_id=CLIENT, leads=leads, persist=True
    ).SerializeToString()


def _one(lead_id: str) -> bytes:
    return scoring.ScoreLeadRequest(
        client_id=CLIENT, lead=lead(lead_id), persist=True
    ).SerializeToString()


def _written_alone(url: str, lead_ids: Sequence[str]) -> float:
    """Leads a second of `write_scores` in this process."""
    engine = make_engine(url, pool_size=1)
    now = dt.datetime.now(dt.UTC)
    with tenant(engine, CLIENT) as connection:
        stored = get_leads(connection, CLIENT, lead_ids)
    scores = [score_lead(stored[lead_id].lead, as_of=now.date()) for lead_id in lead_ids]
    started = time.perf_counter()
    for first in range(0, len(scores), IN_A_BATCH):
        with tenant(engine, CLIENT) as connection:
            part = scores[first : first + IN_A_BATCH]
            write_scores(connection, CLIENT, part, scored_at=now, as_of=now, scorer_version="bench")
    seconds = time.perf_counter() - started
    engine.dispose()
    return len(scores) / seconds


def _persisted(
    url: str, target: str, pid: int, method: str, bodies: Sequence[bytes], callers: int
) -> Persisted:
    """Closed loop over the requests for `SECONDS`; each caller has a connection of its own."""
    calls, late = [0] * callers, [0] * callers
    until = time.perf_counter() + SECONDS

    def call(number: int) -> None:
        with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            unary = channel.unary_unary(method)
            at = number * len(bodies) // callers
            while time.perf_counter() < until:
                calls[number] += 1
                try:
                    unary(bodies[at % len(bodies)], timeout=10)
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    late[number] += 1
                at += 1

    before, cpu, database = _commits(url), cpu_seconds(pid), _database_cpu(url)
    started = time.perf_counter()
    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, spent = time.perf_counter() - started, cpu_seconds(pid) - cpu
    of_database = _database_cpu(url) - database
    time.sleep(1.1)  # backends report what they did once a second
    return Persisted(sum(calls), sum(late), seconds, _commits(url) - before, spent, of_database)


def _database_cpu(url: str) -> float:
    """Processor time of all processes of the database server, in seconds."""
    with psycopg.connect(url, autocommit=True) as connection:
        own = connection.info.backend_pid
        server = _parent(own)
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
        return sum(cpu_seconds(pid) for pid in pids if pid != own and _parent(pid) == server)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # ended meanwhile
        return 0


def _commits(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    return int(found[0]) if found else 0


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
