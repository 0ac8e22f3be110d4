"""FUNNEL against planted truth: what the simulator plants is found, nothing else is."""

import datetime as dt
import json
import time
from functools import cache

import pytest

from cis_server.demo.dataset import to_dataset
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec, Outreach
from cis_server.demo.truth import DealEffects, Effects, ShowEffects, WeekPeak
from cis_server.detectors.funnel import detect_funnel
from cis_server.detectors.outcomes import population
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.funnel_pattern import FunnelPattern
from cis_server.domain.vocabulary import PatternStatus, Verdict

AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)
WINDOW = Window(start=AS_OF - dt.timedelta(days=180), as_of=AS_OF)
CAUSES = Effects(
    show=ShowEffects(
        confirmed=1.2,
        reminder=1.0,
        rescheduled=-1.0,
        per_week_ahead=-0.4,
        peaks=(WeekPeak(hour=10, log_odds=1.2),),
    ),
    deals=DealEffects(
        first_channels={"linkedin": 1.5},
        per_touch=-0.4,
        good_meeting=1.2,
        lost_reasons={"no_budget": 5.0},
    ),
)


@cache
def data(leads: int, seed: int, planted: bool) -> Dataset:
    spec = ClientSpec(
        client_id="acme",
        leads=leads,
        base_rate=0.13,
        outreach=Outreach(history_days=190),
        effects=CAUSES if planted else Effects(),
    )
    return to_dataset(simulate([spec], seed, AS_OF), "acme", WINDOW)


@cache
def planted() -> FunnelPattern:
    return detect_funnel(data(12_000, 1, True))


def test_causes_of_attendance_are_found() -> None:
    shows = planted().show_rate
    assert shows is not None
    assert shows.best_hour in (9, 10, 11)
    assert shows.best_day is None
    for effect, verdict in (
        (shows.confirmation_effect, Verdict.WINNING),
        (shows.reminder_effect, Verdict.WINNING),
        (shows.reschedule_effect, Verdict.LOSING),
    ):
        assert effect is not None
        assert effect.verdict is verdict
    far = next(s for s in shows.by_days_ahead if s.value == "15+")
    assert far.verdict is Verdict.LOSING
    assert {insight.type for insight in shows.insights} == {
        "confirmation_impact", "reminder_impact", "reschedule_risk",
    }  # fmt: skip
    # 5 % of attendances are never written down.
    assert shows.unknown_attendance_share == pytest.approx(0.05, abs=0.02)


def test_causes_of_deals_and_losses_are_found() -> None:
    found = planted()
    assert found.meeting_to_deal is not None
    assert "outcome_impact" in {insight.type for insight in found.meeting_to_deal.insights}
    wins = found.win_rate
    assert wins is not None
    winners = {s.value for s in wins.by_first_channel if s.verdict is Verdict.WINNING}
    assert winners == {"linkedin"}
    assert wins.by_touches[0].value == "1"
    assert found.lost_deals is not None
    assert found.lost_deals.top_reasons[0].reason == "no_budget"
    assert found.velocity is not None
    # Lost deals take 45 days, won ones 28.
    assert {insight.type for insight in found.velocity.insights} == {"velocity_indicator"}
    assert found.velocity.stalled_deals


def test_figures_are_those_planted() -> None:
    found = planted()
    assert found.show_rate is not None
    assert found.show_rate.overall_rate == pytest.approx(0.72, abs=0.04)
    assert found.meeting_to_deal is not None
    assert found.meeting_to_deal.meeting_to_deal_rate == pytest.approx(0.55, abs=0.05)
    wins = found.win_rate
    assert wins is not None
    assert wins.eventual_win_rate is not None
    assert wins.eventual_win_rate == pytest.approx(0.35, abs=0.06)
    # Won deals close sooner, so the closed ones hold too many of them.
    assert wins.win_rate is not None
    assert wins.win_rate > wins.eventual_win_rate


def test_every_share_of_revenue_adds_to_one() -> None:
    revenue = planted().channel_attribution
    assert revenue is not None
    lists = [revenue.channels, *revenue.models.values()]
    assert len(lists) == 5
    for entries in lists:
        assert sum(round(1e6 * entry.revenue_share) for entry in entries) == 1_000_000
    assert 0 < revenue.traced_revenue <= revenue.total_revenue


def test_noise_makes_no_winner_and_no_story() -> None:
    """The deals' own times are planted in every simulation; beyond them there is nothing."""
    loud = 0
    for seed in range(8):
        found = detect_funnel(data(3_000, seed, False))
        assert found.show_rate is not None
        assert found.win_rate is not None
        assert found.meeting_to_deal is not None
        stories = (found.show_rate, found.win_rate, found.meeting_to_deal)
        text = json.dumps([block.to_json() for block in stories])
        loud += '"winning"' in text or '"losing"' in text
        if '"winning"' not in text and '"losing"' not in text:
            assert all(not block.insights for block in stories)
    assert loud <= 2  # expected share: at most 10 %


def test_no_block_of_simulated_outreach_fails() -> None:
    assert {b.status for b in planted().envelope.blocks} == {PatternStatus.OK}


@pytest.mark.slow
def test_a_hundred_thousand_leads_take_less_than_a_second() -> None:
    full = data(100_000, 2, True)
    run = population(full, DetectorSettings())
    began = time.process_time()
    detect_funnel(full, run=run)
    assert time.process_time() - began < 2  # .15 s; of all cores, and of a busy machine
