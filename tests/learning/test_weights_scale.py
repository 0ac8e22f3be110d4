"""Weights are learned on the scale on which the scorer applies them.

Learned on raw points and applied to shares of the maximum, timing and risk (15 points at most)
would weigh up to 25 / 15 times too much.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import EmailStatus
from cis_server.domain.weights import MAX_WEIGHT, MIN_WEIGHT, Weights, rounded_weights
from cis_server.learning.first_touch import FirstTouch
from cis_server.scoring.scorer import score_lead

DAY = dt.date(2026, 6, 1)
titles = st.sampled_from(["CEO", "Director of Sales", "Engineer", "Student", None])
leads = st.builds(
    Lead,
    title=titles,
    email=st.sampled_from(["a@b.example", None]),
    email_status=st.sampled_from(EmailStatus),
    phone=st.sampled_from(["+61200000000", None]),
    industry=st.sampled_from(["software", "mining", None]),
    employee_count=st.none() | st.integers(0, 500),
    is_hiring=st.booleans(),
    bounce_count=st.integers(0, 2),
)


@st.composite
def weight_sets(draw: st.DrawFn) -> Weights:
    wanted = draw(st.lists(st.floats(MIN_WEIGHT, MAX_WEIGHT), min_size=5, max_size=5))
    return rounded_weights(wanted)


@given(lead=leads, weights=weight_sets())
def test_what_is_learned_from_is_what_is_weighted(lead: Lead, weights: Weights) -> None:
    score = score_lead(lead, as_of=DAY, weights=weights)
    points = np.array([list(score.components.as_dict().values())])
    first = FirstTouch(points, np.zeros(1, dtype=bool), [DAY])
    linear = 100 * first.fractions @ np.array(weights.as_tuple())
    assert linear[0] == pytest.approx(score.weighted_sum)
    assert first.scores(weights)[0] == pytest.approx(score.weighted_sum)
    assert 0 <= first.fractions.min() <= first.fractions.max() <= 1


def test_a_full_component_is_one_whatever_its_points() -> None:
    full = FirstTouch(np.array([[20.0, 25.0, 25.0, 15.0, 15.0]]), np.zeros(1, dtype=bool), [DAY])
    assert full.fractions.tolist() == [[1.0] * 5]
