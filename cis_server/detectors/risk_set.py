"""Who could have converted when: touches as rows, in strata of score tier and touch number.

Comparing leads as wholes mixes two things up: the tier decides what a lead gets, and a lead that
converts early stops receiving touches, so that it looks like a short, single-channel one. One row
per lead and touch (a discrete-time risk set) conditions on both: within a stratum everybody has
the same tier and has received the same number of touches without converting.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cis_server.detectors.levels import Levels
from cis_server.domain.vocabulary import Tier
from cis_server.stats.arrays import BoolArray, IntArray
from cis_server.stats.counting import cell_counts
from cis_server.stats.rates import Strata

_TIERS = tuple(tier.label for tier in Tier)
_ALL = np.empty(0, dtype=np.bool_)


@dataclass(frozen=True, kw_only=True)
class RiskSet:
    """Rows at risk; the rows of unit u are `first[u] : first[u] + rows[u]`.

    Attributes:
        first: first row of each unit. `rows`: number of rows of each unit.
        stratum: stratum of each row, 0 .. `strata` - 1.
        event: whether the conversion happened at the row.
        strata: number of strata.
    """

    first: IntArray
    rows: IntArray
    stratum: IntArray
    event: BoolArray
    strata: int

    @classmethod
    def of_touches(cls, touches: pl.DataFrame, touch_cap: int) -> Self:
        """Units are the touches themselves.

        Args:
            touches: touches of a `Population`.
            touch_cap: from this number on, touch numbers are one stratum.
        """
        units = touches.height
        stratum, strata = _strata(touches, touch_cap)
        return cls(
            first=np.arange(units),
            rows=np.ones(units, dtype=np.int64),
            stratum=stratum,
            event=touches["success"].to_numpy(),
            strata=strata,
        )

    @classmethod
    def of_leads(cls, leads: pl.DataFrame, touches: pl.DataFrame, touch_cap: int) -> Self:
        """Units are leads, rows the touches each received.

        Args:
            leads: rows of the `resolved_leads` of a `Population`, in order.
            touches: its `followed_touches`, in order; those of other leads are ignored.
            touch_cap: from this number on, touch numbers are one stratum.
        """
        unit = unit_of_rows(touches["lead"], leads["lead"])
        known = unit >= 0
        kept = touches if known.all() else touches.filter(pl.Series(known))
        unit = unit[known]
        if kept.is_empty():
            # Without any touches (leads imported alone) every lead is one row of its tier.
            kept = leads.select("tier", touch_number=pl.lit(1), success=pl.col("converted"))
            unit = np.arange(leads.height)
        rows = np.bincount(unit, minlength=leads.height).astype(np.int64)
        stratum, strata = _strata(kept, touch_cap)
        return cls(
            first=np.cumsum(rows) - rows,
            rows=rows,
            stratum=stratum,
            event=kept["success"].to_numpy(),
            strata=strata,
        )

    def counts(self, levels: Levels, among: BoolArray | None = None) -> Strata:
        """Rows and events per value and stratum for a dimension of the units.

        Args:
            levels: the dimension.
            among: rows that count, all of them by default.
        """
        table = self._table(
            levels.unit, levels.code, len(levels.values), self.first, self.rows, among
        )
        return _strata_of(table, self._known(levels.known, among))

    def counts_since(
        self, row: IntArray, unit: IntArray, code: IntArray, values: int, known: BoolArray
    ) -> Strata:
        """Rows and events per value and stratum where a unit has a value from one row on.

        Args:
            row: of each pair, the first row that counts, one of its unit.
            unit: unit of each pair.
            code: value of each pair, 0 .. values - 1; -1 is not counted.
            values: number of values.
            known: units that are compared at all, with all their rows.
        """
        left = self.first[unit] + self.rows[unit] - row
        table = self._table(np.arange(row.size), code, values, row, left, None)
        return _strata_of(table, self._known(known, None))

    def row_counts(self, row: IntArray, code: IntArray, values: int) -> Strata:
        """Rows and events per value and stratum where every row has a value of its own.

        Args:
            row: rows that are compared.
            code: value of each, 0 .. values - 1.
            values: number of values.
        """
        table = self._table(np.arange(row.size), code, values, row, np.ones_like(row), None)
        return _strata_of(table, table.sum(axis=0))

    def _table(
        self,
        unit: IntArray,
        code: IntArray,
        values: int,
        first: IntArray,
        rows: IntArray,
        among: BoolArray | None,
    ) -> IntArray:
        """Rows per value and cell, shape (values, strata, 2)."""
        # The compiled loop looks at no bounds.
        if unit.shape != code.shape or code.max(initial=-1) >= values:
            raise ValueError(f"a value of each unit in 0 .. {values - 1} is needed")
        if unit.size and not 0 <= unit.min() <= unit.max() < first.size:
            raise ValueError(f"units are 0 .. {first.size - 1}")
        counted: IntArray = cell_counts(
            np.ascontiguousarray(unit),
            np.ascontiguousarray(code),
            first,
            rows,
            self._cell,
            _ALL if among is None else among,
            values,
            2 * self.strata,
        )
        return counted.reshape(values, self.strata, 2)

    def _known(self, known: BoolArray, among: BoolArray | None) -> IntArray:
        """Rows of the known units per cell, shape (strata, 2)."""
        if among is None and known.all():
            return self._whole
        unit = np.flatnonzero(known)
        none = np.zeros_like(unit)
        table = self._table(unit, none, 1, self.first, self.rows, among)
        return np.asarray(table[0])

    @cached_property
    def _whole(self) -> IntArray:
        counted = np.bincount(self._cell, minlength=2 * self.strata)
        return np.asarray(counted.reshape(self.strata, 2))

    @cached_property
    def _cell(self) -> NDArray[np.int32]:
        """Stratum and event of each row as one number."""
        ends = self.first + self.rows
        if self.first.size and not 0 <= self.first.min() <= ends.max() <= self.stratum.size:
            raise ValueError("units reach beyond the rows")
        cell = self.stratum.astype(np.int32) * 2 + self.event
        if cell.size and not 0 <= cell.min() <= cell.max() < 2 * self.strata:
            raise ValueError(f"strata are 0 .. {self.strata - 1}")
        return cell.astype(np.int32)


def unit_of_rows(lead: pl.Series, leads: pl.Series) -> IntArray:
    """Of each row, the place of its lead; -1 where there is none.

    Args:
        lead: of each row; whole numbers from 0, as of `Population.leads`.
        leads: distinct leads.
    """
    asked, known = lead.to_numpy(), leads.to_numpy()
    size = 1 + max(int(asked.max(initial=0)), int(known.max(initial=0)))
    place = np.full(size, -1, dtype=np.int64)
    place[known] = np.arange(known.size)
    return np.asarray(place[asked])


def _strata_of(table: IntArray, whole: IntArray) -> Strata:
    return Strata(
        n=table.sum(axis=2),
        k=np.ascontiguousarray(table[:, :, 1]),
        total_n=whole.sum(axis=1),
        total_k=np.ascontiguousarray(whole[:, 1]),
    )


def _strata(touches: pl.DataFrame, touch_cap: int) -> tuple[IntArray, int]:
    tier = touches["tier"].cast(pl.Enum(_TIERS), strict=False).to_physical().fill_null(len(_TIERS))
    number = np.clip(touches["touch_number"].to_numpy(), 1, touch_cap) - 1
    stratum = tier.to_numpy().astype(np.int64) * touch_cap + number
    return stratum, (len(_TIERS) + 1) * touch_cap
