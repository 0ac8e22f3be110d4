"""Columns as numbers say what the text says."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from cis_server.detectors.coded import Coded
from cis_server.detectors.levels import Levels, frequent_levels, levels

_TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["b", "a", "ä", "Z", "a→b", ""])))


def text_of(coded: Coded) -> list[str | None]:
    return [coded.names[code] if code >= 0 else None for code in coded.code.tolist()]


def same(one: Levels, other: Levels) -> bool:
    return (one.dimension, one.values) == (other.dimension, other.values) and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("unit", "code", "known")
    )


@given(_TEXTS, st.integers(1, 6))
def test_levels_are_those_of_the_text(texts: list[str | None], limit: int) -> None:
    values = pl.Series(texts, dtype=pl.String)
    coded = Coded.of(values)
    assert text_of(coded) == texts
    assert list(coded.names) == sorted({text for text in texts if text is not None})
    assert same(coded.levels("d", limit=limit), levels("d", values, limit=limit))


@given(_TEXTS.filter(bool), st.data())
def test_names_in_any_order_give_the_same_levels(
    texts: list[str | None], data: st.DataObject
) -> None:
    names = data.draw(st.permutations(["b", "a", "ä", "Z", "a→b", "", "never"]))
    code = np.array([names.index(text) if text is not None else -1 for text in texts])
    found = frequent_levels("d", names, code, code >= 0, limit=3)
    assert same(found, levels("d", pl.Series(texts, dtype=pl.String), limit=3))
