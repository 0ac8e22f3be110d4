"""What each feature did to a probability: parts and base add up to the log-odds, exactly."""

import datetime as dt
import math

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
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.scorer import score_batch, score_lead

AS_OF = dt.date(2026, 6, 1)
SPACE = FeatureSpace(
    (
        CategoricalFeature("industry", ("software", "retail", OTHER_LEVEL), "health"),
        CategoricalFeature("country", ("australia", MISSING_LEVEL)),
        NumericFeature("employee_count_log", 1.4, 0.6, True),
        NumericFeature("component_authority", 0.5, 0.3),
        CategoricalFeature("attribute:source", ("referral",), "advert"),
    )
)
WIDTH = SPACE.width


def scorer(numbers: list[float], intercept: float, a: float, b: float) -> PropensityScorer:
    return PropensityScorer(
        PropensityModel(
            version="propensity-1",
            target="call_booked",
            space=SPACE,
            intercept=intercept,
            coefficients=tuple(numbers),
            covariance=tuple(map(tuple, np.eye(WIDTH + 1).tolist())),
            calibration_intercept=a,
            calibration_slope=b,
        )
    )


LEADS = st.builds(
    Lead,
    title=st.sampled_from([None, "CEO", "Marketing Manager"]),
    industry=st.sampled_from([None, "Software", "Retail", "Health", "Mining"]),
    country=st.sampled_from([None, "Australia", "France"]),
    employee_count=st.none() | st.integers(1, 5000),
    attributes=st.sampled_from([{}, {"source": "Referral"}, {"source": "advert"}]),
)


@settings(max_examples=80, deadline=None)
@given(
    LEADS,
    st.lists(st.floats(-2.0, 2.0), min_size=WIDTH, max_size=WIDTH),
    st.floats(-3.0, 1.0),
    st.floats(-0.5, 0.5),
    st.floats(0.3, 2.0),
)
def test_base_and_factors_add_up_to_the_log_odds(
    lead: Lead, numbers: list[float], intercept: float, a: float, b: float
) -> None:
    score = score_lead(lead, as_of=AS_OF, model=scorer(numbers, intercept, a, b))
    told = score.conversion_probability
    assert told is not None
    assert told.base_log_odds is not None
    logit = math.log(told.probability / (1.0 - told.probability))
    total = told.base_log_odds + math.fsum(factor.log_odds for factor in told.factors)
    assert total == pytest.approx(logit, abs=1e-9)
    strengths = [abs(factor.log_odds) for factor in told.factors]
    assert strengths == sorted(strengths, reverse=True)
    assert len({factor.feature for factor in told.factors}) == len(told.factors)


def test_words_name_the_value_and_the_odds() -> None:
    numbers = [math.log(2.0), 0.0, 0.0, 0.3, math.log(0.5), 0.0, 0.0, 0.0, math.log(3.0)]
    lead = Lead(industry="Software", attributes={"source": "Referral"})
    told = score_lead(lead, as_of=AS_OF, model=scorer(numbers, -2.0, 0.0, 1.0))
    assert told.conversion_probability is not None
    texts = {factor.feature: factor.text for factor in told.conversion_probability.factors}
    assert texts["industry"] == 'industry "software": 2.00 times the odds'
    assert texts["attribute:source"] == 'source "referral": 3.00 times the odds'
    assert texts["country"].startswith("country not known: 0.5")


def test_a_batch_explains_as_a_single_lead_does() -> None:
    model = scorer([0.1 * i for i in range(WIDTH)], -1.0, 0.1, 0.9)
    leads = [Lead(industry="Retail", employee_count=40), Lead(title="CEO", country="France")]
    batch = score_batch(leads, as_of=AS_OF, model=model, with_reasons=True)
    for lead, score in zip(leads, batch, strict=True):
        alone = score_lead(lead, as_of=AS_OF, model=model)
        assert score.conversion_probability == alone.conversion_probability
    bare = score_batch(leads, as_of=AS_OF, model=model)[0].conversion_probability
    assert bare is not None
    assert bare.base_log_odds is None
    assert bare.factors == ()


def test_a_number_far_beyond_all_others_still_has_an_answer() -> None:
    """No float holds its factor: it is said to be over a thousand, in words that add up."""
    space = FeatureSpace((NumericFeature("attribute:seats", 10.0, 0.1),))
    model = PropensityModel(
        version="propensity-1",
        target="call_booked",
        space=space,
        intercept=-1.0,
        coefficients=(2.0,),
        covariance=((1.0, 0.0), (0.0, 1.0)),
        calibration_intercept=0.0,
        calibration_slope=1.0,
    )
    lead = Lead(lead_id="far", attributes={"seats": "1e9"})
    score = score_lead(lead, as_of=AS_OF, model=PropensityScorer(model))
    found = score.conversion_probability
    assert found is not None
    assert found.probability == 1.0
    assert "over 1000 times the odds" in found.factors[0].text
