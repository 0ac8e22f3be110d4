"""The log of explored choices: gathered while answering, written by a thread of its own.

Answering never waits for the database: a record goes into a bounded buffer, from which it is
written in batches. While the database is away the buffer keeps the oldest records; what no longer
fits is counted and reported, never silently lost.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice

import structlog

from cis_server.domain.live_state import DecisionRecord
from cis_server.errors import StoreUnavailable
from cis_server.serving.health import HealthWarnings, WarningKind
from cis_server.serving.ports import DecisionSink

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCounts:
    """What became of the records so far."""

    waiting: int
    written: int
    lost: int
    """Refused because the buffer was full, or refused by the store for what they hold."""


class DecisionLog:
    """Buffer and writer of decision records."""

    def __init__(
        self,
        sink: DecisionSink,
        warnings: HealthWarnings,
        *,
        capacity: int = 100_000,
        batch: int = 1_000,
        flush_seconds: float = 1.0,
    ) -> None:
        """Prepare; nothing is written before `start`.

        Args:
            sink: where records go.
            warnings: told when records are lost.
            capacity: most records kept in memory.
            batch: most records in one write.
            flush_seconds: longest time a record waits while the database is there.
        """
        self._sink, self._warnings = sink, warnings
        self._capacity, self._batch, self._flush_seconds = capacity, batch, flush_seconds
        self._buffer: deque[DecisionRecord] = deque()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._flushing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._written = 0
        self._lost = 0

    def add(self, record: DecisionRecord) -> None:
        """Take a record; never waits."""
        if len(self._buffer) >= self._capacity:
            self._lost += 1
            return
        self._buffer.append(record)
        if len(self._buffer) >= self._batch:
            self._wake.set()

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Write what is waiting, as far as the time allows, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def flush(self) -> None:
        """Write everything that waits.

        Raises:
            StoreUnavailable: the database is away; the records are kept.
        """
        with self._flushing:
            while records := list(islice(self._buffer, self._batch)):
                self._write(records)
                for _ in records:
                    self._buffer.popleft()

    def counts(self) -> DecisionCounts:
        """What became of the records so far."""
        return DecisionCounts(waiting=len(self._buffer), written=self._written, lost=self._lost)

    def _write(self, records: list[DecisionRecord]) -> None:
        try:
            self._sink.write_decisions(records)
        except StoreUnavailable:
            raise
        except Exception:
            # A record that cannot be stored must not hold up all that come after it.
            _log.exception("decisions refused", count=len(records))
            self._lost += len(records)
        else:
            self._written += len(records)

    def _run(self) -> None:
        reported = 0
        while True:
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            ending = self._stopping.is_set()
            try:
                self.flush()
            except StoreUnavailable:
                if not ending:
                    self._stopping.wait(self._flush_seconds)
            if self._lost > reported:
                reported = self._lost
                self._warnings.record(
                    WarningKind.DECISIONS_LOST, f"{reported} decision records were lost"
                )
            if ending:
                return
