"""Calls answered on the reading thread: as any other call, but for the thread."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import structlog

from cis_client.v1 import scoring_service_pb2, scoring_service_pb2_grpc
from cis_client.v1.core_pb2 import Lead, LeadScore
from cis_server.errors import NotFound
from cis_server.rpc import inline_calls
from cis_server.rpc.interceptor import CallInterceptor
from cis_server.rpc.recalled import Recalled
from cis_server.rpc.rules import check_request
from cis_server.rpc.server import _answers_inline

HOT = "/cis.v1.ScoringService/ScoreLead"
KNOWN = "known"
LONGEST = 10_000
"""Bytes of a request."""


class Scoring(scoring_service_pb2_grpc.ScoringServiceServicer):
    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.contexts: list[grpc.ServicerContext] = []

    def ScoreLead(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.contexts.append(context)
        match request.client_id:
            case "nobody":
                raise NotFound("client", "nobody")
            case "fault":
                raise ZeroDivisionError("password=hunter2")
            case "bytes":
                return LeadScore(lead_id="bytes").SerializeToString()
        assert self.go_on.wait(10)
        return LeadScore(lead_id=threading.current_thread().name)


class Running:
    def __init__(self, channel: grpc.Channel, server: grpc.Server, scoring: Scoring) -> None:
        self.channel, self.server, self.scoring = channel, server, scoring
        self.stub = scoring_service_pb2_grpc.ScoringServiceStub(channel)

    def score(self, client_id: str, *, persist: bool = False) -> LeadScore:
        return self.call(client_id, persist=persist).result()

    def call(self, client_id: str, *, persist: bool = False) -> Any:
        request = scoring_service_pb2.ScoreLeadRequest(
            client_id=client_id, lead=Lead(), persist=persist
        )
        return self.stub.ScoreLead.future(request, timeout=5, metadata=[("x-request-id", "r-1")])


def recalled(request: bytes) -> Recalled | None:
    message = scoring_service_pb2.ScoreLeadRequest.FromString(request)
    if message.client_id != KNOWN:
        return None
    return Recalled(KNOWN, LeadScore(lead_id="kept").SerializeToString())


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def running(log: list[dict[str, Any]]) -> Iterator[Running]:
    del log  # loggers must be made after the capture has begun
    scoring = Scoring()
    with (
        ThreadPoolExecutor(2, thread_name_prefix="call") as calls,
        ThreadPoolExecutor(1, thread_name_prefix="stream") as streams,
    ):
        interceptor = CallInterceptor(
            check_request,
            stream_pool=streams,
            stream_cap=1,
            waiting_pool=streams,
            waiting=frozenset(),
            inline={HOT: lambda request: request.persist},
            call_pool=calls,
            recalls={HOT: recalled},
        )
        server = grpc.server(calls, options=[("grpc.max_receive_message_length", LONGEST)])
        scoring_service_pb2_grpc.add_ScoringServiceServicer_to_server(
            scoring, interceptor.around(server)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Running(channel, server, scoring)
        scoring.go_on.set()
        server.stop(1).wait()


def refused(call: Any) -> Any:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value


def test_the_installed_grpcio_is_known() -> None:
    """Fails with a grpcio that works otherwise inside: read `_server.py` anew, then renew the
    fingerprint; until then every call is answered by the pool."""
    assert inline_calls.is_known()


def test_another_grpcio_is_not_relied_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "_server.py"
    monkeypatch.setattr("grpc._server.__file__", str(other))
    assert not inline_calls.is_known()  # without sources nothing can be told
    other.write_text("# another release")
    assert not inline_calls.is_known()


def test_an_unknown_grpcio_is_told_of(
    monkeypatch: pytest.MonkeyPatch, log: list[dict[str, Any]]
) -> None:
    assert _answers_inline()
    monkeypatch.setattr("cis_server.rpc.server.is_known", lambda: False)
    assert not _answers_inline()
    (line,) = log
    assert (line["event"], line["log_level"]) == ("inline_calls_off", "warning")
    assert line["grpcio"] == grpc.__version__


def test_only_requests_that_may_wait_leave_the_reading_thread(running: Running) -> None:
    assert not running.score("c").lead_id.startswith("call")
    assert running.score("c", persist=True).lead_id.startswith("call")


def test_a_request_that_waits_holds_no_other_up(running: Running) -> None:
    running.scoring.go_on.clear()
    waiting = [running.call("c", persist=True) for _ in range(2)]
    assert running.score("bytes").lead_id == "bytes"
    assert not any(call.done() for call in waiting)
    running.scoring.go_on.set()
    assert all(call.result().lead_id.startswith("call") for call in waiting)


def test_errors_are_those_of_any_call(running: Running, log: list[dict[str, Any]]) -> None:
    for client_id, code in (
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("nobody", grpc.StatusCode.NOT_FOUND),
        ("fault", grpc.StatusCode.INTERNAL),
    ):
        error = refused(lambda client_id=client_id: running.score(client_id))
        assert error.code() is code
        assert "hunter2" not in f"{error.details()} {error.trailing_metadata()}"
    (fault,) = [line for line in log if line["event"] == "call_failed"]
    assert error.details() == f"internal error {fault['error_id']}"
    assert {line["request_id"] for line in log if line["event"] == "call"} == {"r-1"}


def test_what_is_known_by_its_bytes_reaches_no_servicer(
    running: Running, log: list[dict[str, Any]]
) -> None:
    assert running.score(KNOWN).lead_id == "kept"
    assert running.scoring.contexts == []
    (line,) = [line for line in log if line["event"] == "call"]
    assert (line["client"], line["code"]) == (KNOWN, "OK")


def test_bytes_that_are_no_message_end_their_call_only(running: Running) -> None:
    raw = running.channel.unary_unary(HOT)
    assert refused(lambda: raw(b"\xff\xff", timeout=5)).code() is grpc.StatusCode.INTERNAL
    assert running.score("bytes").lead_id == "bytes"


def test_a_request_that_is_too_long_is_refused(running: Running) -> None:
    raw = running.channel.unary_unary(HOT)
    error = refused(lambda: raw(b"\0" * (LONGEST + 1), timeout=5))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert running.score("bytes").lead_id == "bytes"


def test_a_call_without_a_request_is_ended(running: Running) -> None:
    silent = running.channel.stream_unary(HOT)
    error = refused(lambda: silent(iter(()), timeout=5))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "exactly one request" in error.details()
    assert running.score("bytes").lead_id == "bytes"


def test_cancelled_calls_leave_the_server_well(running: Running) -> None:
    running.scoring.go_on.clear()
    calls = [running.call("c", persist=True) for _ in range(4)]
    calls += [running.call("bytes") for _ in range(50)]
    for call in calls:
        call.cancel()

    def never() -> Iterator[bytes]:
        threading.Event().wait(0.3)
        yield from ()

    running.channel.stream_unary(HOT).future(never(), timeout=5).cancel()
    running.scoring.go_on.set()
    for _ in range(50):
        assert running.score("bytes").lead_id == "bytes"


def test_a_call_past_its_deadline_is_ended(running: Running) -> None:
    running.scoring.go_on.clear()
    late = running.stub.ScoreLead.future(
        scoring_service_pb2.ScoreLeadRequest(client_id="c", lead=Lead(), persist=True), timeout=0.1
    )
    assert refused(late.result).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    running.scoring.go_on.set()
    assert running.score("bytes").lead_id == "bytes"


def test_the_server_drains(running: Running) -> None:
    """No call counts as running for ever, so that the end need not wait for the grace."""
    for _ in range(20):
        running.score("bytes")
    assert running.server.stop(60).wait(30)


def test_many_at_once(running: Running) -> None:
    calls = [running.call("bytes", persist=number % 7 == 0) for number in range(500)]
    assert {call.result().lead_id for call in calls} == {"bytes"}
