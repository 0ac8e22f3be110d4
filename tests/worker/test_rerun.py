"""A stored run is made again from what was kept of it, to the last digit; its page tells it."""

import datetime as dt
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cis_server.demo.loading import write
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects
from cis_server.domain.clients import CampaignRecord, ClientPolicy, ClientRecord, Icp
from cis_server.domain.learned import LearningState, RunInputs
from cis_server.domain.runs import LearnOptions
from cis_server.domain.vocabulary import Promotion
from cis_server.domain.weights import Weights
from cis_server.errors import DataError, NotFound, PreconditionFailed
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.dataset import load_run
from cis_server.persistence.runs import Runs
from cis_server.serving.learning_runs import LearningRuns
from cis_server.settings import Settings
from cis_server.worker.learner import Learner
from cis_server.worker.rerun import run_again

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
RUN = "5f0c9f0e-3a52-4a39-9a24-3f7a2a3d7b10"
CLIENT = ClientSpec(
    client_id="again",
    leads=1_500,
    base_rate=0.14,
    effects=Effects(components={"authority": 5.0}, attributes={"crm_source=referral": 1.5}),
)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class NoQueue:
    def defer_learn(self, client_id: str, run_id: str) -> None:
        raise AssertionError(f"nothing is queued here: {client_id} {run_id}")


@dataclass(frozen=True)
class Place:
    url: str
    engine: Engine
    settings: Settings


@pytest.fixture(scope="module")
def place(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A client that has learned once."""
    write(simulate([CLIENT], 1, AS_OF), module_database_url)
    engine = make_engine(module_database_url)
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    runs = Runs(engine)
    learner = Learner(
        engine, module_database_url, settings.datasets, LearningRuns(runs, NoQueue()), now
    )
    runs.request("again", RUN, LearnOptions(as_of=AS_OF))
    learner.learn("again", RUN, False)
    yield Place(module_database_url, engine, settings)
    engine.dispose()


def test_a_rerun_reproduces_every_metric_to_the_last_digit(place: Place) -> None:
    compared = run_again(place.engine, place.settings.datasets, "again", RUN, now)
    assert compared.compared >= 8
    assert list(compared.differences) == []
    assert compared.surroundings == {}


def test_a_rerun_does_not_look_at_what_is_in_force_today(place: Place) -> None:
    with tenant(place.engine, "again") as connection:
        before = connection.scalar(text("SELECT icp FROM clients"))
        connection.execute(text("""UPDATE clients SET icp = '{"industries": ["mining"]}'"""))
    try:
        compared = run_again(place.engine, place.settings.datasets, "again", RUN, now)
        assert list(compared.differences) == []
    finally:
        with tenant(place.engine, "again") as connection:
            connection.execute(
                text("UPDATE clients SET icp = CAST(:icp AS jsonb)"), {"icp": json.dumps(before)}
            )


def test_a_figure_that_was_changed_afterwards_is_named(place: Place) -> None:
    with tenant(place.engine, "again") as connection:
        connection.execute(
            text(
                "UPDATE models SET metrics = jsonb_set(metrics, '{log_loss}', '0.5')"
                " WHERE kind = 'weights'"
            )
        )
        changed = connection.scalar(text("SELECT metrics FROM models WHERE kind = 'weights'"))
    compared = run_again(place.engine, place.settings.datasets, "again", RUN, now)
    (difference,) = compared.differences
    assert (difference.path, difference.stored) == ("weights.metrics.log_loss", 0.5)
    with tenant(place.engine, "again") as connection:
        connection.execute(
            text("UPDATE models SET metrics = CAST(:metrics AS jsonb) WHERE kind = 'weights'"),
            {"metrics": json.dumps({**changed, "log_loss": difference.again})},
        )


def test_an_unknown_run_and_a_broken_file_are_told_apart(place: Place, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        run_again(place.engine, place.settings.datasets, "again", "no-such-run", now)
    with pytest.raises(NotFound, match="kept run"):
        run_again(place.engine, tmp_path, "again", RUN, now)
    (tmp_path / "again" / "runs").mkdir(parents=True)
    (tmp_path / "again" / "runs" / f"{RUN}.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        run_again(place.engine, tmp_path, "again", RUN, now)


def test_a_run_whose_data_were_removed_says_so(place: Place, tmp_path: Path) -> None:
    """Whether its inputs went with them, as they do, or were left behind by a version before."""
    kept = place.settings.datasets / "again"
    with tenant(place.engine, "again") as connection:
        hash_ = connection.scalar(text("SELECT content_hash FROM dataset_snapshots"))
    hidden = tmp_path / "hidden"
    (kept / hash_[:32]).rename(hidden)
    with pytest.raises(DataError, match="cannot be read"):
        run_again(place.engine, place.settings.datasets, "again", RUN, now)
    owner = make_engine(place.url)
    change = "UPDATE dataset_snapshots SET content_hash = :new WHERE content_hash = :old"
    try:
        with owner.begin() as connection:
            connection.execute(text(change), {"new": "gone", "old": hash_})
        for folder in (place.settings.datasets, tmp_path):
            with pytest.raises(PreconditionFailed, match="were removed by retention") as told:
                run_again(place.engine, folder, "again", RUN, now)
            assert told.value.reason == "DATASET_REMOVED"
    finally:
        with owner.begin() as connection:
            connection.execute(text(change), {"new": hash_, "old": "gone"})
        owner.dispose()
        hidden.rename(kept / hash_[:32])
    assert run_again(place.engine, place.settings.datasets, "again", RUN, now).compared >= 8


def test_inputs_of_a_run_survive_their_file(place: Place) -> None:
    inputs, dataset = load_run(place.settings.datasets, "again", RUN)
    assert dataset.content_hash == inputs.dataset_hash
    assert inputs.state.client.client_id == "again"
    assert RunInputs.from_json(json.loads(json.dumps(inputs.to_json()))) == inputs


def test_a_state_with_everything_in_it_survives_its_file() -> None:
    state = LearningState(
        client=ClientRecord(
            client_id="c",
            icp=Icp(industries=("mining",)),
            policy=ClientPolicy(
                promotion=Promotion.AUTO, tier_channels={"hot": ("voice", "email")}
            ),
            created_at=AS_OF,
        ),
        campaigns={
            "k": CampaignRecord(
                campaign_id="k", icp=Icp(), work_hours_end=dt.time(18, 30), allocation={"email": 60}
            )
        },
        live_weights=Weights(
            data_quality=0.1, authority=0.4, company_fit=0.2, timing=0.2, risk=0.1
        ),
        promotions=3,
    )
    inputs = RunInputs(
        client_id="c",
        run_id="r",
        dataset_hash="h",
        options=LearnOptions(as_of=AS_OF),
        state=state,
        settings={"horizon_days": 30.0},
        code_version="1",
        libraries={"numpy": "2"},
    )
    assert RunInputs.from_json(json.loads(json.dumps(inputs.to_json()))) == inputs


def test_both_commands_tell_the_run(place: Place, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("cis-server"))
    environment = {
        **os.environ,  # it may choose the kind of processor that linear algebra computes for
        "CIS_DATABASE_URL": place.url,
        "CIS_DATA_DIR": str(place.settings.data_dir),
    }

    def told(*arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments], env=environment, cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        return done.stdout.decode()

    assert "every figure is the same" in told("rerun", "--client", "again", "--run", RUN)
    assert told("report", "--client", "again", "-o", "page.html") == "page.html\n"
    page = (tmp_path / "page.html").read_text()
    assert "Learning run of again" in page
    assert RUN in page
    assert page.count("<svg") >= 3
    assert "nested deviance" in page
    assert "weights-1" in page
    assert re.findall(r"(?:src|href)=\"(?!#)", page) == []
