"""Between instants and a lead's own clock: the one place that does it.

Weekdays are ISO (Monday = 1 … Sunday = 7), hours 0..23, zones IANA names. Offsets are never
stored: a zone's rules are asked for the instant in question, so that daylight saving is right on
every day of the year.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+){0,2}")
_NOT_PLACES = frozenset({"localtime", "posixrules", "Factory"})
_SECOND = dt.timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class LocalClock:
    """What a clock on the wall shows."""

    weekday: int
    """ISO weekday, Monday = 1 … Sunday = 7."""
    hour: int
    """0..23."""
    date: dt.date
    time: dt.time
    """Without a zone; `fold` is 1 for the second passing of a repeated hour."""


@lru_cache(maxsize=1024)
def find_zone(name: str) -> ZoneInfo | None:
    """The zone called `name`, or None when there is none.

    Args:
        name: an IANA name such as ``Australia/Sydney`` or ``UTC``; case matters.
    """
    if _ZONE_NAME.fullmatch(name) is None or name in _NOT_PLACES:
        return None
    if name.startswith(("posix/", "right/")):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def local_clock(instant: dt.datetime, zone: dt.tzinfo) -> LocalClock:
    """What the clocks of `zone` show at `instant`.

    Args:
        instant: an aware instant in any zone.
        zone: where the clock hangs.

    Raises:
        ValueError: `instant` is naive.
    """
    if instant.tzinfo is None:
        raise ValueError("an instant needs a zone")
    local = instant.astimezone(zone)
    return LocalClock(local.isoweekday(), local.hour, local.date(), local.time())


def earliest_instant(local: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """The first instant, in UTC, at which clocks in `zone` show `local`, or the next valid time.

    A time that daylight saving skips becomes the moment the clocks jump (02:30 in a gap from 02:00
    to 03:00 becomes 03:00). A time that comes twice is its first passing.

    Args:
        local: a naive local time.
        zone: the zone of its clock.

    Raises:
        ValueError: `local` is aware.
    """
    if local.tzinfo is not None:
        raise ValueError("a local time has no zone")
    first = local.replace(tzinfo=zone, fold=0)
    instant = first.astimezone(dt.UTC)
    if instant.astimezone(zone).replace(tzinfo=None, fold=0) == local.replace(fold=0):
        return instant
    return _end_of_gap(local, zone)


def _end_of_gap(local: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    # In a gap fold=0 reads the clock by the offset before the jump and fold=1 by the one after it
    # (PEP 495), so the jump lies between the two readings; clocks jump on whole seconds.
    after = local.replace(tzinfo=zone, fold=0).astimezone(dt.UTC)
    before = local.replace(tzinfo=zone, fold=1).astimezone(dt.UTC).replace(microsecond=0)
    new_offset = after.astimezone(zone).utcoffset()
    low, high = 0, int((after - before) / _SECOND) + 1
    while low < high:
        middle = (low + high) // 2
        if (before + middle * _SECOND).astimezone(zone).utcoffset() == new_offset:
            high = middle
        else:
            low = middle + 1
    return before + low * _SECOND
