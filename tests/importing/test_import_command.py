"""The command: exit codes, what it prints, the report file."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cis_server.errors import DataError, StoreUnavailable
from cis_server.importing.command import OK, SOME_REJECTED, add_arguments, run
from cis_server.settings import Settings


def command(url: str, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(["--client", "acme", *arguments]), Settings(database_url=url))


@pytest.fixture
def leads(tmp_path: Path) -> Path:
    path = tmp_path / "leads.csv"
    path.write_text(
        "lead_id,created date,[odd]\na,2024-05-01,x\nb,next tuesday,y\n", encoding="utf-8"
    )
    return path


def test_a_date_as_text_is_named_with_line_and_field(
    database_url: str, leads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(database_url, "--leads", str(leads)) == SOME_REJECTED
    printed = capsys.readouterr().out
    assert "created_at" in printed
    assert "next tuesday" in printed
    report = json.loads(leads.with_name("import-report.json").read_text(encoding="utf-8"))
    assert report["client_created"] is True
    (file,) = report["files"]
    assert (file["read"], file["inserted"], file["rejected_rows"]) == (2, 1, 1)
    assert file["rejected"] == [
        {
            "line": 3,
            "field": "created_at",
            "reason": 'not a time: "next tuesday" (expected 2024-05-01 or 2024-05-01T10:30:00Z)',
        }
    ]
    assert ["[odd]", "attributes: [odd]"] in file["columns"]


def test_a_clean_file_and_a_csv_report(database_url: str, tmp_path: Path) -> None:
    leads = tmp_path / "leads.csv"
    leads.write_text("lead_id\na\n", encoding="utf-8")
    target = tmp_path / "report.csv"
    assert command(database_url, "--leads", str(leads), "--report", str(target)) == OK
    with target.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["entry"]: row["rows"] for row in rows} == {
        "read": "1",
        "inserted": "1",
        "updated": "0",
        "unchanged": "0",
        "rejected": "0",
    }


def test_a_report_that_cannot_be_written_is_said_and_nothing_more(
    database_url: str, leads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "no" / "folder.json"
    code = command(database_url, "--leads", str(leads), "--report", str(target))
    assert code == SOME_REJECTED
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to import"),
        (["--leads", "none.csv"], "none.csv: No such file"),
        (["--leads", "{leads}", "--mapping", "none.toml"], "mapping none.toml"),
        (["--leads", "{leads}", "--client", ""], "--client"),
        (["--activities", "{leads}"], "activities file has no column for 'action'"),
    ],
)
def test_what_cannot_be_used(
    database_url: str, leads: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        command(database_url, *(a.format(leads=leads) for a in arguments))


def test_no_database(leads: Path) -> None:
    with pytest.raises(StoreUnavailable, match="database is away"):
        command("postgresql://nobody@127.0.0.1:1/none", "--leads", str(leads))


def test_declaring_the_arguments_loads_neither_database_nor_data_frames() -> None:
    program = (
        "import sys, cis_server.importing.command;"
        "print({'polars', 'pyarrow', 'sqlalchemy', 'psycopg', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"
