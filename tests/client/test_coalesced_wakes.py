"""How calls that travelled together are woken and freed, and when they need not travel together."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from client_test_server import Running
from hypothesis import given, settings
from hypothesis import strategies as st

from cis_client import AsyncClient, Client, ClientOptions, DeadlineExceeded, _coalesce
from cis_client._async_coalesce import _AwaitedCall
from cis_client._coalesce import PLACES, SLOW_SECONDS, Coalescer, _BlockedCall
from cis_client._gathering import CALLS_LEAST, CALLS_MOST, PLACES_OF_BATCHES, Again, Group
from cis_client.v1.core_pb2 import Lead, LeadScore
from cis_client.v1.scoring_service_pb2 import (
    BatchScoreLeadsRequest,
    BatchScoreLeadsResponse,
    ScoreLeadRequest,
)


def ask(lead_id: str) -> ScoreLeadRequest:
    return ScoreLeadRequest(client_id="echo", lead=Lead(lead_id=lead_id))


def blocked(count: int) -> list[_BlockedCall]:
    """Threads of a batch that sleep, in the order in which they are woken."""
    calls = [_BlockedCall(ask(str(number)), b"", math.inf) for number in range(count)]
    asleep = calls[::-1]
    for call in calls:
        call.asleep = asleep
    return calls


def awake(calls: list[_BlockedCall]) -> list[int]:
    return [place for place, call in enumerate(calls) if not call.gate.locked()]


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def keep_waiting(event: threading.Event, seconds: float | None) -> None:
    """Waits as a call of gRPC does."""
    if not event.wait(10 if seconds is None else min(seconds, 10)):
        raise DeadlineExceeded("late", code=grpc.StatusCode.DEADLINE_EXCEEDED)


class Server:
    """Answers calls and batches of a `Coalescer` when it is told to."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.release_batches = threading.Event()
        self.batches: list[int] = []
        self.lone = 0

    def alone(self, request: ScoreLeadRequest, /, *, timeout_seconds: float | None) -> LeadScore:
        self.lone += 1
        keep_waiting(self.release, timeout_seconds)
        return LeadScore(lead_id=request.lead.lead_id)

    def batch(self, request: bytes, /, *, timeout_seconds: float | None, **_: object) -> bytes:
        leads = BatchScoreLeadsRequest.FromString(request).leads
        self.batches.append(len(leads))
        keep_waiting(self.release_batches, timeout_seconds)
        scores = [LeadScore(lead_id=lead.lead_id) for lead in leads]
        return BatchScoreLeadsResponse(scores=scores).SerializeToString()


def test_each_wakes_the_next() -> None:
    calls = blocked(5)
    calls[0].asleep.pop()
    calls[0].woken = time.monotonic() + 60
    calls[0].wake_next()
    assert awake(calls) == [1]
    calls[1].woken = time.monotonic() + 60
    calls[1].wake_next()
    assert awake(calls) == [1, 2]


def test_one_that_took_long_to_wake_wakes_all_that_are_left() -> None:
    calls = blocked(6)
    calls[0].asleep.pop()
    calls[0].woken = time.monotonic() - 2 * SLOW_SECONDS
    calls[0].wake_next()
    assert awake(calls) == [1, 2, 3, 4, 5]
    calls[1].wake_next()


def test_one_that_leaves_unwoken_wakes_another_in_its_place() -> None:
    calls = blocked(4)
    calls[0].wake_next()
    assert awake(calls) == [1]
    calls[2].wake_next()  # now it would be its own turn
    assert awake(calls) == [1, 3]
    calls[3].wake_next()
    assert awake(calls) == [1, 3]


@settings(max_examples=25, deadline=None)
@given(
    deadlines=st.lists(st.sampled_from([0.01, 0.03, math.inf]), min_size=6, max_size=24),
)
def test_those_who_leave_early_leave_nobody_asleep(deadlines: list[float]) -> None:
    server = Server()
    coalescer = Coalescer(server.alone, server.batch, lambda: "id", window_seconds=0.005)
    with ThreadPoolExecutor(PLACES + 24) as pool:
        first = [pool.submit(coalescer.score, ask("first"), 30.0) for _ in range(PLACES)]
        wait(lambda: server.lone == PLACES)
        futures = [
            pool.submit(coalescer.score, ask(str(place)), seconds)
            for place, seconds in enumerate(deadlines)
        ]
        hurried = [
            future
            for future, seconds in zip(futures, deadlines, strict=True)
            if not math.isinf(seconds)
        ]
        for future in hurried[: len(hurried) // 2]:
            assert isinstance(future.exception(10), DeadlineExceeded)
        server.release_batches.set()
        server.release.set()
        for place, (future, seconds) in enumerate(zip(futures, deadlines, strict=True)):
            error = future.exception(10)
            assert error is None or (isinstance(error, DeadlineExceeded) and seconds < 1)
            if error is None:
                assert future.result().lead_id == str(place)
        assert [future.result(10).lead_id for future in first] == ["first"] * PLACES
    assert coalescer._groups == {}


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, nth: int = 0) -> None:
    """Lets Ctrl-C hit one call of a function, before it does anything."""
    function, numbers = getattr(owner, name), itertools.count()

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if next(numbers) == nth:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, interrupted)


class Gate:
    """Stands for that of a thread that sleeps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.locked = self._lock.locked

    def release(self) -> None:
        self._lock.release()


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("step", ["named", "woken"])
def test_an_interrupt_while_batches_leave_keeps_nobody_asleep(
    monkeypatch: pytest.MonkeyPatch, step: str, part: int
) -> None:
    """Each batch has somebody who sends it, or all of it ask for themselves; no place is lost."""
    server = Server()
    coalescer = Coalescer(server.alone, server.batch, lambda: "id")
    group: Group[_BlockedCall] = Group((0, b"", b""), PLACES)
    calls = group.waiting = blocked(2 * CALLS_LEAST)
    for call in calls:
        call.gate = Gate()  # type: ignore[assignment]
    if step == "named":
        monkeypatch.setattr(_coalesce, "max", max, raising=False)
        interrupt(monkeypatch, _coalesce, "max", nth=part)
    else:
        interrupt(monkeypatch, Gate, "release", nth=part)
    with pytest.raises(KeyboardInterrupt):
        coalescer._depart(group)
    flying = 0
    for captain, *others in (calls[:CALLS_LEAST], calls[CALLS_LEAST:]):
        flying += captain.flight is not None
        assert not captain.gate.locked()
        if captain.flight is None:
            assert awake(others) == list(range(len(others)))
            assert {call.outcome for call in (captain, *others)} == {Again.AGAIN}
    assert (group.under_way, group.batches) == (flying, flying)


@pytest.mark.parametrize(
    ("owner", "name"), [(_BlockedCall, "wake_next"), (Coalescer, "_fly"), (Coalescer, "_land")]
)
def test_one_that_is_interrupted_around_its_batch_keeps_nobody_asleep(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    server = Server()
    server.release_batches.set()
    coalescer = Coalescer(server.alone, server.batch, lambda: "id", window_seconds=60.0)
    with ThreadPoolExecutor(PLACES + 5) as pool:
        for _ in range(PLACES):
            pool.submit(coalescer.score, ask("first"), 30.0)
        wait(lambda: server.lone == PLACES)
        futures = [pool.submit(coalescer.score, ask(str(place)), 30.0) for place in range(5)]
        (group,) = coalescer._groups.values()
        wait(lambda: len(group.waiting) == 5)
        interrupt(monkeypatch, owner, name)
        server.release.set()
        errors = [future.exception(10) for future in futures]
    assert [type(error) for error in errors if error is not None] == [KeyboardInterrupt]
    assert coalescer._groups == {}


def test_a_handful_of_threads_go_separately(server: Running) -> None:
    with (
        Client(ClientOptions(target=server.target, coalesce=True)) as client,
        ThreadPoolExecutor(PLACES) as pool,
    ):
        answers = pool.map(client.score_lead, [ask("x" * n) for n in range(80)])
        assert [answer.score for answer in answers] == list(range(80))
    assert server.seen.batches == []
    assert server.seen.calls.total() == 80


def test_threads_that_are_answered_are_freed_at_once() -> None:
    server = Server()
    server.release_batches.set()
    coalescer = Coalescer(server.alone, server.batch, lambda: "id", window_seconds=60.0)
    with without_collector():
        before = alive(_BlockedCall)
        with ThreadPoolExecutor(PLACES + 20) as pool:
            futures = [pool.submit(coalescer.score, ask("x"), 30.0) for _ in range(PLACES)]
            wait(lambda: server.lone == PLACES)
            futures += [pool.submit(coalescer.score, ask("x"), 30.0) for _ in range(20)]
            (group,) = coalescer._groups.values()
            wait(lambda: len(group.waiting) == 20)
            server.release.set()
            assert [future.result().lead_id for future in futures] == ["x"] * len(futures)
        assert server.batches == [20]
        del futures
        assert alive(_BlockedCall) == before


def test_tasks_that_are_answered_are_freed_at_once(server: Running) -> None:
    async def run() -> None:
        async with AsyncClient(ClientOptions(target=server.target, coalesce=True)) as client:
            with without_collector():
                before = alive(_AwaitedCall)
                await asyncio.gather(*(client.score_lead(ask("x")) for _ in range(40)))
                await asyncio.sleep(0.01)
                assert alive(_AwaitedCall) == before

    asyncio.run(run())
    assert [len(batch.leads) for batch in server.seen.batches] == [39]


@given(
    places=st.sampled_from([2, PLACES]),
    steps=st.lists(
        st.tuples(st.sampled_from(["call", "back", "window"]), st.integers(1, 700)), max_size=30
    ),
)
def test_what_leaves_is_bounded_and_counted(places: int, steps: list[tuple[str, int]]) -> None:
    group: Group[int] = Group((0, b"", b""), places)
    flying: list[int] = []
    for kind, count in steps:
        if kind == "call":
            for _ in range(count):
                if group.is_free:
                    group.under_way += 1
                    flying.append(1)
                else:
                    group.waiting.append(0)
        elif kind == "back" and flying:
            group.come_back(flying.pop(count % len(flying)))
        before, waited = len(flying), len(group.waiting)
        parts = group.departures(window_over=kind == "window")
        flying += map(len, parts)
        assert max((len(part) for part in parts), default=0) <= CALLS_MOST
        assert sum(map(len, parts)) + len(group.waiting) == waited
        assert (group.under_way, group.batches) == (
            len(flying),
            sum(each > 1 for each in flying),
        )
        if parts and waited < CALLS_MOST and kind != "window":
            assert before < places
            assert len(parts) <= PLACES_OF_BATCHES
        if kind == "window" or waited >= CALLS_MOST:
            assert not group.waiting


@pytest.mark.parametrize("count", [2, 40])
def test_beside_a_batch_calls_wait_for_company(count: int) -> None:
    group: Group[int] = Group((0, b"", b""), PLACES)
    group.under_way = 1
    group.waiting = [0] * count
    assert sum(map(len, group.departures())) == count
    free = []
    for _ in range(2):
        free.append(group.is_free)
        group.come_back(1)
    assert free == [False, True]
