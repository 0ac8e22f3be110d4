"""What is logged under exploration is what was drawn, and it tells what a policy is worth."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from explored_choices import (
    CONTEXTS,
    SHARE,
    channel_records,
    chi_square,
    planted_decisions,
    timing_records,
    true_values,
    with_best,
)
from serving_fakes import NOW

from cis_server.domain.live_state import DecisionRecord
from cis_server.learning.policy_value import policy_values

AS_OF = NOW + dt.timedelta(days=90)


@pytest.fixture(scope="module")
def channels() -> list[DecisionRecord]:
    return channel_records(10_000)


@pytest.fixture(scope="module")
def timings() -> list[DecisionRecord]:
    return timing_records(10_000)


def test_every_option_is_logged_with_its_propensity(
    channels: list[DecisionRecord], timings: list[DecisionRecord]
) -> None:
    for record in (*channels, *timings):
        options = {option.choice: option for option in record.options}
        assert sum(option.propensity for option in record.options) == pytest.approx(1.0)
        assert record.propensity == options[record.choice].propensity
        (best,) = [option for option in record.options if option.best]
        assert best.propensity >= 1.0 - SHARE
    assert len({record.decision_id for record in (*channels, *timings)}) == 20_000


def test_choices_are_drawn_with_the_logged_propensities(
    channels: list[DecisionRecord], timings: list[DecisionRecord]
) -> None:
    for records in (channels, timings):
        assert chi_square(records) > 0.001
        explored = sum(
            not next(o for o in record.options if o.choice == record.choice).best
            for record in records
        )
        assert 0.01 < explored / len(records) < SHARE


def test_a_wrong_log_would_be_noticed(channels: list[DecisionRecord]) -> None:
    import dataclasses

    wrong = [
        dataclasses.replace(
            record,
            options=tuple(
                dataclasses.replace(option, propensity=1.0 / len(record.options))
                for option in record.options
            ),
        )
        for record in channels
    ]
    assert chi_square(wrong) < 1e-12


def test_the_estimate_covers_the_planted_values() -> None:
    seeds = 60
    contexts = with_best(channel_records(len(CONTEXTS)))
    current, best = true_values(contexts)
    assert best > 1.2 * current
    covered = {"current": 0, "best": 0, "gain": 0}
    for seed in range(seeds):
        decisions = planted_decisions(contexts, seed, leads=400, touches=3)
        (found,) = policy_values(decisions, AS_OF, 30.0).outcomes
        assert found.gain_low is not None
        assert found.gain_high is not None
        covered["current"] += found.current_low <= current <= found.current_high
        covered["best"] += found.best_low <= best <= found.best_high
        covered["gain"] += found.gain_low <= best - current <= found.gain_high
    # 90 % intervals; 60 seeds leave a standard error of 4 %.
    for name, count in covered.items():
        assert count / seeds >= 0.83, (name, count / seeds)


def row(**changes: object) -> dict[str, object]:
    return {
        "decision_id": "d1",
        "kind": "channel",
        "decided_at": NOW,
        "choice": "email",
        "propensity": 0.9,
        "best": "email",
        "best_propensity": 0.9,
        "activity_id": "a1",
        "lead_id": "l1",
        "channel": "email",
        "occurred_at": NOW,
        "converting": False,
        **changes,
    }


def test_only_what_was_followed_and_is_old_enough_counts() -> None:
    rows = [
        row(converting=True),
        row(decision_id="d2", activity_id="a2", lead_id="l2"),
        row(decision_id="d3", activity_id="a3", channel="voice"),  # another channel was taken
        row(decision_id="d4", activity_id=None, lead_id=None, channel=None, occurred_at=None),
        row(decision_id="d5", activity_id="a5", occurred_at=AS_OF - dt.timedelta(days=2)),
        row(decision_id="d6", kind="timing", choice=NOW.isoformat()),
        row(
            decision_id="d7",
            kind="timing",
            choice=(NOW - dt.timedelta(days=1)).isoformat(),  # sent a day too late
        ),
        row(decision_id="d8", kind="sequence", choice="email,voice", best="email,voice"),
        row(
            decision_id="d8",
            kind="sequence",
            choice="email,voice",
            best="email,voice",
            activity_id="a9",
            channel="voice",
            converting=True,
        ),
    ]
    found = {each.kind: each for each in policy_values(pl.DataFrame(rows), AS_OF, 30.0).outcomes}
    channel = found["channel"]
    assert (channel.decisions, channel.followed, channel.judged) == (5, 3, 2)
    assert channel.current_value == pytest.approx(0.5)
    assert "nothing was explored" in channel.warning
    assert (found["timing"].decisions, found["timing"].judged) == (2, 1)
    assert (found["sequence"].judged, found["sequence"].converted) == (1, 1)


def test_without_exploration_it_says_so() -> None:
    empty = pl.DataFrame([row()]).clear()
    report = policy_values(empty, AS_OF, 30.0)
    assert report.outcomes == ()
    assert "exploration_share" in report.note
