"""What the FUNNEL detector finds: attendance, deals, revenue, time in each stage.

Rates and shares are fractions 0..1, values are in the currency named beside them, times in days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cis_server.domain.clock_rates import DayRate, HourRate
from cis_server.domain.envelope import Envelope, FlagEffect
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight(Stored):
    """One thing that stands out, in words and figures."""

    type: str
    impact: str
    """``high``, ``medium`` or ``low``."""
    message: str
    action: str
    """Empty: nothing in particular."""
    figures: dict[str, float]
    """By name with the unit in it."""
    labels: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRate(Stored):
    """Meetings that take place, of those whose time has passed and whose attendance is known."""

    sample_size: int
    overall_rate: float | None
    """Adjusted."""
    estimate: RateEstimate | None
    best_day: str | None
    """Winning local weekday with the highest `low`, lower case."""
    best_hour: int | None
    by_day: tuple[DayRate, ...]
    by_hour: tuple[HourRate, ...]
    by_days_ahead: tuple[SegmentRate, ...]
    """By days from booking to meeting."""
    by_tier: tuple[SegmentRate, ...]
    confirmation_effect: FlagEffect | None
    reminder_effect: FlagEffect | None
    reschedule_effect: FlagEffect | None
    unknown_attendance_share: float | None
    """Of past meetings that were not called off."""
    insights: tuple[Insight, ...]
    local_time_coverage: float | None = None
    """Share of the meetings whose lead's time zone is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DealValues(Stored):
    """Values of deals in one currency."""

    currency_code: str
    count: int
    median: float | None
    mean: float | None
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingToDeal(Stored):
    """Attended meetings that lead to a deal; a meeting counts once, whatever its deals."""

    sample_size: int
    meeting_to_deal_rate: float | None
    """Adjusted."""
    estimate: RateEstimate | None
    avg_deal_value: float | None
    median_deal_value: float | None
    values: tuple[DealValues, ...]
    by_segment: tuple[SegmentRate, ...]
    """`value` is ``outcome=good``, ``meeting_type=demo``, ``company_size=16–30``."""
    insights: tuple[Insight, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate(Stored):
    """Deals that are won, as a cohort by creation."""

    sample_size: int
    """Closed deals; open ones are `censored`."""
    win_rate: float | None
    """Adjusted share of the closed deals."""
    estimate: RateEstimate | None
    avg_won_value: float | None
    median_won_value: float | None
    avg_days_to_close: float | None
    median_days_to_close: float | None
    values: tuple[DealValues, ...]
    by_channel: tuple[SegmentRate, ...]
    """By channel of the converting touch."""
    by_company_size: tuple[SegmentRate, ...]
    by_touches: tuple[SegmentRate, ...]
    by_tier: tuple[SegmentRate, ...]
    censored: int
    insights: tuple[Insight, ...]
    by_first_channel: tuple[SegmentRate, ...] = ()
    """By channel of the earliest outbound touch."""
    eventual_win_rate: float | None = None
    """Share won once every deal has closed, by Aalen-Johansen with open deals censored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostReasonShare(Stored):
    """One reason for losing deals; ``unknown`` when none was given."""

    reason: str
    count: int
    share: float
    total_value_lost: float | None
    avg_days_in_pipeline: float | None
    median_days_in_pipeline: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostDeals(Stored):
    """Deals that are lost."""

    sample_size: int
    top_reasons: tuple[LostReasonShare, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRevenue(Stored):
    """Deals and revenue of one channel; parts of deals where credit is shared."""

    channel: str
    deals_won: float
    deals_total: float
    win_rate: float | None
    revenue: float
    revenue_share: float
    avg_deal_value: float | None
    median_deal_value: float | None
    estimate: RateEstimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelAttribution(Stored):
    """Deals and revenue by channel, in the client's main currency."""

    sample_size: int
    total_revenue: float
    channels: tuple[ChannelRevenue, ...]
    """By the earliest outbound touch."""
    currency_code: str
    models: dict[str, tuple[ChannelRevenue, ...]]
    """``first_touch``, ``last_touch``, ``linear``, ``time_decay`` over `traced_deals`."""
    traced_deals: int
    """Closed deals all of whose touches lie in the window."""
    traced_revenue: float
    """What each model divides among the channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageVelocity(Stored):
    """Days in one stage, of deals later won and later lost."""

    stage: str
    avg_days_won: float | None
    avg_days_lost: float | None
    median_days_won: float | None
    median_days_lost: float | None
    won_count: int
    lost_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StalledDeal(Stored):
    """An open deal that stands still."""

    deal_id: str
    stage: str
    days_in_stage: float
    usual_days: float
    """Days within which 90 % of won deals left the stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Velocity(Stored):
    """Time in each stage of the pipeline."""

    sample_size: int
    """Stage changes."""
    stage_velocity: tuple[StageVelocity, ...]
    stalled_deals: tuple[StalledDeal, ...]
    insights: tuple[Insight, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelPattern(Stored):
    """What happens after the booking."""

    TYPE: ClassVar[PatternType] = PatternType.FUNNEL

    envelope: Envelope
    show_rate: ShowRate | None
    meeting_to_deal: MeetingToDeal | None
    win_rate: WinRate | None
    lost_deals: LostDeals | None
    channel_attribution: ChannelAttribution | None
    velocity: Velocity | None
