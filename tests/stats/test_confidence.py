"""Anchors of confidence on the effective sample, and the blend they lead to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.stats.confidence import blend_weight, confidence, effective_sample


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, 0.2),
        (9, 0.2),
        (10, 0.3),
        (20, 0.4),
        (29, 0.49),
        (30, 0.5),
        (50, 0.585),
        (100, 0.7),
        (200, 0.765),
        (500, 0.85),
        (1000, 0.95),
        (50_000, 0.95),
    ],
)
def test_anchors(n: int, expected: float) -> None:
    assert confidence(n, n // 2) == pytest.approx(expected, abs=5e-4)


def test_a_thousand_touches_with_one_conversion_are_ten() -> None:
    assert effective_sample(1000, 1) == 10
    assert effective_sample(1000, 999) == 10
    assert effective_sample(1000, 0) == 0
    assert confidence(1000, 1) == 0.3
    with pytest.raises(ValueError, match="converted"):
        confidence(3, 4)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_more_of_either_never_lowers_it(converted: int, others: int) -> None:
    here = confidence(converted + others, converted)
    assert 0.2 <= here <= 0.95
    assert confidence(converted + others + 1, converted + 1) >= here
    assert confidence(converted + others + 1, converted) >= here


def test_blend() -> None:
    assert [blend_weight(c) for c in (0.2, 0.5, 0.7, 0.95)] == [0.0, 0.0, 1.0, 1.0]
    assert blend_weight(0.6) == pytest.approx(0.5)
