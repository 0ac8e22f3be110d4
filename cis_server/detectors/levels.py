"""Values of a dimension as whole numbers per unit of analysis.

A unit is a lead or a touch. One value a unit (industry, hour) and several (technologies) have the
same form: pairs of unit and value, so that every count is one `bincount`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cis_server.stats.arrays import BoolArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Which unit has which value of one dimension.

    Attributes:
        dimension: name of the dimension.
        values: the values looked at, in alphabetical or natural order.
        unit: unit of each pair, shape (pairs,).
        code: index into `values` of each pair, shape (pairs,); -1 is a value too rare to look at.
        known: per unit, whether the dimension is known; the others take part in nothing.
    """

    dimension: str
    values: tuple[str, ...]
    unit: IntArray
    code: IntArray
    known: BoolArray

    @property
    def coverage(self) -> float:
        """Share of the units for which the dimension is known; 0 without units."""
        return float(self.known.mean()) if self.known.size else 0.0

    def counts(self, of: BoolArray | None = None) -> IntArray:
        """Units per value, shape (values,); only those of which `of` holds, when given."""
        kept = self.code >= 0
        if of is not None:
            kept = kept & of[self.unit]
        return np.bincount(self.code[kept], minlength=len(self.values)).astype(np.int64)


def folded(column: str) -> pl.Expr:
    """Text without surrounding space and case; empty text is missing."""
    text = pl.col(column).str.strip_chars().str.to_lowercase()
    return pl.when(text.str.len_bytes() > 0).then(text)


def levels(dimension: str, values: pl.Series, *, limit: int) -> Levels:
    """Levels of a dimension with one value a unit.

    Args:
        dimension: its name.
        values: text per unit, null where unknown.
        limit: at most this many values are looked at: the most frequent, ties by name. The choice
            rests on frequency alone, so it does not bias what is found.
    """
    names, code = _coded(values)
    return frequent_levels(dimension, names.to_list(), code, code >= 0, limit=limit)


def folded_levels(dimension: str, values: pl.Series, *, limit: int) -> Levels:
    """Levels of `folded` text; each different text is folded once.

    Args:
        dimension: its name.
        values: text per unit, null where unknown.
        limit: as in `levels`.
    """
    written, code = _coded(values)
    names, of_written = _coded(written.to_frame("text").select(folded("text")).to_series())
    # One place more at the end, so that -1 stays what it is.
    code = np.append(of_written, -1)[code]
    return frequent_levels(dimension, names.to_list(), code, code >= 0, limit=limit)


def frequent_levels(
    dimension: str, names: Sequence[str], code: IntArray, known: BoolArray, *, limit: int
) -> Levels:
    """Levels of a dimension with one value a unit, the value given as a number.

    Args:
        dimension: its name.
        names: distinct values, in any order.
        code: per unit, index into `names`; read where known.
        known: per unit, whether its value is known.
        limit: as in `levels`.
    """
    unit = np.flatnonzero(known)
    own = code[unit]
    kept = _most_frequent(names, own, limit)
    rank = np.full(len(names), -1, dtype=np.int64)
    rank[kept] = np.arange(len(kept))
    return Levels(
        dimension=dimension,
        values=tuple(names[place] for place in kept),
        unit=unit,
        code=rank[own],
        known=known,
    )


def multi_levels(dimension: str, lists: pl.Series, *, limit: int) -> Levels:
    """Levels of a dimension with any number of values a unit, e.g. technologies.

    Args:
        dimension: its name.
        lists: a list of text per unit, null where unknown; repeated values count once.
        limit: as in `levels`.
    """
    known = lists.is_not_null().to_numpy()
    text = pl.col("value").str.strip_chars().str.to_lowercase()
    pairs = (
        pl.DataFrame({"unit": np.arange(len(lists)), "value": lists})
        .explode("value", empty_as_null=True)
        .with_columns(value=pl.when(text.str.len_bytes() > 0).then(text))
        .drop_nulls()
        .unique()
        .sort("unit", "value")
    )
    names, code = _coded(pairs["value"])
    kept = _most_frequent(names.to_list(), code, limit)
    rank = np.full(len(names), -1, dtype=np.int64)
    rank[kept] = np.arange(len(kept))
    return Levels(
        dimension=dimension,
        values=tuple(names.gather(kept).to_list()),
        unit=pairs["unit"].to_numpy().astype(np.int64),
        code=rank[code],
        known=known,
    )


def coded_levels(
    dimension: str, values: tuple[str, ...], code: IntArray, known: BoolArray
) -> Levels:
    """Levels from numbers that are codes already, e.g. weekdays; `code` is read where known."""
    unit = np.flatnonzero(known)
    return Levels(
        dimension=dimension, values=values, unit=unit, code=code[unit].astype(np.int64), known=known
    )


def banded(
    dimension: str, numbers: pl.Series, edges: tuple[float, ...], labels: tuple[str, ...]
) -> Levels:
    """Levels of a number by fixed bands: band i is edges[i-1] <= x < edges[i], the ends open.

    Args:
        dimension: its name.
        numbers: per unit, null where unknown.
        edges: rising inner edges.
        labels: one more than edges, in order.
    """
    known = numbers.is_not_null().to_numpy()
    code = np.searchsorted(
        np.asarray(edges), numbers.fill_null(0).to_numpy().astype(np.float64), side="right"
    )
    return coded_levels(dimension, labels, code.astype(np.int64), known)


def _coded(values: pl.Series) -> tuple[pl.Series, IntArray]:
    """The different texts of a column, and which of them each row has; -1 where there is none."""
    names = values.drop_nulls().unique()
    if names.is_empty():
        return names.cast(pl.String), np.full(len(values), -1)
    # The numbers of an enumeration are unsigned.
    number = values.cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(-1)
    return names, number.to_numpy()


def _most_frequent(names: Sequence[str], code: IntArray, limit: int) -> list[int]:
    """Places of the values looked at, in alphabetical order."""
    count = np.bincount(code, minlength=len(names))
    occurring = np.flatnonzero(count)
    if occurring.size > limit:
        # Names are compared among those alone that may be kept.
        least = np.partition(count[occurring], -limit)[-limit]
        occurring = occurring[count[occurring] >= least]
    places = sorted(occurring.tolist(), key=lambda place: (-count[place], names[place]))
    return sorted(places[:limit], key=lambda place: names[place])
