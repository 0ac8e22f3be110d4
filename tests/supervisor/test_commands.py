"""Exit codes of the command line, and what it says."""

from __future__ import annotations

import datetime as dt
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from running_server import ROOT, cis_server, serving_here
from sqlalchemy import Engine

from cis_server.domain.clients import ClientRecord
from cis_server.domain.runs import LearnOptions
from cis_server.domain.vocabulary import RunState
from cis_server.persistence.clients import Clients
from cis_server.persistence.runs import Runs
from cis_server.supervisor import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_PORT_IN_USE, EXIT_USAGE


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    with cis_server(*arguments, **environment) as program:
        code = program.process.wait(60)
        return code, program.said, program.log


@pytest.mark.parametrize(
    ("name", "value"),
    [("CIS_WORKERS", "0"), ("CIS_PORT", "seventy"), ("CIS_LOG_LEVEL", "loud")],
)
def test_a_broken_setting_is_named(name: str, value: str) -> None:
    code, _, said = run("serve", **{name: value})
    assert code == EXIT_CONFIGURATION
    assert said.startswith(f"cis-server: {name}: ")
    assert "Traceback" not in said


def test_a_wrong_argument_is_named_by_its_setting() -> None:
    code, _, said = run("serve", "--port=70000")
    assert code == EXIT_CONFIGURATION
    assert "CIS_PORT" in said


def test_wrong_usage() -> None:
    code, _, said = run("serve", "--prot=1")
    assert code == EXIT_USAGE
    assert "--prot" in said


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("option", ["--port", "--http-port"])
def test_a_taken_port(option: str, taken: int, database_url: str) -> None:
    options = {"--port": "0", "--http-port": "0", option: str(taken)}
    arguments = [f"{name}={value}" for name, value in options.items()]
    code, _, said = run("serve", *arguments, CIS_DATABASE_URL=database_url)
    assert code == EXIT_PORT_IN_USE
    assert f"127.0.0.1:{taken}" in said


def test_no_database() -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    code, _, said = run("serve", "--port=0", "--http-port=0", CIS_DATABASE_URL=url)
    assert code == EXIT_CONFIGURATION
    assert "database" in said
    assert "Traceback" not in said


def test_an_rpc_process_needs_a_database() -> None:
    code, _, said = run("rpc", "--port=0")
    assert code == EXIT_CONFIGURATION
    assert "CIS_DATABASE_URL" in said


def test_health(database_url: str, taken: int) -> None:
    with serving_here(database_url) as target:
        assert run("health", f"--target={target}")[:2] == (0, f"{target} SERVING\n")
    code, said, _ = run("health", f"--target=127.0.0.1:{taken}")
    assert code == EXIT_FAILED
    assert said.startswith(f"127.0.0.1:{taken} ")
    assert "SERVING" not in said.replace("NOT_SERVING", "")


def test_version_and_help_say_something() -> None:
    for option in ("--version", "--help"):
        done = subprocess.run(
            [sys.executable, "-m", "cis_server", option],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "cis-server" in done.stdout


def test_learn_takes_a_run_over_that_nobody_works_on(database: Engine, database_url: str) -> None:
    Clients(database).upsert(ClientRecord(client_id="acme"))
    runs = Runs(database)
    options = LearnOptions(as_of=dt.datetime.now(dt.UTC), force=True)
    runs.request("acme", "run-1", options)
    assert runs.claim("acme", "run-1", "v") is not None
    code, said, log = run("learn", "--client=acme", "--force", CIS_DATABASE_URL=database_url)
    assert code == 0, log
    assert "acme" in said
    (ended,) = runs.read(["run-1"])["run-1"]
    assert (ended.state, ended.attempts) == (RunState.SUCCEEDED, 2)


def test_migrate_can_be_run_again(database_url: str) -> None:
    for _ in range(2):
        code, said, _ = run("migrate", CIS_DATABASE_URL=database_url)
        assert code == 0
        assert "revision" in said
