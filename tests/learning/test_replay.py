"""Replay: planted truth is found again, what was learned from is marked, the command prints it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sqlalchemy import text

from cis_server.cli import run as run_command
from cis_server.demo.dataset import to_dataset
from cis_server.demo.loading import write
from cis_server.demo.simulator import Simulation, simulate
from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Effects
from cis_server.domain.clients import ClientRecord
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.learned import LearningState
from cis_server.domain.tiers import tier_of
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.errors import PreconditionFailed
from cis_server.learning.replay import ReplayedVersion, replay
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.models import ModelKind, NewModel, insert_model

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
START = AS_OF - dt.timedelta(days=150)
TRAINED = AS_OF - dt.timedelta(days=90)
STATE = LearningState(client=ClientRecord(client_id="planted"))
AUTHORITY = Weights(0.10, 0.50, 0.10, 0.15, 0.15)
SPEC = ClientSpec(
    client_id="planted", leads=2_500, base_rate=0.12, effects=Effects(components={"authority": 6.0})
)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate([SPEC], 5, AS_OF)


@pytest.fixture(scope="module")
def data(simulation: Simulation) -> Dataset:
    return to_dataset(simulation, "planted", Window(start=START, as_of=AS_OF))


def version(**changes: object) -> ReplayedVersion:
    given: dict[str, object] = {
        "label": "weights-2",
        "weights": AUTHORITY,
        "trained_from": START,
        "trained_until": TRAINED,
        **changes,
    }
    return ReplayedVersion(**given)  # type: ignore[arg-type]


def test_weights_that_are_right_lift_conversions(data: Dataset) -> None:
    found = replay(data, STATE, version())
    whole, unseen, seen, _ = found.groups
    assert whole.leads == unseen.leads + seen.leads
    assert whole.converted == unseen.converted + seen.converted
    assert unseen.converted > 20
    for group in (whole, unseen):
        assert group.pr_auc_before is not None
        assert group.pr_auc_after is not None
        assert group.pr_auc_after > group.pr_auc_before
        for top in group.tops:
            assert top.lift_after > top.lift_before
            assert top.converted_after == pytest.approx(
                top.lift_after * group.converted / group.leads * top.leads
            )


def test_rows_are_ranked_and_marked(data: Dataset) -> None:
    found = replay(data, STATE, version())
    rows = found.leads
    n = rows.height
    assert sorted(rows["rank_before"].to_list()) == list(range(1, n + 1))
    assert rows["rank_after"].to_list() == list(range(1, n + 1))
    assert (rows["rank_change"] == rows["rank_before"] - rows["rank_after"]).all()
    assert rows["value_after"].is_sorted(descending=True)
    marked = rows.filter(pl.col("in_sample"))
    assert 0 < marked.height < n
    assert (marked["first_contact_time"] <= TRAINED).all()
    assert (rows.filter(~pl.col("in_sample"))["first_contact_time"] > TRAINED).all()
    young = rows.filter(pl.col("converted").is_null())
    assert young.height > 0
    assert (young["first_contact_time"] > AS_OF - dt.timedelta(days=60)).all()
    said = " ".join(found.warnings)
    assert "looks better than it is" in said
    assert "too young" in said


def test_tier_moves_are_those_of_the_rows(data: Dataset) -> None:
    found = replay(data, STATE, version())
    counted: dict[tuple[str, str], int] = {}
    for before, after in found.leads.select("tier_before", "tier_after").iter_rows():
        counted[before, after] = counted.get((before, after), 0) + 1
    assert {(b.label, a.label): n for (b, a), n in found.tier_moves.items()} == counted
    for value, label in found.leads.select("value_after", "tier_after").iter_rows():
        assert tier_of(value).label == label


def test_against_itself_nothing_moves(data: Dataset) -> None:
    found = replay(
        data, STATE, version(weights=DEFAULT_WEIGHTS, trained_from=None, trained_until=None)
    )
    assert (found.leads["rank_change"] == 0).all()
    assert found.rank_correlation == pytest.approx(1.0)
    assert all(before is after for before, after in found.tier_moves)
    assert not found.leads["in_sample"].any()
    assert any("learned from no lead" in warning for warning in found.warnings)


def test_scores_are_of_the_components_at_first_touch(data: Dataset) -> None:
    """Leads whose components were recorded then are scored by those, whatever they are today."""
    found = replay(data, STATE, version())
    recorded = found.leads.filter(~pl.col("reconstructed"))
    joined = recorded.join(data.leads.select("lead_id", "components"), on="lead_id")
    points = joined["components"].str.json_decode(
        pl.Struct(dict.fromkeys(DEFAULT_WEIGHTS.as_dict(), pl.Float64))
    )
    total = points.struct.unnest().sum_horizontal().to_numpy()
    assert np.array_equal(joined["value_before"].to_numpy(), np.floor(total + 1e-9))


def test_nobody_to_replay(data: Dataset) -> None:
    import dataclasses

    empty = dataclasses.replace(data, leads=data.leads.clear(), activities=data.activities.clear())
    with pytest.raises(PreconditionFailed, match="nobody"):
        replay(empty, STATE, version())


def test_the_command_prints_tables_and_writes_rows(
    simulation: Simulation,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The streams of this test are closed after it; loggers would go on writing to them.
    monkeypatch.setattr("cis_server.cli.configure_logs", lambda *_, **__: None)
    write(simulation, database_url)
    engine = make_engine(database_url)
    with tenant(engine, "planted") as connection:
        lineage = {"window_start": START.isoformat(), "as_of": TRAINED.isoformat()}
        model = insert_model(
            connection,
            "planted",
            NewModel(kind=ModelKind.WEIGHTS, content=AUTHORITY.as_dict(), lineage=lineage),
        )
        before = connection.execute(text("SELECT count(*) FROM models")).scalar_one()
    monkeypatch.setenv("CIS_DATABASE_URL", database_url)
    monkeypatch.setenv("CIS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "140")
    path = tmp_path / "replay.parquet"
    arguments = ["replay", "--client=planted", f"--model={model.label}", "--since=2026-01-02"]
    assert run_command([*arguments, "--as-of=2026-06-01", f"--output={path}"]) == 0
    said = capsys.readouterr().out
    for words in ("held against defaults", "not learned from", "tiers: from", "leads written to"):
        assert words in said, said
    rows = pl.read_parquet(path)
    assert rows["in_sample"].any()
    assert not rows["in_sample"].all()
    assert run_command([*arguments[:2], "--model=weights-99", "--since=2026-01-02"]) == 1
    with tenant(engine, "planted") as connection:
        after = connection.execute(text("SELECT count(*) FROM models")).scalar_one()
    assert before == after
    engine.dispose()
