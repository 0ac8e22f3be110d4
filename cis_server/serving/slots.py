"""From cells on the lead's clock to stretches of time, daylight saving resolved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cis_server.domain.local_time import earliest_instant
from cis_server.serving.timing_plan import Cell

LEAST_REMAINDER: Final = dt.timedelta(minutes=5)
"""A window under way counts while more than this is left of it (consumption sheet, section 3)."""

_MINUTE = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Slot:
    """A cell on one date."""

    start: dt.datetime
    """UTC; what is left of the window starts here."""
    end: dt.datetime
    nominal_start: dt.datetime
    """Where the window starts when none of it has passed."""
    cell: Cell


def upcoming_slots(
    cells: tuple[tuple[Cell, ...], ...], zone: ZoneInfo, base: dt.datetime, days: range
) -> Iterator[Slot]:
    """The slots of some days from `base` on, in order of time.

    Args:
        cells: by ISO weekday, index 0 not used.
        zone: the lead's.
        base: aware; nothing starts earlier.
        days: local days counted from that of `base`.
    """
    today = base.astimezone(zone).date()
    for offset in days:
        date = today + dt.timedelta(days=offset)
        for cell in cells[date.isoweekday()]:
            stretch = _stretch(zone, date, cell.start_minute, cell.end_minute)
            if stretch is None:
                continue
            start, end = stretch
            if start >= base:
                yield Slot(start, end, start, cell)
            elif end - base > LEAST_REMAINDER:
                yield Slot(base, end, start, cell)


@lru_cache(maxsize=65_536)
def _stretch(
    zone: ZoneInfo, date: dt.date, start_minute: int, end_minute: int
) -> tuple[dt.datetime, dt.datetime] | None:
    """UTC instants between two minutes of a local day; None where daylight saving skips them all.

    The end is found through the minute before it, so that an hour cut short by a jump does not
    reach into the next. Of an hour that comes twice only the first passing counts.
    """
    midnight = dt.datetime.combine(date, dt.time())
    first, last = midnight + start_minute * _MINUTE, midnight + (end_minute - 1) * _MINUTE
    start, end = earliest_instant(first, zone), earliest_instant(last, zone)
    if end.astimezone(zone).replace(tzinfo=None, fold=0) == last:
        end += _MINUTE
    return (start, end) if start < end else None
