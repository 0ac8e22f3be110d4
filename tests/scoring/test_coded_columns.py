"""A coded column is the column it was made of."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cis_server.scoring.coded_columns import CodedColumn

VALUES = st.lists(st.one_of(st.none(), st.sampled_from(["a", "A", "b"]), st.floats(-2, 2)))


@given(VALUES, st.data())
def test_same_values_in_the_same_places(values: list[Any], data: st.DataObject) -> None:
    column = CodedColumn.of(values)
    assert CodedColumn.of(column) is column
    assert list(column) == values == [column[i] for i in range(len(values))]
    assert len(set(column.values)) == len(column.values)
    rows = data.draw(st.lists(st.integers(0, max(len(values) - 1, 0)), max_size=9))
    rows = rows if values else []
    taken = column.taken(np.array(rows, dtype=np.int64))
    assert list(taken) == [values[i] for i in rows]
    assert list(column[1:3]) == values[1:3]
    assert dict(taken.counted()) == {value: list(taken).count(value) for value in taken}
    folded = column.mapped(lambda value: value.lower() if isinstance(value, str) else value)
    assert list(folded) == [value.lower() if isinstance(value, str) else value for value in values]
    assert "A" not in folded.values
