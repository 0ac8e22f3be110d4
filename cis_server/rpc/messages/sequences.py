"""Plans of touches: request and answer between message and plain values."""

from __future__ import annotations

from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_server.errors import InvalidInput
from cis_server.rpc.messages.leads import lead_from_message
from cis_server.rpc.messages.values import (
    SOURCE_NUMBER,
    TIER_OF_NUMBER,
    instant,
    model_message,
    rate_message,
    timestamp,
)
from cis_server.serving.answers import SequenceAnswer
from cis_server.serving.sequence import SequenceRequest


def sequence_request(message: recommendation.GetSequenceRequest) -> SequenceRequest:
    """What is asked.

    Raises:
        InvalidInput: the tier is not stated, or the lead has a date that is none.
    """
    subject = message.WhichOneof("subject")
    tier = TIER_OF_NUMBER.get(message.tier) if subject == "tier" else None
    if subject == "tier" and tier is None:
        raise InvalidInput("tier", "must be stated")
    lead = lead_from_message(message.lead, "lead") if subject == "lead" else None
    lead_id = message.lead_id if subject == "lead_id" else None
    if lead is not None:
        lead_id = lead.lead_id or None
    return SequenceRequest(
        client_id=message.client_id,
        tier=tier,
        lead=lead,
        lead_id=lead_id,
        campaign_id=message.campaign_id if message.HasField("campaign_id") else None,
        touch_count=message.touch_count if message.HasField("touch_count") else None,
        available_channels=tuple(message.available_channels),
        used_channels=tuple(message.used_channels),
        start_time=instant(message, "start_time", "start_time"),
        timezone=message.timezone or None,
    )


def sequence_message(answer: SequenceAnswer) -> recommendation.GetSequenceResponse:
    """A plan of touches."""
    return recommendation.GetSequenceResponse(
        touches=[
            recommendation.PlannedTouch(
                touch_number=touch.touch_number,
                channel=touch.channel,
                scheduled_time=timestamp(touch.scheduled),
                local_time=touch.local_time,
                timezone=touch.timezone,
                gap_days=touch.gap_days,
                source=SOURCE_NUMBER[touch.source],
                confidence=touch.confidence,
            )
            for touch in answer.touches
        ],
        estimate=rate_message(answer.estimate),
        decision_id=answer.decision_id,
        propensity=answer.propensity,
        model=model_message(answer.model),
        why_not=answer.why_not,
        why_not_text=answer.why_not_text,
    )
