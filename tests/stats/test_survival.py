"""Kaplan-Meier and Aalen-Johansen against lifelines, and the value of one more touch."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cis_server.domain.rates import RateEstimate
from cis_server.stats.survival import aalen_johansen, kaplan_meier, marginal_conversions


def rate(value: float, width: float = 0.2) -> RateEstimate:
    return RateEstimate(
        rate=value,
        adjusted_rate=value,
        low=value * (1 - width),
        high=value * (1 + width),
        sample=100,
        converted=round(100 * value),
    )


def test_kaplan_meier_is_that_of_lifelines() -> None:
    from lifelines import KaplanMeierFitter

    rng = np.random.default_rng(1)
    duration = rng.integers(0, 40, 300).astype(float)
    event = rng.random(300) < 0.4
    ours = kaplan_meier(duration, event)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = KaplanMeierFitter(alpha=0.1).fit(duration, event)
        survival = theirs.survival_function_at_times(ours.time).to_numpy()
        interval = theirs.confidence_interval_.loc[ours.time].to_numpy()
    np.testing.assert_allclose(ours.survival, survival, rtol=1e-12)
    np.testing.assert_allclose(ours.low, interval[:, 0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.high, interval[:, 1], rtol=1e-6, atol=1e-9)


def test_aalen_johansen_is_that_of_lifelines() -> None:
    from lifelines import AalenJohansenFitter

    rng = np.random.default_rng(2)
    duration = rng.permutation(400).astype(float) + 1  # no ties: lifelines jitters them
    cause = rng.choice([0, 1, 2], 400, p=[0.5, 0.3, 0.2])
    ours = aalen_johansen(duration, cause)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = AalenJohansenFitter(calculate_variance=False).fit(duration, cause, 1)
    cumulative = theirs.cumulative_density_.iloc[1:, 0].to_numpy()
    np.testing.assert_allclose(ours.incidence[:, 0], cumulative, rtol=1e-9)


def test_quantiles_wait_for_the_share_of_all_not_of_the_converted() -> None:
    curve = kaplan_meier([1, 2, 3, 10, 10, 10, 10, 10, 10, 10], [1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    assert curve.quantile(0.3) == 3
    assert curve.quantile(0.5) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=60)
def test_row_order_changes_nothing(rows: list[tuple[int, bool]]) -> None:
    forward = kaplan_meier(*map(list, zip(*rows, strict=True)))
    backward = kaplan_meier(*map(list, zip(*reversed(rows), strict=True)))
    assert forward.survival.tolist() == backward.survival.tolist()
    assert ((forward.survival >= 0) & (forward.survival <= 1)).all()


def test_no_lead_and_bad_durations() -> None:
    assert kaplan_meier([], []).quantile(0.5) is None
    with pytest.raises(ValueError, match="negative"):
        kaplan_meier([-1.0], [True])


def test_value_of_a_touch_counts_only_leads_that_are_still_open() -> None:
    value, low, high = marginal_conversions([rate(0.5), rate(0.2), rate(0.1)])
    np.testing.assert_allclose(value, [0.5, 0.5 * 0.2, 0.5 * 0.8 * 0.1])
    assert (low < value).all()
    assert (value < high).all()
    assert high[2] / value[2] > rate(0.1).high / 0.1
