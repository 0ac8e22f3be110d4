"""Calls against a real server: deadlines, errors, retries, spread, streams."""

from __future__ import annotations

import asyncio
import math
import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
from client_test_server import Running, running
from google.protobuf.wrappers_pb2 import Int32Value
from hypothesis import given
from hypothesis import strategies as st

import cis_client
from cis_client import AsyncClient, ClientOptions, ServingStatus
from cis_client._transport import Connections, ReadyWait
from cis_client.v1.core_pb2 import Lead
from cis_client.v1.learning_service_pb2 import LearnRequest, SetWeightsRequest
from cis_client.v1.scoring_service_pb2 import (
    BatchScoreLeadsRequest,
    ScoreLeadRequest,
    ScoreTableRequest,
)

Connect = Callable[..., Any]


def ask(client_id: str = "echo", lead_id: str = "lead-7") -> ScoreLeadRequest:
    return ScoreLeadRequest(client_id=client_id, lead=Lead(lead_id=lead_id))


def test_gives_the_typed_answer(server: Running, connect: Connect) -> None:
    answer = connect(server.target).score_lead(ask(lead_id="abc"))
    assert (answer.lead_id, answer.score) == ("abc", 3)


def test_calls_go_round_the_connections(server: Running, connect: Connect) -> None:
    client = connect(server.target, connections=5)
    for _ in range(20):
        client.score_lead(ask())
    assert sorted(server.seen.peers.values()) == [4] * 5


def test_a_connection_that_is_behind_is_left_alone(server: Running, connect: Connect) -> None:
    client = connect(server.target, connections=2, timeout_seconds=20)
    behind = threading.Thread(target=client.score_lead, args=(ask("held"),))
    behind.start()
    while not server.seen.calls["held"]:
        time.sleep(0.001)
    for _ in range(10):
        client.score_lead(ask())
    server.seen.release.set()
    behind.join()
    assert sorted(server.seen.peers.values()) == [1, 10]
    for _ in range(10):
        client.score_lead(ask())
    assert sorted(server.seen.peers.values()) == [6, 15]


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 7))
def test_a_call_takes_a_connection_with_the_fewest_under_way(ends: list[int], count: int) -> None:
    connections = Connections(count)
    under_way: list[int] = []
    for end in ends:
        chosen = connections.take()
        counts = [under_way.count(each) for each in range(count)]
        assert counts[chosen] == min(counts)
        under_way.append(chosen)
        if end < len(under_way):
            connections.leave(under_way.pop(end))


@pytest.mark.parametrize(
    ("client_id", "kind", "code"),
    [
        ("invalid", cis_client.InvalidArgument, "INVALID_ARGUMENT"),
        ("unknown", cis_client.NotFound, "NOT_FOUND"),
        ("too_few", cis_client.FailedPrecondition, "FAILED_PRECONDITION"),
        ("running", cis_client.AlreadyExists, "ALREADY_EXISTS"),
        ("away", cis_client.Unavailable, "UNAVAILABLE"),
        ("shed", cis_client.ResourceExhausted, "RESOURCE_EXHAUSTED"),
        ("fault", cis_client.Internal, "INTERNAL"),
        ("absent", cis_client.Unimplemented, "UNIMPLEMENTED"),
        ("bare", cis_client.PermissionDenied, "PERMISSION_DENIED"),
        ("anonymous", cis_client.Unauthenticated, "UNAUTHENTICATED"),
    ],
)
def test_every_status_has_its_error(
    server: Running, connect: Connect, client_id: str, kind: type[cis_client.CisError], code: str
) -> None:
    client = connect(server.target, retry_attempts=1)
    with pytest.raises(kind) as caught:
        client.score_lead(ask(client_id), request_id="request-1")
    assert type(caught.value) is kind
    assert caught.value.code is grpc.StatusCode[code]
    assert caught.value.request_id == "request-1"
    assert "request-1" in str(caught.value)
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_errors_carry_the_details(server: Running, connect: Connect) -> None:
    client = connect(server.target, retry_attempts=1)

    def error(client_id: str) -> Any:
        with pytest.raises(cis_client.CisError) as caught:
            client.score_lead(ask(client_id))
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))
        assert copy.__dict__ == caught.value.__dict__
        return caught.value

    assert [(each.field, each.description) for each in error("invalid").violations] == [
        ("lead.employee_count", "is -1, below 0"),
        ("lead.email", "has no @"),
    ]
    unknown = error("unknown")
    assert (unknown.resource_type, unknown.resource_name) == ("client", "nobody")
    few = error("too_few")
    assert few.reason == "TOO_FEW_CONVERSIONS"
    assert few.metadata == {"converted": "7", "needed": "20"}
    assert few.message == "7 conversions, 20 needed"
    assert error("running").metadata == {"run_id": "run-1"}
    assert error("away").retry_after_seconds == pytest.approx(0.05)
    assert error("shed").retry_after_seconds == pytest.approx(0.05)
    assert error("fault").message == "internal error id-1"


def test_deadline(server: Running, connect: Connect) -> None:
    client = connect(server.target, timeout_seconds=0.1)
    started = time.monotonic()
    with pytest.raises(cis_client.DeadlineExceeded):
        client.score_lead(ask("slow"))
    assert time.monotonic() - started < 0.4
    assert client.score_lead(ask("slow"), timeout_seconds=5).score
    assert client.score_lead(ask("slow"), timeout_seconds=math.inf).score
    with pytest.raises(ValueError, match="above 0"):
        client.score_lead(ask(), timeout_seconds=0)


def test_unavailable_is_retried(server: Running, connect: Connect) -> None:
    client = connect(server.target)
    assert client.score_lead(ask("away:4")).score
    assert server.seen.calls["away:4"] == 5
    with pytest.raises(cis_client.Unavailable):
        client.score_lead(ask("away"))
    assert server.seen.calls["away"] == 5


def test_a_large_batch_is_retried(server: Running, connect: Connect) -> None:
    leads = [Lead(lead_id=str(index), title="x" * 200) for index in range(10_000)]
    request = BatchScoreLeadsRequest(client_id="away:1", leads=leads)
    assert request.ByteSize() > 2_000_000
    answer = connect(server.target).batch_score_leads(request)
    assert len(answer.scores) == 10_000
    assert server.seen.calls["away:1"] == 2


def test_a_write_that_is_not_repeatable_is_not_repeated(server: Running, connect: Connect) -> None:
    with pytest.raises(cis_client.Unavailable):
        connect(server.target).set_weights(SetWeightsRequest(client_id="manual"))
    assert server.seen.calls["manual"] == 1


def test_shed_calls_come_back_when_they_were_told_to(server: Running, connect: Connect) -> None:
    client = connect(server.target, retry_attempts=3)
    started = time.monotonic()
    assert client.score_lead(ask("shed:2")).score
    assert time.monotonic() - started >= 0.1
    with pytest.raises(cis_client.ResourceExhausted):
        client.score_lead(ask("shed"))
    assert server.seen.calls["shed"] == 3


def test_shed_calls_do_not_wait_beyond_the_deadline(server: Running, connect: Connect) -> None:
    client = connect(server.target)
    with pytest.raises(cis_client.ResourceExhausted):
        client.score_lead(ask("shed long"), timeout_seconds=10.0)
    assert server.seen.calls["shed long"] == 1


def test_messages_up_to_the_limit_pass(server: Running, connect: Connect) -> None:
    client = connect(server.target, retry_attempts=1)
    big = [Lead(lead_id="x" * 1_000_000) for _ in range(15)]
    answer = client.batch_score_leads(BatchScoreLeadsRequest(client_id="echo", leads=big))
    assert len(answer.scores) == 15
    over = BatchScoreLeadsRequest(client_id="echo", leads=[*big, *big])
    with pytest.raises(cis_client.ResourceExhausted) as caught:
        client.batch_score_leads(over)
    assert caught.value.retry_after_seconds is None


def test_headers(server: Running, connect: Connect) -> None:
    tokens = iter(["one", "two"])
    ids = iter(["first", "second"])
    client = connect(
        server.target,
        token=lambda: next(tokens),
        request_id=lambda: next(ids),
        user_agent="engine/7",
    )
    client.score_lead(ask())
    client.score_lead(ask())
    first, second = server.seen.metadata
    assert (first["authorization"], second["authorization"]) == ("Bearer one", "Bearer two")
    assert (first["x-request-id"], second["x-request-id"]) == ("first", "second")
    assert first["user-agent"].startswith("engine/7 cis-client/")


def test_stream(server: Running, connect: Connect) -> None:
    events = list(connect(server.target).learn(LearnRequest(client_id="echo")))
    assert [event.WhichOneof("event") for event in events] == ["progress"] * 3 + ["result"]


@pytest.mark.parametrize("client_id", ["away:2", "shed:2"])
def test_a_stream_is_retried_before_its_first_answer(
    server: Running, connect: Connect, client_id: str
) -> None:
    assert len(list(connect(server.target).learn(LearnRequest(client_id=client_id)))) == 4
    assert server.seen.calls[client_id] == 3


def test_a_stream_is_not_retried_after_its_first_answer(server: Running, connect: Connect) -> None:
    stream = connect(server.target).learn(LearnRequest(client_id="breaks"))
    assert [next(stream).progress.fraction for _ in range(2)] == [0, pytest.approx(1 / 3)]
    with pytest.raises(cis_client.Unavailable):
        next(stream)
    assert server.seen.calls["breaks"] == 1


def test_a_stream_can_be_cancelled(server: Running, connect: Connect) -> None:
    stream = connect(server.target).learn(LearnRequest(client_id="endless"))
    next(stream)
    stream.cancel()
    with pytest.raises(cis_client.Cancelled):
        next(stream)


def test_a_stream_has_a_deadline(server: Running, connect: Connect) -> None:
    stream = connect(server.target).learn(LearnRequest(client_id="endless"), timeout_seconds=0.2)
    next(stream)
    with pytest.raises(cis_client.DeadlineExceeded):
        next(stream)


def test_streams_both_ways(server: Running, connect: Connect) -> None:
    requests = iter(
        [
            ScoreTableRequest(client_id="echo", arrow_ipc=b"abc"),
            ScoreTableRequest(arrow_ipc=b"def"),
        ]
    )
    answers = list(connect(server.target).score_table(requests))
    assert [answer.arrow_ipc for answer in answers] == [b"cba", b"fed"]


def test_a_stream_of_requests_is_sent_once(server: Running, connect: Connect) -> None:
    requests = iter([ScoreTableRequest(client_id="shed:1")])
    with pytest.raises(cis_client.ResourceExhausted):
        list(connect(server.target).score_table(requests))
    assert server.seen.calls["shed:1"] == 1


def test_what_ends_a_stream_of_requests_is_what_the_server_said(
    server: Running, connect: Connect
) -> None:
    """Not that a request could no longer be sent, which depends on what came first."""

    def requests() -> Iterator[ScoreTableRequest]:
        for _ in range(100):
            yield ScoreTableRequest(client_id="invalid", arrow_ipc=bytes(2**16))

    client = connect(server.target)
    for _ in range(30):
        with pytest.raises(cis_client.InvalidArgument, match=r"employee_count: is -1"):
            list(client.score_table(requests()))


def test_a_stream_that_the_server_ends_well_ends_well(server: Running, connect: Connect) -> None:
    requests = [ScoreTableRequest(client_id="enough", arrow_ipc=b"abc" * 2**14)] * 100
    client = connect(server.target)
    for _ in range(10):
        assert len(list(client.score_table(iter(requests)))) == 1


@pytest.mark.parametrize("kind", [LookupError, grpc.RpcError, cis_client.CisError])
def test_a_failure_to_make_a_request_comes_out_as_it_is(
    server: Running, connect: Connect, kind: type[Exception]
) -> None:
    """One of another call too, from which requests are made."""
    failure, cause = kind("no more rows"), KeyError("row 8")

    def requests() -> Iterator[ScoreTableRequest]:
        yield ScoreTableRequest(client_id="echo", arrow_ipc=b"abc")
        raise failure from cause

    answers = connect(server.target).score_table(requests())
    with pytest.raises(kind) as raised:
        list(answers)
    assert raised.value is failure
    assert failure.__cause__ is cause


def test_a_cancel_of_what_requests_wait_for_ends_the_stream(server: Running) -> None:
    async def run() -> None:
        producer = asyncio.create_task(asyncio.sleep(60))

        async def requests() -> AsyncIterator[ScoreTableRequest]:
            yield ScoreTableRequest(client_id="echo", arrow_ipc=b"abc")
            await producer

        async with AsyncClient(ClientOptions(target=server.target)) as client:
            answers = client.score_table(requests())
            assert (await anext(answers)).arrow_ipc == b"cba"
            producer.cancel()
            (ended,) = await asyncio.wait_for(
                asyncio.gather(anext(answers), return_exceptions=True), 5
            )
            assert isinstance(ended, asyncio.CancelledError)

    asyncio.run(run())


def test_a_stream_of_requests_can_be_cancelled(server: Running, connect: Connect) -> None:
    def requests() -> Iterator[ScoreTableRequest]:
        while True:
            yield ScoreTableRequest(client_id="echo", arrow_ipc=b"abc")
            time.sleep(0.001)

    stream = connect(server.target).score_table(requests())
    assert next(stream).arrow_ipc == b"cba"
    stream.cancel()
    with pytest.raises(cis_client.Cancelled):
        list(stream)


def test_serving_status(server: Running, connect: Connect) -> None:
    client = connect(server.target)
    assert client.serving_status() is ServingStatus.SERVING
    assert client.serving_status("cis.v1.ScoringService") is ServingStatus.NOT_SERVING
    with pytest.raises(cis_client.NotFound):
        client.serving_status("cis.v1.Nonsense")


def test_wait_ready(server: Running, connect: Connect) -> None:
    client = connect(server.target)
    client.wait_ready()
    server.health.enter_graceful_shutdown()
    with pytest.raises(cis_client.Unavailable, match="it answers NOT_SERVING"):
        client.wait_ready(1.0)


def test_wait_ready_tells_the_last_answer_though_the_last_question_got_no_time() -> None:
    now = 0.0
    wait = ReadyWait(ClientOptions("127.0.0.1:1"), 0.2, clock=lambda: now)
    assert wait.pause_after(Int32Value(value=ServingStatus.NOT_SERVING))
    now = 0.2
    nothing = grpc.aio.Metadata()
    cut = grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, nothing, nothing)
    with pytest.raises(cis_client.Unavailable, match="it answers NOT_SERVING"):
        wait.pause_after(cut)


def test_wait_ready_without_a_health_service(connect: Connect) -> None:
    with running(with_health=False) as server:
        client = connect(server.target)
        client.wait_ready()
        with pytest.raises(cis_client.Unimplemented):
            client.serving_status()


def test_wait_ready_says_why_not(free_port: int, connect: Connect) -> None:
    with pytest.raises(cis_client.Unavailable, match=r"was not ready within 0\.2 s: .*refused"):
        connect(f"127.0.0.1:{free_port}").wait_ready(0.2)


def test_calls_wait_for_a_server_that_starts(free_port: int, connect: Connect) -> None:
    client = connect(f"127.0.0.1:{free_port}")
    with pytest.raises(cis_client.DeadlineExceeded):
        client.score_lead(ask(), timeout_seconds=0.3)
    with running(free_port):
        assert client.score_lead(ask()).score


def test_a_client_may_ask_not_to_wait(free_port: int, connect: Connect) -> None:
    client = connect(f"127.0.0.1:{free_port}", wait_for_ready=False, retry_attempts=2)
    with pytest.raises(cis_client.Unavailable, match="refused"):
        client.score_lead(ask())
