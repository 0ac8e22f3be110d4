"""Database calls of requests, kept apart from the threads that answer from memory.

A hung socket can hold a database call far longer than any timeout given to it. The call therefore
runs on a thread of its own, and the caller waits no longer than it said; and only so many callers
may wait at once, so that the others always find a free thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import TypeVar

from cis_server.errors import StoreUnavailable

Result = TypeVar("Result")


class Bulkhead:
    """Runs a bounded number of calls, each for a bounded time.

    Args:
        threads: calls that run at once.
        waiting: callers that may wait at once, those whose call is running and those that hold a
            `place` included.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store")
        self._places = threading.BoundedSemaphore(waiting)

    def call(self, work: Callable[[], Result], timeout_seconds: float) -> Result:
        """Do the work and wait for it.

        Raises:
            StoreUnavailable: too many callers wait already, or the work took too long. Work that
                has begun goes on; its result is dropped.
        """
        with self.place():
            future: Future[Result] = self._pool.submit(work)
            try:
                return future.result(timeout_seconds)
            except FutureTimeoutError:
                future.cancel()
                raise StoreUnavailable(
                    f"the database did not answer within {timeout_seconds * 1e3:.0f} ms"
                ) from None

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places of waiting callers, for as long as the context lasts.

        Raises:
            StoreUnavailable: all are taken.
        """
        if not self._places.acquire(blocking=False):
            raise StoreUnavailable("too many calls wait for the database", 0.1)
        try:
            yield
        finally:
            self._places.release()

    def close(self) -> None:
        """Take no more work; what runs is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
