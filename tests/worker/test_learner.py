"""Runs over a real Postgres: stored whole or not at all, history kept, failures told apart."""

import dataclasses
import datetime as dt
import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cis_server.demo.loading import write
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects
from cis_server.detectors.runner import DETECTORS
from cis_server.domain.dataset import Window
from cis_server.domain.live_state import PatternKey
from cis_server.domain.propensity import PropensityModel
from cis_server.domain.runs import LearnOptions, Run
from cis_server.domain.vocabulary import PatternStatus, PatternType, RunState, RunTrigger
from cis_server.domain.weights import DEFAULT_WEIGHTS, read_weights
from cis_server.errors import StoreUnavailable
from cis_server.learning.pipeline import learn
from cis_server.learning.stages import Stages
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.dataset import load_dataset, read_dataset
from cis_server.persistence.learned import (
    Saving,
    learning_state,
    only_learner_of,
    save_learned,
)
from cis_server.persistence.live_state import PostgresSnapshotSource
from cis_server.persistence.models import ModelKind, NewModel, activate, insert_model
from cis_server.persistence.registry import promote
from cis_server.persistence.runs import Runs
from cis_server.serving.learning_runs import LearningRuns
from cis_server.worker.learner import Learner

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
CLIENT = ClientSpec(
    client_id="learner",
    leads=1_500,
    base_rate=0.14,
    effects=Effects(components={"authority": 5.0}, attributes={"crm_source=referral": 1.5}),
)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Deferred:
    """Keeps what was queued."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str]] = []

    def defer_learn(self, client_id: str, run_id: str) -> None:
        self.jobs.append((client_id, run_id))


class Installation:
    """A database with one simulated client, and a learner on it."""

    def __init__(self, url: str, engine: Engine, folder: Path) -> None:
        self.url, self.engine, self.folder = url, engine, folder
        self.runs = Runs(engine)
        self.queue = Deferred()
        self.requests = LearningRuns(self.runs, self.queue)
        self.learner = self.another_learner()

    def another_learner(self, lock_seconds: float = 5.0) -> Learner:
        return Learner(
            self.engine, self.url, self.folder, self.requests, now, lock_seconds=lock_seconds
        )

    def request(self, client_id: str = "learner", **options: object) -> str:
        wanted = dataclasses.replace(LearnOptions(as_of=AS_OF), **options)  # type: ignore[arg-type]
        return self.runs.request(client_id, str(uuid.uuid4()), wanted)

    def run(self, run_id: str) -> Run:
        return self.runs.read([run_id])[run_id][0]

    def learned(self, **options: object) -> Run:
        run_id = self.request(**options)
        self.learner.learn("learner", run_id, False)
        run = self.run(run_id)
        assert run.state is RunState.SUCCEEDED, run.error
        return run

    def rows(self, query: str) -> Sequence[tuple[object, ...]]:
        with tenant(self.engine, "learner") as connection:
            return [tuple(row) for row in connection.execute(text(query))]


@pytest.fixture(scope="module")
def loaded(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    write(simulate([CLIENT], 1, AS_OF), module_database_url)
    engine = make_engine(module_database_url)
    yield Installation(module_database_url, engine, tmp_path_factory.mktemp("datasets"))
    engine.dispose()


@pytest.fixture
def place(loaded: Installation) -> Installation:
    """The same installation with nothing learned."""
    with tenant(loaded.engine, "learner") as connection:
        for table in ("patterns", "pattern_status", "models", "learning_runs"):
            connection.execute(text(f"DELETE FROM {table}"))
    with loaded.engine.begin() as connection:
        connection.execute(text("SELECT set_config('role', 'cis_owner', true)"))
        connection.execute(text("DELETE FROM dataset_snapshots"))
        connection.execute(text("DELETE FROM pattern_history"))
        connection.execute(text("DELETE FROM model_events"))
    loaded.queue.jobs.clear()
    return loaded


def test_a_run_stores_patterns_weights_and_model_that_serving_reads(place: Installation) -> None:
    run = place.learned()
    assert run.result is not None
    assert run.fraction == 1.0
    assert [stage.stage for stage in run.stages] == [
        *("drain", "extract", "snapshot"),
        *(f"detect_{kind}" for kind in DETECTORS),
        *("weights", "propensity", "policies", "recommend", "save"),
    ]
    assert run.result.seconds > 0
    assert run.result.peak_memory_bytes > 50_000_000
    assert run.result.weights.promoted
    assert run.result.weights.version == "weights-1"
    assert run.result.propensity.version == "propensity-1"
    source = PostgresSnapshotSource(place.engine, place.url)
    state = source.load_client("learner")
    assert state is not None
    assert state.weights is not None
    assert state.weights.version == "weights-1"
    assert read_weights(state.weights.content) == (run.result.weights.after, None)
    assert state.weights.valid_until is not None
    assert dt.timedelta(days=13) < state.weights.valid_until - now() <= dt.timedelta(days=14)
    if run.result.propensity.promoted:
        assert state.model is not None
        assert PropensityModel.from_json(state.model.content).version == "propensity-1"
    keys = [PatternKey("learner", kind) for kind in (PatternType.WHO, PatternType.WHEN)]
    records = source.load_patterns(keys)
    for key in keys:
        assert records[key].run_status is PatternStatus.OK
        assert records[key].content is not None
        assert records[key].content["envelope"]["as_of"] == AS_OF.isoformat()
    lineage = place.rows("SELECT lineage FROM models WHERE kind = 'weights'")[0][0]
    assert lineage["snapshot_hash"] == run.result.snapshot_hash  # type: ignore[index]
    assert lineage["libraries"]["numpy"]  # type: ignore[index]


def test_the_dataset_is_kept_and_repeats_the_run(place: Installation) -> None:
    run = place.learned()
    assert run.result is not None
    ((path, noted),) = place.rows("SELECT path, content_hash FROM dataset_snapshots")
    assert noted == run.result.snapshot_hash
    options = LearnOptions(as_of=AS_OF)
    with tenant(place.engine, "learner") as connection:
        connection.execute(text("DELETE FROM models"))
    state = learning_state(place.engine, "learner")
    again = learn(load_dataset(Path(str(path))), state, options, Stages(now))
    stored = dict(place.rows("SELECT pattern_type, patterns FROM patterns"))
    assert {p.type.value: json.loads(json.dumps(p.content)) for p in again.patterns} == stored
    assert again.result.weights.learned == run.result.weights.learned


def test_a_second_run_replaces_and_keeps_the_history(place: Installation) -> None:
    place.learned()
    # The same data and moment give the same content: only what differs is replaced.
    with tenant(place.engine, "learner") as connection:
        connection.execute(
            text(
                "UPDATE patterns SET patterns = patterns || '{\"older\": 1}'"
                " WHERE pattern_type <> 'who'"
            )
        )
    query = "SELECT pattern_type, patterns FROM patterns WHERE pattern_type <> 'who'"
    before = dict(place.rows(query))
    second = place.learned()
    assert second.result is not None
    assert before.keys() >= {"how", "when"}
    assert dict(place.rows("SELECT pattern_type, version FROM patterns")) == {
        **dict.fromkeys(before, 2),
        "who": 1,
    }
    assert place.rows("SELECT run_id FROM patterns WHERE pattern_type = 'who'") == [
        (second.run_id,)
    ]
    history = place.rows("SELECT pattern_type, version, reason, patterns FROM pattern_history")
    assert {(row[0], row[1], row[2]) for row in history} == {
        (kind, 1, "replaced") for kind in before
    }
    assert {row[0]: row[3] for row in history} == before
    live = place.rows("SELECT version FROM models WHERE kind = 'weights' AND state = 'live'")
    assert live == [(2,)]
    retired = place.rows("SELECT version FROM models WHERE kind = 'weights' AND state = 'retired'")
    assert retired == [(1,)]
    assert second.result.weights.version == "weights-2"
    # The same data: the second promotion is limited, and starts where the first one ended.
    assert second.result.weights.before == second.result.weights.after


def test_too_little_data_keeps_the_last_good_pattern(place: Installation) -> None:
    place.learned()
    good = place.rows("SELECT pattern_type, patterns, version FROM patterns ORDER BY 1")
    run = place.learned(lookback_days=1, force=True)
    assert run.result is not None
    assert {outcome.status for outcome in run.result.patterns} == {PatternStatus.INSUFFICIENT_DATA}
    assert place.rows("SELECT pattern_type, patterns, version FROM patterns ORDER BY 1") == good
    assert set(place.rows("SELECT status FROM pattern_status")) == {("insufficient_data",)}
    assert place.rows("SELECT count(*) FROM pattern_history") == [(0,)]
    assert place.rows("SELECT version FROM models WHERE kind='weights' AND state='live'") == [(1,)]


def test_a_dry_run_stores_nothing_but_itself(place: Installation) -> None:
    run = place.learned(dry_run=True)
    assert run.result is not None
    assert run.result.weights.learned is not None
    assert run.result.weights.version == ""
    assert not run.result.promoted
    for table in ("patterns", "pattern_status", "models"):
        assert place.rows(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_run_does_not_overtake_a_rollout(place: Installation) -> None:
    with tenant(place.engine, "learner") as connection:
        weights = NewModel(kind=ModelKind.WEIGHTS, content=DEFAULT_WEIGHTS.as_dict())
        first = insert_model(connection, "learner", weights)
        promote(connection, "learner", first.label, by="ana", at=now(), percentage=10)
    run = place.learned(force=True)
    assert run.result is not None
    outcome = run.result.weights
    assert (outcome.promoted, outcome.forced, outcome.version) == (False, False, "weights-2")
    assert outcome.after == outcome.before
    assert "rollout of weights-1" in outcome.reason
    assert place.rows(
        "SELECT version, state FROM models WHERE kind = 'weights' ORDER BY version"
    ) == [(1, "rolling_out"), (2, "candidate")]


def test_weights_set_by_hand_outlast_a_forced_run(place: Installation) -> None:
    with tenant(place.engine, "learner") as connection:
        by_hand = NewModel(
            kind=ModelKind.WEIGHTS, content=DEFAULT_WEIGHTS.as_dict(), origin="manual"
        )
        stored = insert_model(connection, "learner", by_hand)
        activate(connection, "learner", stored.model_id, by="ana", at=now())
    run = place.learned(force=True)
    assert run.result is not None
    assert not run.result.weights.promoted
    assert place.rows(
        "SELECT version, origin, state FROM models WHERE kind = 'weights' ORDER BY version"
    ) == [(1, "manual", "live"), (2, "learned", "candidate")]


def test_an_attempt_that_was_taken_over_stores_nothing(place: Installation) -> None:
    run_id = place.request()
    first = place.runs.claim("learner", run_id, "test")
    assert first is not None
    window = Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF)
    data = read_dataset(place.url, "learner", window)
    stages = Stages(now)
    state = learning_state(place.engine, "learner")
    result = learn(data, state, first.options, stages)
    saving = Saving(
        now=now(), lineage={}, dataset=None, ended=lambda found: (found, stages.finished)
    )
    second = place.runs.claim("learner", run_id, "test")
    assert second is not None
    assert second.attempts == first.attempts + 1
    assert save_learned(place.engine, first, result, saving) is None
    for table in ("patterns", "pattern_status", "models", "pattern_history"):
        assert place.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    # Nor may the first one fail or postpone what the second is working on.
    place.runs.fail("learner", run_id, "INTERNAL", "late", attempt=first.attempts)
    place.runs.postpone("learner", run_id, "late", attempt=first.attempts)
    assert place.run(run_id).state is RunState.RUNNING
    assert save_learned(place.engine, second, result, saving) is not None
    assert place.run(run_id).state is RunState.SUCCEEDED
    assert place.rows("SELECT count(*) FROM patterns") == [(len(result.patterns),)]


def test_a_fault_while_saving_leaves_what_was_there(place: Installation) -> None:
    place.learned()
    before = place.rows("SELECT pattern_type, version, run_id FROM patterns ORDER BY 1")
    models = place.rows("SELECT model_id, state FROM models ORDER BY 1")
    run_id = place.request()
    run = place.runs.claim("learner", run_id, "test")
    assert run is not None
    window = Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF)
    data = read_dataset(place.url, "learner", window)
    result = learn(data, learning_state(place.engine, "learner"), run.options, Stages(now))

    def killed(_: object) -> object:
        raise KeyboardInterrupt

    saving = Saving(now=now(), lineage={}, dataset=None, ended=killed)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        save_learned(place.engine, run, result, saving)
    assert place.rows("SELECT pattern_type, version, run_id FROM patterns ORDER BY 1") == before
    assert place.rows("SELECT model_id, state FROM models ORDER BY 1") == models
    assert place.rows("SELECT count(*) FROM pattern_history") == [(0,)]
    # The next attempt of the same run ends well.
    place.learner.learn("learner", run_id, False)
    ended = place.run(run_id)
    assert ended.state is RunState.SUCCEEDED
    assert ended.attempts == 2


def test_an_ended_run_is_left_alone(place: Installation) -> None:
    run = place.learned()
    place.learner.learn("learner", run.run_id, True)
    assert place.run(run.run_id) == run
    place.learner.learn("learner", str(uuid.uuid4()), True)


def test_the_database_away_postpones_or_ends_the_run(place: Installation) -> None:
    """The lock is held elsewhere for too long, which looks like a database that is busy."""
    impatient = place.another_learner(lock_seconds=0.0)
    run_id = place.request()
    with only_learner_of(place.engine, "learner", 1.0):
        with pytest.raises(StoreUnavailable):
            impatient.learn("learner", run_id, True)
        assert place.run(run_id).state is RunState.QUEUED
        impatient.learn("learner", run_id, False)
    failed = place.run(run_id)
    assert failed.state is RunState.FAILED
    assert failed.error_code == "UNAVAILABLE"
    assert failed.attempts == 2


def test_a_fault_of_ours_ends_the_run_with_a_number_to_look_up(
    place: Installation, tmp_path: Path
) -> None:
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("in the way")
    broken = Learner(place.engine, place.url, not_a_folder, place.requests, now)
    run_id = place.request()
    broken.learn("learner", run_id, True)
    failed = place.run(run_id)
    assert failed.state is RunState.FAILED
    assert failed.error_code == "INTERNAL"
    assert "file" not in failed.error


def test_a_deleted_client_ends_the_run(place: Installation) -> None:
    with tenant(place.engine, "learner") as connection:
        connection.execute(text("UPDATE clients SET deleted_at = now()"))
    try:
        run_id = place.request()
        place.learner.learn("learner", run_id, True)
        failed = place.run(run_id)
        assert (failed.state, failed.error_code) == (RunState.FAILED, "NOT_FOUND")
    finally:
        with tenant(place.engine, "learner") as connection:
            connection.execute(text("UPDATE clients SET deleted_at = NULL"))


def test_events_written_by_others_are_derived_before_the_data_are_read(
    place: Installation,
) -> None:
    with tenant(place.engine, "learner") as connection:
        lead = connection.scalar(
            text("SELECT lead_id FROM leads WHERE converted_at IS NULL AND status = 'exhausted'"
                 " ORDER BY lead_id LIMIT 1")
        )  # fmt: skip
        connection.execute(
            text("INSERT INTO meetings (client_id, lead_id, booked_at)"
                 " VALUES ('learner', :lead, :at)"),
            {"lead": lead, "at": AS_OF - dt.timedelta(days=2)},
        )  # fmt: skip
    run = place.learned()
    drained = next(stage for stage in run.stages if stage.stage == "drain")
    assert drained.rows == 1
    assert place.rows(f"SELECT converted_at FROM leads WHERE lead_id = '{lead}'") == [
        (AS_OF - dt.timedelta(days=2),)
    ]
    with tenant(place.engine, "learner") as connection:
        connection.execute(text("DELETE FROM meetings WHERE lead_id = :lead"), {"lead": lead})


def test_the_commit_tells_serving_processes(place: Installation) -> None:
    source = PostgresSnapshotSource(place.engine, place.url)
    source.listen()
    try:
        place.learned()
        told = {change.kind.value for change in source.wait_for_changes(2.0)}
        assert {"client", "patterns"} <= told
        place.learned(lookback_days=1)
        told = {change.kind.value for change in source.wait_for_changes(2.0)}
        assert "patterns" in told
    finally:
        source.close()


def test_every_eligible_client_is_requested_once_a_week(place: Installation) -> None:
    early = Learner(place.engine, place.url, place.folder, place.requests, lambda: AS_OF)
    early.learn_all(1_780_797_600)
    ((client_id, run_id),) = place.queue.jobs
    assert client_id == "learner"
    assert place.run(run_id).options.as_of == AS_OF
    assert place.run(run_id).trigger is RunTrigger.SCHEDULE
    early.learn_all(1_781_402_400)
    assert place.queue.jobs == [("learner", run_id)]  # still under way: attached, not queued twice
    place.runs.fail("learner", run_id, "INTERNAL", "for the test", attempt=0)
    claimed = place.runs.claim("learner", run_id, "test")
    assert claimed is not None
    place.runs.fail("learner", run_id, "INTERNAL", "for the test", attempt=claimed.attempts)
    # The same firing again, after a fault between two clients: what was started stays as it ended.
    early.learn_all(1_780_797_600)
    with tenant(place.engine, "learner") as connection:
        assert connection.scalar(text("SELECT count(*) FROM learning_runs")) == 1
    assert place.run(run_id).state is RunState.FAILED
    early.learn_all(1_781_402_400)
    with tenant(place.engine, "learner") as connection:
        assert connection.scalar(text("SELECT count(*) FROM learning_runs")) == 2
