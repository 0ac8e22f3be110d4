"""What is held between calls never outlives what it was gathered from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from serving_fakes import NOW, FakeLeads, FakeSink, FakeSource, client_state, live, wait_until

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.clients import CampaignRecord, Icp
from cis_server.domain.live_state import RollingOut
from cis_server.domain.rollout import RolloutShare
from cis_server.domain.suppression import IdentifierKind
from cis_server.errors import CisError, InvalidInput, NotFound
from cis_server.rpc.rules import check_request
from cis_server.rpc.services.scoring import ScoringService
from cis_server.serving.advisor import Advisor
from cis_server.serving.decisions import DecisionLog
from cis_server.serving.held_contexts import SWEEP, HeldContexts
from cis_server.serving.store import SnapshotStore

ONE = {"data_quality": 0.1, "authority": 0.4, "company_fit": 0.2, "timing": 0.2, "risk": 0.1}
TWO = {"data_quality": 0.3, "authority": 0.1, "company_fit": 0.3, "timing": 0.1, "risk": 0.2}
UNTIL = NOW + dt.timedelta(days=14)
LEAD = core.Lead(
    lead_id="lead-1",
    email="ann@firm.example",
    title="Founder",
    industry="Software",
    employee_count=20,
    country="Australia",
    employment_start_date="2025-09-04",  # 179 days old on the day of `NOW`
)


@pytest.fixture
def world() -> Iterator[SimpleNamespace]:
    source, clock = FakeSource(), SimpleNamespace(now=NOW)
    campaign = CampaignRecord(campaign_id="nz", icp=Icp(industries=("mining",), countries=("NZ",)))
    source.commit_client(client_state(weights=ONE, weights_until=UNTIL, campaigns=(campaign,)))

    def now() -> dt.datetime:
        return clock.now

    store = SnapshotStore(source, now, poll_seconds=0.05, backoff_seconds=0.01)
    store.start()
    assert store.wait_until_loaded(5)
    advisor = Advisor(store, FakeLeads(), DecisionLog(FakeSink(), store.health), now)
    service = ScoringService(
        advisor,
        None,
        now,
        top_leads=None,
        rescorings=None,
        store_seconds=0.1,  # type: ignore[arg-type]
    )
    yield SimpleNamespace(source=source, clock=clock, store=store, advisor=advisor, service=service)
    store.stop()


def request(**fields: object) -> scoring.ScoreLeadRequest:
    return scoring.ScoreLeadRequest(**{"client_id": "acme", "lead": LEAD, **fields})  # type: ignore[arg-type]


def told(world: SimpleNamespace, **fields: object) -> core.LeadScore:
    got = world.service.ScoreLead(request(**fields), None)
    assert isinstance(got, bytes), "put together, not built"
    return core.LeadScore.FromString(got)


def answer(world: SimpleNamespace, **fields: object) -> core.LeadScore:
    """The answer, held against the reference; nothing may change meanwhile."""
    got = told(world, **fields)
    assert got == world.service._score_lead(request(**fields), None)
    return got


def test_every_change_is_told_at_once(world: SimpleNamespace) -> None:
    first = answer(world)
    assert (first.model.model_version, first.suppressed) == ("w1", False)
    assert answer(world) == first

    world.source.commit_client(
        client_state(revision="2", weights=TWO, weights_version="w2", weights_until=UNTIL)
    )
    wait_until(lambda: told(world).model.model_version == "w2")
    assert answer(world).weighted_sum != first.weighted_sum

    world.source.commit_suppression("acme", (IdentifierKind.DOMAIN, "firm.example"))
    wait_until(lambda: told(world).suppressed)
    world.source.commit_suppression("acme")
    wait_until(lambda: not told(world).suppressed)
    world.source.commit_suppression(None, (IdentifierKind.LEAD_ID, "lead-1"))
    wait_until(lambda: told(world).suppression_reason == "suppression_list")
    answer(world)

    world.source.delete_client("acme")
    wait_until(lambda: world.advisor.scoring_state("acme")[0] is None)
    with pytest.raises(NotFound):
        world.service.ScoreLead(request(), None)


def test_the_hour_counts(world: SimpleNamespace) -> None:
    """Roles grow old at midnight UTC, weights at their end; a clock set back tells again."""
    today = answer(world)
    world.clock.now = NOW.replace(hour=23, minute=59)
    assert answer(world) == today
    world.clock.now = NOW.replace(hour=0) + dt.timedelta(days=1)
    assert answer(world).components.timing < today.components.timing
    world.clock.now = UNTIL - dt.timedelta(microseconds=1)
    assert answer(world).model.source == core.SOURCE_LEARNED
    world.clock.now = UNTIL
    expired = answer(world)
    assert (expired.model.source, expired.model.stale) == (core.SOURCE_DEFAULT, True)
    world.clock.now = NOW
    assert answer(world) == today


def test_expired_weights_go_on_while_the_database_is_away(world: SimpleNamespace) -> None:
    world.clock.now = UNTIL
    assert answer(world).model.source == core.SOURCE_DEFAULT
    world.source.away.set()
    wait_until(lambda: world.store.database_away)
    away = answer(world).model
    assert (away.source, away.stale) == (core.SOURCE_LEARNED, True)
    world.source.away.clear()
    wait_until(lambda: not world.store.database_away)
    assert answer(world).model.source == core.SOURCE_DEFAULT


def test_what_a_call_says_counts_for_that_call(world: SimpleNamespace) -> None:
    icp = core.Icp(industries=["banking"], countries=["NZ"])
    for _ in range(2):
        plain = answer(world)
        campaign = answer(world, campaign_id="nz")
        unknown = answer(world, campaign_id="none")
        profile = answer(world, icp=icp)
        both = answer(world, campaign_id="nz", icp=icp)
        later = answer(world, as_of_time=NOW + dt.timedelta(days=700))
        scores = [x.weighted_sum for x in (plain, campaign, unknown, profile, both, later)]
        assert scores[0] == scores[2] > scores[1] == scores[3] == scores[4]
        assert scores[5] < scores[0]
    morning = answer(world, as_of_time=NOW.replace(hour=1))
    evening = answer(world, as_of_time=NOW.replace(hour=23))
    assert morning == evening == plain


def test_a_rollout_takes_its_share(world: SimpleNamespace) -> None:
    share = RolloutShare.of("acme", "weights", "", 2, 50)
    state = client_state(revision="2", weights=ONE, weights_until=UNTIL)
    end = NOW + dt.timedelta(days=3)
    rolling = RollingOut(record=live(TWO, "w2", end), share=share)
    world.source.commit_client(replace(state, weights_rollout=rolling))
    wait_until(lambda: world.advisor.scoring_state("acme")[0].rollout is not None)
    leads = [core.Lead(lead_id=f"lead-{n}", title="CEO") for n in range(40)]

    def versions() -> list[str]:
        return [answer(world, lead=lead).model.model_version for lead in leads]

    told = versions()
    assert told == ["w2" if share.takes(lead.lead_id) else "w1" for lead in leads]
    assert set(told) == {"w1", "w2"}
    world.clock.now = end
    assert set(versions()) == {"w1"}


WRONG = (
    {"client_id": ""},
    {"client_id": "x" * 129},
    {"campaign_id": ""},
    {"campaign_id": "x" * 129},
    {"lead": None},
    {"lead": core.Lead(email="nobody", employee_count=-1, title="\0")},
    {"lead": core.Lead(country="x" * 201), "client_id": "nobody"},
    {"lead": core.Lead(country="x" * 201), "campaign_id": "c\0"},
    {"icp": core.Icp(employee_min=9, employee_max=3)},
    {"icp": core.Icp(countries=[""]), "lead": core.Lead(phone="1" * 65)},
    {"as_of_time": dt.datetime(1960, 1, 1, tzinfo=dt.UTC)},
)


@pytest.mark.parametrize("fields", WRONG)
def test_errors_are_those_of_the_rules(world: SimpleNamespace, fields: dict[str, object]) -> None:
    answer(world)  # something is held
    asked = request(**fields)
    with pytest.raises(InvalidInput) as expected:
        check_request(asked)
    with pytest.raises(CisError) as raised:
        world.service.ScoreLead(asked, None)
    assert type(raised.value) is InvalidInput
    assert raised.value.args == expected.value.args
    assert vars(raised.value) == vars(expected.value)


def test_an_unknown_client_is_told_once_the_request_is_right(world: SimpleNamespace) -> None:
    with pytest.raises(NotFound):
        world.service.ScoreLead(request(client_id="nobody"), None)


def test_the_oldest_gives_way(world: SimpleNamespace) -> None:
    contexts = HeldContexts(world.advisor, lambda context: context.icp, most=3)
    profiles = [Icp(employee_max=60 + n) for n in range(5)]
    assert [contexts.of("acme", icp=icp).employee_max for icp in profiles] == [*range(60, 65)]
    assert len(contexts) == 3
    assert [contexts.find("acme", icp=icp) is not None for icp in profiles] == [
        *(False, False, True, True, True)
    ]


def test_what_holds_no_longer_is_let_go(world: SimpleNamespace) -> None:
    """Idle clients must not keep old snapshots, and with them old suppression lists, in memory."""
    contexts = HeldContexts(world.advisor, lambda context: context)
    for n in range(5):
        contexts.of("acme", campaign_id=f"idle-{n}")
    assert len(contexts) == 5
    before = world.advisor.scoring_state("acme")[0]
    world.source.commit_suppression(None, (IdentifierKind.LEAD_ID, "lead-1"))
    wait_until(lambda: world.advisor.scoring_state("acme")[0] is not before)
    world.clock.now += SWEEP
    contexts.of("acme")
    assert len(contexts) == 1
