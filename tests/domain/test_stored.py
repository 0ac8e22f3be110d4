"""Stored JSON: what may be null, and what must not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Stored):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Stored):
    words: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part]
    verdict: Verdict
    part: Part | None = None
    shares: tuple[float | None, ...] = ()
    maybe: tuple[str, ...] | None = None


STORED: dict[str, Any] = {
    "words": ["a"],
    "parts": [{"name": "x"}],
    "by_name": {"x": {"name": "x"}},
    "verdict": "winning",
    "part": {"name": "y"},
    "shares": [0.5, None],
    "maybe": ["b"],
}


def test_what_is_stored_comes_back() -> None:
    assert Whole.from_json(STORED).to_json() == STORED
    empty = Whole.from_json(STORED | {"part": None, "maybe": None})
    assert (empty.part, empty.maybe) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"words": None},
        {"words": ["a", None]},
        {"parts": None},
        {"parts": [None]},
        {"by_name": None},
        {"by_name": {"x": None}},
        {"verdict": None},
    ],
)
def test_null_in_the_place_of_what_is_required_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="null in the place of"):
        Whole.from_json(STORED | change)
