"""`cis.v1.RecommendationService`: when, through which channel, with what, in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import recommendation_service_pb2_grpc as recommendation_grpc
from cis_server.domain.tiers import tier_of
from cis_server.errors import InvalidInput
from cis_server.rpc.deadlines import remaining_seconds
from cis_server.rpc.messages.content import content_message
from cis_server.rpc.messages.prompts import prompt_context_message
from cis_server.rpc.messages.recommendations import channels_message, timing_message
from cis_server.rpc.messages.sequences import sequence_message, sequence_request
from cis_server.rpc.messages.standing_answers import ChannelsBytes, TimingBytes
from cis_server.rpc.messages.values import TIER_OF_NUMBER, instant
from cis_server.rpc.recalled import Recall, Recalled, RequestMemory
from cis_server.serving.advisor import Advisor
from cis_server.serving.channels import ChannelsRequest
from cis_server.serving.prompt_context import DEFAULT_LINES
from cis_server.serving.timing import Place, TimingRequest


class RecommendationService(recommendation_grpc.RecommendationServiceServicer):
    """Answers from the patterns in memory; a stored lead costs one bounded read.

    Args:
        advisor: the answers.
        store_seconds: longest wait for the database within a call.
    """

    def __init__(self, advisor: Advisor, *, store_seconds: float) -> None:
        self._advisor = advisor
        self._store_seconds = store_seconds
        self._timing = RequestMemory[TimingBytes]()
        self._channels = RequestMemory[ChannelsBytes]()

    @property
    def recalls(self) -> Mapping[str, Recall]:
        """What finds the answers of the methods that keep some, by path."""
        return {
            "/cis.v1.RecommendationService/GetTiming": self._recall_timing,
            "/cis.v1.RecommendationService/GetChannels": self._recall_channels,
        }

    def GetTiming(  # noqa: N802
        self, request: recommendation.GetTimingRequest, context: grpc.ServicerContext
    ) -> Any:
        """When to contact a lead: a `GetTimingResponse`, or one serialised already."""
        asked = _timing_request(request)
        if asked.lead_id is not None:
            left = remaining_seconds(context, self._store_seconds)
            return timing_message(self._advisor.timing_of_lead(asked, left))
        found = self._advisor.standing.timing(asked)
        if found is not None:
            raw = request.SerializeToString()
            self._timing.keep(raw, TimingBytes.of(*found))
            recalled = self._recall_timing(raw)
            if recalled is not None:
                return recalled.answer
        return timing_message(self._advisor.timing(asked))

    def GetChannels(  # noqa: N802
        self, request: recommendation.GetChannelsRequest, context: grpc.ServicerContext
    ) -> Any:
        """Through which channel to contact a lead: a `GetChannelsResponse`, or one serialised."""
        asked = _channels_request(request)
        if asked.lead_id is not None:
            left = remaining_seconds(context, self._store_seconds)
            return channels_message(self._advisor.channels_of_lead(asked, left))
        found = self._advisor.standing.channels(asked)
        if found is not None:
            raw = request.SerializeToString()
            self._channels.keep(raw, ChannelsBytes.of(*found))
            recalled = self._recall_channels(raw)
            if recalled is not None:
                return recalled.answer
        return channels_message(self._advisor.channels(asked))

    def _recall_timing(self, request: bytes) -> Recalled | None:
        kept = self._timing.get(request)
        if kept is None:
            return None
        moment = self._advisor.standing.timing_moment(kept.footing, kept.moments)
        return Recalled(kept.footing.key.client_id, kept.at(moment)) if moment else None

    def _recall_channels(self, request: bytes) -> Recalled | None:
        kept = self._channels.get(request)
        if kept is None:
            return None
        moment = self._advisor.standing.channels_moment(kept.footing, kept.moments)
        return Recalled(kept.footing.key.client_id, kept.at(moment)) if moment else None

    def GetSequence(  # noqa: N802
        self, request: recommendation.GetSequenceRequest, context: grpc.ServicerContext
    ) -> recommendation.GetSequenceResponse:
        """A plan of touches, or why there are none."""
        asked = sequence_request(request)
        if asked.lead_id is None or asked.lead is not None:
            answer = self._advisor.sequence(asked)
        else:
            left = remaining_seconds(context, self._store_seconds)
            answer = self._advisor.sequence_of_lead(asked, left)
        return sequence_message(answer)

    def GetContent(  # noqa: N802
        self, request: recommendation.GetContentRequest, _context: grpc.ServicerContext
    ) -> recommendation.GetContentResponse:
        """What content converts on a channel."""
        channel = request.channel if request.HasField("channel") else None
        return content_message(self._advisor.content(request.client_id, channel))

    def GetPromptContext(  # noqa: N802
        self, request: recommendation.GetPromptContextRequest, _context: grpc.ServicerContext
    ) -> recommendation.GetPromptContextResponse:
        """What was learned, as sentences."""
        channel = request.channel if request.HasField("channel") else None
        most = request.max_lines if request.HasField("max_lines") else DEFAULT_LINES
        return prompt_context_message(
            self._advisor.prompt_context(request.client_id, channel, most)
        )


def _timing_request(request: recommendation.GetTimingRequest) -> TimingRequest:
    place = Place(
        country=request.country or None, region=request.region or None, city=request.city or None
    )
    default = TimingRequest(client_id=request.client_id)
    return TimingRequest(
        client_id=request.client_id,
        lead_id=request.lead_id if request.HasField("lead_id") else None,
        timezone=request.timezone or None,
        places=(place,) if place != Place() else (),
        campaign_id=request.campaign_id if request.HasField("campaign_id") else None,
        channel=request.channel if request.HasField("channel") else None,
        touch_number=request.touch_number if request.HasField("touch_number") else None,
        last_touch_time=instant(request, "last_touch_time", "last_touch_time"),
        earliest_time=instant(request, "earliest_time", "earliest_time"),
        count=request.count if request.HasField("count") else default.count,
    )


def _channels_request(request: recommendation.GetChannelsRequest) -> ChannelsRequest:
    subject = request.WhichOneof("subject")
    tier = None
    if subject == "tier":
        tier = TIER_OF_NUMBER.get(request.tier)
        if tier is None:
            raise InvalidInput("tier", "must be stated")
    elif subject == "score":
        tier = tier_of(request.score)
    return ChannelsRequest(
        client_id=request.client_id,
        tier=tier,
        lead_id=request.lead_id if subject == "lead_id" else None,
        campaign_id=request.campaign_id if request.HasField("campaign_id") else None,
        available_channels=tuple(request.available_channels),
        used_channels=tuple(request.used_channels),
    )
