"""Blocks of a pattern: one that fails or has too little to say never takes the others with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cis_server.domain.envelope import BlockStatus
from cis_server.domain.vocabulary import PatternStatus

T = TypeVar("T")

_REASON_LENGTH = 300


class InsufficientData(Exception):  # noqa: N818 - a finding, not a fault
    """There is too little data for what was asked.

    Attributes:
        reason: what is missing, with the counts.
        sample: units there were.
        converted: of them, converted.
    """

    def __init__(self, reason: str, sample: int = 0, converted: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.sample, self.converted = reason, sample, converted


class Blocks:
    """Runs the blocks of a pattern and keeps how each came out."""

    def __init__(self) -> None:
        self._status: dict[str, BlockStatus] = {}

    def run(self, block: str, build: Callable[[], T | None]) -> T | None:
        """Build a block.

        Args:
            block: its name. A block may be run in several steps; the worst of them counts.
            build: makes it; None or `InsufficientData` means too little data.

        Returns:
            What was built; None when there was too little data or an error.
        """
        try:
            value = build()
        except InsufficientData as finding:
            self._note(block, PatternStatus.INSUFFICIENT_DATA, finding.reason)
            return None
        except Exception as fault:
            self._note(block, PatternStatus.ERROR, failure(fault))
            return None
        if value is None:
            self._note(block, PatternStatus.INSUFFICIENT_DATA, "nothing reached the minimum sample")
            return None
        self._note(block, PatternStatus.OK, "")
        return value

    def step(self, block: str, action: Callable[[], None]) -> None:
        """Run a step of a block that gives nothing back."""

        def done() -> bool:
            action()
            return True

        self.run(block, done)

    def remark(self, block: str, reason: str) -> None:
        """Add a remark to a block that came out well."""
        found = self._status.get(block)
        if found is not None and found.status is PatternStatus.OK:
            self._status[block] = BlockStatus(block=block, status=found.status, reason=reason)

    def failed(self, block: str) -> bool:
        """Whether a step of the block raised an error."""
        found = self._status.get(block)
        return found is not None and found.status is PatternStatus.ERROR

    @property
    def statuses(self) -> tuple[BlockStatus, ...]:
        """How the blocks came out, in the order they were first run."""
        return tuple(self._status.values())

    def _note(self, block: str, status: PatternStatus, reason: str) -> None:
        before = self._status.get(block)
        if before is None or (before.status is PatternStatus.OK and status is not before.status):
            self._status[block] = BlockStatus(block=block, status=status, reason=reason)


def failure(fault: BaseException) -> str:
    """Kind and first line of an error, short enough to store."""
    message = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {message[0] if message else ''}"[:_REASON_LENGTH]
