"""One encoder for training and serving: columns and single leads give the same numbers."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cis_server.domain.lead import Lead
from cis_server.domain.propensity import (
    MISSING_LEVEL,
    OTHER_LEVEL,
    CategoricalFeature,
    FeatureSpace,
    NumericFeature,
    PropensityModel,
)
from cis_server.domain.scores import Components
from cis_server.scoring.contacts import is_email_address, is_linkedin_profile, is_phone_number
from cis_server.scoring.features import (
    COLUMNS,
    FIXED_FEATURES,
    Encoder,
    age_range,
    design_matrix,
    encode,
    learned_space,
    number_of,
    raw_columns,
    raw_features,
    size_range,
)
from cis_server.scoring.propensity import PropensityScorer

AS_OF = dt.date(2026, 1, 21)


def columns_of(leads: list[Lead]) -> dict[str, list[Any]]:
    """The columns a data set would hold of these leads."""
    plain = {name: [getattr(lead, name, None) for lead in leads] for name in COLUMNS}
    plain["email_status"] = [lead.email_status.value for lead in leads]
    plain["has_email"] = [is_email_address(lead.email) for lead in leads]
    plain["has_phone"] = [is_phone_number(lead.phone) for lead in leads]
    plain["has_linkedin"] = [is_linkedin_profile(lead.linkedin_url) for lead in leads]
    return plain


def sample(
    make: Callable[[random.Random], Lead], seed: int, n: int
) -> tuple[list[Lead], list[Components], list[dt.date]]:
    rng = random.Random(seed)
    leads = [make(rng) for _ in range(n)]
    points = [
        Components(*(rng.randint(0, most) for most in (20, 25, 25, 15, 15))) for _ in range(n)
    ]
    return leads, points, [AS_OF - dt.timedelta(days=rng.randint(0, 60)) for _ in range(n)]


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), min_count=st.integers(1, 10), max_levels=st.integers(1, 8))
def test_columns_equal_single_leads(
    random_lead: Callable[[random.Random], Lead], seed: int, min_count: int, max_levels: int
) -> None:
    leads, points, days = sample(random_lead, seed, 40)
    columns = raw_columns(columns_of(leads), [p.as_tuple() for p in points], days)
    rows = [raw_features(*item) for item in zip(leads, points, days, strict=True)]
    for i, row in enumerate(rows):
        assert {name: values[i] for name, values in columns.items() if values[i] is not None} == {
            name: value for name, value in row.items() if value is not None
        }
    space = learned_space(columns, min_count=min_count, max_levels=max_levels)
    encoder = Encoder(space)
    index, value = encoder.encode_columns(columns, len(leads))
    for i, row in enumerate(rows):
        one_index, one_value = encoder.encode(row)
        assert one_index.tobytes() == index[i].tobytes()
        assert one_value.tobytes() == value[i].tobytes()
    matrix = design_matrix(index, value, space.width)
    # Every column rests on the leads it was promised; a standardised number has mean 0.
    for feature, first in space.offsets():
        if isinstance(feature, NumericFeature):
            assert abs(matrix[:, first].sum()) < 1e-8
        else:
            assert (matrix[:, first : first + feature.width].sum(axis=0) >= min_count).all()
    assert FeatureSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_columns_left_out_are_missing_and_wrong_lengths_are_refused() -> None:
    columns = raw_columns({}, [[0, 0, 0, 0, 15]] * 2, AS_OF)
    assert columns["industry"] == [None, None]
    assert columns["title_level"] == [None, None]
    assert columns["component_risk"] == [1.0, 1.0]
    assert tuple(columns) == FIXED_FEATURES
    with pytest.raises(ValueError, match="'title' has 1 values, not 2"):
        raw_columns({"title": ["CEO"]}, [[0] * 5] * 2, AS_OF)
    with pytest.raises(ValueError, match="as_of has 1"):
        raw_columns({}, [[0] * 5] * 2, [AS_OF])


def test_encoding_of_every_kind_of_value() -> None:
    space = FeatureSpace(
        (
            NumericFeature("age", 40.0, 10.0, flags_missing=True),
            NumericFeature("plain", 1.0, 2.0),
            CategoricalFeature("job", ("student", OTHER_LEVEL, MISSING_LEVEL), "clerk"),
            CategoricalFeature("town", ("Rome",), "Paris"),
        )
    )
    assert space.columns == (
        "age",
        f"age={MISSING_LEVEL}",
        "plain",
        "job=student",
        f"job={OTHER_LEVEL}",
        f"job={MISSING_LEVEL}",
        "town=Rome",
    )

    def encoded(**raw: Any) -> list[tuple[int, float]]:
        index, value = encode(space, raw)
        return list(zip(index.tolist(), value.tolist(), strict=True))

    assert encoded(age="55", plain=5.0, job="student", town="Rome") == [
        (0, 1.5),
        (2, 2.0),
        (3, 1.0),
        (6, 1.0),
    ]
    assert encoded() == [(1, 1.0), (-1, 0.0), (5, 1.0), (-1, 0.0)]
    assert encoded(age="old", job="pilot", town="Oslo") == [
        (1, 1.0),
        (-1, 0.0),
        (4, 1.0),
        (-1, 0.0),
    ]
    assert encoded(job="clerk", town="Paris")[2:] == [(-1, 0.0), (-1, 0.0)]


def test_what_the_space_learns_from_bank_like_attributes() -> None:
    n = 120
    raw: dict[str, list[Any]] = {
        "component_risk": [1.0] * n,
        "component_timing": [i % 4 / 4 for i in range(n)],
        "attribute:age": [str(20 + i % 60) for i in range(n)],
        "attribute:job": ["clerk" if i % 2 else "student" if i % 4 else "x" for i in range(n)],
        "attribute:rare": ["a"] * (n - 7) + ["b"] * 4 + ["c"] * 3,
        "attribute:same": ["yes"] * n,
        "attribute:sparse": ["1"] * 10 + [None] * (n - 10),
    }
    space = learned_space(raw, min_count=5)
    ages = [20.0 + i % 60 for i in range(n)]
    mean = math.fsum(ages) / n
    scale = math.sqrt(math.fsum((age - mean) ** 2 for age in ages) / n)
    timing = space.features[0]
    assert isinstance(timing, NumericFeature)
    assert timing.mean == 0.375
    assert space.features[1:] == (
        NumericFeature("attribute:age", mean, scale),
        CategoricalFeature("attribute:job", ("student", "x"), "clerk"),
        CategoricalFeature("attribute:rare", (OTHER_LEVEL,), "a"),
        CategoricalFeature("attribute:sparse", (MISSING_LEVEL,), "1"),
    )
    order = list(range(n))
    random.Random(1).shuffle(order)
    shuffled = {name: [values[i] for i in order] for name, values in raw.items()}
    assert learned_space(shuffled, min_count=5) == space
    without = learned_space(raw, min_count=5, exclude=("attribute:age",))
    assert without.features == (timing, *space.features[2:])


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("12", 12.0),
        (" -1.5e3 ", -1500.0),
        ("1,234.5", 1234.5),
        ("1,5", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("twelve", None),
        ("1e101", None),
        (-1e200, None),
        (1e100, 1e100),
        (None, None),
        (2.5, 2.5),
    ],
)
def test_number_of(value: str | float | None, number: float | None) -> None:
    assert number_of(value) == number


def test_ranges() -> None:
    sizes = (None, 0, 1, 5, 6, 15, 16, 30, 31, 50, 51, 100, 101, 250, 251, 500, 501)
    assert [size_range(size) for size in sizes] == [
        None,
        None,
        *["1-5"] * 2,
        *["6-15"] * 2,
        *["16-30"] * 2,
        *["31-50"] * 2,
        *["51-100"] * 2,
        *["101-250"] * 2,
        *["251-500"] * 2,
        "501+",
    ]
    ages = [age_range(AS_OF - dt.timedelta(days=days), AS_OF) for days in (-1, 0, 89, 90, 359, 720)]
    assert ages == [None, "0-89 days", "0-89 days", "90-179 days", "180-359 days", "720+ days"]


def small_model(**changes: Any) -> PropensityModel:
    space = FeatureSpace(
        (
            NumericFeature("component_authority", 0.5, 0.25),
            CategoricalFeature("attribute:job", ("student", "retired"), "clerk"),
        )
    )
    parts: dict[str, Any] = {
        "version": "v1",
        "target": "meeting_booked",
        "space": space,
        "intercept": -2.0,
        "coefficients": (0.5, 1.5, 0.75),
        "covariance": (
            (0.04, 0.0, -0.01, 0.0),
            (0.0, 0.01, 0.0, 0.0),
            (-0.01, 0.0, 0.09, 0.0),
            (0.0, 0.0, 0.0, 0.16),
        ),
        "calibration_intercept": 0.1,
        "calibration_slope": 0.9,
    }
    return PropensityModel(**{**parts, **changes})


def test_probability_of_a_lead_worked_out_by_hand() -> None:
    scorer = PropensityScorer(small_model())
    lead = Lead(attributes={"job": " Student "})
    got = scorer.probability(lead, Components(0, 25, 0, 0, 15), AS_OF)
    eta = -2.0 + 0.5 * 2.0 + 1.5  # authority (1 - .5) / .25 = 2
    spread = 1.6448536269514722 * math.sqrt(0.04 + 4 * 0.01 + 0.09 - 2 * 0.01)
    expected = [1 / (1 + math.exp(-(0.1 + 0.9 * (eta + k * spread)))) for k in (0, -1, 1)]
    assert [got.probability, got.low, got.high] == pytest.approx(expected, rel=1e-12)
    assert got.target == "meeting_booked"
    clerk = scorer.probability(
        Lead(attributes={"job": "clerk"}), Components(0, 25, 0, 0, 15), AS_OF
    )
    assert clerk.probability < got.probability


def test_a_model_survives_json_bit_for_bit() -> None:
    model = small_model(intercept=0.1 + 0.2, coefficients=(1 / 3, math.pi, -1e-17))
    assert PropensityModel.from_json(json.loads(json.dumps(model.to_json()))) == model


@pytest.mark.parametrize(
    "changes",
    [
        {"coefficients": (1.0, 2.0)},
        {"covariance": ((1.0,),)},
        {"calibration_slope": 0.0},
        {"calibration_slope": math.nan},
        {"intercept": math.inf},
        {"coefficients": (1.0, math.nan, 0.0)},
    ],
)
def test_a_model_that_does_not_fit_together_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needed|must"):
        small_model(**changes)


def test_broken_stored_models_are_refused() -> None:
    good = small_model().to_json()
    for broken in (
        {**good, "format": 99},
        {**good, "covariance_lower": [1.0]},
        {**good, "features": [{"kind": "magic", "name": "x"}]},
    ):
        with pytest.raises(ValueError, match=r"format|length|kind"):
            PropensityModel.from_json(broken)


def test_random_models_score_columns_and_leads_alike(
    random_lead: Callable[[random.Random], Lead],
) -> None:
    leads, points, days = sample(random_lead, 5, 300)
    columns = raw_columns(columns_of(leads), [p.as_tuple() for p in points], days)
    space = learned_space(columns, min_count=10)
    rng = np.random.default_rng(1)
    root = rng.normal(size=(space.width + 1, space.width + 1)) * 0.1
    covariance = root @ root.T
    scorer = PropensityScorer(
        PropensityModel(
            version="v",
            target="t",
            space=space,
            intercept=-1.0,
            coefficients=tuple(rng.normal(size=space.width).tolist()),
            covariance=tuple(tuple(row) for row in ((covariance + covariance.T) / 2).tolist()),
        )
    )
    rows = scorer.rows(*scorer.encoder.encode_columns(columns, len(leads)))
    singles = [scorer.probability(*item) for item in zip(leads, points, days, strict=True)]
    assert rows.tolist() == [[one.probability, one.low, one.high] for one in singles]
    assert len({one.probability for one in singles}) > 100
