"""Scores written in protobuf's wire format, compiled: the basic view of a batch.

The scores of a batch differ in a few bytes; everything else of a message (why it is suppressed,
what model told the probability) is one of a handful of pieces that are serialised once and copied.
The kernel releases the interpreter lock.

Format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from cis_server.scoring.text_kernel import (
    BUFFER,
    BYTES,
    PLACES,
    Bytes,
    Integer,
    Places,
    compiled,
    inlined,
)

WHOLE: Final = -1
LEFT_OUT: Final = -2
"""In place of a score: the message is given whole, or there is none."""

ROOM: Final = 64
"""Bytes enough for what is written of a score besides its id and the pieces."""

_CHANCES = numba.types.Array(numba.uint8, 2, "C", readonly=True)

LEAD_ID: Final = 1
SCORE: Final = 2
TIER: Final = 3
PROBABILITY: Final = 12
"""Field numbers of `cis.v1.LeadScore`; a test compares them with the contract."""


@inlined
def _sized(out: NDArray[np.uint8], at: Integer, tag: Integer, size: Integer) -> Integer:
    """Write tag and size of a piece; the position after them."""
    out[at] = tag
    at += 1
    while size >= 128:
        out[at] = (size & 127) | 128
        size >>= 7
        at += 1
    out[at] = size
    return at + 1


@inlined
def _copied(
    data: Bytes, start: Integer, stop: Integer, out: NDArray[np.uint8], at: Integer
) -> Integer:
    for i in range(start, stop):
        out[at] = data[i]
        at += 1
    return at


@compiled(
    numba.int64(
        numba.int64,
        BYTES,
        PLACES,
        PLACES,
        PLACES,
        PLACES,
        PLACES,
        PLACES,
        _CHANCES,
        BYTES,
        PLACES,
        BUFFER,
    )
)
def write_scores(
    number: Integer,
    ids: Bytes,
    id_start: Places,
    id_stop: Places,
    score: Places,
    tier: Places,
    middle: Places,
    last: Places,
    chances: NDArray[np.uint8],
    pieces: Bytes,
    piece_ends: Places,
    out: NDArray[np.uint8],
) -> Integer:
    """Write n `cis.v1.LeadScore` as a repeated field.

    Args:
        number: of that field, below 16.
        ids, id_start, id_stop: the lead ids.
        score: shape (n,), 0..100; `WHOLE`: the message is the piece `middle`; `LEFT_OUT`: nothing.
        tier: shape (n,), number of the enumeration, 1..127.
        middle: shape (n,), the piece that follows the tier.
        last: shape (n,), the piece that ends the message of the probability, empty when there is
            none; the piece after it ends the score.
        chances: shape (n, 24), probability, low and high as little-endian doubles.
        pieces, piece_ends: the pieces, run together; the k-th ends where the k+1-st begins:
            `piece_ends` starts with 0.
        out: takes the bytes; `ROOM` a score, and what ids and pieces take.

    Returns:
        How many bytes were written.
    """
    at = np.int64(0)
    field = number * 8 + 2
    for row in range(len(score)):
        if score[row] == LEFT_OUT:
            continue
        piece = middle[row]
        first = piece_ends[piece]
        size = piece_ends[piece + 1] - first
        if score[row] == WHOLE:
            at = _sized(out, at, field, size)
            at = _copied(pieces, first, first + size, out, at)
            continue
        named = id_stop[row] - id_start[row]
        length = size + 2
        if named > 0:
            length += named + (2 if named < 128 else 3)
        if score[row] > 0:
            length += 2
        inside = np.int64(0)
        tail = piece_ends[last[row]]
        tail_size = piece_ends[last[row] + 1] - tail
        after = piece_ends[last[row] + 1]
        after_size = piece_ends[last[row] + 2] - after
        if tail_size > 0:
            inside = 27 + tail_size
            length += inside + (2 if inside < 128 else 3)
        length += after_size
        at = _sized(out, at, field, length)
        if named > 0:
            at = _sized(out, at, LEAD_ID * 8 + 2, named)
            at = _copied(ids, id_start[row], id_stop[row], out, at)
        if score[row] > 0:
            out[at] = SCORE * 8
            out[at + 1] = score[row]
            at += 2
        out[at] = TIER * 8
        out[at + 1] = tier[row]
        at = _copied(pieces, first, first + size, out, at + 2)
        if tail_size > 0:
            at = _sized(out, at, PROBABILITY * 8 + 2, inside)
            for k in range(3):
                out[at] = (k + 1) * 8 + 1
                at = _copied(chances[row], 8 * k, 8 * k + 8, out, at + 1)
            at = _copied(pieces, tail, tail + tail_size, out, at)
        at = _copied(pieces, after, after + after_size, out, at)
    return at
