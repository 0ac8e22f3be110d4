"""What is planted in simulated outreach, and what is therefore true of it.

`Effects` says what to plant, in log-odds of one touch bringing the conversion; its default is no
effect at all. `Truth` says what follows: expected rates that hold before any coin was thrown, so
that a detector can be measured against them (coverage, power, false winners).

Every mapping is keyed by the words the data carry (an industry's name, a channel, a pain point);
what is not named has effect 0. Effects add up on the log-odds scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LogOdds = Mapping[str, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekPeak:
    """A bump on the circle of local hours, on some weekdays, on one channel or all.

    Log-odds at circular distance d hours from the centre: ``log_odds * exp(-d^2 / (2 width^2))``.
    """

    hour: float
    """Centre, 0..24; 0 is midnight."""
    width_hours: float = 1.0
    log_odds: float = 1.0
    weekdays: tuple[int, ...] = ()
    """ISO weekdays on which it acts; empty means all."""
    channel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapPeak:
    """The best number of days to wait before a later touch; Gaussian in days."""

    days: float
    width_days: float = 1.0
    log_odds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthPeak:
    """The best number of words of a message; Gaussian in words."""

    words: float
    width_words: float = 20.0
    log_odds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowEffects:
    """What makes a booked person come, in log-odds of showing up."""

    base_rate: float = 0.72
    """Mean share of meetings that are attended."""
    confirmed: float = 0.0
    reminder: float = 0.0
    rescheduled: float = 0.0
    per_week_ahead: float = 0.0
    """For each week between booking and meeting."""
    peaks: tuple[WeekPeak, ...] = ()
    """On the local time of the meeting; the channel is that of the converting touch."""
    tiers: LogOdds = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DealEffects:
    """What turns an attended meeting into a deal and a deal into a won one, in log-odds."""

    meeting_to_deal: float = 0.55
    """Mean share of attended meetings that open a deal."""
    good_meeting: float = 0.0
    """On opening a deal, for a meeting with outcome `good`."""
    win_rate: float = 0.35
    """Mean share of deals that are won."""
    first_channels: LogOdds = field(default_factory=dict)
    size_ranges: LogOdds = field(default_factory=dict)
    industries: LogOdds = field(default_factory=dict)
    per_touch: float = 0.0
    """For each touch before the deal beyond the first."""
    median_value: float = 18_000.0
    lost_reasons: Mapping[str, float] = field(default_factory=dict)
    """Relative weights; reasons not named keep weight 1."""
    days_won: float = 28.0
    days_lost: float = 45.0
    """Median days from opening to closing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Everything that can be planted. The default is a null: nothing matters."""

    # the lead
    components: LogOdds = field(default_factory=dict)
    """Component name -> log-odds from its lowest to its highest possible points."""
    title_levels: LogOdds = field(default_factory=dict)
    """Level of `catalogue.TITLES` (``founder``, ``ceo``, ``director``, ...)."""
    title_functions: LogOdds = field(default_factory=dict)
    industries: LogOdds = field(default_factory=dict)
    size_ranges: LogOdds = field(default_factory=dict)
    """Label of `catalogue.SIZE_RANGES`."""
    countries: LogOdds = field(default_factory=dict)
    technologies: LogOdds = field(default_factory=dict)
    signals: LogOdds = field(default_factory=dict)
    """``hiring``, ``new_role``, ``funded``: as of first contact."""
    attributes: LogOdds = field(default_factory=dict)
    """``name=value`` of a free attribute."""
    tiers: LogOdds = field(default_factory=dict)
    """Tier label under the default weights."""
    # when
    weekdays: Mapping[int, float] = field(default_factory=dict)
    """ISO weekday of the lead's own clock."""
    peaks: tuple[WeekPeak, ...] = ()
    touch_hazard: tuple[float, ...] = ()
    """Log-odds of touch 1, 2, ...; later touches keep the last value; empty is flat."""
    gap: GapPeak | None = None
    # how
    channels: LogOdds = field(default_factory=dict)
    first_channels: LogOdds = field(default_factory=dict)
    """On every touch of leads whose first touch used the channel."""
    sequences: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    """On every touch of leads whose first channels are exactly these, in this order."""
    # what
    pain_points: LogOdds = field(default_factory=dict)
    ctas: LogOdds = field(default_factory=dict)
    angles: LogOdds = field(default_factory=dict)
    subjects: LogOdds = field(default_factory=dict)
    """Name of a subject pattern; e-mail only."""
    personalisation: LogOdds = field(default_factory=dict)
    """``first_name``, ``company_mention``, ``recent_news``, ``mutual_connection``,
    ``industry_specific``."""
    templates: LogOdds = field(default_factory=dict)
    """``<channel>-<1..4>``: the template's id without the client."""
    ab_variants: LogOdds = field(default_factory=dict)
    """``A`` or ``B`` of the client's running experiment; acts on its channel's touches."""
    length: Mapping[str, LengthPeak] = field(default_factory=dict)
    """Channel -> best length."""
    # after the booking
    show: ShowEffects = field(default_factory=ShowEffects)
    deals: DealEffects = field(default_factory=DealEffects)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueRate:
    """Expected rate of one segment, and against everybody outside it."""

    units: int
    """Leads, or touches sent, in the segment."""
    rate: float
    complement_rate: float

    @property
    def lift(self) -> float:
        """rate / complement rate; 1.0 when the complement has no rate."""
        return self.rate / self.complement_rate if self.complement_rate > 0 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is true of one simulated client.

    Lead rates are over contacted leads whose address did not bounce and whose whole plan was sent
    (no cut at `as_of`): expected conversions / expected leads not bounced. Touch rates are
    expected conversions credited to a touch / expected touches sent.
    """

    effects: Effects
    intercept: float
    """Log-odds of a touch with no effect at work."""
    baseline: float
    """Expected conversion rate of a lead."""
    touch_baseline: float
    """Expected conversion rate of a touch."""
    lead_rates: Mapping[str, Mapping[str, TrueRate]]
    """Dimension -> value -> rate, of leads: ``title_level``, ``title_function``, ``title``,
    ``industry``, ``size``, ``country``, ``timezone``, ``tier``, ``signal.<name>`` (``true``,
    ``false``), ``technology``, ``first_channel``, ``sequence`` (first three channels joined by
    an arrow), ``attributes.<name>``."""
    touch_rates: Mapping[str, Mapping[str, TrueRate]]
    """Dimension -> value -> rate, of touches: ``weekday`` (1..7), ``hour`` (0..23), ``touch``,
    ``gap`` (whole days), ``channel``, ``pain_point``, ``cta``, ``angle``, ``subject``,
    ``template``, ``ab_variant``, ``personalisation.<name>``."""
    hazard: Floats
    """Expected conversion rate of touch 1, 2, ... among the leads that receive it."""
    week: Floats
    """(168,): planted log-odds of local cell (weekday - 1) * 24 + hour, all channels."""
    lead_probability: Floats
    """(leads,): probability that the lead converts, in lead order; NaN for never contacted."""
    component_log_odds: Mapping[str, float]
    implied_weights: Mapping[str, float]
    """The planted slopes as weights: proportional, within [.05, .50], adding to 1; the default
    weights when no slope is planted."""

    @property
    def peak_hour(self) -> float | None:
        """Hour at the top of the planted day (mean over weekdays), circular; None if flat."""
        day = self.week.reshape(7, 24).mean(axis=0)
        if np.ptp(day) < 1e-12:
            return None
        above = day - day.min()
        angle = np.angle(np.sum(above**4 * np.exp(2j * np.pi * np.arange(24) / 24)))
        return round(float(angle / (2 * np.pi) * 24), 6) % 24
