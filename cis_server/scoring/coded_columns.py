"""A column by its distinct values: what is said of a value is worked out once, not once a lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from cis_server.stats.arrays import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class CodedColumn(Sequence[Any]):
    """n values, each as the number of a distinct one.

    Attributes:
        values: distinct values; some may be nobody's after `taken`.
        codes: (n,) number of each value in them.
    """

    values: tuple[Any, ...]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, values: Sequence[Any]) -> CodedColumn:
        """The same values coded; equal ones are one, that which comes first."""
        if isinstance(values, CodedColumn):
            return values
        numbers: dict[Any, int] = {}
        codes = [numbers.setdefault(value, len(numbers)) for value in values]
        return cls(tuple(numbers), np.array(codes, dtype=np.int32))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, item: int) -> Any: ...

    @overload
    def __getitem__(self, item: slice) -> CodedColumn: ...

    def __getitem__(self, item: int | slice) -> Any:
        if isinstance(item, slice):
            return CodedColumn(self.values, self.codes[item])
        return self.values[self.codes[item]]

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.codes.tolist())

    def taken(self, rows: IntArray) -> CodedColumn:
        """The given rows in that order."""
        return CodedColumn(self.values, self.codes[rows])

    def mapped(self, function: Callable[[Any], Any]) -> CodedColumn:
        """`function` of every value; values it makes equal become one."""
        made = CodedColumn.of([function(value) for value in self.values])
        return CodedColumn(made.values, made.codes[self.codes])

    def counts(self) -> IntArray:
        """How often each of `values` stands in the column."""
        return np.bincount(self.codes, minlength=len(self.values))

    def counted(self) -> list[tuple[Any, int]]:
        """(value, how often) of those that stand in the column."""
        pairs = zip(self.values, self.counts().tolist(), strict=True)
        return [(value, count) for value, count in pairs if count]
