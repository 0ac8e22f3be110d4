"""Scores of concurrent calls: committed together, each caller told of its own."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from cis_server.domain.lead import Lead
from cis_server.domain.scores import StampedScore
from cis_server.errors import StoreUnavailable
from cis_server.scoring.scorer import score_lead
from cis_server.serving.bulkhead import Bulkhead
from cis_server.serving.score_commits import GROUP_SCORES, ScoreCommits

NOW = dt.datetime(2026, 3, 2, 8, 0, tzinfo=dt.UTC)
_SCORE = score_lead(Lead(lead_id="x"), as_of=NOW.date())


def stamped(
    lead_id: str, points: int = 50, *, scored_at: dt.datetime = NOW, as_of: dt.datetime = NOW
) -> StampedScore:
    score = replace(_SCORE, lead_id=lead_id, score=points)
    return StampedScore(score=score, scored_at=scored_at, as_of=as_of, scorer_version="1")


@dataclass
class Stored:
    """A store that can be held up; `groups` are the lead ids of each write."""

    known: frozenset[str] | None = None
    refuse: Callable[[Sequence[StampedScore]], Exception | None] = lambda _: None
    groups: list[list[str]] = field(default_factory=list)
    points: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def write(self, _client_id: str, scores: Sequence[StampedScore], seconds: float) -> list[str]:
        self.groups.append([each.score.lead_id for each in scores])
        self.seconds.append(seconds)
        self.begun.release()
        assert self.go.wait(10)
        error = self.refuse(scores)
        if error is not None:
            raise error
        found = [s for s in scores if self.known is None or s.score.lead_id in self.known]
        self.points |= {s.score.lead_id: s.score.score for s in found}
        return [s.score.lead_id for s in found]


class Callers:
    """Callers on threads of their own."""

    def __init__(self, store: Stored, places: int) -> None:
        self.store = store
        self._bulkhead = Bulkhead(1, waiting=places)
        self._commits = ScoreCommits(store.write, self._bulkhead)
        self._threads = ThreadPoolExecutor(places + 1)

    def write(
        self, *scores: StampedScore, client: str = "acme", seconds: float = 10.0
    ) -> Future[frozenset[str]]:
        return self._threads.submit(self._commits.write, client, scores, seconds)

    def waiting(self, number: int) -> None:
        """Wait until so many callers wait, the one that is being written included."""
        while len(self._commits._waiting["acme"]) + 1 < number:
            time.sleep(0.001)

    def close(self) -> None:
        self.store.go.set()
        self._threads.shutdown()
        self._commits.close()
        self._bulkhead.close()


@pytest.fixture
def callers() -> Iterator[Callers]:
    it = Callers(Stored(), places=8)
    yield it
    it.close()


def held_up(callers: Callers, *others: StampedScore) -> list[Future[frozenset[str]]]:
    """A first write that has begun, and one caller for each of the others behind it."""
    calls = [callers.write(stamped("first"))]
    assert callers.store.begun.acquire(timeout=10)
    for number, score in enumerate(others, start=2):
        calls.append(callers.write(score))
        callers.waiting(number)
    return calls


def test_those_that_wait_are_committed_together(callers: Callers) -> None:
    calls = held_up(callers, stamped("b"), stamped("a"), stamped("c"))
    assert not any(call.done() for call in calls)
    callers.store.go.set()
    assert [call.result() for call in calls] == [{"first"}, {"b"}, {"a"}, {"c"}]
    assert callers.store.groups == [["first"], ["a", "b", "c"]]


def test_each_caller_is_told_of_its_own_leads(callers: Callers) -> None:
    callers.store.known = frozenset({"first", "b"})
    calls = held_up(callers, stamped("a"), stamped("b"))
    callers.store.go.set()
    assert [call.result() for call in calls] == [{"first"}, frozenset(), {"b"}]


def test_of_one_lead_the_latest_score_is_kept(callers: Callers) -> None:
    later = NOW + dt.timedelta(seconds=1)
    calls = held_up(
        callers,
        stamped("a", 1, scored_at=later),
        stamped("a", 2),
        stamped("b", 3, as_of=NOW + dt.timedelta(days=1)),
        stamped("b", 4, scored_at=later),
        stamped("c", 5),
        stamped("c", 6),
    )
    callers.store.go.set()
    assert all(call.result() for call in calls)
    assert callers.store.points == {"first": 50, "a": 1, "b": 3, "c": 6}


def test_one_call_that_cannot_be_stored_fails_alone(callers: Callers) -> None:
    def refuse(scores: Sequence[StampedScore]) -> Exception | None:
        return ValueError("a") if any(s.score.lead_id == "a" for s in scores) else None

    callers.store.refuse = refuse
    first, a, b = held_up(callers, stamped("a"), stamped("b"))
    callers.store.go.set()
    assert first.result()
    assert b.result() == {"b"}
    assert isinstance(a.exception(), ValueError)
    assert callers.store.groups[1:] == [["a", "b"], ["a"], ["b"]]


def test_a_database_that_is_away_fails_the_group_once(callers: Callers) -> None:
    callers.store.refuse = lambda scores: StoreUnavailable("away") if len(scores) > 1 else None
    first, *others = held_up(callers, stamped("a"), stamped("b"))
    callers.store.go.set()
    assert first.result()
    assert all(isinstance(call.exception(), StoreUnavailable) for call in others)
    assert len(callers.store.groups) == 2


def test_a_caller_waits_no_longer_than_it_said_and_is_not_written_later(callers: Callers) -> None:
    [first] = held_up(callers)
    late = callers.write(stamped("late"), seconds=0.05)
    assert isinstance(late.exception(timeout=5), StoreUnavailable)
    callers.store.go.set()
    assert first.result()
    assert callers.write(stamped("next")).result() == {"next"}
    assert callers.store.groups == [["first"], ["next"]]
    assert 0 < callers.store.seconds[0] <= 10.0


def test_clients_do_not_wait_for_each_other(callers: Callers) -> None:
    [first] = held_up(callers)
    other = callers.write(stamped("theirs"), client="other")
    assert callers.store.begun.acquire(timeout=10)
    assert not first.done()
    callers.store.go.set()
    assert other.result() == {"theirs"}
    assert sorted(callers.store.groups) == [["first"], ["theirs"]]


def test_large_calls_are_groups_of_their_own(callers: Callers) -> None:
    [first] = held_up(callers)
    many = [stamped(f"l{i:05}") for i in range(GROUP_SCORES)]
    calls = [callers.write(*many)]
    callers.waiting(2)
    calls.append(callers.write(stamped("small")))
    callers.waiting(3)
    callers.store.go.set()
    assert first.result()
    assert [len(call.result()) for call in calls] == [GROUP_SCORES, 1]
    assert [len(group) for group in callers.store.groups] == [1, GROUP_SCORES, 1]


def test_too_many_callers_are_turned_away_at_once(callers: Callers) -> None:
    calls = held_up(callers, *(stamped(f"l{i}") for i in range(7)))
    refused = callers.write(stamped("one too many"))
    assert isinstance(refused.exception(timeout=5), StoreUnavailable)
    callers.store.go.set()
    assert all(call.result() for call in calls)
