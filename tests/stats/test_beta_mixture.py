"""Quantiles of Beta mixtures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cis_server.stats.beta_mixture import mixture_quantiles
from cis_server.stats.rates import Posterior, estimate_segments
from cis_server.stats.shrinkage import shrink_rates, shrunk_means

PARAMETER = st.floats(0.3, 5_000.0)


def test_one_component_is_a_beta_distribution() -> None:
    a, b = np.array([[1.0], [3.5], [400.0]]), np.array([[1.0], [90.0], [12.0]])
    low, middle, high = mixture_quantiles((0.05, 0.5, 0.95), a, b, np.ones(1), precision=1e-9)
    for level, found in ((0.05, low), (0.5, middle), (0.95, high)):
        assert found == pytest.approx(stats.beta(a[:, 0], b[:, 0]).ppf(level), rel=1e-9)


@given(
    parameters=st.lists(st.tuples(PARAMETER, PARAMETER), min_size=2, max_size=6),
    level=st.floats(0.02, 0.98),
)
def test_the_distribution_function_at_a_quantile_is_its_level(
    parameters: list[tuple[float, float]], level: float
) -> None:
    a, b = (np.array(values)[None, :] for values in zip(*parameters, strict=True))
    weight = np.arange(1.0, len(parameters) + 1.0)
    weight /= weight.sum()
    (found,) = mixture_quantiles((level,), a, b, weight, precision=1e-9)
    # Between components far apart the function is flat: any point there has the level.
    assert stats.beta(a[0], b[0]).cdf(found[0]) @ weight == pytest.approx(level, abs=1e-7)


def test_means_alone_are_those_with_intervals() -> None:
    k, n = [3, 0, 12, 5, 5], [40, 3, 90, 41, 41]
    assert (shrunk_means(k, n) == shrink_rates(k, n).mean).all()
    assert shrunk_means([], []).size == 0


def test_rates_known_already_are_taken_and_the_others_pulled_together() -> None:
    k, n = [3, 0, 12], [40, 3, 90]
    usual = estimate_segments(k, n)
    values = np.array([0.2, np.nan, 0.4])
    given_rates = Posterior(values, values / 2, values * 2, np.array([1.5, np.nan, np.nan]))
    p_values = np.array([0.1, np.nan, 0.3])
    found = estimate_segments(k, n, posterior=given_rates, p_values=p_values)
    first, second, third = found.estimates
    assert (first.adjusted_rate, first.low, first.high, first.adjusted_lift) == (0.2, 0.1, 0.4, 1.5)
    assert second == usual.estimates[1]
    assert (third.adjusted_rate, third.adjusted_lift) == (0.4, None)
    assert np.array_equal(found.p_values, p_values, equal_nan=True)
    assert first.rate == usual.estimates[0].rate
