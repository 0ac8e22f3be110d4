"""Keeps the processes of one installation running: RPC processes on one port, and a worker.

The supervisor serves nothing itself. It reserves the port, starts children, restarts what dies with
a growing pause, passes SIGTERM on, and stops when the last child has drained. Children notice its
death by the end of a pipe that only the supervisor holds, so a killed supervisor leaves nothing
behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog

from cis_server.errors import ConfigurationError
from cis_server.forked import ForkedProcess, can_fork

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIGURATION = 3
EXIT_PORT_IN_USE = 4
EXIT_CHILDREN_KEEP_DYING = 5

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_STABLE_AFTER = 30.0
_START_ATTEMPTS = 5
"""A child that never became ready, and failed this many times, will not become ready. One that was
ready once is started for as long as it takes: what it misses now, a database say, may come back,
and the others go on serving meanwhile."""


class PortInUse(ConfigurationError):  # noqa: N818 - reads as what happened
    """Another program listens on the port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One process to keep running."""

    name: str
    arguments: Sequence[str]
    """Arguments after ``python -m cis_server``; the command must accept ``--lifeline-fd`` and
    ``--ready-fd``."""
    environment: Mapping[str, str] = field(default_factory=dict)
    niceness: int = 0
    reports_ready: bool = True
    """Whether the child says when it serves; else it counts as ready once started."""
    waits: bool = False
    """Whether its first start waits until those that do not wait were ready once: what is not
    urgent leaves the processors to what is."""
    run: Callable[[int, int], int] | None = None
    """The same as the command, given the two pipes: what the first process does as a copy of the
    supervisor. It starts sooner than a program that loads everything itself, which is what those
    after it are: by then the supervisor has threads."""


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    process: subprocess.Popen[bytes] | ForkedProcess | None = None
    ready_pipe: int | None = None
    ready: bool = False
    was_ready: bool = False
    started_at: float = 0.0
    restart_at: float | None = 0.0
    pause: float = _FIRST_PAUSE
    failed_starts: int = 0
    restarts: int = 0

    def status(self) -> dict[str, object]:
        process = self.process  # read once: the pages have a thread of their own
        return {
            "name": self.spec.name,
            "pid": process.pid if process is not None else None,
            "ready": self.ready,
            "restarts": self.restarts,
        }


@contextlib.contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Hold ``port`` (0: any free one) for RPC processes that bind it with ``SO_REUSEPORT``.

    The socket is bound but does not listen, so the kernel gives it no connection.

    Raises:
        PortInUse: something else is bound to the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise PortInUse(f"cannot listen on {host}:{port}: {error.strerror}") from error
    with socket.socket(family, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port))
        yield holder.getsockname()[1]


class Supervisor:
    """Runs children until told to stop.

    Args:
        children: what to run; order is the order of starting.
        grace_seconds: how long a child may drain after SIGTERM before it is killed.
        on_ready: called once, when every child that reports readiness has done so.
        http: (host, port) of the liveness and readiness pages, or None; port 0 picks a free one.

    Raises:
        PortInUse: the pages cannot listen there.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        grace_seconds: float = 10.0,
        on_ready: Callable[[], None] | None = None,
        http: tuple[str, int] | None = None,
    ) -> None:
        self._children = [_Child(spec) for spec in children]
        self._grace_seconds = grace_seconds
        self._on_ready = on_ready
        self._pages = _pages(http, self.status) if http else None
        self._log = structlog.get_logger("cis.supervisor")
        self._stopping = False
        self._exit_code = EXIT_OK
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    @property
    def http_port(self) -> int | None:
        """Port of the pages, None without them."""
        return self._pages.server_address[1] if self._pages else None

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT; returns the exit code. Main thread only."""
        previous = {
            number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)
        }
        previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._wake)
        answering = False
        try:
            self._start_due()  # before the pages have a thread: see `ChildSpec.run`
            if self._pages is not None:
                threading.Thread(target=self._pages.serve_forever, name="http", daemon=True).start()
                answering = True
            while not self._stopping:
                self._start_due()
                self._selector_wait(self._next_timeout())
                self._reap()
                self._announce()
            return self._drain()
        finally:
            if self._pages is not None:
                if answering:
                    self._pages.shutdown()
                self._pages.server_close()
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._close()

    def status(self) -> dict[str, object]:
        """What runs: for the readiness page."""
        return {
            "ready": not self._stopping and all(c.ready for c in self._children),
            "children": [child.status() for child in self._children],
        }

    def _stop(self, *_: object) -> None:
        self._stopping = True
        self._wake()

    def _wake(self, *_: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def _next_timeout(self) -> float | None:
        due = [c.restart_at for c in self._children if c.process is None and c.restart_at]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _selector_wait(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            if key.fd == self._wake_read:
                os.read(self._wake_read, 4096)
                continue
            child: _Child = key.data
            said = os.read(key.fd, 16)
            self._selector.unregister(key.fd)
            os.close(key.fd)
            child.ready_pipe = None
            if said:
                child.ready = child.was_ready = True
                child.failed_starts = 0
                self._log.info("child_ready", child=child.spec.name)

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            due = child.process is None and child.restart_at is not None
            if child.spec.waits and not self._urgent_were_ready():
                continue
            if due and now >= (child.restart_at or 0.0):
                self._start(child)

    def _urgent_were_ready(self) -> bool:
        urgent = (child for child in self._children if not child.spec.waits)
        return all(child.was_ready or not child.spec.reports_ready for child in urgent)

    def _start(self, child: _Child) -> None:
        ready_read, ready_write = os.pipe()
        child.process = _started(child.spec, self._lifeline_read, ready_write)
        os.close(ready_write)
        child.started_at = time.monotonic()
        child.restart_at = None
        if child.spec.reports_ready:
            child.ready_pipe = ready_read
            self._selector.register(ready_read, selectors.EVENT_READ, child)
        else:
            os.close(ready_read)
            child.ready = True
        self._log.info("child_started", child=child.spec.name, pid=child.process.pid)

    def _reap(self) -> None:
        for child in self._children:
            if child.process is None or child.process.poll() is None:
                continue
            code, lived = child.process.returncode, time.monotonic() - child.started_at
            reached_ready = child.ready
            child.process, child.ready = None, False
            self._drop_pipe(child)
            if self._stopping:
                continue
            if code == EXIT_CONFIGURATION and not child.was_ready:
                self._fail(EXIT_CONFIGURATION)
                continue
            child.failed_starts = 0 if reached_ready else child.failed_starts + 1
            if child.failed_starts >= _START_ATTEMPTS and not child.was_ready:
                self._log.error("child_keeps_dying", child=child.spec.name, code=code)
                self._fail(EXIT_CHILDREN_KEEP_DYING)
                continue
            child.pause = (
                _FIRST_PAUSE if lived > _STABLE_AFTER else min(child.pause * 2, _LONGEST_PAUSE)
            )
            child.restart_at = time.monotonic() + child.pause
            child.restarts += 1
            self._log.warning(
                "child_died",
                child=child.spec.name,
                code=code,
                restart_in_seconds=round(child.pause, 2),
            )

    def _fail(self, code: int) -> None:
        self._exit_code = code
        self._stop()

    def _announce(self) -> None:
        if self._on_ready and all(child.ready for child in self._children):
            self._on_ready()
            self._on_ready = None

    def _drain(self) -> int:
        running = [c.process for c in self._children if c.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + self._grace_seconds + 5.0
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log.error("child_killed", pid=process.pid)
                process.kill()
                process.wait()
                self._exit_code = self._exit_code or EXIT_FAILED
        return self._exit_code

    def _drop_pipe(self, child: _Child) -> None:
        if child.ready_pipe is not None:
            self._selector.unregister(child.ready_pipe)
            os.close(child.ready_pipe)
            child.ready_pipe = None

    def _close(self) -> None:
        for child in self._children:
            self._drop_pipe(child)
        self._selector.close()
        for fd in (self._lifeline_read, self._lifeline_write, self._wake_read, self._wake_write):
            os.close(fd)


def _started(spec: ChildSpec, lifeline: int, ready: int) -> subprocess.Popen[bytes] | ForkedProcess:
    run = spec.run
    if run is not None and not spec.niceness and can_fork():
        return ForkedProcess(
            lambda: run(lifeline, ready), keep=(lifeline, ready), environment=spec.environment
        )
    pipes = [f"--lifeline-fd={lifeline}", f"--ready-fd={ready}"]
    # nice(1) is run instead of preexec_fn, which is unsafe in a process with threads.
    prefix = ["nice", "-n", str(spec.niceness)] if spec.niceness else []
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "cis_server", *spec.arguments, *pipes],
        env={**os.environ, **spec.environment},
        stdin=subprocess.DEVNULL,
        pass_fds=(lifeline, ready),
        start_new_session=True,  # a Ctrl-C in the terminal reaches the supervisor only
    )


def report_ready(fd: int | None) -> None:
    """Tell the supervisor, if there is one, that this process serves.

    Args:
        fd: the child's ``--ready-fd``; None when nobody supervises.
    """
    if fd is not None:
        os.write(fd, b"ready")
        os.close(fd)


def stop_with_supervisor(fd: int | None, stop: Callable[[], None]) -> None:
    """Call ``stop`` from a thread of its own once the supervisor has died.

    Args:
        fd: the child's ``--lifeline-fd``; None when nobody supervises, then nothing happens.
        stop: called at most once.
    """
    if fd is None:
        return

    def watch(number: int) -> None:
        with contextlib.suppress(OSError):
            os.read(number, 1)
        stop()

    threading.Thread(target=watch, args=(fd,), name="lifeline", daemon=True).start()


def _pages(
    address: tuple[str, int], status: Callable[[], dict[str, object]]
) -> ThreadingHTTPServer:
    """Liveness at ``/livez`` (always 200) and readiness at ``/readyz`` (200 or 503), as JSON."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/livez", "/readyz"):
                self._answer(404, {"error": "try /livez or /readyz"})
                return
            state = status()
            code = 200 if self.path == "/livez" or state["ready"] else 503
            self._answer(code, state)

        def _answer(self, code: int, body: dict[str, object]) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Probes every few seconds are not worth a log line."""

    try:
        return ThreadingHTTPServer(address, Pages)
    except OSError as error:
        raise PortInUse(f"cannot listen on {address[0]}:{address[1]}: {error.strerror}") from error
