"""Watching runs that workers work off: one thread reads, any number of callers follow.

All followed runs are read in one query, however many callers follow, and a change wakes them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, Self, TypeVar

import structlog

from cis_server.errors import StoreUnavailable

_POLL_SECONDS = 0.25
_CROWD = 16
_CROWD_POLL_SECONDS = 1.0
"""With more followers than `_CROWD` in a process: waking hundreds of threads four times a second
would be felt by the calls that score."""
_CROWD_WAKE_SECONDS = 0.8
"""Over which a crowd is woken one by one: a call that scores may meet one of them, never all."""

State = TypeVar("State")
StateRead = TypeVar("StateRead", covariant=True)


class StateReader(Protocol[StateRead]):
    """Reads runs by id."""

    def read(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[StateRead]]:
        """Runs by id; unknown ids are left out.

        Raises:
            StoreUnavailable: the database is away.
        """
        ...


class RunWatch(Generic[State]):
    """Reads followed runs on one thread, which lives while anything is followed.

    Args:
        store: where the runs are read.
    """

    def __init__(self, store: StateReader[State]) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._followers: dict[str, int] = {}
        self._states: dict[str, Sequence[State]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False
        self.change = 0
        """Grows each time a state differs."""
        self._log = structlog.get_logger("cis.runs")

    def following(self, run_ids: set[str]) -> Follower[State]:
        """Interest in some runs, for as long as the context is open."""
        return Follower(self, run_ids)

    def close(self) -> None:
        """Stop watching."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def add(self, run_ids: set[str]) -> None:
        """Begin to read these runs."""
        with self._changed:
            for run_id in run_ids:
                self._followers[run_id] = self._followers.get(run_id, 0) + 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, name="run-watch", daemon=True)
                self._thread.start()

    def remove(self, run_ids: set[str]) -> None:
        """One caller less for each."""
        with self._changed:
            for run_id in run_ids:
                self._followers[run_id] -= 1
                if not self._followers[run_id]:
                    del self._followers[run_id]
                    self._states.pop(run_id, None)

    def state(self, run_id: str) -> Sequence[State]:
        """What was last read of a run; empty before the first look."""
        with self._changed:
            return self._states.get(run_id, ())

    def wait(self, change: int, seconds: float) -> None:
        """Wait for a change after the one with this number."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.change != change, seconds)

    def _read(self) -> None:
        while True:
            with self._changed:
                if self._closed or not self._followers:
                    self._thread = None
                    return
                wanted = list(self._followers)
            try:
                states = self._store.read(wanted)
            except StoreUnavailable:
                # Followers keep waiting: the run goes on whether or not we can see it.
                self._log.warning("runs_unreadable")
                states = {}
            except Exception:
                # The thread must outlive a row that cannot be read: others follow other runs.
                self._log.exception("runs_unreadable")
                states = {}
            with self._changed:
                fresh = {k: v for k, v in states.items() if k in self._followers}
                moved = any(self._states.get(key) != value for key, value in fresh.items())
                crowd = sum(self._followers.values())
                if moved:
                    self._states.update(fresh)
                    self.change += 1
                    if crowd <= _CROWD:
                        self._changed.notify_all()
            if crowd <= _CROWD:
                time.sleep(_POLL_SECONDS)
            elif moved:
                self._wake_one_by_one(crowd)
                time.sleep(_CROWD_POLL_SECONDS - _CROWD_WAKE_SECONDS)
            else:
                time.sleep(_CROWD_POLL_SECONDS)

    def _wake_one_by_one(self, crowd: int) -> None:
        # Who has waited longest is woken first, so that nobody is passed over. Interest in several
        # runs counts several times; waking nobody does no harm.
        for _ in range(crowd):
            with self._changed:
                if self._closed:
                    return
                self._changed.notify()
            time.sleep(_CROWD_WAKE_SECONDS / crowd)


class Follower(Generic[State]):
    """One caller's interest in some runs, as a context."""

    def __init__(self, watch: RunWatch[State], run_ids: set[str]) -> None:
        self._watch = watch
        self._run_ids = run_ids

    def __enter__(self) -> Self:
        self._watch.add(self._run_ids)
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.remove(self._run_ids)

    @property
    def change(self) -> int:
        """Number of the last change."""
        return self._watch.change

    def state(self, run_id: str) -> Sequence[State]:
        """What was last read of a run; empty before the first look."""
        return self._watch.state(run_id)

    def wait(self, change: int, seconds: float) -> None:
        """Wait for a change after the one with this number."""
        self._watch.wait(change, seconds)
