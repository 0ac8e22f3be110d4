"""The embedded server: found by others, stopped by the last, alive after kill -9."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cis_server.errors import ConfigurationError
from cis_server.persistence import embedded
from cis_server.persistence.embedded import EmbeddedPostgres

_STARTER = """
import sys, time, pathlib
from cis_server.persistence.embedded import EmbeddedPostgres
server = EmbeddedPostgres(pathlib.Path(sys.argv[1])).start()
print(server.url, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="cis-embedded-"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_the_last_user_stops_it_and_data_stay(folder: Path) -> None:
    first, second = EmbeddedPostgres(folder), EmbeddedPostgres(folder)
    with pytest.raises(ConfigurationError):
        _ = first.url
    url = first.start().url
    assert second.start().url == url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    first.stop()
    first.stop()
    assert _answers(url)
    second.stop()
    assert not _answers(url)
    with EmbeddedPostgres(folder) as again, psycopg.connect(again.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_killed_starter_leaves_a_server_that_the_next_one_takes_over(folder: Path) -> None:
    command = [sys.executable, "-c", _STARTER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        try:
            assert starter.stdout is not None
            url = starter.stdout.readline().strip()
            pid = _postmaster(folder)
            other = EmbeddedPostgres(folder).start()
            other.stop()
            assert _answers(url), "another process stopped a server that is in use"
        finally:
            starter.kill()
    assert _answers(url)
    with EmbeddedPostgres(folder) as heir:
        assert heir.url == url
        assert _postmaster(folder) == pid
    assert not _answers(url)


def test_a_server_killed_hard_comes_back(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        connection.commit()
        os.kill(_postmaster(folder), signal.SIGKILL)
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_no_permission_is_opened_beyond_the_data_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, fallback = folder / "private", folder / "fallback"
    folder.chmod(0o711)
    private.mkdir(0o700)
    monkeypatch.setattr(embedded, "_ROOT_FALLBACK", fallback)
    with EmbeddedPostgres(private / "data") as server:
        assert _answers(server.url)
        assert private.stat().st_mode & 0o077 == 0
        homes = list(folder.glob("*/*/postgres"))
        assert len(homes) == 1
        assert homes[0].stat().st_mode & 0o077 == 0
        # Root's server cannot live below a folder that its account may not enter.
        assert homes[0].is_relative_to(fallback if os.geteuid() == 0 else private)


def test_a_folder_with_a_long_name_still_gets_a_socket(folder: Path) -> None:
    folder.chmod(0o711)
    with EmbeddedPostgres(folder / ("x" * 120)) as server:
        assert _answers(server.url)


def test_a_broken_setting_is_reported_with_the_servers_own_words(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="shared_buffers"):
        EmbeddedPostgres(folder, {"shared_buffers": "nonsense"}).start()


def _postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "pgdata" / "postmaster.pid").read_text().split()[0])
