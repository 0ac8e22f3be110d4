"""ScoreTable: leads a second of server processor time, beside a stream of the same bytes; memory.

python tests/bench/table.py [--json FILE] [--check]

A million leads with the columns most have, sent over loopback to a server pinned to one core. What
counts is the processor time that the server spends on a lead, transport included: its inverse is
what one saturated core takes. The limit is a bare stream that takes in as many bytes and gives back
as many, in the same process and the same run.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from cis_client import Client, ClientOptions
from cis_client.frames import BATCH_ROWS, FrameScoring, table_request
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import scoring_service_pb2 as scoring
from tests.bench.figures import Figure, report
from tests.bench.harness import (
    CLIENT,
    STREAM,
    Served,
    bench_database,
    callers_elsewhere,
    server_process,
)

LEADS = 1_000_000
ROUNDS = 5
LISTED = 100_000
"""Entries of the suppression list, in the figures with one."""

_OPTIONS = [("grpc.max_receive_message_length", 1 << 24), ("grpc.use_local_subchannel_pool", 1)]


def leads(n: int, seed: int = 1) -> pa.Table:
    """Leads as a CRM has them: 200 000 companies, 750 titles, gaps everywhere."""
    chance = np.random.default_rng(seed)

    def numbered(prefix: str, numbers: Any, suffix: str = "") -> pa.Array:
        texts = pa.array(numbers).cast(pa.string())
        return pc.binary_join_element_wise(prefix, texts, suffix, "")

    def picked(words: Sequence[str]) -> pa.Array:
        return pa.array(words).take(pa.array(chance.integers(0, len(words), n)))

    def gaps(column: pa.Array, share: float) -> pa.Array:
        return pc.if_else(pa.array(chance.random(n) >= share), column, pa.scalar(None, column.type))

    company = chance.integers(0, 200_000, n)
    domain = numbered("company", company, ".example.com")
    person = numbered("dana.person", np.arange(n))
    ranks = (
        "Head of",
        "Director of",
        "VP",
        "Manager,",
        "Senior Manager",
        "Chief",
        "Lead",
        "Junior",
    )
    fields = (
        "Sales",
        "Marketing",
        "IT",
        "Operations",
        "Finance",
        "Engineering",
        "Product",
        "People",
    )
    places = ("EMEA", "APAC", "Americas", "Global", "DACH", "ANZ", "UK", "North", "South", "II", "")
    titles = [f"{a} {b} {c}".strip() for a in ranks for b in fields for c in places]
    titles += [f"{word} {c}".strip() for word in ("CEO", "Founder", "Owner", "CTO") for c in places]
    started = pa.array((20_500 - chance.integers(0, 2000, n)).astype(np.int32)).cast(pa.date32())
    return pa.table(
        {
            "lead_id": numbered("lead-", np.arange(n)),
            "email": gaps(pc.binary_join_element_wise(person, domain, "@"), 0.1),
            "email_status": picked(("verified", "guessed", "catch_all", "unknown", "invalid")),
            "phone": gaps(numbered("+61 4", chance.integers(10**7, 10**8, n)), 0.4),
            "phone_verified": pa.array(chance.random(n) < 0.3),
            "linkedin_url": gaps(
                pc.binary_join_element_wise("https://www.linkedin.com/in", person, "/"), 0.3
            ),
            "title": gaps(picked(titles), 0.05),
            "seniority": gaps(picked(("c_suite", "vp", "director", "manager", "entry")), 0.5),
            "employment_start_date": gaps(started, 0.4),
            "domain": gaps(domain, 0.05),
            "industry": gaps(picked([f"{a} Services {i}" for a in fields for i in range(8)]), 0.05),
            "employee_count": gaps(pa.array(chance.integers(1, 3000, n).astype(np.int32)), 0.2),
            "is_hiring": pa.array(chance.random(n) < 0.4),
            "country": gaps(picked(("Australia", "United States", "Germany", "France")), 0.05),
            "bounce_count": pa.array((chance.random(n) < 0.03).astype(np.int32)),
            "unsubscribed": pa.array(chance.random(n) < 0.02),
        }
    )


def as_frames_go(table: pa.Table) -> list[bytes]:
    """The messages in which `score_frame` sends a table."""
    sender = FrameScoring(table, scoring.ScoreTableRequest(), "", 1 << 24)
    sender.take(scoring.ScoreTableResponse())
    return [request.arrow_ipc for request in sender.requests() if request.arrow_ipc]


def as_plain_text(table: pa.Table) -> list[bytes]:
    """The messages of a table whose texts all stand as they are."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH_ROWS)
    whole = sink.getvalue().to_pybytes()
    return [whole[begin : begin + (1 << 20)] for begin in range(0, len(whole), 1 << 20)]


def cpu(pid: int) -> float:
    """Processor time that a process has spent, in nanoseconds by the scheduler's own count."""
    return (
        sum(
            int(Path(task, "schedstat").read_text().split()[0])
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
        / 1e9
    )


def scored(client: Client, pieces: Sequence[bytes]) -> int:
    """Sends a table; bytes of its scores."""
    requests = (scoring.ScoreTableRequest(arrow_ipc=piece) for piece in pieces)

    def stream() -> Iterator[scoring.ScoreTableRequest]:
        yield table_request(CLIENT)
        yield from requests

    with client.score_table(stream()) as answers:
        return sum(len(answer.arrow_ipc) for answer in answers)


def echoed(target: str, pieces: Sequence[bytes]) -> int:
    with grpc.insecure_channel(target, _OPTIONS) as channel:
        return sum(map(len, channel.stream_stream(STREAM)(iter(pieces))))


def spent(served: Served, call: Any) -> float:
    """Seconds of the server's processor time that a call takes."""
    before = cpu(served.pid)
    call()
    return cpu(served.pid) - before


def peak_mb(pid: int) -> float:
    """Most memory resident since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def figures() -> Iterator[Figure]:
    table = leads(LEADS)
    pieces = as_frames_go(table)
    texts = as_plain_text(table)
    with (
        bench_database() as (url, _),
        server_process(url) as served,
        callers_elsewhere(),
        Client(ClientOptions(target=served.target, connections=1)) as client,
    ):
        scored(client, as_frames_go(table.slice(0, 1000)))  # loads what it needs
        yield from _rates(client, served, pieces, texts)
        yield from _memory(client, served, pieces)
        yield from _frames(client, table)
        _restrict(client, url)
        times = [spent(served, lambda: scored(client, pieces)) for _ in range(2)]
        yield Figure(
            "with competitors and two suppression lists",
            tuple(LEADS / each for each in times),
            "leads/s",
            better="more",
            note=f"one core; {LISTED} entries each and 20 domains",
        )


def _rates(
    client: Client, served: Served, pieces: Sequence[bytes], texts: Sequence[bytes]
) -> Iterator[Figure]:
    sides = {
        "echo": lambda: echoed(served.echo, pieces),
        "frame": lambda: scored(client, pieces),
        "texts": lambda: scored(client, texts),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS):
        for name in list(sides)[:: 1 if turn % 2 == 0 else -1]:
            times[name].append(spent(served, sides[name]))
    limit = LEADS / sorted(times["echo"])[ROUNDS // 2]
    size = sum(map(len, pieces)) / LEADS
    for name, side, bound, words in (
        ("leads", "frame", 1.5e6, f"one core, transport included, {size:.0f} bytes a lead"),
        ("leads without dictionaries", "texts", None, f"{sum(map(len, texts)) / LEADS:.0f} bytes"),
    ):
        yield Figure(
            name,
            tuple(LEADS / each for each in times[side]),
            "leads/s",
            bound,
            "more",
            limit,
            words,
        )


def _memory(client: Client, served: Served, pieces: Sequence[bytes]) -> Iterator[Figure]:
    above = []
    for _ in range(3):
        forget_peak(served.pid)
        before = peak_mb(served.pid)
        scored(client, pieces)
        above.append(peak_mb(served.pid) - before)
    note = f"while {sum(map(len, pieces)) >> 20} MB pass; buffers of gRPC included"
    yield Figure("memory above rest", tuple(above), "MB", 128.0, note=note)


def _frames(client: Client, table: pa.Table) -> Iterator[Figure]:
    frame = pl.from_arrow(table)
    rates, own = [], []
    for _ in range(3):
        started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        scores = client.score_frame(frame, CLIENT)
        assert len(scores) == LEADS
        rates.append(LEADS / (time.perf_counter() - started))
        after = resource.getrusage(resource.RUSAGE_SELF)
        own.append((after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime) * 1e9 / LEADS)
    yield Figure("score_frame", tuple(rates), "leads/s", better="more", note="Polars, wall clock")
    yield Figure("score_frame, the client's part", tuple(own), "ns/lead", note="processor time")


def _restrict(client: Client, url: str) -> None:
    """Give the client competitors and suppression lists."""
    rivals = [f"rival{i}.example" for i in range(20)]
    request = admin.UpsertClientRequest(
        client=admin.Client(client_id=CLIENT, competitor_domains=rivals)
    )
    client.upsert_client(request)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO suppression (client_id, kind, value)"
            " SELECT %s, 'email', 'gone' || i || '@nowhere.example'"
            " FROM generate_series(1, %s) AS i",
            (CLIENT, LISTED),
        )
        connection.execute(
            "INSERT INTO global_suppression (kind, value, reason)"
            " SELECT 'domain', 'gone' || i || '.example', 'legal' FROM generate_series(1, %s) AS i",
            (LISTED,),
        )
    time.sleep(3.0)


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
