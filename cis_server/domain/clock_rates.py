"""Rates by the clock on the lead's wall."""

from __future__ import annotations

from dataclasses import dataclass

from cis_server.domain.rates import SegmentRate
from cis_server.domain.stored import Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRate(Stored):
    """One local weekday."""

    day: str
    """English, lower case: ``monday``."""
    day_of_week: int
    """ISO, Monday = 1."""
    segment: SegmentRate


@dataclass(frozen=True, slots=True, kw_only=True)
class HourRate(Stored):
    """One local hour, 0..23."""

    hour: int
    segment: SegmentRate
