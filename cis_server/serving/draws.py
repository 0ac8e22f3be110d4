"""Randomness of answers: hashed streams that agree between calls, processes and machines.

A learner draws millions of numbers from `numpy.random.Generator`; an answer needs two or three, and
building a generator would cost more than the rest of the answer. A keyed hash gives the same
promise (same parts, same numbers) in a microsecond.
"""

from __future__ import annotations

import hashlib
import os
import random
from typing import Final, Protocol

_SCALE = 2.0**-53
_VARIANTS = tuple(f"{digit & 0x3 | 0x8:x}" for digit in range(16))


class Draws(Protocol):
    """A source of uniform numbers; `numpy.random.Generator` is one."""

    def random(self) -> float:
        """The next number, uniform on [0, 1)."""
        ...


class SeededDraws:
    """Uniform numbers that depend on the parts given and on nothing else."""

    __slots__ = ("_block", "_key", "_position")

    def __init__(self, *parts: str) -> None:
        """Start the stream of `parts`; lengths are hashed too, so ("ab",) is not ("a", "b")."""
        self._key = digest(*parts)
        self._block = b""
        self._position = 0

    def random(self) -> float:
        """The next number, uniform on [0, 1), with 53 random bits."""
        word = self._position % 8
        if word == 0:
            counter = (self._position // 8).to_bytes(8, "little")
            self._block = hashlib.blake2b(counter, key=self._key, digest_size=64).digest()
        self._position += 1
        return (int.from_bytes(self._block[word * 8 : word * 8 + 8], "little") >> 11) * _SCALE


FRESH: Final[Draws] = (_fresh := random.Random())
"""Uniform numbers that nothing repeats: seeded by the system, in every process anew."""
if hasattr(os, "register_at_fork"):  # where processes can fork
    os.register_at_fork(after_in_child=_fresh.seed)


def draws_for(lead_id: str | None, *parts: str) -> Draws:
    """The stream for one lead, or one that nothing repeats when there is no lead."""
    return SeededDraws(lead_id, *parts) if lead_id else FRESH


def decision_id(*parts: str) -> str:
    """UUID text of a decision: the same decision gets the same id, so a rerun is no second one."""
    return DecisionIds().id(*parts)


class DecisionIds:
    """Identities of decisions of which the first parts are always the same."""

    __slots__ = ("_state",)

    def __init__(self, *first: str) -> None:
        """Take in the first parts."""
        self._state = hashlib.blake2b(framed(*first), digest_size=32)

    def id(self, *parts: str) -> str:
        """What `decision_id` gives for the first parts and these together."""
        return self.of_framed(framed(*parts))

    def of_framed(self, parts: bytes) -> str:
        """The same for parts that are `framed` already."""
        state = self._state.copy()
        state.update(parts)
        text = state.hexdigest()
        # version 8, free form, and the variant (RFC 9562, 5.8 and 4.1)
        variant = _VARIANTS[int(text[16], 16)]
        return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def framed(*parts: str) -> bytes:
    """Parts as they are hashed, each behind its length."""
    return b"".join([frame(part) for part in parts])


def frame(part: str) -> bytes:
    """One part as it is hashed: behind its length, so that ("ab",) is not ("a", "b")."""
    text = part.encode()
    return len(text).to_bytes(4, "little") + text


def digest(*parts: str) -> bytes:
    """32 bytes of BLAKE2b over the parts and their lengths."""
    return hashlib.blake2b(framed(*parts), digest_size=32).digest()
