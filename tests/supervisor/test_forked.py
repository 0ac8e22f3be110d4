"""A child that begins as a copy: what it keeps, what it lets go of, and how its end is told.

The copies are made by a program with one thread, as the supervisor is.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from running_server import ROOT, clean_environment

_TELLS = """
import os, signal, sys, time
from cis_server.forked import ForkedProcess, can_fork

assert can_fork()
kept, given_up = os.pipe()
read, write = os.pipe()

def forked(run, **environment):
    return ForkedProcess(run, keep=(write,), environment=environment)

"""


def told(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _TELLS + program],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_has_what_it_was_given_and_nothing_else_that_was_open() -> None:
    lines = told(
        """
def run():
    os.write(write, b"kept")
    for fd in (kept, given_up, read):
        try:
            os.fstat(fd)
            print("still open")
        except OSError:
            print("closed")
    print(os.environ["CIS_HOST"], os.getsid(0) == os.getpid(), sys.stdin.read() == "")
    return 7

copy = forked(run, CIS_HOST="here")
print(copy.wait(10), os.read(read, 10).decode(), "CIS_HOST" in os.environ)
"""
    )
    assert lines == ["closed"] * 3 + ["here True True", "7 kept False"]


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ("return 0", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('a line')", 1),
        ("raise ValueError", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
    ],
)
def test_its_end_is_told_as_that_of_a_program(ends: str, code: int) -> None:
    assert told(f"def run():\n    {ends}\n\nprint(forked(run).wait(10))") == [str(code)]


def test_nothing_of_the_parent_is_unwound_in_it() -> None:
    lines = told(
        """
import atexit
atexit.register(print, "parent ends")
try:
    copy = forked(lambda: 1 / 0)
    print(copy.wait(10), flush=True)
finally:
    print("parent unwinds")
"""
    )
    assert lines == ["1", "parent unwinds", "parent ends"]


def test_a_signal_ends_it_though_the_parent_handles_that_signal() -> None:
    lines = told(
        """
signal.signal(signal.SIGTERM, lambda *_: print("parent's handler"))
copy = forked(lambda: time.sleep(20) or 0)
copy.terminate()  # perhaps before it has run at all
print(copy.wait(10))
copy.terminate()
copy.kill()
print(copy.poll(), copy.wait())

def goes_on():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(write, b"x")
    time.sleep(20)

stubborn = forked(goes_on)
os.read(read, 1)
stubborn.terminate()
try:
    stubborn.wait(0.2)
except Exception as error:
    print(type(error).__name__)
stubborn.kill()
print(stubborn.wait(10))
"""
    )
    assert lines == ["-15", "-15 -15", "TimeoutExpired", "-9"]


def test_a_process_with_threads_is_not_copied() -> None:
    lines = told(
        """
import threading
threading.Thread(target=time.sleep, args=(0.2,)).start()
print(can_fork())
"""
    )
    assert lines == ["False"]
