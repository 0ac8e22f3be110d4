"""Counts of values within cells over rows that belong to units, compiled.

Every comparison of the detectors begins with them. As sums over arrays they take an array as long
as the rows for each step of the way (which rows, of which unit, in which cell); as a loop they take
none. The kernel is compiled from the plain Python function of the same name with `_reference`,
which a test compares it with; counts are whole numbers, so nothing depends on an order.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from cis_server.stats.arrays import BoolArray, IntArray


def cell_counts_reference(
    unit: IntArray,
    code: IntArray,
    first: IntArray,
    rows: IntArray,
    cell: NDArray[np.int32],
    among: BoolArray,
    values: int,
    cells: int,
) -> IntArray:
    """Rows per value and cell, shape (values, cells). Places outside of an array are not noticed.

    Args:
        unit: (pairs,) unit of each pair of unit and value.
        code: (pairs,) value of each pair, less than `values`; negative ones are not counted.
        first: (units,) first row of each unit.
        rows: (units,) number of rows of each unit.
        cell: (rows in all,) cell of each row, 0 .. cells - 1.
        among: (rows in all,) rows that count; empty for all of them.
        values: number of values.
        cells: number of cells.
    """
    result = np.zeros((values, cells), dtype=np.int64)
    every = len(among) == 0
    for pair in range(len(unit)):
        value = code[pair]
        if value >= 0:
            start = first[unit[pair]]
            for row in range(start, start + rows[unit[pair]]):
                if every or among[row]:
                    result[value, cell[row]] += 1
    return result


def _read(kind: numba.types.Type) -> numba.types.Array:
    """One dimension in one piece, of which nothing is written, as columns of frames are."""
    return numba.types.Array(kind, 1, "C", readonly=True)


_INT, _INTS = numba.types.int64, _read(numba.types.int64)
_CELLS, _AMONG = _read(numba.types.int32), _read(numba.types.boolean)

cell_counts = numba.njit(
    numba.types.Array(_INT, 2, "C")(_INTS, _INTS, _INTS, _INTS, _CELLS, _AMONG, _INT, _INT),
    cache=True,
)(cell_counts_reference)
