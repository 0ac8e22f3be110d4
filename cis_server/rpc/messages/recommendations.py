"""Timing and channel answers as messages."""

from __future__ import annotations

from cis_client.v1 import core_pb2
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_server.rpc.messages.values import (
    SOURCE_NUMBER,
    TIER_NUMBER,
    VERDICT_NUMBER,
    model_message,
    number_of,
    rate_message,
    timestamp,
)
from cis_server.serving.answers import (
    Basis,
    ChannelsAnswer,
    MultiChannel,
    TimingAnswer,
    ZoneSource,
)

_ZONE_SOURCE_NUMBER = number_of(recommendation.TimezoneSource, ZoneSource)
_BASIS_NUMBER = number_of(recommendation.RateBasis, Basis)
_MULTI_NUMBER = number_of(core_pb2.MultiChannelRecommendation, MultiChannel)


def timing_message(answer: TimingAnswer) -> recommendation.GetTimingResponse:
    """When to contact a lead."""
    return recommendation.GetTimingResponse(
        best_days=[
            recommendation.DayAdvice(
                day_of_week=core_pb2.DayOfWeek.ValueType(day.day_of_week),
                estimate=rate_message(day.estimate),
                verdict=VERDICT_NUMBER[day.verdict],
                value=day.value,
                source=SOURCE_NUMBER[day.source],
            )
            for day in answer.best_days
        ],
        best_hours=[
            recommendation.HourAdvice(
                hour=hour.hour,
                estimate=rate_message(hour.estimate),
                verdict=VERDICT_NUMBER[hour.verdict],
                value=hour.value,
                source=SOURCE_NUMBER[hour.source],
            )
            for hour in answer.best_hours
        ],
        windows=[
            recommendation.SendWindow(
                start_time=timestamp(window.start),
                end_time=timestamp(window.end),
                local_start=window.local_start,
                timezone=window.timezone,
                estimate=rate_message(window.estimate),
                propensity=window.propensity,
                day_of_week=core_pb2.DayOfWeek.ValueType(window.day_of_week),
                hour=window.hour,
                source=SOURCE_NUMBER[window.source],
            )
            for window in answer.windows
        ],
        next_send_time=timestamp(answer.next_send_time),
        gap_days=answer.gap_days,
        gap_min_days=answer.gap_min_days,
        gap_max_days=answer.gap_max_days,
        touch_distribution=[
            recommendation.TouchShare(
                touch_number=touch.touch_number,
                share=touch.share,
                hazard=rate_message(touch.hazard),
            )
            for touch in answer.touch_distribution
        ],
        timezone=answer.timezone,
        timezone_source=_ZONE_SOURCE_NUMBER[answer.timezone_source],
        decision_id=answer.decision_id,
        propensity=answer.propensity,
        model=model_message(answer.model),
    )


def channels_message(answer: ChannelsAnswer) -> recommendation.GetChannelsResponse:
    """Through which channel to contact a lead."""
    advice = answer.multi_channel
    return recommendation.GetChannelsResponse(
        channels=[
            recommendation.ChannelChoice(
                channel=choice.channel,
                estimate=rate_message(choice.estimate),
                allowed=choice.allowed,
                why_not=choice.why_not,
                why_not_text=choice.why_not_text,
                propensity=choice.propensity,
                verdict=VERDICT_NUMBER[choice.verdict],
                basis=_BASIS_NUMBER[choice.basis],
            )
            for choice in answer.channels
        ],
        next_channel=answer.next_channel,
        sequences=[
            recommendation.ChannelSequence(
                channels=sequence.channels,
                estimate=rate_message(sequence.estimate),
                verdict=VERDICT_NUMBER[sequence.verdict],
                source=SOURCE_NUMBER[sequence.source],
            )
            for sequence in answer.sequences
        ],
        multi_channel=core_pb2.MultiChannelAdvice(
            recommendation=_MULTI_NUMBER[advice.recommendation],
            single=rate_message(advice.single),
            multi=rate_message(advice.multi),
            lift=advice.lift,
        ),
        decision_id=answer.decision_id,
        propensity=answer.propensity,
        model=model_message(answer.model),
        tier=TIER_NUMBER[answer.tier] if answer.tier is not None else core_pb2.TIER_UNSPECIFIED,
    )
