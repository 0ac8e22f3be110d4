"""What serving reads of all clients, its revisions, clients, runs and decisions, from Postgres."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from cis_server.domain.clients import CampaignRecord, ClientPolicy, ClientRecord, Icp
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import (
    Change,
    ChangeKind,
    DecisionOption,
    DecisionRecord,
    PatternKey,
)
from cis_server.domain.runs import (
    LearnOptions,
    PatternOutcome,
    PropensityOutcome,
    RunResult,
    Stage,
    WeightsOutcome,
)
from cis_server.domain.suppression import IdentifierKind
from cis_server.domain.vocabulary import (
    PatternStatus,
    PatternType,
    Promotion,
    RunState,
    Source,
    SubscriptionStatus,
)
from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.errors import StoreUnavailable
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import make_engine, operator, tenant
from cis_server.persistence.decisions import Decisions
from cis_server.persistence.leads import upsert_leads
from cis_server.persistence.live_state import PostgresSnapshotSource
from cis_server.persistence.patterns import NewPattern, save_outcomes, save_patterns
from cis_server.persistence.runs import Runs, finish_run

NOW = dt.datetime(2026, 3, 2, 8, 0, tzinfo=dt.UTC)
ACME = ClientRecord(client_id="acme")


@pytest.fixture
def clients(database: Engine) -> Clients:
    return Clients(database)


@pytest.fixture
def source(database: Engine, database_url: str) -> Iterator[PostgresSnapshotSource]:
    it = PostgresSnapshotSource(database, database_url)
    yield it
    it.close()


def run(engine: Engine, statement: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def insert_model(engine: Engine, kind: str, content: object, **values: Any) -> None:
    fields = {"state": "live", "version": 1, "origin": "learned", **values}
    names, marks = ", ".join(fields), ", ".join(f":{name}" for name in fields)
    run(
        engine,
        f"INSERT INTO models (client_id, kind, target, parameters, {names})"
        f" VALUES ('acme', :kind, '', CAST(:content AS jsonb), {marks})",
        kind=kind,
        content=json.dumps(content),
        **fields,
    )


FULL = ClientRecord(
    client_id="acme",
    name="Acme",
    subscription_status=SubscriptionStatus.ACTIVE,
    timezone="Europe/Vienna",
    icp=Icp(industries=("banking",), employee_min=1, employee_max=9, titles=("CFO",)),
    competitor_domains=("rival.example",),
    policy=ClientPolicy(
        promotion=Promotion.AUTO,
        pooling=True,
        exploration_share=0.125,
        tier_channels={"hot": ("fax", "email")},
        retention_days=90,
    ),
)


def without_times(client: ClientRecord | None) -> ClientRecord | None:
    return client and dataclasses.replace(client, created_at=None, updated_at=None)


def test_a_client_is_stored_whole(clients: Clients) -> None:
    stored, created = clients.upsert(FULL)
    assert created
    assert without_times(stored) == FULL
    assert clients.get("acme") == stored
    _, created = clients.upsert(ACME)
    assert not created
    assert without_times(clients.get("acme")) == ACME
    assert clients.get("nobody") is None


def test_pages_of_clients(clients: Clients, database: Engine) -> None:
    for name in ("d", "b", "a", "c"):
        clients.upsert(ClientRecord(client_id=name))
    clients.upsert(ClientRecord(client_id="b", subscription_status=SubscriptionStatus.PAUSED))
    run(database, "UPDATE clients SET deleted_at = now() WHERE client_id = 'c'")
    assert [c.client_id for c in clients.page(None, 2, ())] == ["a", "b"]
    assert [c.client_id for c in clients.page("b", 9, ())] == ["d"]
    paused = clients.page(None, 9, (SubscriptionStatus.PAUSED,))
    assert [c.client_id for c in paused] == ["b"]
    _, created = clients.upsert(ClientRecord(client_id="c"))
    assert not created
    assert clients.get("c") is not None


CAMPAIGN = CampaignRecord(
    campaign_id="k",
    name="Spring",
    icp=Icp(titles=("CTO",)),
    timezone="Asia/Tokyo",
    work_hours_start=dt.time(8, 30),
    work_hours_end=dt.time(16, 15),
    work_days=(6, 7),
    allocation={"email": 60, "sms": 40},
)


def test_state_of_a_client(
    clients: Clients, source: PostgresSnapshotSource, database: Engine
) -> None:
    clients.upsert(FULL)
    plain = source.load_client("acme")
    assert plain is not None
    assert (plain.campaigns, plain.weights, plain.model) == ((), None, None)
    assert clients.upsert_campaigns("acme", [CAMPAIGN]) == (1, 0)
    assert clients.upsert_campaigns("acme", [CAMPAIGN, CampaignRecord(campaign_id="other")]) == (
        1,
        1,
    )
    insert_model(
        database,
        "weights",
        DEFAULT_WEIGHTS.as_dict(),
        version=7,
        sample_size=300,
        confidence=0.5,
        valid_until=NOW,
        created_at=NOW,
    )
    insert_model(database, "propensity", {"x": 1}, origin="pooled")
    insert_model(database, "weights", {}, version=8, state="candidate")
    state = source.load_client("acme")
    assert state is not None
    assert without_times(state.client) == FULL
    assert state.campaigns == (CAMPAIGN, CampaignRecord(campaign_id="other"))
    assert state.weights is not None
    assert state.weights.version == "weights-7"
    assert state.weights.content == DEFAULT_WEIGHTS.as_dict()
    assert (state.weights.sample_size, state.weights.confidence) == (300, 0.5)
    assert (state.weights.valid_until, state.weights.computed_at) == (NOW, NOW)
    assert state.weights.source is Source.LEARNED
    assert state.model is not None
    assert state.model.source is Source.POOLED
    assert state.model.valid_until is None
    assert list(source.load_clients()) == [state]
    assert source.load_client("nobody") is None


CHANGES: dict[str, Callable[[Engine], None]] = {
    "client": lambda e: run(e, "UPDATE clients SET name = 'New'"),
    "campaign": lambda e: run(e, "UPDATE campaigns SET name = 'New'"),
    "campaign gone": lambda e: run(e, "UPDATE campaigns SET deleted_at = now()"),
    "campaign removed": lambda e: run(e, "DELETE FROM campaigns"),
    "model": lambda e: run(e, "UPDATE models SET confidence = 0.9"),
    "model retired": lambda e: run(e, "UPDATE models SET state = 'retired'"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_client_has_another_revision(
    change: str, clients: Clients, source: PostgresSnapshotSource, database: Engine
) -> None:
    clients.upsert(ACME)
    clients.upsert_campaigns("acme", [CAMPAIGN])
    insert_model(database, "weights", {})
    before = source.load_revisions()["acme"]
    state = source.load_client("acme")
    assert state is not None
    assert before.state == state.revision
    assert source.load_revisions()["acme"] == before
    CHANGES[change](database)
    after = source.load_revisions()["acme"]
    assert after.state != before.state
    assert after.suppression == before.suppression


def suppressed(source: PostgresSnapshotSource, client_id: str | None) -> set[Any]:
    return set(source.load_suppression(client_id).identifiers)


EMAIL, LEAD_ID, DOMAIN = IdentifierKind.EMAIL, IdentifierKind.LEAD_ID, IdentifierKind.DOMAIN


def test_suppression_comes_from_everywhere(
    clients: Clients, source: PostgresSnapshotSource, database: Engine
) -> None:
    for name in ("acme", "other"):
        clients.upsert(ClientRecord(client_id=name))
        with tenant(database, name) as connection:
            upsert_leads(
                connection,
                name,
                [Lead(lead_id=f"{name}-{i}", email=f"{i}@{name}.example") for i in range(4)],
            )
    assert source.load_suppression("acme").revision == ""
    assert suppressed(source, "acme") == set()
    run(database, "UPDATE leads SET unsubscribed = true WHERE lead_id = 'acme-0'")
    run(database, "UPDATE leads SET do_not_contact = true WHERE lead_id = 'acme-1'")
    run(
        database,
        "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at, idempotency_key)"
        " VALUES ('acme', 'acme-2', 'email', 'complained', now(), 'k')",
    )
    run(
        database,
        "INSERT INTO suppression (client_id, kind, value, reason)"
        " VALUES ('acme', 'domain', ' WWW.Rival.Example', 'manual')",
    )
    run(
        database,
        "INSERT INTO global_suppression (kind, value, reason)"
        " VALUES ('email', 'X@Y.example', 'legal')",
    )
    wanted = {(DOMAIN, "rival.example")}
    for i in range(3):
        wanted |= {(LEAD_ID, f"acme-{i}"), (EMAIL, f"{i}@acme.example")}
    assert suppressed(source, "acme") == wanted
    assert suppressed(source, "other") == set()
    assert suppressed(source, None) == {(EMAIL, "x@y.example")}
    lists = {stored.client_id: stored for stored in source.load_suppressions()}
    assert lists.keys() == {"acme", None}
    assert set(lists["acme"].identifiers) == wanted
    revisions = source.load_revisions()
    for client_id, stored in lists.items():
        assert stored.revision
        assert stored.revision == revisions[client_id].suppression
        assert stored.revision == source.load_suppression(client_id).revision
    assert revisions["other"].suppression == ""
    run(database, "UPDATE leads SET unsubscribed = false WHERE lead_id = 'acme-0'")
    assert source.load_revisions()["acme"].suppression != revisions["acme"].suppression


def save(engine: Engine, kind: PatternType, content: dict[str, Any], run_id: str) -> None:
    pattern = NewPattern(
        type=kind,
        content=content,
        sample_size=50,
        confidence=0.75,
        computed_at=NOW,
        valid_until=NOW + dt.timedelta(days=14),
    )
    with tenant(engine, "acme") as connection:
        save_patterns(connection, "acme", [pattern], run_id)


def outcome(engine: Engine, kind: PatternType, status: PatternStatus, reason: str = "") -> None:
    with tenant(engine, "acme") as connection:
        ended = PatternOutcome(type=kind, status=status, reason=reason)
        save_outcomes(connection, "acme", [ended], "run-2", NOW)


def test_patterns_and_how_their_last_run_ended(
    clients: Clients, source: PostgresSnapshotSource, database: Engine
) -> None:
    clients.upsert(ACME)
    who, when, how = (
        PatternKey("acme", kind) for kind in (PatternType.WHO, PatternType.WHEN, PatternType.HOW)
    )
    assert source.load_patterns([who, when, how]) == {}
    save(database, PatternType.WHO, {"a": 1}, "run-1")
    save(database, PatternType.WHO, {"a": 2}, "run-2")
    outcome(database, PatternType.WHO, PatternStatus.OK)
    outcome(database, PatternType.WHEN, PatternStatus.INSUFFICIENT_DATA, "few")
    found = source.load_patterns([who, when, how, PatternKey("other", PatternType.WHO)])
    assert found.keys() == {who, when}
    assert (found[who].content, found[who].version) == ({"a": 2}, "2")
    assert (found[who].sample_size, found[who].confidence) == (50, 0.75)
    assert found[who].valid_until == NOW + dt.timedelta(days=14)
    assert found[who].run_status is PatternStatus.OK
    assert found[who].run_at is not None
    assert found[when].content is None
    assert (found[when].run_status, found[when].run_reason, found[when].run_id) == (
        PatternStatus.INSUFFICIENT_DATA,
        "few",
        "run-2",
    )
    revisions = source.load_revisions()["acme"].patterns
    assert revisions == {key.type: record.revision for key, record in found.items()}
    outcome(database, PatternType.WHO, PatternStatus.ERROR)
    assert source.load_revisions()["acme"].patterns[PatternType.WHO] != revisions[PatternType.WHO]


def test_only_committed_changes_are_heard_of(
    clients: Clients, source: PostgresSnapshotSource, database: Engine
) -> None:
    with pytest.raises(StoreUnavailable):
        source.wait_for_changes(0.01)
    source.listen()
    assert source.wait_for_changes(0.05) == []
    clients.upsert(ACME)
    assert Change(ChangeKind.CLIENT, "acme") in source.wait_for_changes(2.0)
    with database.connect() as connection:
        connection.execute(text("UPDATE clients SET name = 'x'"))
        connection.rollback()
    assert source.wait_for_changes(0.1) == []
    save(database, PatternType.WHO, {}, "run-1")
    assert source.wait_for_changes(2.0) == [Change(ChangeKind.PATTERNS, "acme")]
    run(database, "SELECT pg_notify('cis_changes', 'nonsense')")
    assert source.wait_for_changes(0.5) == []


# Learning runs


@pytest.fixture
def runs(database: Engine, clients: Clients) -> Runs:
    clients.upsert(ACME)
    clients.upsert(ClientRecord(client_id="other"))
    return Runs(database)


OPTIONS = LearnOptions(as_of=NOW, lookback_days=30, force=True)


def failed(runs: Runs, run_id: str, code: str = "E", message: str = "") -> None:
    claimed = runs.claim("acme", run_id, "v1")
    assert claimed is not None
    runs.fail("acme", run_id, code, message, attempt=claimed.attempts)


def test_one_run_of_a_client_at_a_time(runs: Runs) -> None:
    assert runs.request("acme", "run-1", OPTIONS) == "run-1"
    assert runs.request("acme", "run-2", OPTIONS) == "run-1"
    assert runs.request("other", "run-2", OPTIONS) == "run-2"
    (stored,) = runs.read(["run-1", "ghost"])["run-1"]
    assert (stored.state, stored.options, stored.attempts) == (RunState.QUEUED, OPTIONS, 0)
    assert not stored.ended
    failed(runs, "run-1", "ERROR", "it broke")
    assert runs.request("acme", "run-3", OPTIONS) == "run-3"
    (stored,) = runs.read(["run-1"])["run-1"]
    assert (stored.state, stored.error_code, stored.error) == (
        RunState.FAILED,
        "ERROR",
        "it broke",
    )


def test_callers_at_the_same_moment_share_a_run(runs: Runs) -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def ask(number: int) -> None:
        start.wait()
        found.append(runs.request("acme", f"run-{number}", OPTIONS))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def result(reason: str = "done") -> RunResult:
    return RunResult(
        patterns=(PatternOutcome(type=PatternType.WHO, status=PatternStatus.OK),),
        weights=WeightsOutcome(
            status="learned", reason="", before=DEFAULT_WEIGHTS, after=DEFAULT_WEIGHTS
        ),
        propensity=PropensityOutcome(status="skipped", reason=""),
        promoted=False,
        reason=reason,
        seconds=1.5,
        leads=10,
        activities=20,
        conversions=5,
        snapshot_hash="abc",
        peak_memory_bytes=1,
    )


def test_a_run_from_claim_to_end(runs: Runs, database: Engine) -> None:
    runs.request("acme", "run-1", OPTIONS)
    claimed = runs.claim("acme", "run-1", "v1")
    assert claimed is not None
    assert (claimed.state, claimed.attempts) == (RunState.RUNNING, 1)
    stages = (Stage(stage="load", started_at=NOW, seconds=0.5, rows=10),)
    runs.progress(
        "acme", "run-1", stage="learn", fraction=0.5, message="half", stages=stages, attempt=1
    )
    runs.progress("acme", "run-1", stage="old", fraction=0.1, message="", stages=(), attempt=0)
    (seen,) = runs.read(["run-1"])["run-1"]
    assert (seen.stage, seen.fraction, seen.message, seen.stages) == ("learn", 0.5, "half", stages)
    runs.postpone("acme", "run-1", "the database went away", attempt=1)
    again = runs.claim("acme", "run-1", "v1")
    assert again is not None
    assert (again.attempts, again.started_at) == (2, claimed.started_at)
    with operator(database) as connection:
        # The first attempt wakes up again: the run is no longer its own.
        assert not finish_run(connection, "acme", "run-1", 1, result("stale"), stages)
        assert finish_run(connection, "acme", "run-1", 2, result(), stages)
    (ended,) = runs.read(["run-1"])["run-1"]
    assert ended.ended
    assert ended.result == result()
    assert runs.claim("acme", "run-1", "v1") is None
    assert runs.claim("acme", "ghost", "v1") is None


def test_runs_newest_first(runs: Runs) -> None:
    for i in range(5):
        runs.request("acme", f"run-{i}", OPTIONS)
        failed(runs, f"run-{i}")
    runs.request("other", "run-x", OPTIONS)
    everything = runs.recent(None, (), 10, None)
    assert [r.run_id for r in everything] == ["run-x", "run-4", "run-3", "run-2", "run-1", "run-0"]
    last = everything[1]
    assert last.requested_at is not None
    page = runs.recent("acme", (RunState.FAILED,), 2, (last.requested_at, last.run_id))
    assert [r.run_id for r in page] == ["run-3", "run-2"]
    assert [r.run_id for r in runs.recent(None, (RunState.QUEUED,), 9, None)] == ["run-x"]


def test_eligibility_counts_conversions_in_the_window(runs: Runs, database: Engine) -> None:
    with tenant(database, "acme") as connection:
        upsert_leads(connection, "acme", [Lead(lead_id=str(i)) for i in range(6)])
    for lead_id, days in (("0", 0), ("1", 29), ("2", 30), ("3", 31), ("4", -1)):
        run(
            database,
            "UPDATE leads SET converted_at = :at WHERE lead_id = :lead",
            at=NOW - dt.timedelta(days=days),
            lead=lead_id,
        )
    (found,) = runs.eligibility("acme", NOW, 30)
    assert (found.conversions, found.subscription_status) == (2, SubscriptionStatus.TRIALING)
    assert [e.client_id for e in runs.eligibility(None, NOW, 30)] == ["acme", "other"]
    assert runs.eligibility("nobody", NOW, 30) == []


def test_runs_whose_job_was_lost_are_found(runs: Runs, database: Engine) -> None:
    for name in ("acme", "other"):
        runs.request(name, f"run-{name}", OPTIONS)
    assert runs.orphaned() == [], "they have just been requested"
    run(database, "UPDATE learning_runs SET requested_at = now() - interval '2 minutes'")
    run(
        database,
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status, args) VALUES ('learn',"
        ' \'learn\', \'todo\', \'{"client_id": "other", "run_id": "run-other"}\')',
    )
    assert runs.orphaned() == [("acme", "run-acme")]


# Decisions


def decision(client_id: str, decision_id: str) -> DecisionRecord:
    return DecisionRecord(
        decision_id=decision_id,
        client_id=client_id,
        lead_id="l",
        kind="channel",
        decided_at=NOW,
        choice="email",
        propensity=0.75,
        options=(DecisionOption(choice="email", propensity=0.75, best=True),),
        context={"tier": "hot"},
        model_version="3",
    )


def test_decisions_of_several_clients_in_one_go(runs: Runs, database: Engine) -> None:
    del runs  # the clients are there
    one, two, three = (f"00000000-0000-4000-8000-00000000000{i}" for i in range(3))
    decisions = Decisions(database)
    decisions.write_decisions([decision("acme", one), decision("other", two)])
    decisions.write_decisions([decision("acme", one), decision("acme", three)])
    with database.begin() as connection:
        rows = connection.execute(
            text(
                "SELECT client_id, decision_id, propensity, options, context FROM decision_log"
                " ORDER BY decision_id"
            )
        ).all()
    assert [(row[0], str(row[1])) for row in rows] == [
        ("acme", one),
        ("other", two),
        ("acme", three),
    ]
    assert rows[0][2] == 0.75
    assert rows[0][3] == [{"choice": "email", "propensity": 0.75, "best": True}]
    assert rows[0][4] == {"tier": "hot"}


def test_no_database_is_told_as_such() -> None:
    engine = make_engine("postgresql://nobody@127.0.0.1:1/none", connect_seconds=2)
    with pytest.raises(StoreUnavailable):
        Clients(engine).get("acme")
    with pytest.raises(StoreUnavailable):
        Runs(engine).read(["x"])
    engine.dispose()


def test_two_changes_of_one_client_at_once_both_count(database: Engine) -> None:
    clients = Clients(database)
    inside, proceed = threading.Event(), threading.Event()

    def rename(stored: ClientRecord | None) -> ClientRecord:
        inside.set()
        proceed.wait(10)
        return dataclasses.replace(stored or ClientRecord(client_id="acme"), name="Acme")

    def move(stored: ClientRecord | None) -> ClientRecord:
        return dataclasses.replace(stored or ClientRecord(client_id="acme"), timezone="UTC")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(clients.change, "acme", rename)
        assert inside.wait(10)
        second = pool.submit(clients.change, "acme", move)
        time.sleep(0.1)  # long enough to read the client, were nobody in the way
        proceed.set()
        assert (first.result(10)[1], second.result(10)[1]) == (True, False)
    found = clients.get("acme")
    assert found is not None
    assert (found.name, found.timezone) == ("Acme", "UTC")
