"""Answers from memory, end to end over a fake store: sources, expiry, stored leads, logging."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from serving_fakes import (
    NOW,
    FakeLeads,
    FakeSink,
    FakeSource,
    client_state,
    how_pattern,
    pattern_record,
    segment,
    wait_until,
    when_pattern,
)

from cis_server.domain.clients import CampaignRecord, Icp
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import DecisionRecord, PatternKey, StoredLead, StoredTouch
from cis_server.domain.patterns import SequenceGap
from cis_server.domain.suppression import IdentifierKind
from cis_server.domain.vocabulary import EmailStatus, PatternType, Source, Tier
from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.errors import NotFound, StoreUnavailable
from cis_server.serving.advisor import Advisor
from cis_server.serving.answers import WhyNot, ZoneSource
from cis_server.serving.channels import ChannelsRequest
from cis_server.serving.decisions import DecisionLog
from cis_server.serving.health import HealthWarnings, WarningKind
from cis_server.serving.scoring_answers import scored_batch, scored_lead
from cis_server.serving.sequence import SequenceRequest
from cis_server.serving.store import SnapshotStore
from cis_server.serving.timing import Place, TimingRequest

GOOD = {"data_quality": 0.1, "authority": 0.4, "company_fit": 0.2, "timing": 0.2, "risk": 0.1}
LEAD = Lead(
    lead_id="lead-1",
    email="ann@firm.example",
    email_status=EmailStatus.VERIFIED,
    phone="+61 2 1234567",
    linkedin_url="https://www.linkedin.com/in/ann",
    title="Founder",
    industry="Software",
    employee_count=20,
    country="Australia",
    person_country="Australia",
    person_region="NSW",
)
TOUCHES = (
    StoredTouch("email", NOW - dt.timedelta(days=4)),
    StoredTouch("linkedin", NOW - dt.timedelta(days=1)),
)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def world() -> Iterator[SimpleNamespace]:
    source, clock, sink = FakeSource(), Clock(), FakeSink()
    source.commit_client(
        client_state(
            "acme",
            weights=GOOD,
            weights_until=NOW + dt.timedelta(days=14),
            campaigns=(
                CampaignRecord(
                    campaign_id="au", icp=Icp(industries=("mining",), countries=("NZ",))
                ),
                CampaignRecord(campaign_id="autumn"),
                CampaignRecord(campaign_id="winter"),
            ),
        )
    )
    store = SnapshotStore(source, clock, poll_seconds=3600, backoff_seconds=0.01)
    leads = FakeLeads(
        StoredLead(
            lead=LEAD,
            touches=TOUCHES,
        )
    )
    log = DecisionLog(sink, store.health, flush_seconds=0.02)
    store.start()
    assert store.wait_until_loaded(5)
    yield SimpleNamespace(
        source=source,
        clock=clock,
        sink=sink,
        store=store,
        leads=leads,
        log=log,
        advisor=Advisor(store, leads, log, clock),
    )
    store.stop()


def learn(world: SimpleNamespace) -> None:
    """Patterns in the store and in memory."""
    when = when_pattern(days={5: (60, 300), 1: (20, 300)}, hours={11: (60, 300), 10: (20, 300)})
    how = how_pattern(overall=(segment("linkedin", 40, 300), segment("email", 20, 300)))
    world.source.commit_pattern(pattern_record(when, PatternType.WHEN))
    world.source.commit_pattern(pattern_record(how, PatternType.HOW))
    keys = [PatternKey("acme", kind) for kind in (PatternType.WHEN, PatternType.HOW)]
    for key in keys:
        wait_until(lambda key=key: _is_learned(world.store, key))  # type: ignore[misc]


def _is_learned(store: SnapshotStore, key: PatternKey) -> bool:
    found = store.pattern(key)
    return found is not None and found.record is not None


def test_the_first_call_answers_defaults_and_later_ones_what_was_learned(
    world: SimpleNamespace,
) -> None:
    when = when_pattern(days={5: (60, 300)}, hours={11: (60, 300)})
    world.source.patterns[PatternKey("acme", PatternType.WHEN)] = pattern_record(
        when, PatternType.WHEN
    )
    request = TimingRequest(client_id="acme", timezone="UTC")
    first = world.advisor.timing(request)
    assert first.model.source is Source.DEFAULT
    assert first.windows[0].day_of_week == 2
    wait_until(lambda: world.advisor.timing(request).model.source is Source.LEARNED)
    learned = world.advisor.timing(request)
    assert (learned.windows[0].day_of_week, learned.windows[0].hour) == (5, 11)
    assert learned.model.model_version == "when-1"
    assert not learned.model.stale
    assert learned.model.sample_size == 1000


def test_an_expired_pattern_gives_way_to_defaults_and_is_named_stale(
    world: SimpleNamespace,
) -> None:
    learn(world)
    timing, channels = TimingRequest(client_id="acme"), ChannelsRequest(client_id="acme")
    world.clock.now = NOW + dt.timedelta(days=14) - dt.timedelta(seconds=1)
    assert world.advisor.timing(timing).model.source is Source.LEARNED
    world.clock.now = NOW + dt.timedelta(days=14)
    answer = world.advisor.timing(timing)
    assert (answer.model.source, answer.model.stale) == (Source.DEFAULT, True)
    assert [d.day_of_week for d in answer.best_days] == [2, 3, 4]
    assert world.advisor.channels(channels).model.stale
    assert world.advisor.channels(channels).channels[0].channel == "email"
    assert world.advisor.weights("acme").weights == DEFAULT_WEIGHTS
    assert world.advisor.weights("acme").model_info.stale


def test_while_the_database_is_away_expired_state_goes_on_as_stale(
    world: SimpleNamespace,
) -> None:
    learn(world)
    world.source.away.set()
    wait_until(lambda: world.store.database_away)
    assert not world.advisor.timing(TimingRequest(client_id="acme")).model.stale
    world.clock.now = NOW + dt.timedelta(days=30)
    answer = world.advisor.timing(TimingRequest(client_id="acme"))
    assert (answer.model.source, answer.model.stale) == (Source.LEARNED, True)
    assert answer.best_days[0].day_of_week == 5
    weights = world.advisor.weights("acme")
    assert weights.weights.authority == 0.4
    assert weights.model_info.stale
    assert world.advisor.channels(ChannelsRequest(client_id="acme")).next_channel == "linkedin"


def test_scores_take_the_clients_weights_and_the_campaigns_profile(
    world: SimpleNamespace,
) -> None:
    context = world.advisor.scoring_context("acme")
    score = scored_lead(LEAD, context)
    assert score.weights.authority == 0.4
    assert (score.weights_source, context.model_info.model_version) == (Source.LEARNED, "w1")
    assert score.components.company_fit == 25
    caller = Icp(industries=("software",), employee_max=10)
    by_caller = scored_lead(LEAD, world.advisor.scoring_context("acme", icp=caller))
    assert by_caller.components.company_fit < 25
    by_campaign = world.advisor.scoring_context("acme", icp=caller, campaign_id="au")
    assert by_campaign.icp.industries == ("mining",)
    assert world.advisor.scoring_context("acme", campaign_id="unknown").icp == context.icp
    with pytest.raises(NotFound):
        world.advisor.scoring_context("nobody")


def test_a_batch_equals_single_scores_and_is_summed_up(world: SimpleNamespace) -> None:
    context = world.advisor.scoring_context("acme")
    gone = replace(LEAD, lead_id="lead-2", unsubscribed=True)
    leads = (LEAD, gone, Lead(lead_id="lead-3"))
    batch = scored_batch(leads, context, with_reasons=True)
    assert batch.scores == tuple(scored_lead(lead, context) for lead in leads)
    assert sum(batch.tier_counts.values()) == 3
    assert set(batch.tier_counts) == set(Tier)
    assert batch.tier_counts[Tier.DEAD] >= 1
    assert batch.mean_score == pytest.approx(sum(s.score for s in batch.scores) / 3)
    assert scored_batch((), context, with_reasons=False).mean_score is None


def test_a_stored_lead_brings_zone_touches_and_tier(world: SimpleNamespace) -> None:
    answer = world.advisor.timing_of_lead(TimingRequest(client_id="acme", lead_id="lead-1"))
    assert (answer.timezone, answer.timezone_source) == ("Australia/Sydney", ZoneSource.REGION)
    assert answer.gap_days == 3.0  # before the third touch
    assert answer.windows[0].start >= NOW + dt.timedelta(days=1)
    channels = world.advisor.channels_of_lead(ChannelsRequest(client_id="acme", lead_id="lead-1"))
    assert channels.tier is scored_lead(LEAD, world.advisor.scoring_context("acme")).tier
    assert "mail" not in [c.channel for c in channels.channels if c.allowed]
    assert world.leads.timeouts == [0.25, 0.25]
    with pytest.raises(NotFound):
        world.advisor.timing_of_lead(TimingRequest(client_id="acme", lead_id="nobody"))


def test_the_zone_of_a_stored_lead_comes_before_the_place_asked_for(world: SimpleNamespace) -> None:
    asked = TimingRequest(client_id="acme", lead_id="lead-1", places=(Place(country="Japan"),))

    def zone(stored: Lead, **request: str) -> str:
        world.leads.leads["lead-1"] = StoredLead(lead=stored)
        return world.advisor.timing_of_lead(replace(asked, **request)).timezone

    nowhere = Lead(lead_id="lead-1")
    assert zone(replace(LEAD, timezone="Asia/Seoul"), timezone="Europe/Rome") == "Europe/Rome"
    assert zone(replace(LEAD, timezone="Asia/Seoul")) == "Asia/Seoul"
    assert zone(LEAD) == "Australia/Sydney"
    assert zone(nowhere) == "Asia/Tokyo"


def test_a_campaign_counts_its_own_touches(world: SimpleNamespace) -> None:
    learned = when_pattern(
        gaps=(
            SequenceGap(
                from_touch=1, to_touch=2, gap_days=9.0, min_days=8.0, max_days=12.0,
                sample=80, learned=True,
            ),
        ),
    )  # fmt: skip
    key = PatternKey("acme", PatternType.WHEN)
    world.source.commit_pattern(pattern_record(learned, PatternType.WHEN))
    wait_until(lambda: _is_learned(world.store, key))
    autumn = StoredTouch("email", NOW - dt.timedelta(days=5), "autumn")
    spring = [StoredTouch("email", NOW - dt.timedelta(days=9 - 2 * n), "spring") for n in range(5)]
    touches = tuple(sorted([*spring, autumn], key=lambda touch: touch.sent_at))
    world.leads.leads["lead-1"] = StoredLead(lead=LEAD, campaign_id="spring", touches=touches)
    asked = TimingRequest(client_id="acme", lead_id="lead-1")
    second = world.advisor.timing_of_lead(replace(asked, campaign_id="autumn"))
    assert (second.gap_days, second.gap_max_days) == (9.0, 12.0)
    assert second.windows[0].start >= autumn.sent_at + dt.timedelta(days=8)
    sixth = world.advisor.timing_of_lead(asked)
    assert sixth.gap_days == 7.0
    first = world.advisor.timing_of_lead(replace(asked, campaign_id="winter"))
    assert first.gap_days is None
    assert first.windows[0].start >= touches[-1].sent_at + dt.timedelta(days=2)
    assert len({answer.decision_id for answer in (first, second, sixth)}) == 3


@pytest.mark.parametrize(
    ("own", "asked", "counted"),
    [
        ("spring", None, ["email", "sms"]),  # what names no campaign was the lead's own
        ("spring", "autumn", ["voice"]),
        ("spring", "winter", []),
        (None, "spring", ["email"]),
        (None, None, ["email", "voice", "sms"]),
    ],
)
def test_touches_count_within_a_campaign(
    own: str | None, asked: str | None, counted: list[str]
) -> None:
    stored = StoredLead(
        lead=LEAD,
        campaign_id=own,
        touches=(
            StoredTouch("email", NOW, "spring"),
            StoredTouch("voice", NOW, "autumn"),
            StoredTouch("sms", NOW),
        ),
    )
    assert [touch.channel for touch in stored.touches_of(asked)] == counted


def test_a_campaign_that_is_named_must_be_known(world: SimpleNamespace) -> None:
    advisor: Advisor = world.advisor
    timing = TimingRequest(client_id="acme", campaign_id="typo")
    channels = ChannelsRequest(client_id="acme", campaign_id="typo")
    sequence = SequenceRequest(client_id="acme", campaign_id="typo")
    for ask in (
        lambda: advisor.timing(timing),
        lambda: advisor.timing_of_lead(replace(timing, lead_id="lead-1")),
        lambda: advisor.standing.timing(timing),
        lambda: advisor.channels(channels),
        lambda: advisor.channels_of_lead(replace(channels, lead_id="lead-1")),
        lambda: advisor.standing.channels(channels),
        lambda: advisor.sequence(replace(sequence, tier=Tier.HOT)),
        lambda: advisor.sequence(replace(sequence, lead=LEAD)),
        lambda: advisor.sequence_of_lead(replace(sequence, lead_id="lead-1")),
    ):
        with pytest.raises(NotFound, match="campaign 'typo'"):
            ask()


def test_a_stored_lead_of_a_campaign_that_is_not_known_is_advised_all_the_same(
    world: SimpleNamespace,
) -> None:
    stray = replace(world.leads.leads["lead-1"], campaign_id="never described")
    world.leads.leads["lead-1"] = stray
    advisor: Advisor = world.advisor
    assert advisor.timing_of_lead(TimingRequest(client_id="acme", lead_id="lead-1")).windows
    assert advisor.channels_of_lead(ChannelsRequest(client_id="acme", lead_id="lead-1")).channels
    assert advisor.sequence_of_lead(SequenceRequest(client_id="acme", lead_id="lead-1")).touches


def test_a_suppressed_stored_lead_has_no_channels(world: SimpleNamespace) -> None:
    world.source.commit_suppression("acme", (IdentifierKind.EMAIL, "Ann@Firm.example"))
    request = ChannelsRequest(client_id="acme", lead_id="lead-1")
    wait_until(lambda: world.advisor.channels_of_lead(request).next_channel is None, 1.0)
    answer = world.advisor.channels_of_lead(request)
    assert answer.tier is Tier.DEAD
    assert {c.why_not for c in answer.channels} == {WhyNot.SUPPRESSED}


def test_patterns_for_people_wait_for_the_store_and_show_expired_ones(
    world: SimpleNamespace,
) -> None:
    when = when_pattern(days={5: (60, 300)})
    world.source.patterns[PatternKey("acme", PatternType.WHEN)] = pattern_record(
        when, PatternType.WHEN, until=NOW - dt.timedelta(days=1)
    )
    answer = world.advisor.pattern("acme", PatternType.WHEN)
    assert answer.pattern == when
    assert answer.model.stale
    with pytest.raises(NotFound):
        world.advisor.pattern("acme", PatternType.HOW)
    world.source.away.set()
    assert world.advisor.pattern("acme", PatternType.WHEN).pattern == when
    with pytest.raises(StoreUnavailable):
        world.advisor.pattern("acme", PatternType.WHO)


def test_prompts_tell_of_the_part_that_ran_out(world: SimpleNamespace) -> None:
    learn(world)
    fresh = world.advisor.prompt_context("acme", None, 50).model
    assert (fresh.model_version, fresh.stale) == ("how:how-1 when:when-1", False)
    expired = pattern_record(
        how_pattern(), PatternType.HOW, until=NOW - dt.timedelta(days=1), revision="2"
    )
    world.source.commit_pattern(expired)
    wait_until(lambda: world.advisor.prompt_context("acme", None, 50).model != fresh)
    model = world.advisor.prompt_context("acme", None, 50).model
    assert (model.model_version, model.stale) == ("how:how-2 when:when-1", True)
    assert model.source is Source.LEARNED, "the lines that are left were"


def test_explored_answers_are_logged_and_repeat(world: SimpleNamespace) -> None:
    world.source.commit_client(client_state("acme", revision="2", exploration=0.5))
    wait_until(lambda: world.store.client("acme").revision == "2")
    world.log.start()
    timing = TimingRequest(client_id="acme", lead_id="lead-1", timezone="UTC")
    answers = [world.advisor.timing(timing), world.advisor.timing(timing)]
    assert answers[0] == answers[1]
    channels = world.advisor.channels(
        ChannelsRequest(client_id="acme", lead_id="lead-1", tier=Tier.HOT)
    )
    wait_until(lambda: len(world.sink.written) == 3)
    assert [r.decision_id for r in world.sink.written] == [
        answers[0].decision_id,
        answers[1].decision_id,
        channels.decision_id,
    ]
    world.log.stop()


def test_without_exploration_nothing_is_logged(world: SimpleNamespace) -> None:
    world.advisor.timing(TimingRequest(client_id="acme"))
    world.advisor.channels(ChannelsRequest(client_id="acme"))
    assert world.log.counts().waiting == 0


def decision(number: int) -> DecisionRecord:
    return DecisionRecord(
        decision_id=f"d{number}",
        client_id="acme",
        lead_id=None,
        kind="channel",
        decided_at=NOW,
        choice="email",
        propensity=1.0,
        options=(),
        context={},
        model_version="",
    )


def test_the_decision_log_keeps_records_while_the_database_is_away() -> None:
    sink, health = FakeSink(), HealthWarnings(lambda: NOW)
    log = DecisionLog(sink, health, capacity=10, batch=4, flush_seconds=0.01)
    sink.away.set()
    for number in range(12):
        log.add(decision(number))
    with pytest.raises(StoreUnavailable):
        log.flush()
    assert (log.counts().waiting, log.counts().lost) == (10, 2)
    log.start()
    wait_until(lambda: [w.kind for w in health.listed()] == [WarningKind.DECISIONS_LOST])
    sink.away.clear()
    wait_until(lambda: log.counts().written == 10)
    assert [r.decision_id for r in sink.written] == [f"d{n}" for n in range(10)]
    log.add(decision(99))
    log.stop()
    assert sink.written[-1].decision_id == "d99"  # stopping writes what waits


def test_refused_records_do_not_block_the_others() -> None:
    sink = FakeSink()
    log = DecisionLog(sink, HealthWarnings(lambda: NOW), batch=2)
    sink.refuse = True
    log.add(decision(1))
    log.flush()
    sink.refuse = False
    log.add(decision(2))
    log.flush()
    assert [r.decision_id for r in sink.written] == ["d2"]
    assert (log.counts().written, log.counts().lost) == (1, 1)
