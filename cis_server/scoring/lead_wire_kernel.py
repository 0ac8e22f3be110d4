"""Leads read out of protobuf's wire format, compiled.

A batch of leads arrives as one run of bytes. `split_fields` finds where each lead lies,
`read_leads` walks all of them once: it notes where the texts lie that scoring reads, decodes
numbers and dates, and checks every field against its rule. What it does not know for certain to be
valid (a rule that is broken, a field it does not know, bytes that are no UTF-8) makes the lead
*irregular*: that one is read by protobuf and checked by the rules, so that nothing here decides
what an error is. Which field is what is told by a `layout`; this module knows no message. Kernels
release the interpreter lock.

Format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from cis_server.scoring.text_kernel import (
    BAD_DATE,
    BYTES,
    INTEGERS,
    NO_DATE,
    PLACES,
    Bytes,
    Flag,
    Integer,
    Places,
    compiled,
    date_days,
    inlined,
)

Layout = NDArray[np.int64]
"""Shape (4, fields): for each field number its `Kind`, two bounds and its place in the output."""


class Kind(IntEnum):
    """How a field is read and checked."""

    IRREGULAR = 0
    """A field whose rule is not one of these."""
    TEXT = 1
    """At most `high` characters; noted at `place` unless that is -1."""
    ADDRESS = 2
    """As TEXT, and if not empty it holds an ``@``."""
    INTEGER = 3
    """`low` to `high`, `low` not below 0."""
    FLAG = 4
    ENUM = 5
    """0 to `high`."""
    AMOUNT = 6
    """A double, finite, 0 or more."""
    DATE = 7
    """ISO text; the output is days since 1970."""
    TEXTS = 8
    """Repeated: at most `low` of at most `high` characters."""
    PERIODS = 9
    """Repeated messages of the inner layout, at most `low`; of their two DATE fields the one placed
    1 is not before the one placed 0."""
    MAP = 10
    """Text to text: at most `low` entries, keys of 1 to `place` and values of at most `high`
    characters."""


_IRREGULAR: Final = int(Kind.IRREGULAR)
_TEXT: Final = int(Kind.TEXT)
_ADDRESS: Final = int(Kind.ADDRESS)
_INTEGER: Final = int(Kind.INTEGER)
_FLAG: Final = int(Kind.FLAG)
_ENUM: Final = int(Kind.ENUM)
_AMOUNT: Final = int(Kind.AMOUNT)
_DATE: Final = int(Kind.DATE)
_TEXTS: Final = int(Kind.TEXTS)
_PERIODS: Final = int(Kind.PERIODS)
_MAP: Final = int(Kind.MAP)

_LAST_TAG: Final = 2**32 - 1

_TABLE = numba.types.Array(numba.int64, 2, "C", readonly=True)
_GRID = numba.types.Array(numba.int64, 2, "C")


@inlined
def _varint(data: Bytes, at: Integer, stop: Integer) -> tuple[Integer, Integer]:
    """(value, next position) of a number of up to 5 bytes; the position is -1 for any other."""
    value = np.int64(0)
    for shift in range(0, 35, 7):
        if at >= stop:
            return np.int64(0), np.int64(-1)
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    return np.int64(0), np.int64(-1)


@inlined
def _skipped(data: Bytes, at: Integer, stop: Integer, wire: Integer) -> Integer:
    """Position after a value of a wire type; -1 when it cannot be told."""
    if wire == 0:
        for _ in range(5):  # longer ones are left to protobuf
            if at >= stop:
                return np.int64(-1)
            at += 1
            if data[at - 1] < 128:
                return at
        return np.int64(-1)
    if wire == 2:
        size, at = _varint(data, at, stop)
        if at < 0:
            return np.int64(-1)
        at += size
    elif wire == 1:
        at += 8
    elif wire == 5:
        at += 4
    else:
        return np.int64(-1)
    return at if at <= stop else np.int64(-1)


@compiled(numba.int64(BYTES, numba.int64, INTEGERS, INTEGERS, INTEGERS, INTEGERS, INTEGERS))
def split_fields(
    data: Bytes,
    number: Integer,
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    other_begin: NDArray[np.int64],
    other_end: NDArray[np.int64],
    others: NDArray[np.int64],
) -> Integer:
    """Find the occurrences of one repeated message field, and what lies between them.

    Args:
        data: a message.
        number: of the field, below 16.
        begin, end: take where each occurrence's content lies; as long as there may be occurrences.
        other_begin, other_end: take where every other field lies, tag and all.
        others: shape (1,), takes how many those are.

    Returns:
        How many occurrences there are; -1 when there are more than fit or the bytes are not
        regular.
    """
    at, stop = np.int64(0), np.int64(len(data))
    count, rest = np.int64(0), np.int64(0)
    wanted = number * 8 + 2
    while at < stop:
        first = at
        if data[at] == wanted:
            size, at = _varint(data, at + 1, stop)
            if at < 0 or at + size > stop or count == len(begin):
                return -1
            begin[count] = at
            at += size
            end[count] = at
            count += 1
            continue
        tag, at = _varint(data, at, stop)
        if at < 0 or tag >> 3 == 0 or tag >> 3 == number:
            return -1
        at = _skipped(data, at, stop, tag & 7)
        if at < 0 or rest == len(other_begin):
            return -1
        other_begin[rest] = first
        other_end[rest] = at
        rest += 1
    others[0] = rest
    return count


@inlined
def is_plain(data: Bytes, start: Integer, stop: Integer) -> Flag:
    """Whether a piece is UTF-8 without U+0000 (RFC 3629: no overlong forms, no surrogates)."""
    seen = np.uint8(0)
    zero = False
    for i in range(start, stop):
        seen |= data[i]
        zero |= data[i] == 0
    if zero:
        return False
    if seen < 128:
        return True
    i = start
    while i < stop:
        lead = data[i]
        i += 1
        if lead < 0x80:
            continue
        least, most = 0x80, 0xBF  # of the byte that follows
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                least = 0xA0
            elif lead == 0xED:
                most = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                least = 0x90
            elif lead == 0xF4:
                most = 0x8F
        else:
            return False
        if i + more > stop or data[i] < least or data[i] > most:
            return False
        for k in range(1, more):
            if data[i + k] < 0x80 or data[i + k] > 0xBF:
                return False
        i += more
    return True


@inlined
def _double(data: Bytes, at: Integer) -> Flag:
    """Whether eight bytes are a double that is finite and 0 or more."""
    high = (np.int64(data[at + 7]) << 8) | np.int64(data[at + 6])
    if high & 0x7FF0 == 0x7FF0:
        return False
    if high < 0x8000:
        return True
    rest = high & 0x7FFF  # minus zero counts as zero
    for k in range(6):
        rest |= np.int64(data[at + k])
    return rest == 0


@inlined
def _period_ok(data: Bytes, at: Integer, stop: Integer, layout: Layout) -> Flag:
    """Whether an inner message is regular: texts, flags and two dates in order."""
    first, last = np.int64(NO_DATE), np.int64(NO_DATE)
    while at < stop:
        tag, at = _varint(data, at, stop)
        number = tag >> 3
        if at < 0 or number == 0 or number >= layout.shape[1]:
            return False
        kind = layout[0, number]
        if kind == _FLAG:
            if tag & 7 != 0 or at >= stop or data[at] > 1:
                return False
            at += 1
            continue
        if tag & 7 != 2:
            return False
        size, at = _varint(data, at, stop)
        if at < 0 or at + size > stop:
            return False
        if kind == _TEXT:
            if size > layout[2, number] or not is_plain(data, at, at + size):
                return False
        elif kind == _DATE:
            day = date_days(data, at, at + size)
            if day == BAD_DATE:
                return False
            if layout[3, number] == 0:
                first = day
            else:
                last = day
        else:
            return False
        at += size
    return first == NO_DATE or last == NO_DATE or first <= last


@inlined
def _entry(data: Bytes, at: Integer, stop: Integer, most_key: Integer, most_value: Integer) -> Any:
    """Key and value of one map entry as four positions; the first is -1 when it is irregular."""
    key, key_end, value, value_end = at, at, at, at
    while at < stop:
        tag = data[at]
        if tag != 10 and tag != 18:
            return np.int64(-1), key_end, value, value_end
        size, at = _varint(data, at + 1, stop)
        if at < 0 or at + size > stop or not is_plain(data, at, at + size):
            return np.int64(-1), key_end, value, value_end
        if tag == 10:
            key, key_end = at, at + size
        else:
            value, value_end = at, at + size
        at += size
    if key == key_end or key_end - key > most_key or value_end - value > most_value:
        return np.int64(-1), key_end, value, value_end
    return key, key_end, value, value_end


@compiled(
    numba.void(
        BYTES,
        PLACES,
        PLACES,
        _TABLE,
        _TABLE,
        BYTES,
        PLACES,
        _GRID,
        _GRID,
        _GRID,
        _GRID,
        _GRID,
        INTEGERS,
    )
)
def read_leads(
    data: Bytes,
    begin: Places,
    end: Places,
    layout: Layout,
    inner: Layout,
    keys: Bytes,
    key_ends: Places,
    text_start: NDArray[np.int64],
    text_stop: NDArray[np.int64],
    entry_start: NDArray[np.int64],
    entry_stop: NDArray[np.int64],
    numbers: NDArray[np.int64],
    regular: NDArray[np.int64],
) -> None:
    """Walk n messages.

    Args:
        data: the bytes they lie in.
        begin, end: shape (n,), where each lies.
        layout: of the message.
        inner: of its PERIODS.
        keys, key_ends: K keys of the MAP, run together, whose values are wanted.
        text_start, text_stop: shape (texts, n), zero; take where TEXT, ADDRESS lie.
        entry_start, entry_stop: shape (K, n), zero; take where the values of the keys lie.
        numbers: shape (numbers, n), filled with what an absent field means; take INTEGER, FLAG,
            ENUM and DATE.
        regular: shape (n,), takes 1 or 0. Of what is not regular no text is noted.
    """
    for row in range(len(begin)):
        at, stop = begin[row], end[row]
        good = True
        texts, periods, entries = 0, 0, 0
        while at < stop and good:
            tag, at = _varint(data, at, stop)
            if at < 0 or tag < 8 or tag > _LAST_TAG:
                good = False
                break
            number, wire = tag >> 3, tag & 7
            if number >= layout.shape[1]:
                at = _skipped(data, at, stop, wire)
                good = at >= 0
                continue
            kind, low, high, place = (
                layout[0, number],
                layout[1, number],
                layout[2, number],
                layout[3, number],
            )
            if kind in (_INTEGER, _FLAG, _ENUM):
                if wire != 0:
                    good = False
                    break
                value, at = _varint(data, at, stop)
                if at < 0 or value < low or value > high:
                    good = False
                elif place >= 0:
                    numbers[place, row] = value
                continue
            if kind == _AMOUNT:
                if wire != 1 or at + 8 > stop or not _double(data, at):
                    good = False
                at += 8
                continue
            if wire != 2:
                good = False
                break
            size, at = _varint(data, at, stop)
            after = at + size
            if at < 0 or after > stop:
                good = False
                break
            if kind in (_TEXT, _ADDRESS):
                if size > high or not is_plain(data, at, after):
                    good = False
                if kind == _ADDRESS and size > 0:
                    found = False
                    for i in range(at, after):
                        if data[i] == 64:
                            found = True
                            break
                    good = good and found
                if place >= 0:
                    text_start[place, row] = at
                    text_stop[place, row] = after
            elif kind == _DATE:
                day = date_days(data, at, after)
                good = day != BAD_DATE
                if place >= 0:
                    numbers[place, row] = day
            elif kind == _TEXTS:
                texts += 1
                good = texts <= low and size <= high and is_plain(data, at, after)
            elif kind == _PERIODS:
                periods += 1
                good = periods <= low and _period_ok(data, at, after, inner)
            elif kind == _MAP:
                entries += 1
                key, key_end, start, close = _entry(data, at, after, place, high)
                good = entries <= low and key >= 0
                if good:
                    first = np.int64(0)
                    for k in range(len(key_ends)):
                        size = key_ends[k] - first
                        if key_end - key == size:
                            same = True
                            for i in range(size):
                                if keys[first + i] != data[key + i]:
                                    same = False
                                    break
                            if same:
                                entry_start[k, row] = start
                                entry_stop[k, row] = close
                        first = key_ends[k]
            else:
                good = False
            at = after
        regular[row] = 1 if good else 0
        if not good:
            text_start[:, row] = 0
            text_stop[:, row] = 0
            entry_start[:, row] = 0
            entry_stop[:, row] = 0
