"""The Bank Marketing example: its files, and what the import makes of them."""

from __future__ import annotations

import calendar
import csv
import datetime as dt
import random
import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from cis_server.capture.mapping import read_mapping
from cis_server.importing.progress import Silence
from cis_server.importing.report import ImportReport
from cis_server.importing.run import import_files

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "examples" / "bank_marketing.py"
REAL_FILE = PROJECT / "../shared/data/bank-marketing.csv"
HEADER = [
    "age",
    "job",
    "marital",
    "education",
    "default",
    "housing",
    "loan",
    "contact",
    "month",
    "day_of_week",
    "duration",
    "campaign",
    "pdays",
    "previous",
    "output",
]
MONTHS = [(2008, 5), (2008, 6), (2008, 10), (2009, 3), (2009, 5), (2010, 3), (2010, 11)]
ROWS = 300

example: dict[str, Any] = runpy.run_path(str(SCRIPT))


def sample() -> list[dict[str, str]]:
    """Rows of the data set's form, in the order of time."""
    draw = random.Random(5)
    days = [
        dt.date(year, month, day)
        for year, month in MONTHS
        for day in range(1, calendar.monthrange(year, month)[1] + 1)
    ]
    days = [day for day in days if day.weekday() < 5]
    chosen = sorted(draw.choice(days) for _ in range(ROWS))
    return [
        {
            "age": str(draw.randint(18, 80)),
            "job": draw.choice(["student", "blue-collar", "unknown", "admin."]),
            "marital": draw.choice(["married", "single", "unknown"]),
            "education": draw.choice(["basic.4y", "university.degree"]),
            "default": draw.choice(["no", "unknown"]),
            "housing": draw.choice(["yes", "no"]),
            "loan": draw.choice(["yes", "no"]),
            "contact": draw.choice(["cellular", "telephone"]),
            "month": calendar.month_abbr[day.month].lower(),
            "day_of_week": calendar.day_abbr[day.weekday()].lower(),
            "duration": "999",
            "campaign": str(draw.choice([1, 1, 2, 3, 40])),
            "pdays": draw.choice(["999", "6"]),
            "previous": draw.choice(["0", "2"]),
            "output": draw.choice(["no", "no", "no", "yes"]),
        }
        for day in chosen
    ]


def converted_files(rows: list[dict[str, str]], folder: Path) -> Path:
    """Run the script on `rows`; gives back the folder it wrote."""
    source = folder / "bank.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(rows)
    return converted_file(source, folder)


def converted_file(source: Path, folder: Path) -> Path:
    target = folder / "out"
    subprocess.run([sys.executable, str(SCRIPT), str(source), str(target)], check=True)
    return target


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def last_touches(folder: Path) -> list[dt.datetime]:
    touches = {row["lead_id"]: row["occurred_at"] for row in read(folder / "activities.csv")}
    return [dt.datetime.fromisoformat(touches[lead]) for lead in sorted(touches)]


def imported(engine: Engine, folder: Path) -> ImportReport:
    paths = {name: folder / f"{name}.csv" for name in ("leads", "activities")}
    mapping = read_mapping(folder / "mapping.toml")
    return import_files(engine, "bank", paths, mapping, Silence())


def select(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_touches_follow_the_rows(tmp_path: Path) -> None:
    rows = sample()
    folder = converted_files(rows, tmp_path)
    touches: dict[str, list[dict[str, str]]] = {}
    for touch in read(folder / "activities.csv"):
        touches.setdefault(touch["lead_id"], []).append(touch)
    assert list(touches) == [f"bank-{number:05d}" for number in range(1, ROWS + 1)]
    years = []
    for row, own in zip(rows, touches.values(), strict=True):
        times = [dt.datetime.fromisoformat(touch["occurred_at"]) for touch in own]
        assert times == sorted(times)
        assert [touch["time_precision"] for touch in own] == [
            *["month"] * (int(row["campaign"]) - 1),
            "weekday",
        ]
        assert {touch["contact"] for touch in own} == {row["contact"]}
        assert {calendar.month_abbr[time.month].lower() for time in times} == {row["month"]}
        assert calendar.day_abbr[times[-1].weekday()].lower() == row["day_of_week"]
        years.append((times[-1].year, times[-1].month))
    assert sorted(set(years)) == MONTHS
    ends = last_touches(folder)
    assert ends == sorted(ends)


def test_leads_keep_what_is_known_and_no_more(tmp_path: Path) -> None:
    rows = sample()
    folder = converted_files(rows, tmp_path)
    ends = last_touches(folder)
    for row, lead, end in zip(rows, read(folder / "leads.csv"), ends, strict=True):
        assert "duration" not in lead
        assert lead["job"] == row["job"].replace("unknown", "")
        assert lead["pdays"] == row["pdays"].replace("999", "")
        closed = (end + dt.timedelta(hours=1)).isoformat()
        if row["output"] == "yes":
            assert (lead["status"], lead["converted_at"]) == ("converted", closed)
            assert lead["sequence_completed_at"] == ""
        else:
            assert (lead["status"], lead["sequence_completed_at"]) == ("exhausted", closed)
            assert lead["converted_at"] == ""


def test_days_run_through_the_month_in_row_order() -> None:
    # Thursday 1 May 2008, then Friday, then the Monday, Monday to Tuesday
    days = example["month_days"]([3, 4, 4, 0, 1], 2008, 5)
    assert [day.day for day in days] == [1, 2, 2, 5, 6]
    skipped = example["month_days"]([0, 4, 0], 2008, 5)
    assert [day.day for day in skipped] == [5, 9, 12]


def test_shuffled_rows_are_spread_over_their_weekdays() -> None:
    weekdays = [0, 1] * 40
    days = example["month_days"](weekdays, 2008, 5)
    assert [day.weekday() for day in days] == weekdays
    mondays = [day for day in days if day.weekday() == 0]
    assert mondays == sorted(mondays)
    assert {day.day for day in mondays} == {5, 12, 19, 26}


def test_the_repository_form_with_semicolons_reads_the_same(tmp_path: Path) -> None:
    rows = sample()[:20]
    folder = converted_files(rows, tmp_path)
    other = tmp_path / "additional.csv"
    header = [*HEADER[:-1], "poutcome", "y"]
    lines = [";".join(f'"{name}"' for name in header)]
    lines += [";".join([*list(row.values())[:-1], "failure", row["output"]]) for row in rows]
    other.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "second").mkdir()
    again = converted_file(other, tmp_path / "second")
    for name in ("leads.csv", "activities.csv", "mapping.toml"):
        assert (again / name).read_text() == (folder / name).read_text()


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="not the Bank Marketing file"):
        example["main"]([str(path), str(tmp_path)])


def test_the_import_knows_weekdays_but_no_hours_and_no_gaps(
    database: Engine, tmp_path: Path
) -> None:
    rows = sample()
    folder = converted_files(rows, tmp_path)
    report = imported(database, folder)
    assert report.rejected_rows == 0
    assert [file.inserted for file in report.files] == [
        ROWS,
        sum(int(row["campaign"]) for row in rows),
    ]
    assert [file.notes for file in report.files] == [(), ()]
    stored = select(
        database,
        "SELECT l.lead_id, l.title, l.status, l.attributes, l.timezone, l.touch_count,"
        " l.converted_at > a.occurred_at, a.local_weekday, a.converting, a.touch_number,"
        " a.content_snapshot FROM leads l JOIN activities a USING (client_id, lead_id)"
        " WHERE a.time_precision = 'weekday' ORDER BY 1",
    )
    for row, lead in zip(rows, stored, strict=True):
        yes = row["output"] == "yes"
        attributes = {
            name: row[name]
            for name in (*example["PERSON_COLUMNS"], "contact", *example["HISTORY_COLUMNS"])
            if row[name] not in ("unknown", "999")
        }
        assert lead[1:] == (
            None if row["job"] == "unknown" else row["job"],
            "converted" if yes else "exhausted",
            attributes,
            "Europe/Lisbon",
            int(row["campaign"]),
            True if yes else None,
            [day.lower() for day in calendar.day_abbr].index(row["day_of_week"]) + 1,
            yes,
            int(row["campaign"]),
            {"attributes": {"contact": row["contact"]}},
        )
    assert select(
        database,
        "SELECT count(local_hour), count(gap_days),"
        " count(local_weekday) FILTER (WHERE time_precision = 'month') FROM activities",
    ) == [(0, 0, 0)]
    again = imported(database, folder)
    assert [(file.inserted, file.updated) for file in again.files] == [(0, 0), (0, 0)]


@pytest.mark.slow
@pytest.mark.skipif(not REAL_FILE.exists(), reason="the Bank Marketing file is not here")
def test_the_real_file(database: Engine, tmp_path: Path) -> None:
    folder = converted_file(REAL_FILE, tmp_path)
    ends = last_touches(folder)
    # The weekdays of every month fit its calendar, so time runs as the rows do.
    assert all(first <= second for first, second in pairwise(ends))
    assert ends[0].date() == dt.date(2008, 5, 5)
    assert (ends[-1].year, ends[-1].month) == (2010, 11)
    report = imported(database, folder)
    assert [(file.inserted, file.rejected_rows) for file in report.files] == [
        (41_188, 0),
        (105_754, 0),
    ]
    assert report.seconds < 60  # about 10 s on two idle cores; the bound is for busy ones
    assert select(
        database,
        "SELECT status, conversion_type, count(*), count(converted_at) FROM leads"
        " GROUP BY 1, 2 ORDER BY 1",
    ) == [("converted", "status", 4640, 4640), ("exhausted", None, 36_548, 0)]
    assert select(
        database,
        "SELECT count(*) FILTER (WHERE converting), count(local_hour), count(gap_days)"
        " FROM activities",
    ) == [(4640, 0, 0)]
