"""Weights: rounding that keeps the sum, and what is refused on read."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.domain.weights import (
    COMPONENTS,
    DEFAULT_WEIGHTS,
    MAX_WEIGHT,
    MIN_WEIGHT,
    Weights,
    read_weights,
    rounded_weights,
)

positive = st.lists(st.floats(0.0, 1e6), min_size=5, max_size=5).filter(lambda v: sum(v) > 1e-6)


@given(positive)
def test_rounded_weights_add_up_to_exactly_one_in_decimals(values: list[float]) -> None:
    rounded = rounded_weights(values).as_tuple()
    assert sum(Decimal(str(weight)) for weight in rounded) == 1
    assert all(Decimal(str(weight)).as_tuple().exponent >= -3 for weight in rounded)


@given(positive)
def test_rounding_moves_no_weight_by_a_thousandth_or_more(values: list[float]) -> None:
    total = math.fsum(values)
    for value, weight in zip(values, rounded_weights(values).as_tuple(), strict=True):
        assert abs(value / total - weight) < 0.001 + 1e-9


@given(st.lists(st.floats(MIN_WEIGHT, MAX_WEIGHT), min_size=4, max_size=4))
def test_rounding_keeps_weights_inside_their_bounds(first: list[float]) -> None:
    values = [*first, 1.0 - math.fsum(first)]
    if MIN_WEIGHT <= values[-1] <= MAX_WEIGHT:
        assert all(MIN_WEIGHT <= w <= MAX_WEIGHT for w in rounded_weights(values).as_tuple())


@given(st.lists(st.integers(50, 500), min_size=4, max_size=4).filter(lambda v: sum(v) <= 950))
def test_thousandths_are_left_as_they_are_and_pass_the_check(counts: list[int]) -> None:
    counts = [*counts, 1000 - sum(counts)]
    if counts[-1] > 500:
        return
    values = [count / 1000 for count in counts]
    weights = rounded_weights(values)
    assert list(weights.as_tuple()) == values
    assert read_weights(weights.as_dict()) == (weights, None)


def test_largest_remainders_get_the_thousandths_left_over() -> None:
    # 1/3 of .4 and so on: 133.33, 133.33, 133.33, 300, 300 leaves one; ties go to the first
    assert rounded_weights([0.4 / 3, 0.4 / 3, 0.4 / 3, 0.3, 0.3]) == Weights(
        0.134, 0.133, 0.133, 0.3, 0.3
    )


@pytest.mark.parametrize(
    "values",
    [[1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, -1], [1, 1, 1, 1, math.nan], [math.inf] * 5],
)
def test_what_cannot_be_rounded_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        rounded_weights(values)


def test_nothing_stored_means_defaults_without_a_warning() -> None:
    assert read_weights(None) == (DEFAULT_WEIGHTS, None)


def test_a_sum_off_by_rounding_is_renormalised() -> None:
    weights, reason = read_weights(
        dict(zip(COMPONENTS, (0.2, 0.25, 0.25, 0.15, 0.151), strict=True))
    )
    assert reason is None
    assert math.fsum(weights.as_tuple()) == pytest.approx(1.0, abs=1e-12)
    assert weights.risk == pytest.approx(0.151 / 1.001)


GOOD = {"data_quality": 0.1, "authority": 0.4, "company_fit": 0.2, "timing": 0.2, "risk": 0.1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"risk": None}, "not a number"),
        ({"risk": "0.1"}, "not a number"),
        ({"risk": True}, "not a number"),
        ({"risk": math.nan}, "not finite"),
        ({"risk": math.inf}, "not finite"),
        ({"risk": 0.04}, "outside"),
        ({"authority": 0.51}, "outside"),
        ({"risk": 0.15}, "sum to 1.05"),
        ({"authority": 0.25}, "sum to 0.85"),
        ({"buyer": 0.1}, "unknown weights: buyer"),
    ],
)
def test_what_is_wrong_gives_the_defaults_and_says_why(
    change: dict[str, object], reason: str
) -> None:
    weights, said = read_weights({**GOOD, **change})
    assert weights == DEFAULT_WEIGHTS
    assert said is not None
    assert reason in said


def test_a_missing_weight_is_not_filled_in() -> None:
    four = {name: value for name, value in GOOD.items() if name != "risk"}
    assert read_weights(four) == (DEFAULT_WEIGHTS, "missing weights: risk")
