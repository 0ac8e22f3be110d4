"""What `make bench` says about a bound, and that each benchmark is one it can run."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.__main__ import FOLDER, MARK
from tests.bench.figures import MISSED, Figure, report


def some() -> Iterator[Figure]:
    """A bound kept, a bound missed, a figure without one."""
    yield Figure("calls", (90.0, 110.0, 100.0), "calls/s", 85.0, "more", limit=200.0)
    yield Figure("wait", (3.0, 2.0, 9.0), "ms", 2.5)
    yield Figure("memory", (1234.0,), "MB")


def test_the_median_is_held_against_the_bound_and_the_limit() -> None:
    calls, wait, memory = some()
    assert (calls.median, calls.met, calls.of_limit) == (100.0, True, 0.5)
    assert (wait.median, wait.met) == (3.0, False)
    assert (memory.met, memory.of_limit) == (None, None)
    assert [Figure.from_json(each.to_json()) for each in some()] == list(some())
    with pytest.raises(ValueError, match="nothing was measured for 'empty'"):
        Figure("empty", ())


def test_a_missed_bound_fails_a_checked_run_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "figures.json"
    assert report("Figures.", some(), ["--json", str(kept)]) == 0
    shown = capsys.readouterr().out
    assert "MISSED" in shown
    assert "90–110" in shown
    assert [each["met"] for each in json.loads(kept.read_text())] == [True, False, None]
    assert report("Figures.", some(), ["--check"]) == MISSED
    assert "missed: wait" in capsys.readouterr().err


def test_every_benchmark_yields_figures() -> None:
    names = [path.stem for path in FOLDER.glob("[a-z]*.py") if MARK in path.read_text()]
    assert "weights_power" in names
    for name in names:
        assert callable(importlib.import_module(f"tests.bench.{name}").figures), name
