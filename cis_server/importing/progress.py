"""Progress of an import: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_SECONDS: Final = 5.0
"""Least time between two plain lines about one stage."""


class Progressing(Protocol):
    """Told what is going on."""

    def begin(self, stage: str, size: int | None) -> None:
        """A stage begins; `size` is the measure of the whole of it, None when unknown."""

    def advance(self, done: int, rows: int) -> None:
        """`done` of the size and so many rows of the stage are through."""

    def end(self) -> None:
        """The stage is over."""


class Silence:
    """Tells nobody."""

    def begin(self, stage: str, size: int | None) -> None:
        """Say nothing."""

    def advance(self, done: int, rows: int) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


class Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float]) -> None:
        """Tell by `write`, one line a call; `clock` counts seconds."""
        self._write, self._clock = write, clock
        self._stage, self._size, self._rows = "", 0, 0
        self._began = self._told = clock()

    def begin(self, stage: str, size: int | None) -> None:
        """Remember the stage."""
        self._stage, self._size, self._rows = stage, size or 0, 0
        self._began = self._told = self._clock()

    def advance(self, done: int, rows: int) -> None:
        """Write a line when the last one is some seconds old."""
        self._rows = rows
        now = self._clock()
        if now - self._told < LINE_SECONDS:
            return
        self._told = now
        elapsed = now - self._began
        left = elapsed * (self._size - done) / done if done else 0.0
        self._write(
            f"{self._stage}: {rows:,} rows, {rows / elapsed:,.0f} rows/s, about {left:.0f} s left"
        )

    def end(self) -> None:
        """Write what the stage took."""
        elapsed = self._clock() - self._began
        rows = f"{self._rows:,} rows in " if self._rows else ""
        self._write(f"{self._stage}: {rows}{elapsed:.1f} s")


class Bar:
    """A bar on a terminal."""

    def __init__(self, console: Console) -> None:
        """Draw on `console` while the context is open."""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        self._progress.stop()

    def begin(self, stage: str, size: int | None) -> None:
        """Add a bar."""
        self._task = self._progress.add_task(stage, total=size, rows=0)

    def advance(self, done: int, rows: int) -> None:
        """Fill the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, rows=rows)

    def end(self) -> None:
        """Fill the bar to its end."""
        if self._task is not None:
            task = self._progress.tasks[self._task]
            total = task.total or 1
            self._progress.update(self._task, total=total, completed=total)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        rows = task.fields.get("rows", 0)
        elapsed = task.finished_time if task.finished else task.elapsed
        if not rows or not elapsed:
            return Text("")
        return Text(f"{rows:,} rows, {rows / elapsed:,.0f}/s")


def progress_for(console: Console) -> Bar | Lines:
    """A bar when `console` is a terminal, else lines."""
    if console.is_terminal:
        return Bar(console)
    return Lines(lambda line: console.print(line, highlight=False, markup=False), time.monotonic)
