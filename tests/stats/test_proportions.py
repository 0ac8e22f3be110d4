"""Single rates against statsmodels, and lift as the stored patterns mean it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from cis_server.stats.proportions import jeffreys, lift

COUNTS = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS)
def test_jeffreys_is_that_of_statsmodels_but_for_the_ends(counts: tuple[int, int]) -> None:
    k, n = counts
    low, high = proportion_confint(k, n, alpha=0.1, method="jeffreys")
    found = jeffreys(k, n)
    assert found.low == pytest.approx(0.0 if k == 0 else low)
    assert found.high == pytest.approx(1.0 if k == n else high)


def test_nothing_known_is_anything_between_0_and_1() -> None:
    interval = jeffreys(0, 0)
    assert (interval.low, interval.high) == (0.0, 1.0)
    with pytest.raises(ValueError, match="no share"):
        jeffreys(2, 1)


def test_lift() -> None:
    assert lift(0.12, 0.08) == pytest.approx(1.5)
    assert lift(0.12, 0.0) == 1.0
    assert lift(0.0, 0.08) == 0.0
