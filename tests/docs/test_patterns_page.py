"""docs/patterns.md names every key of the stored patterns, and no other."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cis_server.demo.dataset import to_dataset
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec, Outreach
from cis_server.detectors.runner import run_detectors
from cis_server.domain.dataset import Window
from cis_server.domain.envelope import Envelope
from cis_server.domain.patterns import PATTERN_CLASSES
from cis_server.domain.vocabulary import PatternType

PAGE = (Path(__file__).parents[2] / "docs" / "patterns.md").read_text(encoding="utf-8")
AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)
KINDS = list(PATTERN_CLASSES)


def rows(section: str) -> dict[str, str]:
    """Key and what it holds, as a section of the page has them."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def stored() -> Mapping[PatternType, dict[str, Any]]:
    """The patterns of a simulated client as they are stored."""
    spec = ClientSpec(
        client_id="acme", leads=4000, base_rate=0.15, outreach=Outreach(history_days=170)
    )
    window = Window(start=AS_OF - dt.timedelta(days=140), as_of=AS_OF)
    data = to_dataset(simulate([spec], 1, AS_OF), "acme", window)
    # The simulator attaches no files and has one kind of phone line.
    number = pl.int_range(pl.len()) % 2
    facts = (
        pl.when(number == 0)
        .then(pl.lit(', "has_attachment": true, "contact": "cellular"}'))
        .otherwise(pl.lit(', "has_attachment": false, "contact": "telephone"}'))
    )
    content = pl.col("content").str.strip_suffix("}") + facts
    activities = data.activities.with_columns(
        content=pl.when(pl.col("content").str.len_bytes() > 2).then(content)
    )
    outcomes = run_detectors(dataclasses.replace(data, activities=activities))
    found = {}
    for kind, outcome in outcomes.items():
        assert outcome.pattern is not None, outcome.reason
        found[kind] = json.loads(json.dumps(outcome.pattern.to_json(), allow_nan=False))
    return found


def keys_within(value: Any) -> set[str]:
    """Keys of an object, of the items of a list, or of the values of a map by name."""
    if isinstance(value, list):
        return set().union(*(set(item) for item in value if isinstance(item, dict)))
    assert isinstance(value, dict)
    own = set(value)
    for entry in value.values():
        inner = entry if isinstance(entry, list) else [entry]
        own |= set().union(*(set(item) for item in inner if isinstance(item, dict)))
    return own


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_names_the_keys_of_a_pattern(kind: PatternType) -> None:
    keys = {each.name for each in dataclasses.fields(PATTERN_CLASSES[kind])}
    assert set(rows(kind.value.upper())) == keys - {"envelope"}


def test_the_page_names_the_keys_of_the_envelope() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("`envelope` holds")]
    named = set(re.findall(r"`(\w+)`", line)) - {"envelope"}
    assert named == {each.name for each in dataclasses.fields(Envelope)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_simulated_client_is_told_every_key(
    kind: PatternType, stored: Mapping[PatternType, dict[str, Any]]
) -> None:
    pattern = stored[kind]
    assert all(block["status"] == "ok" for block in pattern["envelope"]["blocks"])
    for key, holds in rows(kind.value.upper()).items():
        value = pattern[key]
        assert value not in (None, [], {}), key
        named = set(re.findall(r"`(\w+)`", holds))
        if named:
            assert named <= keys_within(value), (key, named - keys_within(value))
        elif holds.startswith("a number"):
            numbers = value.values() if isinstance(value, dict) else [value]
            assert all(isinstance(number, int | float) for number in numbers), key
        else:
            assert holds == "the same blocks by channel"
            assert set(value) == {"email", "linkedin", "voice"}
            assert all(set(each) == set(pattern) for each in value.values())


def test_a_name_that_is_not_produced_is_no_key() -> None:
    """Else its reason on the page would be untrue."""
    text = PAGE.split("\n## Not produced, and why\n")[1].split("\n## ")[0]
    names = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert "recommended_weights" in names
    produced = {key for kind in KINDS for key in rows(kind.value.upper())}
    within = " ".join(holds for kind in KINDS for holds in rows(kind.value.upper()).values())
    assert not names & (produced | set(re.findall(r"`(\w+)`", within)))
