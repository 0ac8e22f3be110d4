"""Splits of leads by time: a model is judged on leads contacted after those it was fitted on.

Leads of one company share their fate, so a company never stands on both sides of a split. A
company that was contacted before and after the cut keeps one side, drawn once per company; its
leads on the other side are left out. Drawing keeps both sides unbiased in company size, which
keeping the larger side would not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cis_server.stats.arrays import BoolArray, IntArray


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Row numbers on either side of a cut, ascending.

    Attributes:
        before: fitted on.
        after: judged on.
        left_out: rows dropped because their company stands on the other side.
    """

    before: IntArray
    after: IntArray
    left_out: int


class TimeOrder:
    """Rows in the order of time, ready to be cut.

    Args:
        groups: (n,) company of each row, in the order of time; None where it is not known, such a
            row is on its own.
        generator: draws the side of companies that straddle a cut.
    """

    def __init__(self, groups: Sequence[str | None], generator: np.random.Generator) -> None:
        codes = {name: code for code, name in enumerate(sorted({g for g in groups if g}))}
        alone = iter(range(len(codes), len(codes) + len(groups)))
        self.units: IntArray = np.array(
            [codes[group] if group else next(alone) for group in groups], dtype=np.int64
        )
        """(n,) number of the unit each row belongs to."""
        self._goes_before: BoolArray = generator.random(len(codes) + len(groups)) < 0.5

    def __len__(self) -> int:
        return len(self.units)

    def split(self, cut: int, end: int | None = None) -> TimeSplit:
        """Rows before ``cut`` against those from ``cut`` up to ``end`` (all the rest)."""
        end = len(self) if end is None else end
        before, after = np.arange(cut), np.arange(cut, end)
        size = len(self._goes_before)
        seen_before = np.zeros(size, dtype=np.bool_)
        seen_after = np.zeros(size, dtype=np.bool_)
        seen_before[self.units[before]] = True
        seen_after[self.units[after]] = True
        both = seen_before & seen_after
        keep_before = ~(both & ~self._goes_before)[self.units[before]]
        keep_after = ~(both & self._goes_before)[self.units[after]]
        left_out = int((~keep_before).sum() + (~keep_after).sum())
        return TimeSplit(before[keep_before], after[keep_after], left_out)

    def forward_chaining(self, folds: int, first: float = 0.4) -> Iterator[TimeSplit]:
        """Growing pasts, each with the stretch that follows it; the stretches are equally long.

        Args:
            folds: how many.
            first: share of the rows in the first past.
        """
        cuts = np.linspace(first * len(self), len(self), folds + 1).round().astype(np.int64)
        for cut, end in itertools.pairwise(cuts.tolist()):
            yield self.split(cut, end)

    def restricted(self, rows: IntArray) -> TimeOrder:
        """The same companies on some of the rows; companies keep the side drawn for them."""
        part = object.__new__(TimeOrder)
        part.units = self.units[rows]
        part._goes_before = self._goes_before
        return part
