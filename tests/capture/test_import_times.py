"""Times with their precision."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.capture.times import (
    Place,
    check_format,
    coarser,
    read_date,
    read_time,
    resolve,
)
from cis_server.domain.vocabulary import TimePrecision as P

SYDNEY = ZoneInfo("Australia/Sydney")
at = dt.datetime.fromisoformat


@pytest.mark.parametrize(
    ("text", "formats", "moment", "precision"),
    [
        ("2024-05", (), "2024-05-01", P.MONTH),
        ("2024-05-03", (), "2024-05-03", P.DAY),
        ("2024-05-03T10", (), "2024-05-03 10:00", P.HOUR),
        ("2024-05-03 10:20", (), "2024-05-03 10:20", P.INSTANT),
        ("2024-05-03T10:20:30.123456789", (), "2024-05-03 10:20:30.123456", P.INSTANT),
        ("2024-05-03T10:20:30Z", (), "2024-05-03 10:20:30+00:00", P.INSTANT),
        ("2024-05-03T10:20:30 UTC", (), "2024-05-03 10:20:30+00:00", P.INSTANT),
        ("2024-05-03T10:20:30-0930", (), "2024-05-03 10:20:30-09:30", P.INSTANT),
        ("2024-05-03T10+02", (), "2024-05-03 10:00+02:00", P.HOUR),
        ("03/05/2024", ("%d/%m/%Y",), "2024-05-03", P.DAY),
        ("05/03/2024 9:05 PM", ("%m/%d/%Y %I:%M %p",), "2024-05-03 21:05", P.INSTANT),
        ("3 May 24", ("%d/%m/%Y", "%d %b %y"), "2024-05-03", P.DAY),
        ("May 2024", ("%B %Y",), "2024-05-01", P.MONTH),
        ("2024-05-03 10", ("%Y-%m-%d %H",), "2024-05-03 10:00", P.HOUR),
        ("1714731630", ("unix",), "2024-05-03 10:20:30+00:00", P.INSTANT),
        ("1714731630500", ("unix_ms",), "2024-05-03 10:20:30.5+00:00", P.INSTANT),
    ],
)
def test_reading(text: str, formats: tuple[str, ...], moment: str, precision: P) -> None:
    reading = read_time(text, formats)
    assert (reading.moment, reading.precision) == (at(moment), precision)


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("next tuesday", ()),
        ("2024", ()),
        ("03/05/2024", ()),
        ("2024-13-01", ()),
        ("2024-02-30", ()),
        ("2024-05-03T25:00", ()),
        ("0024-05-03", ()),
        ("9999-05-03", ()),
        ("2024-05-03", ("%d/%m/%Y",)),
        ("soon", ("unix",)),
        ("99999999999999999", ("unix",)),
        ("2024-05-03T10:00+99:00", ()),
    ],
)
def test_what_is_no_time(text: str, formats: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"not a time|out of range"):
        read_time(text, formats)


def test_dates_drop_the_time_and_need_a_day() -> None:
    assert read_date("2024-05-03T10:20:30Z") == dt.date(2024, 5, 3)
    with pytest.raises(ValueError, match="a month, not a date"):
        read_date("2024-05")
    with pytest.raises(ValueError, match="not a date"):
        read_date("next tuesday")


def test_events_stand_in_the_middle_and_outcomes_at_the_end() -> None:
    day, month = read_time("2024-05-03"), read_time("2024-02")
    assert resolve(day, SYDNEY, Place.MIDDLE) == at("2024-05-03 02:00+00:00")
    assert resolve(day, SYDNEY, Place.END) == at("2024-05-03 13:59:59+00:00")
    assert resolve(month, dt.UTC, Place.MIDDLE) == at("2024-02-15 12:00+00:00")
    assert resolve(month, dt.UTC, Place.END) == at("2024-02-29 23:59:59+00:00")


def test_an_offset_beats_the_zone_of_the_file() -> None:
    exact = read_time("2024-05-03T10:00:00+02:00")
    assert resolve(exact, SYDNEY, Place.MIDDLE) == at("2024-05-03 08:00+00:00")


@given(st.dates(dt.date(2000, 1, 1), dt.date(2040, 1, 1)))
def test_a_day_stays_that_day_for_the_lead(day: dt.date) -> None:
    for zone in (SYDNEY, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")):
        touch = resolve(read_time(day.isoformat()), zone, Place.MIDDLE)
        outcome = resolve(read_time(day.isoformat()), zone, Place.END)
        assert touch.astimezone(zone).date() == outcome.astimezone(zone).date() == day
        assert touch < outcome


@given(st.sampled_from(P), st.sampled_from(P))
def test_the_coarser_precision_wins(first: P, second: P) -> None:
    order = [P.INSTANT, P.HOUR, P.DAY, P.WEEKDAY, P.MONTH]
    assert order.index(coarser(first, second)) == max(order.index(first), order.index(second))


@pytest.mark.parametrize(
    ("form", "text", "day"),
    [
        ("%d/%m/%Y", "03/05/2024", "2024-05-03"),
        ("%d.%m.%y %H:%M", "03.05.24 10:30", "2024-05-03"),
        ("%c", "Fri May  3 10:30:00 2024", "2024-05-03"),
        ("%Y-%j", "2024-124", "2024-05-03"),
        ("unix", "1714730400", "2024-05-03"),
        ("unix_ms", "1714730400000", "2024-05-03"),
    ],
)
def test_usable_formats(form: str, text: str, day: str) -> None:
    check_format(form)
    assert read_time(text, [form]).moment.date() == dt.date.fromisoformat(day)


@pytest.mark.parametrize("form", ["", "%d/%m", "dd/mm/yyyy", "%H:%M", "%Y %m %!"])
def test_formats_that_can_never_give_a_time(form: str) -> None:
    with pytest.raises(ValueError, match="no date format"):
        check_format(form)
