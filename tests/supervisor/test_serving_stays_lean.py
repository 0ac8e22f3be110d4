"""What a serving process has loaded when it serves, and how it gives memory back."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from running_server import ROOT, clean_environment, connected, make_client, serving_here

from cis_server.residency import _mappings, give_back_unused, hidden

# `cis-server rpc`, with a thread beside it that calls it once it serves, tells what is loaded, and
# ends it. What answers from memory need is there only after they were asked for.
_PROGRAM = """
import json, os, signal, sys, threading, time

def ask(port):
    import grpc
    from cis_client.v1 import recommendation_service_pb2 as r, recommendation_service_pb2_grpc as rg
    from cis_client.v1 import scoring_service_pb2 as s, scoring_service_pb2_grpc as sg
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    ready = sg.ScoringServiceStub(channel)
    request = s.ScoreLeadRequest(client_id="acme")
    request.lead.title = "CEO"
    deadline = time.monotonic() + 60
    while True:
        try:
            ready.ScoreLead(request, timeout=2)
            break
        except grpc.RpcError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    rg.RecommendationServiceStub(channel).GetTiming(r.GetTimingRequest(client_id="acme"))
    rg.RecommendationServiceStub(channel).GetChannels(r.GetChannelsRequest(client_id="acme"))
    single = sorted(sys.modules)
    ready.BatchScoreLeads(s.BatchScoreLeadsRequest(client_id="acme", leads=[request.lead] * 3))
    json.dump([single, sorted(sys.modules)], sys.stdout)
    sys.stdout.flush()

def run(port):
    try:
        ask(port)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)

from cis_server import cli
threading.Thread(target=run, args=(sys.argv[1],)).start()
sys.exit(cli.run(["rpc", f"--port={sys.argv[1]}"]))
"""
_NOT_NEEDED = {
    "scipy",  # numba looks for it
    "polars",
    "pyarrow",
    "pandas",
    "sqlalchemy.orm",
    "alembic",
    "procrastinate",
    "rich",
    "cis_server.demo",
    "cis_server.detectors",
    "cis_server.worker.learner",
    "cis_server.persistence.dataset",
}


def test_a_serving_process_loads_nothing_heavy(database_url: str) -> None:
    with serving_here(database_url) as target, connected(target) as client:
        make_client(client, "acme")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(port)],
        env={**clean_environment(), "CIS_DATABASE_URL": database_url, "CIS_GRACE_SECONDS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    single, loaded = map(set, json.loads(done.stdout))
    assert {"numpy", "grpc", "sqlalchemy.engine"} <= single, "the right process was asked"
    assert not {"numba", "llvmlite"} & single, "answers about one lead need no compiler"
    assert not _NOT_NEEDED & loaded


def test_what_is_hidden_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with hidden("scipy", "this"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("this")
    with hidden("scipy"):
        assert importlib.util.find_spec("json") is not None
    assert importlib.util.find_spec("this") is not None


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="no /proc")
def test_code_that_is_given_back_runs_again() -> None:
    import numpy as np

    matrix = np.arange(9.0).reshape(3, 3) + np.eye(3)
    before = np.linalg.inv(matrix)
    resident = _resident_libraries()
    give_back_unused()
    assert _resident_libraries() < resident
    assert (np.linalg.inv(matrix) == before).all()


def test_mappings_with_pages_of_their_own_are_kept() -> None:
    text = """\
7f0000000000-7f0000001000 r-xp 00000000 fe:00 42 /usr/lib/a name.so.1
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr
7f0000001000-7f0000002000 r--p 00001000 fe:00 42 /usr/lib/relocated.so
Anonymous:             4 kB
Swap:                  0 kB
7f0000002000-7f0000003000 r--p 00001000 fe:00 42 /usr/lib/swapped.so
Anonymous:             0 kB
Swap:                  4 kB
7f0000003000-7f0000004000 rw-p 00001000 fe:00 42 /usr/lib/data.so
Anonymous:             0 kB
Swap:                  0 kB
7f0000004000-7f0000005000 r--p 00001000 fe:00 42 /usr/lib/unknown.so
7f0000005000-7f0000006000 rw-p 00000000 00:00 0
Anonymous:             4 kB
"""
    found = list(_mappings(text))
    assert [mapping.equals_file for mapping in found] == [True, *[False] * 5]
    assert found[0].file == "/usr/lib/a name.so.1"
    assert (found[0].start, found[0].end) == (0x7F0000000000, 0x7F0000001000)


def _resident_libraries() -> int:
    mappings = _mappings(Path("/proc/self/smaps").read_text())
    return sum(m.kilobytes["Rss"] for m in mappings if ".so" in m.file and m.equals_file)
