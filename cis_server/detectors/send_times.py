"""On which local day and at which local hour touches work.

A touch succeeds when the conversion is credited to it. Local time was taken by the lead's zone
when the touch was recorded; touches whose zone is unknown, or whose time is not known to the hour
(or weekday), are left out rather than counted at a made-up time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from cis_server.detectors.blocks import Blocks, InsufficientData
from cis_server.detectors.levels import Levels, coded_levels
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.rounding import rounded_rate
from cis_server.detectors.segments import Judged, Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.clock_rates import DayRate, HourRate
from cis_server.domain.patterns import ChannelTiming, WeekSurface
from cis_server.stats.arrays import BoolArray, FloatArray, IntArray
from cis_server.stats.circular import CELLS, WeekRates, week_rates
from cis_server.stats.shrinkage import shrunk_means
from cis_server.stats.towards import shrink_towards

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOURS = tuple(str(hour) for hour in range(24))
_DAY, _HOUR = "day", "hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cycle:
    """One of the two dimensions: its name, values, the code of each touch, where it is known."""

    name: str
    values: tuple[str, ...]
    code: IntArray
    known: BoolArray

    def levels(self, dimension: str, among: BoolArray) -> Levels:
        return coded_levels(dimension, self.values, self.code, self.known & among)


class SendTimes:
    """Days, hours and the week of some touches, for all channels and each of them."""

    def __init__(self, touches: pl.DataFrame, settings: DetectorSettings) -> None:
        """Read the local times.

        Args:
            touches: resolved touches of a population.
            settings: minimums.
        """
        self._settings = settings
        self._success = touches["success"].to_numpy()
        self._channel = touches["channel"].to_numpy()
        weekday = touches["local_weekday"].fill_null(1).to_numpy().astype(np.int64)
        hour = touches["local_hour"].fill_null(0).to_numpy().astype(np.int64)
        self._hour_known = touches["hour_known"].to_numpy()
        self._cell = (weekday - 1) * 24 + hour
        self._day = _Cycle(
            name=_DAY,
            values=DAYS,
            code=weekday - 1,
            known=touches["weekday_known"].to_numpy(),
        )
        self._hour = _Cycle(name=_HOUR, values=HOURS, code=hour, known=self._hour_known)
        self._everything = np.ones(touches.height, dtype=np.bool_)

    def add_to(self, segments: Segments, risk: RiskSet, blocks: Blocks) -> None:
        """Add days and hours, of all channels and of each, to the run.

        Args:
            segments: of the run.
            risk: the same touches as units.
            blocks: a dimension with too few touches of known time is noted there and not added.
        """
        for cycle, block in ((self._day, "best_days"), (self._hour, "best_hours")):
            blocks.step(block, partial(self._add, cycle, segments, risk))
        for channel in self._channels():
            blocks.step("by_channel", partial(self._add_channel, channel, segments, risk))

    def best_days(self, judged: Mapping[str, Judged]) -> tuple[DayRate, ...] | None:
        """The weekdays of all channels, best evidence first; None when they were not judged."""
        return _days(judged.get(_DAY)) or None

    def best_hours(self, judged: Mapping[str, Judged]) -> tuple[HourRate, ...] | None:
        """The hours of all channels, best evidence first; None when they were not judged."""
        return _hours(judged.get(_HOUR)) or None

    def surface(self) -> WeekSurface:
        """The smoothed week of all channels.

        Raises:
            InsufficientData: too few touches of known hour.
        """
        self._require(self._hour_known, "hour")
        k, n = self._cells(self._everything)
        return _surface(week_rates(k, n))

    def by_channel(self, judged: Mapping[str, Judged]) -> tuple[ChannelTiming, ...] | None:
        """Each channel's days, hours and week, pulled towards those of the other channels."""
        timings = []
        for channel in self._channels():
            days = _days(judged.get(f"{_DAY}.{channel}"))
            hours = _hours(judged.get(f"{_HOUR}.{channel}"))
            if days or hours:
                own = self._channel == channel
                timings.append(
                    ChannelTiming(
                        channel=channel,
                        sample=int(own.sum()),
                        best_days=days,
                        best_hours=hours,
                        surface=self._channel_surface(own) if hours else None,
                    )
                )
        return tuple(timings) or None

    def _channels(self) -> list[str]:
        """Channels with touches enough to speak of."""
        names, counts = np.unique(self._channel.astype(str), return_counts=True)
        least = self._settings.minimum_units
        return [str(n) for n, count in zip(names, counts, strict=True) if count >= least]

    def _require(self, known: BoolArray, what: str) -> None:
        touches, won = int(known.sum()), int((known & self._success).sum())
        settings = self._settings
        if touches < settings.minimum_units or won < settings.minimum_converted:
            raise InsufficientData(
                f"{touches} touches with {won} conversions have a known local {what}; "
                f"{settings.minimum_units} with {settings.minimum_converted} are needed",
                touches,
                won,
            )

    def _add(self, cycle: _Cycle, segments: Segments, risk: RiskSet) -> None:
        self._require(cycle.known, cycle.name)
        levels = cycle.levels(cycle.name, self._everything)
        segments.add(levels, self._success, risk)

    def _add_channel(self, channel: str, segments: Segments, risk: RiskSet) -> None:
        own = self._channel == channel
        for cycle in (self._day, self._hour):
            levels = cycle.levels(f"{cycle.name}.{channel}", own)
            if int(levels.known.sum()) < self._settings.minimum_units:
                continue
            segments.add(
                levels,
                self._success,
                risk,
                baseline=float(self._success[levels.known].mean()),
                posterior=shrink_towards(
                    levels.counts(self._success),
                    levels.counts(),
                    self._expected(cycle, own),
                ),
            )

    def _expected(self, cycle: _Cycle, own: BoolArray) -> FloatArray:
        """Rates of the other channels, brought to the level of this one."""
        others = cycle.levels(cycle.name, ~own)
        rates = shrunk_means(others.counts(self._success), others.counts())
        return _at_level(rates, others.counts(), self._level(cycle.known & own))

    def _level(self, known: BoolArray) -> float:
        return (float(self._success[known].sum()) + 0.5) / (float(known.sum()) + 1.0)

    def _cells(self, among: BoolArray) -> tuple[IntArray, IntArray]:
        used = self._hour_known & among
        cells = self._cell[used]
        return (
            np.bincount(cells[self._success[used]], minlength=CELLS),
            np.bincount(cells, minlength=CELLS),
        )

    def _channel_surface(self, own: BoolArray) -> WeekSurface:
        k, n = self._cells(~own)
        level = self._level(self._hour_known & own)
        towards = _at_level(week_rates(k, n).rate, n, level) if n.any() else None
        own_k, own_n = self._cells(own)
        return _surface(week_rates(own_k, own_n, towards=towards))


def _at_level(rates: FloatArray, n: IntArray, level: float) -> FloatArray:
    """Rates multiplied so that their mean over `n` is `level`; all alike when n is empty."""
    if not n.sum():
        return np.full(rates.size, level)
    mean = float(rates @ n) / float(n.sum())
    return np.clip(rates * (level / mean), 1e-6, 1.0 - 1e-6)


def _days(judged: Judged | None) -> tuple[DayRate, ...]:
    return tuple(
        DayRate(day=segment.value, day_of_week=DAYS.index(segment.value) + 1, segment=segment)
        for segment in (judged.segments if judged else ())
    )


def _hours(judged: Judged | None) -> tuple[HourRate, ...]:
    return tuple(
        HourRate(hour=int(segment.value), segment=segment)
        for segment in (judged.segments if judged else ())
    )


def _surface(rates: WeekRates) -> WeekSurface:
    def plain(values: FloatArray) -> tuple[float, ...]:
        return tuple(rounded_rate(value) for value in values)

    return WeekSurface(
        bandwidth_hours=rates.bandwidth_hours,
        rate=plain(rates.rate),
        low=plain(rates.low),
        high=plain(rates.high),
        effective_sample=tuple(round(float(value), 2) for value in rates.effective_sample),
    )
