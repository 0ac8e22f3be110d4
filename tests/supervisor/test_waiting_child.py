"""What is not urgent starts when what is has been ready once."""

from __future__ import annotations

import subprocess
import sys

from running_server import ROOT, clean_environment

_SUPERVISES = """
import os, time
from cis_server.supervisor import ChildSpec, Supervisor, report_ready

said_read, said_write = os.pipe()
os.dup2(said_write, 2)  # children keep their standard error

def child(name, seconds):
    def run(lifeline, ready):
        os.write(2, f"{name} starts;".encode())
        time.sleep(seconds)
        os.write(2, f"{name} ready;".encode())
        report_ready(ready)
        os.read(lifeline, 1)
        return 0
    return run

supervisor = Supervisor(
    [
        ChildSpec(name="late", arguments=[], waits=True, run=child("late", 0.0)),
        ChildSpec(name="one", arguments=[], run=child("one", 0.2)),
        ChildSpec(name="two", arguments=[], run=child("two", 0.4)),
    ],
    grace_seconds=1.0,
    on_ready=lambda: supervisor._stop(),
)
import structlog
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
code = supervisor.run()
print(os.read(said_read, 1000).decode(), code)
"""


def test_it_waits_for_all_that_do_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SUPERVISES],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    *events, code = done.stdout.strip().split(";")
    assert sorted(events[:2]) == ["one starts", "two starts"]
    assert events[2:] == ["one ready", "two ready", "late starts", "late ready"]
    assert code.strip() == "0"
