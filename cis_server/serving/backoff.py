"""Waiting longer after each failure in a row."""

from __future__ import annotations

import threading
from typing import Final

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 5.0


class Backoff:
    """Waits that double from a tenth of a second to five seconds and end early on a stop."""

    def __init__(
        self,
        stopping: threading.Event,
        first_seconds: float = FIRST_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
    ) -> None:
        """Start without a failure.

        Args:
            stopping: ends a wait at once when set.
            first_seconds: wait after the first failure.
            longest_seconds: no wait is longer.
        """
        self._stopping = stopping
        self._first, self._longest = first_seconds, longest_seconds
        self._next = first_seconds

    def wait(self) -> None:
        """Wait after a failure; the next wait is twice as long."""
        self._stopping.wait(self._next)
        self._next = min(self._next * 2.0, self._longest)

    def reset(self) -> None:
        """Something succeeded: the next wait is short again."""
        self._next = self._first
