"""A serving process with 10 000 clients: how soon it serves, and how much memory it holds.

python -m tests.bench.startup

The database holds 10 000 clients with profiles, campaigns and live weights of their own, and
learned patterns of some hundred of them. Before a cold start, the files of Python, its packages and
the kernels are dropped from the page cache, save what other processes have mapped.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import multiprocessing
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import recommendation_service_pb2_grpc as recommendation_grpc
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_client.v1 import scoring_service_pb2_grpc as scoring_grpc
from cis_server.persistence.database import opened_database
from cis_server.settings import Settings
from tests.bench.figures import Figure, report

ROOT: Final = Path(__file__).parents[2]

CLIENTS: Final = 10_000
TAUGHT: Final = 500
"""Clients with patterns: far more than 64 MB of them."""
AS_OF: Final = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
WARM_STARTS: Final = 5
COLD_STARTS: Final = 2
_GIVE_UP_SECONDS: Final = 90.0
_READ_AT_START: Final = {".py", ".pyc", ".so", ".nbi", ".nbc", ".pth", ".sql"}

_SEED = "taught"
_COPIES: Final = (
    # Profiles differ, as those of real clients do.
    """
    INSERT INTO clients (client_id, name, subscription_status, timezone, icp)
    SELECT name, 'Client ' || i, 'active',
           (ARRAY['Australia/Sydney', 'Europe/London', 'America/New_York'])[1 + i %% 3],
           jsonb_build_object(
               'industries', jsonb_build_array('software', 'industry ' || i %% 40, 'retail'),
               'employee_min', 5 + i %% 20, 'employee_max', 50 + i %% 400,
               'countries', jsonb_build_array('Australia', 'New Zealand'),
               'titles', jsonb_build_array('CEO', 'Founder', 'Title ' || i %% 100))
    FROM (SELECT i, 'client-' || lpad(i::text, 6, '0') AS name
          FROM generate_series(1, %(clients)s) i) c
    """,
    """
    INSERT INTO campaigns (client_id, campaign_id, name)
    SELECT client_id, 'first', 'First of ' || name FROM clients WHERE client_id <> %(seed)s
    """,
    """
    INSERT INTO models (client_id, model_id, kind, version, state, parameters, metrics,
                        sample_size, confidence, promoted_at)
    SELECT client_id, 'weights-1', 'weights', 1, 'live',
           '{"data_quality": 0.17, "authority": 0.181, "company_fit": 0.272, "timing": 0.252,
             "risk": 0.125}', '{"n": 2004, "n_converted": 196}', 2004, 0.95, now()
    FROM clients WHERE client_id <> %(seed)s
    """,
    """
    INSERT INTO patterns (client_id, pattern_type, patterns, sample_size, confidence, computed_at,
                          valid_until)
    SELECT c.client_id, p.pattern_type, p.patterns, p.sample_size, p.confidence, p.computed_at,
           p.valid_until
    FROM patterns p CROSS JOIN (
        SELECT client_id FROM clients WHERE client_id <> %(seed)s ORDER BY 1 LIMIT %(taught)s) c
    WHERE p.client_id = %(seed)s
    """,
)


@dataclass(frozen=True)
class Memory:
    """Of one process, in MB."""

    resident: float
    proportional: float
    own: float
    """Anonymous memory: heap and stacks."""


@dataclass
class Started:
    """A serving process."""

    pid: int
    channel: grpc.Channel
    seconds: float
    """From the command until SERVING."""
    cpu_seconds: float

    def memory(self) -> Memory:
        found = {}
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, amount, _ = line.split()
            found[name.removesuffix(":")] = int(amount) / 1024
        return Memory(found["Rss"], found["Pss"], found["Anonymous"])


def figures() -> Iterator[Figure]:
    """Warm starts, memory of the last one, cold starts."""
    with filled_database() as (url, folder):
        warm: list[Started] = []
        for turn in range(WARM_STARTS + 1):
            with started(url, folder) as process:
                if turn == 0:
                    continue  # compiles kernels and reads files
                warm.append(process)
                if turn == WARM_STARTS:
                    memory = memory_filled(process)
        yield Figure(
            "start until SERVING, warm",
            tuple(process.seconds for process in warm),
            "s",
            bound=3.0,
            note=f"`cis-server serve`, one RPC process, {CLIENTS} clients",
        )
        yield Figure(
            "processor time until SERVING, warm",
            tuple(process.cpu_seconds for process in warm),
            "s",
            note="of the RPC process and the supervisor it is a copy of; the database comes on top",
        )
        for name, value in memory.items():
            yield Figure(
                f"resident memory, {name}",
                (value.resident,),
                "MB",
                bound=220.0,
                note=f"proportional {value.proportional:.0f}, own {value.own:.0f} MB",
            )
        cold = []
        for _ in range(COLD_STARTS):
            drop_from_page_cache(folder)
            with started(url, folder) as process:
                cold.append(process.seconds)
        yield Figure("start until SERVING, cold", tuple(cold), "s", bound=12.0)


@contextmanager
def filled_database() -> Iterator[tuple[str, Path]]:
    """URL of a database with `CLIENTS` clients, and a folder beside it."""
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="cis-bench-") as name,
        opened_database(None, Path(name)) as url,
    ):
        with spawn.Pool(1, maxtasksperchild=1) as worker:
            worker.apply(_teach, (url, name))
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in _COPIES:
                connection.execute(statement, {"clients": CLIENTS, "seed": _SEED, "taught": TAUGHT})
            connection.execute("VACUUM ANALYZE")
        yield url, Path(name)


def _teach(url: str, folder: str) -> None:
    # Only here, in a process that ends: what the benchmark had mapped could not be made cold.
    from cis_server.bootstrap import learn_here
    from cis_server.demo.loading import write
    from cis_server.demo.simulator import simulate
    from cis_server.demo.specs import ClientSpec
    from cis_server.domain.runs import LearnOptions

    write(simulate([ClientSpec(client_id=_SEED, leads=3_000)], 1, AS_OF), url)
    settings = Settings(data_dir=Path(folder), database_url=url)
    learn_here(settings, url, _SEED, LearnOptions(as_of=AS_OF, lookback_days=150))


@contextmanager
def started(url: str, folder: Path, *, worker: bool = False) -> Iterator[Started]:
    """`cis-server serve` with one RPC process, and a worker if asked for; it serves by then."""
    port = _free_port()
    environment = {**os.environ, "CIS_DATABASE_URL": url, "CIS_DATA_DIR": str(folder)}
    options = ["serve", f"--port={port}", "--http-port=0", "--workers=1"]
    if not worker:
        options.append("--no-worker")
    begun = time.perf_counter()
    with (folder / "serve.log").open("wb") as log:
        command = subprocess.Popen(
            [sys.executable, "-m", "cis_server", *options],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    backoff = [(f"grpc.{name}_reconnect_backoff_ms", 20) for name in ("initial", "min", "max")]
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", backoff)
    try:
        while not _serving(channel):
            if command.poll() is not None or time.perf_counter() - begun > _GIVE_UP_SECONDS:
                raise SystemExit(f"did not start: {(folder / 'serve.log').read_text()}")
            time.sleep(0.005)
        seconds = time.perf_counter() - begun
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
        pid = int(children[0])
        yield Started(pid, channel, seconds, _cpu_seconds(command.pid) + _cpu_seconds(pid))
    finally:
        channel.close()
        command.terminate()
        command.wait(120)


def _serving(channel: grpc.Channel) -> bool:
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=1.0
        )
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def memory_filled(process: Started) -> Mapping[str, Memory]:
    """Memory when it begins to serve, and after scoring with the pattern cache more than full."""
    found = {"just serving": process.memory()}
    leads = [core.Lead(lead_id=f"l{i}", title="CEO", email=f"p{i}@x.example") for i in range(1000)]
    scores = scoring_grpc.ScoringServiceStub(process.channel)
    advice = recommendation_grpc.RecommendationServiceStub(process.channel)
    for number in range(1, TAUGHT + 1):
        client_id = f"client-{number:06}"
        scores.ScoreLead(scoring.ScoreLeadRequest(client_id=client_id, lead=leads[0]))
        for _ in range(2):
            advice.GetTiming(recommendation.GetTimingRequest(client_id=client_id))
            advice.GetChannels(recommendation.GetChannelsRequest(client_id=client_id))
    spent = 0.0
    while (now := _cpu_seconds(process.pid)) - spent > 0.05:  # patterns load behind the answers
        spent = now
        time.sleep(1.0)
    for _ in range(20):
        scores.BatchScoreLeads(scoring.BatchScoreLeadsRequest(client_id=client_id, leads=leads))
    found["patterns filled, after batches"] = process.memory()
    return found


def drop_from_page_cache(folder: Path) -> None:
    """Let the next start read its files from the disk again."""
    ctypes.CDLL(None).sync()
    packages = Path(sysconfig.get_paths()["purelib"])
    library = Path(sysconfig.get_paths()["stdlib"])
    for root in (packages, library, Path(sys.base_prefix, "lib"), ROOT, folder / "numba"):
        for path in root.rglob("*"):
            if path.suffix in _READ_AT_START or ".so." in path.name:
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _cpu_seconds(pid: int) -> float:
    """Processor time of the threads that live."""
    paths = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in paths) / 1e9


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(report(__doc__, figures()))
