"""Times as people write them in files, with how exactly they are known.

``2024-05`` names a month, ``2024-05-01`` a day, ``2024-05-01T10`` an hour; anything with minutes is
an instant. What a time leaves open is filled so that order survives: an event stands in the middle
of its day or month (the local day stays the same in neighbouring zones), an outcome at the end of
it (the touches of that day come before it).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cis_server.capture.values import shown
from cis_server.domain.local_time import earliest_instant
from cis_server.domain.vocabulary import TimePrecision

EARLIEST_YEAR: Final = 1900
LATEST_YEAR: Final = 2199

UNIX_SECONDS: Final = "unix"
UNIX_MILLISECONDS: Final = "unix_ms"

_COARSENESS = {precision: rank for rank, precision in enumerate(TimePrecision)}
_ISO = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)"
    r"(-(?P<day>\d\d)"
    r"([T ](?P<hour>\d\d)(:(?P<minute>\d\d)(:(?P<second>\d\d)([.,](?P<fraction>\d{1,9}))?)?)?"
    r" ?(?P<offset>Z|UTC|[+-]\d\d(:?\d\d)?)?)?)?",
    re.IGNORECASE,
)
_DIRECTIVE = re.compile(r"%[-#]?(.)")
_DAY_DIRECTIVES = frozenset("djxcDF")
_HOUR_DIRECTIVES = frozenset("HIcXT")
_MINUTE_DIRECTIVES = frozenset("McXT")


class Place(Enum):
    """Where in a coarse period a time is put."""

    MIDDLE = "middle"
    END = "end"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says about a time: aware when it names an offset, else on a local clock.

    Parts finer than the precision are at their lowest value.
    """

    moment: dt.datetime
    precision: TimePrecision


def read_time(text: str, formats: Sequence[str] = ()) -> Reading:
    """Read a time.

    Args:
        text: stripped and not empty.
        formats: tried in order, each in the notation of `datetime.strptime`, or ``unix`` or
            ``unix_ms`` for seconds or milliseconds since 1970. Without formats: ISO 8601, from
            ``2024-05`` to ``2024-05-01T10:30:15.5+02:00``.

    Raises:
        ValueError: the text is no time in any of these forms.
    """
    if not formats:
        return _iso(text)
    for form in formats:
        reading = _formatted(text, form)
        if reading is not None:
            return _checked(reading, text)
    raise ValueError(f"not a time: {shown(text)} (expected {' or '.join(formats)})")


def read_date(text: str, formats: Sequence[str] = ()) -> dt.date:
    """Read a calendar date; a time of day with it is dropped.

    Raises:
        ValueError: the text is no date, or names less than a day.
    """
    try:
        reading = read_time(text, formats)
    except ValueError as error:
        raise ValueError(str(error).replace("not a time", "not a date")) from None
    if reading.precision is TimePrecision.MONTH:
        raise ValueError(f"a month, not a date: {shown(text)}")
    return reading.moment.date()


def coarser(first: TimePrecision, second: TimePrecision) -> TimePrecision:
    """The less exact of two precisions."""
    return max(first, second, key=_COARSENESS.__getitem__)


def resolve(reading: Reading, zone: dt.tzinfo, place: Place) -> dt.datetime:
    """The instant, in UTC, that stands for a reading.

    Args:
        reading: what the text said.
        zone: of the local clock, used when the text names no offset.
        place: where in a day or month a coarse time is put.
    """
    moment = _placed(reading, place)
    if moment.tzinfo is not None:
        return moment.astimezone(dt.UTC)
    return earliest_instant(moment, zone)


def check_format(form: str) -> None:
    """Refuse a format that could never give a time.

    Raises:
        ValueError: it names neither year and month nor a Unix time, or has an unknown directive.
    """
    if form in (UNIX_SECONDS, UNIX_MILLISECONDS):
        return
    directives = set(_DIRECTIVE.findall(form))
    whole = directives & set("cxF")
    if not whole and not (directives & set("yYG") and directives & set("mbBjV")):
        raise ValueError(f"{shown(form)} is no date format: it names no year and month")
    sample = dt.datetime(2024, 5, 1, 10, 30, tzinfo=dt.UTC)
    try:
        dt.datetime.strptime(sample.strftime(form), form)  # noqa: DTZ007 - only whether it reads
    except ValueError:
        raise ValueError(f"{shown(form)} is no date format") from None


def _iso(text: str) -> Reading:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {shown(text)} (expected 2024-05-01 or 2024-05-01T10:30:00Z)")
    part = match.groupdict()
    fraction = (part["fraction"] or "")[:6].ljust(6, "0")
    try:
        moment = dt.datetime(  # noqa: DTZ001 - the zone is the file's, given later
            int(part["year"]),
            int(part["month"]),
            int(part["day"] or 1),
            int(part["hour"] or 0),
            int(part["minute"] or 0),
            int(part["second"] or 0),
            int(fraction),
        )
        offset = part["offset"]
        if offset is not None:
            moment = moment.replace(tzinfo=_offset(offset))
    except ValueError as error:
        raise ValueError(f"not a time: {shown(text)} ({error})") from None
    if part["day"] is None:
        precision = TimePrecision.MONTH
    elif part["hour"] is None:
        precision = TimePrecision.DAY
    else:
        precision = TimePrecision.HOUR if part["minute"] is None else TimePrecision.INSTANT
    return _checked(Reading(moment, precision), text)


def _offset(text: str) -> dt.timezone:
    if text.upper() in ("Z", "UTC"):
        return dt.UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    size = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return dt.timezone(-size if text[0] == "-" else size)


def _formatted(text: str, form: str) -> Reading | None:
    if form in (UNIX_SECONDS, UNIX_MILLISECONDS):
        return _unix(text, 1 if form == UNIX_SECONDS else 1000)
    try:
        moment = dt.datetime.strptime(text, form)  # noqa: DTZ007 - as in `_iso`
    except ValueError:
        return None
    directives = set(_DIRECTIVE.findall(form))
    if directives & _MINUTE_DIRECTIVES:
        return Reading(moment, TimePrecision.INSTANT)
    if directives & _HOUR_DIRECTIVES:
        return Reading(moment, TimePrecision.HOUR)
    week_day = bool(directives & set("GV")) and bool(directives & set("uaA"))
    if directives & _DAY_DIRECTIVES or week_day:
        return Reading(moment, TimePrecision.DAY)
    return Reading(moment, TimePrecision.MONTH)


def _unix(text: str, per_second: int) -> Reading | None:
    try:
        moment = dt.datetime.fromtimestamp(float(text) / per_second, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return Reading(moment, TimePrecision.INSTANT)


def _checked(reading: Reading, text: str) -> Reading:
    if not EARLIEST_YEAR <= reading.moment.year <= LATEST_YEAR:
        raise ValueError(f"year {reading.moment.year} is out of range: {shown(text)}")
    return reading


def _placed(reading: Reading, place: Place) -> dt.datetime:
    """The moment of a coarse reading moved to the middle or the last second of its period."""
    start = reading.moment
    if reading.precision is TimePrecision.MONTH:
        next_month = (start.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
        if place is Place.END:
            return next_month - dt.timedelta(seconds=1)
        return start.replace(day=15, hour=12)
    if reading.precision is TimePrecision.DAY:
        if place is Place.END:
            return start + dt.timedelta(days=1, seconds=-1)
        return start.replace(hour=12)
    return start
