"""FUNNEL by hand: every figure worked out beside the data."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from detector_frames import AS_OF, START, dataset, outreach, shuffled
from funnel_frames import DAY, deal, lost, meeting, open_deal, with_pipeline
from hypothesis import given
from hypothesis import strategies as st

from cis_server.detectors.blocks import InsufficientData
from cis_server.detectors.funnel import detect_funnel
from cis_server.detectors.funnel_revenue import MODELS, credit_shares
from cis_server.detectors.funnel_values import apportioned, deal_values
from cis_server.detectors.funnel_velocity import stage_spans
from cis_server.domain.funnel_pattern import ChannelRevenue, FunnelPattern
from cis_server.domain.vocabulary import PatternStatus, Verdict
from cis_server.stats.confidence import confidence

PAIRS = range(40)


def pattern(**frames: Any) -> FunnelPattern:
    return detect_funnel(dataset(**frames))


def rates(entries: Sequence[Any]) -> dict[str, tuple[int, int]]:
    return {e.value: (e.estimate.converted, e.estimate.sample) for e in entries}


def test_every_key_of_full_data_is_there() -> None:
    data = with_pipeline(outreach(seed=3, leads=3000))
    found = detect_funnel(data)
    assert {b.status for b in found.envelope.blocks} == {PatternStatus.OK}
    blocks = [b.block for b in found.envelope.blocks]
    assert sorted(blocks) == sorted(f.name for f in fields(found) if f.name != "envelope")
    empty = {
        f"{block}.{name}"
        for block, content in found.to_json().items()
        if block != "envelope"
        for name, value in content.items()
        if value in (None, [], {})
    }
    # Nobody's tier or staff is known here, and nothing was planted that could win or stand out.
    assert empty == {
        "show_rate.best_day", "show_rate.best_hour", "show_rate.by_day", "show_rate.by_hour",
        "show_rate.by_tier", "show_rate.insights",
        "meeting_to_deal.insights", "win_rate.insights", "velocity.insights",
        "win_rate.by_company_size", "win_rate.by_tier",
    }  # fmt: skip


def test_the_same_data_give_the_same_bytes_whatever_the_row_order() -> None:
    data = with_pipeline(outreach(seed=4, leads=2000))
    first = json.dumps(detect_funnel(data).to_json(), allow_nan=False)
    for seed in (1, 2):
        assert json.dumps(detect_funnel(shuffled(data, seed)).to_json()) == first
    assert FunnelPattern.from_json(json.loads(first)) == detect_funnel(data)


# attendance


def test_attendance_counts_past_meetings_and_reports_the_unknown() -> None:
    rows = [
        *(meeting(i) for i in range(18)),
        *(meeting(100 + i, showed_up=False, outcome="no_show") for i in range(6)),
        # Attendance follows from how the meeting ended when nobody ticked the box.
        meeting(200, showed_up=None, outcome="bad"),
        meeting(201, showed_up=None, outcome="no_show"),
        # Nobody knows.
        *(meeting(300 + i, showed_up=None, outcome="pending") for i in range(4)),
        # No meeting took place: called off, still to come, booked before the window.
        meeting(400, showed_up=None, outcome="cancelled"),
        meeting(401, showed_up=None, outcome="rescheduled"),
        meeting(402, showed_up=None, outcome="pending", scheduled_at=AS_OF + DAY),
        meeting(403, booked_at=START - DAY),
    ]
    shows = pattern(meetings=rows).show_rate
    assert shows is not None
    assert shows.estimate is not None
    assert (shows.estimate.converted, shows.sample_size) == (19, 26)
    assert shows.overall_rate == shows.estimate.adjusted_rate
    assert shows.unknown_attendance_share == pytest.approx(4 / 30, abs=1e-6)


def test_a_meeting_called_off_is_no_missed_one() -> None:
    rows = [
        *(meeting(i) for i in range(20)),
        meeting(100, showed_up=False, outcome="no_show"),
        *(meeting(200 + i, showed_up=False, outcome="cancelled") for i in range(10)),
        *(meeting(300 + i, showed_up=False, outcome="rescheduled") for i in range(10)),
        # Called off, but the lead came.
        meeting(400, showed_up=True, outcome="cancelled"),
    ]
    shows = pattern(meetings=rows).show_rate
    assert shows is not None
    assert shows.estimate is not None
    assert (shows.estimate.converted, shows.sample_size) == (21, 22)


def test_days_and_hours_are_those_of_the_lead_and_sunday_midnight_is_a_time() -> None:
    # Sunday 00:30 in Sydney is Saturday 13:30 UTC; Monday 09:30 there is Sunday 22:30 UTC.
    midnight = dt.datetime(2026, 1, 24, 13, 30, tzinfo=dt.UTC)
    morning = dt.datetime(2026, 1, 25, 22, 30, tzinfo=dt.UTC)
    rows = [
        *(meeting(i, scheduled_at=midnight, booked_at=midnight - 3 * DAY) for i in PAIRS),
        *(
            meeting(
                100 + i,
                scheduled_at=morning,
                booked_at=morning - 3 * DAY,
                showed_up=i % 4 == 0,
            )
            for i in PAIRS
        ),
        *(meeting(200 + i) for i in range(5)),
    ]
    leads: list[dict[str, Any]] = [
        {"lead_id": f"l{i:04d}", "timezone": "Australia/Sydney", "tier": "hot"}
        for i in (*PAIRS, *(100 + i for i in PAIRS))
    ]
    leads.append({"lead_id": "l0200", "timezone": "Atlantis/Capital", "tier": None})
    shows = pattern(meetings=rows, leads=leads).show_rate
    assert shows is not None
    assert shows.best_day == "sunday"
    assert shows.best_hour == 0
    assert {(d.day, d.day_of_week, d.segment.estimate.sample) for d in shows.by_day} == {
        ("sunday", 7, 40),
        ("monday", 1, 40),
    }
    assert {h.hour: h.segment.verdict for h in shows.by_hour} == {
        0: Verdict.WINNING,
        9: Verdict.LOSING,
    }
    assert shows.local_time_coverage == pytest.approx(80 / 85, abs=1e-6)


def test_busy_days_are_not_best_days() -> None:
    monday = dt.datetime(2026, 1, 26, 10, tzinfo=dt.UTC)
    rows = [
        *(
            meeting(i, scheduled_at=monday, booked_at=monday - 3 * DAY, showed_up=i % 2 == 0)
            for i in range(200)
        ),
        *(
            meeting(500 + i, scheduled_at=monday + DAY, booked_at=monday - 2 * DAY, showed_up=i > 1)
            for i in range(40)
        ),
    ]
    leads = [{"lead_id": row["lead_id"], "timezone": "UTC"} for row in rows]
    shows = pattern(meetings=rows, leads=leads).show_rate
    assert shows is not None
    assert shows.best_day == "tuesday"


def test_reminders_are_compared_among_meetings_that_reached_reminder_time() -> None:
    """Meetings booked within the day get no reminder and are hardly missed: not a bad reminder."""
    soon = {"booked_at": AS_OF - 30 * DAY - dt.timedelta(hours=2)}
    rows = [
        *(meeting(i, **soon) for i in range(60)),
        *(meeting(100 + i, reminder_sent=True, showed_up=i % 2 == 0) for i in range(60)),
        *(meeting(200 + i, showed_up=i % 2 == 0) for i in range(60)),
    ]
    shows = pattern(meetings=rows).show_rate
    assert shows is not None
    effect = shows.reminder_effect
    assert effect is not None
    assert effect.present is not None
    assert effect.absent is not None
    assert (effect.present.converted, effect.present.sample) == (30, 60)
    assert (effect.absent.converted, effect.absent.sample) == (30, 60)
    assert effect.verdict is Verdict.UNDECIDED
    assert effect.lift == pytest.approx(1.0, abs=1e-6)
    assert shows.insights == ()


def test_an_effect_needs_ten_meetings_on_each_side() -> None:
    rows = [meeting(i, confirmed=i < 9, reminder_sent=i < 10) for i in range(60)]
    shows = pattern(meetings=rows).show_rate
    assert shows is not None
    assert shows.confirmation_effect is None
    assert shows.reminder_effect is not None
    assert shows.reschedule_effect is None


def test_what_stands_out_is_told_in_figures() -> None:
    rows = [
        *(meeting(i, confirmed=True, showed_up=i % 10 > 0) for i in range(100)),
        *(meeting(200 + i, showed_up=i % 2 == 0, rescheduled_count=i % 2) for i in range(100)),
    ]
    leads = [
        {"lead_id": row["lead_id"], "tier": "hot" if row["confirmed"] else "dead"} for row in rows
    ]
    # Without tiers: here the tier tells all that the confirmation does.
    shows = pattern(meetings=rows).show_rate
    assert shows is not None
    told = {insight.type: insight for insight in shows.insights}
    assert set(told) == {"confirmation_impact", "reschedule_risk"}
    figures = told["confirmation_impact"].figures
    assert set(figures) == {"confirmed_show_rate", "unconfirmed_show_rate"}
    assert figures["confirmed_show_rate"] - figures["unconfirmed_show_rate"] > 0.1
    assert told["confirmation_impact"].impact == "high"
    shows = pattern(meetings=rows, leads=leads).show_rate
    assert shows is not None
    told = {insight.type: insight for insight in shows.insights}
    assert "confirmation_impact" not in told
    assert told["als_tier_impact"].labels == {"best_tier": "hot"}
    assert set(told["als_tier_impact"].figures) == {"hot_show_rate", "dead_show_rate"}


# deals


def test_a_meeting_with_two_deals_counts_once_and_a_young_one_not_yet() -> None:
    rows = [
        *(meeting(i) for i in range(30)),
        *(meeting(100 + i, showed_up=False, outcome="no_show") for i in range(10)),
        *(meeting(200 + i, scheduled_at=AS_OF - 5 * DAY) for i in range(10)),
    ]
    deals = [
        *(deal(i, meeting_id=f"m{i:04d}", value=100.0 * (i + 1)) for i in range(6)),
        deal(600, meeting_id="m0000", value=5000.0),
        deal(601, meeting_id="m0200"),
        deal(602),
    ]
    block = pattern(meetings=rows, deals=deals).meeting_to_deal
    assert block is not None
    assert block.estimate is not None
    assert (block.estimate.converted, block.sample_size) == (6, 30)
    # 100, 200, ... 600 and 5 000: the median does not follow the outlier.
    assert block.median_deal_value == 400.0
    assert block.avg_deal_value == pytest.approx(7100 / 7, abs=0.01)
    assert rates(block.by_segment)["outcome=good"] == (6, 30)
    assert rates(block.by_segment)["meeting_type=discovery"] == (6, 30)


def test_open_deals_are_censored_and_cohorts_are_by_creation() -> None:
    rows = [
        *(deal(i) for i in range(11)),
        deal(11, created_at=AS_OF - 359 * DAY, closed_at=AS_OF - 319 * DAY),
        *(lost(100 + i) for i in range(12)),
        *(open_deal(200 + i) for i in range(7)),
        # Closed within the window, but created in another cohort.
        *(deal(300 + i, created_at=AS_OF - 361 * DAY) for i in range(9)),
    ]
    wins = pattern(deals=rows).win_rate
    assert wins is not None
    assert wins.estimate is not None
    assert (wins.estimate.converted, wins.sample_size, wins.censored) == (12, 24, 7)
    assert wins.avg_days_to_close == 40.0


def test_deals_won_sooner_than_lost_do_not_raise_the_eventual_rate() -> None:
    """Half of all deals are won, after 10 days; lost ones take 60, so young ones are still open."""
    rows = []
    for age in range(1, 121):
        for i in range(2):
            number = 10 * age + i
            born = AS_OF - age * DAY
            take = 10 if i == 0 else 60
            if age > take:
                make = deal if i == 0 else lost
                rows.append(make(number, created_at=born, closed_at=born + take * DAY))
            else:
                rows.append(open_deal(number, created_at=born))
    wins = pattern(deals=rows).win_rate
    assert wins is not None
    assert wins.estimate is not None
    assert wins.estimate.rate == pytest.approx(110 / 170, abs=1e-6)
    assert wins.eventual_win_rate == pytest.approx(0.5, abs=0.03)
    # Kaplan-Meier over all deals: half of them have closed once the lost ones do.
    assert wins.median_days_to_close == 60.0


def test_win_rates_by_channel_size_tier_and_touches() -> None:
    rows = [
        *(
            deal(i, meeting_id=f"m{i:04d}", first_touch_channel="linkedin", touches_before_deal=1)
            for i in PAIRS
        ),
        *(lost(100 + i, touches_before_deal=5) for i in PAIRS),
        *(lost(200 + i, touches_before_deal=0) for i in range(5)),
    ]
    meetings = [meeting(i, converting_channel="voice") for i in PAIRS]
    leads = [{"lead_id": f"l{i:04d}", "tier": "hot", "employee_count": 20} for i in PAIRS]
    leads += [{"lead_id": f"l{100 + i:04d}", "tier": "cold", "employee_count": 600} for i in PAIRS]
    wins = pattern(deals=rows, meetings=meetings, leads=leads).win_rate
    assert wins is not None
    assert rates(wins.by_first_channel) == {"linkedin": (40, 40), "email": (0, 45)}
    assert rates(wins.by_channel) == {"voice": (40, 40)}
    assert rates(wins.by_company_size) == {"16–30": (40, 40), "501+": (0, 40)}
    assert rates(wins.by_tier) == {"hot": (40, 40), "cold": (0, 40)}
    assert rates(wins.by_touches) == {"1": (40, 40), "4–5": (0, 40)}
    told = {insight.type: insight for insight in wins.insights}
    assert told["touch_count"].figures == {
        "avg_touches_won": 1.0,
        "avg_touches_lost": round(200 / 45, 2),
    }
    assert told["channel_win_rates"].labels == {"best_channel": "linkedin"}


def test_values_are_of_one_currency_each() -> None:
    rows = [
        *(deal(i, value=float(v)) for i, v in enumerate((100, 200, 900))),
        *(deal(10 + i, value=1e6, currency="JPY") for i in range(2)),
        deal(20, value=None),
        *(lost(100 + i, lost_reason="no_budget") for i in range(9)),
        *(lost(200 + i, lost_reason=None, value=7.0) for i in range(3)),
        *(lost(300 + i, lost_reason="no_budget", currency="JPY", value=1e6) for i in range(3)),
    ]
    found = pattern(deals=rows)
    wins, losses, revenue = found.win_rate, found.lost_deals, found.channel_attribution
    assert wins is not None
    assert (wins.median_won_value, wins.avg_won_value) == (200.0, 400.0)
    assert [(v.currency_code, v.count, v.total) for v in wins.values] == [
        ("AUD", 3, 1200.0),
        ("JPY", 2, 2e6),
    ]
    assert losses is not None
    assert [(r.reason, r.count, r.total_value_lost) for r in losses.top_reasons] == [
        ("no_budget", 12, 9000.0),
        ("unknown", 3, 21.0),
    ]
    assert losses.top_reasons[0].share == pytest.approx(12 / 15)
    assert revenue is not None
    assert revenue.currency_code == "AUD"
    assert revenue.total_revenue == 1200.0
    assert revenue.sample_size == 16


def test_a_value_below_zero_is_unknown() -> None:
    rows = [
        *(deal(i) for i in range(10)),
        *(deal(100 + i, first_touch_channel="voice", value=-300.0) for i in range(10)),
        *(lost(200 + i, value=-7.0) for i in range(10)),
    ]
    meetings = [meeting(i, deal_id=f"d{i:04d}") for i in (*range(10), *range(100, 110))]
    found = pattern(deals=rows, meetings=meetings)
    revenue, losses = found.channel_attribution, found.lost_deals
    assert revenue is not None
    assert revenue.total_revenue == 10_000.0
    assert [(c.channel, c.revenue, c.revenue_share) for c in revenue.channels] == [
        ("email", 10_000.0, 1.0),
        ("voice", 0.0, 0.0),
    ]
    assert losses is not None
    assert [reason.total_value_lost for reason in losses.top_reasons] == [None]
    assert found.meeting_to_deal is not None
    assert [(v.count, v.total) for v in found.meeting_to_deal.values] == [(10, 10_000.0)]


def test_the_currency_is_one_in_which_deals_have_values() -> None:
    rows = [
        *(deal(i, value=None) for i in range(12)),
        *(deal(100 + i, currency="USD", value=500.0) for i in range(10)),
    ]
    revenue = pattern(deals=rows).channel_attribution
    assert revenue is not None
    assert (revenue.currency_code, revenue.total_revenue) == ("USD", 5000.0)
    unpriced = pattern(deals=[*rows[:12], *(deal(100 + i, value=None) for i in range(10))])
    assert unpriced.channel_attribution is not None
    assert unpriced.channel_attribution.currency_code == "AUD"


def test_values_of_meetings_are_of_deals_known_by_then() -> None:
    later = {"created_at": AS_OF + DAY, "value": 9e6, "won": None, "closed_at": None}
    rows = [*(deal(i, meeting_id=f"m{i:04d}") for i in range(10)), deal(10, **later)]
    meetings = [*(meeting(i) for i in range(10)), *(meeting(i) for i in range(11, 30))]
    meetings.append(meeting(10, deal_id="d0010"))
    block = pattern(deals=rows, meetings=meetings).meeting_to_deal
    assert block is not None
    assert [(v.count, v.total) for v in block.values] == [(10, 10_000.0)]


def test_no_value_is_no_zero() -> None:
    values = deal_values(dataset(deals=[deal(1, value=None), deal(2)]).deals)
    assert [(v.count, v.median) for v in values] == [(1, 1000.0)]
    assert deal_values(dataset(deals=[deal(1, value=None)]).deals) == ()


# revenue


def touch(lead: int, channel: str, days: float) -> dict[str, Any]:
    """An outbound touch some days before the deals of `deal`."""
    return {
        "activity_id": f"a{lead:04d}-{days}",
        "lead_id": f"l{lead:04d}",
        "channel": channel,
        "action": "sent",
        "occurred_at": AS_OF - 60 * DAY - dt.timedelta(days=days),
        "time_precision": "instant",
    }


def by_channel(entries: tuple[ChannelRevenue, ...]) -> dict[str, float]:
    return {entry.channel: entry.revenue for entry in entries}


def test_revenue_is_shared_by_hand() -> None:
    """One won deal of 1 000: email 14 days, linkedin 7 days and voice 0 days before it."""
    touches = [touch(1, "email", 14), touch(1, "linkedin", 7), touch(1, "voice", 0)]
    others = [
        touch(1, "mail", -5),  # after the deal
        {**touch(1, "sms", 3), "action": "opened"},  # not ours
    ]
    rows = [
        deal(1, touches_before_deal=3),
        # Its first touches lie before the window.
        deal(2, touches_before_deal=4, first_touch_channel="mail"),
        *(lost(100 + i, touches_before_deal=9) for i in range(20)),
    ]
    block = pattern(deals=rows, activities=[*touches, *others, touch(2, "voice", 1)])
    revenue = block.channel_attribution
    assert revenue is not None
    assert (revenue.traced_deals, revenue.traced_revenue) == (1, 1000.0)
    assert revenue.total_revenue == 2000.0
    assert set(revenue.models) == set(MODELS)
    assert by_channel(revenue.models["first_touch"]) == {"email": 1000, "linkedin": 0, "voice": 0}
    assert by_channel(revenue.models["last_touch"]) == {"email": 0, "linkedin": 0, "voice": 1000}
    assert by_channel(revenue.models["linear"]) == {
        "email": 333.34, "linkedin": 333.33, "voice": 333.33,
    }  # fmt: skip
    # Half-life 7 days: weights 1/4, 1/2, 1 of 7/4.
    assert by_channel(revenue.models["time_decay"]) == {
        "email": 142.86, "linkedin": 285.71, "voice": 571.43,
    }  # fmt: skip
    for entries in revenue.models.values():
        assert sum(round(1e6 * entry.revenue_share) for entry in entries) == 1_000_000
        assert sum(round(100 * entry.revenue) for entry in entries) == 100_000
        assert sum(entry.deals_won for entry in entries) == pytest.approx(1)
    status = {b.block: b.reason for b in block.envelope.blocks}
    assert "1 of 22 deals" in status["channel_attribution"]


@pytest.mark.parametrize("turned", [False, True])
def test_touches_of_one_moment_go_by_their_name(turned: bool) -> None:
    touches = [
        {**touch(1, "email", 7), "activity_id": "b"},
        {**touch(1, "voice", 7), "activity_id": "a"},
    ]
    rows = [deal(1, touches_before_deal=2), *(lost(100 + i) for i in range(20))]
    revenue = pattern(deals=rows, activities=touches[::-1] if turned else touches)
    assert revenue.channel_attribution is not None
    models = revenue.channel_attribution.models
    assert by_channel(models["first_touch"]) == {"voice": 1000, "email": 0}
    assert by_channel(models["last_touch"]) == {"voice": 0, "email": 1000}


def test_channels_by_first_touch_carry_the_win_rate() -> None:
    rows = [
        *(deal(i, first_touch_channel="voice", value=10.0) for i in range(10)),
        *(lost(100 + i, first_touch_channel="voice") for i in range(10)),
        *(deal(200 + i, value=30.0 * i) for i in range(3)),
        *(lost(300 + i, first_touch_channel=None) for i in range(10)),
    ]
    revenue = pattern(deals=rows).channel_attribution
    assert revenue is not None
    assert revenue.sample_size == 23
    voice, email = revenue.channels
    assert (voice.channel, voice.deals_won, voice.deals_total, voice.revenue) == (
        "voice", 10, 20, 100.0,
    )  # fmt: skip
    assert (email.channel, email.revenue, email.median_deal_value) == ("email", 90.0, 30.0)
    assert voice.revenue_share == pytest.approx(10 / 19, abs=1e-6)
    assert voice.estimate is not None
    assert voice.win_rate == voice.estimate.adjusted_rate
    assert revenue.models == {}


@given(
    st.lists(st.lists(st.floats(min_value=0, max_value=5000), min_size=1, max_size=12), min_size=1),
    st.floats(min_value=0.1, max_value=100),
)
def test_the_credit_of_every_deal_adds_to_one(deals: list[list[float]], half_life: float) -> None:
    ages = np.array([age for path in deals for age in sorted(path, reverse=True)])
    number = np.repeat(np.arange(len(deals)), [len(path) for path in deals])
    for model, credit in credit_shares(ages, number, half_life).items():
        assert (credit >= 0).all()
        totals = np.bincount(number, weights=credit)
        assert totals == pytest.approx(np.ones(len(deals))), model


@given(
    st.lists(st.floats(min_value=0, max_value=1e9), min_size=1, max_size=30),
    st.integers(min_value=1, max_value=10**9),
)
def test_apportioned_parts_add_up_and_stay_near(amounts: list[float], units: int) -> None:
    parts = apportioned(amounts, units / 100, 2)
    if sum(amounts) <= 0:
        assert not parts.any()
        return
    assert round(parts.sum() * 100) == units
    exact = np.array(amounts) / sum(amounts) * units / 100
    assert np.abs(parts - exact).max() <= 0.0101


# velocity


def change(number: int, day: float, to: str, source: str | None = None) -> dict[str, Any]:
    return {
        "deal_id": f"d{number:04d}",
        "from_stage": source,
        "to_stage": to,
        "changed_at": AS_OF - 60 * DAY + dt.timedelta(days=day),
    }


def test_time_in_stages_of_won_lost_and_stalled_deals() -> None:
    deals, changes = [], []
    for i in range(10):  # won: i + 1 days in the first stage, 20 in the second
        deals.append(deal(i))
        changes += [
            change(i, 0, "qualification"),
            change(i, i + 1, "proposal", "qualification"),
            change(i, i + 21, "closed_won", "proposal"),
        ]
    for i in range(100, 112):  # lost in the first stage after 30 days; only the leaving is known
        deals.append(lost(i))
        changes.append(change(i, 30, "closed_lost", "qualification"))
    # Open since 60 days without any change, and open since 2 days: only the first stands still.
    deals.append(open_deal(300))
    deals.append(open_deal(301, created_at=AS_OF - 2 * DAY))
    # Old open deals stand still too, though they are of no cohort of today.
    deals.append(open_deal(302, created_at=AS_OF - 300 * DAY))
    block = pattern(deals=deals, deal_stages=changes).velocity
    assert block is not None
    assert block.sample_size == 42
    first, second = block.stage_velocity
    assert (first.stage, first.won_count, first.lost_count) == ("qualification", 10, 12)
    assert (first.avg_days_won, first.median_days_won) == (5.5, 5.5)
    assert (first.avg_days_lost, first.median_days_lost) == (30.0, 30.0)
    assert (second.stage, second.avg_days_won, second.avg_days_lost) == ("proposal", 20.0, None)
    usual = float(np.quantile(np.arange(1, 11), 0.9))
    assert [(d.deal_id, d.days_in_stage) for d in block.stalled_deals] == [
        ("d0302", 300.0),
        ("d0300", 60.0),
    ]
    assert {d.usual_days for d in block.stalled_deals} == {round(usual, 2)}


def test_a_stage_passed_twice_lasts_the_sum() -> None:
    data = dataset(
        deals=[deal(1)],
        deal_stages=[
            change(1, 0, "proposal"),
            change(1, 3, "negotiation", "proposal"),
            change(1, 4, "negotiation", "negotiation"),
            change(1, 5, "proposal", "negotiation"),
            change(1, 9, "closed_won", "proposal"),
        ],
    )
    spans = stage_spans(data.deal_stages, data.deals)
    assert spans.select(
        "stage", days=(pl.col("left_at") - pl.col("entered_at")).dt.total_days()
    ).rows() == [("proposal", 3), ("negotiation", 2), ("proposal", 4)]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("changes", "days"),
    [
        # Proposal and negotiation on one evening, then 30 days of negotiation.
        (
            [(0, None, "qualification"), (10, "qualification", "proposal"),
             (10, "proposal", "negotiation"), (40, "negotiation", "closed_won")],
            [("qualification", 10), ("proposal", 0), ("negotiation", 30)],
        ),
        # The same when only what was left is known, at the deal's first changes.
        (
            [(10, "qualification", "proposal"), (10, "proposal", "negotiation"),
             (40, "negotiation", "closed_won")],
            [("qualification", 10), ("proposal", 0), ("negotiation", 30)],
        ),
        # Back and forth, written down twice: the deal is where it was.
        (
            [(0, None, "negotiation"), (5, "proposal", "negotiation"),
             (5, "negotiation", "proposal"), (5, "negotiation", "proposal"),
             (9, "negotiation", "closed_won")],
            [("negotiation", 5), ("proposal", 0), ("negotiation", 4)],
        ),
        # A detour comes before the stage that nothing leads out of, instant after instant.
        (
            [(0, None, "negotiation"), (0, "negotiation", "contract_sent"),
             (7, "contract_sent", "proposal"), (7, "contract_sent", "verbal_commit"),
             (7, "verbal_commit", "contract_sent"), (8, "proposal", "closed_won")],
            [("negotiation", 0), ("contract_sent", 7), ("verbal_commit", 0),
             ("contract_sent", 0), ("proposal", 1)],
        ),
        # No chain: as the pipeline goes.
        (
            [(0, None, "negotiation"), (0, None, "proposal"), (3, "negotiation", "closed_won")],
            [("proposal", 0), ("negotiation", 3)],
        ),
    ],
)  # fmt: skip
def test_changes_of_one_instant_follow_on_one_another(
    changes: list[tuple[float, str | None, str]], days: list[tuple[str, int]], seed: int
) -> None:
    data = dataset(deals=[deal(1)], deal_stages=[change(1, d, to, fr) for d, fr, to in changes])
    spans = stage_spans(shuffled(data, seed).deal_stages, data.deals)
    found = spans.select("stage", (pl.col("left_at") - pl.col("entered_at")).dt.total_days())
    assert found.rows() == days


def test_a_stalled_deal_stands_in_the_last_stage_of_its_instant() -> None:
    usual = [
        (0, None, "qualification"), (10, "qualification", "proposal"),
        (20, "proposal", "negotiation"), (40, "negotiation", "closed_won"),
    ]  # fmt: skip
    changes = [change(i, d, to, fr) for i in range(20) for d, fr, to in usual]
    changes += [change(99, 30, to, fr) for _, fr, to in usual[:3]]
    deals = [*(deal(i) for i in range(20)), open_deal(99, created_at=AS_OF - 30 * DAY)]
    block = pattern(deals=deals, deal_stages=changes).velocity
    assert block is not None
    (stalled,) = block.stalled_deals
    assert (stalled.deal_id, stalled.stage, stalled.days_in_stage) == ("d0099", "negotiation", 30)


def test_deals_that_drag_on_are_told() -> None:
    rows = [
        *(deal(i, closed_at=AS_OF - 50 * DAY) for i in range(60)),
        *(lost(100 + i) for i in range(60)),
    ]
    changes = [change(i, 5, "closed_won", "qualification") for i in range(60)]
    block = pattern(deals=rows, deal_stages=changes).velocity
    assert block is not None
    (insight,) = block.insights
    assert insight.type == "velocity_indicator"
    assert insight.figures["median_days_to_win"] == 10.0
    assert insight.figures["median_days_to_lose"] == 40.0


# what the pattern says of itself


def test_confidence_is_that_of_the_smallest_block() -> None:
    rows = [meeting(i, showed_up=i % 2 == 0) for i in range(600)]
    deals = [(deal if i % 2 else lost)(i, meeting_id=f"m{i:04d}") for i in range(0, 600, 20)] + [
        deal(700 + i) for i in range(10)
    ]
    found = pattern(meetings=rows, deals=deals)
    assert found.show_rate is not None
    assert found.meeting_to_deal is not None
    assert found.win_rate is not None
    blocks = [found.show_rate.estimate, found.meeting_to_deal.estimate, found.win_rate.estimate]
    by_block = [confidence(e.sample, e.converted) for e in blocks if e is not None]
    assert found.envelope.confidence == round(min(by_block), 4) < max(by_block)
    assert (found.envelope.unit, found.envelope.sample_size) == ("meetings", 600)
    assert found.envelope.baseline_conversion_rate == 0.5


def test_deals_alone_are_enough() -> None:
    found = pattern(deals=[(deal if i % 2 else lost)(i) for i in range(20)])
    assert (found.envelope.unit, found.envelope.sample_size) == ("deals", 20)
    assert found.win_rate is not None
    assert found.show_rate is None
    status = {b.block: b.status for b in found.envelope.blocks}
    assert status["show_rate"] is PatternStatus.INSUFFICIENT_DATA
    assert status["win_rate"] is PatternStatus.OK


def test_nineteen_of_either_are_not() -> None:
    with pytest.raises(InsufficientData, match="20 of either needed") as caught:
        pattern(meetings=[meeting(i) for i in range(19)], deals=[deal(i) for i in range(19)])
    assert (caught.value.sample, caught.value.converted) == (19, 19)
    with pytest.raises(InsufficientData):
        pattern()


def test_one_failing_block_leaves_the_others() -> None:
    data = with_pipeline(outreach(seed=3, leads=2000))
    whole = detect_funnel(data)
    broken = detect_funnel(replace(data, deal_stages=data.deal_stages.drop("changed_at")))
    status = {b.block: b.status for b in broken.envelope.blocks}
    assert status.pop("velocity") is PatternStatus.ERROR
    assert set(status.values()) == {PatternStatus.OK}
    assert broken.velocity is None
    assert broken.show_rate == whole.show_rate
    broken = detect_funnel(replace(data, meetings=data.meetings.drop("confirmed")))
    status = {b.block: b.status for b in broken.envelope.blocks}
    assert status.pop("show_rate") is PatternStatus.ERROR
    assert set(status.values()) == {PatternStatus.OK}
