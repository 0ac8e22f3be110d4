"""Asking for a client's leads to be scored again, and following that.

A worker process scores; here it is only requested and watched. A caller that goes away leaves the
work alone, a second request attaches to the run under way.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from cis_server.domain.rescoring import RescoreOptions, RescoringRun
from cis_server.serving.run_watch import RunWatch


class RescoringStore(Protocol):
    """Reads and writes rescoring runs; every method raises `StoreUnavailable` when it cannot."""

    def request(self, client_id: str, run_id: str, options: RescoreOptions) -> str:
        """Store a queued run; the id of the run under way when the client has one already."""
        ...

    def read(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[RescoringRun]]:
        """Runs by id; unknown ids are left out."""
        ...

    def orphaned(self) -> Sequence[tuple[str, str]]:
        """(client id, run id) of runs under way that have no job in the queue."""
        ...

    def outdated(self) -> Sequence[tuple[str, str]]:
        """(client id, why) of clients that got other weights or another model since their leads
        were last asked to be scored again."""
        ...


class RescoringQueue(Protocol):
    """Queues jobs for the workers."""

    def defer_rescore(self, client_id: str, run_id: str) -> None:
        """Queue one run; nothing happens when it is queued already.

        Raises:
            StoreUnavailable: the database is away.
        """
        ...


class Rescorings:
    """Requests rescorings and lets any number of callers follow them.

    Args:
        store: where runs are kept.
        queue: where jobs are queued.
    """

    def __init__(self, store: RescoringStore, queue: RescoringQueue) -> None:
        self._store, self._queue = store, queue
        self._watch = RunWatch[RescoringRun](store)

    def request(self, client_id: str, options: RescoreOptions) -> str:
        """Request a run for an existing client, or attach to the one under way; its id.

        Raises:
            StoreUnavailable: the database is away.
        """
        wanted = str(uuid.uuid4())
        run_id = self._store.request(client_id, wanted, options)
        # Whoever attaches queues nothing; a run that has lost its job is found by `recover`.
        if run_id == wanted:
            self._queue.defer_rescore(client_id, run_id)
        return run_id

    def recover(self) -> int:
        """Queue again what is under way without a job; returns how many runs that were."""
        orphans = self._store.orphaned()
        for client_id, run_id in orphans:
            self._queue.defer_rescore(client_id, run_id)
        return len(orphans)

    def request_outdated(self) -> int:
        """Request a run for every client whose weights or model have changed since; how many."""
        outdated = self._store.outdated()
        for client_id, reason in outdated:
            self.request(client_id, RescoreOptions(reason=reason))
        return len(outdated)

    def follow(self, run_id: str, is_active: Callable[[], bool]) -> Iterator[RescoringRun]:
        """States of the run, each time something has changed.

        Ends after the state in which it has ended, or once ``is_active`` says nobody listens.
        """
        with self._watch.following({run_id}) as follower:
            seen: RescoringRun | None = None
            while is_active():
                change = follower.change
                for run in follower.state(run_id):
                    if run != seen:
                        seen = run
                        yield run
                if seen is not None and seen.ended:
                    return
                follower.wait(change, 1.0)

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()
