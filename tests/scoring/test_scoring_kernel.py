"""Compiled kernels against their plain Python references, and what the arithmetic promises."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.domain.tiers import tier_of
from cis_server.domain.weights import DEFAULT_WEIGHTS, MAX_WEIGHT, MIN_WEIGHT, rounded_weights
from cis_server.errors import ConfigurationError
from cis_server.scoring import kernel
from cis_server.scoring.kernel import (
    Arithmetic,
    CodedLead,
    propensity_arithmetic,
    propensity_rows,
    score_arithmetic,
    score_one,
    score_rows,
    warm_up,
)
from cis_server.scoring.points import POINTS

FiveFloats = tuple[float, float, float, float, float]
DEFAULTS = DEFAULT_WEIGHTS.as_tuple()

coded_leads = st.builds(
    CodedLead,
    email=st.integers(0, 2),
    phone=st.integers(0, 2),
    linkedin=st.integers(0, 1),
    personal_email=st.integers(0, 1),
    authority=st.integers(0, 25),
    industry=st.integers(0, 1),
    headcount=st.integers(0, 10**12),
    headcount_min=st.integers(0, 100),
    headcount_max=st.integers(0, 10**6),
    country=st.integers(0, 2),
    role_days=st.integers(-1, 800),
    hiring=st.integers(0, 1),
    funding_days=st.integers(-1, 1500),
    bounced=st.integers(0, 1),
    unsubscribed=st.integers(0, 1),
    competitor=st.integers(0, 1),
    unsuitable=st.integers(0, 1),
)


@st.composite
def weight_sets(draw: st.DrawFn) -> FiveFloats:
    first = draw(st.lists(st.floats(MIN_WEIGHT, MAX_WEIGHT), min_size=5, max_size=5))
    return rounded_weights(first).as_tuple()


def random_coded(rng: random.Random) -> CodedLead:
    return CodedLead(
        rng.randint(0, 2),
        rng.randint(0, 2),
        rng.randint(0, 1),
        rng.randint(0, 1),
        rng.choice((0, 5, 7, 10, 15, 18, 22, 25)),
        rng.randint(0, 1),
        rng.choice((0, 1, 4, 5, 50, 51, 200, 201, 10**12)),
        5,
        50,
        rng.randint(0, 2),
        rng.choice((-1, 0, 179, 180, 359, 360, 2000)),
        rng.randint(0, 1),
        rng.choice((-1, 0, 359, 360, 719, 720)),
        int(rng.random() < 0.1),
        int(rng.random() < 0.1),
        int(rng.random() < 0.1),
        int(rng.random() < 0.1),
    )


def test_kernel_agrees_with_its_reference_to_the_last_bit_on_10_000_random_leads() -> None:
    rng = random.Random(20260121)
    for _ in range(10):
        weights = tuple(rng.random() for _ in range(5))
        total = sum(weights)
        five: FiveFloats = tuple(w / total for w in weights)  # type: ignore[assignment]
        leads = [random_coded(rng) for _ in range(1000)]
        expected = [score_arithmetic(lead, five, POINTS) for lead in leads]
        assert [score_one(lead, five) for lead in leads] == expected
        rows = score_rows(np.array(leads, dtype=np.int64), five)
        assert rows.tobytes() == np.array(expected).tobytes()


@given(coded_leads, weight_sets())
def test_one_row_many_and_reference_agree_anywhere(lead: CodedLead, weights: FiveFloats) -> None:
    expected = score_arithmetic(lead, weights, POINTS)
    assert score_one(lead, weights) == expected
    assert Arithmetic(*score_rows(np.array([lead] * 3), weights)[1].tolist()) == expected


@given(coded_leads, weight_sets())
def test_parts_added_in_order_give_the_sum_to_the_last_bit(
    lead: CodedLead, weights: FiveFloats
) -> None:
    result = score_one(lead, weights)
    total = 0.0
    for part in result[5:10]:
        total += part
    assert total == result.weighted_sum
    assert 0 <= result.score <= 100
    assert result.weighted_sum - 1 - 1e-6 < result.score <= result.weighted_sum + 1e-6
    assert tier_of(result.score).value == result.tier


@given(coded_leads)
def test_under_default_weights_the_score_is_the_plain_sum_of_the_points(lead: CodedLead) -> None:
    result = score_one(lead, DEFAULTS)
    assert result.score == sum(result[:5])


@given(coded_leads, weight_sets())
def test_better_signals_never_lower_the_score(lead: CodedLead, weights: FiveFloats) -> None:
    score = score_one(lead, weights).weighted_sum
    better = {
        "email": 2,
        "phone": 2,
        "linkedin": 1,
        "personal_email": 1,
        "authority": 25,
        "industry": 1,
        "headcount": lead.headcount_min,
        "country": 2,
        "role_days": 0,
        "hiring": 1,
        "funding_days": 0,
        "bounced": 0,
        "unsubscribed": 0,
        "competitor": 0,
        "unsuitable": 0,
    }
    if not 0 < lead.headcount_min <= lead.headcount_max:
        del better["headcount"]
    for name, value in better.items():
        assert score_one(lead._replace(**{name: value}), weights).weighted_sum >= score, name


@pytest.mark.parametrize(
    ("headcount", "points"),
    [(0, 0), (1, 3), (4, 3), (5, 8), (50, 8), (51, 5), (200, 5), (201, 0)],
)
def test_head_count_points(headcount: int, points: int) -> None:
    lead = CodedLead(headcount=headcount, headcount_min=5, headcount_max=50)
    assert score_one(lead, DEFAULTS).company_fit == points


@pytest.mark.parametrize(
    ("role_days", "funding_days", "points"),
    [
        (-1, -1, 0),
        (0, -1, 6),
        (179, -1, 6),
        (180, -1, 3),
        (359, -1, 3),
        (360, -1, 0),
        (-1, 0, 4),
        (-1, 359, 4),
        (-1, 360, 2),
        (-1, 719, 2),
        (-1, 720, 0),
    ],
)
def test_timing_points(role_days: int, funding_days: int, points: int) -> None:
    lead = CodedLead(role_days=role_days, funding_days=funding_days)
    assert score_one(lead, DEFAULTS).timing == points


@pytest.mark.parametrize(
    ("signals", "left"),
    [
        ({}, 15),
        ({"bounced": 1}, 5),
        ({"unsuitable": 1}, 10),
        ({"bounced": 1, "unsuitable": 1}, 0),
        ({"unsubscribed": 1}, 0),
        ({"competitor": 1, "bounced": 1}, 0),
    ],
)
def test_risk_points_never_go_below_zero(signals: dict[str, int], left: int) -> None:
    assert score_one(CodedLead(**signals), DEFAULTS).risk == left


def test_propensity_kernel_agrees_with_its_reference_and_with_plain_matrix_algebra() -> None:
    rng = np.random.default_rng(7)
    for _ in range(50):
        p, slots = 12, 6
        root = rng.normal(size=(p + 1, p + 1))
        covariance = np.ascontiguousarray(root @ root.T * 0.05)
        covariance = (covariance + covariance.T) / 2
        coefficients = rng.normal(size=p + 1)
        index = np.stack([rng.permutation(p)[:slots] for _ in range(20)]).astype(np.int32)
        index[rng.random(index.shape) < 0.3] = -1
        value = rng.normal(size=index.shape)
        a, b = rng.normal(), 0.2 + rng.random()
        rows = propensity_rows(index, value, coefficients, covariance, a, b)
        for i in range(len(index)):
            expected = propensity_arithmetic(index[i], value[i], coefficients, covariance, a, b)
            assert tuple(rows[i].tolist()) == expected
            x = np.zeros(p + 1)
            x[0] = 1.0
            for column, number in zip(index[i], value[i], strict=True):
                if column >= 0:
                    x[column + 1] = number
            eta, spread = x @ coefficients, 1.6448536269514722 * np.sqrt(x @ covariance @ x)
            dense = [1 / (1 + np.exp(-(a + b * t))) for t in (eta, eta - spread, eta + spread)]
            assert rows[i] == pytest.approx(dense, rel=1e-10)
            assert rows[i, 1] <= rows[i, 0] <= rows[i, 2]


@pytest.mark.parametrize("intercept", [-1e4, -800.0, 0.0, 800.0, 1e4])
def test_extreme_log_odds_do_not_overflow(intercept: float) -> None:
    chance = propensity_arithmetic((), (), (intercept,), ((0.01,),), 0.0, 1.0)
    assert 0.0 <= chance[1] <= chance[0] <= chance[2] <= 1.0


def test_warm_up_accepts_the_kernels_and_refuses_wrong_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warm_up()
    foreign = kernel.score_rows

    def off_by_a_point(leads: np.ndarray, weights: FiveFloats) -> np.ndarray:
        rows = np.array(foreign(leads, weights))
        rows[0, 0] += 1.0
        return rows

    monkeypatch.setattr(kernel, "score_rows", off_by_a_point)
    with pytest.raises(ConfigurationError, match="clear the numba cache"):
        warm_up()
