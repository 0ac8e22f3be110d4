"""Reading CSV and Parquet, lines included."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.capture.conversion import Rejection
from cis_server.errors import DataError
from cis_server.importing import files
from cis_server.importing.files import TextBatch, open_source

Read = tuple[list[str], list[tuple[int, tuple[str | None, ...]]], list[Rejection]]


def read(path: Path, **options: str) -> Read:
    source = open_source(path, **options)
    rows: list[tuple[int, tuple[str | None, ...]]] = []
    broken: list[Rejection] = []
    last = TextBatch([], [], [], 0)
    for last in source.batches():
        rows += zip(last.lines, zip(*last.columns, strict=True), strict=True)
        broken += last.broken
    assert last.done == source.size
    return source.header, rows, broken


def read_text(tmp_path: Path, text: str, **options: str) -> Read:
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode("utf-8"))
    return read(path, **options)


def test_plain_rows(tmp_path: Path) -> None:
    header, rows, broken = read_text(tmp_path, 'a,b\n1,"x, y"\n\n2,\n')
    assert header == ["a", "b"]
    assert rows == [(2, ("1", "x, y")), (4, ("2", ""))]
    assert broken == []


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_the_delimiter_is_found_in_the_header(tmp_path: Path, delimiter: str) -> None:
    text = delimiter.join(['"a,b;c"', "b", "c"]) + "\n" + delimiter.join("123") + "\n"
    header, rows, _ = read_text(tmp_path, text)
    assert (header, rows) == (["a,b;c", "b", "c"], [(2, ("1", "2", "3"))])


def test_line_numbers_count_lines_within_quotes(tmp_path: Path) -> None:
    _, rows, broken = read_text(tmp_path, 'a,b\n1,"x\ny"\n2,z\n3\n4,w\n')
    assert [line for line, _ in rows] == [2, 4, 6]
    assert broken == [Rejection(5, "(row)", "1 fields where the header has 2")]


def test_an_open_quotation_mark_costs_one_line(tmp_path: Path) -> None:
    _, rows, broken = read_text(tmp_path, 'a,b\n1,"open\n2,x\n3,y\n')
    assert rows == [(3, ("2", "x")), (4, ("3", "y"))]
    assert [item.line for item in broken] == [2]
    assert "quotation mark" in broken[0].reason


def test_a_stray_quotation_mark_costs_one_line(tmp_path: Path) -> None:
    _, rows, broken = read_text(tmp_path, 'a,b\n1,"x"y\n2,"q"\n"3,z\n4,"w"\n')
    assert rows == [(3, ("2", "q")), (5, ("4", "w"))]
    assert [item.line for item in broken] == [2, 4]


@given(
    st.lists(
        st.sampled_from(["1,x", '2,"y"', '3,"a\nb"', '4,"open', "5", "6,7,8", '9,"q"q', "", '"']),
        max_size=12,
    )
)
def test_sound_single_lines_are_never_lost_before_a_broken_one(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    """Whatever stands in a file, reading ends, lines rise, and each line is told of once."""
    path = tmp_path_factory.mktemp("csv") / "f.csv"
    path.write_text("a,b\n" + "\n".join(parts) + "\n", encoding="utf-8")
    _, rows, broken = read(path)
    lines = [line for line, _ in rows]
    assert lines == sorted(set(lines))
    assert not set(lines) & {item.line for item in broken}
    if not any(mark in part for part in parts for mark in ('"open', '"q"q')) and '"' not in parts:
        assert len(rows) == sum(part[0] in "123" for part in parts if part)


def test_batches_go_on_where_the_last_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BATCH_ROWS", 7)
    text = "a,b\n" + "".join(f"{number},x\n" for number in range(50))
    _, rows, _ = read_text(tmp_path, text)
    assert rows == [(number + 2, (str(number), "x")) for number in range(50)]


@pytest.mark.parametrize(
    ("stored", "options"),
    [
        ("utf-8", {}),
        ("utf-8-sig", {}),
        ("utf-16", {}),
        ("windows-1252", {"encoding": "windows-1252"}),
    ],
)
def test_encodings(tmp_path: Path, stored: str, options: dict[str, str]) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes("name,b\nJosé,ü\n".encode(stored))
    assert read(path, **options) == (["name", "b"], [(2, ("José", "ü"))], [])


def test_undecodable_bytes_stay_in_their_row(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"a,b\nJos\xe9,1\nAnn,2\n")
    _, rows, _ = read(path)
    assert rows == [(2, ("Jos\ufffd", "1")), (3, ("Ann", "2"))]


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    table = pa.table(
        {
            "text": ["a", None],
            "whole": [1, 2],
            "share": [0.5, None],
            "yes": [True, False],
            "day": [dt.date(2024, 5, 1), None],
            "moment": pa.array([dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC), None]),
            "money": [Decimal("1.50"), None],
            "tags": [["x", "y"], []],
        }
    )
    pq.write_table(table, path)
    header, rows, broken = read(path)
    assert header == table.column_names
    assert rows[0] == (
        2,
        ("a", "1", "0.5", "true", "2024-05-01", "2024-05-01T10:00:00+00:00", "1.50", '["x", "y"]'),
    )
    assert rows[1] == (3, (None, "2", None, "false", None, None, None, "[]"))
    assert broken == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "No such file"),
        ("empty.csv", b"", "is empty"),
        ("blank.csv", b"\n\n", "no readable header"),
        ("text.parquet", b"not parquet at all", "is no Parquet file"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path)
