"""Rate estimates of whole dimensions, and what a run of them finds where the truth is known."""

import numpy as np
import pytest

from cis_server.domain.vocabulary import Verdict
from cis_server.stats.multiplicity import benjamini_hochberg, verdict
from cis_server.stats.rates import Strata, estimate_segments


def test_every_field_means_what_it_says() -> None:
    strata = Strata(k=[[6, 10], [2, 2]], n=[[30, 70], [40, 60]], total_k=[8, 12], total_n=[70, 130])
    found = estimate_segments([16, 4], [100, 100], baseline=0.05, strata=strata)
    one = found.estimates[0]
    assert (one.rate, one.sample, one.converted) == (0.16, 100, 16)
    assert one.lift == pytest.approx(3.2)
    assert one.low < one.adjusted_rate < one.high
    assert 0.1 < one.adjusted_rate < 0.16
    assert one.adjusted_lift is not None
    assert 1 < one.adjusted_lift < 4
    assert one.stratified_lift == pytest.approx(
        (6 * 40 / 70 + 10 * 60 / 130) / (2 * 30 / 70 + 2 * 70 / 130)
    )
    assert one.stratified_low is not None
    assert one.q_value is None


def test_empty_and_only_segments() -> None:
    found = estimate_segments([0, 5], [0, 50])
    empty, whole = found.estimates
    assert (empty.rate, empty.lift, empty.adjusted_lift) == (None, None, None)
    assert whole.lift == pytest.approx(1.0)
    assert whole.adjusted_lift is None
    assert np.isnan(found.p_values).all()
    assert estimate_segments([], []).estimates == ()


def run(rng: np.random.Generator, leads: int, planted: float) -> tuple[bool, bool]:
    """(the planted segment wins, another one does) in 12 dimensions of 5 to 10 segments."""
    first = rng.random(leads) < 0.2
    rate = np.where(first, planted * 0.08, 0.08)
    y = rng.random(leads) < rate
    dimensions = []
    for d in range(12):
        code = first.astype(int) if d == 0 else rng.integers(0, 5 + d % 6, leads)
        n, k = np.bincount(code), np.bincount(code, y).astype(int)
        dimensions.append(estimate_segments(k, n))
    q_values = benjamini_hochberg(np.concatenate([found.p_values for found in dimensions]))
    estimates = [estimate for found in dimensions for estimate in found.estimates]
    winners = {
        place
        for place, (found, q) in enumerate(zip(estimates, q_values, strict=True))
        if verdict(found.low, found.high, q, float(y.mean()), found.sample) is Verdict.WINNING
    }
    return 1 in winners, bool(winners - {1})


def test_nothing_planted_nothing_found() -> None:
    found = [run(np.random.default_rng([seed, 1]), 1000, 1.0) for seed in range(120)]
    # At most 10 % expected; 120 runs at 10 % exceed 20 with probability < .01.
    assert sum(any(pair) for pair in found) <= 20


def test_a_doubled_rate_on_a_fifth_of_the_leads_is_found() -> None:
    thousand = [run(np.random.default_rng([seed, 2]), 1000, 2.0)[0] for seed in range(100)]
    ten_thousand = [run(np.random.default_rng([seed, 3]), 10_000, 2.0)[0] for seed in range(25)]
    assert np.mean(thousand) >= 0.5
    assert np.mean(ten_thousand) >= 0.9
