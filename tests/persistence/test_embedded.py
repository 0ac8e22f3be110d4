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
from cis_server.persistence.fallback_homes import fallback_home, orphans

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


def test_a_temporary_one_takes_everything_with_it(folder: Path) -> None:
    first = EmbeddedPostgres(folder, temporary=True).start()
    with EmbeddedPostgres(folder, temporary=True) as second:
        first.stop()
        assert _answers(second.url), "removed while it was in use"
    assert list(folder.iterdir()) == []


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers live elsewhere")


@pytest.fixture
def fallback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.chmod(0o711)
    (folder / "private").mkdir(0o700)
    place = folder / "fallback"
    monkeypatch.setattr(embedded, "_ROOT_FALLBACK", place)
    return place


@needs_root
def test_a_temporary_one_elsewhere_does_too(folder: Path, fallback: Path) -> None:
    with EmbeddedPostgres(folder / "private" / "data", temporary=True) as server:
        assert _answers(server.url)
        assert len(list(fallback.iterdir())) == 1
    assert list(fallback.iterdir()) == []


@needs_root
def test_what_lived_elsewhere_goes_after_its_temporary_folder(folder: Path, fallback: Path) -> None:
    """Also when its process was killed and its server still runs; not while it is in use."""
    gone, used, another = (folder / "private" / name for name in ("gone", "used", "another"))
    starter = _STARTER.replace(
        "server =",
        f"from cis_server.persistence import embedded; embedded._ROOT_FALLBACK = pathlib.Path("
        f"{str(fallback)!r})\nserver =",
    )
    command = [sys.executable, "-c", starter, str(gone)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.kill()
    with EmbeddedPostgres(used) as in_use:
        assert _answers(url)
        shutil.rmtree(gone)
        shutil.rmtree(used)
        with EmbeddedPostgres(another):
            origins = {(home / "origin").read_text() for home in fallback.iterdir()}
            assert origins == {str(used), str(another)}
            assert not _answers(url)
            assert _answers(in_use.url)


def test_only_temporary_folders_leave_orphans(tmp_path: Path) -> None:
    """Another folder that is not there may be on a disk that is away."""
    gone = tmp_path / "gone"
    home, away, there = (
        fallback_home(tmp_path / "homes", place)
        for place in (gone, Path("/srv/not-mounted/cis"), tmp_path)
    )
    (tmp_path / "homes" / "of-unknown").mkdir()
    assert list(orphans(tmp_path / "homes")) == [home]
    assert fallback_home(tmp_path / "homes", gone) == home
    gone.mkdir()
    assert list(orphans(tmp_path / "homes")) == []
    assert {away, there} <= set((tmp_path / "homes").iterdir())


def test_a_folder_with_a_long_name_still_gets_a_socket(folder: Path) -> None:
    folder.chmod(0o711)
    with EmbeddedPostgres(folder / ("x" * 120)) as server:
        assert _answers(server.url)


def test_a_broken_setting_is_reported_with_the_servers_own_words(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="shared_buffers"):
        EmbeddedPostgres(folder, {"shared_buffers": "nonsense"}).start()


def _postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "pgdata" / "postmaster.pid").read_text().split()[0])
