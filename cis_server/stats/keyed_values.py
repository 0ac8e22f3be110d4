"""What stands under some keys in many JSON texts, compiled.

Content snapshots are most of what a run reads, and a detector looks for fifteen keys in each. One
pass finds them all and numbers the different values. Keys are looked for as text, and of several
values of a key the first that has the right form counts: what the searches of regular expressions
find, which a test compares with. What stands in an object within the object is not the text's own;
only texts with a second opening brace are read that carefully.

The kernel is compiled from the plain Python function of the same name with `_reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from cis_server.stats.arrays import IntArray


class Form(IntEnum):
    """What is looked for of a key; after its colon there may be one space."""

    TEXT = 0
    """``"(?:[^"\\\\]|\\\\.)*"`` or ``null``."""
    LIST = 1
    """``\\[[^\\]]*\\]`` or ``null``."""
    WHOLE = 2
    """Up to nine digits."""
    FLAG = 3
    """``true`` or ``false``."""
    NAMED = 4
    """The key itself, with or without a value."""


TRUE: Final = 1
"""Bit of what is found of a flag: somewhere stand colon, space and ``true``."""
FALSE: Final = 2
"""The same with ``false``."""
TRUE_UNSPACED: Final = 4
FALSE_UNSPACED: Final = 8

_F = TypeVar("_F", bound=Callable[..., Any])

_TEXT, _LIST, _WHOLE, _FLAG, _NAMED = (int(form) for form in Form)
_NEW_LINE, _SPACE, _QUOTE, _ZERO, _COLON, _OPEN, _ESCAPE, _CLOSE = b'\n "0:[\\]'
_BEGIN, _END = b"{}"
_MOST_DIGITS = 9
# Of hashes, which stay exact in 64 bits. A few bytes of a value tell it from most others.
_FACTOR, _MASK, _BYTES_MIXED = 1_000_003, (1 << 30) - 1, 8


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys to look for.

    Attributes:
        data: their bytes, one after the other.
        start: (keys + 1,) where each begins, and where the last ends.
        form: (keys,) `Form` of each.
        chain: for each length up to the longest the first key of it, then for each key the next
            of the same length; -1 for none.
    """

    data: NDArray[np.uint8]
    start: IntArray
    form: IntArray
    chain: IntArray

    @classmethod
    def of(cls, forms: Sequence[tuple[str, Form]]) -> Keys:
        """Keys, which have neither quotes nor escapes, with what is looked for of each."""
        encoded = [name.encode() for name, _ in forms]
        lengths = [len(name) for name in encoded]
        longest = max(lengths)
        chain = np.full(longest + 1 + len(encoded), -1)
        for place, length in enumerate(lengths):
            chain[longest + 1 + place] = chain[length]
            chain[length] = place
        return cls(
            data=np.frombuffer(b"".join(encoded), dtype=np.uint8),
            start=np.concatenate([[0], np.cumsum(lengths)]),
            form=np.array([form for _, form in forms], dtype=np.int64),
            chain=chain,
        )


def keyed_values_reference(
    data: NDArray[np.uint8],
    start: IntArray,
    key_data: NDArray[np.uint8],
    key_start: IntArray,
    form: IntArray,
    chain: IntArray,
) -> tuple[IntArray, IntArray, IntArray]:
    """What stands under some keys in n texts. Places outside of an array are not noticed.

    Args:
        data: bytes of the texts.
        start: (n + 1,) where each begins, and where the last ends.
        key_data, key_start, form, chain: as of `Keys`.

    Returns:
        found: (keys, n) of a text or list the number of its value, of a whole number itself, -1
            where there is none; of a flag the sum of `TRUE`, `FALSE`, ...; of a key to be named
            whether it is.
        spans: (keys, n, 2) where the values of these numbers begin and end; filled as far as there
            are values.
        counts: (keys,) how many there are.
    """
    keys, texts = len(form), len(start) - 1
    longest = len(chain) - keys - 1
    size = 16
    while size < 2 * texts:
        size *= 2
    slots = np.full((keys, size), -1, dtype=np.int32)
    spans = np.empty((keys, texts, 2), dtype=np.int64)
    counts = np.zeros(keys, dtype=np.int64)
    found = np.full((keys, texts), -1, dtype=np.int64)
    for key in range(keys):
        if form[key] == _FLAG or form[key] == _NAMED:
            found[key] = 0
    for row in range(texts):
        stop = start[row + 1]
        opened = _quote(data, start[row], stop)
        nested = _objects(data, start[row], stop) > 1
        depth, inside = _deeper(data, start[row], opened), False
        while opened < stop:
            closed = _quote(data, opened + 1, stop)
            length = closed - opened - 1
            if nested:
                inside = not inside or _escaped(data, start[row], opened)
                if not inside:
                    depth += _deeper(data, opened, closed)
                if not inside or depth != 1:
                    length = longest + 1  # No key.
            key = chain[length] if closed < stop and length <= longest else -1
            while key >= 0:
                if _equal(data, opened + 1, key_data, key_start[key], length):
                    known = found[key, row]
                    if form[key] == _NAMED:
                        found[key, row] = 1
                    elif closed + 1 < stop and data[closed + 1] == _COLON:
                        spaced = closed + 2 < stop and data[closed + 2] == _SPACE
                        at = closed + 3 if spaced else closed + 2
                        if form[key] == _FLAG:
                            found[key, row] = known | _flag(data, at, stop, spaced)
                        elif known >= 0:
                            pass  # The first value of the right form counts.
                        elif form[key] == _WHOLE:
                            found[key, row] = _whole(data, at, stop)
                        else:
                            end = _end(data, at, stop, form[key])
                            if end >= 0:
                                number = _number(data, at, end, slots[key], spans[key], counts[key])
                                counts[key] = max(counts[key], number + 1)
                                found[key, row] = number
                key = chain[longest + 1 + key]
            opened = closed
    return found, spans, counts


def _part(function: _F) -> _F:
    """Compiled where the kernel calls it, plain where its reference does."""
    return cast(_F, register_jitable(function))


@_part
def _quote(data: NDArray[np.uint8], at: int, stop: int) -> int:
    """Place of the next quotation mark, `stop` for none."""
    while at < stop and data[at] != _QUOTE:
        at += 1
    return at


@_part
def _objects(data: NDArray[np.uint8], at: int, stop: int) -> int:
    """How many objects begin there, at most: one more for each brace within a string."""
    number = 0
    # Places that cannot be negative let the compiler compare many bytes at once.
    for place in range(np.uint64(at), np.uint64(stop)):
        number += data[place] == _BEGIN
    return number


@_part
def _deeper(data: NDArray[np.uint8], at: int, stop: int) -> int:
    """How many more objects begin than end there, outside of strings."""
    depth = 0
    while at < stop:
        if data[at] == _BEGIN:
            depth += 1
        elif data[at] == _END:
            depth -= 1
        at += 1
    return depth


@_part
def _escaped(data: NDArray[np.uint8], begin: int, at: int) -> bool:
    """Whether an odd number of escapes stands before a place."""
    first = at
    while first > begin and data[first - 1] == _ESCAPE:
        first -= 1
    return (at - first) % 2 == 1


@_part
def _equal(
    data: NDArray[np.uint8], at: int, other: NDArray[np.uint8], there: int, length: int
) -> bool:
    """Whether the same bytes stand in both."""
    same = 0
    while same < length and data[at + same] == other[there + same]:
        same += 1
    return same == length


@_part
def _flag(data: NDArray[np.uint8], at: int, stop: int, spaced: bool) -> int:
    """Bit of the flag that stands there, 0 for none."""
    if _word(data, at, stop, 116, 114, 117, 101):
        return TRUE if spaced else TRUE_UNSPACED
    if _word(data, at, stop - 1, 102, 97, 108, 115) and data[at + 4] == 101:
        return FALSE if spaced else FALSE_UNSPACED
    return 0


@_part
def _word(
    data: NDArray[np.uint8], at: int, stop: int, first: int, second: int, third: int, fourth: int
) -> bool:
    """Whether a word of four letters stands there."""
    return (
        at + 4 <= stop
        and data[at] == first
        and data[at + 1] == second
        and data[at + 2] == third
        and data[at + 3] == fourth
    )


@_part
def _whole(data: NDArray[np.uint8], at: int, stop: int) -> int:
    """The number that stands there, -1 for none."""
    end = at
    number = np.int64(0)
    while end < min(stop, at + _MOST_DIGITS) and data[end] >= _ZERO and data[end] < _ZERO + 10:
        number = number * 10 + np.int64(data[end]) - _ZERO
        end += 1
    return int(number) if end > at else -1


@_part
def _end(data: NDArray[np.uint8], at: int, stop: int, form: int) -> int:
    """End of the text or list that stands there, -1 for none."""
    if _word(data, at, stop, 110, 117, 108, 108):
        return at + 4
    end = at + 1
    if form == _LIST and at < stop and data[at] == _OPEN:
        while end < stop and data[end] != _CLOSE:
            end += 1
        return end + 1 if end < stop else -1
    if form == _TEXT and at < stop and data[at] == _QUOTE:
        while end < stop and data[end] != _QUOTE:
            if data[end] == _ESCAPE:
                end += 1
                if end < stop and data[end] == _NEW_LINE:
                    return -1
            end += 1
        return end + 1 if end < stop else -1
    return -1


@_part
def _number(
    data: NDArray[np.uint8],
    begin: int,
    end: int,
    slots: NDArray[np.int32],
    spans: IntArray,
    count: int,
) -> int:
    """Number of a value: that of an equal one before, or the next, which is then taken."""
    length = end - begin
    mixed = np.int64(length)
    for at in range(begin, end, 1 + length // _BYTES_MIXED):
        mixed = (mixed * _FACTOR + np.int64(data[at])) & _MASK
    slot = (mixed ^ (mixed >> 15)) & (len(slots) - 1)
    while slots[slot] >= 0:
        known = slots[slot]
        if spans[known, 1] - spans[known, 0] == length and _equal(
            data, begin, data, spans[known, 0], length
        ):
            return int(known)
        slot = (slot + 1) & (len(slots) - 1)
    slots[slot] = count
    spans[count, 0], spans[count, 1] = begin, end
    return count


_INT = numba.types.int64
_INTS = numba.types.Array(_INT, 1, "C", readonly=True)
_BYTES = numba.types.Array(numba.types.uint8, 1, "C", readonly=True)

keyed_values = numba.njit(
    numba.types.Tuple(tuple(numba.types.Array(_INT, axes, "C") for axes in (2, 3, 1)))(
        _BYTES, _INTS, _BYTES, _INTS, _INTS, _INTS
    ),
    cache=True,
)(keyed_values_reference)
