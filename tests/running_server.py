"""Real servers for tests: one in this process, and `cis-server` as processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from cis_client import Client, ClientOptions
from cis_client.v1 import admin_service_pb2 as admin
from cis_server import bootstrap
from cis_server.settings import Settings

ROOT = Path(__file__).parents[1]


def wait_until(condition: Callable[[], bool], seconds: float, what: str = "it") -> float:
    """Wait for other threads and processes; seconds waited. Fails when the time is over."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"{what} did not happen within {seconds} s"
        time.sleep(0.005)
    return time.monotonic() - started


@contextmanager
def connected(target: str, **options: Any) -> Iterator[Client]:
    """A client of the package; without retries unless told otherwise, so that faults are seen."""
    settings = {"retry_attempts": 1, "connections": 1, "timeout_seconds": 10.0, **options}
    with Client(ClientOptions(target=target, **settings)) as client:
        yield client


def make_client(client: Client, client_id: str, **fields: Any) -> admin.Client:
    """Create a client through the API."""
    request = admin.UpsertClientRequest(client=admin.Client(client_id=client_id, **fields))
    return client.upsert_client(request).client


@contextmanager
def serving_here(database_url: str, **settings: Any) -> Iterator[str]:
    """A server in this process over a migrated database; gives its target."""
    given = {"database_url": database_url, "host": "127.0.0.1", "poll_seconds": 5.0, **settings}
    with bootstrap.rpc_server(Settings(**given), database_url, port=0) as server:
        server.start()
        server.serve()
        try:
            yield f"127.0.0.1:{server.port}"
        finally:
            server.stop(0.0)


@dataclass
class Program:
    """A `cis-server` command that runs, with what it has written so far."""

    process: subprocess.Popen[bytes]
    output: Path
    errors: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def log(self) -> str:
        return self.errors.read_text()

    @property
    def target(self) -> str:
        return self._found(r"serving on (\S+)")

    @property
    def status(self) -> dict[str, Any]:
        """What the readiness page says; it answers 503 until everything is ready."""
        try:
            with urllib.request.urlopen(self._found(r"health on (\S+)"), timeout=5) as page:
                return json.load(page)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)

    def children(self) -> dict[str, int]:
        """Process ids by child name, of those that are ready."""
        return {c["name"]: c["pid"] for c in self.status["children"] if c["ready"]}

    def wait_ready(self, seconds: float = 60.0) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.log
            return "health on" in self.said

        wait_until(ready, seconds, "serving")

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM, then the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.said)
        assert found is not None, self.said
        return found.group(1)


@contextmanager
def cis_server(*arguments: str, **environment: str) -> Iterator[Program]:
    """Run ``cis-server ARGUMENTS``; whatever is left of it at the end is killed."""
    with tempfile.TemporaryDirectory(prefix="cis-run-") as folder:
        output, errors = Path(folder, "stdout"), Path(folder, "stderr")
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "cis_server", *arguments],
                cwd=folder,
                env={**clean_environment(), "CIS_DATA_DIR": folder, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        program = Program(process, output, errors)
        try:
            yield program
        finally:
            pids = _pids_in(program.log)
            if process.poll() is None:
                process.kill()
                process.wait()
            for pid in pids:
                if _is_cis(pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def serve(database_url: str, *arguments: str, **environment: str) -> Any:
    """`cis-server serve` on free ports with a database of the test; a context of a `Program`."""
    settings = {"CIS_DATABASE_URL": database_url, "CIS_GRACE_SECONDS": "3", **environment}
    return cis_server("serve", "--port=0", "--http-port=0", *arguments, **settings)


def alive(pids: Sequence[int]) -> list[int]:
    """Which of the processes, all of them ours, still run."""
    return [pid for pid in pids if _is_cis(pid)]


def _is_cis(pid: int) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return b"cis_server" in line and state != "Z"


def _pids_in(log: str) -> list[int]:
    """Children that the supervisor says it has started."""
    pids = []
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if said.get("event") == "child_started":
                pids.append(int(said["pid"]))
    return pids


def clean_environment() -> dict[str, str]:
    """The environment without settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CIS_")}
    # Compiled once for all tests; the next run finds them.
    kernels = str(ROOT / ".pytest_cache" / "kernels")
    return {**kept, "PYTHONPATH": str(ROOT), "CIS_NUMBA_CACHE_DIR": kernels}


def code_of(error: grpc.RpcError) -> str:
    """Name of the status code."""
    return str(error.code().name)  # type: ignore[attr-defined]
