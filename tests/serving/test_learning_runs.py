"""Requesting runs and following them, over a store in memory."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from cis_server.domain.runs import BackfillNeed, Eligibility, LearnOptions, Run
from cis_server.domain.vocabulary import RunState, RunTrigger, SubscriptionStatus
from cis_server.errors import NotFound, PreconditionFailed, StoreUnavailable
from cis_server.serving.learning_runs import LearningRuns, Requested

NOW = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
OPTIONS = LearnOptions(as_of=NOW)


class MemoryRuns:
    """A `RunStore` over a dictionary."""

    def __init__(self) -> None:
        self.clients: dict[str, Eligibility] = {}
        self.needs: dict[str, BackfillNeed] = {}
        self.runs: dict[tuple[str, str], Run] = {}
        self.reads = 0
        self.fault: Exception | None = None
        self.lost: list[tuple[str, str]] = []

    def eligibility(
        self, client_id: str | None, as_of: dt.datetime, lookback_days: int
    ) -> Sequence[Eligibility]:
        del as_of, lookback_days
        return [e for name, e in self.clients.items() if client_id in (None, name)]

    def backfill_needs(
        self, client_id: str | None, as_of: dt.datetime, lookback_days: int
    ) -> Sequence[BackfillNeed]:
        del as_of, lookback_days
        return [n for name, n in self.needs.items() if client_id in (None, name)]

    def request(
        self, client_id: str, run_id: str, options: LearnOptions, trigger: RunTrigger
    ) -> str:
        for run in self.runs.values():
            if run.client_id == client_id and not run.ended:
                return run.run_id
        run = Run(
            client_id=client_id,
            run_id=run_id,
            state=RunState.QUEUED,
            options=options,
            trigger=trigger,
        )
        self.runs[client_id, run_id] = run
        return run_id

    def read(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[Run]]:
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        found: dict[str, list[Run]] = {}
        for run in list(self.runs.values()):
            if run.run_id in run_ids:
                found.setdefault(run.run_id, []).append(run)
        return found

    def recent(
        self,
        client_id: str | None,
        states: Sequence[RunState],
        limit: int,
        before: tuple[dt.datetime, str] | None,
    ) -> Sequence[Run]:
        del client_id, states, limit, before
        return list(self.runs.values())

    def orphaned(self) -> Sequence[tuple[str, str]]:
        return self.lost

    def change(self, client_id: str, **changes: object) -> None:
        for key, run in self.runs.items():
            if run.client_id == client_id and not run.ended:
                self.runs[key] = dataclasses.replace(run, **changes)  # type: ignore[arg-type]


class MemoryQueue:
    """A `JobQueue` that keeps what it is given."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str]] = []

    def defer_learn(self, client_id: str, run_id: str) -> None:
        self.jobs.append((client_id, run_id))


def eligible(
    client_id: str,
    conversions: int = 50,
    status: SubscriptionStatus = SubscriptionStatus.ACTIVE,
) -> Eligibility:
    return Eligibility(client_id=client_id, subscription_status=status, conversions=conversions)


@pytest.fixture
def store() -> MemoryRuns:
    it = MemoryRuns()
    it.clients = {name: eligible(name) for name in ("acme", "beta")}
    return it


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def runs(store: MemoryRuns, queue: MemoryQueue) -> Iterator[LearningRuns]:
    it = LearningRuns(store, queue)
    yield it
    it.close()


def test_a_request_stores_a_run_and_queues_its_job(
    runs: LearningRuns, store: MemoryRuns, queue: MemoryQueue
) -> None:
    requested = runs.request("acme", OPTIONS)
    assert requested.runs == {"acme": requested.run_id}
    assert queue.jobs == [("acme", requested.run_id)]
    assert store.runs["acme", requested.run_id].options == OPTIONS


def test_a_second_request_attaches(runs: LearningRuns, queue: MemoryQueue) -> None:
    first, second = runs.request("acme", OPTIONS), runs.request("acme", OPTIONS)
    assert first == second
    assert queue.jobs == [("acme", first.run_id)], "a second job would block the first one's retry"


def test_who_may_not_learn_is_told_why(runs: LearningRuns, store: MemoryRuns) -> None:
    with pytest.raises(NotFound):
        runs.request("nobody", OPTIONS)
    store.clients["few"] = eligible("few", conversions=19)
    with pytest.raises(PreconditionFailed) as few:
        runs.request("few", OPTIONS)
    assert few.value.reason == "TOO_FEW_CONVERSIONS"
    assert few.value.figures == {
        "conversions": "19",
        "min_conversions": "20",
        "lookback_days": "90",
    }
    store.clients["gone"] = eligible("gone", status=SubscriptionStatus.CANCELLED)
    with pytest.raises(PreconditionFailed) as gone:
        runs.request("gone", OPTIONS)
    assert gone.value.reason == "SUBSCRIPTION_NOT_LEARNING"
    force = dataclasses.replace(OPTIONS, force=True)
    assert runs.request("few", force).run_id
    assert runs.request("gone", force).run_id


def test_all_eligible_clients_share_a_run_id(
    runs: LearningRuns, store: MemoryRuns, queue: MemoryQueue
) -> None:
    store.clients["few"] = eligible("few", conversions=3)
    under_way = runs.request("beta", OPTIONS)
    requested = runs.request_all(OPTIONS)
    assert requested.runs == {"acme": requested.run_id, "beta": under_way.run_id}
    assert [(s.client_id, s.conversions) for s in requested.skipped] == [("few", 3)]
    assert ("acme", requested.run_id) in queue.jobs


def test_lost_jobs_are_queued_again(
    runs: LearningRuns, store: MemoryRuns, queue: MemoryQueue
) -> None:
    store.lost = [("acme", "run-1"), ("beta", "run-2")]
    assert runs.recover() == 2
    assert queue.jobs == store.lost


def followed(
    runs: LearningRuns, requested: Requested, is_active: Callable[[], bool] = lambda: True
) -> tuple[list[Mapping[str, Run]], threading.Thread]:
    """Follow on another thread; the states seen so far, and the thread."""
    seen: list[Mapping[str, Run]] = []

    def follow() -> None:
        for states in runs.follow(requested, is_active):
            seen.append(states)  # noqa: PERF402 - each is seen as it comes

    thread = threading.Thread(target=follow)
    thread.start()
    return seen, thread


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_follower_sees_progress_and_the_end(runs: LearningRuns, store: MemoryRuns) -> None:
    requested = runs.request("acme", OPTIONS)
    seen, thread = followed(runs, requested)
    until(lambda: len(seen) == 1)
    store.change("acme", state=RunState.RUNNING, stage="learn", fraction=0.5)
    until(lambda: len(seen) == 2)
    store.change("acme", state=RunState.SUCCEEDED, fraction=1.0)
    thread.join(5)
    assert not thread.is_alive()
    assert [states["acme"].fraction for states in seen] == [0.0, 0.5, 1.0]
    assert seen[-1]["acme"].ended


def test_many_followers_cost_one_reader(runs: LearningRuns, store: MemoryRuns) -> None:
    requested = runs.request("acme", OPTIONS)
    followers = [followed(runs, requested) for _ in range(50)]
    until(lambda: all(seen for seen, _ in followers))
    before = store.reads
    time.sleep(0.6)
    assert store.reads - before <= 4
    store.change("acme", state=RunState.FAILED)
    for _, thread in followers:
        thread.join(5)
        assert not thread.is_alive()
    until(lambda: runs._watch._thread is None)


def test_a_caller_that_goes_away_leaves_the_run_alone(
    runs: LearningRuns, store: MemoryRuns
) -> None:
    requested = runs.request("acme", OPTIONS)
    listening = threading.Event()
    listening.set()
    seen, thread = followed(runs, requested, listening.is_set)
    until(lambda: len(seen) == 1)
    listening.clear()
    thread.join(5)
    assert not thread.is_alive()
    assert not store.runs["acme", requested.run_id].ended


@pytest.mark.parametrize("fault", [StoreUnavailable("away"), ValueError("a row that is odd")])
def test_followers_outlive_what_cannot_be_read(
    runs: LearningRuns, store: MemoryRuns, fault: Exception
) -> None:
    requested = runs.request("acme", OPTIONS)
    store.fault = fault
    seen, thread = followed(runs, requested)
    until(lambda: store.reads >= 2)
    store.fault = None
    store.change("acme", state=RunState.SUCCEEDED)
    thread.join(5)
    assert not thread.is_alive()
    assert seen[-1]["acme"].ended


def test_nothing_to_follow_ends_at_once(runs: LearningRuns) -> None:
    nothing = Requested(run_id="r", runs={})
    assert list(runs.follow(nothing, lambda: True)) == []


def test_several_clients_are_followed_to_the_last(runs: LearningRuns, store: MemoryRuns) -> None:
    requested = runs.request_all(OPTIONS)
    seen, thread = followed(runs, requested)
    store.change("acme", state=RunState.SUCCEEDED)
    time.sleep(0.4)
    assert thread.is_alive()
    store.change("beta", state=RunState.FAILED)
    thread.join(5)
    assert not thread.is_alive()
    assert {name: run.state for name, run in seen[-1].items()} == {
        "acme": RunState.SUCCEEDED,
        "beta": RunState.FAILED,
    }


def test_a_run_that_is_not_there(runs: LearningRuns) -> None:
    with pytest.raises(NotFound):
        runs.read("ghost")
