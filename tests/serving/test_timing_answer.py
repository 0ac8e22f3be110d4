"""When to send: on the lead's clock, never in the past, inside every limit."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_fakes import NOW, day_rates, hour_rates, when_pattern

from cis_server.domain.clients import CampaignRecord, ClientPolicy, ClientRecord
from cis_server.domain.live_state import DecisionRecord
from cis_server.domain.local_time import local_clock
from cis_server.domain.model_info import DEFAULT_MODEL
from cis_server.domain.patterns import ChannelTiming, SequenceGap, WeekSurface, WhenPattern
from cis_server.domain.vocabulary import Source
from cis_server.serving.answers import TimingAnswer, ZoneSource
from cis_server.serving.draws import Draws, SeededDraws
from cis_server.serving.timing import Place, TimingRequest, timing_answer
from cis_server.serving.timing_plan import DEFAULT_TIMING, TimingPlan
from cis_server.stats.confidence import blend_weight

CLIENT = ClientRecord(client_id="acme", timezone="Europe/Berlin")
ZONES = (
    "America/New_York",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Pacific/Apia",
    "UTC",
)


def plan_of(pattern: WhenPattern) -> TimingPlan:
    return TimingPlan(pattern, blend_weight(pattern.envelope.confidence), Source.LEARNED)


def ask(
    plan: TimingPlan = DEFAULT_TIMING,
    *,
    now: dt.datetime = NOW,
    client: ClientRecord = CLIENT,
    campaign: CampaignRecord | None = None,
    draws: Draws | None = None,
    lead_id: str | None = "lead-1",
    **request: object,
) -> TimingAnswer:
    answer, _ = timing_answer(
        plan,
        TimingRequest(client_id="acme", lead_id=lead_id, **request),  # type: ignore[arg-type]
        client,
        campaign,
        DEFAULT_MODEL,
        now,
        draws or SeededDraws(lead_id or "nobody", str(request.get("touch_number"))),
    )
    return answer


instants = st.datetimes(
    dt.datetime.fromisoformat("2024-01-01"),
    dt.datetime.fromisoformat("2030-12-31"),
    timezones=st.just(dt.UTC),
)


@settings(max_examples=300, deadline=None)
@given(
    now=instants,
    zone=st.sampled_from(ZONES),
    channel=st.sampled_from([None, "email", "linkedin", "voice", "fax"]),
    start=st.times(),
    end=st.times(),
    days=st.sets(st.integers(1, 7), min_size=1),
    with_campaign=st.booleans(),
    count=st.integers(1, 12),
    ahead=st.integers(0, 40),
    learned=st.booleans(),
)
def test_windows_lie_in_the_future_and_in_allowed_hours(
    now: dt.datetime,
    zone: str,
    channel: str | None,
    start: dt.time,
    end: dt.time,
    days: set[int],
    with_campaign: bool,
    count: int,
    ahead: int,
    learned: bool,
) -> None:
    campaign = CampaignRecord(
        campaign_id="c",
        work_hours_start=start.replace(second=0, microsecond=0),
        work_hours_end=end.replace(second=0, microsecond=0),
        work_days=tuple(sorted(days)),
    )
    plan = (
        plan_of(when_pattern(days={6: (30, 100), 1: (20, 100)}, hours={11: (20, 90), 22: (9, 90)}))
        if learned
        else DEFAULT_TIMING
    )
    earliest = now + dt.timedelta(days=ahead)
    answer = ask(
        plan,
        now=now,
        campaign=campaign if with_campaign else None,
        timezone=zone,
        channel=channel,
        count=count,
        earliest_time=earliest,
    )
    assert len(answer.windows) == count
    tz = ZoneInfo(zone)
    for window in answer.windows:
        assert earliest <= window.start < window.end
        for instant in (window.start, window.end - dt.timedelta(seconds=1)):
            clock = local_clock(instant, tz)
            assert (clock.weekday, clock.hour) == (window.day_of_week, window.hour)
            _assert_allowed(clock.weekday, clock.time, channel, campaign if with_campaign else None)
        local = dt.datetime.fromisoformat(window.local_start)
        assert local.replace(microsecond=0) == window.start.replace(microsecond=0)
    assert answer.windows[0].start <= answer.next_send_time < answer.windows[0].end
    starts = [window.start for window in answer.windows]
    assert len(set(starts)) == len(starts)


def _assert_allowed(
    day: int, time: dt.time, channel: str | None, campaign: CampaignRecord | None
) -> None:
    if campaign is None:
        assert day <= 5 or (day == 6 and channel not in ("email", "linkedin"))
        assert 9 <= time.hour < 17
        if channel == "email":
            assert time.hour in (9, 10)
        if channel == "linkedin":
            assert time.hour in (9, 10, 13)
        return
    assert day in campaign.work_days
    start, end = campaign.work_hours_start, campaign.work_hours_end
    if start < end:
        assert start <= time < end
    elif start > end:
        assert time >= start or time < end


@settings(max_examples=200, deadline=None)
@given(
    now=instants,
    zone=st.sampled_from(ZONES),
    touch=st.integers(2, 9),
    since=st.floats(0, 20),
    learned=st.booleans(),
)
def test_later_touches_keep_the_gap_interval(
    now: dt.datetime, zone: str, touch: int, since: float, learned: bool
) -> None:
    gaps = (
        SequenceGap(
            from_touch=1,
            to_touch=2,
            gap_days=6.0,
            min_days=5.0,
            max_days=8.0,
            sample=80,
            learned=True,
        ),
    )
    plan = plan_of(when_pattern(gaps=gaps)) if learned else DEFAULT_TIMING
    last = now - dt.timedelta(days=since)
    answer = ask(plan, now=now, timezone=zone, touch_number=touch, last_touch_time=last)
    assert answer.gap_days is not None
    assert answer.gap_min_days is not None
    assert answer.gap_max_days is not None
    assert 2.0 <= answer.gap_min_days <= answer.gap_days <= answer.gap_max_days
    latest = last + dt.timedelta(days=answer.gap_max_days)
    for window in answer.windows:
        base = max(now, last + dt.timedelta(days=answer.gap_min_days))
        assert window.start >= base
        if base <= latest:  # no weekend is longer than three days
            assert window.start <= latest + dt.timedelta(days=3)
        if latest - base >= dt.timedelta(days=3):  # outlasts a weekend
            assert window.start <= latest
    if any(latest - window.start > dt.timedelta(minutes=5) for window in answer.windows):
        assert max(window.end for window in answer.windows) <= latest
        assert answer.next_send_time <= latest
    if learned and touch == 2:
        assert (answer.gap_min_days, answer.gap_days, answer.gap_max_days) == (5.0, 6.0, 8.0)


def test_default_gaps_by_position() -> None:
    last = NOW - dt.timedelta(hours=1)
    gaps = [ask(touch_number=t, last_touch_time=last).gap_days for t in range(2, 9)]
    assert gaps == [2.0, 3.0, 4.0, 5.0, 7.0, 3.0, 3.0]
    assert ask(touch_number=1).gap_days is None
    assert ask(touch_number=1, last_touch_time=last).gap_days == 2.0
    assert ask(last_touch_time=last).gap_days == 3.0


def test_gap_of_two_days_before_a_weekend_does_not_become_five() -> None:
    thursday = dt.datetime(2026, 3, 5, 10, 0, tzinfo=dt.UTC)
    answer = ask(
        now=thursday + dt.timedelta(hours=1),
        timezone="UTC",
        touch_number=2,
        last_touch_time=thursday,
    )
    # Inside the interval only Monday 9-10 is open; the next preferred day would be Tuesday.
    assert answer.windows[0].start == dt.datetime(2026, 3, 9, 9, 0, tzinfo=dt.UTC)


def test_a_window_ends_with_the_gap_interval() -> None:
    wednesday = dt.datetime(2026, 3, 4, 10, 20, tzinfo=dt.UTC)
    answer = ask(
        now=wednesday, timezone="UTC", channel="email", touch_number=3, last_touch_time=wednesday
    )
    assert answer.gap_max_days == 5.0
    assert [(w.start.isoformat()[5:16], w.end.isoformat()[5:16]) for w in answer.windows] == [
        ("03-06T10:20", "03-06T11:00"),
        ("03-09T09:00", "03-09T10:00"),
        ("03-09T10:00", "03-09T10:20"),
    ]
    # Of ten o'clock on Monday only four minutes would be left, which is no window.
    earlier = wednesday - dt.timedelta(minutes=16)
    answer = ask(
        now=wednesday, timezone="UTC", channel="email", touch_number=3, last_touch_time=earlier
    )
    assert [window.hour for window in answer.windows] == [10, 9]


def test_an_interval_without_a_business_hour_ends_on_the_next_business_day() -> None:
    wednesday = dt.datetime(2026, 3, 4, 19, 0, tzinfo=dt.UTC)
    answer = ask(now=wednesday, timezone="UTC", touch_number=2, last_touch_time=wednesday)
    assert {w.start.date() for w in answer.windows} == {dt.date(2026, 3, 9)}  # Monday


def test_defaults_before_anything_is_learned() -> None:
    answer = ask(timezone="UTC")
    assert [d.day_of_week for d in answer.best_days] == [2, 3, 4]
    assert [d.value for d in answer.best_days] == ["tuesday", "wednesday", "thursday"]
    assert [h.hour for h in answer.best_hours] == [9, 10, 14, 15]
    assert {d.source for d in answer.best_days} == {Source.DEFAULT}
    assert [w.start.isoformat() for w in answer.windows] == [
        "2026-03-03T09:00:00+00:00",
        "2026-03-03T10:00:00+00:00",
        "2026-03-03T14:00:00+00:00",
    ]
    assert all(w.estimate is None and w.source is Source.DEFAULT for w in answer.windows)
    assert answer.touch_distribution == ()
    assert [w.propensity for w in answer.windows] == [1.0, 0.0, 0.0]


def test_today_is_allowed_and_only_what_is_left_of_the_hour() -> None:
    tuesday = dt.datetime(2026, 3, 3, 9, 20, tzinfo=dt.UTC)
    first = ask(now=tuesday, timezone="UTC").windows[0]
    assert (first.start, first.end) == (tuesday, tuesday.replace(hour=10, minute=0))
    late = tuesday.replace(minute=55)  # five minutes are not more than five minutes
    assert ask(now=late, timezone="UTC").windows[0].start.hour == 10


def test_email_keeps_to_its_window_whatever_was_learned() -> None:
    plan = plan_of(when_pattern(days={1: (40, 200)}, hours={15: (40, 200), 10: (20, 200)}))
    by_email = ask(plan, timezone="UTC", channel="email")
    assert {w.hour for w in by_email.windows} == {10}
    assert {w.hour for w in ask(plan, timezone="UTC", channel="voice").windows} == {10, 15}
    only_afternoon = plan_of(when_pattern(days={1: (40, 200)}, hours={15: (40, 200)}))
    assert {w.hour for w in ask(only_afternoon, channel="email").windows} <= {9, 10}


def test_campaign_hours_stand_where_a_channel_window_does_not_meet_them() -> None:
    evening = CampaignRecord(
        campaign_id="c", work_hours_start=dt.time(18), work_hours_end=dt.time(20), work_days=(7,)
    )
    answer = ask(campaign=evening, timezone="UTC", channel="email", count=4)
    assert {(w.day_of_week, w.hour) for w in answer.windows} == {(7, 18), (7, 19)}


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        (6, 22, {9, 10, 14, 15}),  # of the learned ones, those in 9-17
        (15, 20, {15}),
        (18, 20, {9, 10, 14, 15}),  # nothing in common with 9-17
        (22, 12, {9, 10}),  # over midnight
    ],
)
def test_a_campaign_keeps_to_nine_to_seventeen_in_an_assumed_zone(
    start: int, end: int, hours: set[int]
) -> None:
    campaign = CampaignRecord(
        campaign_id="c", work_hours_start=dt.time(start), work_hours_end=dt.time(end)
    )
    answer = ask(campaign=campaign, channel="voice", count=8)
    assert answer.timezone_source is ZoneSource.ASSUMED
    assert {window.hour for window in answer.windows} == hours


def test_learned_hours_open_no_evening_in_an_assumed_zone() -> None:
    campaign = CampaignRecord(
        campaign_id="c", work_hours_start=dt.time(6), work_hours_end=dt.time(22)
    )
    plan = plan_of(when_pattern(days={2: (40, 400)}, hours={20: (60, 400), 7: (55, 400)}))
    known = ask(plan, campaign=campaign, timezone="UTC", count=8)
    assert {window.hour for window in known.windows} == {7, 20}
    assumed = ask(plan, campaign=campaign, count=8)
    assert {window.hour for window in assumed.windows} == set(range(9, 17))


@pytest.mark.parametrize(
    ("zone", "date", "hour", "start", "minutes"),
    [
        # Clocks jump from 02:00 to 03:00: hour 2 does not exist, hour 3 starts at the jump.
        ("America/New_York", dt.date(2026, 3, 8), 3, "2026-03-08T07:00:00+00:00", 60),
        # 02:00 to 02:30: half of hour 2 is left.
        ("Australia/Lord_Howe", dt.date(2026, 10, 4), 2, "2026-10-03T15:30:00+00:00", 30),
        # Hour 2 comes twice in Sydney: the first passing counts.
        ("Australia/Sydney", dt.date(2026, 4, 5), 2, "2026-04-04T15:00:00+00:00", 60),
        # Lord Howe turns 02:00 back to 01:30: hour 1 is taken in its first passing.
        ("Australia/Lord_Howe", dt.date(2026, 4, 5), 1, "2026-04-04T14:00:00+00:00", 60),
        ("America/New_York", dt.date(2026, 11, 1), 1, "2026-11-01T05:00:00+00:00", 60),
    ],
)
def test_daylight_saving_days(
    zone: str, date: dt.date, hour: int, start: str, minutes: int
) -> None:
    midnight = dt.datetime.combine(date, dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)
    night = CampaignRecord(
        campaign_id="c",
        work_hours_start=dt.time(hour),
        work_hours_end=dt.time(hour + 1),
        work_days=(date.isoweekday(),),
    )
    window = ask(campaign=night, timezone=zone, now=midnight).windows[0]
    assert window.start.isoformat() == start
    assert window.end - window.start == dt.timedelta(minutes=minutes)
    assert window.hour == hour


def test_an_hour_that_daylight_saving_skips_is_no_window() -> None:
    night = CampaignRecord(
        campaign_id="c", work_hours_start=dt.time(2), work_hours_end=dt.time(3), work_days=(7,)
    )
    now = dt.datetime(2026, 3, 7, 12, 0, tzinfo=dt.UTC)
    window = ask(campaign=night, timezone="America/New_York", now=now).windows[0]
    assert window.local_start == "2026-03-15T02:00:00-04:00"


def test_nine_oclock_on_both_sides_of_a_change() -> None:
    early = ask(timezone="America/New_York", now=dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC))
    late = ask(timezone="America/New_York", now=dt.datetime(2026, 3, 9, 12, tzinfo=dt.UTC))
    assert early.windows[0].local_start == "2026-03-03T09:00:00-05:00"
    assert late.windows[0].local_start == "2026-03-10T09:00:00-04:00"


def test_weekdays_without_hours_take_default_hours_and_say_so() -> None:
    plan = plan_of(when_pattern(days={1: (10, 100), 5: (60, 200), 3: (8, 150)}))
    answer = ask(plan, timezone="UTC", channel="voice")
    assert [d.day_of_week for d in answer.best_days] == [5, 1, 3]
    assert {d.source for d in answer.best_days} == {Source.LEARNED}
    assert [h.hour for h in answer.best_hours] == [9, 10, 14, 15]
    assert {h.source for h in answer.best_hours} == {Source.DEFAULT}
    first = answer.windows[0]
    assert (first.day_of_week, first.hour, first.source) == (5, 9, Source.BLENDED)
    assert first.estimate is not None
    assert first.estimate.sample == 200


def test_confidence_blends_learned_with_default() -> None:
    learned = {"days": {1: (90, 300), 2: (6, 300)}, "hours": {12: (90, 300), 9: (8, 300)}}
    plans = {c: plan_of(when_pattern(confidence=c, **learned)) for c in (0.4, 0.5, 0.6, 0.7)}
    days = {c: [d.day_of_week for d in ask(p).best_days] for c, p in plans.items()}
    assert days[0.4] == days[0.5] == [2, 3, 4]
    assert set(days[0.6]) == {1, 2, 3}  # the default's third day gives way
    assert days[0.7] == [1, 2]
    sources = {c: ask(p).best_days[0].source for c, p in plans.items()}
    assert sources == {
        0.4: Source.DEFAULT,
        0.5: Source.DEFAULT,
        0.6: Source.BLENDED,
        0.7: Source.LEARNED,
    }
    monday = ask(plans[0.7], timezone="UTC").windows[0]
    assert (monday.day_of_week, monday.hour) == (1, 12)
    assert ask(plans[0.5], timezone="UTC").windows[0].day_of_week == 2


def test_preference_moves_smoothly_with_confidence() -> None:
    def preference(confidence: float) -> float:
        plan = plan_of(
            when_pattern(days={1: (9, 100)}, hours={12: (9, 100)}, confidence=confidence)
        )
        cells = plan.channel(None)._cell(1, 12, 720, 780)
        return cells.preference

    assert preference(0.7) == pytest.approx(1.0)
    assert preference(0.6) == pytest.approx(0.25)  # half the day's, half the hour's
    assert preference(0.5) == pytest.approx(0.01)


def test_a_surface_ranks_cells_that_days_and_hours_alone_would_not() -> None:
    low = [0.02] * 168
    low[(1 - 1) * 24 + 14] = 0.2  # Monday 14
    low[(2 - 1) * 24 + 9] = 0.1
    surface = WeekSurface(
        bandwidth_hours=1.0,
        rate=tuple(value + 0.02 for value in low),
        low=tuple(low),
        high=tuple(value + 0.1 for value in low),
        effective_sample=tuple([50.4] * 168),
    )
    plan = plan_of(
        when_pattern(
            days={2: (30, 200), 1: (25, 200)}, hours={9: (30, 200), 14: (20, 200)}, surface=surface
        )
    )
    first = ask(plan, timezone="UTC").windows[0]
    assert (first.day_of_week, first.hour) == (1, 14)
    assert first.estimate is not None
    assert first.estimate.adjusted_rate == pytest.approx(0.22)
    assert (first.estimate.sample, first.estimate.converted) == (50, 11)
    mean = (0.22 + 0.12 + 166 * 0.04) / 168
    assert first.estimate.adjusted_lift == pytest.approx(0.22 / mean)


def test_days_and_hours_multiply_without_a_surface() -> None:
    pattern = when_pattern(
        days={1: (40, 200), 3: (10, 200)}, hours={12: (30, 200), 9: (6, 100), 15: (2, 100)}
    )
    plan = plan_of(pattern)
    estimate = ask(plan, timezone="UTC").windows[0].estimate
    day, hour = plan.channel(None).best_days[0].estimate, plan.channel(None).best_hours[0].estimate
    assert estimate is not None
    assert day is not None
    assert hour is not None
    hours = [each.segment.estimate for each in pattern.best_hours]
    mean = sum(each.adjusted_rate * each.sample for each in hours) / 400
    assert estimate.adjusted_rate == pytest.approx(day.adjusted_rate * hour.adjusted_rate / mean)
    assert 0.0 < estimate.low < estimate.adjusted_rate < estimate.high <= 1.0
    assert estimate.low < estimate.adjusted_rate * day.low / day.adjusted_rate


@pytest.mark.parametrize("smooth", [True, False])
def test_a_flat_week_of_a_good_channel_has_its_rate_and_no_lift(smooth: bool) -> None:
    flat = WeekSurface(
        bandwidth_hours=1.0,
        rate=(0.3,) * 168,
        low=(0.25,) * 168,
        high=(0.35,) * 168,
        effective_sample=(40.3,) * 168,
    )
    voice = ChannelTiming(
        channel="voice",
        sample=1000,
        best_days=day_rates(dict.fromkeys(range(1, 6), (65, 200))),
        best_hours=hour_rates(dict.fromkeys((9, 10, 14, 15), (80, 250))),
        surface=flat if smooth else None,
    )
    plan = plan_of(when_pattern(by_channel=(voice,)))  # of a client that converts 8 %
    for window in ask(plan, channel="voice", count=6).windows:
        estimate = window.estimate
        assert estimate is not None
        assert estimate.adjusted_rate == pytest.approx(0.3)
        assert estimate.adjusted_lift == pytest.approx(1.0)
        assert estimate.converted == round(0.3 * estimate.sample)
        assert estimate.sample == (40 if smooth else 200)


def test_a_channel_has_its_own_hours() -> None:
    voice = ChannelTiming(
        channel="voice",
        sample=500,
        best_days=day_rates({4: (40, 200)}),
        best_hours=hour_rates({16: (40, 200)}),
        surface=None,
    )
    plan = plan_of(when_pattern(days={2: (40, 200)}, hours={10: (40, 200)}, by_channel=(voice,)))
    assert {(w.day_of_week, w.hour) for w in ask(plan, channel="voice").windows} == {(4, 16)}
    assert {(w.day_of_week, w.hour) for w in ask(plan, channel="sms").windows} == {(2, 10)}


def test_a_slightly_better_day_is_not_waited_for() -> None:
    monday = dt.datetime(2026, 3, 2, 7, 0, tzinfo=dt.UTC)
    close = plan_of(when_pattern(days={5: (105, 1000), 1: (100, 1000)}, hours={10: (50, 500)}))
    far = plan_of(when_pattern(days={5: (160, 1000), 1: (100, 1000)}, hours={10: (50, 500)}))
    assert ask(close, now=monday, timezone="UTC").windows[0].day_of_week == 1
    assert ask(far, now=monday, timezone="UTC").windows[0].day_of_week == 5


def test_weekends_that_win_open_the_weekend_but_not_for_email() -> None:
    days, hours = {6: (50, 200), 2: (20, 200)}, {10: (50, 400)}
    plan = plan_of(when_pattern(days=days, hours=hours, winning_days=frozenset({6})))
    assert 6 in {w.day_of_week for w in ask(plan, channel="voice").windows}
    assert {w.day_of_week for w in ask(plan, channel="email").windows} == {2}
    lucky = plan_of(when_pattern(days=days, hours=hours))
    assert {w.day_of_week for w in ask(lucky, channel="voice").windows} == {2}


def test_touch_distribution_carries_share_and_hazard() -> None:
    touches = ask(plan_of(when_pattern())).touch_distribution
    assert [(t.touch_number, t.share) for t in touches] == [(1, 0.5), (2, 0.4), (10, 0.1)]
    assert touches[0].hazard is not None
    assert touches[1].hazard is None


def test_zone_comes_from_the_surest_source() -> None:
    new_york = Place(country="United States", region="NY")
    campaign = CampaignRecord(campaign_id="c", timezone="Asia/Tokyo")

    def zone(**asked: object) -> tuple[str, ZoneSource]:
        answer = ask(campaign=campaign, **asked)  # type: ignore[arg-type]
        return answer.timezone, answer.timezone_source

    assert zone(timezone="Europe/Paris", places=(new_york,)) == ("Europe/Paris", ZoneSource.EXACT)
    assert zone(places=(new_york,)) == ("America/New_York", ZoneSource.REGION)
    assert zone(places=(Place(country="Germany"),)) == ("Europe/Berlin", ZoneSource.COUNTRY)
    assert zone(places=(Place(country="USA"),))[1] is ZoneSource.COUNTRY
    assert zone(places=(Place(), new_york)) == ("America/New_York", ZoneSource.REGION)
    assert zone(places=(Place(country="Atlantis"),)) == ("Asia/Tokyo", ZoneSource.ASSUMED)
    assert ask().timezone == "Europe/Berlin"
    assert ask(client=ClientRecord(client_id="x", timezone="No/Where")).timezone == "UTC"


def test_the_same_lead_and_touch_get_the_same_answer() -> None:
    first, again = ask(timezone="UTC"), ask(timezone="UTC")
    assert first == again
    other_lead = ask(timezone="UTC", lead_id="lead-2")
    assert other_lead.windows[0].start == first.windows[0].start
    assert other_lead.next_send_time != first.next_send_time
    assert other_lead.decision_id != first.decision_id
    later = ask(timezone="UTC", now=NOW + dt.timedelta(hours=6))
    assert later.next_send_time == first.next_send_time


def test_a_rerun_within_the_window_is_the_same_decision() -> None:
    curious = ClientRecord(client_id="acme", policy=ClientPolicy(exploration_share=0.3))
    under_way = dt.datetime(2026, 3, 3, 9, 20, 7, 512, tzinfo=dt.UTC)

    def decided(lead: str, now: dt.datetime) -> DecisionRecord:
        request = TimingRequest(client_id="acme", lead_id=lead, timezone="UTC", channel="email")
        draws = SeededDraws(lead)
        answer, record = timing_answer(
            DEFAULT_TIMING, request, curious, None, DEFAULT_MODEL, now, draws
        )
        assert record is not None
        assert answer.windows[0].start >= now
        return record

    leads = [f"lead-{i}" for i in range(40)]
    once = [decided(lead, under_way) for lead in leads]
    again = [decided(lead, under_way + dt.timedelta(seconds=30)) for lead in leads]
    assert [record.decision_id for record in once] == [record.decision_id for record in again]
    assert [record.choice for record in once] == [record.choice for record in again]
    assert "2026-03-03T09:00:00+00:00" in {record.choice for record in once}


def test_the_send_time_is_a_whole_second_that_has_not_passed() -> None:
    under_way = dt.datetime(2026, 3, 3, 9, 20, 7, 512, tzinfo=dt.UTC)
    for lead in range(200):
        at = ask(now=under_way, timezone="UTC", lead_id=f"lead-{lead}").next_send_time
        assert at.microsecond == 0
        assert at >= under_way


def test_without_a_lead_every_decision_has_its_own_id() -> None:
    ids = {ask(lead_id=None, draws=SeededDraws(str(i))).decision_id for i in range(50)}
    assert len(ids) == 50


def test_leads_are_spread_over_the_window() -> None:
    minutes = Counter(
        ask(timezone="UTC", lead_id=f"lead-{i}").next_send_time.minute // 10 for i in range(600)
    )
    assert set(minutes) == set(range(6))
    assert min(minutes.values()) > 60


def explore(plan: TimingPlan, share: float, leads: int) -> tuple[list[TimingAnswer], TimingAnswer]:
    client = ClientRecord(
        client_id="acme", timezone="UTC", policy=ClientPolicy(exploration_share=share)
    )
    answers = [ask(plan, client=client, lead_id=f"lead-{i}", count=12) for i in range(leads)]
    return answers, ask(plan, timezone="UTC", count=12)


def test_exploration_draws_windows_as_often_as_their_propensity_says() -> None:
    plan = plan_of(
        when_pattern(days={2: (30, 300), 3: (26, 300)}, hours={9: (30, 300), 10: (28, 300)})
    )
    answers, greedy = explore(plan, 0.5, 2000)
    propensity = {w.start: w.propensity for w in answers[0].windows}
    assert sum(propensity.values()) == pytest.approx(1.0)
    drawn = Counter(answer.windows[0].start for answer in answers)
    for start, expected in propensity.items():
        spread = 4 * (expected * (1 - expected) / len(answers)) ** 0.5 + 1e-9
        assert drawn[start] / len(answers) == pytest.approx(expected, abs=spread)
    assert propensity[greedy.windows[0].start] > 0.5
    assert all(a.propensity == a.windows[0].propensity > 0.0 for a in answers)


def test_a_decision_record_is_written_only_when_exploring() -> None:
    request = TimingRequest(client_id="acme", lead_id="l", channel="email", touch_number=1)
    quiet = timing_answer(
        DEFAULT_TIMING, request, CLIENT, None, DEFAULT_MODEL, NOW, SeededDraws("l")
    )
    assert quiet[1] is None
    curious = ClientRecord(client_id="acme", policy=ClientPolicy(exploration_share=0.3))
    answer, record = timing_answer(
        DEFAULT_TIMING, request, curious, None, DEFAULT_MODEL, NOW, SeededDraws("l")
    )
    assert record is not None
    assert record.decision_id == answer.decision_id
    assert record.choice == answer.windows[0].start.isoformat()
    assert record.propensity == answer.propensity
    assert sum(option.propensity for option in record.options) == pytest.approx(1.0)
    assert record.context["channel"] == "email"
