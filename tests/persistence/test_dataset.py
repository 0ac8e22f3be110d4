"""What a learning run reads: cut at its instant, without personal data, the same every time."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, text

from cis_server.domain.dataset import FRAMES, Window
from cis_server.domain.lead import Lead
from cis_server.errors import DataError
from cis_server.persistence.connections import tenant
from cis_server.persistence.dataset import (
    COLUMNS,
    content_hash,
    load_dataset,
    read_dataset,
    record_snapshot,
    save_dataset,
)
from cis_server.persistence.leads import upsert_leads
from cis_server.persistence.rederive import rederive

AS_OF = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
WINDOW = Window(start=AS_OF - 90 * DAY, as_of=AS_OF)

SECRETS = ("ann.secret@", "private@home", "+61255501", "Annabella", "Secretson", "hush-hush")


@pytest.fixture
def filled(database: Engine) -> Engine:
    for client in ("acme", "other"):
        with tenant(database, client) as connection:
            connection.execute(text("INSERT INTO clients (client_id) VALUES (:c)"), {"c": client})
            ann = Lead(
                lead_id="ann",
                email="ann.secret@rival.example",
                personal_email="private@home",
                phone="+61255501",
                first_name="Annabella",
                last_name="Secretson",
                domain=" Rival.Example",
                timezone="Australia/Sydney",
                technologies=("b", "a"),
                attributes={"job": "student"},
            )
            names = ("ann", "early", "late", "idle")
            upsert_leads(
                connection, client, [dataclasses.replace(ann, lead_id=name) for name in names]
            )
            for lead, days, action in (
                ("ann", -80, "sent"),
                ("ann", -70, "sent"),
                ("ann", 2, "sent"),
                ("early", -200, "sent"),
                ("late", -10, "sent"),
            ):
                connection.execute(
                    text(
                        "INSERT INTO activities (client_id, activity_id, lead_id, channel, action,"
                        " occurred_at, subject, full_message_body, content_snapshot)"
                        " VALUES (:c, md5(:key)::uuid, :lead, 'email', :action, :at, 'hush-hush',"
                        " 'hush-hush', CAST(:snapshot AS jsonb))"
                    ),
                    {
                        "c": client,
                        "key": f"{lead}{days}",
                        "lead": lead,
                        "action": action,
                        "at": AS_OF + days * DAY,
                        "snapshot": json.dumps({"word_count": 80, "body": "hush-hush"}),
                    },
                )
            for lead, days in (("ann", -69), ("late", 5)):
                connection.execute(
                    text(
                        "INSERT INTO meetings (client_id, meeting_id, lead_id, booked_at)"
                        " VALUES (:c, :lead, :lead, :at)"
                    ),
                    {"c": client, "lead": lead, "at": AS_OF + days * DAY},
                )
            connection.execute(
                text("UPDATE leads SET status = 'converted' WHERE lead_id IN ('ann', 'late')")
            )
            rederive(connection, client)
    return database


@pytest.mark.usefixtures("filled")
def test_only_the_window_of_the_client_is_read(database_url: str) -> None:
    dataset = read_dataset(database_url, "acme", WINDOW)
    assert dataset.leads["lead_id"].to_list() == ["ann", "late"]
    assert dataset.activities["lead_id"].to_list() == ["ann", "ann", "late"]
    assert dataset.activities["converting"].to_list() == [False, True, False]
    assert dataset.meetings["meeting_id"].to_list() == ["ann"]


@pytest.mark.usefixtures("filled")
def test_an_outcome_after_as_of_has_not_happened(database_url: str) -> None:
    rows = read_dataset(database_url, "acme", WINDOW).leads.rows_by_key("lead_id", named=True)
    [ann], [late] = rows["ann"], rows["late"]
    assert (ann["status"], ann["conversion_type"]) == ("converted", "meeting_booked")
    assert ann["converted_at"] == AS_OF - 69 * DAY
    assert (late["status"], late["conversion_type"]) == ("in_sequence", None)
    assert late["converted_at"] is None


def test_the_stage_as_of_then_is_the_last_one_of_its_instant(
    filled: Engine, database_url: str
) -> None:
    # Names of changes are drawn by lot: of eight deals, some would have the wrong one first.
    deals = [f"deal{number}" for number in range(8)]
    stages = ("qualification", "proposal", "negotiation", "contract_sent")
    with tenant(filled, "acme") as connection:
        for deal in deals:
            connection.execute(
                text(
                    "INSERT INTO deals (client_id, deal_id, lead_id, opened_at, stage, closed_at)"
                    " VALUES ('acme', :deal, 'ann', :opened, 'closed_won', :closed)"
                ),
                {"deal": deal, "opened": AS_OF - 30 * DAY, "closed": AS_OF + 5 * DAY},
            )
            for left, entered in zip((None, *stages), stages, strict=False):
                connection.execute(
                    text(
                        "INSERT INTO deal_stage_history"
                        " (client_id, deal_id, from_stage, to_stage, changed_at)"
                        " VALUES ('acme', :deal, :left, :entered, :at)"
                    ),
                    {"deal": deal, "left": left, "entered": entered, "at": AS_OF - 20 * DAY},
                )
        rederive(connection, "acme")
    read = read_dataset(database_url, "acme", WINDOW).deals
    assert read.select("deal_id", "stage", "won").rows() == [
        (deal, "contract_sent", None) for deal in deals
    ]


def test_a_deal_that_is_open_today_is_told_as_it_stood_then(
    filled: Engine, database_url: str
) -> None:
    with tenant(filled, "acme") as connection:
        for deal in ("moved", "reopened", "plain"):
            connection.execute(
                text(
                    "INSERT INTO deals (client_id, deal_id, lead_id, opened_at)"
                    " VALUES ('acme', :deal, 'ann', :opened)"
                ),
                {"deal": deal, "opened": AS_OF - 40 * DAY},
            )
        for deal, stage, days, reason in (
            ("moved", "negotiation", 10, None),
            ("reopened", "closed_lost", -20, "no_budget"),
            ("reopened", "proposal", 10, "no_budget"),
            ("plain", "negotiation", -5, None),
        ):
            connection.execute(
                text(
                    "UPDATE deals SET stage = :stage, stage_changed_at = :at, lost_reason = :reason"
                    " WHERE client_id = 'acme' AND deal_id = :deal"
                ),
                {"deal": deal, "stage": stage, "at": AS_OF + days * DAY, "reason": reason},
            )
        connection.execute(text("DELETE FROM deal_stage_history WHERE deal_id = 'plain'"))
        rederive(connection, "acme")
    read = read_dataset(database_url, "acme", WINDOW).deals.sort("deal_id")
    assert read.select("deal_id", "stage", "won", "closed_at", "lost_reason").rows() == [
        ("moved", "qualification", None, None, None),
        ("plain", "negotiation", None, None, None),
        ("reopened", "closed_lost", False, AS_OF - 20 * DAY, "no_budget"),
    ]


@pytest.mark.usefixtures("filled")
def test_no_personal_data_is_in_it(database_url: str, tmp_path: Path) -> None:
    dataset = save_dataset(read_dataset(database_url, "acme", WINDOW), tmp_path)
    everything = "".join(getattr(dataset, name).write_ndjson() for name in FRAMES)
    assert not [secret for secret in SECRETS if secret in everything]
    assert "rival.example" not in everything.lower()
    assert dataset.leads["company_key"].n_unique() == 1
    assert dataset.leads["has_email"].all()
    assert json.loads(dataset.activities["content"][0]) == {"word_count": 80}


@pytest.mark.usefixtures("filled")
def test_columns_have_their_types_even_when_empty(database_url: str) -> None:
    for client in ("acme", "nobody"):
        dataset = read_dataset(database_url, client, WINDOW)
        for name in FRAMES:
            frame = getattr(dataset, name)
            assert frame.columns == list(COLUMNS[name]), name
            assert frame.is_empty() or client == "acme"
    assert dataset.leads.schema["technologies"] == pl.List(pl.String)
    assert dataset.leads.schema["converted_at"] == pl.Datetime("us", "UTC")


def test_the_hash_follows_the_content_and_nothing_else(filled: Engine, database_url: str) -> None:
    first = read_dataset(database_url, "acme", WINDOW)
    with tenant(filled, "acme") as connection:
        # Rewritten rows come back in another order.
        connection.execute(text("UPDATE leads SET company_name = 'x' WHERE lead_id = 'ann'"))
    assert read_dataset(database_url, "acme", WINDOW).content_hash == first.content_hash
    assert read_dataset(database_url, "other", WINDOW).content_hash != first.content_hash
    for changed in (
        first.leads.with_columns(timezone=pl.lit("UTC")),
        first.leads.with_columns(technologies=pl.Series([["a", "b"], ["b", "a"]])),
        first.leads.with_columns(technologies=pl.Series([["ba"], ["b", "a"]])),
        first.leads.with_columns(is_hiring=pl.lit(False)),
        first.leads.with_columns(revenue=pl.lit(0.0)),
    ):
        assert content_hash(dataclasses.replace(first, leads=changed)) != first.content_hash


def test_a_saved_dataset_comes_back_and_a_broken_one_does_not(
    filled: Engine, database_url: str, tmp_path: Path
) -> None:
    dataset = save_dataset(read_dataset(database_url, "acme", WINDOW), tmp_path / "datasets")
    assert dataset.path is not None
    place = Path(dataset.path)
    assert save_dataset(dataset, tmp_path / "datasets").path == dataset.path
    assert [p.name for p in place.parent.iterdir()] == [place.name]
    loaded = load_dataset(place)
    assert loaded.window == WINDOW
    assert all(getattr(loaded, name).equals(getattr(dataset, name)) for name in FRAMES)
    with tenant(filled, "acme") as connection:
        for run in ("r1", "r2"):
            record_snapshot(connection, dataset, run)
        noted = connection.execute(
            text("SELECT content_hash, run_id, row_counts->>'leads' FROM dataset_snapshots")
        ).all()
    assert [tuple(row) for row in noted] == [(dataset.content_hash, "r2", "2")]
    dataset.leads.head(1).write_parquet(place / "leads.parquet")
    with pytest.raises(DataError, match="not the one"):
        load_dataset(place)
    (place / "leads.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset(place)


def test_a_touch_belongs_to_the_experiment_of_its_campaign(
    filled: Engine, database_url: str
) -> None:
    with tenant(filled, "acme") as connection:
        for test, campaign, days in (("a", "spring", -8), ("b", "autumn", -7), ("wide", None, -4)):
            values = {"test": test, "campaign": campaign, "at": AS_OF + days * DAY}
            for statement in (
                "INSERT INTO campaigns (client_id, campaign_id)"
                " SELECT 'acme', CAST(:campaign AS text) WHERE :campaign IS NOT NULL",
                "INSERT INTO ab_tests (client_id, ab_test_id, name, campaign_id, metric)"
                " VALUES ('acme', :test, :test, :campaign, 'reply_rate')",
                "INSERT INTO ab_test_assignments"
                " (client_id, ab_test_id, lead_id, variant, assigned_at, propensity)"
                " VALUES ('acme', :test, 'late', upper(:test), :at, 0.5)",
            ):
                connection.execute(text(statement), values)
        for days, campaign in ((-6, "spring"), (-5, "autumn"), (-3, "spring"), (-2, None)):
            connection.execute(
                text(
                    "INSERT INTO activities"
                    " (client_id, lead_id, channel, action, campaign_id, occurred_at)"
                    " VALUES ('acme', 'late', 'email', 'sent', :campaign, :at)"
                ),
                {"campaign": campaign, "at": AS_OF + days * DAY},
            )
    activities = read_dataset(database_url, "acme", WINDOW).activities
    late = activities.filter(pl.col("lead_id") == "late").sort("occurred_at")
    assert late.select("campaign_id", "ab_test_id", "ab_variant").rows() == [
        (None, None, None),
        ("spring", "a", "A"),
        ("autumn", "b", "B"),
        ("spring", "wide", "WIDE"),
        (None, "wide", "WIDE"),
    ]
