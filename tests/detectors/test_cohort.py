"""Lead-level rates are those of a cohort: what was tried lately is not mistaken for what works."""

import datetime as dt
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from detector_frames import AS_OF, START, dataset
from hypothesis import given
from hypothesis import strategies as st

from cis_server.detectors import (
    DetectorSettings,
    InsufficientData,
    detect_how,
    detect_when,
    detect_who,
)
from cis_server.detectors.outcomes import Population, population
from cis_server.domain.dataset import Dataset
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import Verdict

SETTINGS = DetectorSettings()
RATE = 0.08
STEPS = (0, 3, 7, 12, 19)
SETS = 20


def days(number: float) -> dt.timedelta:
    return dt.timedelta(days=number)


def outcomes(*leads: tuple[float, float | None]) -> Population:
    """Leads as (days ago of the one touch, days until the conversion)."""
    rows, touches = [], []
    for number, (age, delay) in enumerate(leads):
        contact = AS_OF - days(age)
        won_at = None if delay is None else contact + days(delay)
        won = won_at is not None and won_at <= AS_OF
        rows.append(
            {
                "lead_id": f"{number:04d}",
                "status": "converted" if won else "in_sequence",
                "converted_at": won_at,
            }
        )
        touches.append(
            {
                "activity_id": f"{number:04d}-1",
                "lead_id": f"{number:04d}",
                "channel": "email",
                "action": "sent",
                "occurred_at": contact,
                "time_precision": "instant",
                "converting": won,
            }
        )
    return population(dataset(leads=rows, activities=touches), SETTINGS)


def counted(run: Population) -> dict[str, bool]:
    return dict(run.resolved_leads.select("lead_id", "converted").iter_rows())


def test_who_is_still_open_after_the_follow_up_has_not_converted() -> None:
    run = outcomes((40, None), (30, None), (40, 5))
    assert run.leads["label"].to_list() == ["open", "open", "converted"]
    assert counted(run) == {"0000": False, "0001": False, "0002": True}


def test_conversions_of_leads_too_young_do_not_count() -> None:
    run = outcomes((29.9, 1), (2, 1), (40, 5))
    assert counted(run) == {"0002": True}
    assert run.excluded["first contacted in the last 30 days"] == 2
    # Neither do those that have not happened yet.
    assert counted(outcomes((40, 41))) == {"0000": False}


def test_too_few_old_leads_are_a_finding_that_says_where_the_others_went() -> None:
    data = lately(0, since=30)
    young = data.leads.filter(pl.col("first_contacted_at") > AS_OF - days(29))
    with pytest.raises(InsufficientData, match="0 leads with an outcome, 30 needed") as caught:
        detect_who(replace(data, leads=young))
    assert f"{young.height} first contacted in the last 30 days" in caught.value.reason


def test_a_conversion_after_the_follow_up_is_none_within_it() -> None:
    """As for leads contacted 30 days ago, of whom nobody could know it yet."""
    quick = [(150.0, 3.0)] * 20
    assert counted(outcomes(*quick, (100, 30), (100, 31))) == {
        **{f"{i:04d}": True for i in range(21)},
        "0021": False,
    }


@pytest.mark.parametrize(("delay", "expected"), [(1, 30), (44.2, 45), (140, 90)])
def test_the_follow_up_covers_most_conversions_of_a_slow_business(
    delay: float, expected: int
) -> None:
    assert outcomes(*[(170, delay)] * 8, (160, 1), (160, None)).follow_up_days == expected


def test_touches_after_the_follow_up_are_not_held_against_a_lead() -> None:
    ages = (100, 80, 71, 69, 10)
    run = population(
        dataset(
            leads=[{"lead_id": "a", "status": "in_sequence"}],
            activities=[
                {
                    "activity_id": f"a@{age}",
                    "lead_id": "a",
                    "channel": "email",
                    "action": "sent",
                    "occurred_at": AS_OF - days(age),
                    "time_precision": "instant",
                }
                for age in ages
            ],
        ),
        SETTINGS,
    )
    assert run.followed_touches["activity_id"].to_list() == ["a@100", "a@80", "a@71"]
    assert run.resolved_touches["activity_id"].to_list() == ["a@100", "a@80", "a@71", "a@69"]


@given(
    st.lists(
        st.tuples(st.floats(0, 190), st.none() | st.floats(0.01, 120)), min_size=1, max_size=30
    )
)
def test_outcomes_never_decide_who_counts(leads: list[tuple[float, float | None]]) -> None:
    run = outcomes(*leads)
    latest = AS_OF - days(run.follow_up_days)
    members = run.leads.filter(pl.col("contacted_at").is_between(START, latest))
    assert run.resolved_leads["lead_id"].to_list() == members["lead_id"].to_list()
    left_out = sum(run.excluded.values())
    assert run.resolved_leads.height + left_out == len(leads)
    successes = run.followed_touches.filter("success")["lead_id"].to_list()
    assert successes == [lead for lead, won in counted(run).items() if won]


@cache
def lately(seed: int, since: int) -> Dataset:
    """Every lead converts at 8 %, within days; refusals take weeks to be known.

    Half of the leads of the last `since` days are of an industry, and called, that nobody was
    before.
    """
    rng = np.random.default_rng(seed)
    leads, touches = [], []
    for number in range(1500):
        age = float(rng.uniform(0, 90))
        contact = AS_OF - days(age)
        new = age < since and rng.random() < 0.5
        converts, delay = rng.random() < RATE, float(rng.exponential(8)) + 0.5
        at = contact + days(delay)
        won = converts and at <= AS_OF
        done = contact + days(STEPS[-1] + 30)
        declined = not converts and rng.random() < 0.1 and contact + days(3) <= AS_OF
        ended = not converts and done <= AS_OF
        status = "exhausted" if ended else "in_sequence"
        leads.append(
            {
                "lead_id": f"l{number}",
                "status": "converted" if won else "not_interested" if declined else status,
                "industry": "energy" if new else "software",
                "first_contacted_at": contact,
                "converted_at": at if won else None,
                "sequence_completed_at": done - days(30) if ended else None,
                "rejection_reason": "other" if declined else None,
            }
        )
        last = min(at, AS_OF) if converts else AS_OF
        sent = [contact + days(step) for step in STEPS if contact + days(step) <= last]
        touches += [
            {
                "activity_id": f"a{number}-{place}",
                "lead_id": f"l{number}",
                "channel": "voice" if new else "email",
                "action": "sent",
                "occurred_at": moment,
                "time_precision": "instant",
                "touch_number": place,
                "local_weekday": moment.isoweekday(),
                "local_hour": moment.hour,
                "lead_timezone": "UTC",
                "converting": won and place == len(sent),
            }
            for place, moment in enumerate(sent, 1)
        ]
    return dataset(start=AS_OF - days(90), leads=leads, activities=touches)


def found(segments: tuple[SegmentRate, ...], value: str) -> SegmentRate:
    return next(segment for segment in segments if segment.value == value)


def test_an_industry_targeted_only_lately_is_no_winner() -> None:
    segments = [
        found(detect_who(lately(seed, since=60)).industry_rankings, "energy")
        for seed in range(SETS)
    ]
    assert sum(s.verdict is not Verdict.UNDECIDED for s in segments) <= SETS // 10
    estimates: list[RateEstimate] = [s.estimate for s in segments]
    assert sum(not e.low <= RATE <= e.high for e in estimates) <= SETS // 5
    leads = sum(e.sample for e in estimates)
    error = np.sqrt(RATE * (1 - RATE) / leads)
    assert np.mean([e.rate for e in estimates]) == pytest.approx(_within(30), abs=3 * error)
    assert np.mean([e.adjusted_rate for e in estimates]) == pytest.approx(
        _within(30), abs=3 * error
    )


def _within(follow_up: float) -> float:
    """Share that converts within the follow-up: the delay is half a day and an exponential."""
    return float(RATE * (1 - np.exp(-(follow_up - 0.5) / 8)))


def test_an_industry_nobody_has_been_followed_in_has_no_rate() -> None:
    for seed in range(3):
        pattern = detect_who(lately(seed, since=30))
        assert [s.value for s in pattern.industry_rankings] == ["software"]


def test_the_baseline_is_the_true_rate() -> None:
    rates, samples = [], 0
    for seed in range(SETS):
        envelope = detect_who(lately(seed, since=60)).envelope
        rates.append(envelope.baseline_conversion_rate)
        samples += envelope.sample_size
    error = np.sqrt(RATE * (1 - RATE) / samples)
    assert np.mean(rates) == pytest.approx(_within(30), abs=3 * error)


def test_a_channel_used_only_lately_is_no_winner() -> None:
    judged = []
    for seed in range(SETS):
        how = detect_how(lately(seed, since=60))
        judged.append(found(how.channel_effectiveness, "voice").verdict)
        judged.append(found(how.touch_effectiveness, "voice").verdict)
    assert sum(verdict is not Verdict.UNDECIDED for verdict in judged) <= 2 * SETS // 10


def test_what_a_touch_brings_is_not_inflated_by_quick_answers() -> None:
    """Of 1 500 leads 8 % convert; the touches' hazards have to add up to no more."""
    totals = []
    for seed in range(SETS):
        hazards = [
            t.converted / t.at_risk for t in detect_when(lately(seed, since=60)).touch_hazard
        ]
        totals.append(1 - np.prod(1 - np.array(hazards)))
    assert np.mean(totals) == pytest.approx(RATE, abs=0.006)
