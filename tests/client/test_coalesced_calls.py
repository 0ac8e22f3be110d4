"""Calls that travel together: which, when, and what each caller gets and when.

That answers and errors are those of separate calls, `tests/rpc/test_coalesced_scores.py` shows.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from client_test_server import Running, running
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

import cis_client
from cis_client import AsyncClient, Client, ClientOptions, _async_coalesce, _coalesce
from cis_client._async_coalesce import AsyncCoalescer
from cis_client._coalesce import Coalescer
from cis_client._gathering import CALLS_MOST, LEAD_BYTES_MOST
from cis_client._score_batches import batch_request, parts_of
from cis_client.v1.core_pb2 import Icp, Lead, LeadScore
from cis_client.v1.scoring_service_pb2 import (
    LEAD_SCORE_VIEW_FULL,
    BatchScoreLeadsRequest,
    BatchScoreLeadsResponse,
    ScoreLeadRequest,
)

Connect = Callable[..., Any]
Test = Callable[[AsyncClient], Awaitable[None]]


def ask(lead_id: str = "lead-7", client_id: str = "echo", **fields: Any) -> ScoreLeadRequest:
    return ScoreLeadRequest(client_id=client_id, lead=Lead(lead_id=lead_id), **fields)


def on_a_loop(server: Running, test: Test, **options: Any) -> None:
    """Runs a test with an `AsyncClient` that coalesces."""

    async def run() -> None:
        settings = ClientOptions(target=server.target, coalesce=True, **options)
        async with AsyncClient(settings) as client:
            await test(client)

    asyncio.run(run())


async def seen(condition: Callable[[], bool]) -> None:
    """Waits for the server, which has threads of its own."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)


def sizes(server: Running) -> list[int]:
    return [len(batch.leads) for batch in server.seen.batches]


def patient(client: Client | AsyncClient) -> Any:
    """Lets calls wait for others until one comes back, so that a test knows who is in a batch."""
    coalescer: Any = client.score_lead._coalescer  # type: ignore[attr-defined]
    coalescer._window_seconds = 60.0
    return coalescer


def expecting(client: AsyncClient) -> Any:
    """Lets the first call after a batch expect others however slow the machine is."""
    coalescer: Any = client.score_lead._coalescer  # type: ignore[attr-defined]
    coalescer._warm_seconds = 60.0
    return coalescer


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as it:
        yield it


def gathered(
    server: Running, client: Client, pool: ThreadPoolExecutor, requests: list[ScoreLeadRequest]
) -> list[Future[LeadScore]]:
    """Threads whose calls gather behind others, which the server holds, under ``held``."""
    coalescer = patient(client)
    for number in range(_coalesce.PLACES):
        pool.submit(client.score_lead, ask("first", "held"))
        wait(lambda number=number: server.seen.calls["held"] == number + 1)
    (group,) = coalescer._groups.values()
    futures = []
    for number, request in enumerate(requests):
        futures.append(pool.submit(client.score_lead, request))
        wait(lambda number=number: len(group.waiting) == number + 1)
    return futures


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_lone_caller_makes_separate_calls(server: Running, connect: Connect) -> None:
    client = connect(server.target, coalesce=True)
    assert [client.score_lead(ask("x" * n)).score for n in (1, 2, 3)] == [1, 2, 3]
    assert server.seen.calls.total() == 3
    assert server.seen.batches == []


def test_without_the_option_nothing_travels_together(server: Running) -> None:
    async def run() -> None:
        async with AsyncClient(ClientOptions(target=server.target)) as client:
            await asyncio.gather(*(client.score_lead(ask()) for _ in range(20)))

    asyncio.run(run())
    assert server.seen.batches == []


def test_tasks_of_one_turn_travel_together(server: Running) -> None:
    async def test(client: AsyncClient) -> None:
        expecting(client)
        for _ in range(3):
            answers = await asyncio.gather(*(client.score_lead(ask("x" * n)) for n in range(30)))
            assert [answer.score for answer in answers] == list(range(30))
            assert len({answer.model.model_version for answer in answers} - {""}) == 1

    on_a_loop(server, test)
    # The first call finds nothing under way; after a batch there is company to be expected.
    assert sizes(server) == [29, 30, 30]
    assert server.seen.calls.total() == 4


def test_a_batch_is_bounded_and_split_over_the_free_places(server: Running) -> None:
    async def test(client: AsyncClient) -> None:
        await asyncio.gather(*(client.score_lead(ask()) for _ in range(3 * CALLS_MOST + 1)))

    on_a_loop(server, test)
    assert sizes(server) == [CALLS_MOST] * 3
    server.seen.batches.clear()

    async def twice(client: AsyncClient) -> None:
        expecting(client)
        for _ in range(2):
            await asyncio.gather(*(client.score_lead(ask()) for _ in range(101)))

    on_a_loop(server, twice)
    assert sorted(sizes(server)) == [50, 51, 100]


def test_threads_travel_together(server: Running, pool: ThreadPoolExecutor) -> None:
    with Client(ClientOptions(target=server.target, coalesce=True)) as client:
        futures = gathered(server, client, pool, [ask("x" * n, "held") for n in range(20)])
        server.seen.release.set()
        assert [future.result().score for future in futures] == list(range(20))
    assert sizes(server) == [20]
    assert server.seen.calls.total() == _coalesce.PLACES + 1


def test_nobody_waits_longer_than_the_window(server: Running, pool: ThreadPoolExecutor) -> None:
    """While the first calls hang, later ones leave by themselves."""
    with Client(ClientOptions(target=server.target, coalesce=True)) as client:
        for number in range(_coalesce.PLACES + 3):
            pool.submit(client.score_lead, ask("x", "held"))
            wait(lambda number=number: server.seen.calls["held"] == number + 1)
        server.seen.release.set()

    server.seen.release.clear()
    server.seen.calls.clear()

    async def test(client: AsyncClient) -> None:
        tasks = []
        for number in range(_coalesce.PLACES + 3):
            tasks.append(asyncio.create_task(client.score_lead(ask("x", "held"))))
            await seen(lambda number=number: server.seen.calls["held"] == number + 1)
        server.seen.release.set()
        answers = await asyncio.gather(*tasks)
        assert [answer.score for answer in answers] == [1] * len(tasks)

    on_a_loop(server, test)
    assert server.seen.calls["held"] == _coalesce.PLACES + 3


def test_only_calls_that_differ_in_nothing_but_the_lead_share_a_batch(server: Running) -> None:
    later = ask()
    later.as_of_time.FromSeconds(1_000_000)
    kinds = [
        ask(),
        ask(client_id="other"),
        ask(campaign_id="c"),
        ask(campaign_id=""),
        ask(icp=Icp(industries=["mining"])),
        ask(icp=Icp()),
        ask(persist=True),
        later,
    ]

    async def test(client: AsyncClient) -> None:
        await asyncio.gather(*(client.score_lead(kind) for _ in range(5) for kind in kinds))

    on_a_loop(server, test)
    assert sizes(server) == [4] * len(kinds)
    told = Counter(
        ScoreLeadRequest(
            client_id=batch.client_id,
            lead=Lead(lead_id="lead-7"),
            campaign_id=batch.campaign_id if batch.HasField("campaign_id") else None,
            icp=batch.icp if batch.HasField("icp") else None,
            as_of_time=batch.as_of_time if batch.HasField("as_of_time") else None,
            persist=batch.persist,
        ).SerializeToString()
        for batch in server.seen.batches
    )
    assert told == Counter(kind.SerializeToString() for kind in kinds)


def test_a_batch_has_the_fields_of_its_calls() -> None:
    """Serialised requests are put together as they are, which holds for no other numbers."""
    batch = BatchScoreLeadsRequest.DESCRIPTOR.fields_by_number
    names = {"lead": "leads", "lead_id": "lead_ids"}
    for number, field in ScoreLeadRequest.DESCRIPTOR.fields_by_number.items():
        twin = batch[number]
        assert twin.name == names.get(field.name, field.name)
        assert (twin.type, twin.message_type) == (field.type, field.message_type)


@given(
    client_id=st.text(max_size=200),
    lead_id=st.text(max_size=40) | st.just("x" * 20_000),
    stored=st.booleans(),
    campaign_id=st.none() | st.text(max_size=5),
    industries=st.none() | st.lists(st.text(max_size=5), max_size=3),
    seconds=st.none() | st.integers(-5, 5),
    persist=st.booleans(),
)
def test_a_batch_asks_what_its_calls_ask(
    client_id: str,
    lead_id: str,
    stored: bool,
    campaign_id: str | None,
    industries: list[str] | None,
    seconds: int | None,
    persist: bool,
) -> None:
    request = ScoreLeadRequest(
        client_id=client_id,
        campaign_id=campaign_id,
        icp=None if industries is None else Icp(industries=industries),
        as_of_time=None if seconds is None else Timestamp(seconds=seconds),
        persist=persist,
        **({"lead_id": lead_id} if stored else {"lead": Lead(lead_id=lead_id)}),
    )
    parts = parts_of(request)
    assert parts is not None
    shared, lead = parts
    batch = BatchScoreLeadsRequest.FromString(batch_request(shared, [lead, lead]))
    assert batch.view == LEAD_SCORE_VIEW_FULL
    named = [request.lead_id] * 2 if stored else []
    by_attributes = [] if stored else [request.lead] * 2
    assert (list(batch.lead_ids), list(batch.leads)) == (named, by_attributes)
    batch.ClearField("view")
    batch.ClearField("leads")
    batch.ClearField("lead_ids")
    request.ClearField("lead_id" if stored else "lead")
    assert batch.SerializeToString() == request.SerializeToString()
    assert parts_of(request) is None


def test_a_call_with_an_id_of_its_own_travels_alone(server: Running) -> None:
    async def test(client: AsyncClient) -> None:
        named = client.score_lead(ask(), request_id="mine")
        await asyncio.gather(*(client.score_lead(ask()) for _ in range(5)), named)

    on_a_loop(server, test)
    assert sizes(server) == [4]
    assert [seen["x-request-id"] for seen in server.seen.metadata].count("mine") == 1


def test_a_lead_that_fails_is_told_why_and_hurts_no_other(server: Running) -> None:
    async def test(client: AsyncClient) -> None:
        ids = [f"bad-{n}" if n % 3 == 0 else f"lead-{n}" for n in range(12)]
        answers = await asyncio.gather(
            *(client.score_lead(ask(each)) for each in ids), return_exceptions=True
        )
        for each, answer in zip(ids, answers, strict=True):
            if each.startswith("bad"):
                assert isinstance(answer, cis_client.InvalidArgument)
                assert [v.field for v in answer.violations] == ["lead.employee_count", "lead.email"]
            else:
                assert isinstance(answer, LeadScore)
                assert answer.lead_id == each

    on_a_loop(server, test)
    assert sizes(server) == [11]
    assert server.seen.calls.total() == 1 + 1 + 3  # the first one is bad, and alone anyway


@pytest.mark.parametrize(
    ("client_id", "kind", "together"),
    [
        ("unknown", cis_client.NotFound, True),
        ("too_few", cis_client.FailedPrecondition, True),
        ("away", cis_client.Unavailable, True),
        ("shed", cis_client.ResourceExhausted, True),
        ("anonymous", cis_client.Unauthenticated, True),
        ("invalid", cis_client.InvalidArgument, False),
        ("fault", cis_client.Internal, False),
    ],
)
def test_the_failure_of_a_batch(
    server: Running, client_id: str, kind: type[cis_client.CisError], together: bool
) -> None:
    """All get it; where one lead may be the reason, each asks for itself."""
    errors: list[Any] = []

    async def test(client: AsyncClient) -> None:
        calls = [client.score_lead(ask(client_id=client_id)) for _ in range(6)]
        errors.extend(await asyncio.gather(*calls, return_exceptions=True))

    on_a_loop(server, test, retry_attempts=1)
    assert [type(error) for error in errors] == [kind] * 6
    assert len({id(error) for error in errors}) == 6
    assert len({error.message for error in errors}) == 1
    ids = {error.request_id for error in errors}
    assert ids <= {seen["x-request-id"] for seen in server.seen.metadata}
    assert server.seen.calls[client_id] == (2 if together else 7)


def test_threads_share_the_failure_of_a_batch(server: Running, pool: ThreadPoolExecutor) -> None:
    options = ClientOptions(target=server.target, coalesce=True, max_message_bytes=100_000)
    with Client(options) as client:
        # Together they are larger than a message may be, each alone is not.
        requests = [ask("x" * 15_000, "held") for _ in range(10)]
        futures = gathered(server, client, pool, requests)
        server.seen.release.set()
        assert [future.result().score for future in futures] == [15_000] * 10
    assert sizes(server) == []
    assert server.seen.calls["held"] == _coalesce.PLACES + 10


def test_a_large_lead_travels_alone(server: Running) -> None:
    async def test(client: AsyncClient) -> None:
        large = client.score_lead(ask("x" * (LEAD_BYTES_MOST + 1)))
        await asyncio.gather(*(client.score_lead(ask()) for _ in range(4)), large)

    on_a_loop(server, test)
    assert sizes(server) == [3]


def test_a_shed_batch_comes_back_when_it_was_told_to(server: Running) -> None:
    async def test(client: AsyncClient) -> None:
        calls = [client.score_lead(ask(client_id="shed:3")) for _ in range(9)]
        assert [answer.score for answer in await asyncio.gather(*calls)] == [6] * 9

    on_a_loop(server, test)


def test_tasks_keep_their_deadlines(server: Running) -> None:
    """On the way and while it gathers; those with more time are not ended with them."""

    async def test(client: AsyncClient) -> None:
        patient(client)

        def call(seconds: float) -> asyncio.Task[LeadScore]:
            return asyncio.create_task(
                client.score_lead(ask("x", "held"), timeout_seconds=seconds)  # type: ignore[arg-type]
            )

        flying = [call(20), call(20), call(0.1)]
        await seen(lambda: server.seen.calls["held"] == _async_coalesce.PLACES)
        gathering = [call(20), call(0.1)]
        for late in (flying[-1], gathering[-1]):
            with pytest.raises(cis_client.DeadlineExceeded):
                await late
        assert not any(task.done() for task in (*flying[:-1], gathering[0]))
        server.seen.release.set()
        for task in (*flying[:-1], gathering[0]):
            assert (await task).score == 1

    on_a_loop(server, test)
    assert sizes(server) == [2]
    assert server.seen.calls.total() == _async_coalesce.PLACES + 1


def test_threads_keep_their_deadlines(server: Running, pool: ThreadPoolExecutor) -> None:
    with Client(ClientOptions(target=server.target, coalesce=True)) as client:
        futures = gathered(server, client, pool, [ask("x", "held") for _ in range(3)])
        with pytest.raises(cis_client.DeadlineExceeded):
            client.score_lead(ask("x", "held"), timeout_seconds=0.05)
        assert not any(future.done() for future in futures)
        server.seen.release.set()
        assert [future.result().score for future in futures] == [1, 1, 1]
    assert sizes(server) == [3]


def test_a_task_that_is_cancelled_leaves(server: Running) -> None:
    async def test(client: AsyncClient) -> None:
        patient(client)

        def calls(count: int) -> list[asyncio.Task[LeadScore]]:
            made = (client.score_lead(ask("x", "held")) for _ in range(count))
            return [asyncio.create_task(call) for call in made]  # type: ignore[arg-type]

        first, *flying = calls(3)
        await seen(lambda: server.seen.calls["held"] == _async_coalesce.PLACES)
        gathering = calls(3)
        await asyncio.sleep(0)
        gathering[0].cancel()
        flying[0].cancel()
        await asyncio.sleep(0.02)
        assert server.seen.cancelled["held"] == 0
        flying[1].cancel()
        await seen(lambda: server.seen.cancelled["held"] == 1)  # nobody wants that batch any more
        server.seen.release.set()
        ended = await asyncio.gather(first, *flying, *gathering, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in ended] == [
            *(False, True, True),
            *(True, False, False),
        ]

    on_a_loop(server, test)
    assert sizes(server) == [2, 2]


def test_a_batch_that_is_given_up_before_it_is_sent(server: Running) -> None:
    async def test(client: AsyncClient) -> None:
        coalescer = expecting(client)
        await asyncio.gather(*(client.score_lead(ask()) for _ in range(9)))
        (group,) = coalescer._groups.values()
        calls = [asyncio.ensure_future(client.score_lead(ask())) for _ in range(5)]
        while not group.under_way:
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended)
        await seen(lambda: group.idle)
        assert (await client.score_lead(ask())).score == 6

    on_a_loop(server, test)
    assert sizes(server) == [8]


def test_a_thread_that_is_interrupted_leaves_nobody_behind() -> None:
    """Ctrl-C hits the one that sends: the others ask for themselves."""
    entered, release = threading.Barrier(_coalesce.PLACES + 1), threading.Event()
    sent = []

    def alone(request: ScoreLeadRequest, /, **_: object) -> LeadScore:
        if request.lead.lead_id == "first":
            entered.wait(10)
            release.wait(10)
        return LeadScore(lead_id=request.lead.lead_id)

    def batch(request: bytes, /, **_: object) -> bytes:
        sent.append(request)
        raise KeyboardInterrupt

    coalescer = Coalescer(alone, batch, lambda: "id", window_seconds=60.0)
    with ThreadPoolExecutor(16) as pool:
        for _ in range(_coalesce.PLACES):
            pool.submit(coalescer.score, ask("first"), 30.0)
        entered.wait(10)
        futures = [pool.submit(coalescer.score, ask(f"lead-{n}"), 30.0) for n in range(8)]
        (group,) = coalescer._groups.values()
        wait(lambda: len(group.waiting) == 8)
        release.set()
        errors = [future.exception() for future in futures]
    assert [type(error) for error in errors if error is not None] == [KeyboardInterrupt]
    assert len(sent) == 1
    assert coalescer._groups == {}


@pytest.mark.parametrize("lands", ["alone", "batch"])
@pytest.mark.parametrize("failing", [0, 1])
def test_an_id_that_cannot_be_made_costs_no_call_its_answer(lands: str, failing: int) -> None:
    """Neither those of its batch, nor those whose answers come while it is made."""
    numbers = itertools.count()

    def request_id() -> str:
        if next(numbers) == failing:
            raise LookupError("no id just now")
        return "id"

    async def run() -> None:
        landed = {"alone": asyncio.Event(), "batch": asyncio.Event()}

        async def alone(request: ScoreLeadRequest, /, **_: object) -> LeadScore:
            if request.lead.lead_id == "first":
                await landed["alone"].wait()
            return LeadScore(lead_id=request.lead.lead_id)

        async def batch(request: bytes, /, **_: object) -> bytes:
            await landed["batch"].wait()
            leads = BatchScoreLeadsRequest.FromString(request).leads
            scores = [LeadScore(lead_id=lead.lead_id) for lead in leads]
            return BatchScoreLeadsResponse(scores=scores).SerializeToString()

        coalescer = AsyncCoalescer(alone, batch, request_id, window_seconds=60.0)
        ids = ["first", *"abcdef"]
        calls = [asyncio.ensure_future(coalescer.score(ask(each), 30.0)) for each in ids[:4]]
        await asyncio.sleep(0.02)
        calls += [asyncio.ensure_future(coalescer.score(ask(each), 30.0)) for each in ids[4:]]
        await asyncio.sleep(0.02)
        landed[lands].set()
        await asyncio.sleep(0.02)
        for event in landed.values():
            event.set()
        answers = await asyncio.wait_for(asyncio.gather(*calls), 5)
        assert [answer.lead_id for answer in answers] == ids
        await seen(lambda: not coalescer._groups)

    asyncio.run(run())


def test_tasks_that_no_id_can_be_made_for_are_told_why(server: Running) -> None:
    numbers = itertools.count()

    def request_id() -> str:
        if next(numbers) > 0:
            raise LookupError("no id")
        return "id"

    async def test(client: AsyncClient) -> None:
        calls = [client.score_lead(ask()) for _ in range(6)]
        ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
        assert [type(each) for each in ended] == [LeadScore, *[LookupError] * 5]

    on_a_loop(server, test, request_id=request_id)


def test_what_nobody_asks_for_any_more_is_forgotten(server: Running) -> None:
    async def test(client: AsyncClient) -> None:
        coalescer = client.score_lead._coalescer  # type: ignore[attr-defined]
        calls = (client.score_lead(ask(client_id=f"client-{n % 20}")) for n in range(200))
        await asyncio.gather(*calls)
        await seen(lambda: not coalescer._groups)
        assert not coalescer._flights

    on_a_loop(server, test)


@pytest.mark.parametrize("pause", [0.0, 0.02])
def test_calls_of_a_client_that_is_closed_end(server: Running, pause: float) -> None:
    """Whether they were on the way or gathering."""

    async def test(client: AsyncClient) -> None:
        patient(client)
        calls = [asyncio.ensure_future(client.score_lead(ask("x", "held"))) for _ in range(5)]
        await seen(lambda: server.seen.calls["held"] == _async_coalesce.PLACES)
        calls += [asyncio.ensure_future(client.score_lead(ask("x", "held"))) for _ in range(3)]
        await asyncio.sleep(pause)
        await client.close()
        ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
        assert all(isinstance(each, BaseException) for each in ended)

    on_a_loop(server, test)


def test_a_server_that_restarts_loses_no_coalesced_call(free_port: int) -> None:
    async def run() -> None:
        options = ClientOptions(target=f"127.0.0.1:{free_port}", coalesce=True, timeout_seconds=20)
        async with AsyncClient(options) as client:
            for _ in range(3):
                with running(free_port) as server:
                    for _ in range(4):
                        calls = [client.score_lead(ask("x" * n)) for n in range(40)]
                        answers = await asyncio.gather(*calls)
                        assert [answer.score for answer in answers] == list(range(40))
                    assert sum(sizes(server)) >= 4 * 39

    asyncio.run(run())
