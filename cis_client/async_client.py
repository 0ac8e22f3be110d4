"""The client for programs on asyncio."""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import cached_property
from types import TracebackType
from typing import Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from cis_client._async_calls import (
    AsyncBidiCall,
    AsyncCoalescedCall,
    AsyncStreamCall,
    AsyncUnaryCall,
)
from cis_client._methods import HEALTH, rpc_of
from cis_client._transport import (
    Connections,
    ReadyWait,
    ServingStatus,
    channel_arguments,
    channel_credentials,
)
from cis_client.frames import Frame, FrameScoring, table_request
from cis_client.options import ClientOptions
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import analytics_service_pb2 as analytics
from cis_client.v1 import capture_service_pb2 as capture
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import experiment_service_pb2 as experiment
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import pattern_service_pb2 as pattern
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import scoring_service_pb2 as scoring

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


def _unary(request: type[Q], response: type[A]) -> cached_property[AsyncUnaryCall[Q, A]]:
    rpc = rpc_of(request, response)

    def bound(client: AsyncClient) -> AsyncUnaryCall[Q, A]:
        return AsyncUnaryCall(client, rpc, request.SerializeToString, response.FromString)

    bound.__doc__ = rpc.text
    return cached_property(bound)


def _score_lead() -> cached_property[AsyncUnaryCall[scoring.ScoreLeadRequest, core.LeadScore]]:
    plain = _unary(scoring.ScoreLeadRequest, core.LeadScore)

    def bound(client: AsyncClient) -> AsyncUnaryCall[scoring.ScoreLeadRequest, core.LeadScore]:
        return AsyncCoalescedCall(client) if client.options.coalesce else plain.func(client)

    bound.__doc__ = plain.__doc__
    return cached_property(bound)


def _stream(request: type[Q], response: type[A]) -> cached_property[AsyncStreamCall[Q, A]]:
    rpc = rpc_of(request, response)

    def bound(client: AsyncClient) -> AsyncStreamCall[Q, A]:
        return AsyncStreamCall(client, rpc, request, response)

    bound.__doc__ = rpc.text
    return cached_property(bound)


def _bidi(request: type[Q], response: type[A]) -> cached_property[AsyncBidiCall[Q, A]]:
    rpc = rpc_of(request, response)

    def bound(client: AsyncClient) -> AsyncBidiCall[Q, A]:
        return AsyncBidiCall(client, rpc, request, response)

    bound.__doc__ = rpc.text
    return cached_property(bound)


class AsyncClient:
    """Every RPC of the service as a coroutine or asynchronous iterator.

    Belongs to one event loop and is made while that runs; make one and keep it::

        async with AsyncClient(ClientOptions(target="cis:50051")) as client:
            score = await client.score_lead(ScoreLeadRequest(client_id="acme", lead=lead))
            async for event in client.learn(LearnRequest(client_id="acme")):
                ...

    What every RPC promises stands at the stubs in ``cis_client.v1`` and in the proto files.

    Args:
        options: the settings; None: all defaults.
    """

    def __init__(self, options: ClientOptions | None = None) -> None:
        self._options = options if options is not None else ClientOptions()
        self._channels = [_open(self._options) for _ in range(self._options.connections)]
        self._connections = Connections(self._options.connections)
        self._health = AsyncUnaryCall(
            self, HEALTH, StringValue.SerializeToString, Int32Value.FromString
        )

    @property
    def options(self) -> ClientOptions:
        """The settings it was made with."""
        return self._options

    # ScoringService
    score_lead = _score_lead()
    batch_score_leads = _unary(scoring.BatchScoreLeadsRequest, scoring.BatchScoreLeadsResponse)
    score_table = _bidi(scoring.ScoreTableRequest, scoring.ScoreTableResponse)
    list_top_leads = _unary(scoring.ListTopLeadsRequest, scoring.ListTopLeadsResponse)
    rescore_leads = _stream(scoring.RescoreLeadsRequest, scoring.RescoreLeadsResponse)

    # RecommendationService
    get_timing = _unary(recommendation.GetTimingRequest, recommendation.GetTimingResponse)
    get_channels = _unary(recommendation.GetChannelsRequest, recommendation.GetChannelsResponse)
    get_content = _unary(recommendation.GetContentRequest, recommendation.GetContentResponse)
    get_sequence = _unary(recommendation.GetSequenceRequest, recommendation.GetSequenceResponse)
    get_prompt_context = _unary(
        recommendation.GetPromptContextRequest, recommendation.GetPromptContextResponse
    )

    # PatternService
    list_patterns = _unary(pattern.ListPatternsRequest, pattern.ListPatternsResponse)
    get_pattern = _unary(pattern.GetPatternRequest, pattern.GetPatternResponse)
    list_pattern_history = _unary(
        pattern.ListPatternHistoryRequest, pattern.ListPatternHistoryResponse
    )
    get_weights = _unary(pattern.GetWeightsRequest, pattern.GetWeightsResponse)

    # LearningService
    learn = _stream(learning.LearnRequest, learning.LearnResponse)
    get_learning_run = _unary(learning.GetLearningRunRequest, learning.GetLearningRunResponse)
    list_learning_runs = _unary(learning.ListLearningRunsRequest, learning.ListLearningRunsResponse)
    backfill = _stream(learning.BackfillRequest, learning.BackfillResponse)
    check_health = _unary(learning.CheckHealthRequest, learning.CheckHealthResponse)
    list_models = _unary(learning.ListModelsRequest, learning.ListModelsResponse)
    get_model = _unary(learning.GetModelRequest, learning.GetModelResponse)
    promote_model = _unary(learning.PromoteModelRequest, learning.PromoteModelResponse)
    rollback_model = _unary(learning.RollbackModelRequest, learning.RollbackModelResponse)
    reject_model = _unary(learning.RejectModelRequest, learning.RejectModelResponse)
    set_weights = _unary(learning.SetWeightsRequest, learning.SetWeightsResponse)
    get_recommendations = _unary(
        learning.GetRecommendationsRequest, learning.GetRecommendationsResponse
    )
    decide_recommendation = _unary(
        learning.DecideRecommendationRequest, learning.DecideRecommendationResponse
    )

    # AdminService
    upsert_client = _unary(admin.UpsertClientRequest, admin.UpsertClientResponse)
    get_client = _unary(admin.GetClientRequest, admin.GetClientResponse)
    list_clients = _unary(admin.ListClientsRequest, admin.ListClientsResponse)
    upsert_campaigns = _unary(admin.UpsertCampaignsRequest, admin.UpsertCampaignsResponse)
    upsert_templates = _unary(admin.UpsertTemplatesRequest, admin.UpsertTemplatesResponse)
    suppress = _unary(admin.SuppressRequest, admin.SuppressResponse)
    unsuppress = _unary(admin.UnsuppressRequest, admin.UnsuppressResponse)
    erase_lead = _unary(admin.EraseLeadRequest, admin.EraseLeadResponse)

    # CaptureService
    upsert_leads = _unary(capture.UpsertLeadsRequest, capture.UpsertLeadsResponse)
    record_activities = _unary(capture.RecordActivitiesRequest, capture.RecordActivitiesResponse)
    record_email_events = _unary(
        capture.RecordEmailEventsRequest, capture.RecordEmailEventsResponse
    )
    record_replies = _unary(capture.RecordRepliesRequest, capture.RecordRepliesResponse)
    record_meetings = _unary(capture.RecordMeetingsRequest, capture.RecordMeetingsResponse)
    record_deals = _unary(capture.RecordDealsRequest, capture.RecordDealsResponse)
    record_outcomes = _unary(capture.RecordOutcomesRequest, capture.RecordOutcomesResponse)
    update_thread = _unary(capture.UpdateThreadRequest, capture.UpdateThreadResponse)
    upsert_pool_persons = _unary(
        capture.UpsertPoolPersonsRequest, capture.UpsertPoolPersonsResponse
    )
    assign_pool_persons = _unary(
        capture.AssignPoolPersonsRequest, capture.AssignPoolPersonsResponse
    )
    analyze_content = _unary(capture.AnalyzeContentRequest, capture.AnalyzeContentResponse)
    analyze_reply = _unary(capture.AnalyzeReplyRequest, capture.AnalyzeReplyResponse)

    # ExperimentService
    create_experiment = _unary(
        experiment.CreateExperimentRequest, experiment.CreateExperimentResponse
    )
    assign_variant = _unary(experiment.AssignVariantRequest, experiment.AssignVariantResponse)
    get_experiment = _unary(experiment.GetExperimentRequest, experiment.GetExperimentResponse)
    end_experiment = _unary(experiment.EndExperimentRequest, experiment.EndExperimentResponse)

    # AnalyticsService
    get_engagement_stats = _unary(
        analytics.GetEngagementStatsRequest, analytics.GetEngagementStatsResponse
    )
    get_conversation_stats = _unary(
        analytics.GetConversationStatsRequest, analytics.GetConversationStatsResponse
    )
    get_deal_stats = _unary(analytics.GetDealStatsRequest, analytics.GetDealStatsResponse)
    get_funnel_stats = _unary(analytics.GetFunnelStatsRequest, analytics.GetFunnelStatsResponse)

    async def score_frame(
        self,
        frame: Frame,
        client_id: str,
        *,
        campaign_id: str | None = None,
        icp: core.Icp | None = None,
        as_of_time: dt.datetime | Timestamp | None = None,
        prefix: str = "",
        timeout_seconds: float | None = None,
        request_id: str | None = None,
    ) -> Frame:
        """Scores every row of a frame, by `ScoreTable`; see `Client.score_frame`.

        Work on the frame runs on other threads, so that the event loop goes on.
        """
        first = table_request(client_id, campaign_id=campaign_id, icp=icp, as_of_time=as_of_time)
        scoring_frame = await asyncio.to_thread(
            FrameScoring, frame, first, prefix, self._options.max_message_bytes
        )
        try:
            async with self.score_table(
                scoring_frame.requests_async(),
                timeout_seconds=timeout_seconds,
                request_id=request_id,
            ) as answers:
                async for answer in answers:
                    await asyncio.to_thread(scoring_frame.take, answer)
        finally:
            scoring_frame.abandon()
        scored: Frame = await asyncio.to_thread(scoring_frame.result)
        return scored

    async def serving_status(
        self, service: str = "", *, timeout_seconds: float | None = None
    ) -> ServingStatus:
        """What the server's health service says; never waits for a connection.

        Args:
            service: full name, e.g. ``cis.v1.ScoringService``; empty: the server as a whole.
            timeout_seconds: deadline; None: that of the options.

        Raises:
            NotFound: the server has no such service.
            Unavailable: it cannot be reached.
        """
        answer = await self._health(StringValue(value=service), timeout_seconds=timeout_seconds)
        return ServingStatus(answer.value)

    async def wait_ready(self, timeout_seconds: float = 10.0) -> None:
        """Returns once the server says, on every connection, that it takes calls.

        Raises:
            Unavailable: it did not within the time.
        """
        wait = ReadyWait(self._options, timeout_seconds)
        for stub in self._health._stubs:
            while True:
                attempt = wait.next_call()
                outcome: Int32Value | grpc.RpcError
                try:
                    outcome = await stub(
                        StringValue(), timeout=attempt.next_timeout(), metadata=attempt.metadata()
                    )
                except grpc.RpcError as failure:
                    outcome = failure
                pause = wait.pause_after(outcome)
                if pause is None:
                    break
                await asyncio.sleep(pause)

    async def close(self) -> None:
        """Ends all calls and closes the connections. A second time it does nothing."""
        for channel in self._channels:
            await channel.close(grace=None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _open(options: ClientOptions) -> grpc.aio.Channel:
    arguments = channel_arguments(options)
    if options.tls is None:
        return grpc.aio.insecure_channel(options.target, arguments)
    return grpc.aio.secure_channel(options.target, channel_credentials(options.tls), arguments)
