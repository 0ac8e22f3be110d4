"""docs/patterns.md names every key of the stored patterns, and no other."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from cis_server.domain.envelope import Envelope
from cis_server.domain.patterns import PATTERN_CLASSES
from cis_server.domain.vocabulary import PatternType

PAGE = (Path(__file__).parents[2] / "docs" / "patterns.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", list(PATTERN_CLASSES))
def test_the_page_names_the_keys_of_a_pattern(kind: PatternType) -> None:
    section = PAGE.split(f"\n## {kind.value.upper()}\n")[1].split("\n## ")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    keys = {each.name for each in dataclasses.fields(PATTERN_CLASSES[kind])}
    assert named == keys - {"envelope"}


def test_the_page_names_the_keys_of_the_envelope() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("`envelope` holds")]
    named = set(re.findall(r"`(\w+)`", line)) - {"envelope"}
    assert named == {each.name for each in dataclasses.fields(Envelope)}
