"""Answers found by the bytes of their request, before it is even parsed.

An equal request has an equal answer but for what is patched in, so that neither parsing nor
checking it again tells anything new.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

DEFAULT_BYTES: Final = 4 * 1024 * 1024
"""Bound of one method's answers."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a request becomes when its answer is there already."""

    client_id: str
    """Of the request."""
    answer: bytes
    """The serialised response."""


Recall = Callable[[bytes], Recalled | None]
"""The answer to a serialised request; None: work it out. Never raises and never waits."""


class Sized(Protocol):
    """Something that knows what it takes to keep it."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...


Kept = TypeVar("Kept", bound=Sized)


class RequestMemory(Generic[Kept]):
    """What was kept for requests, by their bytes; the oldest gives way to the newest.

    Args:
        max_bytes: bound of requests and what is kept for them.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: dict[bytes, Kept] = {}
        self._held_bytes = 0
        self._writing = threading.Lock()
        self.get: Final = self._kept.get
        """What is kept for a request, or None."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def held_bytes(self) -> int:
        """Bytes taken."""
        return self._held_bytes

    def keep(self, request: bytes, what: Kept) -> None:
        """Keep something for a request, in place of what was kept for it."""
        size = len(request) + what.size
        with self._writing:
            self._drop(request)
            if size > self._max_bytes:
                return
            self._kept[request] = what
            self._held_bytes += size
            while self._held_bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))

    def _drop(self, request: bytes) -> None:
        old = self._kept.pop(request, None)
        if old is not None:
            self._held_bytes -= len(request) + old.size
