"""What the detectors find, typed; converts to and from the stored JSON.

JSON keys are the field names here, which are also the field names of the proto messages: one
contract for producer, store and every reader (a test compares the three). Tuples become lists,
instants ISO text, enumerations their value. Rates are fractions 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from cis_server.domain.clock_rates import DayRate, HourRate
from cis_server.domain.conversation_pattern import ConversationPattern
from cis_server.domain.envelope import AttributeRanking, Envelope
from cis_server.domain.funnel_pattern import FunnelPattern
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType
from cis_server.domain.what_pattern import WhatPattern

MIN_GAP_DAYS: Final = 2.0
"""Never fewer days between any two touches (consumption sheet, section 3), whatever is learned."""

# WHO


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRange(Stored):
    """One head-count range; `range_max` is None for the open top one."""

    range: str
    range_min: int
    range_max: int | None
    estimate: RateEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeAnalysis(Stored):
    """Head count: ranges in natural order and the winner, if there is one."""

    sweet_spot: str | None
    sweet_spot_min: int | None
    sweet_spot_max: int | None
    sweet_spot_rate: float
    distribution: tuple[SizeRange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalLift(Stored):
    """A yes/no signal known at first contact: leads with it against leads without it."""

    signal: str
    with_signal: RateEstimate
    without_signal: RateEstimate
    unknown: int
    """Leads for which the signal is not known; in neither group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingSignals(Stored):
    """Lift of adjusted rates, with / without; 1.0 when either side is under the minimum."""

    new_role_lift: float
    hiring_lift: float
    funded_lift: float
    signals: tuple[SignalLift, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectionCount(Stored):
    """One objection within one segment; rate = leads that raised it / contacted leads."""

    objection: str
    count: int
    unique_leads: int
    estimate: RateEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectionPatterns(Stored):
    """Objections per segment, as rates per contacted lead."""

    by_industry: dict[str, tuple[ObjectionCount, ...]]
    by_company_size: dict[str, tuple[ObjectionCount, ...]]
    overall_distribution: tuple[ObjectionCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoPattern(Stored):
    """Which leads convert."""

    TYPE: ClassVar[PatternType] = PatternType.WHO

    envelope: Envelope
    title_rankings: tuple[SegmentRate, ...]
    industry_rankings: tuple[SegmentRate, ...]
    size_analysis: SizeAnalysis | None
    timing_signals: TimingSignals | None
    objection_patterns: ObjectionPatterns | None
    attribute_rankings: tuple[AttributeRanking, ...]
    """Every further dimension: title_level, title_function, seniority, revenue_band, funding_band,
    technology, city, region, country, person_*, timezone, email_status, employment_*, and each
    lead attribute as ``attributes.<name>``."""


# WHEN


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekSurface(Stored):
    """Smoothed rate per local weekday x hour: cell (day - 1) * 24 + hour, 168 cells."""

    bandwidth_hours: float
    rate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    effective_sample: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTiming(Stored):
    """Days, hours and surface of one channel, shrunk to all channels."""

    channel: str
    sample: int
    best_days: tuple[DayRate, ...]
    best_hours: tuple[HourRate, ...]
    surface: WeekSurface | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchHazard(Stored):
    """Conversions attributed to touch t / leads that received touch t."""

    touch_number: int
    at_risk: int
    converted: int
    hazard: RateEstimate
    marginal_value: float
    """Expected further conversions per lead when this touch is sent, with its interval."""
    marginal_low: float
    marginal_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRate(Stored):
    """Conversion hazard of the later touch by days waited before it."""

    gap_days_min: int
    gap_days_max: int
    estimate: RateEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceGap(Stored):
    """Waiting time between touch `from_touch` and the next one."""

    from_touch: int
    to_touch: int
    gap_days: float
    """What to plan with, from `min_days` to `max_days`; the default when nothing was learned."""
    min_days: float
    """At least `MIN_GAP_DAYS`."""
    max_days: float
    sample: int
    learned: bool
    rates: tuple[GapRate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngagementTiming(Stored):
    """Human opens and clicks after sending, minutes; None without data."""

    sample: int
    avg_time_to_open_minutes: float | None
    median_time_to_open_minutes: float | None
    avg_time_to_click_minutes: float | None
    median_time_to_click_minutes: float | None
    median_open_to_click_minutes: float | None
    optimal_open_window_minutes: float | None
    optimal_click_window_minutes: float | None
    open_rate: float
    click_rate: float
    click_to_open_rate: float | None
    """Of the opened e-mails, those clicked too."""
    machine_open_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimezoneRow(Stored):
    """One lead-local zone."""

    timezone: str
    sample: int
    open_rate: float | None
    click_rate: float | None
    avg_time_to_open_minutes: float | None
    avg_send_hour_local: float | None
    """Circular mean, 0..24."""
    estimate: RateEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class TimezoneInsights(Stored):
    """Zones by volume; coverage = share of touches with a known zone."""

    by_timezone: tuple[TimezoneRow, ...]
    timezone_coverage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionTiming(Stored):
    """Days from first touch to conversion by Kaplan-Meier over all contacted leads."""

    sample: int
    converted: int
    avg_days_to_convert: float | None
    """Among converted leads."""
    median_days_to_convert: float | None
    """Among converted leads: the day by which half of the conversions had happened."""
    percentile_50: float | None
    percentile_80: float | None
    percentile_95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionCoverage(Stored):
    """Share of touches precise enough for each analysis."""

    hour: float
    weekday: float
    gap: float
    timezone: float
    """Share with a known time zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhenPattern(Stored):
    """When to send."""

    TYPE: ClassVar[PatternType] = PatternType.WHEN

    envelope: Envelope
    best_days: tuple[DayRate, ...]
    """All seven days that were seen, best evidence first."""
    best_hours: tuple[HourRate, ...]
    surface: WeekSurface | None
    by_channel: tuple[ChannelTiming, ...]
    converting_touch_distribution: dict[str, float]
    """``touch_1`` ... ``touch_10_plus``: share of conversions by the touch credited; adds to 1."""
    peak_converting_touch: int | None
    """With the largest share; 10 stands for all later ones too."""
    avg_touches_to_convert: float | None
    touch_hazard: tuple[TouchHazard, ...]
    optimal_sequence_gaps: dict[str, float]
    """``touch_1_to_2`` ... ``touch_5_to_6``: days; all five present."""
    sequence_gaps: tuple[SequenceGap, ...]
    engagement_timing: EngagementTiming | None
    timezone_insights: TimezoneInsights | None
    conversion_timing: ConversionTiming | None
    coverage: PrecisionCoverage


# HOW


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRate(Stored):
    """Leads whose first touches went through these channels in this order."""

    channels: tuple[str, ...]
    sequence: str
    """The channels joined by a right arrow."""
    segment: SegmentRate


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencePatterns(Stored):
    """Sequences of 2..6 channels and their three-channel keys, winners first."""

    winning_sequences: tuple[SequenceRate, ...]
    sequences: tuple[SequenceRate, ...]
    three_channel: tuple[SequenceRate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCount(Stored):
    """Leads touched through this many channels ("1", "2", "3", "4+")."""

    channels: str
    estimate: RateEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiChannelLift(Stored):
    """One channel against several, among leads that received at least two touches."""

    single_channel_rate: float | None
    multi_channel_rate: float | None
    multi_channel_lift: float | None
    single: RateEstimate | None
    multi: RateEstimate | None
    recommendation: str
    """``multi``, ``single`` or ``unknown``."""
    optimal_channel_count: str | None
    buckets: tuple[ChannelCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTouch(Stored):
    """First channels and the best one, if one is."""

    rates: tuple[SegmentRate, ...]
    best_first_channel: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailEngagement(Stored):
    """Human opens and clicks against conversion, per lead."""

    sample_size: int
    open_rate: float
    click_rate: float
    click_to_open_rate: float | None
    """Of the leads that opened, those that clicked too."""
    conversion_rate_if_opened: float | None
    conversion_rate_if_not_opened: float | None
    conversion_rate_if_clicked: float | None
    open_conversion_lift: float | None
    click_conversion_lift: float | None
    avg_opens_converted: float | None
    avg_opens_not_converted: float | None
    avg_time_to_open_converted_minutes: float | None
    avg_time_to_click_converted_minutes: float | None
    insights: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentCount(Stored):
    """Inbound messages of one sentiment."""

    sentiment: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationQuality(Stored):
    """Threads of one channel."""

    thread_count: int
    avg_messages_per_thread: float
    avg_lead_messages: float
    avg_lead_response_minutes: float | None
    conversion_rate: float
    estimate: RateEstimate
    sentiment_distribution: tuple[SentimentCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCredit(Stored):
    """Conversions credited to a channel by the Markov removal effect (an association)."""

    channel: str
    share: float
    low: float
    high: float
    conversions: float
    removal_effect: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution(Stored):
    """Absorbing Markov chain over channel paths."""

    order: int
    conversions: int
    channels: tuple[ChannelCredit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition(Stored):
    """Success after going from one channel to another."""

    from_channel: str
    to_channel: str
    estimate: RateEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class HowPattern(Stored):
    """Which channels, in which order."""

    TYPE: ClassVar[PatternType] = PatternType.HOW

    envelope: Envelope
    channel_effectiveness: tuple[SegmentRate, ...]
    """Leads touched at least once by the channel. Here and in every other comparison of this
    pattern the raw `rate` is k/n, while `adjusted_rate`, `low`, `high`, `q_value` and the verdict
    hold tier and number of touches fixed: early conversions leave little time for many channels,
    and the tier decides which are used, so the raw rate may lie outside the interval."""
    touch_effectiveness: tuple[SegmentRate, ...]
    """Touches of the channel that were followed by the conversion they are credited with."""
    first_touch_effectiveness: FirstTouch | None
    sequence_patterns: SequencePatterns | None
    tier_channel_effectiveness: dict[str, tuple[SegmentRate, ...]]
    multi_channel_lift: MultiChannelLift | None
    email_engagement_correlation: EmailEngagement | None
    channel_conversation_quality: dict[str, ConversationQuality]
    booking_channel_distribution: dict[str, float]
    channel_transitions: tuple[Transition, ...]
    attribution: Attribution | None
    channel_attributes: tuple[AttributeRanking, ...] = field(default=())
    """Activity-level facts of a channel that vary, e.g. the kind of phone line."""


Pattern = WhoPattern | WhatPattern | WhenPattern | HowPattern | FunnelPattern | ConversationPattern

PATTERN_CLASSES: Mapping[PatternType, type[Stored]] = {
    WhoPattern.TYPE: WhoPattern,
    WhatPattern.TYPE: WhatPattern,
    WhenPattern.TYPE: WhenPattern,
    HowPattern.TYPE: HowPattern,
    FunnelPattern.TYPE: FunnelPattern,
    ConversationPattern.TYPE: ConversationPattern,
}
