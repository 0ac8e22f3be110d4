"""What surrounds every call: validation, faults without internals, streams with a cap."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from cis_client.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    learning_service_pb2,
    learning_service_pb2_grpc,
    scoring_service_pb2,
    scoring_service_pb2_grpc,
)
from cis_client.v1.core_pb2 import Lead, LeadScore
from cis_server.errors import DataError, NotFound
from cis_server.rpc.interceptor import CallInterceptor
from cis_server.rpc.rules import check_request

CAP = 3
HOT = "/cis.v1.ScoringService/ScoreLead"


class Scoring(scoring_service_pb2_grpc.ScoringServiceServicer):
    def ScoreLead(self, request: Any, context: grpc.ServicerContext) -> LeadScore:  # noqa: N802
        del context
        if request.client_id == "nobody":
            raise NotFound("client", "nobody")
        if request.client_id == "fault":
            raise ZeroDivisionError("password=hunter2")
        if request.client_id == "broken":
            raise DataError("password=hunter2")
        return LeadScore(lead_id=threading.current_thread().name)


class Admin(admin_service_pb2_grpc.AdminServiceServicer):
    def GetClient(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        del request, context
        return admin_service_pb2.GetClientResponse(
            client=admin_service_pb2.Client(client_id=threading.current_thread().name)
        )


class Learning(learning_service_pb2_grpc.LearningServiceServicer):
    def __init__(self) -> None:
        self.go_on = threading.Event()

    def Learn(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        if request.client_id == "fault":
            raise ZeroDivisionError("password=hunter2")
        yield learning_service_pb2.LearnResponse(
            progress=learning_service_pb2.LearnProgress(stage=threading.current_thread().name)
        )
        while context.is_active() and not self.go_on.wait(0.01):
            pass


class Running:
    def __init__(self, channel: grpc.Channel, learning: Learning) -> None:
        self.learning = learning
        self.scoring = scoring_service_pb2_grpc.ScoringServiceStub(channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        self.learn = learning_service_pb2_grpc.LearningServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)

    def score(self, client_id: str) -> LeadScore:
        request = scoring_service_pb2.ScoreLeadRequest(client_id=client_id, lead=Lead())
        return self.scoring.ScoreLead(request, timeout=5, metadata=[("x-request-id", "req-7")])

    def follow(self, client_id: str = "c") -> Any:
        return self.learn.Learn(learning_service_pb2.LearnRequest(client_id=client_id), timeout=30)


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def running(log: list[dict[str, Any]]) -> Iterator[Running]:
    del log  # loggers must be made after the capture has begun
    learning = Learning()
    with (
        ThreadPoolExecutor(CAP + 1, thread_name_prefix="stream") as streams,
        ThreadPoolExecutor(2, thread_name_prefix="waiting") as waiting,
    ):
        interceptor = CallInterceptor(
            check_request,
            stream_pool=streams,
            stream_cap=CAP,
            waiting_pool=waiting,
            waiting=frozenset(("cis.v1.AdminService",)),
            quiet=frozenset((HOT,)),
            quiet_every=3,
        )
        server = grpc.server(ThreadPoolExecutor(2, thread_name_prefix="call"))
        around = interceptor.around(server)
        scoring_service_pb2_grpc.add_ScoringServiceServicer_to_server(Scoring(), around)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(Admin(), around)
        learning_service_pb2_grpc.add_LearningServiceServicer_to_server(learning, around)
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), around)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Running(channel, learning)
        learning.go_on.set()
        server.stop(1).wait()


def refused(call: Any) -> Any:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value


def test_a_wrong_request_never_reaches_the_servicer(running: Running) -> None:
    error = refused(lambda: running.score(""))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "client_id: is required"
    stream = refused(lambda: list(running.follow("")))
    assert stream.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_broken_data_is_a_fault_that_can_be_found_in_the_log(
    running: Running, log: list[dict[str, Any]]
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        running.score("broken")
    [line] = [line for line in log if line["event"] == "call_failed"]
    assert isinstance(line["exc_info"], DataError)
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert raised.value.details() == f"internal error {line['error_id']}"


def test_a_fault_gives_an_id_and_nothing_of_the_internals(
    running: Running, log: list[dict[str, Any]]
) -> None:
    for call in (lambda: running.score("fault"), lambda: list(running.follow("fault"))):
        log.clear()
        error = refused(call)
        assert error.code() is grpc.StatusCode.INTERNAL
        said = f"{error.details()} {error.trailing_metadata()}"
        assert "hunter2" not in said
        assert "ZeroDivision" not in said
        (line,) = [line for line in log if line["event"] == "call_failed"]
        assert error.details() == f"internal error {line['error_id']}"
        assert isinstance(line["exc_info"], ZeroDivisionError)


def test_rpcs_without_a_servicer_are_unimplemented(running: Running) -> None:
    unary = refused(
        lambda: running.scoring.ListTopLeads(
            scoring_service_pb2.ListTopLeadsRequest(client_id="c"), timeout=5
        )
    )
    stream = refused(
        lambda: list(
            running.scoring.RescoreLeads(
                scoring_service_pb2.RescoreLeadsRequest(client_id="c"), timeout=5
            )
        )
    )
    table = refused(
        lambda: list(
            running.scoring.ScoreTable(
                iter([scoring_service_pb2.ScoreTableRequest(client_id="c")]), timeout=5
            )
        )
    )
    for error, name in ((unary, "ListTopLeads"), (stream, "RescoreLeads"), (table, "ScoreTable")):
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert name in error.details()
        assert "not served by this release" in error.details()


def test_calls_that_may_wait_have_threads_of_their_own(running: Running) -> None:
    assert running.score("c").lead_id.startswith("call")
    answer = running.admin.GetClient(admin_service_pb2.GetClientRequest(client_id="c"), timeout=5)
    assert answer.client.client_id.startswith("waiting")
    stream = running.follow()
    assert next(stream).progress.stage.startswith("stream")
    stream.cancel()


def test_one_stream_too_many_is_refused_at_once(running: Running) -> None:
    open_streams = [running.follow() for _ in range(CAP)]
    for stream in open_streams:
        next(stream)
    started = time.monotonic()
    for _ in range(3):
        error = refused(lambda: list(running.follow()))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        retry = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(error).details[0].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() > 0
    assert time.monotonic() - started < 2
    assert running.score("c").lead_id.startswith("call")


def test_places_of_streams_are_given_back(running: Running) -> None:
    for _ in range(3):
        streams = [opened(running) for _ in range(CAP)]
        for stream in streams:
            stream.cancel()
    running.learning.go_on.set()
    for _ in range(2 * CAP):
        assert len(list(opened(running))) == 0


def opened(running: Running) -> Any:
    """A stream that was taken; the server hears of a cancelled one a moment later."""
    deadline = time.monotonic() + 5
    while True:
        stream = running.follow()
        try:
            next(stream)
            return stream
        except grpc.RpcError:
            if stream.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or (
                time.monotonic() > deadline
            ):
                raise
            time.sleep(0.02)


def test_watching_the_health_takes_no_place(running: Running) -> None:
    watching = [
        running.health.Watch(health_pb2.HealthCheckRequest(), timeout=30) for _ in range(CAP + 2)
    ]
    for watch in watching:
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    stream = running.follow()
    next(stream)
    for call in (*watching, stream):
        call.cancel()


def test_log_lines(running: Running, log: list[dict[str, Any]]) -> None:
    running.admin.GetClient(admin_service_pb2.GetClientRequest(client_id="c-1"), timeout=5)
    refused(lambda: running.score("nobody"))
    lines = [line for line in log if line["event"] == "call"]
    assert [(line["client"], line["code"]) for line in lines] == [
        ("c-1", "OK"),
        ("nobody", "NOT_FOUND"),
    ]
    assert lines[1]["request_id"] == "req-7"
    assert lines[1]["method"] == HOT
    assert 0 <= lines[0]["milliseconds"] < 5000
    assert len(lines[0]["request_id"]) == 32


def test_hot_methods_are_logged_now_and_then(running: Running, log: list[dict[str, Any]]) -> None:
    for _ in range(7):
        running.score("c")
    assert len([line for line in log if line["event"] == "call"]) == 2
