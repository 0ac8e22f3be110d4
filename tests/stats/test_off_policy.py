"""Off-policy values: worked figures, agreement with plain means, coverage of planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cis_server.stats.off_policy import policy_difference, policy_value
from cis_server.stats.proportions import jeffreys


def test_worked_by_hand() -> None:
    # Choices a, b, a, b; "always a" weighs 1 / p of each a: 2 and 4, so (2 * 1 + 4 * 0) / 6.
    found = policy_value([1, 0, 0, 1], [0.5, 0.5, 0.25, 0.75], [1, 0, 1, 0], ["w", "x", "y", "z"])
    assert found.value == pytest.approx(1 / 3)
    assert found.effective_size == pytest.approx(36 / 20)
    assert found.supporting == 2
    assert found.largest_share == pytest.approx(4 / 6)
    assert "one choice carries 67% of the weight" in found.warning


def test_the_logging_policy_itself_is_the_plain_share() -> None:
    reward = np.array([1] * 30 + [0] * 270)
    propensity = np.full(300, 0.4)
    found = policy_value(reward, propensity, propensity, np.arange(300))
    assert found.value == pytest.approx(0.1)
    assert found.effective_size == pytest.approx(300)
    plain = jeffreys(30, 300)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.001)
    assert found.warning == ""


def test_repeated_choices_of_a_lead_say_no_more_than_one() -> None:
    generator = np.random.default_rng(4)
    reward = generator.random(400) < 0.2
    ones = np.ones(400)
    once = policy_value(reward, ones, ones, np.arange(400))
    ten = policy_value(
        np.repeat(reward, 10), np.ones(4000), np.ones(4000), np.repeat(np.arange(400), 10)
    )
    assert ten.value == pytest.approx(once.value)
    assert (ten.low, ten.high) == pytest.approx((once.low, once.high))


def test_nothing_to_go_by() -> None:
    none = policy_value([1, 0], [0.5, 0.5], [0, 0], [1, 2])
    assert none.value is None
    assert (none.low, none.high) == (0.0, 1.0)
    assert none.warning
    assert policy_value([], [], [], []).value is None
    assert policy_difference([1, 0], [0.5, 0.5], [0, 0], [1, 1], [1, 2]) is None
    never = policy_value(np.zeros(200), np.ones(200), np.ones(200), np.arange(200))
    assert never.value == 0.0
    assert never.low == 0.0
    assert 0.005 < never.high < 0.03


@pytest.mark.parametrize(
    ("propensity", "target", "reward"), [(0.0, 1.0, 1.0), (0.5, 1.2, 1.0), (0.5, 1.0, 2.0)]
)
def test_numbers_out_of_range_are_refused(propensity: float, target: float, reward: float) -> None:
    with pytest.raises(ValueError, match="must lie"):
        policy_value([reward], [propensity], [target], ["lead"])


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_order_does_not_count_and_the_value_lies_inside(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    reward = (generator.random(n) < 0.4).astype(float)
    propensity = generator.uniform(0.02, 1.0, n)
    target = generator.choice([0.0, 0.5, 1.0], n)
    unit = generator.integers(0, max(2, n // 2), n)
    found = policy_value(reward, propensity, target, unit)
    assert 0.0 <= found.low <= (found.value or 0.0) <= found.high <= 1.0 or found.value is None
    order = generator.permutation(n)
    assert policy_value(reward[order], propensity[order], target[order], unit[order]) == found


def planted(seed: int, leads: int = 500, touches: int = 3) -> tuple[np.ndarray, ...]:
    """Three options at 6, 10 and 4 %, the second one best and favoured by the log at .2."""
    generator = np.random.default_rng(seed)
    n = leads * touches
    share, greedy = np.array([0.1, 0.02, 0.08]), 0.8
    propensities = share + np.array([0.0, greedy, 0.0])
    choice = generator.choice(3, n, p=propensities)
    lead = np.repeat(np.arange(leads), touches)
    # Leads differ: a lead's rate is half to one and a half times that of its option.
    keen = np.repeat(generator.uniform(0.5, 1.5, leads), touches)
    reward = generator.random(n) < np.array([0.06, 0.10, 0.04])[choice] * keen
    return reward.astype(float), propensities[choice], choice, lead


def test_intervals_cover_the_truth() -> None:
    covered = dict.fromkeys(range(3), 0)
    seeds = 300
    for seed in range(seeds):
        reward, propensity, choice, lead = planted(seed)
        for option, truth in enumerate((0.06, 0.10, 0.04)):
            found = policy_value(reward, propensity, choice == option, lead)
            covered[option] += found.low <= truth <= found.high
    for option, count in covered.items():
        assert 0.85 <= count / seeds <= 0.96, (option, count / seeds)


@pytest.mark.parametrize(
    ("option", "leads"),
    # The last three rest on 75, 36 and 29 effective choices.
    [(1, 500), (1, 120), (0, 250), (0, 120), (2, 120)],
)
def test_the_difference_of_two_policies_covers_too(option: int, leads: int) -> None:
    """One option always, against what was done, which earns 9.12 %."""
    truth = (0.06, 0.10, 0.04)[option] - (0.82 * 0.10 + 0.10 * 0.06 + 0.08 * 0.04)
    covered = 0
    seeds = 300
    for seed in range(seeds):
        reward, propensity, choice, lead = planted(seed, leads=leads)
        found = policy_difference(reward, propensity, choice == option, propensity, lead)
        assert found is not None
        assert found.low <= found.value <= found.high
        covered += found.low <= truth <= found.high
    assert 0.85 <= covered / seeds <= 0.97, covered / seeds


def test_a_policy_differs_from_itself_by_nothing() -> None:
    reward, propensity, choice, lead = planted(3)
    same = policy_difference(reward, propensity, choice == 1, choice == 1, lead)
    assert same is not None
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_policies_without_a_choice_in_common_differ_as_two_shares_do() -> None:
    """Newcombe's method 10 with Jeffreys' intervals instead of Wilson's."""
    reward = np.array([1] * 30 + [0] * 70 + [1] * 10 + [0] * 190)
    first = np.arange(300) < 100
    found = policy_difference(reward, np.ones(300), first, ~first, np.arange(300))
    assert found is not None
    ahead, behind = (jeffreys(k, n) for k, n in ((30, 100), (10, 200)))
    assert found.value == pytest.approx(0.25)
    assert found.low == pytest.approx(
        0.25 - np.hypot(0.3 - ahead.low, behind.high - 0.05), abs=0.002
    )
    assert found.high == pytest.approx(
        0.25 + np.hypot(ahead.high - 0.3, 0.05 - behind.low), abs=0.002
    )
