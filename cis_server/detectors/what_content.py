"""Content of touches as dimensions.

A touch without snapshot, or whose snapshot lacks the key, is unknown in that dimension, never
false.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl

from cis_server.detectors.blocks import InsufficientData
from cis_server.detectors.levels import Levels, coded_levels, levels
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.snapshots import Snapshots
from cis_server.domain.content import PERSONALISATION
from cis_server.stats.arrays import BoolArray, IntArray
from cis_server.stats.keyed_values import Form

MOST_LINKS = 5
"""Touches with this many links or more are one group."""
_LISTS = ("subject_patterns", "pain_points_used", "angles")
_WORDS = ("cta_used", "cta_type")
_FLAGS = ("has_question", "has_attachment", *(f"has_{name}" for name in PERSONALISATION))
_LINKS = "link_count"
_LENGTHS = ("word_count", "char_count")
CONTENT_KEYS: Final[dict[str, tuple[Form, ...]]] = {
    **dict.fromkeys(_LISTS, (Form.LIST,)),
    **dict.fromkeys(_WORDS, (Form.TEXT,)),
    **dict.fromkeys(_FLAGS, (Form.FLAG,)),
    **dict.fromkeys(_LENGTHS, (Form.WHOLE,)),
    _LINKS: (Form.WHOLE, Form.NAMED),
}
"""Keys of a snapshot that are read, and what is expected of them."""
_CHARACTER_CHANNELS = frozenset({"sms"})


class TouchContent:
    """What the messages of touches say, dimension by dimension."""

    def __init__(
        self,
        touches: pl.DataFrame,
        settings: DetectorSettings,
        snapshots: Callable[[], Snapshots] | None = None,
    ) -> None:
        """Look at touches.

        Args:
            touches: of a population; the columns of content are read.
            settings: number of bins and of values looked at.
            snapshots: gives what the content of the touches says under `CONTENT_KEYS`; their
                column is read by default.
        """
        self._touches = touches
        self._settings = settings
        self._read = snapshots or (lambda: Snapshots([touches["content"]], CONTENT_KEYS))

    @cached_property
    def _snapshots(self) -> Snapshots:
        return self._read()

    def listed(self, key: str) -> Levels:
        """A key whose value is a list of words; a touch may have several."""
        return self._pairs(key, lambda value: value if isinstance(value, list) else None)

    def word(self, key: str) -> Levels:
        """A key whose value is one word; null is known to be none."""
        return self._pairs(key, lambda value: [] if value is None else [value])

    def word_type(self, words: Levels, key: str) -> Levels:
        """The type of each word of a dimension, where another key of the snapshot names it.

        Args:
            words: a dimension with at most one value a touch.
            key: of the type. A word has one type: that of the first touch that has one.
        """
        first = np.full(len(words.values), -1)
        kept = words.code >= 0
        first[words.code[kept][::-1]] = words.unit[kept][::-1]
        texts, place = self._snapshots.values(key)
        of_first = np.where(first >= 0, place[first], -1).tolist()
        types = [json.loads(texts[there]) if there >= 0 else None for there in of_first]
        values = tuple(sorted({name for name in types if name}))
        number = np.array([values.index(name) if name else -1 for name in types], dtype=np.int64)
        code = np.full(words.code.size, -1)
        if values:
            code[kept] = number[words.code[kept]]
        return Levels(
            dimension=key, values=values, unit=words.unit, code=code, known=words.known
        )  # fmt: skip

    def flag(self, key: str) -> Levels:
        """A key whose value is true or false."""
        yes, no = self._snapshots.flags(key)
        return coded_levels(key, ("false", "true"), yes.astype(np.int64), yes | no)

    def with_links(self) -> Levels:
        """Whether a message has links."""
        count, known = self._links
        return coded_levels("has_links", ("false", "true"), (count > 0).astype(np.int64), known)

    def link_count(self) -> Levels:
        """Messages by their number of links."""
        count, known = self._links
        labels = (*(str(number) for number in range(MOST_LINKS)), f"{MOST_LINKS}+")
        return coded_levels("link_count", labels, np.minimum(count, MOST_LINKS), known)

    def column(self, name: str) -> Levels:
        """A column of its own, e.g. the template."""
        return levels(name, self._touches[name], limit=self._settings.content_values)

    def length(self, channel: str) -> Lengths:
        """Length of a channel's messages in quintiles of their number.

        Raises:
            InsufficientData: fewer messages of known length than the minimum, or no conversion
                among them.
        """
        return Lengths(self._touches, self._snapshots, channel, self._settings)

    @cached_property
    def _links(self) -> tuple[IntArray, BoolArray]:
        """Links per message, and where their number is known.

        Stored links are a list that is empty where nothing was stored: only a snapshot tells that
        there were none.
        """
        stored = self._touches["links"].fill_null(0).to_numpy().astype(np.int64)
        known = (stored > 0) | self._snapshots.named(_LINKS)
        rest = np.flatnonzero(known & (stored == 0))
        if rest.size:
            told = self._snapshots.numbers(_LINKS)[rest]
            stored = stored.copy()
            stored[rest] = np.maximum(told, 0)
            known[rest] = told >= 0
        return stored, known

    def _pairs(self, key: str, read: Callable[[Any], list[Any] | None]) -> Levels:
        distinct, place = self._snapshots.values(key)
        words = [_words(text, read) for text in distinct]
        values = tuple(sorted({word for entry in words if entry for word in entry}))
        index = {word: code for code, word in enumerate(values)}
        return self._most_frequent(_spread(key, values, place, words, index))

    def _most_frequent(self, found: Levels) -> Levels:
        """The values looked at: the most frequent, ties by name."""
        counts = found.counts()
        order = np.lexsort((np.arange(counts.size), -counts))[: self._settings.content_values]
        if order.size == counts.size:
            return found
        kept = np.sort(order)
        code = np.full(counts.size, -1)
        code[kept] = np.arange(kept.size)
        return replace(
            found, values=tuple(found.values[i] for i in kept), code=code[found.code]
        )  # fmt: skip


class Lengths:
    """Length of one channel's messages, in bins of about equal number."""

    def __init__(
        self,
        touches: pl.DataFrame,
        snapshots: Snapshots,
        channel: str,
        settings: DetectorSettings,
    ) -> None:
        """Cut the lengths of a channel into bins; arguments as of `TouchContent.length`."""
        self.channel = channel
        self.unit = "characters" if channel in _CHARACTER_CHANNELS else "words"
        words, characters = _LENGTHS
        key = characters if self.unit == "characters" else words
        rows = np.flatnonzero((touches["channel"] == channel).fill_null(False).to_numpy())
        length = snapshots.numbers(key)[rows]
        # Nothing written (a call without script) is no short message.
        told = length > 0
        self._rows, self._length = rows[told], length[told]
        won = touches["success"].to_numpy()[self._rows]
        if self._rows.size < settings.minimum_lengths or not won.any():
            raise InsufficientData(
                f"{self._rows.size} {channel} messages of known length with {int(won.sum())} "
                f"conversions; {settings.minimum_lengths} with one are needed"
            )
        shares = np.linspace(0, 1, settings.quantile_bins + 1)[1:-1]
        edges = np.unique(np.quantile(self._length, shares, method="inverted_cdf"))
        code = np.searchsorted(edges, self._length, side="left")
        used, self._code = np.unique(code, return_inverse=True)
        inside = [self._length[self._code == place] for place in range(used.size)]
        self.ranges = tuple((int(bin_.min()), int(bin_.max())) for bin_ in inside)
        self.labels = tuple(f"{low}-{high}" for low, high in self.ranges)
        self._height = touches.height

    def levels(self) -> Levels:
        """The bins as a dimension ``length``, values in rising order."""
        known = np.zeros(self._height, dtype=np.bool_)
        known[self._rows] = True
        code = np.zeros(self._height, dtype=np.int64)
        code[self._rows] = self._code
        return coded_levels("length", self.labels, code, known)

    def typical(self, place: int) -> int:
        """Median length within a bin."""
        return int(np.median(self._length[self._code == place]))


def _words(text: str, read: Callable[[Any], list[Any] | None]) -> list[str] | None:
    try:
        found = read(json.loads(text))
    except json.JSONDecodeError:
        return None
    if found is None:
        return None
    named = {str(word).strip() for word in found if word is not None}
    return sorted(word for word in named if word)


def _spread(
    key: str,
    values: tuple[str, ...],
    place: IntArray,
    words: list[list[str] | None],
    index: dict[str, int],
) -> Levels:
    """Pairs of touch and value from the distinct texts and where each stands."""
    if not words:
        nobody = np.zeros(place.size, dtype=np.bool_)
        return coded_levels(key, (), np.zeros(place.size, dtype=np.int64), nobody)
    codes = np.array([index[word] for entry in words for word in entry or ()], dtype=np.int64)
    sizes = np.array([len(entry or ()) for entry in words])
    starts = np.cumsum(sizes) - sizes
    read = np.array([entry is not None for entry in words])
    known = (place >= 0) & read[place]
    unit = np.flatnonzero(known)
    size = sizes[place[unit]]
    ends = np.cumsum(size)
    within = np.arange(int(ends[-1]) if ends.size else 0) - np.repeat(ends - size, size)
    pair = np.repeat(starts[place[unit]], size) + within
    return Levels(
        dimension=key, values=values, unit=np.repeat(unit, size), code=codes[pair], known=known
    )
