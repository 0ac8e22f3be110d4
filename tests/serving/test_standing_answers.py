"""Answers that stand equal the answers worked out anew, at every instant and for every draw."""

from __future__ import annotations

import datetime as dt
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_fakes import NOW, how_pattern, rate, segment, when_pattern

from cis_server.domain.clients import CampaignRecord, ClientPolicy, ClientRecord
from cis_server.domain.live_state import PatternKey, PatternRecord
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.patterns import ChannelTiming, SequenceGap, Transition, WeekSurface
from cis_server.domain.vocabulary import PatternType, Source, Tier
from cis_server.serving.channel_plan import DEFAULT_CHANNELS, ChannelPlan
from cis_server.serving.channels import ChannelsRequest, channels_answer
from cis_server.serving.draws import FRESH, SeededDraws
from cis_server.serving.freshness import pattern_info
from cis_server.serving.standing_channels import standing_channels
from cis_server.serving.standing_timing import StandingTiming, standing_timing
from cis_server.serving.timing import Place, TimingRequest, timing_answer
from cis_server.serving.timing_plan import DEFAULT_TIMING, TimingPlan

CLIENT = ClientRecord(client_id="acme", timezone="Europe/Berlin")
LEARNED = when_pattern(
    days={1: (30, 400), 2: (55, 500), 4: (41, 450), 6: (60, 300)},
    hours={8: (30, 300), 9: (44, 500), 15: (40, 450), 16: (22, 300)},
    winning_days=frozenset((6,)),
    gaps=(
        SequenceGap(
            from_touch=1, to_touch=2, gap_days=3.0, min_days=2.0, max_days=4.0,
            sample=100, learned=True,
        ),
    ),
    surface=WeekSurface(
        bandwidth_hours=2.0,
        rate=tuple(0.05 + (i * 37 % 168) / 4000 for i in range(168)),
        low=tuple(0.03 + (i * 37 % 168) / 4000 for i in range(168)),
        high=tuple(0.09 + (i * 37 % 168) / 4000 for i in range(168)),
        effective_sample=(40.0,) * 168,
    ),
    by_channel=(
        ChannelTiming(channel="voice", sample=0, best_days=(), best_hours=(), surface=None),
    ),
)  # fmt: skip
TIMING_PLANS = {
    "defaults": DEFAULT_TIMING,
    "blended": TimingPlan(LEARNED, 0.4, Source.LEARNED),
    "learned": TimingPlan(LEARNED, 1.0, Source.POOLED),
}
ZONES = (
    "America/New_York",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "America/St_Johns",
    "Pacific/Apia",
    "Africa/Cairo",
    "UTC",
)
DAYLIGHT_SAVING = ("2026-03-08", "2026-03-29", "2026-04-05", "2026-04-24", "2026-10-04",
                   "2026-10-25", "2026-11-01", "2026-10-30")  # fmt: skip


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


instants = st.one_of(
    st.datetimes(at("2025-01-01").replace(tzinfo=None), at("2027-12-31").replace(tzinfo=None)),
    st.builds(
        lambda day, minutes, micros: (
            at(day).replace(tzinfo=None) + dt.timedelta(minutes=minutes, microseconds=micros)
        ),
        st.sampled_from(DAYLIGHT_SAVING),
        st.integers(-26 * 60, 26 * 60),
        st.sampled_from([0, 1, 999_999]),
    ),
).map(lambda naive: naive.replace(tzinfo=dt.UTC))

campaigns = st.one_of(
    st.none(),
    st.builds(
        lambda start, end, days: CampaignRecord(
            campaign_id="k",
            work_hours_start=start,
            work_hours_end=end,
            work_days=tuple(sorted(days)),
        ),
        st.times(),
        st.times(),
        st.sets(st.integers(1, 7), min_size=1),
    ),
)


def record(pattern_type: PatternType, until: dt.datetime | None) -> PatternRecord:
    return PatternRecord(
        key=PatternKey("acme", pattern_type), revision="1", version="7", content=None,
        computed_at=NOW, valid_until=until, sample_size=900, confidence=0.8,
    )  # fmt: skip


def model_at(pattern_type: PatternType, until: dt.datetime | None, now: dt.datetime) -> ModelInfo:
    return pattern_info(record(pattern_type, until), now, database_away=False)


def later_instants(since: dt.datetime, until: dt.datetime, share: float) -> list[dt.datetime]:
    least = dt.timedelta(microseconds=1)
    span = until - since
    return [since, min(since + least, until - least), since + span * share, until - least]


@settings(max_examples=150, deadline=None)
@given(
    plan=st.sampled_from(sorted(TIMING_PLANS)),
    zone=st.sampled_from([None, *ZONES]),
    channel=st.sampled_from([None, "email", "linkedin", "voice", "fax"]),
    campaign=campaigns,
    count=st.integers(1, 14),
    touch=st.sampled_from([None, 1, 2, 5]),
    now=instants,
    expires_minutes=st.sampled_from([None, -60, 7, 600]),
    share=st.floats(0.0, 0.999),
    seed=st.text(max_size=3),
)
def test_timing_stands_as_it_would_be_worked_out(
    plan: str,
    zone: str | None,
    channel: str | None,
    campaign: CampaignRecord | None,
    count: int,
    touch: int | None,
    now: dt.datetime,
    expires_minutes: int | None,
    share: float,
    seed: str,
) -> None:
    request = TimingRequest(
        client_id="acme", timezone=zone, channel=channel, touch_number=touch, count=count,
        campaign_id="k" if campaign else None,
    )  # fmt: skip
    until = now + dt.timedelta(minutes=expires_minutes) if expires_minutes is not None else None
    model = model_at(PatternType.WHEN, until, now)
    standing = standing_timing(TIMING_PLANS[plan], request, CLIENT, campaign, model, now)
    if standing is None:
        return
    assert standing.moments.since == now < standing.moments.until
    for later in later_instants(now, standing.moments.until, share):
        assert standing.moments.holds(later)
        fresh, _ = timing_answer(
            TIMING_PLANS[plan], request, CLIENT, campaign,
            model_at(PatternType.WHEN, until, later), later, SeededDraws(seed),
        )  # fmt: skip
        assert standing.as_of(later, SeededDraws(seed)) == fresh
    assert not standing.moments.holds(standing.moments.until)


def standing_at(now: str, **request: object) -> StandingTiming | None:
    asked = TimingRequest(client_id="acme", **request)  # type: ignore[arg-type]
    return standing_timing(
        DEFAULT_TIMING, asked, CLIENT, None, ModelInfo(), dt.datetime.fromisoformat(now)
    )


@pytest.mark.parametrize(
    ("now", "until", "under_way"),
    [
        ("2026-03-02T08:00+01:00", "2026-03-03T00:00+01:00", None),  # a Monday: the day turns
        ("2026-03-03T08:00+01:00", "2026-03-03T09:00+01:00", None),  # until the first window
        ("2026-03-03T09:20+01:00", "2026-03-03T09:55+01:00", 0),  # while enough of it is left
        ("2026-03-03T09:56+01:00", "2026-03-03T10:00+01:00", None),
        ("2026-03-03T10:30+01:00", "2026-03-03T10:55+01:00", 0),
    ],
)
def test_it_stands_until_something_happens(now: str, until: str, under_way: int | None) -> None:
    standing = standing_at(now, timezone="Europe/Berlin", channel="email")
    assert standing is not None
    assert standing.moments.until == dt.datetime.fromisoformat(until)
    assert standing.moments.under_way == under_way


def test_standing_answers_cover_a_day_without_holes() -> None:
    now, stood, pieces = at("2026-03-03T00:00"), dt.timedelta(), 0
    end = now + dt.timedelta(days=1)
    while now < end:
        standing = standing_timing(
            TIMING_PLANS["learned"], TimingRequest(client_id="acme"), CLIENT, None, ModelInfo(), now
        )
        if standing is None:
            now += dt.timedelta(seconds=1)
            continue
        stood += standing.moments.until - now
        now, pieces = standing.moments.until, pieces + 1
    assert stood > dt.timedelta(hours=23, minutes=55)
    assert pieces < 40


def test_a_window_under_way_gives_way_to_a_better_one_in_time() -> None:
    """Wednesday at 9 is under way; Thursday at 9 is just so much better that its wait is worth it
    from some moment of the hour on. Exactly then the answer ends."""
    wednesday, thursday = 2 * 24 + 9, 3 * 24 + 9
    low = tuple(
        0.095 if i == thursday else 0.095 * 0.951 if i == wednesday else 0.0 for i in range(168)
    )
    surface = WeekSurface(
        bandwidth_hours=1.0, rate=low, low=low, high=low, effective_sample=(50.0,) * 168
    )
    pattern = when_pattern(days={3: (50, 900), 4: (50, 900)}, hours={9: (80, 900)}, surface=surface)
    plan = TimingPlan(pattern, 1.0, Source.LEARNED)
    request = TimingRequest(client_id="acme", timezone="UTC", channel="email")
    now, pieces = at("2026-03-04T09:00"), list[StandingTiming]()
    while now < at("2026-03-04T09:55"):
        standing = standing_timing(plan, request, CLIENT, None, ModelInfo(), now)
        if standing is not None:
            pieces.append(standing)
        now = standing.moments.until if standing else now + dt.timedelta(seconds=1)
    assert [piece.answer.windows[0].day_of_week for piece in pieces] == [3, 4]
    before, after = pieces
    assert after.moments.since - before.moments.until <= dt.timedelta(seconds=3)


@pytest.mark.parametrize(
    "request_fields",
    [
        {"lead_id": "lead-1"},
        {"last_touch_time": NOW, "touch_number": 2},
        {"earliest_time": NOW + dt.timedelta(days=3)},
    ],
)
def test_what_names_instants_or_a_lead_does_not_stand(request_fields: dict[str, object]) -> None:
    assert standing_at("2026-03-02T08:00+00:00", **request_fields) is None


def test_timing_under_exploration_does_not_stand() -> None:
    exploring = ClientRecord(client_id="acme", policy=ClientPolicy(exploration_share=0.1))
    request = TimingRequest(client_id="acme", places=(Place(country="Germany"),))
    assert standing_timing(DEFAULT_TIMING, request, exploring, None, ModelInfo(), NOW) is None


HOW = how_pattern(
    overall=(segment("email", 60, 900), segment("linkedin", 50, 700), segment("voice", 9, 60)),
    tiers={"hot": (segment("voice", 20, 90), segment("email", 30, 400))},
    best_first="linkedin",
    transitions=(Transition(from_channel="email", to_channel="voice", estimate=rate(9, 80)),),
)
CHANNEL_PLANS = {
    "defaults": DEFAULT_CHANNELS,
    "blended": ChannelPlan(HOW, 0.4, Source.LEARNED),
    "learned": ChannelPlan(HOW, 1.0, Source.LEARNED),
}
names = st.sampled_from(["email", "linkedin", "sms", "voice", "mail", "fax"])


@settings(max_examples=150, deadline=None)
@given(
    plan=st.sampled_from(sorted(CHANNEL_PLANS)),
    tier=st.sampled_from([None, *Tier]),
    available=st.lists(names, max_size=4, unique=True),
    used=st.lists(names, max_size=4),
    allocation=st.dictionaries(names, st.integers(0, 100), max_size=3),
    exploration=st.sampled_from([0.0, 0.2, 1.0]),
    now=instants,
    expires_minutes=st.sampled_from([None, -60, 7]),
    share=st.floats(0.0, 0.999),
    seed=st.text(max_size=3),
)
def test_channels_stand_as_they_would_be_worked_out(
    plan: str,
    tier: Tier | None,
    available: list[str],
    used: list[str],
    allocation: dict[str, int],
    exploration: float,
    now: dt.datetime,
    expires_minutes: int | None,
    share: float,
    seed: str,
) -> None:
    request = ChannelsRequest(
        client_id="acme", tier=tier, campaign_id="k",
        available_channels=tuple(available), used_channels=tuple(used),
    )  # fmt: skip
    campaign = CampaignRecord(campaign_id="k", allocation=allocation)
    policy = ClientPolicy(exploration_share=exploration)
    until = now + dt.timedelta(minutes=expires_minutes) if expires_minutes is not None else None
    model = model_at(PatternType.HOW, until, now)
    standing = standing_channels(CHANNEL_PLANS[plan], request, policy, campaign, model, now)
    assert standing is not None
    end = standing.moments.until or now + dt.timedelta(days=9)
    for later in later_instants(now, end, share):
        assert standing.moments.holds(later)
        fresh = channels_answer(
            CHANNEL_PLANS[plan], request, policy, campaign,
            model_at(PatternType.HOW, until, later), later, SeededDraws(seed),
        )  # fmt: skip
        assert standing.as_of(later, SeededDraws(seed)) == fresh


def test_channels_of_a_lead_do_not_stand() -> None:
    request = ChannelsRequest(client_id="acme", lead_id="lead-1")
    found = standing_channels(DEFAULT_CHANNELS, request, ClientPolicy(), None, ModelInfo(), NOW)
    assert found is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fresh_numbers_differ_in_every_process() -> None:
    seen = {FRESH.random()}
    for _ in range(2):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, repr(FRESH.random()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        seen.add(float(os.read(reading, 100)))
        os.close(reading)
        os.close(writing)
    assert len(seen | {FRESH.random()}) == 4
