"""The client for ordinary (blocking) programs."""

from __future__ import annotations

import datetime as dt
import time
from functools import cached_property
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from cis_client._calls import BidiCall, CoalescedCall, StreamCall, UnaryCall
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


def _unary(request: type[Q], response: type[A]) -> cached_property[UnaryCall[Q, A]]:
    rpc = rpc_of(request, response)

    def bound(client: Client) -> UnaryCall[Q, A]:
        return UnaryCall(client, rpc, request.SerializeToString, response.FromString)

    bound.__doc__ = rpc.text
    return cached_property(bound)


def _score_lead() -> cached_property[UnaryCall[scoring.ScoreLeadRequest, core.LeadScore]]:
    plain = _unary(scoring.ScoreLeadRequest, core.LeadScore)

    def bound(client: Client) -> UnaryCall[scoring.ScoreLeadRequest, core.LeadScore]:
        return CoalescedCall(client) if client.options.coalesce else plain.func(client)

    bound.__doc__ = plain.__doc__
    return cached_property(bound)


def _stream(request: type[Q], response: type[A]) -> cached_property[StreamCall[Q, A]]:
    rpc = rpc_of(request, response)

    def bound(client: Client) -> StreamCall[Q, A]:
        return StreamCall(client, rpc, request, response)

    bound.__doc__ = rpc.text
    return cached_property(bound)


def _bidi(request: type[Q], response: type[A]) -> cached_property[BidiCall[Q, A]]:
    rpc = rpc_of(request, response)

    def bound(client: Client) -> BidiCall[Q, A]:
        return BidiCall(client, rpc, request, response)

    bound.__doc__ = rpc.text
    return cached_property(bound)


class Client:
    """Every RPC of the service as a method, over a few connections of its own.

    Safe to share between threads; make one and keep it. A program that forks makes it in the
    children. Each method takes the request message and gives the answer message, or an iterator of
    them::

        with Client(ClientOptions(target="cis:50051")) as client:
            score = client.score_lead(ScoreLeadRequest(client_id="acme", lead=lead))

    What every RPC promises stands at the stubs in ``cis_client.v1`` and in the proto files.

    Args:
        options: the settings; None: all defaults.
    """

    def __init__(self, options: ClientOptions | None = None) -> None:
        self._options = options if options is not None else ClientOptions()
        self._channels = [_open(self._options) for _ in range(self._options.connections)]
        self._connections = Connections(self._options.connections)
        self._health = UnaryCall(self, HEALTH, StringValue.SerializeToString, Int32Value.FromString)

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

    def score_frame(
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
        """Scores every row of a frame, by `ScoreTable`.

        Columns named as the fields of `Lead` are those fields (case, spaces and hyphens do not
        matter); of the others those are sent that the client's model reads as attributes. Rows
        that cannot be scored have null scores, and the reason in the column ``error``.

        Args:
            frame: a pandas or Polars data frame, a pyarrow table or record batch, or anything with
                ``__arrow_c_stream__`` (which comes back as a pyarrow table).
            client_id: whose weights score.
            campaign_id: whose profile counts; None: the client's.
            icp: a profile instead of the client's.
            as_of_time: the moment whose knowledge counts, aware; None: now.
            prefix: put before the names of the added columns (`cis_client.frames.SCORE_COLUMNS`).
            timeout_seconds, request_id: as for other calls.

        Returns:
            The same kind of frame, its rows in their order and its index as it was, with the
            columns of `SCORE_COLUMNS` added.

        Raises:
            TypeError: it is no frame.
            ValueError: it has no column ``lead_id``, or one that cannot be sent.
            ModuleNotFoundError: pyarrow is not installed (``cis[frames]``).
            CisError: the call failed.
        """
        first = table_request(client_id, campaign_id=campaign_id, icp=icp, as_of_time=as_of_time)
        scoring_frame = FrameScoring(frame, first, prefix, self._options.max_message_bytes)
        try:
            with self.score_table(
                scoring_frame.requests(), timeout_seconds=timeout_seconds, request_id=request_id
            ) as answers:
                for answer in answers:
                    scoring_frame.take(answer)
        finally:
            scoring_frame.abandon()
        scored: Frame = scoring_frame.result()
        return scored

    def serving_status(
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
        answer = self._health(StringValue(value=service), timeout_seconds=timeout_seconds)
        return ServingStatus(answer.value)

    def wait_ready(self, timeout_seconds: float = 10.0) -> None:
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
                    outcome = stub(
                        StringValue(), timeout=attempt.next_timeout(), metadata=attempt.metadata()
                    )
                except grpc.RpcError as failure:
                    outcome = failure
                pause = wait.pause_after(outcome)
                if pause is None:
                    break
                time.sleep(pause)

    def close(self) -> None:
        """Ends all calls and closes the connections. A second time it does nothing."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _open(options: ClientOptions) -> grpc.Channel:
    arguments = channel_arguments(options)
    if options.tls is None:
        return grpc.insecure_channel(options.target, arguments)
    return grpc.secure_channel(options.target, channel_credentials(options.tls), arguments)
