"""Text columns as numbers, so that a column looked at in many ways is read as text once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cis_server.detectors.levels import Levels, frequent_levels
from cis_server.stats.arrays import IntArray


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of text.

    Attributes:
        names: distinct values in alphabetical order.
        code: index into `names` of each row; -1 where there is no value.
    """

    names: tuple[str, ...]
    code: IntArray

    @classmethod
    def of(cls, values: pl.Series) -> Coded:
        """Code a column."""
        names = values.drop_nulls().unique().sort()
        if names.is_empty():
            return cls((), np.full(len(values), -1))
        code = values.cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(-1)
        return cls(tuple(names.to_list()), code.to_numpy())

    def rows(self, rows: IntArray) -> Coded:
        """Some rows, with the names that occur among them."""
        code = self.code[rows]
        used = np.bincount(code + 1, minlength=len(self.names) + 1)[1:] > 0
        # One place more at the end, so that -1 stays what it is.
        place = np.append(np.cumsum(used) - 1, -1)
        names = tuple(name for name, kept in zip(self.names, used, strict=True) if kept)
        return Coded(names, place[code])

    def levels(self, dimension: str, *, limit: int) -> Levels:
        """The rows as units of a dimension, what `detectors.levels.levels` makes of the text."""
        return frequent_levels(dimension, self.names, self.code, self.code >= 0, limit=limit)
