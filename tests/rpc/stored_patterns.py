"""Patterns small enough to read, for tests that store one and ask for what it says."""

from __future__ import annotations

import datetime as dt

from cis_server.domain.clock_rates import DayRate, HourRate
from cis_server.domain.envelope import Envelope
from cis_server.domain.patterns import (
    FirstTouch,
    HowPattern,
    MultiChannelLift,
    PrecisionCoverage,
    SequenceGap,
    SequencePatterns,
    WhenPattern,
    WhoPattern,
)
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType, Verdict
from cis_server.persistence.patterns import NewPattern

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def rate(k: int, n: int) -> RateEstimate:
    """k of n with an interval wide enough to be believed."""
    mean = (k + 1) / (n + 10)
    return RateEstimate(
        rate=k / n,
        adjusted_rate=mean,
        low=mean * 0.8,
        high=min(1.0, mean * 1.2),
        sample=n,
        converted=k,
        lift=1.5,
        q_value=0.01,
    )


def segment(value: str, k: int, n: int) -> SegmentRate:
    return SegmentRate(value=value, estimate=rate(k, n), verdict=Verdict.WINNING)


def envelope(kind: PatternType, now: dt.datetime, confidence: float) -> Envelope:
    return Envelope(
        type=kind,
        as_of=now,
        window_start=now - dt.timedelta(days=90),
        window_end=now,
        method="by hand",
        sample_size=4000,
        n_converted=400,
        unit="touch",
        baseline_conversion_rate=0.1,
        confidence=confidence,
    )


def who(now: dt.datetime, confidence: float = 0.9) -> WhoPattern:
    """Founders convert best."""
    return WhoPattern(
        envelope=envelope(PatternType.WHO, now, confidence),
        title_rankings=(segment("founder", 90, 300), segment("analyst", 10, 400)),
        industry_rankings=(),
        size_analysis=None,
        timing_signals=None,
        objection_patterns=None,
        attribute_rankings=(),
    )


def when(now: dt.datetime, confidence: float = 0.9) -> WhenPattern:
    """Thursday at 15 o'clock is best by far; the second touch waits nine days."""
    days = tuple(
        DayRate(day=name, day_of_week=i, segment=segment(name, 300 if i == 4 else 10, 600))
        for i, name in enumerate(DAYS, start=1)
    )
    hours = tuple(
        HourRate(hour=h, segment=segment(f"{h:02}", 300 if h == 15 else 10, 600))
        for h in range(8, 18)
    )
    return WhenPattern(
        envelope=envelope(PatternType.WHEN, now, confidence),
        best_days=days,
        best_hours=hours,
        surface=None,
        by_channel=(),
        converting_touch_distribution={"touch_1": 0.6, "touch_2": 0.4},
        peak_converting_touch=1,
        avg_touches_to_convert=1.4,
        touch_hazard=(),
        optimal_sequence_gaps={"touch_1_to_2": 9.0},
        sequence_gaps=(
            SequenceGap(
                from_touch=1,
                to_touch=2,
                gap_days=9.0,
                min_days=7.0,
                max_days=12.0,
                sample=500,
                learned=True,
            ),
        ),
        engagement_timing=None,
        timezone_insights=None,
        conversion_timing=None,
        coverage=PrecisionCoverage(hour=1.0, weekday=1.0, gap=1.0, timezone=1.0),
    )


def how(now: dt.datetime, confidence: float = 0.9) -> HowPattern:
    """The telephone is best, mail is worst."""
    channels = (
        segment("voice", 500, 1000),
        segment("linkedin", 100, 1000),
        segment("email", 20, 1000),
    )
    return HowPattern(
        envelope=envelope(PatternType.HOW, now, confidence),
        channel_effectiveness=channels,
        touch_effectiveness=channels,
        first_touch_effectiveness=FirstTouch(rates=channels, best_first_channel="voice"),
        sequence_patterns=SequencePatterns(winning_sequences=(), sequences=(), three_channel=()),
        tier_channel_effectiveness={},
        multi_channel_lift=MultiChannelLift(
            single_channel_rate=0.1,
            multi_channel_rate=0.2,
            multi_channel_lift=2.0,
            single=rate(100, 1000),
            multi=rate(200, 1000),
            recommendation="multi",
            optimal_channel_count="2",
            buckets=(),
        ),
        email_engagement_correlation=None,
        channel_conversation_quality={},
        booking_channel_distribution={},
        channel_transitions=(),
        attribution=None,
    )


def to_store(
    pattern: Stored, now: dt.datetime, *, confidence: float = 0.9, days: float = 14.0
) -> NewPattern:
    """The row of a pattern that was computed now."""
    kind: PatternType = pattern.TYPE  # type: ignore[attr-defined]
    return NewPattern(
        type=kind,
        content=pattern.to_json(),
        sample_size=4000,
        confidence=confidence,
        computed_at=now,
        valid_until=now + dt.timedelta(days=days),
    )
