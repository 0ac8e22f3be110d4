"""Large frames of a dataset stay on disk, and nobody can tell by what is read."""

from __future__ import annotations

import datetime as dt
import gc
import json
import weakref
from pathlib import Path

import polars as pl
import pytest

from cis_server.demo.dataset import to_dataset
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec
from cis_server.detectors.runner import run_detectors
from cis_server.domain.dataset import FRAMES, Dataset, Window
from cis_server.domain.vocabulary import PatternType
from cis_server.persistence import stored_dataset
from cis_server.persistence.dataset import load_dataset, put_aside, save_dataset
from tests.learning.learning_cases import AS_OF

WINDOW = Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF)


@pytest.fixture(scope="module")
def plain() -> Dataset:
    return to_dataset(simulate([ClientSpec(client_id="c", leads=300)], 4, AS_OF), "c", WINDOW)


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_dataset, "SLICE", 100)


def test_rows_and_columns_are_those_of_the_frames(plain: Dataset, tmp_path: Path) -> None:
    stored = save_dataset(plain, tmp_path)
    height = plain.activities.height
    assert height > 300, "several slices"
    every = pl.Series(range(height), dtype=pl.UInt32)
    wanted = ("content", "lead_id", "no such column", "minutes_to_open")
    for rows in (every, every.shuffle(1), every.gather_every(7), every[150:160], every[:0]):
        for name in ("activities", "leads"):
            inside = rows.filter(rows < plain.height(name))
            found = stored.rows(name, wanted, inside)
            assert found.equals(plain.rows(name, wanted, inside))
            assert len(found) == len(inside)
            pieces = list(stored.pieces(name, wanted, inside))
            assert pl.concat(pieces).equals(found)
            assert len(pieces) == 1 or max(map(len, pieces)) <= 100
    assert stored.rows("activities", ["no such column"], every).equals(pl.DataFrame())
    assert plain.rows("activities", ["no such column"], every).equals(pl.DataFrame())
    for name in FRAMES:
        assert stored.height(name) == plain.height(name)
        assert getattr(stored, name).equals(getattr(plain, name))
        columns = getattr(plain, name).columns[::-2]
        assert stored.columns(name, columns).equals(getattr(plain, name).select(columns))


def test_detectors_find_the_same_in_it(plain: Dataset, tmp_path: Path) -> None:
    kinds = (PatternType.WHAT, PatternType.HOW, PatternType.CONVERSATION)
    stored = run_detectors(save_dataset(plain, tmp_path), types=kinds)
    for kind, expected in run_detectors(plain, types=kinds).items():
        pattern = stored[kind].pattern
        assert (pattern is None) == (expected.pattern is None), stored[kind].reason
        if pattern is not None and expected.pattern is not None:
            assert json.dumps(pattern.to_json()) == json.dumps(expected.pattern.to_json())


def test_the_large_frames_are_let_go_and_their_files_moved(tmp_path: Path) -> None:
    copy = to_dataset(simulate([ClientSpec(client_id="d", leads=30)], 4, AS_OF), "d", WINDOW)
    frames = [weakref.ref(copy.activities), weakref.ref(copy.email_events)]
    expected, content_hash = copy.activities.clone(), copy.content_hash
    held = {name: getattr(copy, name) for name in FRAMES}
    del copy
    (beside := tmp_path / ".writing-d").mkdir()
    stored = put_aside("d", WINDOW, held.pop, beside)
    gc.collect()
    assert [frame() for frame in frames] == [None, None]
    assert (stored.path, stored.content_hash) == (None, content_hash)
    assert stored.activities.equals(expected)
    kept = save_dataset(stored, tmp_path)
    assert kept.activities.equals(expected)
    assert kept.path is not None
    assert [path.name for path in tmp_path.iterdir()] == ["d"], "moved, not copied"
    again = load_dataset(Path(kept.path))
    assert again.content_hash == kept.content_hash
    assert again.columns("activities", ["channel"]).equals(expected.select("channel"))
