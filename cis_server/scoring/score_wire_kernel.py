"""Scores written in protobuf's wire format, compiled: both views of a batch.

The scores of a batch differ in numbers and in which reasons are the strongest; everything else of a
message (why it is suppressed, the words of a reason, what a feature does) is a piece that is
serialised once for all that share it, and copied. The kernels release the interpreter lock.

Format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from cis_server.scoring.reasons import MAX_REASONS, NO_RANK
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
COMPONENTS: Final = 4
CONTRIBUTIONS: Final = 5
WEIGHTED_SUM: Final = 6
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


FULL_ROOM: Final = 256 + 2 * MAX_REASONS * 9
"""Bytes enough for what is written of a score in full besides its id and the pieces."""

_FLOATS = numba.types.Array(numba.float64, 1, "C", readonly=True)
_FLOAT_ROWS = numba.types.Array(numba.float64, 2, "C", readonly=True)
_ROWS = numba.types.Array(numba.int64, 2, "C", readonly=True)
_RANKS = numba.types.Array(numba.uint8, 4, "C", readonly=True)
_FACTORS = numba.types.Array(numba.int64, 4, "C", readonly=True)


@inlined
def _piece(pieces: Bytes, ends: Places, piece: Integer, out: NDArray[np.uint8], at: Integer) -> Any:
    return _copied(pieces, ends[piece], ends[piece + 1], out, at)


@inlined
def _double(
    field: Integer, data: NDArray[np.uint8], place: Integer, out: NDArray[np.uint8], at: Integer
) -> Integer:
    out[at] = field * 8 + 1
    return _copied(data, 8 * place, 8 * place + 8, out, at + 1)


@inlined
def _closed(out: NDArray[np.uint8], begin: Integer, at: Integer) -> Integer:
    """Write the size of what stands from `begin` on into the two bytes before; its end then.

    Nearly all sizes take two bytes; what has another size is moved.
    """
    size = at - begin
    width = 1
    while size >> (7 * width) > 0:
        width += 1
    shift = width - 2
    if shift < 0:
        for i in range(begin, at):
            out[i + shift] = out[i]
    elif shift > 0:
        for i in range(at - 1, begin - 1, -1):
            out[i + shift] = out[i]
    for i in range(width):
        more = 128 if i + 1 < width else 0
        out[begin - 2 + i] = (size >> (7 * i)) & 127 | more
    return at + shift


@inlined
def _reasons(
    cells: Places,
    ranks: NDArray[np.uint8],
    factors: NDArray[np.int64],
    points: NDArray[np.uint8],
    own: Places,
    pieces: Bytes,
    ends: Places,
    out: NDArray[np.uint8],
    at: Integer,
) -> Integer:
    """The strongest factors of all components on one side, strongest first."""
    taken = np.zeros(5, dtype=np.int64)
    for _ in range(MAX_REASONS):
        best, of = np.int64(NO_RANK), 0
        for component in range(len(cells)):
            if taken[component] < MAX_REASONS:
                rank = np.int64(ranks[cells[component], taken[component]])
                if rank < best:
                    best, of = rank, component
        if best == NO_RANK:
            break
        taken[of] += 1
        source, front = factors[best, 0], factors[best, 1]
        if source > 0:
            front = own[source]
        at = _piece(pieces, ends, front, out, at)
        at = _double(2, points[best], 0, out, at)
        at = _piece(pieces, ends, front + 1, out, at)
    return at


@compiled(
    numba.int64(
        numba.int64,
        BYTES,
        PLACES,
        PLACES,
        PLACES,
        PLACES,
        _FLOAT_ROWS,
        _CHANCES,
        _ROWS,
        PLACES,
        _ROWS,
        _RANKS,
        _FACTORS,
        _RANKS,
        _ROWS,
        PLACES,
        _FLOAT_ROWS,
        _CHANCES,
        _ROWS,
        _FLOATS,
        PLACES,
        BYTES,
        PLACES,
        BUFFER,
    )
)
def write_full_scores(
    number: Integer,
    ids: Bytes,
    id_start: Places,
    id_stop: Places,
    score: Places,
    tier: Places,
    arithmetic: NDArray[np.float64],
    arithmetic_bytes: NDArray[np.uint8],
    fixed: NDArray[np.int64],
    group: Places,
    cells: NDArray[np.int64],
    ranks: NDArray[np.uint8],
    factors: NDArray[np.int64],
    points: NDArray[np.uint8],
    own: NDArray[np.int64],
    model: Places,
    chances: NDArray[np.float64],
    chance_bytes: NDArray[np.uint8],
    features: NDArray[np.int64],
    weakness: NDArray[np.float64],
    feature_pieces: Places,
    pieces: Bytes,
    piece_ends: Places,
    out: NDArray[np.uint8],
) -> Integer:
    """Write n `cis.v1.LeadScore`, with everything that explains them, as a repeated field.

    Args:
        number: of that field, below 16.
        ids, id_start, id_stop: the lead ids.
        score: shape (n,), 0..100; `WHOLE`: the message is the first piece of `fixed`; `LEFT_OUT`:
            nothing.
        tier: shape (n,), number of the enumeration, 1..127.
        arithmetic: shape (n, `ARITHMETIC_WIDTH`): points, weighted parts and their sum come first.
        arithmetic_bytes: the same as little-endian bytes, shape (n, 8 `ARITHMETIC_WIDTH`).
        fixed: shape (n, 4): pieces that follow the weighted sum, three of them, and one that ends
            the message.
        group: shape (n,): what each was scored with, of G.
        cells: shape (n, 5): the input of each component, of C.
        ranks: shape (2, G, C, `MAX_REASONS`): ranks of the factors for, and against, of an input,
            ascending, then `NO_RANK`.
        factors: shape (2, G, R, 2): of the factor of a rank, which of `own` it is, 0 for none; and
            its piece before the points, which is followed by the one after them.
        points: shape (2, G, R, 8): its points as bytes.
        own: shape (n, K): such pieces of factors whose words are the lead's own.
        model: shape (n,), the piece that follows the probabilities; -1: there are none.
        chances: shape (n, 3): probability, low and high.
        chance_bytes: the same as bytes, shape (n, 24).
        features: shape (n, F): entries, of E, of the features in the order of the model; -1: none.
        weakness: shape (E,): the least comes first.
        feature_pieces: shape (E,): what is written of it.
        pieces, piece_ends: the pieces, run together; the k-th ends where the k+1-st begins:
            `piece_ends` starts with 0.
        out: takes the bytes; `FULL_ROOM` a score, and what ids and pieces take.

    Returns:
        How many bytes were written.
    """
    at = np.int64(0)
    order = np.empty(features.shape[1], dtype=np.int64)
    for row in range(len(score)):
        if score[row] == LEFT_OUT:
            continue
        if score[row] == WHOLE:
            first, last = piece_ends[fixed[row, 0]], piece_ends[fixed[row, 0] + 1]
            at = _sized(out, at, number * 8 + 2, last - first)
            at = _copied(pieces, first, last, out, at)
            continue
        out[at] = number * 8 + 2
        begin = at + 3
        at = begin
        named = id_stop[row] - id_start[row]
        if named > 0:
            at = _sized(out, at, LEAD_ID * 8 + 2, named)
            at = _copied(ids, id_start[row], id_stop[row], out, at)
        if score[row] > 0:
            out[at] = SCORE * 8
            out[at + 1] = score[row]
            at += 2
        out[at] = TIER * 8
        out[at + 1] = tier[row]
        at += 2
        for part in range(2):
            size = 0
            for component in range(5):
                size += 9 * (arithmetic[row, 5 * part + component] != 0.0)
            at = _sized(out, at, (COMPONENTS + part) * 8 + 2, size)
            for component in range(5):
                place = 5 * part + component
                if arithmetic[row, place] != 0.0:
                    at = _double(component + 1, arithmetic_bytes[row], place, out, at)
        if arithmetic[row, 10] != 0.0:
            at = _double(WEIGHTED_SUM, arithmetic_bytes[row], 10, out, at)
        for place in range(3):
            at = _piece(pieces, piece_ends, fixed[row, place], out, at)
        if model[row] >= 0:
            out[at] = PROBABILITY * 8 + 2
            inside = at + 3
            at = inside
            for k in range(3):
                if chances[row, k] != 0.0:
                    at = _double(k + 1, chance_bytes[row], k, out, at)
            at = _piece(pieces, piece_ends, model[row], out, at)
            many = 0
            for place in range(features.shape[1]):
                entry = features[row, place]
                if entry < 0 or weakness[entry] == 0.0:
                    continue
                k = many  # equals stay in the order of the model
                while k > 0 and weakness[order[k - 1]] > weakness[entry]:
                    order[k] = order[k - 1]
                    k -= 1
                order[k] = entry
                many += 1
            for k in range(many):
                at = _piece(pieces, piece_ends, feature_pieces[order[k]], out, at)
            at = _closed(out, inside, at)
        for side in range(2):
            at = _reasons(
                cells[row],
                ranks[side, group[row]],
                factors[side, group[row]],
                points[side, group[row]],
                own[row],
                pieces,
                piece_ends,
                out,
                at,
            )
        at = _piece(pieces, piece_ends, fixed[row, 3], out, at)
        at = _closed(out, begin, at)
    return at
