"""A server with fixed answers for the tests of the command ``cis``."""
# ruff: noqa: N802 - the contract names the methods

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import (
    learning_service_pb2_grpc,
    pattern_service_pb2_grpc,
    recommendation_service_pb2_grpc,
    scoring_service_pb2_grpc,
)
from cis_client.v1 import pattern_service_pb2 as pattern
from cis_client.v1 import patterns_pb2 as patterns
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server import errors
from cis_server.rpc.status import abort, status_of

SERVICES = (
    "Scoring",
    "Recommendation",
    "Pattern",
    "Learning",
    "Admin",
    "Capture",
    "Experiment",
    "Analytics",
)


def at(text: str) -> Timestamp:
    stamp = Timestamp()
    stamp.FromJsonString(text)
    return stamp


def estimate(adjusted: float, sample: int, converted: int) -> core.RateEstimate:
    return core.RateEstimate(
        rate=converted / sample,
        adjusted_rate=adjusted,
        low=adjusted * 0.8,
        high=adjusted * 1.25,
        sample=sample,
        converted=converted,
        adjusted_lift=1.5,
        q_value=0.012,
    )


def weights(*values: float) -> core.Weights:
    return core.Weights(**dict(zip(core.Weights.DESCRIPTOR.fields_by_name, values, strict=True)))


MODEL = core.ModelInfo(
    model_version="v-9",
    source=core.SOURCE_LEARNED,
    computed_time=at("2026-03-01T06:30:00Z"),
    sample_size=12_345,
    confidence=0.87,
)
DEFAULTS = weights(0.2, 0.25, 0.25, 0.15, 0.15)
LEARNED = weights(0.1, 0.35, 0.3, 0.15, 0.1)

RESULT = learning.LearnResult(
    run_id="run-1",
    seconds=12.3,
    clients=[
        learning.ClientLearnResult(
            client_id="acme",
            patterns=[
                learning.PatternResult(
                    type=core.PATTERN_TYPE_WHO,
                    status=core.PATTERN_STATUS_OK,
                    sample_size=2000,
                    converted=150,
                    confidence=0.9,
                ),
                learning.PatternResult(
                    type=core.PATTERN_TYPE_WHAT,
                    status=core.PATTERN_STATUS_INSUFFICIENT_DATA,
                    reason="7 conversions, 20 needed",
                ),
            ],
            weights_before=DEFAULTS,
            weights_after=LEARNED,
            weights_fitted=LEARNED,
            weights_low=weights(0.05, 0.3, 0.25, 0.1, 0.05),
            weights_high=weights(0.15, 0.4, 0.35, 0.2, 0.15),
            weights_status=learning.WEIGHTS_STATUS_SUCCESS,
            promoted=True,
            reason="better on outcomes not seen",
            evaluation=learning.Evaluation(
                metric_name="log_loss",
                gain=0.0123,
                low=0.001,
                high=0.02,
                interval_level=0.8,
                n=600,
                n_converted=45,
                log_loss=0.251,
                baseline_log_loss=0.263,
                method="time_split_70_30",
            ),
            gates=[
                learning.Gate(name="min_converted", value=150, bound=50, passed=True, text="enough")
            ],
            propensity=[
                learning.PropensityResult(
                    target=core.CONVERSION_TARGET_CONVERTED,
                    status=learning.PROPENSITY_STATUS_GATE_FAILED,
                    reason="calibration slope 0.4 is below 0.7",
                    n_train=1400,
                    n_train_converted=105,
                    evaluation=learning.Evaluation(
                        n=600,
                        n_converted=45,
                        pr_auc=0.31,
                        baseline_pr_auc=0.075,
                        lift_at_10=3.2,
                        comparisons=[
                            learning.ModelComparison(
                                other="live",
                                model_version="propensity-4",
                                n=200,
                                n_converted=15,
                                pr_auc=0.3,
                                other_pr_auc=0.25,
                                gain=0.05,
                                low=-0.01,
                                high=0.1,
                                interval_level=0.8,
                            ),
                            learning.ModelComparison(other="challenger", reason="one class only"),
                        ],
                    ),
                )
            ],
            seconds=12.0,
            sample_size=2000,
            converted=150,
        )
    ],
    skipped=[learning.SkippedClient(client_id="small", reason="3 conversions, 20 needed")],
)


def run(state: int, **further: object) -> learning.LearningRun:
    return learning.LearningRun(
        run_id="run-1",
        client_id="acme",
        state=state,
        fraction=1.0,
        stage="publish",
        created_time=at("2026-03-01T06:00:00Z"),
        as_of_time=at("2026-03-01T00:00:00Z"),
        lookback_days=90,
        seconds=12.3,
        attempt=1,
        stages=[learning.RunStage(stage="extract", seconds=1.5, rows=2000)],
        counts={"leads": 2000},
        **further,
    )


class Scoring(scoring_service_pb2_grpc.ScoringServiceServicer):
    """Scores by staff, refuses odd ones."""

    def __init__(self) -> None:
        self.batches: list[scoring.BatchScoreLeadsRequest] = []

    def ScoreLead(
        self, request: scoring.ScoreLeadRequest, context: grpc.ServicerContext
    ) -> core.LeadScore:
        if request.lead_id == "nobody":
            abort(context, status_of(errors.NotFound("lead", "nobody")))
        return core.LeadScore(
            lead_id=request.lead_id,
            score=71,
            weighted_sum=71.25,
            tier=core.TIER_WARM,
            components=core.Components(data_quality=18, authority=25),
            contributions=core.Contributions(data_quality=18, authority=25),
            weights=DEFAULTS,
            channels=["email", "voice"],
            conversion_probability=core.ConversionProbability(
                probability=0.12,
                low=0.1,
                high=0.15,
                target=core.CONVERSION_TARGET_CONVERTED,
                base_log_odds=-2.6,
                factors=[
                    core.ProbabilityFactor(
                        feature="industry", log_odds=0.9, text="industry is software"
                    ),
                    core.ProbabilityFactor(feature="country", log_odds=-0.3, text="country is nz"),
                ],
            ),
            reasons=[
                core.Reason(factor="title", points=10.5, text="Decides alone"),
                core.Reason(factor="bounce", points=-3, text="Mail bounced"),
            ],
            model=MODEL,
        )

    def BatchScoreLeads(
        self, request: scoring.BatchScoreLeadsRequest, _context: grpc.ServicerContext
    ) -> scoring.BatchScoreLeadsResponse:
        self.batches.append(request)
        answer = scoring.BatchScoreLeadsResponse()
        for index, lead in enumerate(request.leads):
            if lead.employee_count < 0:
                answer.failures.add(
                    index=index,
                    lead_id=lead.lead_id,
                    code=3,
                    message=f"leads[{index}].employee_count: is below 0",
                )
                continue
            answer.scores.add(
                lead_id=lead.lead_id,
                score=min(lead.employee_count, 100),
                tier=core.TIER_HOT if lead.employee_count >= 85 else core.TIER_COOL,
                conversion_probability=core.ConversionProbability(
                    probability=lead.employee_count / 1000
                ),
            )
        return answer


class Recommendation(recommendation_service_pb2_grpc.RecommendationServiceServicer):
    def GetTiming(
        self, request: recommendation.GetTimingRequest, context: grpc.ServicerContext
    ) -> recommendation.GetTimingResponse:
        if request.timezone == "Mars/Base":
            abort(context, status_of(errors.InvalidInput("timezone", "is no IANA zone")))
        return recommendation.GetTimingResponse(
            best_days=[
                recommendation.DayAdvice(
                    day_of_week=core.DAY_OF_WEEK_TUESDAY,
                    value="tuesday",
                    estimate=estimate(0.08, 400, 30),
                    verdict=core.VERDICT_WINNING,
                    source=core.SOURCE_LEARNED,
                )
            ],
            windows=[
                recommendation.SendWindow(
                    start_time=at("2026-03-02T22:00:00Z"),
                    local_start="2026-03-03T09:00:00+11:00",
                    timezone=request.timezone,
                    propensity=1,
                    source=core.SOURCE_LEARNED,
                )
            ],
            next_send_time=at("2026-03-02T22:17:00Z"),
            timezone=request.timezone,
            timezone_source=recommendation.TIMEZONE_SOURCE_EXACT,
            gap_days=3,
            gap_min_days=2,
            gap_max_days=5,
            decision_id="decision-1",
            model=MODEL,
        )

    def GetChannels(
        self, request: recommendation.GetChannelsRequest, _context: grpc.ServicerContext
    ) -> recommendation.GetChannelsResponse:
        return recommendation.GetChannelsResponse(
            channels=[
                recommendation.ChannelChoice(
                    channel="email",
                    allowed=True,
                    estimate=estimate(0.05, 900, 45),
                    verdict=core.VERDICT_UNDECIDED,
                ),
                recommendation.ChannelChoice(
                    channel="voice", why_not="tier", why_not_text="not for this tier"
                ),
            ],
            next_channel="email",
            sequences=[recommendation.ChannelSequence(channels=list(request.used_channels))],
            tier=request.tier,
            model=MODEL,
        )


class Patterns(pattern_service_pb2_grpc.PatternServiceServicer):
    def ListPatterns(
        self, _request: pattern.ListPatternsRequest, _context: grpc.ServicerContext
    ) -> pattern.ListPatternsResponse:
        return pattern.ListPatternsResponse(
            patterns=[who_pattern()],
            last_runs=[
                pattern.PatternRun(type=core.PATTERN_TYPE_WHO, status=core.PATTERN_STATUS_OK),
                pattern.PatternRun(
                    type=core.PATTERN_TYPE_WHAT,
                    status=core.PATTERN_STATUS_INSUFFICIENT_DATA,
                    reason="too little",
                ),
            ],
        )

    def GetPattern(
        self, _request: pattern.GetPatternRequest, _context: grpc.ServicerContext
    ) -> pattern.GetPatternResponse:
        return pattern.GetPatternResponse(pattern=who_pattern())

    def GetWeights(
        self, _request: pattern.GetWeightsRequest, _context: grpc.ServicerContext
    ) -> pattern.GetWeightsResponse:
        return pattern.GetWeightsResponse(
            weights=LEARNED, default_weights=DEFAULTS, sample_size=2000, converted=150, model=MODEL
        )


def who_pattern() -> patterns.Pattern:
    return patterns.Pattern(
        type=core.PATTERN_TYPE_WHO,
        version="3.0",
        client_id="acme",
        sample_size=2000,
        converted=150,
        unit="lead",
        baseline_conversion_rate=0.075,
        confidence=0.9,
        valid_until_time=at("2026-03-15T00:00:00Z"),
        stale=True,
        who=patterns.WhoPattern(
            title_rankings=[
                core.SegmentRate(
                    value=name, estimate=estimate(rate, 200, 20), verdict=core.VERDICT_WINNING
                )
                for name, rate in (("ceo", 0.12), ("cto", 0.1), ("intern", 0.01))
            ]
        ),
    )


class Learning(learning_service_pb2_grpc.LearningServiceServicer):
    def __init__(self) -> None:
        self.polls = 0

    def Learn(
        self, request: learning.LearnRequest, context: grpc.ServicerContext
    ) -> Iterator[learning.LearnResponse]:
        if request.client_id == "small":
            error = errors.PreconditionFailed("TOO_FEW_CONVERSIONS", "7 conversions, 20 needed")
            abort(context, status_of(error))
        for stage, fraction in (("queued", 0.0), ("extract", 0.1), ("extract", 0.3), ("who", 0.6)):
            yield learning.LearnResponse(
                progress=learning.LearnProgress(
                    run_id="run-1", client_id="acme", stage=stage, fraction=fraction
                )
            )
        if request.client_id in {"breaks", "fails"}:
            context.abort(grpc.StatusCode.UNAVAILABLE, "this process was killed")
        yield learning.LearnResponse(result=RESULT)

    def Backfill(
        self, request: learning.BackfillRequest, context: grpc.ServicerContext
    ) -> Iterator[learning.BackfillResponse]:
        progress = learning.LearnProgress(run_id="run-1", client_id="acme", stage="mark")
        yield learning.BackfillResponse(progress=progress)
        if request.client_id == "breaks":
            context.abort(grpc.StatusCode.UNAVAILABLE, "this process was killed")
        done = learning.ClientBackfillResult(
            client_id="acme",
            touches_marked=7,
            marks_cleared=2,
            snapshots_rebuilt=1_200,
            leads_scored=30,
            message="6 of 6 patterns found",
            learned=RESULT.clients[0],
        )
        left_out = learning.SkippedClient(client_id="idle", reason="3 touches")
        yield learning.BackfillResponse(
            result=learning.BackfillResult(run_id="run-1", clients=[done], skipped=[left_out])
        )

    def GetLearningRun(
        self, _request: learning.GetLearningRunRequest, _context: grpc.ServicerContext
    ) -> learning.GetLearningRunResponse:
        self.polls += 1
        return learning.GetLearningRunResponse(
            run=run(core.RUN_STATE_SUCCEEDED, results=RESULT.clients, skipped=RESULT.skipped)
            if self.polls % 2 == 0
            else run(core.RUN_STATE_RUNNING)
        )

    def ListLearningRuns(
        self, _request: learning.ListLearningRunsRequest, _context: grpc.ServicerContext
    ) -> learning.ListLearningRunsResponse:
        return learning.ListLearningRunsResponse(
            runs=[run(core.RUN_STATE_FAILED, errors=[learning.RunError(message="disk full")])]
        )

    def CheckHealth(
        self, request: learning.CheckHealthRequest, _context: grpc.ServicerContext
    ) -> learning.CheckHealthResponse:
        warning = learning.HealthWarning(
            type="expired",
            pattern=core.PATTERN_TYPE_WHO,
            message="the pattern is 20 days old",
            severity=learning.SEVERITY_HIGH,
            remedy="learn again",
        )
        if request.HasField("client_id"):
            client = learning.ClientHealth(client_id=request.client_id, warnings=[warning])
            return learning.CheckHealthResponse(
                clients=[client], clients_checked=1, with_warnings=1, total_warnings=1
            )
        name = request.page_token or "acme"
        return learning.CheckHealthResponse(
            clients=[learning.ClientHealth(client_id=name, warnings=[warning])],
            clients_checked=2,
            next_page_token="" if request.page_token else "beta",
        )


class CliServer:
    """The server and what reached it."""

    def __init__(self) -> None:
        self.scoring, self.learning = Scoring(), Learning()
        self.health = health.HealthServicer()
        for name in ("", *(f"cis.v1.{service}Service" for service in SERVICES)):
            self.health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self.target = ""


@contextmanager
def serving() -> Iterator[CliServer]:
    it = CliServer()
    server = grpc.server(ThreadPoolExecutor(4))
    scoring_service_pb2_grpc.add_ScoringServiceServicer_to_server(it.scoring, server)
    learning_service_pb2_grpc.add_LearningServiceServicer_to_server(it.learning, server)
    recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server(
        Recommendation(), server
    )
    pattern_service_pb2_grpc.add_PatternServiceServicer_to_server(Patterns(), server)
    health_pb2_grpc.add_HealthServicer_to_server(it.health, server)
    it.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield it
    finally:
        server.stop(0).wait()
