"""Texts met before, so that a title or an industry is judged once and not once a lead.

A lead's title is one of a few thousand that come again and again. `DistinctTexts` numbers the
texts of a column where they lie, without making Python text of those it has met, and keeps what was
judged of each. It is bounded: when it is full it starts anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cis_server.scoring.text_kernel import intern_rows, number_distinct

LONGEST: Final = 200
"""Bytes; longer texts are judged each time they come, as they seldom come again."""
MOST_TEXTS: Final = 16_384
MOST_BYTES: Final = 1 << 20
MOST_JUDGES: Final = 32
"""Ways of judging that are remembered: profiles of different clients, say."""

MOST_ROWS: Final = 4096
"""Rows gone through at once, so few that the texts of all of them fit into an empty table."""
_UNJUDGED: Final = int(np.iinfo(np.int64).min)

Judge = Callable[[str], int]
"""What a text, not empty, counts as; any integer but the smallest."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """n texts in a buffer, as a wire message or an Arrow column holds them."""

    data: NDArray[np.uint8]
    """UTF-8 bytes, C order."""
    start: NDArray[np.int64]
    """Shape (n,), C order: where each text begins."""
    stop: NDArray[np.int64]
    """Shape (n,), C order: one past its last byte; `start` itself for empty and missing text, which
    are the same here."""

    def __len__(self) -> int:
        return len(self.start)

    def text(self, row: int) -> str:
        """The text of a row; empty when missing."""
        return self.data[self.start[row] : self.stop[row]].tobytes().decode()

    def take(self, rows: NDArray[np.int64]) -> TextColumn:
        """The column of some rows over the same bytes."""
        return TextColumn(self.data, self.start[rows], self.stop[rows])


@dataclass(frozen=True, slots=True)
class RepeatedTexts(TextColumn):
    """n texts that point to few distinct ones, as a dictionary-encoded Arrow column holds them."""

    values: TextColumn
    """The distinct ones, m of them; those that are judged."""
    places: NDArray[np.int64]
    """Shape (n,), which of them each text is."""


class Distinct(NamedTuple):
    """The distinct values of n rows, m of them, in order of arrival."""

    first: NDArray[np.int64]
    """Shape (m,): a row that holds each."""
    places: NDArray[np.int64]
    """Shape (n,): which of them each row holds."""


def distinct_integers(values: NDArray[np.int64]) -> Distinct:
    """Number the values of n rows, shape (n,), C order."""
    n = len(values)
    slots = np.full(1 << max(2 * n, 1).bit_length(), -1, dtype=np.int64)
    first, places = np.empty((2, n), dtype=np.int64)
    count = number_distinct(values, slots, first, places)
    return Distinct(first[:count], places)


def text_column_of(texts: Sequence[str]) -> TextColumn:
    """A column of texts."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    data = np.frombuffer(b"".join(encoded) or b"\0", dtype=np.uint8)
    return TextColumn(data, ends[:-1].copy(), ends[1:].copy())


def no_texts(n: int) -> TextColumn:
    """A column whose every text is missing."""
    nowhere = np.zeros(n, dtype=np.int64)
    return TextColumn(np.zeros(1, dtype=np.uint8), nowhere, nowhere)


class DistinctTexts:
    """Numbers texts and remembers what was judged of them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots = np.full(4 * MOST_TEXTS, -1, dtype=np.int64)
        self._offsets = np.zeros(MOST_TEXTS + 1, dtype=np.int64)
        self._arena = np.empty(MOST_BYTES, dtype=np.uint8)
        self._count = np.ones(1, dtype=np.int64)  # number 0 is the empty text
        self._texts: dict[int, str] = {0: ""}
        self._judged: OrderedDict[Hashable, NDArray[np.int64]] = OrderedDict()

    def judged(
        self, column: TextColumn, judge: Judge, key: Hashable, *, missing: int = 0
    ) -> NDArray[np.int64]:
        """What each text of a column counts as.

        Args:
            column: n texts.
            judge: called once per text that was not met before under this key.
            key: names the way of judging.
            missing: what empty text counts as.

        Returns:
            Shape (n,).
        """
        if isinstance(column, RepeatedTexts):
            return self.judged(column.values, judge, key, missing=missing)[column.places]
        values = np.empty(len(column), dtype=np.int64)
        with self._lock:
            for first in range(0, len(column), MOST_ROWS):
                rows = slice(first, first + MOST_ROWS)
                part = TextColumn(column.data, column.start[rows], column.stop[rows])
                self._fill(part, judge, key, missing, values[rows])
        return values

    def distinct(self, column: TextColumn) -> tuple[list[str], NDArray[np.int64]]:
        """The distinct texts of n rows.

        Args:
            column: at most `MOST_ROWS` rows. A text that is longer than most counts for itself.

        Returns:
            The texts, m of them; which of them each row holds, shape (n,).
        """
        n = len(column)
        if n > MOST_ROWS:
            raise ValueError(f"{n} rows, more than {MOST_ROWS}")
        numbers = np.empty(n, dtype=np.int64)
        with self._lock:
            if self._interned(column, numbers) < n:
                self._forget()
                self._interned(column, numbers)
            alone = np.flatnonzero(numbers < 0)
            numbers[alone] = -1 - alone
            first, places = distinct_integers(numbers)
            found = zip(numbers[first].tolist(), first.tolist(), strict=True)
            return [
                self._text(number) if number >= 0 else column.text(row) for number, row in found
            ], places

    def _text(self, number: int) -> str:
        known = self._texts.get(number)
        if known is None:
            held = self._arena[self._offsets[number] : self._offsets[number + 1]]
            known = self._texts[number] = held.tobytes().decode()
        return known

    def _fill(
        self,
        column: TextColumn,
        judge: Judge,
        key: Hashable,
        missing: int,
        values: NDArray[np.int64],
    ) -> None:
        numbers = np.empty(len(column), dtype=np.int64)
        if self._interned(column, numbers) < len(column):
            self._forget()
            self._interned(column, numbers)
        known = self._known(key, missing)
        values[:] = known[numbers]  # what was left alone, -1, reads the spare last entry
        if values.min(initial=0) == _UNJUDGED:
            for number in np.unique(numbers[values == _UNJUDGED]).tolist():
                known[number] = judge(self._text(number))
            values[:] = known[numbers]
        if numbers.min(initial=0) < 0:
            for row in np.flatnonzero(numbers < 0).tolist():
                values[row] = judge(column.text(row))

    def _interned(self, column: TextColumn, numbers: NDArray[np.int64]) -> int:
        """The first row that found no place; their number when all did."""
        done: int = intern_rows(
            column.data,
            column.start,
            column.stop,
            0,
            LONGEST,
            self._slots,
            self._offsets,
            self._arena,
            self._count,
            numbers,
        )
        return done

    def _known(self, key: Hashable, missing: int) -> NDArray[np.int64]:
        known = self._judged.get(key)
        if known is None:
            known = self._judged[key] = np.full(MOST_TEXTS + 1, _UNJUDGED, dtype=np.int64)
            known[-1] = 0
            if len(self._judged) > MOST_JUDGES:
                self._judged.popitem(last=False)
        else:
            self._judged.move_to_end(key)
        known[0] = missing
        return known

    def _forget(self) -> None:
        self._slots.fill(-1)
        self._count[0] = 1
        self._texts = {0: ""}
        self._judged.clear()
