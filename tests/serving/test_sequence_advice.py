"""Plans, content and prompt lines from the state in memory: expiry, scoring, stored leads, away."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from full_patterns import full_how_pattern, full_when_pattern, what_pattern
from serving_fakes import (
    NOW,
    FakeLeads,
    FakeSink,
    FakeSource,
    client_state,
    pattern_record,
    wait_until,
)

from cis_server.domain.clients import CampaignRecord
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import PatternKey, StoredLead, StoredTouch
from cis_server.domain.model_info import DEFAULT_MODEL, ModelInfo
from cis_server.domain.suppression import IdentifierKind
from cis_server.domain.vocabulary import EmailStatus, PatternType, Source, Tier
from cis_server.errors import NotFound, StoreUnavailable
from cis_server.serving.advisor import Advisor
from cis_server.serving.answers import WhyNot
from cis_server.serving.decisions import DecisionLog
from cis_server.serving.freshness import combined_info, weaker
from cis_server.serving.sequence import SequenceRequest
from cis_server.serving.store import SnapshotStore

LEAD = Lead(
    lead_id="lead-1",
    email="ann@firm.example",
    email_status=EmailStatus.VERIFIED,
    linkedin_url="https://www.linkedin.com/in/ann",
    title="Founder",
    industry="Software",
    employee_count=20,
    country="Australia",
    person_country="Japan",
)
ASKED = SequenceRequest(client_id="acme", lead_id="lead-1")
TOUCHES = (
    StoredTouch("email", NOW - dt.timedelta(days=4)),
    StoredTouch("linkedin", NOW - dt.timedelta(days=1)),
)


@pytest.fixture
def world() -> Iterator[SimpleNamespace]:
    source, now = FakeSource(), SimpleNamespace(value=NOW)
    mail_only = CampaignRecord(campaign_id="mail-only", allocation={"email": 100})
    campaigns = (mail_only, CampaignRecord(campaign_id="autumn"))
    source.commit_client(client_state("acme", campaigns=campaigns))
    store = SnapshotStore(source, lambda: now.value, poll_seconds=3600, backoff_seconds=0.01)
    leads = FakeLeads(StoredLead(lead=LEAD, touches=TOUCHES))
    log = DecisionLog(FakeSink(), store.health)
    store.start()
    assert store.wait_until_loaded(5)
    yield SimpleNamespace(
        source=source,
        now=now,
        store=store,
        leads=leads,
        log=log,
        advisor=Advisor(store, leads, log, lambda: now.value),
    )
    store.stop()


def learn(world: SimpleNamespace, confidence: float = 0.9) -> None:
    for kind, pattern in (
        (PatternType.WHAT, what_pattern()),
        (PatternType.WHEN, full_when_pattern()),
        (PatternType.HOW, full_how_pattern()),
    ):
        world.source.commit_pattern(pattern_record(pattern, kind, confidence=confidence))

        def here(key: PatternKey = PatternKey("acme", kind)) -> bool:  # noqa: B008
            found = world.store.pattern(key)
            return found is not None and found.record is not None

        wait_until(here)


def test_patterns_decide_until_they_expire(world: SimpleNamespace) -> None:
    learn(world)
    plan = world.advisor.sequence(replace(ASKED, tier=Tier.WARM))
    assert [t.channel for t in plan.touches] == ["email", "linkedin", "email"]
    assert plan.estimate.converted == 90
    assert plan.model.model_version == "how:how-1 when:when-1"
    assert world.advisor.content("acme", "email").pain_points.effective
    assert world.advisor.prompt_context("acme", None, 12).model.source is Source.LEARNED
    world.now.value = NOW + dt.timedelta(days=14)
    plan = world.advisor.sequence(replace(ASKED, tier=Tier.WARM))
    assert len(plan.touches) == 6
    assert {t.source for t in plan.touches} == {Source.DEFAULT}
    assert (plan.model.source, plan.model.stale, plan.estimate) == (Source.DEFAULT, True, None)
    content = world.advisor.content("acme", "email")
    assert (content.model.source, content.model.stale) == (Source.DEFAULT, True)
    assert not content.pain_points.effective
    said = world.advisor.prompt_context("acme", None, 12)
    assert (said.lines, said.model.source, said.model.stale) == ((), Source.DEFAULT, True)


def test_while_the_database_is_away_the_last_good_ones_go_on(world: SimpleNamespace) -> None:
    learn(world)
    world.source.away.set()
    wait_until(lambda: world.store.database_away)
    world.now.value = NOW + dt.timedelta(days=30)
    plan = world.advisor.sequence(replace(ASKED, tier=Tier.WARM))
    assert (plan.model.source, plan.model.stale) == (Source.LEARNED, True)
    assert world.advisor.content("acme", None).model.stale
    assert world.advisor.prompt_context("acme", None, 12).lines


def test_patterns_of_little_confidence_do_not_answer(world: SimpleNamespace) -> None:
    learn(world, confidence=0.45)
    plan = world.advisor.sequence(replace(ASKED, tier=Tier.HOT))
    assert [t.channel for t in plan.touches][:2] == ["email", "linkedin"]
    assert len(plan.touches) == 6
    assert plan.model.source is Source.DEFAULT
    assert world.advisor.prompt_context("acme", None, 12).lines == ()
    assert not world.advisor.content("acme", None).ctas.effective


def test_a_stored_lead_brings_tier_contact_data_zone_and_touches(world: SimpleNamespace) -> None:
    plan = world.advisor.sequence_of_lead(ASKED, 0.1)
    assert {t.channel for t in plan.touches} <= {"email", "linkedin"}
    assert [t.touch_number for t in plan.touches] == [3, 4, 5, 6]
    assert {t.timezone for t in plan.touches} == {"Asia/Tokyo"}
    assert plan.touches[0].gap_days >= 2.0
    assert world.leads.timeouts == [0.1]
    only = world.advisor.sequence_of_lead(replace(ASKED, campaign_id="mail-only"))
    assert {t.channel for t in only.touches} == {"email"}
    with pytest.raises(NotFound, match="lead 'ghost'"):
        world.advisor.sequence_of_lead(replace(ASKED, lead_id="ghost"))


def test_a_campaign_goes_on_from_its_own_touches(world: SimpleNamespace) -> None:
    sent = [StoredTouch("email", NOW - dt.timedelta(days=30 - n), "spring") for n in range(5)]
    autumn = StoredTouch("linkedin", NOW - dt.timedelta(days=3), "autumn")
    latest = StoredTouch("email", NOW - dt.timedelta(hours=1), "spring")
    world.leads.leads["lead-1"] = StoredLead(
        lead=LEAD, campaign_id="spring", touches=(*sent, autumn, latest)
    )
    plan = world.advisor.sequence_of_lead(replace(ASKED, campaign_id="autumn"))
    assert [t.touch_number for t in plan.touches] == [2, 3, 4, 5, 6]
    first = plan.touches[0]
    assert first.scheduled - autumn.sent_at == dt.timedelta(days=first.gap_days)
    # Whichever campaign wrote last, nobody is written to again within two days.
    assert first.scheduled >= latest.sent_at + dt.timedelta(days=2)
    own = world.advisor.sequence_of_lead(ASKED)
    assert [t.touch_number for t in own.touches] == [7]


def test_a_given_lead_is_scored_and_its_suppression_counts(world: SimpleNamespace) -> None:
    given = replace(ASKED, lead=LEAD)
    plan = world.advisor.sequence(given)
    assert plan.touches
    assert {t.timezone for t in plan.touches} == {"Asia/Tokyo"}
    world.source.commit_suppression("acme", (IdentifierKind.EMAIL, "ann@firm.example"))
    wait_until(lambda: not world.advisor.sequence(given).touches)
    refused = world.advisor.sequence(given)
    assert refused.why_not is WhyNot.SUPPRESSED
    assert refused.why_not_text.startswith("the lead must not be contacted: ")
    stored = world.advisor.sequence_of_lead(ASKED)
    assert (stored.touches, stored.why_not) == ((), WhyNot.SUPPRESSED)


def test_no_answer_without_a_stored_lead_waits_for_the_database(world: SimpleNamespace) -> None:
    learn(world)

    def refuse(*_: object) -> dict[str, StoredLead]:
        raise StoreUnavailable("away")

    world.leads.read_leads = refuse
    world.source.pattern_gate.clear()
    try:
        assert world.advisor.sequence(replace(ASKED, tier=Tier.WARM)).touches
        assert world.advisor.sequence(replace(ASKED, lead=LEAD)).touches
        assert world.advisor.content("acme", "email").ctas.effective
        assert world.advisor.prompt_context("acme", "email", 12).lines
        with pytest.raises(StoreUnavailable):
            world.advisor.sequence_of_lead(ASKED)
    finally:
        world.source.pattern_gate.set()


def test_unknown_clients_are_refused(world: SimpleNamespace) -> None:
    asks: list[Callable[[], object]] = [
        lambda: world.advisor.sequence(SequenceRequest(client_id="nobody", tier=Tier.HOT)),
        lambda: world.advisor.content("nobody", None),
        lambda: world.advisor.prompt_context("nobody", None, 12),
        lambda: world.advisor.require_client("nobody"),
    ]
    for ask in asks:
        with pytest.raises(NotFound, match="client 'nobody'"):
            ask()


def info(source: Source, *, days: int = 1, confidence: float = 0.9, n: int = 500) -> ModelInfo:
    return ModelInfo(
        model_version=source.value,
        source=source,
        computed_at=NOW - dt.timedelta(days=days),
        valid_until=NOW + dt.timedelta(days=14 - days),
        sample_size=n,
        confidence=confidence,
    )


def test_of_several_patterns_the_weakest_is_told() -> None:
    learned, pooled = info(Source.LEARNED, days=3), info(Source.POOLED, confidence=0.8, n=90)
    both = combined_info({"when": learned, "how": pooled})
    assert both == ModelInfo(
        model_version="how:pooled when:learned",
        source=Source.POOLED,
        computed_at=NOW - dt.timedelta(days=3),
        valid_until=NOW + dt.timedelta(days=11),
        sample_size=90,
        confidence=0.8,
    )
    half = combined_info({"when": learned, "how": DEFAULT_MODEL})
    assert (half.source, half.confidence, half.sample_size) == (Source.BLENDED, 0.9, 500)
    assert half.model_version == "when:learned"
    expired = replace(info(Source.DEFAULT), stale=True)
    assert combined_info({"when": expired, "how": DEFAULT_MODEL}) == replace(
        expired, model_version="when:default"
    )
    assert combined_info({"when": DEFAULT_MODEL, "how": DEFAULT_MODEL}) == DEFAULT_MODEL
    assert weaker(Source.LEARNED, Source.BLENDED, Source.POOLED) is Source.BLENDED
