"""Who could have converted when: touches as rows, in strata of score tier and touch number.

Comparing leads as wholes mixes two things up: the tier decides what a lead gets, and a lead that
converts early stops receiving touches, so that it looks like a short, single-channel one. One row
per lead and touch (a discrete-time risk set) conditions on both: within a stratum everybody has
the same tier and has received the same number of touches without converting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from cis_server.detectors.levels import Levels
from cis_server.domain.vocabulary import Tier
from cis_server.stats.arrays import BoolArray, IntArray
from cis_server.stats.rates import Strata

_TIERS = tuple(tier.label for tier in Tier)


@dataclass(frozen=True, slots=True, kw_only=True)
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
        place = leads.select("lead").with_row_index("unit")
        kept = touches.join(place, on="lead", how="inner", maintain_order="left")
        if kept.is_empty():
            # Without any touches (leads imported alone) every lead is one row of its tier.
            kept = leads.select(
                "tier",
                touch_number=pl.lit(1),
                success=pl.col("converted"),
                unit=pl.int_range(pl.len()),
            )
        unit = kept["unit"].to_numpy()
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
        kept = levels.code >= 0
        row, code = self._spread(levels.unit[kept], levels.code[kept])
        known, _ = self._spread(np.flatnonzero(levels.known), None)
        if among is not None:
            row, code, known = row[among[row]], code[among[row]], known[among[known]]
        return self.row_counts(row, code, known, len(levels.values))

    def row_counts(self, row: IntArray, code: IntArray, known: IntArray, values: int) -> Strata:
        """Rows and events per value and stratum for values given row by row.

        Args:
            row: rows that have a value, shape (pairs,); a row may have several.
            code: the value of each pair, 0 .. values - 1.
            known: rows whose value is known at all.
            values: number of values.
        """
        cell = code * self.strata + self.stratum[row]
        shape = (values, self.strata)
        size = values * self.strata
        return Strata(
            n=np.bincount(cell, minlength=size).reshape(shape),
            k=np.bincount(cell[self.event[row]], minlength=size).reshape(shape),
            total_n=np.bincount(self.stratum[known], minlength=self.strata),
            total_k=np.bincount(self.stratum[known[self.event[known]]], minlength=self.strata),
        )

    def _spread(self, unit: IntArray, code: IntArray | None) -> tuple[IntArray, IntArray]:
        rows = self.rows[unit]
        ends = np.cumsum(rows)
        within = np.arange(int(ends[-1]) if ends.size else 0) - np.repeat(ends - rows, rows)
        row = np.repeat(self.first[unit], rows) + within
        return row, np.repeat(code, rows) if code is not None else row


def _strata(touches: pl.DataFrame, touch_cap: int) -> tuple[IntArray, int]:
    tier = touches["tier"].replace_strict(
        _TIERS, range(len(_TIERS)), default=len(_TIERS), return_dtype=pl.Int64
    )
    number = np.clip(touches["touch_number"].to_numpy(), 1, touch_cap) - 1
    stratum = tier.to_numpy() * touch_cap + number
    return stratum.astype(np.int64), (len(_TIERS) + 1) * touch_cap
