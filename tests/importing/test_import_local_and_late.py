"""Histories that arrive with local times, and in pieces that arrive late."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from cis_server.capture.mapping import parse_mapping
from cis_server.detectors.when import detect_when
from cis_server.domain.dataset import Window
from cis_server.importing.progress import Silence
from cis_server.importing.run import import_files
from cis_server.persistence.dataset import read_dataset

# Weeks in which clocks change in Sydney (5 April and 4 October 2026) and in New York (8 March and
# 1 November), from the Wednesday before to the Wednesday after.
CHANGES = [dt.date(2026, month, day) for month, day in ((4, 5), (10, 4), (3, 8), (11, 1))]
DAYS = sorted({change + dt.timedelta(days=shift) for change in CHANGES for shift in range(-4, 4)})


def imported(engine: Engine, client_id: str, folder: Path, zone: str, **files: str) -> None:
    paths = {}
    for kind, content in files.items():
        paths[kind] = folder / f"{client_id}-{kind}.csv"
        paths[kind].write_text(content, encoding="utf-8")
    mapping = parse_mapping({kind: {"timezone": zone} for kind in files})
    report = import_files(engine, client_id, paths, mapping, Silence())
    assert [file.rejected_rows for file in report.files] == [0] * len(files)


def select(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.mark.parametrize("zone", ["Australia/Sydney", "Australia/Perth", "America/New_York"])
def test_nine_oclock_on_the_leads_clock_is_learned_as_nine_on_its_iso_day(
    database: Engine, database_url: str, tmp_path: Path, zone: str
) -> None:
    """From a file to the detector, on the days on which clocks change and around them."""
    leads = ["lead_id,timezone,status"]
    touches = ["lead_id,channel,action,occurred_at"]
    for i in range(len(DAYS) * 6):
        leads.append(f"l{i},{zone},{'converted' if i % 5 == 0 else 'exhausted'}")
        touches.append(f"l{i},email,sent,{DAYS[i % len(DAYS)].isoformat()}T09:00:00")
    meetings = ["lead_id,booked_at"] + [
        f"l{i},{DAYS[i % len(DAYS)].isoformat()}T17:00:00" for i in range(0, len(DAYS) * 6, 5)
    ]
    files = {"leads": leads, "activities": touches, "meetings": meetings}
    imported(
        database, "acme", tmp_path, zone, **{kind: "\n".join(rows) for kind, rows in files.items()}
    )
    home = ZoneInfo(zone)
    stored = select(database, "SELECT occurred_at, local_weekday, local_hour FROM activities")
    assert len(stored) == len(DAYS) * 6
    for at, weekday, hour in stored:
        local = at.astimezone(home)
        assert local.date() in DAYS
        assert (weekday, hour, local.hour) == (local.isoweekday(), 9, 9)
    as_of = dt.datetime(2027, 2, 1, tzinfo=dt.UTC)
    window = Window(start=as_of - dt.timedelta(days=365), as_of=as_of)
    pattern = detect_when(read_dataset(database_url, "acme", window))
    assert [rate.hour for rate in pattern.best_hours] == [9]
    by_day = {rate.day_of_week: rate.segment.estimate.sample for rate in pattern.best_days}
    assert by_day == {iso: 6 * sum(day.isoweekday() == iso for day in DAYS) for iso in range(1, 8)}


LEADS = "lead_id,timezone,status\na,UTC,meeting_booked\nb,UTC,in_sequence\n"
TOUCHES = [
    "a,email,sent,2026-03-02T09:00:00",
    "a,voice,sent,2026-03-05T09:00:00",
    "a,email,sent,2026-03-06T11:59:00",
    "a,email,sent,2026-03-09T09:00:00",  # after the booking
    "b,email,sent,2026-03-02T09:00:00",
]
BOOKING = "lead_id,booked_at\na,2026-03-06T12:00:00\n"
AFTERWARDS = """
    SELECT a.lead_id, a.channel, a.occurred_at, a.converting, a.conversion_credit, a.touch_number,
           l.converted_at, l.conversion_type
    FROM activities a JOIN leads l USING (client_id, lead_id)
    ORDER BY a.lead_id, a.occurred_at
"""


def touches(*rows: str) -> str:
    return "\n".join(["lead_id,channel,action,occurred_at", *rows])


@pytest.mark.parametrize(
    "pieces",
    [
        [{"activities": touches(*TOUCHES), "meetings": BOOKING}],
        [{"meetings": BOOKING}, {"activities": touches(*TOUCHES)}],
        [
            {"activities": touches(TOUCHES[0], TOUCHES[3])},
            {"meetings": BOOKING},
            {"activities": touches(TOUCHES[4], TOUCHES[2])},
            {"activities": touches(TOUCHES[1])},
        ],
    ],
    ids=["at once", "booking first", "touches late"],
)
def test_a_booking_marks_the_one_last_touch_before_it_however_late_files_come(
    database: Engine, tmp_path: Path, pieces: list[dict[str, str]]
) -> None:
    imported(database, "acme", tmp_path, "UTC", leads=LEADS)
    for piece in pieces:
        imported(database, "acme", tmp_path, "UTC", **piece)
    booked = dt.datetime(2026, 3, 6, 12, tzinfo=dt.UTC)
    found = select(database, AFTERWARDS)
    assert [(row[0], row[1], row[2].day, row[3]) for row in found] == [
        ("a", "email", 2, False),
        ("a", "voice", 5, False),
        ("a", "email", 6, True),
        ("a", "email", 9, False),
        ("b", "email", 2, False),
    ]
    assert [row[4] for row in found] == [pytest.approx(1 / 3)] * 3 + [None, None]
    assert [row[5] for row in found] == [1, 2, 3, 4, 1]
    assert [row[6:] for row in found] == [(booked, "meeting_booked")] * 4 + [(None, None)]


@pytest.mark.parametrize(
    ("sent", "booked"),
    [
        ("2026-03-06T15:00:00", "2026-03-06"),
        ("2026-03-06", "2026-03-06T09:00:00"),
        ("2026-03", "2026-03-02T09:00:00"),
    ],
)
def test_a_booking_is_credited_to_the_touch_of_the_same_day_or_month(
    database: Engine, tmp_path: Path, sent: str, booked: str
) -> None:
    imported(
        database,
        "acme",
        tmp_path,
        "Australia/Sydney",
        leads="lead_id,timezone\na,Australia/Sydney\n",
        activities=touches(f"a,email,sent,{sent}"),
        meetings=f"lead_id,booked_at\na,{booked}\n",
    )
    assert select(database, "SELECT converting FROM activities") == [(True,)]
