"""Judging text where it lies, compiled: pieces of a byte buffer of which no Python text is made.

A piece is ``data[start:stop]``, UTF-8. Each function here says of ASCII what the function of
`cis_server.scoring.contacts`, `cis_server.domain.suppression` or `datetime` named beside it says,
and answers `ASK` where a character beyond ASCII might change the answer: then that function decides
(tests hold the two against each other). Kernels release the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Integer: TypeAlias = Any
Flag: TypeAlias = Any
"""Python's or numpy's: compiled, they are one."""

ASK: Final = 2
"""Neither yes (1) nor no (0): the text has to be read as text."""
NO_DATE: Final = -(2**62)
"""In place of days since 1970: no date was given."""
BAD_DATE: Final = NO_DATE - 1
"""What was given is no date of the form YYYY-MM-DD."""

BYTES = numba.types.Array(numba.uint8, 1, "C", readonly=True)
BUFFER = numba.types.Array(numba.uint8, 1, "C")
PLACES = numba.types.Array(numba.int64, 1, "C", readonly=True)
INTEGERS = numba.types.Array(numba.int64, 1, "C")

_F = TypeVar("_F", bound=Callable[..., Any])
inlined = cast(Callable[[_F], _F], register_jitable)
"""Marks a plain Python function that compiled code may call."""


def compiled(signature: object) -> Callable[[_F], _F]:
    """Compile for one explicit signature, cached on disk; runs without the interpreter lock."""
    return cast(
        Callable[[_F], _F],
        numba.njit(signature, cache=True, nogil=True, error_model="python"),
    )


@inlined
def is_space(byte: Integer) -> Flag:
    """Whether an ASCII character is space to `str.isspace` and ``\\s``."""
    return byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31


@inlined
def is_word(byte: Integer) -> Flag:
    """Whether an ASCII character is ``[\\w-]``."""
    return 97 <= byte <= 122 or 65 <= byte <= 90 or 48 <= byte <= 57 or byte == 95 or byte == 45


@inlined
def stripped(data: Bytes, start: Integer, stop: Integer) -> tuple[Integer, Integer]:
    """The piece without ASCII space around it."""
    while start < stop and is_space(data[start]):
        start += 1
    while stop > start and is_space(data[stop - 1]):
        stop -= 1
    return start, stop


@inlined
def has_beyond_ascii(data: Bytes, start: Integer, stop: Integer) -> Flag:
    """Whether any byte is outside ASCII."""
    seen = 0
    for i in range(start, stop):
        seen |= data[i]
    return seen >= 128


@inlined
def email_shape(data: Bytes, start: Integer, stop: Integer) -> Integer:
    """`cis_server.scoring.contacts.is_email_address`."""
    if start == stop:
        return 0
    if has_beyond_ascii(data, start, stop):
        return ASK
    start, stop = stripped(data, start, stop)
    at = -1
    for i in range(start, stop):
        byte = data[i]
        if byte == 64:
            if at >= 0:
                return 0
            at = i
        elif is_space(byte):
            return 0
    if at <= start:
        return 0
    points = 0
    label = at + 1  # where the present label begins
    for i in range(at + 1, stop):
        if data[i] == 46:
            if i == label:
                return 0
            points += 1
            label = i + 1
    return 1 if points > 0 and label < stop else 0


@inlined
def phone_shape(data: Bytes, start: Integer, stop: Integer) -> Integer:
    """`cis_server.scoring.contacts.is_phone_number`."""
    digits = 0
    beyond = False
    for i in range(start, stop):
        byte = data[i]
        if 48 <= byte <= 57:
            digits += 1
            if digits == 5:
                return 1
        elif byte >= 128:
            beyond = True
    return ASK if beyond else 0


@inlined
def _follows(data: Bytes, start: Integer, stop: Integer, word: Bytes) -> Flag:
    """Whether the piece begins with a word, without regard to case."""
    if stop - start < len(word):
        return False
    for i in range(len(word)):
        byte = data[start + i]
        if 65 <= byte <= 90:
            byte += 32
        if byte != word[i]:
            return False
    return True


def _word(text: str) -> Bytes:
    return np.frombuffer(text.encode(), dtype=np.uint8)


_SCHEMES = (_word("https://"), _word("http://"))
_PATHS = (
    _word("in/"),
    _word("pub/"),
    _word("profile/"),
    _word("sales/people/"),
    _word("sales/lead/"),
    _word("talent/profile/"),
)


@inlined
def profile_shape(data: Bytes, start: Integer, stop: Integer) -> Integer:
    """`cis_server.scoring.contacts.is_linkedin_profile`."""
    if start == stop:
        return 0
    if has_beyond_ascii(data, start, stop):
        return ASK
    while start < stop and is_space(data[start]):
        start += 1
    for scheme in _SCHEMES:
        if _follows(data, start, stop, scheme):
            start += len(scheme)
            break
    # The host: labels of word characters, two or more.
    points = 0
    label = start
    while start < stop:
        byte = data[start]
        if byte == 46:
            if start == label:
                return 0
            points += 1
            label = start + 1
        elif not is_word(byte):
            break
        start += 1
    if points == 0 or start == label:
        return 0
    if start < stop and data[start] == 58:
        start += 1
        port = start
        while start < stop and 48 <= data[start] <= 57:
            start += 1
        if start == port:
            return 0
    if start >= stop or data[start] != 47:
        return 0
    start += 1
    for path in _PATHS:
        if _follows(data, start, stop, path):
            after = start + len(path)
            if after < stop and data[after] != 47 and not is_space(data[after]):
                return 1
    return 0


_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)


@inlined
def date_days(data: Bytes, start: Integer, stop: Integer) -> Any:
    """Days since 1970 of a date YYYY-MM-DD, `NO_DATE` of nothing, `BAD_DATE` of anything else.

    What `datetime.date.fromisoformat` takes, the form of week dates left out; the count is that of
    the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
    """
    if start == stop:
        return NO_DATE
    if stop - start != 10 or data[start + 4] != 45 or data[start + 7] != 45:
        return BAD_DATE
    year, month, day = np.int64(0), np.int64(0), np.int64(0)
    for i in range(10):
        if i == 4 or i == 7:
            continue
        digit = np.int64(data[start + i]) - 48
        if digit < 0 or digit > 9:
            return BAD_DATE
        if i < 4:
            year = year * 10 + digit
        elif i < 7:
            month = month * 10 + digit
        else:
            day = day * 10 + digit
    if year < 1 or month < 1 or month > 12 or day < 1:
        return BAD_DATE
    most = _MONTH_DAYS[month - 1]
    if month == 2 and (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
        most = 29
    if day > most:
        return BAD_DATE
    # Years counted from March, so that the leap day is the last.
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


_OFFSET = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)


@inlined
def text_hash(data: Bytes, start: Integer, stop: Integer) -> Any:
    """64-bit FNV-1a (Fowler, Noll, Vo) with its high bits folded in; unsigned."""
    value = _OFFSET
    for i in range(start, stop):
        value = (value ^ np.uint64(data[i])) * _PRIME
    value = value * _MIX
    return value ^ (value >> np.uint64(32))


MOST_PROBES: Final = 64
"""Places looked at for one text; more collide only when somebody chose the texts to collide."""


@compiled(
    numba.int64(
        BYTES,
        PLACES,
        PLACES,
        numba.int64,
        numba.int64,
        INTEGERS,
        INTEGERS,
        BUFFER,
        INTEGERS,
        INTEGERS,
    )
)
def intern_rows(
    data: Bytes,
    start: Places,
    stop: Places,
    first: Integer,
    longest: Integer,
    slots: NDArray[np.int64],
    offsets: NDArray[np.int64],
    arena: NDArray[np.uint8],
    count: NDArray[np.int64],
    out: NDArray[np.int64],
) -> Integer:
    """Number each text of a column, the same text the same number, new ones in order of arrival.

    Args:
        data, start, stop: the column.
        first: row to begin with.
        longest: texts of more bytes are left alone.
        slots: open addressing by `text_hash`, -1 for free; its length is a power of two.
        offsets: where in the arena the text of each number begins and, one on, ends.
        arena: the bytes of all texts.
        count: shape (1,), how many texts there are; both grow here.
        out: number of each row, 0 for empty text, -1 for one left alone.

    Returns:
        The first row that was not done because the table is full; the number of rows when all are.
    """
    mask = len(slots) - 1
    for i in range(first, len(start)):
        a, b = start[i], stop[i]
        size = b - a
        if size <= 0:
            out[i] = 0
            continue
        out[i] = -1
        if size > longest:
            continue
        place = np.int64(text_hash(data, a, b) & np.uint64(mask))
        for _ in range(MOST_PROBES):
            number = slots[place]
            if number < 0:
                number = count[0]
                used = offsets[number]
                if number + 1 >= len(offsets) or used + size > len(arena):
                    return i
                for j in range(size):
                    arena[used + j] = data[a + j]
                offsets[number + 1] = used + size
                count[0] = number + 1
                slots[place] = number
                out[i] = number
                break
            held = offsets[number]
            if offsets[number + 1] - held == size:
                same = True
                for j in range(size):
                    if arena[held + j] != data[a + j]:
                        same = False
                        break
                if same:
                    out[i] = number
                    break
            place = (place + 1) & mask
    return len(start)


@compiled(numba.int64(PLACES, INTEGERS, INTEGERS, INTEGERS))
def number_distinct(
    values: Places, slots: NDArray[np.int64], first: NDArray[np.int64], out: NDArray[np.int64]
) -> Integer:
    """Number the distinct values of n integers in order of arrival.

    Args:
        values: shape (n,).
        slots: open addressing, -1 everywhere; its length is a power of two above n.
        first: shape (n,), takes the row at which each was met first.
        out: shape (n,), takes the number of each row.

    Returns:
        How many there are.
    """
    mask = np.uint64(len(slots) - 1)
    count = np.int64(0)
    for i in range(len(values)):
        mixed = np.uint64(values[i]) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
        place = np.int64((mixed ^ (mixed >> np.uint64(32))) & mask)
        while slots[place] >= 0 and values[first[slots[place]]] != values[i]:
            place = np.int64((np.uint64(place) + np.uint64(1)) & mask)
        if slots[place] < 0:
            slots[place] = count
            first[count] = i
            count += 1
        out[i] = slots[place]
    return count


@compiled(numba.void(BYTES, PLACES, PLACES, INTEGERS))
def email_shapes(data: Bytes, start: Places, stop: Places, out: NDArray[np.int64]) -> None:
    """`email_shape` of each row."""
    for i in range(len(start)):
        out[i] = email_shape(data, start[i], stop[i])


@compiled(numba.void(BYTES, PLACES, PLACES, INTEGERS))
def phone_shapes(data: Bytes, start: Places, stop: Places, out: NDArray[np.int64]) -> None:
    """`phone_shape` of each row."""
    for i in range(len(start)):
        out[i] = phone_shape(data, start[i], stop[i])


@compiled(numba.void(BYTES, PLACES, PLACES, INTEGERS))
def profile_shapes(data: Bytes, start: Places, stop: Places, out: NDArray[np.int64]) -> None:
    """`profile_shape` of each row."""
    for i in range(len(start)):
        out[i] = profile_shape(data, start[i], stop[i])


@compiled(numba.void(BYTES, PLACES, PLACES, INTEGERS))
def filled_rows(data: Bytes, start: Places, stop: Places, out: NDArray[np.int64]) -> None:
    """`cis_server.scoring.contacts.is_filled` of each row."""
    for i in range(len(start)):
        out[i] = 0
        for place in range(start[i], stop[i]):
            byte = data[place]
            if byte >= 128:
                out[i] = ASK
            elif not is_space(byte):
                out[i] = 1
                break


@compiled(numba.void(BYTES, PLACES, PLACES, INTEGERS))
def date_rows(data: Bytes, start: Places, stop: Places, out: NDArray[np.int64]) -> None:
    """`date_days` of each row."""
    for i in range(len(start)):
        out[i] = date_days(data, start[i], stop[i])
