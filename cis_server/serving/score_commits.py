"""Scores that concurrent calls persist, committed together.

A commit costs the same for one score as for a thousand. While one group of a client's scores is
being written, those that come in wait and go together as the next group: nobody waits for company
that may not come, and the busier the service is the larger its groups are. Of two groups of one
client the second begins when the first has ended, so that the later score of a lead stays.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from cis_server.domain.scores import StampedScore
from cis_server.errors import StoreUnavailable
from cis_server.serving.bulkhead import Bulkhead

Store = Callable[[str, Sequence[StampedScore], float], Collection[str]]
"""(client id, scores, longest time in seconds): stores all, each lead at most once, in one
transaction; gives back the ids of the leads that exist. Raises `StoreUnavailable`."""

GROUP_SCORES: Final = 1_000
"""A group takes no further call beyond so many scores: everybody in it waits for all of it."""
_THREADS: Final = 2
"""Clients whose groups are written at once; one that is held up by locks leaves the other."""


class ScoreCommits:
    """Groups what concurrent calls write.

    Args:
        store: writes one group.
        bulkhead: bounds how many callers wait.
        clock: seconds that only grow.
    """

    def __init__(
        self, store: Store, bulkhead: Bulkhead, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._bulkhead, self._clock = store, bulkhead, clock
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scores")
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[_Call]] = {}
        """Calls by client; a client is in it from its first call until no group of it is left."""

    def write(
        self, client_id: str, scores: Sequence[StampedScore], timeout_seconds: float
    ) -> frozenset[str]:
        """Store scores and wait until they are committed.

        Of calls that wait together the score with the latest `as_of` is kept, then the one scored
        last; the others were overtaken and count as stored.

        Args:
            client_id: the client.
            scores: each lead at most once.
            timeout_seconds: longest wait.

        Returns:
            Ids of the leads that exist; their scores are committed.

        Raises:
            StoreUnavailable: too many callers wait already, or the scores were not committed in
                time. Work that has begun goes on; its result is dropped.
        """
        if not scores:
            return frozenset()
        with self._bulkhead.place():
            call = _Call(scores, self._clock() + timeout_seconds)
            with self._lock:
                if (queue := self._waiting.get(client_id)) is not None:
                    queue.append(call)
                else:
                    self._waiting[client_id] = deque((call,))
                    self._pool.submit(self._write_group, client_id)
            if not call.ended.wait(timeout_seconds):
                raise StoreUnavailable(
                    f"the database did not answer within {timeout_seconds * 1e3:.0f} ms"
                )
        if call.error is not None:
            raise call.error
        return call.written

    def close(self) -> None:
        """Take no more scores; what is being written is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _write_group(self, client_id: str) -> None:
        """Write what waits, then leave the thread to another client before the next group."""
        with self._lock:
            group = _next_group(self._waiting[client_id], self._clock())
        try:
            if group:
                self._write(client_id, group)
        finally:
            with self._lock:
                if self._waiting[client_id]:
                    self._pool.submit(self._write_group, client_id)
                else:
                    del self._waiting[client_id]

    def _write(self, client_id: str, group: Sequence[_Call]) -> None:
        seconds = max(call.until for call in group) - self._clock()
        try:
            written = self._store(client_id, _latest(group), seconds)
        except StoreUnavailable as error:
            for call in group:
                call.fail(error)
        except Exception as error:
            if len(group) == 1:
                group[0].fail(error)
                return
            # What is wrong with one call's scores is no concern of the others.
            for call in group:
                self._write(client_id, [call])
        else:
            found = frozenset(written)
            for call in group:
                call.succeed(found)


@dataclass(slots=True)
class _Call:
    """One caller's scores."""

    scores: Sequence[StampedScore]
    until: float
    ended: threading.Event = field(default_factory=threading.Event)
    written: frozenset[str] = frozenset()
    error: Exception | None = None

    def succeed(self, found: frozenset[str]) -> None:
        self.written = found.intersection(stamped.score.lead_id for stamped in self.scores)
        self.ended.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.ended.set()


def _next_group(queue: deque[_Call], now: float) -> list[_Call]:
    """Take the calls of the next group, in the order they came; those given up are dropped."""
    group: list[_Call] = []
    size = 0
    while queue and (not group or size + len(queue[0].scores) <= GROUP_SCORES):
        call = queue.popleft()
        if call.until > now:
            group.append(call)
            size += len(call.scores)
    return group


def _latest(group: Sequence[_Call]) -> list[StampedScore]:
    """Each lead's score that is kept: of the latest `as_of`, then scored last, then come last.

    In one order everywhere, so that two processes never wait for each other's leads.
    """
    kept: dict[str, StampedScore] = {}
    for call in group:
        for stamped in call.scores:
            lead_id = stamped.score.lead_id
            other = kept.get(lead_id)
            if other is None or _age(stamped) >= _age(other):
                kept[lead_id] = stamped
    return [kept[lead_id] for lead_id in sorted(kept)]


def _age(stamped: StampedScore) -> tuple[dt.datetime, dt.datetime]:
    return stamped.as_of, stamped.scored_at
