"""The bulkhead: so many at once, no longer than said, and room again afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cis_server.errors import NotFound, StoreUnavailable
from cis_server.serving.bulkhead import Bulkhead


@pytest.fixture
def bulkhead() -> Iterator[Bulkhead]:
    it = Bulkhead(threads=2, waiting=3)
    yield it
    it.close()


def test_work_is_done_elsewhere(bulkhead: Bulkhead) -> None:
    assert bulkhead.call(lambda: threading.current_thread().name, 1.0).startswith("store")


def test_errors_of_the_work_pass(bulkhead: Bulkhead) -> None:
    def work() -> None:
        raise NotFound("lead", "x")

    with pytest.raises(NotFound):
        bulkhead.call(work, 1.0)


def test_a_caller_waits_no_longer_than_it_said(bulkhead: Bulkhead) -> None:
    release = threading.Event()
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer within 50 ms"):
        bulkhead.call(release.wait, 0.05)
    assert time.monotonic() - started < 0.5
    release.set()
    assert bulkhead.call(lambda: 1, 1.0) == 1


def test_too_many_callers_are_turned_away_at_once(bulkhead: Bulkhead) -> None:
    release = threading.Event()
    with ThreadPoolExecutor(3) as callers:
        waiting = [callers.submit(bulkhead.call, release.wait, 5.0) for _ in range(3)]
        while bulkhead._places._value:
            time.sleep(0.001)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="too many") as refused:
            bulkhead.call(lambda: 1, 5.0)
        assert time.monotonic() - started < 0.5
        assert refused.value.retry_after_seconds > 0
        release.set()
        assert all(call.result() for call in waiting)
    assert bulkhead.call(lambda: 1, 1.0) == 1


def test_hung_work_leaves_places_for_callers(bulkhead: Bulkhead) -> None:
    """Threads that hang keep their thread, never a caller's place: each caller is told in time."""
    release = threading.Event()
    for _ in range(6):
        with pytest.raises(StoreUnavailable, match="did not answer"):
            bulkhead.call(release.wait, 0.02)
    release.set()
    assert bulkhead.call(lambda: 1, 1.0) == 1


def test_what_was_given_up_before_it_began_is_not_done(bulkhead: Bulkhead) -> None:
    release, done = threading.Event(), []
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            bulkhead.call(release.wait, 0.02)
    with pytest.raises(StoreUnavailable):
        bulkhead.call(lambda: done.append(1), 0.02)
    release.set()
    bulkhead.call(lambda: 1, 1.0)
    assert done == []
