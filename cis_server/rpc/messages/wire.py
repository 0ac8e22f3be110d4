"""Pieces of serialised messages: what a field is on the wire.

A serialised message is the concatenation of its fields, and messages are put together by putting
their bytes side by side (Protocol Buffers, "Encoding"). So what never changes is serialised once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

_VARINT, _FIXED64, _LENGTH = 0, 1, 2

float64: Final[Callable[[float], bytes]] = struct.Struct("<d").pack
"""A double as it stands on the wire, after its tag."""


def varint(value: int) -> bytes:
    """A number of 0 or more, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(number: int, payload: bytes) -> bytes:
    """A field of text, bytes or a message."""
    return varint(number << 3 | _LENGTH) + varint(len(payload)) + payload


def double(number: int, value: float) -> bytes:
    """A field of a double; zero is written too."""
    return varint(number << 3 | _FIXED64) + float64(value)
