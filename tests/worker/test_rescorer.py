"""Scoring a client's leads again, over a real Postgres: what changes, and what must not."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, text

from cis_server.domain.clients import ClientRecord
from cis_server.domain.lead import Lead
from cis_server.domain.rescoring import RescoreOptions, RescoringRun
from cis_server.domain.vocabulary import EmailStatus, LeadStatus, RunState, Tier
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.errors import StoreUnavailable
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import tenant
from cis_server.persistence.leads import upsert_leads, write_scores
from cis_server.persistence.models import ModelKind, NewModel, activate, insert_model
from cis_server.persistence.rescoring import RescoringRuns, Scored, TakenOverError
from cis_server.scoring.scorer import score_lead
from cis_server.serving.rescorings import Rescorings
from cis_server.worker.rescorer import Rescorer

NOW = dt.datetime(2026, 6, 1, 9, tzinfo=dt.UTC)
AUTHORITY = Weights(0.10, 0.50, 0.20, 0.10, 0.10)


class Deferred:
    """Keeps what was queued."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str]] = []

    def defer_rescore(self, client_id: str, run_id: str) -> None:
        self.jobs.append((client_id, run_id))


class Place:
    """A database with one client."""

    def __init__(self, url: str, engine: Engine) -> None:
        self.engine = engine
        self.runs = RescoringRuns(engine)
        self.queue = Deferred()
        self.requests = Rescorings(self.runs, self.queue)
        self.rescorer = Rescorer(engine, url, lambda: NOW, chunk=10)
        Clients(engine).upsert(ClientRecord(client_id="acme"))

    def store(self, leads: Sequence[Lead], campaign_id: str | None = None) -> None:
        with tenant(self.engine, "acme") as connection:
            upsert_leads(connection, "acme", leads, campaign_id)

    def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with tenant(self.engine, "acme") as connection:
            done = connection.execute(text(statement), values)
            return [tuple(row) for row in done] if done.returns_rows else []

    def promote(self, weights: Weights) -> str:
        with tenant(self.engine, "acme") as connection:
            model = insert_model(
                connection, "acme", NewModel(kind=ModelKind.WEIGHTS, content=weights.as_dict())
            )
            return activate(connection, "acme", model.model_id, by="test", at=NOW).label

    def rescore(self, **options: Any) -> RescoringRun:
        run_id = self.requests.request("acme", RescoreOptions(**options))
        self.rescorer.rescore("acme", run_id, False)
        return self.run(run_id)

    def run(self, run_id: str) -> RescoringRun:
        return self.runs.read([run_id])[run_id][0]


@pytest.fixture
def place(database_url: str, database: Engine) -> Place:
    return Place(database_url, database)


def lead(number: int, **fields: Any) -> Lead:
    titles = ("CEO", "Engineer", "Head of Marketing", "Assistant")
    given: dict[str, Any] = {
        "lead_id": f"lead-{number:03}",
        "title": titles[number % 4],
        "email": f"someone{number}@company{number}.example",
        "email_status": EmailStatus.VERIFIED,
        "industry": "software" if number % 3 else "farming",
        "country": "Australia",
        "employee_count": 20,
    }
    return Lead(**{**given, **fields})


LEADS = [lead(number) for number in range(35)]


def test_every_lead_gets_what_serving_would_say(place: Place) -> None:
    place.store(LEADS)
    label = place.promote(AUTHORITY)
    run = place.rescore()
    assert run.state is RunState.SUCCEEDED, run.message
    assert (run.total, run.scored, run.failed, run.fraction) == (35, 35, 0, 1.0)
    expected = {
        each.lead_id: score_lead(each, as_of=NOW.date(), weights=AUTHORITY) for each in LEADS
    }
    rows = place.sql(
        "SELECT lead_id, score, tier, components, weights_used, weights_version, scored_at,"
        " status, conversion_probability FROM leads"
    )
    for lead_id, score, tier, components, weights, version, scored_at, status, chance in rows:
        wanted = expected[lead_id]
        assert (score, tier) == (wanted.score, wanted.tier.label)
        assert components == wanted.components.as_dict()
        assert weights == AUTHORITY.as_dict()
        assert (version, scored_at, status, chance) == (label, NOW, "scored", None)
    counts = dict.fromkeys(Tier, 0)
    for each in expected.values():
        counts[each.tier] += 1
    assert run.tier_counts == counts
    assert all(before is None for before, _ in run.moves)
    assert run.scored_by is not None
    assert run.scored_by.version == label


def test_moves_say_from_where_to_where(place: Place) -> None:
    place.store(LEADS)
    place.rescore()
    place.promote(AUTHORITY)
    run = place.rescore()
    expected: dict[tuple[Tier, Tier], int] = {}
    for each in LEADS:
        before = score_lead(each, as_of=NOW.date(), weights=DEFAULT_WEIGHTS).tier
        after = score_lead(each, as_of=NOW.date(), weights=AUTHORITY).tier
        expected[before, after] = expected.get((before, after), 0) + 1
    assert run.moves == expected
    assert any(before is not after for before, after in run.moves)


def test_components_before_first_outreach_stay_once_the_lead_is_contacted(place: Place) -> None:
    """What learning goes by must not be what an outcome has changed since."""
    place.store(LEADS[:2])
    place.sql(
        "INSERT INTO activities (client_id, lead_id, channel, action)"
        " VALUES ('acme', 'lead-001', 'email', 'sent')"
    )
    with tenant(place.engine, "acme") as connection:
        score = score_lead(LEADS[0], as_of=NOW.date())
        write_scores(connection, "acme", [score], scored_at=NOW, as_of=NOW, scorer_version="test")
    place.store([dataclasses.replace(LEADS[0], title="Assistant", bounce_count=2)])
    stored = "SELECT lead_id, components_at_first_touch, components FROM leads ORDER BY 1"
    place.rescore()
    [(_, outreach, changed), (_, never_known, _)] = place.sql(stored)
    assert outreach == changed != score.components.as_dict()
    assert never_known is None
    place.sql(
        "INSERT INTO activities (client_id, lead_id, channel, action)"
        " VALUES ('acme', 'lead-000', 'email', 'sent')"
    )
    place.store([LEADS[0]])
    place.rescore()
    [(_, outreach, components), _] = place.sql(stored)
    assert (outreach, outreach == components) == (changed, False)


def test_only_active_leads_and_only_the_campaign(place: Place) -> None:
    place.sql("INSERT INTO campaigns (client_id, campaign_id) VALUES ('acme', 'spring')")
    place.store(LEADS[:3])
    place.store([lead(3), lead(4, status=LeadStatus.CONVERTED)], "spring")
    assert place.rescore(campaign_id="spring").scored == 1
    assert place.rescore().scored == 4
    assert place.sql("SELECT lead_id FROM leads WHERE score IS NULL") == [("lead-004",)]


def test_a_suppressed_lead_is_stored_as_dead(place: Place) -> None:
    place.store(LEADS[:2])
    place.sql(
        "INSERT INTO suppression (client_id, kind, value) VALUES ('acme', 'domain', :domain)",
        domain="company0.example",
    )
    place.rescore()
    tiers = dict(place.sql("SELECT lead_id, tier FROM leads"))
    assert tiers["lead-000"] == "dead"
    assert tiers["lead-001"] != "dead"


def test_a_lead_that_cannot_be_read_fails_alone(place: Place) -> None:
    place.store(LEADS[:12])
    place.sql(
        "UPDATE leads SET employment_history = CAST(:odd AS jsonb) WHERE lead_id = 'lead-003'",
        odd=json.dumps(["not a job"]),
    )
    run = place.rescore()
    assert run.state is RunState.SUCCEEDED
    assert (run.scored, run.failed) == (11, 1)


def test_a_killed_attempt_is_gone_on_with(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.store(LEADS)
    run_id = place.requests.request("acme", RescoreOptions())
    written: list[Sequence[Scored]] = []
    whole: Callable[..., None] = RescoringRuns.write_chunk

    def failing(
        self: RescoringRuns, run: RescoringRun, scored: Sequence[Scored], **rest: Any
    ) -> None:
        if len(written) == 2:
            written.append([])
            raise StoreUnavailable("the database is away")
        written.append(scored)
        whole(self, run, scored, **rest)

    monkeypatch.setattr(RescoringRuns, "write_chunk", failing)
    with pytest.raises(StoreUnavailable):
        place.rescorer.rescore("acme", run_id, True)
    halted = place.run(run_id)
    assert (halted.state, halted.scored) == (RunState.QUEUED, 20)
    place.rescorer.rescore("acme", run_id, False)
    done = place.run(run_id)
    assert (done.state, done.scored, done.attempts) == (RunState.SUCCEEDED, 35, 2)
    assert sum(done.moves.values()) == 35
    names = [each.score.lead_id for chunk in written for each in chunk]
    assert sorted(names) == [each.lead_id for each in LEADS]


def test_an_attempt_that_was_taken_over_writes_nothing(place: Place) -> None:
    place.store(LEADS[:1])
    run_id = place.requests.request("acme", RescoreOptions())
    first = place.runs.claim("acme", run_id)
    assert first is not None
    place.runs.claim("acme", run_id)
    score = score_lead(LEADS[0], as_of=NOW.date())
    scored = Scored(score=score, before=None, weights_version="", probability_version="")
    with pytest.raises(TakenOverError):
        place.runs.write_chunk(
            first,
            [scored],
            last_lead_id="lead-000",
            failed=0,
            scored_at=NOW,
            as_of=NOW,
            scorer_version="test",
        )
    assert place.sql("SELECT score FROM leads") == [(None,)]


def test_a_second_request_attaches(place: Place) -> None:
    first = place.requests.request("acme", RescoreOptions())
    assert place.requests.request("acme", RescoreOptions(reason="again")) == first
    assert place.queue.jobs == [("acme", first)]
    place.rescorer.rescore("acme", first, False)
    assert place.requests.request("acme", RescoreOptions()) != first


def test_new_weights_have_the_leads_scored_again_once(place: Place) -> None:
    place.store(LEADS[:1])
    assert place.requests.request_outdated() == 0
    label = place.promote(AUTHORITY)
    assert place.requests.request_outdated() == 1
    (job,) = place.queue.jobs
    place.rescorer.rescore(*job, False)
    assert place.run(job[1]).options.reason == f"{label} is live"
    assert place.requests.request_outdated() == 0


def test_a_client_that_is_gone_ends_the_run(place: Place) -> None:
    run_id = place.requests.request("acme", RescoreOptions())
    place.sql("UPDATE clients SET deleted_at = now() WHERE client_id = 'acme'")
    place.rescorer.rescore("acme", run_id, True)
    run = place.run(run_id)
    assert run.state is RunState.FAILED
    assert "acme" in run.message
