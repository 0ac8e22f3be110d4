"""The compiled counts against their plain loop, and against counts by hand."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cis_server.stats.counting import cell_counts, cell_counts_reference

_VALUES, _CELLS = 4, 3


@st.composite
def counted(draw: st.DrawFn) -> tuple[Any, ...]:
    """Arguments of `cell_counts`: units of up to four rows, each with any number of values."""
    rows = np.array(draw(st.lists(st.integers(0, 4), max_size=8)), dtype=np.int64)
    total = int(rows.sum())
    cell = draw(st.lists(st.integers(0, _CELLS - 1), min_size=total, max_size=total))
    some = st.lists(st.booleans(), min_size=total, max_size=total)
    among = draw(st.one_of(st.just([]), some))
    pair = st.tuples(st.integers(0, max(0, rows.size - 1)), st.integers(-1, _VALUES - 1))
    pairs = draw(st.lists(pair, max_size=12 if rows.size else 0))
    unit, code = np.array(pairs, dtype=np.int64).reshape(-1, 2).T.copy()
    return (
        unit,
        code,
        np.cumsum(rows) - rows,
        rows,
        np.array(cell, dtype=np.int32),
        np.array(among, dtype=np.bool_),
        _VALUES,
        _CELLS,
    )


@given(counted())
def test_compiled_counts_are_those_of_the_loop(arguments: tuple[Any, ...]) -> None:
    for array in arguments[:-2]:
        array.setflags(write=False)
    assert np.array_equal(cell_counts(*arguments), cell_counts_reference(*arguments))


def test_counts_by_hand() -> None:
    unit, code = np.array([0, 1, 1, 2]), np.array([0, 0, 1, -1])
    first, rows = np.array([0, 2, 3]), np.array([2, 1, 2])
    cell = np.array([0, 1, 1, 0, 0], dtype=np.int32)
    every = cell_counts(unit, code, first, rows, cell, np.empty(0, dtype=np.bool_), 2, 2)
    assert every.tolist() == [[1, 2], [0, 1]]
    among = np.array([True, False, True, True, True])
    assert cell_counts(unit, code, first, rows, cell, among, 2, 2).tolist() == [[1, 1], [0, 1]]
