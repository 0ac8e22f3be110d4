"""Numbering what comes again: the texts and integers of a column."""

from __future__ import annotations

import numpy as np
import pytest
from columns_of_leads import text_column
from hypothesis import given
from hypothesis import strategies as st

from cis_server.scoring import distinct_texts
from cis_server.scoring.contacts import is_filled
from cis_server.scoring.distinct_texts import (
    LONGEST,
    MOST_ROWS,
    DistinctTexts,
    distinct_integers,
    no_texts,
)
from cis_server.scoring.text_kernel import ASK, filled_rows

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)


@given(st.lists(INTEGERS, max_size=40))
def test_integers_are_numbered_as_they_arrive(values: list[int]) -> None:
    found = distinct_integers(np.array(values, dtype=np.int64))
    expected = list(dict.fromkeys(values))
    assert [values[row] for row in found.first] == expected
    assert found.places.tolist() == [expected.index(value) for value in values]


@given(st.lists(st.sampled_from(("", "ceo", "größe", "x" * LONGEST, "y" * (LONGEST + 1)))))
def test_texts_are_those_of_the_rows(texts: list[str]) -> None:
    table = DistinctTexts()
    for _ in range(2):
        found, places = table.distinct(text_column(texts))
        assert [found[place] for place in places] == texts
        kept = [text for text in found if len(text) <= LONGEST]
        assert len(kept) == len(set(kept))


def test_a_full_table_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct_texts, "MOST_TEXTS", 8)
    table = DistinctTexts()
    for first in range(0, 30, 5):
        texts = [f"title {first + i}" for i in range(5)]
        column = text_column(texts)
        assert [table.distinct(column)[0][i] for i in table.distinct(column)[1]] == texts
        lengths = table.judged(column, len, "length")
        assert lengths.tolist() == [len(text) for text in texts]


def test_a_column_that_may_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="rows"):
        DistinctTexts().distinct(no_texts(MOST_ROWS + 1))


@given(st.lists(st.text("a \t\x1c\u3000ü\xa0", max_size=4)))
def test_filled_text_holds_more_than_space(texts: list[str]) -> None:
    column = text_column(texts)
    out = np.empty(len(texts), dtype=np.int64)
    filled_rows(column.data, column.start, column.stop, out)
    for text, told in zip(texts, out.tolist(), strict=True):
        assert told == is_filled(text) or (told == ASK and not text.isascii())
