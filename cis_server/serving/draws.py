"""Randomness of answers: hashed streams that agree between calls, processes and machines.

A learner draws millions of numbers from `numpy.random.Generator`; an answer needs two or three, and
building a generator would cost more than the rest of the answer. A keyed hash gives the same
promise (same parts, same numbers) in a microsecond.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from typing import Protocol

_SCALE = 2.0**-53


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


def draws_for(lead_id: str | None, *parts: str) -> SeededDraws:
    """The stream for one lead, or a fresh one that nothing repeats when there is no lead."""
    return SeededDraws(lead_id or f"\0{secrets.token_hex(16)}", *parts)


def decision_id(*parts: str) -> str:
    """UUID text of a decision: the same decision gets the same id, so a rerun is no second one."""
    raw = bytearray(digest(*parts)[:16])
    raw[6] = (raw[6] & 0x0F) | 0x80  # version 8: free form (RFC 9562, 5.8)
    raw[8] = (raw[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def digest(*parts: str) -> bytes:
    """32 bytes of BLAKE2b over the parts and their lengths."""
    state = hashlib.blake2b(digest_size=32)
    for part in parts:
        text = part.encode()
        state.update(len(text).to_bytes(4, "little"))
        state.update(text)
    return state.digest()
