"""A child process that begins as a copy of this one, with everything loaded that this one has.

What libraries take most of a second to load is there at once, and its memory is shared between the
copies for as long as nobody writes to it. Only for a process with one thread: of the others a copy
has none, but whatever locks they held.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import Final

_ENDS: Final = (signal.SIGTERM, signal.SIGINT)
_LOOKS_EVERY_SECONDS: Final = 0.02
_UNCAUGHT: Final = 1
"""Exit code of a Python program that an exception has ended."""


def can_fork() -> bool:
    """Whether this process may be copied as it is: on Linux, and with one thread."""
    return sys.platform == "linux" and threading.active_count() == 1


class ForkedProcess:
    """A running copy, with the methods of `subprocess.Popen` that its parent needs.

    Attributes:
        pid: its number.
        returncode: as of `subprocess.Popen`: None while it runs, -N when signal N ended it.
    """

    def __init__(
        self,
        run: Callable[[], int],
        *,
        keep: Collection[int],
        environment: Mapping[str, str],
    ) -> None:
        """Start it.

        Args:
            run: what it does; gives its exit code.
            keep: files it keeps open beside its standard output and error.
            environment: set on top of this process's.
        """
        self.returncode: int | None = None
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or both would write what is buffered
        # What arrives before the copy has let go of this process's handlers waits until then.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _become(run, keep, environment, blocked)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        deadline = time.monotonic() + timeout if timeout is not None else None
        while (code := self.poll()) is None:
            if timeout is not None and deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_LOOKS_EVERY_SECONDS)
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:  # else the number may be another process's by now
            os.kill(self.pid, number)


def _become(
    run: Callable[[], int],
    keep: Collection[int],
    environment: Mapping[str, str],
    mask: Collection[signal.Signals | int],
) -> None:
    """What the copy does from its first moment to its last; never returns."""
    code = _UNCAUGHT
    try:
        os.setsid()  # a Ctrl-C in the terminal reaches the parent only
        signal.set_wakeup_fd(-1)
        for number in (*_ENDS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _close_all_but({0, 1, 2, *keep})
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            os.dup2(nothing.fileno(), 0)
        os.environ.update(environment)
        code = run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else _UNCAUGHT
    except BaseException:
        traceback.print_exc()
    finally:
        # Nothing of the parent's stack may be unwound here: what it has opened is the parent's.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _close_all_but(keep: Collection[int]) -> None:
    first = 0
    for fd in (*sorted(keep), os.sysconf("SC_OPEN_MAX")):
        if fd > first:  # an empty range is every file there is to `os.closerange`
            os.closerange(first, fd)
        first = fd + 1
