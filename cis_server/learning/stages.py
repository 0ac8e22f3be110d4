"""The stages of a run: how far it is, what each took."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from cis_server.domain.runs import Stage


class Progress(Protocol):
    """Told about every step of a run."""

    def __call__(
        self, stage: str, fraction: float, message: str, finished: Sequence[Stage]
    ) -> None:
        """A stage has begun.

        Args:
            stage: its name.
            fraction: share of the whole run that is done, 0..1.
            message: in words.
            finished: the stages before it.
        """
        ...


def unheard(stage: str, fraction: float, message: str, finished: Sequence[Stage]) -> None:
    """Progress that nobody follows."""
    del stage, fraction, message, finished


class Stages:
    """Keeps what each stage took, and tells how far the run is.

    Args:
        clock: the time now, aware.
        progress: told when a stage begins.
    """

    def __init__(self, clock: Callable[[], dt.datetime], progress: Progress = unheard) -> None:
        self._clock = clock
        self._progress = progress
        self._finished: list[Stage] = []
        self.begun_at = clock()

    @property
    def finished(self) -> tuple[Stage, ...]:
        """Finished stages in order."""
        return tuple(self._finished)

    @property
    def seconds(self) -> float:
        """Time since the run began."""
        return (self._clock() - self.begun_at).total_seconds()

    @contextmanager
    def run(self, stage: str, fraction: float, message: str) -> Iterator[Callable[[int], None]]:
        """Around the work of a stage; gives a function that takes the number of its rows.

        A stage that raises is not finished.
        """
        self._progress(stage, fraction, message, self.finished)
        started, rows = self._clock(), [-1]

        def count(number: int) -> None:
            rows[0] = number

        yield count
        self.record(
            stage,
            started,
            (self._clock() - started).total_seconds(),
            rows[0] if rows[0] >= 0 else None,
        )

    def begin(self, stage: str, fraction: float, message: str) -> dt.datetime:
        """Tell that a stage begins whose end is told by `record`; gives the time."""
        self._progress(stage, fraction, message, self.finished)
        return self._clock()

    def record(
        self, stage: str, started: dt.datetime, seconds: float, rows: int | None = None
    ) -> None:
        """A stage has finished."""
        self._finished.append(
            Stage(stage=stage, started_at=started, seconds=round(seconds, 4), rows=rows)
        )
