"""What may be said of an experiment from its counts: safely at every look, and not when leads
went missing."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from cis_server.domain.experiments import (
    Experiment,
    ExperimentMetric,
    ExperimentState,
    ExperimentVerdict,
    PowerPlan,
    Standing,
    Variant,
    VariantCount,
)
from cis_server.learning.experiment_standing import standing
from cis_server.stats.experiments import Arm, confidence_sequence

START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
AT = START + dt.timedelta(days=10)


def planned(*weights: float, alpha: float = 0.05, size: int = 1000) -> Experiment:
    return Experiment(
        experiment_id="x", client_id="acme", name="", hypothesis="", campaign_id=None,
        variants=tuple(Variant(name=n, weight=w) for n, w in zip("abc", weights, strict=False)),
        metric=ExperimentMetric.CONVERSION_RATE,
        plan=PowerPlan(base_rate=0.1, alpha=alpha, leads_per_variant=size),
        state=ExperimentState.RUNNING, started_at=START,
    )  # fmt: skip


def counted(*counts: tuple[int, int, int]) -> dict[str, VariantCount]:
    return {
        name: VariantCount(assigned=assigned, contacted=contacted, succeeded=succeeded)
        for name, (assigned, contacted, succeeded) in zip("abc", counts, strict=False)
    }


def test_equal_variants_looked_at_often_have_no_winner() -> None:
    draws = np.random.default_rng(3)
    step, looks, tests = 150, 8, 80
    wins = 0
    for _ in range(tests):
        reached = draws.binomial(step, 0.12, (looks, 2)).cumsum(axis=0)
        for look in range(looks):
            n = step * (look + 1)
            found = standing(planned(1, 1), counted(*((n, n, int(k)) for k in reached[look])), AT)
            if found.verdict is ExperimentVerdict.WINNER:
                wins += 1
                break
    # 5 % of 80 is 4; more than 9 would happen once in a hundred.
    assert wins <= 9


def test_the_control_may_win() -> None:
    found = standing(planned(1, 1), counted((1000, 1000, 200), (1000, 1000, 100)), AT)
    assert (found.verdict, found.winner) == (ExperimentVerdict.WINNER, "a")
    assert found.sequence_high is not None
    assert found.sequence_high < 0
    assert "a is better than every other variant" in found.text


def test_the_sequence_is_that_of_the_best_challenger_at_its_share_of_alpha() -> None:
    counts = counted((1000, 1000, 100), (1000, 1000, 90), (1000, 1000, 130))
    found = standing(planned(1, 1, 1, alpha=0.06), counts, AT)
    wanted = confidence_sequence(Arm(1000, 130), Arm(1000, 100), 0.06 / 3)
    assert wanted is not None
    assert (found.sequence_low, found.sequence_high) == (wanted.low, wanted.high)
    assert [variant.difference is None for variant in found.variants] == [True, False, False]


@pytest.mark.parametrize(
    "counts",
    [
        ((1300, 1300, 130), (1000, 1000, 300)),  # the assignment went wrong
        ((1000, 1000, 100), (1000, 780, 300)),  # messages of one variant do not go out
    ],
)
def test_missing_leads_block_whatever_the_rates(
    counts: tuple[tuple[int, int, int], tuple[int, int, int]],
) -> None:
    found = standing(planned(1, 1), counted(*counts), AT)
    assert (found.verdict, found.winner) == (ExperimentVerdict.BLOCKED, None)
    assert found.sample_ratio_p_value < 0.001


def test_planned_shares_need_not_be_even() -> None:
    found = standing(planned(3, 1), counted((3000, 3000, 300), (1000, 1000, 200)), AT)
    assert (found.verdict, found.winner) == (ExperimentVerdict.WINNER, "b")


def test_progress_is_that_of_the_slowest_variant() -> None:
    found = standing(planned(3, 1), counted((900, 750, 0), (300, 250, 0)), AT)
    assert found.progress == 0.25
    # A quarter took ten days, so the rest takes thirty.
    assert found.expected_end_at == AT + dt.timedelta(days=30)
    done = standing(planned(1, 1), counted((1000, 1000, 9), (1000, 1000, 9)), AT)
    assert (done.progress, done.expected_end_at) == (1.0, None)
    nobody = standing(planned(1, 1), {}, AT)
    assert (nobody.progress, nobody.expected_end_at) == (0.0, None)
    assert nobody.verdict is ExperimentVerdict.INCONCLUSIVE


def test_too_little_difference_is_a_finding() -> None:
    many = 400_000
    found = standing(planned(1, 1), counted((many, many, 80_000), (many, many, 80_050)), AT)
    assert found.verdict is ExperimentVerdict.NO_DIFFERENCE


def test_it_is_stored_and_read_as_it_was() -> None:
    found = standing(planned(1, 1), counted((500, 500, 50), (500, 480, 60)), AT)
    assert Standing.from_json(found.to_json()) == found
