"""One gRPC server of one process: services, health, reflection, executors, drain."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cis_client.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    analytics_service_pb2,
    analytics_service_pb2_grpc,
    capture_service_pb2,
    capture_service_pb2_grpc,
    experiment_service_pb2,
    experiment_service_pb2_grpc,
    learning_service_pb2,
    learning_service_pb2_grpc,
    pattern_service_pb2,
    pattern_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
    scoring_service_pb2,
    scoring_service_pb2_grpc,
)
from cis_server.errors import ConfigurationError
from cis_server.rpc.inline_calls import MayWait, is_known
from cis_server.rpc.interceptor import CallInterceptor
from cis_server.rpc.rules import check_request
from cis_server.rpc.services.admin import AdminService
from cis_server.rpc.services.experiments import ExperimentService
from cis_server.rpc.services.learning import LearningService
from cis_server.rpc.services.patterns import PatternService
from cis_server.rpc.services.recommendations import RecommendationService
from cis_server.rpc.services.scoring import ScoringService

HOT_METHODS: Final[Mapping[str, MayWait]] = {
    "/cis.v1.ScoringService/ScoreLead": lambda request: (
        request.persist or not request.HasField("lead")
    ),
    "/cis.v1.RecommendationService/GetTiming": lambda request: request.HasField("lead_id"),
    "/cis.v1.RecommendationService/GetChannels": lambda request: request.HasField("lead_id"),
}
"""Called many times a second, and whether a request of theirs may wait for the database. Those that
may not are answered on the reading thread; successes are logged once in a thousand."""

_ALL_SERVICES: Final[Mapping[str, str]] = {
    "scoring": scoring_service_pb2.DESCRIPTOR.services_by_name["ScoringService"].full_name,
    "recommendation": recommendation_service_pb2.DESCRIPTOR.services_by_name[
        "RecommendationService"
    ].full_name,
    "pattern": pattern_service_pb2.DESCRIPTOR.services_by_name["PatternService"].full_name,
    "learning": learning_service_pb2.DESCRIPTOR.services_by_name["LearningService"].full_name,
    "admin": admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
    "capture": capture_service_pb2.DESCRIPTOR.services_by_name["CaptureService"].full_name,
    "experiment": experiment_service_pb2.DESCRIPTOR.services_by_name["ExperimentService"].full_name,
    "analytics": analytics_service_pb2.DESCRIPTOR.services_by_name["AnalyticsService"].full_name,
}

_WAITING_SERVICES: Final = frozenset(
    _ALL_SERVICES[name]
    for name in ("pattern", "learning", "admin", "capture", "experiment", "analytics")
) | {"/cis.v1.ScoringService/ListTopLeads"}
_REFUSING_THREADS: Final = 4
"""Threads beyond the cap of streams, on which the next stream is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What this release serves; RPCs of the contract beyond it answer UNIMPLEMENTED."""

    scoring: ScoringService
    recommendations: RecommendationService
    patterns: PatternService
    learning: LearningService
    admin: AdminService
    experiments: ExperimentService


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How the server runs."""

    host: str
    port: int
    threads: int = 8
    """Threads of scoring and recommendations; more only add switching, as they share one
    interpreter lock."""
    waiting_threads: int = 8
    """Threads of the unary calls that may wait for the database, so that none of them keeps a
    thread from scoring."""
    batch_threads: int = 4
    """Threads of batches of leads, so that none of them keeps a thread from a call about one; more
    than one because some wait for the database."""
    stream_cap: int = 256
    """Open response streams, each on a thread of its own executor."""
    max_message_bytes: int = 16 * 1024 * 1024


class Server:
    """A server that is built, started once, and stopped once."""

    def __init__(self, services: Services, options: ServerOptions) -> None:
        self._options = options
        self._streams = ThreadPoolExecutor(
            options.stream_cap + _REFUSING_THREADS, thread_name_prefix="stream"
        )
        self._waiting = ThreadPoolExecutor(options.waiting_threads, thread_name_prefix="waiting")
        self._batches = ThreadPoolExecutor(options.batch_threads, thread_name_prefix="batch")
        calls = ThreadPoolExecutor(options.threads, thread_name_prefix="call")
        self._interceptor = CallInterceptor(
            check_request,
            stream_pool=self._streams,
            stream_cap=options.stream_cap,
            waiting_pool=self._waiting,
            waiting=_WAITING_SERVICES,
            inline=HOT_METHODS if _answers_inline() else None,
            call_pool=calls,
            own_pools={"/cis.v1.ScoringService/BatchScoreLeads": self._batches},
            recalls=services.recommendations.recalls,
            quiet=frozenset(HOT_METHODS),
        )
        self._server = grpc.server(
            calls,
            options=[
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", options.max_message_bytes),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        self._health = health.HealthServicer(experimental_non_blocking=True)
        self._register(services)
        self.port = self._bind()

    def start(self) -> None:
        """Take calls, with the health still NOT_SERVING until `serve`."""
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.start()

    def serve(self) -> None:
        """Tell the health checks that calls are welcome."""
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace_seconds: float) -> None:
        """Turn new calls away, let running ones finish within the grace period, end the rest."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_seconds).wait()
        for pool in (self._streams, self._waiting, self._batches):
            pool.shutdown(wait=False, cancel_futures=True)

    def wait(self) -> None:
        """Wait until the server has stopped."""
        self._server.wait_for_termination()

    def _register(self, services: Services) -> None:
        server = self._interceptor.around(self._server)
        scoring_service_pb2_grpc.add_ScoringServiceServicer_to_server(services.scoring, server)
        recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server(
            services.recommendations, server
        )
        pattern_service_pb2_grpc.add_PatternServiceServicer_to_server(services.patterns, server)
        learning_service_pb2_grpc.add_LearningServiceServicer_to_server(services.learning, server)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(services.admin, server)
        # The generated base classes answer UNIMPLEMENTED.
        capture_service_pb2_grpc.add_CaptureServiceServicer_to_server(
            capture_service_pb2_grpc.CaptureServiceServicer(), server
        )
        experiment_service_pb2_grpc.add_ExperimentServiceServicer_to_server(
            services.experiments, server
        )
        analytics_service_pb2_grpc.add_AnalyticsServiceServicer_to_server(
            analytics_service_pb2_grpc.AnalyticsServiceServicer(), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (*_ALL_SERVICES.values(), health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )

    def _bind(self) -> int:
        address = f"{self._options.host}:{self._options.port}"
        try:
            return int(self._server.add_insecure_port(address))
        except RuntimeError as error:
            raise ConfigurationError(f"cannot listen on {address}") from error

    def _set_health(self, status: Any) -> None:
        for service in ("", *_ALL_SERVICES.values()):
            self._health.set(service, status)


def _answers_inline() -> bool:
    """Whether calls that never wait are answered on the reading thread; see `inline_calls`."""
    if is_known():
        return True
    structlog.get_logger("cis.rpc").warning("inline_calls_off", grpcio=grpc.__version__)
    return False
