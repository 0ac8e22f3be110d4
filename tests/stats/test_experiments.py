"""Experiments: posterior against draws and closed forms, verdicts safe under peeking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaln

from cis_server.stats.experiments import (
    Arm,
    Conclusion,
    confidence_sequence,
    difference_interval,
    experiment,
    posterior,
    sample_ratio_p_value,
)


def arms_of(counts: list[tuple[int, int]]) -> list[Arm]:
    return [Arm(n=n, converted=min(k, n)) for n, k in counts]


def test_posterior_agrees_with_draws() -> None:
    arms = [Arm(400, 36), Arm(380, 22), Arm(60, 7)]
    rng = np.random.default_rng(1)
    draws = np.array([rng.beta(1 + a.converted, 1 + a.n - a.converted, 400_000) for a in arms])
    best = np.bincount(draws.argmax(axis=0), minlength=3) / draws.shape[1]
    loss = (draws.max(axis=0) - draws).mean(axis=1)
    for found, wins, lost, drawn in zip(posterior(arms), best, loss, draws, strict=True):
        assert found.probability_best == pytest.approx(wins, abs=0.003)
        assert found.expected_loss == pytest.approx(lost, abs=4e-4)
        assert found.mean == pytest.approx(drawn.mean(), abs=3e-4)
        assert found.low == pytest.approx(np.quantile(drawn, 0.05), abs=3e-4)
    interval = difference_interval(arms[0], arms[1])
    drawn = np.quantile(draws[0] - draws[1], [0.05, 0.95])
    assert (interval.low, interval.high) == pytest.approx(drawn, abs=4e-4)


def test_two_arms_have_a_closed_form() -> None:
    """Sum over Beta functions (Evan Miller 2015): P(b > a) for whole posterior counts."""
    a, b = Arm(250, 20), Arm(260, 31)
    shape_a, shape_b = (21, 231), (32, 230)
    chance = sum(
        np.exp(
            betaln(shape_a[0] + i, shape_a[1] + shape_b[1])
            - np.log(shape_b[1] + i)
            - betaln(1 + i, shape_b[1])
            - betaln(*shape_a)
        )
        for i in range(shape_b[0])
    )
    assert posterior([a, b])[1].probability_best == pytest.approx(chance, abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, 20_000), st.integers(0, 20_000)), min_size=2, max_size=5))
def test_chances_add_to_one_and_the_best_loses_least(counts: list[tuple[int, int]]) -> None:
    arms = arms_of(counts)
    found = experiment(arms)
    assert sum(arm.probability_best for arm in found.arms) == pytest.approx(1.0)
    losses = [arm.expected_loss for arm in found.arms]
    assert min(losses) == pytest.approx(losses[found.best], abs=1e-9)
    assert found.best != found.worst
    assert found.difference >= 0
    assert -1 <= found.difference_interval.low <= found.difference_interval.high <= 1


def test_golden_confidence_sequence() -> None:
    """By hand: p = .1, V = .00018, t^2 = .000625, bound = 2 ln 20 + ln(.000805 / .00018)."""
    found = confidence_sequence(Arm(1000, 110), Arm(1000, 90))
    assert found is not None
    half = np.sqrt(0.00018 * 0.000805 / 0.000625 * (2 * np.log(20) + np.log(0.000805 / 0.00018)))
    assert (found.low, found.high) == pytest.approx((0.02 - half, 0.02 + half))
    # Wider than the fixed-sample interval, which may be looked at once only.
    assert found.high - found.low > 2 * 1.96 * np.sqrt(0.00018)


def test_peeking_at_equal_arms_names_few_winners() -> None:
    """A/A tests looked at every 100 leads per arm up to 5 000."""
    rng = np.random.default_rng(7)
    for rate in (0.03, 0.08, 0.3):
        runs, looks = 1000, 50
        wins = np.cumsum(rng.binomial(100, rate, (2, runs, looks)), axis=2)
        named = 0
        for run in range(runs):
            named += any(
                (seq := confidence_sequence(
                    Arm(n, int(wins[0, run, look])), Arm(n, int(wins[1, run, look]))
                ))
                is not None
                and (seq.low > 0 or seq.high < 0)
                for look, n in enumerate(range(100, 5001, 100))
            )  # fmt: skip
        assert named / runs <= 0.05, rate


def test_a_winner_is_found_and_equal_arms_end_as_no_difference() -> None:
    assert experiment([Arm(2000, 160), Arm(2000, 260)]).conclusion is Conclusion.WINNER
    assert experiment([Arm(300, 24), Arm(300, 30)]).conclusion is Conclusion.INCONCLUSIVE
    equal = experiment([Arm(200_000, 16_000), Arm(200_000, 16_020)])
    assert equal.conclusion is Conclusion.NO_DIFFERENCE


def test_power_for_half_as_much_again() -> None:
    rng = np.random.default_rng(3)
    wins = [
        experiment(
            [Arm(3000, int(rng.binomial(3000, 0.08))), Arm(3000, int(rng.binomial(3000, 0.12)))]
        ).conclusion
        is Conclusion.WINNER
        for _ in range(100)
    ]
    assert np.mean(wins) > 0.8


def test_a_winner_of_several_beats_every_other_arm() -> None:
    second_as_good = [Arm(2000, 260), Arm(2000, 250), Arm(2000, 100)]
    found = experiment(second_as_good)
    assert found.conclusion is Conclusion.INCONCLUSIVE
    assert found.sequence is not None
    assert found.sequence.low > 0  # against the worst it is certain
    assert experiment([Arm(2000, 300), Arm(2000, 100), Arm(2000, 90)]).conclusion == "winner"


def test_a_lost_part_of_one_arm_blocks_the_conclusion() -> None:
    arms = [Arm(5000, 400), Arm(4600, 560)]
    assert sample_ratio_p_value([5000, 4600]) < 0.001
    assert experiment(arms).conclusion is Conclusion.INCONCLUSIVE
    assert experiment(arms, planned_shares=[0.52, 0.48]).conclusion is Conclusion.WINNER


def test_sample_ratio_is_the_chi_square_test() -> None:
    expected = stats.chisquare([520, 480], [500, 500]).pvalue
    assert sample_ratio_p_value([520, 480], [0.5, 0.5]) == pytest.approx(expected)
    uneven = stats.chisquare([690, 310], [700, 300]).pvalue
    assert sample_ratio_p_value([690, 310]) == pytest.approx(uneven)
    thirds = stats.chisquare([340, 330, 330], [1000 / 3] * 3).pvalue
    assert sample_ratio_p_value([340, 330, 330]) >= thirds - 1e-12
    assert sample_ratio_p_value([0, 0]) == 1.0
    with pytest.raises(ValueError, match="planned shares"):
        sample_ratio_p_value([1, 2], [0.5, 0.6])


def test_too_little_concludes_nothing() -> None:
    assert confidence_sequence(Arm(40, 20), Arm(500, 10)) is None
    assert confidence_sequence(Arm(500, 4), Arm(500, 5)) is None
    assert experiment([Arm(40, 30), Arm(40, 1)]).conclusion is Conclusion.INCONCLUSIVE
    with pytest.raises(ValueError, match="two or more"):
        experiment([Arm(10, 1)])
    with pytest.raises(ValueError, match="cannot have converted"):
        Arm(3, 4)
