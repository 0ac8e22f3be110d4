"""Arguments that make no sense are refused before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from cis_server.cli import run
from cis_server.supervisor import EXIT_CONFIGURATION, EXIT_USAGE


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("CIS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("CIS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    yield
    structlog.reset_defaults()  # the command has set up the logs of this process
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize("days", ["-5", "0", "36501", "many"])
def test_lookback_has_the_bounds_of_the_contract(
    days: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["learn", "--client", "acme", f"--lookback-days={days}"])
    assert ended.value.code == EXIT_USAGE
    assert "--lookback-days" in capsys.readouterr().err


@pytest.mark.parametrize("as_of", ["2999-01-01", "soon"])
def test_as_of_is_a_time_that_has_come(as_of: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["learn", "--client", "acme", "--as-of", as_of]) == EXIT_CONFIGURATION
    assert "--as-of" in capsys.readouterr().err


def test_concurrency_is_a_number_of_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["worker", "--concurrency=-2"]) == EXIT_CONFIGURATION
    assert "CIS_WORKER_CONCURRENCY" in capsys.readouterr().err
