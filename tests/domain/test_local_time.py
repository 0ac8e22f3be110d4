"""The lead's clock across daylight-saving days."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.domain.local_time import earliest_instant, find_zone, local_clock

UTC = dt.UTC
naive = dt.datetime.fromisoformat
ZONES = ("Australia/Sydney", "Australia/Perth", "America/New_York", "Australia/Lord_Howe")

# Days on which clocks in Sydney, New York or Lord Howe change in 2024, with the days around them.
CHANGE_DAYS = [
    dt.date(2024, month, day) + dt.timedelta(days=shift)
    for month, day in ((3, 10), (4, 7), (10, 6), (11, 3))
    for shift in (-1, 0, 1)
]
local_times = st.builds(
    dt.datetime.combine,
    st.sampled_from(CHANGE_DAYS),
    st.builds(dt.time, st.integers(0, 23), st.integers(0, 59), st.integers(0, 59)),
)


def zone(name: str) -> dt.tzinfo:
    found = find_zone(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("day", CHANGE_DAYS)
def test_nine_in_the_morning_is_hour_nine_of_that_day(name: str, day: dt.date) -> None:
    instant = earliest_instant(dt.datetime.combine(day, dt.time(9)), zone(name))
    clock = local_clock(instant, zone(name))
    assert (clock.hour, clock.weekday, clock.date) == (9, day.isoweekday(), day)


@pytest.mark.parametrize(
    ("name", "local", "instant"),
    [
        # skipped: 02:00 becomes 03:00 (half an hour on Lord Howe)
        ("America/New_York", naive("2024-03-10 02:30"), naive("2024-03-10 07:00")),
        ("Australia/Sydney", naive("2024-10-06 02:00"), naive("2024-10-05 16:00")),
        ("Australia/Lord_Howe", naive("2024-10-06 02:15"), naive("2024-10-05 15:30")),
        # repeated: the first passing
        ("America/New_York", naive("2024-11-03 01:30"), naive("2024-11-03 05:30")),
        ("Australia/Sydney", naive("2024-04-07 02:30"), naive("2024-04-06 15:30")),
        ("Australia/Lord_Howe", naive("2024-04-07 01:45"), naive("2024-04-06 14:45")),
        # Samoa left out a whole day
        ("Pacific/Apia", naive("2011-12-30 12:00"), naive("2011-12-30 10:00")),
        ("Australia/Perth", naive("2024-10-06 02:30"), naive("2024-10-05 18:30")),
    ],
)
def test_gaps_and_folds(name: str, local: dt.datetime, instant: dt.datetime) -> None:
    assert earliest_instant(local, zone(name)) == instant.replace(tzinfo=UTC)


@given(local=local_times, name=st.sampled_from(ZONES))
def test_it_is_the_earliest_instant_not_before_that_clock_time(
    local: dt.datetime, name: str
) -> None:
    instant = earliest_instant(local, zone(name))
    shown = instant.astimezone(zone(name)).replace(tzinfo=None)
    assert shown >= local
    before = (instant - dt.timedelta(seconds=1)).astimezone(zone(name)).replace(tzinfo=None)
    assert before < local
    if shown != local:  # skipped: the clocks jumped over it just then
        assert shown - before > dt.timedelta(seconds=1)


@given(st.datetimes(naive("2020-01-01 00:00"), naive("2030-01-01 00:00")), st.sampled_from(ZONES))
def test_reading_the_clock_back_gives_the_time_of_day(moment: dt.datetime, name: str) -> None:
    instant = moment.replace(tzinfo=UTC)
    clock = local_clock(instant, zone(name))
    assert clock.hour == clock.time.hour
    back = earliest_instant(dt.datetime.combine(clock.date, clock.time), zone(name))
    # Only the second passing of a repeated hour reads back as its first.
    assert back == instant or (clock.time.fold == 1 and back < instant)


def test_naive_instants_and_aware_clock_times_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        local_clock(naive("2024-01-01 00:00"), UTC)
    with pytest.raises(ValueError, match="no zone"):
        earliest_instant(dt.datetime(2024, 1, 1, tzinfo=UTC), UTC)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "localtime", "posix/UTC", "America", "a b", "/"]
)
def test_what_is_no_zone(name: str) -> None:
    assert find_zone(name) is None


@pytest.mark.parametrize("name", ["UTC", "Etc/GMT+5", "America/Argentina/Buenos_Aires"])
def test_what_is_a_zone(name: str) -> None:
    assert find_zone(name) is not None
