"""Learn through the front door: requested, followed, attached to, killed and finished."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
import pytest
from running_server import wait_until

from cis_client import Client
from cis_client.errors import FailedPrecondition, InvalidArgument, NotFound
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import pattern_service_pb2 as patterns
from cis_client.v1 import recommendation_service_pb2 as recommendation

LEARNED = {core.PATTERN_TYPE_WHO, core.PATTERN_TYPE_WHEN, core.PATTERN_TYPE_HOW}


def learn(api: Client, client_id: str = "acme", **options: Any) -> Iterator[learning.LearnResponse]:
    return api.learn(learning.LearnRequest(client_id=client_id, **options), timeout_seconds=120)


def ended(stream: Iterable[learning.LearnResponse]) -> learning.LearnResult:
    *_, last = stream
    assert last.WhichOneof("event") == "result"
    return last.result


def run_of(api: Client, run_id: str) -> learning.LearningRun:
    return api.get_learning_run(learning.GetLearningRunRequest(run_id=run_id)).run


@pytest.fixture(scope="module")
def first(api: Client) -> list[learning.LearnResponse]:
    """Everything the first Learn of acme said."""
    return list(learn(api))


def test_progress_then_the_result(first: list[learning.LearnResponse]) -> None:
    kinds = [response.WhichOneof("event") for response in first]
    assert kinds[-1] == "result"
    assert set(kinds[:-1]) == {"progress"}
    fractions = [response.progress.fraction for response in first[:-1]]
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert {response.progress.client_id for response in first[:-1]} == {"acme"}
    result = first[-1].result
    assert {response.progress.run_id for response in first[:-1]} == {result.run_id}
    (acme,) = result.clients
    assert acme.client_id == "acme"
    assert not acme.error
    assert {p.type: p.status for p in acme.patterns}.items() >= dict.fromkeys(
        LEARNED, core.PATTERN_STATUS_OK
    ).items()
    assert acme.converted >= 20
    for weights in (acme.weights_before, acme.weights_after):
        total = sum(getattr(weights, field.name) for field in weights.DESCRIPTOR.fields)
        assert total == pytest.approx(1.0)


def test_the_run_can_be_looked_up(api: Client, first: list[learning.LearnResponse]) -> None:
    result = first[-1].result
    run = run_of(api, result.run_id)
    assert run.state == core.RUN_STATE_SUCCEEDED
    assert run.fraction == 1.0
    assert run.client_id == "acme"
    assert run.attempt == 1
    assert run.counts["conversions"] >= 20
    assert run.counts["leads"] > 0
    assert run.snapshot_hash
    assert run.peak_memory_bytes > 0
    assert [stage.stage for stage in run.stages][:2] == ["drain", "extract"]
    assert run.finished_time.ToNanoseconds() > run.started_time.ToNanoseconds()
    assert run.results[0] == result.clients[0]
    request = learning.ListLearningRunsRequest(client_id="acme", page_size=1)
    assert api.list_learning_runs(request).runs[0].client_id == "acme"
    with pytest.raises(NotFound):
        run_of(api, "3f0c4b2a-1111-4222-8333-444455556666")


def test_what_was_learned_is_served(api: Client, first: list[learning.LearnResponse]) -> None:
    del first
    listed = patterns.ListPatternsRequest(client_id="acme")
    wait_until(lambda: len(api.list_patterns(listed).patterns) >= 3, 5.0, "the new patterns")
    assert {p.type for p in api.list_patterns(listed).patterns} >= LEARNED
    who = patterns.GetPatternRequest(client_id="acme", type=core.PATTERN_TYPE_WHO)
    assert api.get_pattern(who).pattern.who.title_rankings
    timing = recommendation.GetTimingRequest(client_id="acme")
    wait_until(
        lambda: api.get_timing(timing).model.source != core.SOURCE_DEFAULT, 5.0, "learned timing"
    )
    assert api.get_timing(timing).best_days[0].estimate.sample > 0
    channels = recommendation.GetChannelsRequest(client_id="acme", tier=core.TIER_HOT)
    assert api.get_channels(channels).channels[0].estimate.sample > 0


def test_too_few_conversions(api: Client) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        list(learn(api, "fresh"))
    assert refused.value.reason == "TOO_FEW_CONVERSIONS"
    assert refused.value.metadata == {
        "conversions": "0",
        "min_conversions": "20",
        "lookback_days": "90",
    }
    with pytest.raises(NotFound, match="client 'nobody'"):
        list(learn(api, "nobody"))
    with pytest.raises(InvalidArgument, match="lookback_days"):
        list(learn(api, lookback_days=0))


def test_too_little_to_learn_from_is_a_result(api: Client) -> None:
    (fresh,) = ended(learn(api, "fresh", force=True)).clients
    assert {p.status for p in fresh.patterns} == {core.PATTERN_STATUS_INSUFFICIENT_DATA}
    assert not fresh.promoted
    assert fresh.weights_before == fresh.weights_after


def test_a_dry_run_changes_nothing(api: Client, first: list[learning.LearnResponse]) -> None:
    del first
    listed = patterns.ListPatternsRequest(client_id="acme")
    before = api.list_patterns(listed)
    result = ended(learn(api, dry_run=True))
    assert {p.status for p in result.clients[0].patterns} == {core.PATTERN_STATUS_OK}
    time.sleep(0.3)
    assert api.list_patterns(listed) == before


def test_a_second_learn_attaches(api: Client) -> None:
    one = learn(api)
    run_id = next(one).progress.run_id
    two = learn(api)
    assert next(two).progress.run_id == run_id
    results = [ended(stream) for stream in (one, two)]
    assert {result.run_id for result in results} == {run_id}
    assert results[0].clients == results[1].clients


def test_a_caller_that_goes_away_leaves_the_run_alone(api: Client) -> None:
    stream = learn(api)
    run_id = next(stream).progress.run_id
    stream.cancel()  # type: ignore[attr-defined]
    wait_until(lambda: run_of(api, run_id).state == core.RUN_STATE_SUCCEEDED, 60.0, "the end")
    assert {p.status for p in run_of(api, run_id).results[0].patterns} == {core.PATTERN_STATUS_OK}


def test_all_eligible(api: Client) -> None:
    stream = api.learn(learning.LearnRequest(all_eligible=True), timeout_seconds=120)
    result = ended(stream)
    assert [client.client_id for client in result.clients] == ["acme"]
    skipped = {client.client_id: client.converted for client in result.skipped}
    assert skipped["fresh"] == 0, "other tests may have added clients"
    assert "acme" not in skipped


class Watcher:
    """Looks at the stored patterns again and again, as serving processes do."""

    def __init__(self, url: str) -> None:
        self.seen: set[tuple[str, ...]] = set()
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(0.005):
                rows = connection.execute(
                    "SELECT pattern_type, run_id FROM patterns WHERE client_id = 'acme'"
                    " AND pattern_type IN ('who', 'when', 'how') ORDER BY 1"
                ).fetchall()
                self.seen.add(tuple(run_id for _, run_id in rows))


@pytest.mark.faults
@pytest.mark.slow
def test_a_killed_worker_s_run_is_done_by_the_next(
    api: Client, installation: Any, first: list[learning.LearnResponse]
) -> None:
    before = first[-1].result.run_id
    with Watcher(installation.database_url) as watcher:
        stream = learn(api)
        run_id = ""
        for response in stream:
            run_id = response.progress.run_id
            if response.progress.fraction > 0:
                attached = learn(api)
                assert next(attached).progress.run_id == run_id
                os.kill(installation.program.children()["worker"], signal.SIGKILL)
                break
        assert run_of(api, run_id).state == core.RUN_STATE_RUNNING, "killed in the middle"
        result = ended(stream)
        assert ended(attached).run_id == run_id
    assert result.run_id == run_id
    assert not result.clients[0].error
    run = run_of(api, run_id)
    assert (run.state, run.attempt) == (core.RUN_STATE_SUCCEEDED, 2)
    assert before != run_id
    # At every moment all three patterns were of one and the same run.
    assert all(len(set(runs)) == 1 and len(runs) == 3 for runs in watcher.seen)
    assert (run_id,) * 3 in watcher.seen
