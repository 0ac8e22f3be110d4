"""What content snapshots say under some keys, read in one pass over their text.

A snapshot is JSON as Postgres writes it. Half a million of them differ in nearly every row, but
the value of one key takes few forms: touches are told which of them they have, and only the forms
are decoded. A touch without snapshot, or whose snapshot lacks the key, has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cis_server.stats.arrays import BoolArray, IntArray
from cis_server.stats.keyed_values import (
    FALSE,
    FALSE_UNSPACED,
    TRUE,
    TRUE_UNSPACED,
    Form,
    Keys,
    keyed_values,
)

_ROWS = 65_536
"""Snapshots whose text is held in one piece at a time."""


class Snapshots:
    """What n snapshots say under the keys that were looked for."""

    def __init__(self, content: Iterable[pl.Series], keys: Mapping[str, tuple[Form, ...]]) -> None:
        """Read snapshots.

        Args:
            content: their text, null where there is none, in pieces.
            keys: what is looked for under which key; a text or a list, not both.
        """
        wanted = [(key, form) for key, forms in keys.items() for form in forms]
        sought = Keys.of(wanted)
        self._texts: dict[str, dict[str, int]] = {
            key: {} for key, form in wanted if form in (Form.TEXT, Form.LIST)
        }
        pieces = [self._read(piece, sought, wanted) for piece in _pieces(content)]
        every = np.concatenate([np.empty((len(wanted), 0), dtype=np.int32), *pieces], axis=1)
        self._found = dict(zip(wanted, every, strict=True))

    def values(self, key: str) -> tuple[tuple[str, ...], IntArray]:
        """The texts or lists under a key.

        Returns:
            The different ones, as JSON, and (n,) which of them a snapshot has; -1 for none.
        """
        form = Form.TEXT if (key, Form.TEXT) in self._found else Form.LIST
        number: IntArray = self._found[key, form].astype(np.int64)
        return tuple(self._texts[key]), number

    def numbers(self, key: str) -> IntArray:
        """(n,) whole numbers under a key; -1 for none."""
        number: IntArray = self._found[key, Form.WHOLE].astype(np.int64)
        return number

    def flags(self, key: str) -> tuple[BoolArray, BoolArray]:
        """(n,) where true stands under a key, and where false does."""
        bits = self._found[key, Form.FLAG]
        yes, no = (bits & TRUE) > 0, (bits & FALSE) > 0
        if yes.any() or no.any():
            return yes, no
        # Written without spaces, or not at all.
        return (bits & TRUE_UNSPACED) > 0, (bits & FALSE_UNSPACED) > 0

    def named(self, key: str) -> BoolArray:
        """(n,) where a key occurs, whatever stands under it."""
        occurs: BoolArray = self._found[key, Form.NAMED] > 0
        return occurs

    def _read(
        self, piece: pl.Series, sought: Keys, wanted: list[tuple[str, Form]]
    ) -> NDArray[np.int32]:
        data, start = _text_of(piece)
        found, spans, counts = keyed_values(
            data, start, sought.data, sought.start, sought.form, sought.chain
        )
        for place, (key, _) in enumerate(wanted):
            if key in self._texts and counts[place]:
                known = self._texts[key]
                texts = (
                    data[begin:end].tobytes().decode()
                    for begin, end in spans[place, : counts[place]].tolist()
                )
                # One place more at the end, so that -1 stays what it is.
                number = np.array([*(known.setdefault(t, len(known)) for t in texts), -1])
                found[place] = number[found[place]]
        narrow: NDArray[np.int32] = found.astype(np.int32)
        return narrow


def _pieces(content: Iterable[pl.Series]) -> Iterator[pl.Series]:
    for piece in content:
        yield from (piece.slice(begin, _ROWS) for begin in range(0, len(piece), _ROWS))


def _text_of(content: pl.Series) -> tuple[NDArray[np.uint8], IntArray]:
    """The bytes of all texts, and (n + 1,) where each begins and the last ends."""
    array = content.cast(pl.String).fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    start = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    if data is None or not data.size:
        return np.zeros(1, dtype=np.uint8), start
    return np.frombuffer(data, dtype=np.uint8), start
