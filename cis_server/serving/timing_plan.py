"""What was learned about days and hours, blended with the defaults and ready to be asked.

Made once per pattern; answers only look things up. A cell is one weekday and hour on the lead's
clock. Its preference (0..1, relative to the best cell) ranks it:

    preference = b * learned + (1 - b) * default

b is the share of learning (`stats.confidence.blend_weight`). Learned preference is the lower end of
the rate's 90 % interval relative to the best one, so that thin evidence does not win; default
preference is 1 for Tuesday, Wednesday, Thursday at 9, 10, 14, 15 and 0 otherwise. Days and hours
come from the smoothed surface where there is one, else they multiply. What was not learned (a file
of calls that names the weekday but no hour) stays with the default, item by item.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cis_server.domain.clock_rates import DayRate, HourRate
from cis_server.domain.patterns import (
    ChannelTiming,
    SequenceGap,
    WeekSurface,
    WhenPattern,
)
from cis_server.domain.rates import RateEstimate
from cis_server.domain.vocabulary import Source, Verdict
from cis_server.serving.answers import DayAdvice, HourAdvice, TouchShare
from cis_server.serving.freshness import blended_source
from cis_server.serving.send_hours import SendHours

DEFAULT_DAYS: Final = (2, 3, 4)
DEFAULT_HOURS: Final = (9, 10, 14, 15)
DAYS_ADVISED: Final = 3
HOURS_ADVISED: Final = 4
DAY_NAMES: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)

# A cell that nothing recommends can still be the only one inside a gap interval.
_LEAST_PREFERENCE = 0.01
_MOST_CHOICES = 8  # campaigns with hours of their own are few; each keeps some 20 kB


@dataclass(frozen=True, slots=True)
class Cell:
    """One weekday and hour in which a touch may be placed."""

    day: int
    hour: int
    start_minute: int
    """Of the local day; later than the full hour where the work day starts later."""
    end_minute: int
    preference: float
    estimate: RateEstimate | None
    source: Source


@dataclass(frozen=True, slots=True)
class SlotChoices:
    """Cells by ISO weekday (index 0 is not used)."""

    preferred: tuple[tuple[Cell, ...], ...]
    """Advised days and hours that are allowed; all allowed ones where the two do not meet."""
    allowed: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Preference along days (1..7) or hours (0..23)."""

    preference: dict[int, float]
    estimates: dict[int, RateEstimate]
    mean: float | None
    """Rate of all units together; None when nothing was learned."""
    share: float


_FRIDAY = 5


class ChannelPlan:
    """Days, hours and cells of one channel, or of all channels together."""

    def __init__(
        self,
        days: Sequence[DayRate],
        hours: Sequence[HourRate],
        surface: WeekSurface | None,
        baseline: float | None,
        share: float,
        learned: Source,
    ) -> None:
        """Blend what was learned with the defaults.

        Args:
            days: learned weekdays, best evidence first; empty when not learned.
            hours: learned hours, best evidence first; empty when not learned.
            surface: smoothed rate per weekday and hour, or None.
            baseline: the client's conversion rate, believed of what has no data; None: not known.
            share: share of learning, 0..1.
            learned: what the learned part is called, LEARNED or POOLED.
        """
        day_mean = _mean_of([d.segment.estimate for d in days])
        hour_mean = _mean_of([h.segment.estimate for h in hours])
        # A weekend is only advised when it has been shown to do better: a few lucky Saturdays must
        # not open one.
        days = [d for d in days if d.day_of_week <= _FRIDAY or d.segment.verdict is Verdict.WINNING]
        self.baseline = baseline
        self._surface = surface if share > 0.0 else None
        self._learned = learned
        self._day = _axis(
            [(d.day_of_week, d.segment.estimate) for d in days], DEFAULT_DAYS, day_mean, share
        )
        self._hour = _axis(
            [(h.hour, h.segment.estimate) for h in hours], DEFAULT_HOURS, hour_mean, share
        )
        day_verdicts = {d.day_of_week: d.segment.verdict for d in days}
        hour_verdicts = {h.hour: h.segment.verdict for h in hours}
        day_source = blended_source(self._day.share, learned)
        hour_source = blended_source(self._hour.share, learned)
        self.best_days = tuple(
            DayAdvice(
                day_of_week=day,
                value=DAY_NAMES[day - 1],
                estimate=self._day.estimates.get(day),
                verdict=day_verdicts.get(day, Verdict.UNDECIDED),
                source=day_source,
            )
            for day in _top(self._day, [d.day_of_week for d in days], DAYS_ADVISED)
        )
        self.best_hours = tuple(
            HourAdvice(
                hour=hour,
                value=str(hour),
                estimate=self._hour.estimates.get(hour),
                verdict=hour_verdicts.get(hour, Verdict.UNDECIDED),
                source=hour_source,
            )
            for hour in _top(self._hour, [h.hour for h in hours], HOURS_ADVISED)
        )
        self.learned_days = (
            frozenset(d.day_of_week for d in self.best_days)
            if self._day.share > 0.0
            else frozenset()
        )
        self._surface_top = max(surface.low, default=0.0) if surface is not None else 0.0
        self._surface_mean = (
            _mean(surface.rate, surface.effective_sample) if surface is not None else None
        )
        self._choices: dict[SendHours, SlotChoices] = {}

    def choices(self, hours: SendHours) -> SlotChoices:
        """The cells inside `hours`; kept, because few combinations are ever asked for."""
        found = self._choices.get(hours)
        if found is None:
            found = self._cells(hours)
            if len(self._choices) >= _MOST_CHOICES:
                self._choices.clear()
            self._choices[hours] = found
        return found

    def _cells(self, hours: SendHours) -> SlotChoices:
        cuts = hours.by_hour()
        advised_days = {d.day_of_week for d in self.best_days} & hours.days or hours.days
        advised_hours = {h.hour for h in self.best_hours} & {hour for hour, _, _ in cuts}
        allowed: list[tuple[Cell, ...]] = [()]
        preferred: list[tuple[Cell, ...]] = [()]
        for day in range(1, 8):
            cells = (
                tuple(self._cell(day, hour, start, end) for hour, start, end in cuts)
                if day in hours.days
                else ()
            )
            allowed.append(cells)
            preferred.append(
                tuple(c for c in cells if not advised_hours or c.hour in advised_hours)
                if day in advised_days
                else ()
            )
        return SlotChoices(tuple(preferred), tuple(allowed))

    def _cell(self, day: int, hour: int, start: int, end: int) -> Cell:
        shares = (self._day.share, self._hour.share)
        if self._surface is not None:
            index = (day - 1) * 24 + hour
            share = max(shares)
            default = float(day in DEFAULT_DAYS) * float(hour in DEFAULT_HOURS)
            learned = self._surface.low[index] / self._surface_top if self._surface_top else 0.0
            preference = share * learned + (1.0 - share) * default
            estimate: RateEstimate | None = _smoothed(
                self._surface.rate[index],
                self._surface.low[index],
                self._surface.high[index],
                round(self._surface.effective_sample[index]),
                self._surface_mean,
            )
        else:
            preference = self._day.preference.get(day, 0.0) * self._hour.preference.get(hour, 0.0)
            estimate = self._combined_estimate(day, hour)
        if min(shares) == max(shares):
            source = blended_source(shares[0], self._learned)
        else:
            source = Source.BLENDED
        return Cell(day, hour, start, end, max(preference, _LEAST_PREFERENCE), estimate, source)

    def _combined_estimate(self, day: int, hour: int) -> RateEstimate | None:
        by_day, by_hour = self._day.estimates.get(day), self._hour.estimates.get(hour)
        if by_day is None or by_hour is None:
            return by_day or by_hour
        return _product(by_day, by_hour, self._day.mean, self._hour.mean)


class TimingPlan:
    """Everything GetTiming needs of a WHEN pattern, or of the defaults."""

    def __init__(self, pattern: WhenPattern | None, share: float, learned: Source) -> None:
        """Prepare a pattern.

        Args:
            pattern: None for the defaults.
            share: share of learning, 0..1; 0 gives the defaults, with learned rates shown.
            learned: what the learned part is called, LEARNED or POOLED.
        """
        self.share = share if pattern is not None else 0.0
        self.gaps: tuple[SequenceGap, ...] = pattern.sequence_gaps if pattern else ()
        self.touches = _touch_shares(pattern) if pattern and self.share > 0.0 else ()
        self._learned = learned
        self._baseline = pattern.envelope.baseline_conversion_rate if pattern else None
        self._overall = ChannelPlan(
            pattern.best_days if pattern else (),
            pattern.best_hours if pattern else (),
            pattern.surface if pattern else None,
            self._baseline,
            self.share,
            learned,
        )
        self._channels = {
            timing.channel: self._channel_plan(timing, pattern)
            for timing in (pattern.by_channel if pattern else ())
        }

    def channel(self, channel: str | None) -> ChannelPlan:
        """The plan of a channel; that of all channels for None or one that has none of its own."""
        if channel is None:
            return self._overall
        return self._channels.get(channel, self._overall)

    def _channel_plan(self, timing: ChannelTiming, pattern: WhenPattern | None) -> ChannelPlan:
        # What one channel lacks (calls without hours) is taken from all channels together.
        return ChannelPlan(
            timing.best_days or (pattern.best_days if pattern else ()),
            timing.best_hours or (pattern.best_hours if pattern else ()),
            timing.surface,
            self._baseline,
            self.share,
            self._learned,
        )


def _axis(
    learned: Sequence[tuple[int, RateEstimate]],
    defaults: Sequence[int],
    mean: float | None,
    share: float,
) -> _Axis:
    share = share if learned else 0.0
    top = max((estimate.low for _, estimate in learned), default=0.0)
    preference = dict.fromkeys(defaults, 1.0 - share)
    if share > 0.0:
        for value, estimate in learned:
            relative = estimate.low / top if top > 0.0 else 1.0
            preference[value] = preference.get(value, 0.0) + share * relative
    return _Axis(preference, dict(learned), mean, share)


def _top(axis: _Axis, learned_order: Sequence[int], count: int) -> list[int]:
    rank = {value: position for position, value in enumerate(learned_order)}
    wanted = [value for value, preference in axis.preference.items() if preference > 0.0]
    if axis.share <= 0.0:
        return wanted[:count]
    wanted.sort(key=lambda v: (-axis.preference[v], rank.get(v, len(rank)), v))
    return wanted[:count]


def _mean_of(estimates: Sequence[RateEstimate]) -> float | None:
    return _mean([e.adjusted_rate for e in estimates], [e.sample for e in estimates])


def _mean(rates: Sequence[float], samples: Sequence[float]) -> float | None:
    total = sum(samples)
    if not total:
        return None
    return sum(rate * sample for rate, sample in zip(rates, samples, strict=True)) / total


def _product(
    day: RateEstimate, hour: RateEstimate, day_mean: float | None, hour_mean: float | None
) -> RateEstimate:
    """Rate of a cell when day and hour act independently on the rate.

    rate = day * hour / mean of the hours, each axis against its own mean, because touches of known
    hour are other ones than those of known weekday; relative errors add in squares (first-order
    error propagation on the log scale), which keeps the interval's bounds positive.
    """
    if not hour_mean:
        return day
    rate = min(1.0, day.adjusted_rate * hour.adjusted_rate / hour_mean)
    down = math.hypot(*(_log_ratio(part.adjusted_rate, part.low) for part in (day, hour)))
    up = math.hypot(*(_log_ratio(part.high, part.adjusted_rate) for part in (day, hour)))
    return _smoothed(
        rate,
        rate * math.exp(-down),
        min(1.0, rate * math.exp(up)),
        min(day.sample, hour.sample),
        day_mean,
    )


def _smoothed(
    rate: float, low: float, high: float, sample: int, mean: float | None
) -> RateEstimate:
    """A rate that was not counted: the conversions are those its sample would have at this rate."""
    return RateEstimate(
        rate=None,
        adjusted_rate=rate,
        low=low,
        high=high,
        sample=sample,
        converted=round(rate * sample),
        adjusted_lift=rate / mean if mean else None,
    )


def _log_ratio(upper: float, lower: float) -> float:
    tiny = 1e-12
    return math.log(max(upper, tiny) / max(lower, tiny))


def _touch_shares(pattern: WhenPattern) -> tuple[TouchShare, ...]:
    shares: dict[int, float] = {}
    for key, share in pattern.converting_touch_distribution.items():
        number = int(key.removeprefix("touch_").removesuffix("_plus"))
        shares[number] = shares.get(number, 0.0) + share
    hazards = {touch.touch_number: touch.hazard for touch in pattern.touch_hazard}
    return tuple(
        TouchShare(touch_number=number, share=shares.get(number), hazard=hazards.get(number))
        for number in sorted(shares.keys() | hazards.keys())
    )


DEFAULT_TIMING: Final = TimingPlan(None, 0.0, Source.LEARNED)
"""What answers before anything was learned."""
