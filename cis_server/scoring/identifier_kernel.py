"""Keyed hashes of identifiers where they lie, compiled: who of a column is on a suppression list.

`cis_server.domain.suppression` for columns. ASCII only, as in `text_kernel`: rows that hold
anything beyond it are told apart for those functions. The kernel releases the interpreter lock.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from cis_server.domain.suppression import IdentifierKind
from cis_server.scoring.text_kernel import (
    ASK,
    BUFFER,
    BYTES,
    INTEGERS,
    PLACES,
    Bytes,
    Flag,
    Integer,
    Places,
    compiled,
    has_beyond_ascii,
    inlined,
    is_space,
    stripped,
)

Words = NDArray[np.uint64]

_SORTED = numba.types.Array(numba.uint64, 1, "C", readonly=True)

_START = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    dtype=np.uint64,
)
_ORDER = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    dtype=np.int64,
)
"""Start values and the order of message words of BLAKE2b (RFC 7693 §2.6, §2.7)."""

_BLOCK: Final = 128
_DIGEST: Final = 8


@inlined
def _turned(word: Any, by: Integer) -> Any:
    """The word rotated right."""
    return (word >> np.uint64(by)) | (word << np.uint64(64 - by))


@inlined
def _mixed(a: Any, b: Any, c: Any, d: Any, x: Any, y: Any) -> Any:
    """The mixing function G (RFC 7693 §3.1)."""
    a = a + b + x
    d = _turned(d ^ a, 32)
    c = c + d
    b = _turned(b ^ c, 24)
    a = a + b + y
    d = _turned(d ^ a, 16)
    c = c + d
    b = _turned(b ^ c, 63)
    return a, b, c, d


@inlined
def _compress(state: Words, total: Integer, last: bool, m: Words) -> None:
    """The compression function F (RFC 7693 §3.2).

    Args:
        state: eight words, changed.
        total: bytes so far, those of this block included.
        last: whether it is the last block.
        m: the block, sixteen words.
    """
    v0, v1, v2, v3 = state[0], state[1], state[2], state[3]
    v4, v5, v6, v7 = state[4], state[5], state[6], state[7]
    v8, v9, v10, v11 = _START[0], _START[1], _START[2], _START[3]
    v12 = _START[4] ^ np.uint64(total)
    v13, v14, v15 = _START[5], _START[6], _START[7]
    if last:
        v14 = ~v14
    for r in range(12):
        s = _ORDER[r]
        v0, v4, v8, v12 = _mixed(v0, v4, v8, v12, m[s[0]], m[s[1]])
        v1, v5, v9, v13 = _mixed(v1, v5, v9, v13, m[s[2]], m[s[3]])
        v2, v6, v10, v14 = _mixed(v2, v6, v10, v14, m[s[4]], m[s[5]])
        v3, v7, v11, v15 = _mixed(v3, v7, v11, v15, m[s[6]], m[s[7]])
        v0, v5, v10, v15 = _mixed(v0, v5, v10, v15, m[s[8]], m[s[9]])
        v1, v6, v11, v12 = _mixed(v1, v6, v11, v12, m[s[10]], m[s[11]])
        v2, v7, v8, v13 = _mixed(v2, v7, v8, v13, m[s[12]], m[s[13]])
        v3, v4, v9, v14 = _mixed(v3, v4, v9, v14, m[s[14]], m[s[15]])
    state[0] ^= v0 ^ v8
    state[1] ^= v1 ^ v9
    state[2] ^= v2 ^ v10
    state[3] ^= v3 ^ v11
    state[4] ^= v4 ^ v12
    state[5] ^= v5 ^ v13
    state[6] ^= v6 ^ v14
    state[7] ^= v7 ^ v15


@inlined
def _absorbed(
    state: Words, before: Integer, message: Bytes, size: Integer, last: bool, work: Words
) -> None:
    """Take in a message that is not empty, after `before` bytes."""
    for i in range(size, -(-size // _BLOCK) * _BLOCK):
        message[i] = 0
    at = 0
    while at < size:
        for i in range(16):
            k = at + 8 * i
            work[i] = (
                np.uint64(message[k])
                | np.uint64(message[k + 1]) << np.uint64(8)
                | np.uint64(message[k + 2]) << np.uint64(16)
                | np.uint64(message[k + 3]) << np.uint64(24)
                | np.uint64(message[k + 4]) << np.uint64(32)
                | np.uint64(message[k + 5]) << np.uint64(40)
                | np.uint64(message[k + 6]) << np.uint64(48)
                | np.uint64(message[k + 7]) << np.uint64(56)
            )
        at += _BLOCK
        _compress(state, before + min(at, size), last and at >= size, work)


@inlined
def _holds(array: Words, key: Any) -> Flag:
    """Whether a sorted array of hashes holds a key.

    Hashes are spread evenly, so that the size of a key tells about where it stands: the search
    begins in a range of eight standard deviations of its rank there, and takes the whole array
    only where the key lies outside.
    """
    n = len(array)
    if n == 0:
        return False
    guess = np.int64(np.float64(key) * (np.float64(n) / 18446744073709551616.0))
    reach = np.int64(2.0 * np.sqrt(np.float64(n))) + 1
    low: Integer = max(guess - reach, 0)
    high: Integer = min(guess + reach, n)
    if low >= high or (low > 0 and array[low - 1] >= key) or (high < n and array[high] < key):
        low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if array[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low < n and array[low] == key


@inlined
def _lower(byte: Integer) -> Integer:
    return byte + 32 if 65 <= byte <= 90 else byte


@inlined
def _host(data: Bytes, start: Integer, stop: Integer) -> tuple[Integer, Integer]:
    """`cis_server.domain.suppression.host_name` of ASCII, its case left as it is."""
    start, stop = stripped(data, start, stop)
    # A scheme: a letter, then letters, digits, + . -, then ://
    at = start
    while at < stop:
        byte = _lower(data[at])
        letter = 97 <= byte <= 122
        if not (letter or (at > start and (48 <= byte <= 57 or byte in (43, 45, 46)))):
            break
        at += 1
    if at > start and at + 3 <= stop and data[at] == 58 and data[at + 1] == data[at + 2] == 47:
        start = at + 3
    at = start
    while at < stop and not (data[at] in (47, 63, 35) or is_space(data[at])):
        at += 1
    stop = at
    for i in range(stop - 1, start - 1, -1):
        if data[i] == 64:
            start = i + 1
            break
    for i in range(start, stop):
        if data[i] == 58:
            stop = i
            break
    return _trimmed(data, start, stop)


@inlined
def _trimmed(data: Bytes, start: Integer, stop: Integer) -> tuple[Integer, Integer]:
    """What `cis_server.domain.suppression.normalised_identifier` cuts off a domain."""
    while start < stop and (data[start] == 64 or data[start] == 46):
        start += 1
    if (
        stop - start >= 4
        and _lower(data[start]) == 119
        and _lower(data[start + 1]) == 119
        and _lower(data[start + 2]) == 119
        and data[start + 3] == 46
    ):
        start += 4
    while stop > start and data[stop - 1] == 46:
        stop -= 1
    return start, stop


EMAIL, DOMAIN, PHONE, LEAD_ID, EMAIL_DOMAIN = range(5)
"""Kinds of `listed_rows`."""

LONGEST: Final = 4096
"""Bytes of an identifier; longer ones the contract does not allow, and they are asked for."""

_KINDS: Final = (
    IdentifierKind.EMAIL,
    IdentifierKind.DOMAIN,
    IdentifierKind.PHONE,
    IdentifierKind.LEAD_ID,
)
_NAMES = np.array([[*kind.value.encode().ljust(16, b"\0")] for kind in _KINDS], dtype=np.uint8)


@inlined
def _filled(
    kind: Integer, data: Bytes, start: Integer, stop: Integer, message: NDArray[np.uint8]
) -> Integer:
    """Write what the hash of an identifier is made of; its size, 0 when nothing is left of it."""
    size = 0
    name = _NAMES[kind]
    while name[size] != 0:
        message[size] = name[size]
        size += 1
    size += 1
    message[size - 1] = 0
    empty = size
    for i in range(start, stop):
        byte = data[i]
        if kind == PHONE:
            if not 48 <= byte <= 57:
                continue
        elif kind != LEAD_ID:
            byte = _lower(byte)
        message[size] = byte
        size += 1
    if kind == PHONE and size >= empty + 2 and message[empty] == 48 and message[empty + 1] == 48:
        for i in range(empty + 2, size):
            message[i - 2] = message[i]
        size -= 2
    return 0 if size == empty else size


@inlined
def _same_name(
    one: Bytes, first: Integer, last: Integer, other: Bytes, start: Integer, stop: Integer
) -> Flag:
    """Whether two names are the same but for case."""
    different = int(last - first != stop - start)
    if different == 0:
        for i in range(last - first):
            different |= _lower(one[first + i]) ^ _lower(other[start + i])
    return different == 0


@compiled(
    numba.void(
        numba.int64,
        *(BYTES, PLACES, PLACES) * 2,
        BYTES,
        _SORTED,
        _SORTED,
        INTEGERS,
    )
)
def listed_rows(
    kind: Integer,
    data: Bytes,
    start: Places,
    stop: Places,
    domains: Bytes,
    domain_start: Places,
    domain_stop: Places,
    secret: Bytes,
    first_list: Words,
    second_list: Words,
    out: NDArray[np.int64],
) -> None:
    """Whether identifiers of a column are on a list, as `SuppressionIndex.keys` makes their keys.

    Args:
        kind: `EMAIL`, `DOMAIN` (the domains above it are looked up too), `PHONE`, `LEAD_ID`, or
            `EMAIL_DOMAIN`: the domain of an address, and those above it.
        data, start, stop: the column.
        domains, domain_start, domain_stop: the column looked up as `DOMAIN` before: an address
            whose domain is the same is left alone.
        secret: the installation's key.
        first_list, second_list: sorted keys.
        out: shape (n,); rows that hold 0 take 1 or `ASK`, others are left alone.
    """
    keyed, state, work = np.empty(8, np.uint64), np.empty(8, np.uint64), np.empty(16, np.uint64)
    message = np.zeros(LONGEST + _BLOCK, np.uint8)
    for i in range(8):
        keyed[i] = _START[i]
    keyed[0] ^= np.uint64(0x01010000 ^ (len(secret) << 8) ^ _DIGEST)
    before = 0
    named = DOMAIN if kind == EMAIL_DOMAIN else kind

    for row in range(-1, len(out)):
        if row < 0:
            # The key is a block of its own before every message: taken in once.
            if len(secret) > 0:
                for i in range(len(secret)):
                    message[i] = secret[i]
                _absorbed(keyed, 0, message, _BLOCK, False, work)
                before = _BLOCK
            continue
        a, b = start[row], stop[row]
        if out[row] != 0 or a >= b:
            continue
        if b - a > LONGEST or ((kind == EMAIL or named == DOMAIN) and has_beyond_ascii(data, a, b)):
            out[row] = ASK
            continue
        points = 0
        if kind == EMAIL:
            a, b = stripped(data, a, b)
        elif named == DOMAIN:
            if kind == EMAIL_DOMAIN:
                at = b
                while at > a and data[at - 1] != 64:
                    at -= 1
                a = b if at == a else at
            a, b = _host(data, a, b)
            if kind == EMAIL_DOMAIN:
                c, d = domain_start[row], domain_stop[row]
                # One beyond ASCII is asked for when it is looked up itself.
                if c < d and not has_beyond_ascii(domains, c, d):
                    c, d = _host(domains, c, d)
                    if _same_name(data, a, b, domains, c, d):
                        continue
            for i in range(a, b):
                points += data[i] == 46
        while a < b:
            size = _filled(named, data, a, b, message)
            if size > 0:
                for i in range(8):
                    state[i] = keyed[i]
                _absorbed(state, before, message, size, True, work)
                if _holds(first_list, state[0]) or _holds(second_list, state[0]):
                    out[row] = 1
                    break
            if points < 2:
                break
            points -= 1
            while data[a] != 46:
                a += 1
            a += 1


FILTER_PLACES: Final = 1 << 16
"""Size of the filter of `names_met`."""


@inlined
def _name_place(data: Bytes, start: Integer, stop: Integer) -> Any:
    """Where a name stands in the filter: FNV-1a of its lower case, folded to 16 bits."""
    value = np.uint64(0xCBF29CE484222325)
    for i in range(start, stop):
        value = (value ^ np.uint64(_lower(data[i]))) * np.uint64(0x100000001B3)
    value ^= value >> np.uint64(32)
    value ^= value >> np.uint64(16)
    return np.int64(value & np.uint64(0xFFFF))


@compiled(numba.void(BYTES, PLACES, PLACES, BUFFER))
def mark_names(data: Bytes, start: Places, stop: Places, wanted: NDArray[np.uint8]) -> None:
    """Set the filter, shape (`FILTER_PLACES`,), at the place of each name, in lower case."""
    for i in range(len(start)):
        wanted[_name_place(data, start[i], stop[i])] = 1


@compiled(numba.void(BYTES, PLACES, PLACES, numba.boolean, BYTES, INTEGERS))
def names_met(
    data: Bytes,
    start: Places,
    stop: Places,
    of_address: bool,
    wanted: Bytes,
    out: NDArray[np.int64],
) -> None:
    """Set `ASK` where the domain of a row, or one above it, may be one of the wanted ones.

    Args:
        data, start, stop: domains and links, or addresses, of which what follows the last ``@``
            counts.
        of_address: whether they are addresses.
        wanted: filter of the wanted names, from `mark_names`.
        out: shape (n,); other rows are left alone.
    """
    for i in range(len(start)):
        first, last = start[i], stop[i]
        if of_address:
            at = last - 1
            while at >= first and data[at] != 64:
                at -= 1
            first = at + 1 if at >= first else last
        if first >= last:
            continue
        if has_beyond_ascii(data, first, last):
            out[i] = ASK
            continue
        first, last = _host(data, first, last)
        points = 0
        for k in range(first, last):
            points += data[k] == 46
        while first < last:
            if wanted[_name_place(data, first, last)]:
                out[i] = ASK
                break
            if points < 2:
                break
            points -= 1
            while data[first] != 46:
                first += 1
            first += 1
