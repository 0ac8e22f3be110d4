"""`cis score` on Parquet and Arrow files: the same figures as from a CSV file of the same leads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from cis_client._scoring_files import SCORE_COLUMNS
from cis_client.cli import main

LEADS = pa.table(
    {
        "lead_id": ["a", "b", "c", "d"],
        "Title": ["CEO", "intern", None, "VP Sales"],
        "employee_count": [20, 500, None, -1],
        "favourite": ["red", None, "blue", ""],
        "unsubscribed": [None, None, True, None],
    }
)


@pytest.fixture
def connection(target: str, tenant_id: str) -> list[str]:
    return [f"--client={tenant_id}", f"--target={target}", "--as-of=2026-03-02T00:00:00Z"]


def written(name: str, folder: Path) -> Path:
    path = folder / name
    match path.suffix:
        case ".parquet":
            pq.write_table(LEADS, path, row_group_size=3)
        case ".csv":
            pa.csv.write_csv(LEADS, path)
        case _:
            make = pa.ipc.new_stream if "stream" in name else pa.ipc.new_file
            with make(path, LEADS.schema) as writer:
                writer.write_table(LEADS, max_chunksize=2)
    return path


def read(path: Path) -> pa.Table:
    match path.suffix:
        case ".parquet":
            return pq.read_table(path)
        case ".csv":
            return pa.csv.read_csv(path)
        case _:
            with pa.memory_map(str(path)) as source:
                return pa.ipc.open_file(source).read_all()


@pytest.mark.parametrize("name", ["leads.parquet", "leads.arrow", "stream.feather", "leads.csv"])
@pytest.mark.parametrize("out", ["out.parquet", "out.arrow", "out.csv"])
def test_every_kind_of_file_says_the_same(
    name: str, out: str, connection: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, scored = written(name, tmp_path), tmp_path / out
    assert main(["score", *connection, str(path), "-o", str(scored)]) == 1, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "scored 3" in " ".join(said.split())
    table = read(scored)
    assert table.column_names == [*LEADS.column_names, *SCORE_COLUMNS]
    rows = table.to_pylist()
    assert [row["lead_id"] for row in rows] == ["a", "b", "c", "d"]
    assert [row["cis_score"] for row in rows] == [48, 15, 0, None]
    assert [bool(row["cis_suppressed"]) for row in rows] == [False, False, True, False]
    assert rows[2]["cis_suppression_reason"] == "unsubscribed"
    assert "employee_count" in rows[3]["cis_error"]
    assert [path.name for path in tmp_path.glob(".*")] == []
    # Scored again, the columns of the first run are replaced.
    if path.suffix == ".csv" and scored.suffix != ".csv":
        return  # what was text in the file is text in the columns
    again = tmp_path / f"again{scored.suffix}"
    assert main(["score", *connection, str(scored), "-o", str(again)]) == 1
    once_more = read(again)
    assert once_more.column_names == table.column_names
    assert once_more.column("cis_score").equals(table.column("cis_score"))


def test_json_lists_every_score(
    connection: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[dict[str, Any]] = []
    for name in ("leads.parquet", "leads.csv"):
        assert main(["score", *connection, "--json", str(written(name, tmp_path))]) == 1
        lines = capsys.readouterr().out.splitlines()
        # The server of this process logs there too.
        said.append(json.loads("\n".join(line for line in lines if "[info" not in line)))
        del said[-1]["seconds"]
    for answer in said:
        answer["lines"] = [each.pop("line") for each in answer["scores"]]
        answer["failures"] = [each["message"].rpartition(": ")[2] for each in answer["failures"]]
    assert said[0].pop("lines") == [1, 2, 3]
    assert said[1].pop("lines") == [2, 3, 4]
    assert said[0] == said[1]


def test_what_cannot_be_done_is_said(
    connection: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(written("leads.parquet", tmp_path))
    for arguments, words in (
        ([path, "--persist"], "needs a CSV file"),
        ([path, "-o", "-"], "name a file to write"),
        ([path, "-o", str(tmp_path / "x.xlsx")], "only .csv, .parquet and .arrow"),
    ):
        assert main(["score", *connection, *arguments]) == 2
        assert words in capsys.readouterr().err
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    assert main(["score", *connection, str(tmp_path / "broken.parquet")]) == 2
    assert "cannot be read" in capsys.readouterr().err
