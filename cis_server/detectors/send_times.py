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
from cis_server.detectors.coded import Coded
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.rounding import rounded_rate
from cis_server.detectors.segments import Judged, Rates, Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.clock_rates import DayRate, HourRate
from cis_server.domain.patterns import ChannelTiming, WeekSurface
from cis_server.stats.arrays import BoolArray, FloatArray, IntArray
from cis_server.stats.circular import CELLS, WeekRates, week_rates
from cis_server.stats.rates import Strata
from cis_server.stats.shrinkage import shrunk_means
from cis_server.stats.towards import shrink_towards

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOURS = tuple(str(hour) for hour in range(24))
_DAY, _HOUR = "day", "hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cycle:
    """One of the two dimensions.

    Attributes:
        name: of the dimension. `values`: of it.
        known: of each touch, whether its value is.
        n: touches per channel, value and stratum; those of no channel stand in the last place.
        k: of them, those that succeeded.
    """

    name: str
    values: tuple[str, ...]
    known: BoolArray
    n: IntArray
    k: IntArray

    @classmethod
    def of(
        cls,
        name: str,
        values: tuple[str, ...],
        code: IntArray,
        known: BoolArray,
        channel: Coded,
        risk: RiskSet,
    ) -> _Cycle:
        places = len(channel.names) + 1
        row = np.flatnonzero(known)
        cell = channel.code[row] % places * len(values) + code[row]
        strata = risk.row_counts(row, cell, places * len(values))
        shape = (places, len(values), risk.strata)
        n, k = (np.asarray(count).reshape(shape) for count in (strata.n, strata.k))
        return cls(name=name, values=values, known=known, n=n, k=k)


class SendTimes:
    """Days, hours and the week of some touches, for all channels and each of them."""

    def __init__(
        self, touches: pl.DataFrame, channel: Coded, risk: RiskSet, settings: DetectorSettings
    ) -> None:
        """Read the local times.

        Args:
            touches: resolved touches of a population.
            channel: channel of each.
            risk: the same touches as units.
            settings: minimums.
        """
        self._settings = settings
        self._touches = touches.height
        self._success = touches["success"].to_numpy()
        self._names = channel.names
        weekday = touches["local_weekday"].fill_null(1).to_numpy().astype(np.int64)
        hour = touches["local_hour"].fill_null(0).to_numpy().astype(np.int64)
        days_known, hours_known = (
            touches[name].to_numpy() for name in ("weekday_known", "hour_known")
        )
        self._day = _Cycle.of(_DAY, DAYS, weekday - 1, days_known, channel, risk)
        self._hour = _Cycle.of(_HOUR, HOURS, hour, hours_known, channel, risk)
        self._of_channel = np.bincount(channel.code + 1, minlength=len(self._names) + 1)[1:]
        places = len(self._names) + 1
        cell = (channel.code % places * 7 + weekday - 1) * 24 + hour
        self._week_n, self._week_k = (
            np.bincount(cell[used], minlength=places * CELLS).reshape(places, CELLS)
            for used in (hours_known, hours_known & self._success)
        )

    def add_to(self, segments: Segments, blocks: Blocks) -> None:
        """Add days and hours, of all channels and of each, to the run.

        Args:
            segments: of the run.
            blocks: a dimension with too few touches of known time is noted there and not added.
        """
        for cycle, block in ((self._day, "best_days"), (self._hour, "best_hours")):
            blocks.step(block, partial(self._add, cycle, segments))
        for channel in self._channels():
            blocks.step("by_channel", partial(self._add_channel, channel, segments))

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
        self._require(self._hour)
        return _surface(week_rates(self._week_k.sum(axis=0), self._week_n.sum(axis=0)))

    def by_channel(self, judged: Mapping[str, Judged]) -> tuple[ChannelTiming, ...] | None:
        """Each channel's days, hours and week, pulled towards those of the other channels."""
        timings = []
        for channel in self._channels():
            name = self._names[channel]
            days = _days(judged.get(f"{_DAY}.{name}"))
            hours = _hours(judged.get(f"{_HOUR}.{name}"))
            if days or hours:
                timings.append(
                    ChannelTiming(
                        channel=name,
                        sample=int(self._of_channel[channel]),
                        best_days=days,
                        best_hours=hours,
                        surface=self._channel_surface(channel) if hours else None,
                    )
                )
        return tuple(timings) or None

    def _channels(self) -> list[int]:
        """Channels with touches enough to speak of, as indices."""
        return np.flatnonzero(self._of_channel >= self._settings.minimum_units).tolist()

    def _require(self, cycle: _Cycle) -> None:
        touches, won = int(cycle.n.sum()), int(cycle.k.sum())
        settings = self._settings
        if touches < settings.minimum_units or won < settings.minimum_converted:
            raise InsufficientData(
                f"{touches} touches with {won} conversions have a known local {cycle.name}; "
                f"{settings.minimum_units} with {settings.minimum_converted} are needed",
                touches,
                won,
            )

    def _add(self, cycle: _Cycle, segments: Segments) -> None:
        self._require(cycle)
        self._add_counts(cycle.name, cycle, cycle.n.sum(axis=0), cycle.k.sum(axis=0), segments)

    def _add_channel(self, channel: int, segments: Segments) -> None:
        for cycle in (self._day, self._hour):
            n, k = cycle.n[channel], cycle.k[channel]
            if n.sum() >= self._settings.minimum_units:
                name = f"{cycle.name}.{self._names[channel]}"
                posterior = shrink_towards(k.sum(axis=1), n.sum(axis=1), _expected(cycle, channel))
                self._add_counts(name, cycle, n, k, segments, posterior)

    def _add_counts(
        self,
        name: str,
        cycle: _Cycle,
        n: IntArray,
        k: IntArray,
        segments: Segments,
        posterior: Rates | None = None,
    ) -> None:
        """Add counts per value and stratum; those of a channel have a baseline of their own."""
        touches, won = int(n.sum()), int(k.sum())
        segments.add_counts(
            name,
            cycle.values,
            n.sum(axis=1),
            k.sum(axis=1),
            total=(touches, won),
            coverage=touches / self._touches,
            strata=Strata(k, n, k.sum(axis=0), n.sum(axis=0)),
            baseline=None if posterior is None else won / touches,
            posterior=posterior,
        )

    def _channel_surface(self, channel: int) -> WeekSurface:
        own_n, own_k = self._week_n[channel], self._week_k[channel]
        n, k = self._week_n.sum(axis=0) - own_n, self._week_k.sum(axis=0) - own_k
        towards = _at_level(week_rates(k, n).rate, n, _level(own_k, own_n)) if n.any() else None
        return _surface(week_rates(own_k, own_n, towards=towards))


def _expected(cycle: _Cycle, channel: int) -> FloatArray:
    """Rates of the other channels, brought to the level of this one."""
    own_n, own_k = cycle.n[channel], cycle.k[channel]
    n, k = (
        every.sum(axis=(0, 2)) - own.sum(axis=1)
        for every, own in ((cycle.n, own_n), (cycle.k, own_k))
    )
    return _at_level(shrunk_means(k, n), n, _level(own_k, own_n))


def _level(k: IntArray, n: IntArray) -> float:
    return (float(k.sum()) + 0.5) / (float(n.sum()) + 1.0)


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
