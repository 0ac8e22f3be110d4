"""The answers, as plain data: field for field what the public responses carry.

`rpc` converts them one to one. None means "not known" and is left unset on the wire. Instants are
aware UTC datetimes, rates fractions 0..1.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cis_server.domain.model_info import ModelInfo
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import PatternType, Source, Tier, Verdict


class ZoneSource(StrEnum):
    """How the zone of an answer was found, surest first."""

    EXACT = "exact"
    """Named in the request or stored with the lead."""
    CITY = "city"
    REGION = "region"
    COUNTRY = "country"
    """Told from the country alone, which may have several zones."""
    ASSUMED = "assumed"
    """The campaign's or client's zone, for want of a better one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAdvice:
    """One weekday on the lead's clock."""

    day_of_week: int
    """ISO, Monday = 1."""
    value: str
    """Lower-case English name."""
    estimate: RateEstimate | None
    verdict: Verdict
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class HourAdvice:
    """One hour on the lead's clock."""

    hour: int
    """0..23."""
    value: str
    estimate: RateEstimate | None
    verdict: Verdict
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class SendWindow:
    """A stretch of time in which to send; every instant of it shows `hour` on the lead's clock."""

    start: dt.datetime
    end: dt.datetime
    """First instant after it."""
    local_start: str
    """`start` on the lead's clock: ISO 8601 with the offset then in force."""
    timezone: str
    day_of_week: int
    hour: int
    estimate: RateEstimate | None
    propensity: float
    """Probability that this window was put first; 1 for the best one without exploration."""
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchShare:
    """What the touch of one number is worth."""

    touch_number: int
    """10 stands for the tenth and all later ones."""
    share: float | None
    """Share of all conversions credited to it."""
    hazard: RateEstimate | None
    """Conversions at this touch / leads that received it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingAnswer:
    """When to contact a lead."""

    best_days: tuple[DayAdvice, ...]
    best_hours: tuple[HourAdvice, ...]
    windows: tuple[SendWindow, ...]
    """In order of preference."""
    next_send_time: dt.datetime
    """Inside the first window."""
    gap_days: float | None
    """Days to wait after the touch before; None for the first touch."""
    gap_min_days: float | None
    gap_max_days: float | None
    touch_distribution: tuple[TouchShare, ...]
    timezone: str
    timezone_source: ZoneSource
    decision_id: str
    propensity: float
    """That of the first window."""
    model: ModelInfo


class Basis(StrEnum):
    """What a channel's rate was counted over."""

    TIER = "tier"
    OVERALL = "overall"
    NONE = "none"


class WhyNot(StrEnum):
    """Why a channel may not be used."""

    SUPPRESSED = "suppressed"
    TIER = "tier"
    CONTACT_DATA = "contact_data"
    EMAIL_INVALID = "email_invalid"
    CALL_REGISTER = "call_register"
    CAMPAIGN_ALLOCATION = "campaign_allocation"
    NOT_AVAILABLE = "not_available"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelChoice:
    """One channel, whether it may be used, and how well it does."""

    channel: str
    estimate: RateEstimate | None
    verdict: Verdict
    allowed: bool
    why_not: WhyNot | None
    why_not_text: str
    """The same in plain words; empty when allowed."""
    propensity: float
    """Probability that it was drawn as next channel."""
    basis: Basis


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSequence:
    """An order of channels."""

    channels: tuple[str, ...]
    estimate: RateEstimate | None
    verdict: Verdict
    source: Source


class MultiChannel(StrEnum):
    """Whether several channels do better than one."""

    MULTI = "multi"
    SINGLE = "single"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiChannelAdvice:
    """Several channels against one."""

    recommendation: MultiChannel
    single: RateEstimate | None
    multi: RateEstimate | None
    lift: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsAnswer:
    """Through which channel to contact a lead."""

    channels: tuple[ChannelChoice, ...]
    """The allowed ones best first, then the others."""
    next_channel: str | None
    """None when none is allowed."""
    sequences: tuple[ChannelSequence, ...]
    multi_channel: MultiChannelAdvice
    tier: Tier | None
    """The tier that counted; None for all together."""
    decision_id: str
    propensity: float
    """That of `next_channel`; 1 when there is none."""
    model: ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTouch:
    """One touch of a plan."""

    touch_number: int
    """Counted with those already sent."""
    channel: str
    scheduled: dt.datetime
    local_time: str
    """`scheduled` on the lead's clock: ISO 8601 with the offset then in force."""
    timezone: str
    gap_days: float | None
    """Days since the touch before; None when there was none or its time is not known."""
    source: Source
    """Of time and channel, the weaker one."""
    confidence: float
    """Of the same; 0 for defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceAnswer:
    """A plan of touches."""

    touches: tuple[PlannedTouch, ...]
    """In order of time; empty when no channel is open."""
    estimate: RateEstimate | None
    """Of leads contacted in this order; None when that was not learned."""
    why_not: WhyNot | None
    """Why there are no touches; None when there are."""
    why_not_text: str
    """The same in plain words; empty when there are."""
    decision_id: str
    propensity: float
    model: ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRanking:
    """Values of one kind of content by what the evidence says of them."""

    effective: tuple[SegmentRate, ...] = ()
    """Best first."""
    ineffective: tuple[SegmentRate, ...] = ()
    """Worst first."""
    undecided: tuple[SegmentRate, ...] = ()
    """By lower bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthAdvice:
    """How long a text should be, in `unit`."""

    optimal: int | None
    """None when length was found to make no difference, or nothing is known of the channel."""
    range_min: int | None
    range_max: int | None
    unit: str
    """``words`` or ``characters``."""
    verdict: Verdict
    estimate: RateEstimate | None
    """Of the best lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalizationEffect:
    """What a way of personalising does."""

    value: str
    present: RateEstimate | None
    absent: RateEstimate | None
    lift: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentAnswer:
    """What content converts; the unit of every rate is the message."""

    pain_points: ContentRanking
    ctas: ContentRanking
    angles: ContentRanking
    subject_patterns: ContentRanking
    optimal_length: LengthAdvice
    personalization_lift: tuple[PersonalizationEffect, ...]
    """Best first."""
    template_ranking: tuple[SegmentRate, ...]
    """By lower bound."""
    model: ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLine:
    """One sentence with the numbers behind it."""

    text: str
    """Ends with sample and band of confidence."""
    type: PatternType
    key: str
    """Of the pattern's content, e.g. ``pain_points``."""
    estimate: RateEstimate | None
    """The rate it speaks of; None when it speaks of none."""
    figures: Mapping[str, float]
    """Further figures it names, by name with the unit in it."""
    sample_size: int
    confidence: float
    """0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptContextAnswer:
    """What was learned, as sentences."""

    lines: tuple[PromptLine, ...]
    """Content, timing, channels."""
    model: ModelInfo
