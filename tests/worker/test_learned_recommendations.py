"""What a run proposes is stored with it, and experiments reach the run by their assignments."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cis_server.demo.loading import write
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects
from cis_server.domain.recommendations import (
    EvidenceBasis,
    ListedRecommendation,
    RecommendationState,
    StoredRecommendation,
)
from cis_server.domain.runs import LearnOptions
from cis_server.domain.vocabulary import RunState
from cis_server.persistence.connections import tenant
from cis_server.persistence.recommendations import Recommendations
from cis_server.persistence.runs import Runs
from cis_server.serving.learning_runs import LearningRuns
from cis_server.worker.learner import Learner

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
CLIENT = ClientSpec(
    client_id="tested", leads=1_000, base_rate=0.12, effects=Effects(ab_variants={"B": 2.0})
)


class NoQueue:
    """Jobs are done by hand."""

    def defer_learn(self, client_id: str, run_id: str) -> None:
        pass


@pytest.fixture
def installation(database: Engine, database_url: str) -> Engine:
    """A client whose touches do not name the experiment that its leads were assigned to."""
    write(simulate([CLIENT], 11, AS_OF), database_url)
    with tenant(database, "tested") as connection:
        connection.execute(
            text(
                "INSERT INTO ab_test_assignments"
                " (client_id, ab_test_id, lead_id, variant, propensity, assigned_at)"
                " SELECT client_id, ab_test_id, lead_id, min(ab_variant), 0.5, min(occurred_at)"
                " FROM activities WHERE ab_test_id IS NOT NULL GROUP BY 1, 2, 3"
            )
        )
        connection.execute(text("UPDATE activities SET ab_test_id = NULL, ab_variant = NULL"))
    return database


def learned(engine: Engine, url: str, folder: Path) -> str:
    runs = Runs(engine)
    learner = Learner(
        engine, url, folder, LearningRuns(runs, NoQueue()), lambda: dt.datetime.now(dt.UTC)
    )
    wanted = LearnOptions(as_of=AS_OF)
    run_id = runs.request("tested", str(uuid.uuid4()), wanted)
    learner.learn("tested", run_id, False)
    (run,) = runs.read([run_id])[run_id]
    assert run.state is RunState.SUCCEEDED, run.error
    assert "recommend" in [stage.stage for stage in run.stages]
    return run_id


def readable(listed: ListedRecommendation) -> StoredRecommendation:
    assert listed.stored is not None
    return listed.stored


def test_a_run_stores_what_it_proposes_and_the_next_one_finds_it_again(
    installation: Engine, database_url: str, tmp_path: Path
) -> None:
    stored = Recommendations(installation)
    everything = list(RecommendationState)
    first = learned(installation, database_url, tmp_path)
    found = [readable(one) for one in stored.page("tested", everything, 100, None)]
    assert {one.run_id for one in found} == {first}
    winner = next(one for one in found if one.recommendation.basis is EvidenceBasis.EXPERIMENT)
    assert winner.recommendation.element["variant"] == "B"
    assert winner.recommendation.low > 0
    stored.decide(
        "tested", winner.recommendation.recommendation_id, RecommendationState.ACCEPTED, "Ann",
        "shown by experiment", AS_OF,
    )  # fmt: skip
    second = learned(installation, database_url, tmp_path)
    later = [readable(one) for one in stored.page("tested", everything, 100, None)]
    again = {one.recommendation.recommendation_id: one for one in later}
    assert again.keys() == {one.recommendation.recommendation_id for one in found}
    kept = again.pop(winner.recommendation.recommendation_id)
    assert (kept.state, kept.decided_by, kept.run_id) == (
        RecommendationState.ACCEPTED, "Ann", first,
    )  # fmt: skip
    assert {one.run_id for one in again.values()} <= {second}
    assert [one.recommendation for one in again.values()] == [
        one.recommendation for one in found if one is not winner
    ]
