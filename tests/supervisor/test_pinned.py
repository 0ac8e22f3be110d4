"""A process is pinned with the threads it has and those it will have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from running_server import ROOT, clean_environment

_PINS = """
import os, threading
from pathlib import Path
from cis_server.bootstrap import pin_to_core

hold = threading.Event()
threads = [threading.Thread(target=hold.wait, daemon=True) for _ in range(5)]
for thread in threads:
    thread.start()
pin_to_core(1)
threading.Thread(target=hold.wait, daemon=True).start()
found = [sorted(os.sched_getaffinity(int(t.name))) for t in Path("/proc/self/task").iterdir()]
print(len(found) >= 7, found == [found[0]] * len(found), *found[0])
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_all_threads_go_to_one_core() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PINS],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    cores = sorted(os.sched_getaffinity(0))
    assert done.stdout.split() == ["True", "True", str(cores[1 % len(cores)])]
