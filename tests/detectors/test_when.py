"""WHEN: days, hours, waiting times and touches, judged by what the touch achieves."""

import datetime as dt
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from detector_frames import AS_OF, START, dataset, outreach
from lifelines import KaplanMeierFitter

from cis_server.detectors import InsufficientData, detect_when
from cis_server.detectors.how import detect_how
from cis_server.domain.patterns import WhenPattern
from cis_server.domain.vocabulary import PatternStatus, Verdict


def status(pattern: WhenPattern, name: str) -> PatternStatus:
    return next(b.status for b in pattern.envelope.blocks if b.block == name)


def near(hour: np.ndarray, *peak: int) -> np.ndarray:
    return np.isin(hour, peak)


def test_a_peak_around_midnight_is_found_at_midnight() -> None:
    data = outreach(
        seed=1,
        leads=4000,
        hours=range(24),
        hazard=0.01,
        hour_effect=lambda _day, hour: np.where(near(hour, 23, 0, 1), 5.0, 1.0),
    )
    pattern = detect_when(data)
    winners = {h.hour for h in pattern.best_hours if h.segment.verdict is Verdict.WINNING}
    assert winners == {23, 0, 1}
    assert pattern.surface is not None
    by_hour = np.array(pattern.surface.rate).reshape(7, 24).mean(axis=0)
    assert set(np.argsort(by_hour)[-3:]) == {23, 0, 1}
    assert by_hour[12] < by_hour[0] / 2
    assert pattern.surface.bandwidth_hours > 0
    assert pattern.coverage.hour == 1.0


def test_nothing_wins_where_nothing_matters() -> None:
    with_winner = 0
    for seed in range(40):
        pattern = detect_when(outreach(seed=seed, leads=800))
        everything = [*pattern.best_days, *pattern.best_hours] + [
            rate for c in pattern.by_channel for rate in (*c.best_days, *c.best_hours)
        ]
        with_winner += any(r.segment.verdict is Verdict.WINNING for r in everything)
        with_winner += any(gap.learned for gap in pattern.sequence_gaps)
    assert with_winner <= 7


@pytest.mark.parametrize("zone", ["Australia/Sydney", "Australia/Perth", "America/New_York"])
def test_monday_is_monday_on_both_sides_of_daylight_saving(zone: str) -> None:
    home = ZoneInfo(zone)
    touches, leads = [], []
    for i in range(400):
        # 26 Mondays at nine, local: summer time begins and ends within in Sydney and New York.
        local = dt.datetime(2025, 9, 8, 9, tzinfo=home) + dt.timedelta(weeks=i % 24)
        at = local.astimezone(dt.UTC)
        won = i % 8 == 0
        leads.append(
            {
                "lead_id": f"l{i}",
                "status": "converted" if won else "exhausted",
                "converted_at": at + dt.timedelta(hours=5) if won else None,
            }
        )
        touches.append(
            {
                "activity_id": f"a{i}",
                "lead_id": f"l{i}",
                "channel": "email",
                "action": "sent",
                "occurred_at": at,
                "time_precision": "instant",
                "lead_timezone": zone,
                "local_weekday": at.astimezone(home).isoweekday(),
                "local_hour": at.astimezone(home).hour,
                "converting": won,
            }
        )
    pattern = detect_when(dataset(leads=leads, activities=touches))
    assert [(d.day, d.day_of_week) for d in pattern.best_days] == [("monday", 1)]
    assert [h.hour for h in pattern.best_hours] == [9]
    assert pattern.timezone_insights is not None
    assert pattern.timezone_insights.by_timezone[0].avg_send_hour_local == 9.0


def test_every_weekday_has_its_iso_name() -> None:
    pattern = detect_when(outreach(seed=3, leads=500))
    names = {d.day_of_week: d.day for d in pattern.best_days}
    assert names == {
        1: "monday",
        2: "tuesday",
        3: "wednesday",
        4: "thursday",
        5: "friday",
        6: "saturday",
        7: "sunday",
    }


def test_a_constant_hazard_comes_out_flat_although_few_reach_the_last_touch() -> None:
    pattern = detect_when(outreach(seed=4, leads=6000, hazard=0.2, touches=6))
    hazards = [t.hazard.adjusted_rate for t in pattern.touch_hazard]
    assert len(hazards) == 6
    assert hazards == pytest.approx([0.2] * 6, abs=0.02)
    at_risk = [t.at_risk for t in pattern.touch_hazard]
    assert at_risk == sorted(at_risk, reverse=True)
    shares = pattern.converting_touch_distribution
    assert shares["touch_1"] > 2 * shares["touch_6"]
    assert sum(round(share * 10_000) for share in shares.values()) == 10_000
    assert pattern.peak_converting_touch == 1
    expected = [0.2 * 0.8**t for t in range(6)]
    assert [t.marginal_value for t in pattern.touch_hazard] == pytest.approx(expected, abs=0.015)
    for touch in pattern.touch_hazard:
        assert touch.marginal_low < touch.marginal_value < touch.marginal_high


def test_the_tenth_touch_stands_for_all_later_ones() -> None:
    pattern = detect_when(outreach(seed=4, leads=2000, hazard=0.03, touches=15))
    assert [t.touch_number for t in pattern.touch_hazard] == list(range(1, 11))
    last = pattern.touch_hazard[-1]
    assert last.hazard.adjusted_rate == pytest.approx(0.03, abs=0.01)
    assert last.at_risk > 4 * pattern.touch_hazard[8].at_risk
    share = pattern.converting_touch_distribution["touch_10_plus"]
    assert share == max(pattern.converting_touch_distribution.values())
    assert pattern.peak_converting_touch == 10
    assert last.converted == round(share * sum(t.converted for t in pattern.touch_hazard))


def test_gaps_are_not_those_of_the_quick_winners() -> None:
    """A wait of four days works best, but winners answered early, after short waits."""
    data = outreach(
        seed=5,
        leads=8000,
        hazard=0.03,
        gaps=(1, 8),
        gap_effect=lambda touch, gap: np.where((touch == 3) & (gap == 4), 4.0, 1.0),
    )
    pattern = detect_when(data)
    gap = next(g for g in pattern.sequence_gaps if g.from_touch == 2)
    assert gap.learned
    assert (gap.gap_days, gap.min_days, gap.max_days) == (4.0, 4.0, 4.99)
    best = max(gap.rates, key=lambda rate: rate.estimate.adjusted_rate)
    assert (best.gap_days_min, best.gap_days_max) == (4, 4)
    others = {g.from_touch: g for g in pattern.sequence_gaps if g.from_touch != 2}
    assert not any(g.learned for g in others.values())
    assert pattern.optimal_sequence_gaps == {
        "touch_1_to_2": 2.0,
        "touch_2_to_3": 4.0,
        "touch_3_to_4": 4.0,
        "touch_4_to_5": 5.0,
        "touch_5_to_6": 7.0,
    }


@pytest.mark.parametrize(("later", "planned"), [(0.48, 4.48), (0.999, 4.99)])
def test_a_learned_gap_lies_in_its_own_interval(later: float, planned: float) -> None:
    data = outreach(
        seed=5,
        leads=8000,
        hazard=0.03,
        gaps=(1, 8),
        gap_effect=lambda touch, gap: np.where((touch == 3) & (gap == 4), 4.0, 1.0),
    )
    by_the_clock = data.activities.with_columns(gap_days=pl.col("gap_days") + later)
    gap = detect_when(replace(data, activities=by_the_clock)).sequence_gaps[1]
    assert gap.learned
    assert (gap.min_days, gap.gap_days, gap.max_days) == (4.0, planned, 4.99)


def test_no_gap_is_learned_that_may_not_be_planned() -> None:
    data = outreach(
        seed=5,
        leads=8000,
        hazard=0.03,
        gaps=(1, 8),
        gap_effect=lambda touch, gap: np.where((touch == 3) & (gap == 1), 4.0, 1.0),
    )
    gap = detect_when(data).sequence_gaps[1]
    best = max(gap.rates, key=lambda rate: rate.estimate.adjusted_rate)
    assert (best.gap_days_min, best.gap_days_max) == (0, 1)
    assert (gap.learned, gap.gap_days) == (False, 3.0)


def test_a_coarse_touch_of_another_campaign_hides_no_gap() -> None:
    data = outreach(seed=5, leads=400, hazard=0.05, touches=2)
    between = data.activities.filter(pl.col("touch_number") == 2).with_columns(
        activity_id=pl.col("activity_id") + ".other",
        occurred_at=pl.col("occurred_at") - pl.duration(hours=1),
        touch_number=pl.lit(1, dtype=pl.Int64),
        gap_days=pl.lit(None, dtype=pl.Float64),
        time_precision=pl.lit("month"),
        converting=False,
    )
    alone, beside = (
        detect_when(replace(data, activities=activities)).sequence_gaps[0].sample
        for activities in (data.activities, pl.concat([data.activities, between]))
    )
    assert alone == beside > 300


def test_weekdays_without_hours_give_days_and_no_hours_and_no_gaps() -> None:
    data = outreach(
        seed=6,
        leads=4000,
        precision="weekday",
        hour_effect=lambda day, _hour: np.where(day == 2, 3.0, 1.0),
    )
    pattern = detect_when(data)
    assert pattern.best_days[0].day == "tuesday"
    assert pattern.best_days[0].segment.verdict is Verdict.WINNING
    assert pattern.best_hours == ()
    assert pattern.surface is None
    assert not any(gap.learned or gap.rates for gap in pattern.sequence_gaps)
    assert pattern.conversion_timing is None
    assert status(pattern, "best_days") is PatternStatus.OK
    assert status(pattern, "best_hours") is PatternStatus.INSUFFICIENT_DATA
    assert status(pattern, "surface") is PatternStatus.INSUFFICIENT_DATA
    assert (pattern.coverage.hour, pattern.coverage.weekday, pattern.coverage.gap) == (0, 1, 0)
    assert all(not c.best_hours and c.surface is None for c in pattern.by_channel)


def test_unknown_zones_are_left_out_and_reported() -> None:
    data = outreach(seed=7, leads=1000)
    half = pl.int_range(pl.len()) % 2 == 0
    activities = data.activities.with_columns(
        pl.when(half).then(pl.col(name)).alias(name)
        for name in ("lead_timezone", "local_hour", "local_weekday")
    )
    pattern = detect_when(replace(data, activities=activities))
    assert pattern.coverage.timezone == pytest.approx(0.5, abs=0.01)
    assert (
        sum(h.segment.estimate.sample for h in pattern.best_hours)
        == activities.select(pl.col("local_hour").is_not_null().sum()).item()
    )
    assert pattern.timezone_insights is not None
    assert pattern.timezone_insights.timezone_coverage == pytest.approx(0.5, abs=0.01)


def test_a_thin_channel_follows_the_others() -> None:
    rng = np.random.default_rng(8)
    plan = rng.choice(np.array(["email", "voice"]), size=(6000, 5), p=[0.97, 0.03])
    data = outreach(
        seed=8,
        leads=6000,
        plan=lambda _rng, _lead: plan,
        hour_effect=lambda _day, hour: np.where(near(hour, 10), 3.0, 1.0),
    )
    timing = {c.channel: c for c in detect_when(data).by_channel}
    voice = {h.hour: h.segment.estimate for h in timing["voice"].best_hours}
    assert timing["voice"].sample < 1000
    # Its hundred touches per hour alone could not tell the hours apart.
    assert timing["voice"].best_hours[0].hour == 10
    others = np.mean([voice[hour].adjusted_rate for hour in (9, 11, 12, 13)])
    assert voice[10].adjusted_rate > 1.5 * others
    email = {h.hour: h.segment.estimate for h in timing["email"].best_hours}
    assert email[10].high - email[10].low < voice[10].high - voice[10].low
    assert timing["voice"].surface is not None


def test_only_opens_and_clicks_by_people_count() -> None:
    data = outreach(seed=9, leads=400, channels=("email",), hazard=0.05)
    row = pl.int_range(pl.len())
    activities = data.activities.with_columns(
        machine_open=row % 4 == 1,
        human_opened_at=pl.when(row % 4 == 0).then(
            pl.col("occurred_at") + pl.duration(minutes=30 + 60 * (row % 8 == 0).cast(pl.Int64))
        ),
        human_clicked_at=pl.when(row % 8 == 0).then(
            pl.col("occurred_at") + pl.duration(minutes=120)
        ),
    ).with_columns(
        minutes_to_open=(pl.col("human_opened_at") - pl.col("occurred_at")).dt.total_seconds() / 60,
        minutes_to_click=(pl.col("human_clicked_at") - pl.col("occurred_at")).dt.total_seconds()
        / 60,
    )
    found = detect_when(replace(data, activities=activities)).engagement_timing
    assert found is not None
    assert found.sample == activities.height
    assert found.open_rate == pytest.approx(0.25, abs=0.001)
    assert found.click_rate == pytest.approx(0.125, abs=0.001)
    assert found.click_to_open_rate == pytest.approx(0.5, abs=0.01)
    assert found.machine_open_share == pytest.approx(0.5, abs=0.01)
    assert found.avg_time_to_open_minutes == pytest.approx(60, abs=0.5)
    assert found.median_open_to_click_minutes == 30
    assert found.median_time_to_click_minutes == 120


def test_clicks_without_an_open_leave_click_to_open_a_share() -> None:
    """Of four mails: one clicked with images blocked, one opened, one opened and clicked."""
    data = outreach(seed=9, leads=400, channels=("email",), hazard=0.05)
    lead, later = pl.col("lead_id").str.slice(5).cast(pl.Int64) % 4, pl.duration(minutes=30)
    activities = data.activities.with_columns(
        human_opened_at=pl.when(lead > 1).then(pl.col("occurred_at") + later),
        human_clicked_at=pl.when(lead % 2 == 1).then(pl.col("occurred_at") + later),
    )
    data = replace(data, activities=activities)
    timing = detect_when(data).engagement_timing
    leads = detect_how(data).email_engagement_correlation
    assert timing is not None
    assert leads is not None
    assert timing.click_rate == pytest.approx(0.5, abs=0.05)
    assert timing.click_to_open_rate == pytest.approx(0.5, abs=0.05)
    assert leads.click_to_open_rate == pytest.approx(0.5, abs=0.05)


def test_zones_and_timing_count_opens_up_to_the_conversion() -> None:
    data = outreach(seed=9, leads=400, channels=("email",), hazard=0.1)
    opened = pl.col("occurred_at") + pl.duration(days=3)
    activities = data.activities.with_columns(
        lead_timezone=pl.lit("Australia/Perth"),
        human_opened_at=pl.when("converting").then(opened),
        human_clicked_at=opened,
        minutes_to_open=pl.when("converting").then(3 * 1440.0),
    )
    found = detect_when(replace(data, activities=activities))
    timing, zones = found.engagement_timing, found.timezone_insights
    assert timing is not None
    assert zones is not None
    (zone,) = zones.by_timezone
    # A lead converts a day after the touch that does it.
    assert (zone.open_rate, zone.avg_time_to_open_minutes) == (0.0, None)
    assert zone.open_rate == timing.open_rate
    assert zone.click_rate == timing.click_rate < 1


def test_conversion_timing_is_kaplan_meier_with_open_leads_censored() -> None:
    rng = np.random.default_rng(10)
    leads, touches = [], []
    for i in range(800):
        first = START + dt.timedelta(days=float(rng.uniform(1, 170)))
        delay = float(rng.exponential(15)) if rng.random() < 0.4 else 1e9
        done = delay < 1e6 and first + dt.timedelta(days=delay) <= AS_OF
        won_at = first + dt.timedelta(days=delay) if done else None
        leads.append(
            {
                "lead_id": f"l{i}",
                "status": "converted" if done else "in_sequence",
                "converted_at": won_at,
                "first_contacted_at": first,
            }
        )
        touches.append(
            {
                "activity_id": f"a{i}",
                "lead_id": f"l{i}",
                "channel": "email",
                "action": "sent",
                "occurred_at": first,
                "time_precision": "instant",
                "converting": done,
            }
        )
    found = detect_when(dataset(leads=leads, activities=touches)).conversion_timing
    assert found is not None
    days = np.array(
        [
            ((r["converted_at"] or AS_OF) - r["first_contacted_at"]) / dt.timedelta(days=1)
            for r in leads
        ]
    )
    won = np.array([r["converted_at"] is not None for r in leads])
    curve = 1 - KaplanMeierFitter().fit(days, won).survival_function_["KM_estimate"]
    for share, figure in (
        (0.5, found.percentile_50),
        (0.8, found.percentile_80),
        (0.95, found.percentile_95),
    ):
        assert figure == pytest.approx(
            curve.index[curve >= share * curve.max() - 1e-12][0], abs=0.01
        )
    assert found.avg_days_to_convert == pytest.approx(days[won].mean(), abs=0.01)
    assert (found.sample, found.converted) == (800, int(won.sum()))
    assert found.percentile_80 > found.percentile_50


def test_too_few_touches_are_a_finding() -> None:
    with pytest.raises(InsufficientData, match="touches with an outcome"):
        detect_when(outreach(seed=1, leads=4, hazard=0.0))


def test_a_peak_of_one_day_is_found() -> None:
    thursdays = outreach(
        seed=11, leads=3000, hour_effect=lambda day, _hour: np.where(day == 4, 2.5, 1.0)
    )
    best = detect_when(thursdays).best_days[0]
    assert (best.day, best.segment.verdict) == ("thursday", Verdict.WINNING)
