"""Values of a dimension as whole numbers per unit of analysis.

A unit is a lead or a touch. One value a unit (industry, hour) and several (technologies) have the
same form: pairs of unit and value, so that every count is one `bincount`.
"""

from __future__ import annotations

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
    known = values.is_not_null().to_numpy()
    unit = np.flatnonzero(known)
    kept, code = _encoded(values.drop_nulls(), limit)
    return Levels(dimension=dimension, values=kept, unit=unit, code=code, known=known)


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
    kept, code = _encoded(pairs["value"], limit)
    return Levels(
        dimension=dimension,
        values=kept,
        unit=pairs["unit"].to_numpy().astype(np.int64),
        code=code,
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


def _encoded(values: pl.Series, limit: int) -> tuple[tuple[str, ...], IntArray]:
    if values.is_empty():
        return (), np.empty(0, dtype=np.int64)
    frequency = (
        pl.DataFrame({"value": values})
        .group_by("value")
        .len()
        .sort(["len", "value"], descending=[True, False])
    )
    kept = sorted(frequency["value"].head(limit).to_list())
    code = (
        values.replace_strict(
            pl.Series(kept, dtype=pl.String),
            pl.Series(np.arange(len(kept))),
            default=-1,
            return_dtype=pl.Int64,
        )
        .to_numpy()
        .astype(np.int64)
    )
    return tuple(kept), code
