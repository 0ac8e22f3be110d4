"""Shrunk rates: exact where scipy can say, coverage by simulation, order of nothing matters."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from cis_server.stats.shrinkage import shrink_rates

COUNTS = st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def covered(rates: np.ndarray, leads: int, seeds: int) -> np.ndarray:
    """(seeds, segments) whether the 90 % interval holds the truth; rates (seeds, segments)."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, leads])
        truth = rates[seed]
        n = rng.multinomial(leads, np.full(truth.size, 1 / truth.size))
        shrunk = shrink_rates(rng.binomial(n, truth), n)
        found.append((shrunk.low <= truth) & (truth <= shrunk.high))
    return np.array(found)


def test_against_numerical_integration_over_mean_and_strength() -> None:
    k, n = np.array([6, 1, 3]), np.array([30, 40, 35])
    scale = float(np.sqrt(n.mean() * np.exp(np.log(n).mean())))

    def density(mu: float, factor: float) -> float:
        s = scale * factor / (1 - factor)
        marginal = stats.betabinom.logpmf(k, n, mu * s, (1 - mu) * s).sum()
        return float(np.exp(marginal + 10) / np.sqrt(mu * (1 - mu)))

    def posterior(what: object) -> float:
        inside = lambda mu, factor: density(mu, factor) * what(mu, scale * factor / (1 - factor))  # type: ignore[operator]  # noqa: E731
        return integrate.dblquad(inside, 0.005, 0.9995, 0.005, 0.6, epsabs=1e-8, epsrel=1e-4)[0]

    whole = posterior(lambda mu, s: 1.0)
    mean = posterior(lambda mu, s: (mu * s + 6) / (s + 30)) / whole
    found = shrink_rates(k, n)
    assert found.mean[0] == pytest.approx(mean, abs=1e-3)
    below = posterior(lambda mu, s: special.betainc(mu * s + 6, (1 - mu) * s + 24, found.low[0]))
    assert below / whole == pytest.approx(0.05, abs=3e-3)


def test_null_segments_are_covered_and_planted_ones_reported() -> None:
    null = covered(np.full((150, 7), 0.08), 300, 150)
    assert null.mean() >= 0.93
    planted = np.full((150, 7), 0.08)
    planted[:, 0] = 0.16
    found = covered(planted, 300, 150)
    assert found.mean() >= 0.88
    # A plug-in estimate reaches .40 here.
    assert found[:, 0].mean() >= 0.55


@pytest.mark.parametrize(("segments", "leads"), [(7, 300), (24, 1000), (24, 10_000)])
@pytest.mark.parametrize("strength", [30, 100])
def test_drawn_rates_are_covered(segments: int, leads: int, strength: float) -> None:
    rng = np.random.default_rng(9)
    rates = rng.beta(0.08 * strength, 0.92 * strength, (120, segments))
    assert 0.84 <= covered(rates, leads, 120).mean() <= 0.96


@given(st.lists(COUNTS, min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_of_segments_changes_nothing(counts: list[tuple[int, int]], random: object) -> None:
    order = list(range(len(counts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one = shrink_rates(*zip(*counts, strict=True))
    other = shrink_rates(*zip(*[counts[i] for i in order], strict=True))
    for name in ("mean", "low", "high", "complement_mean"):
        assert getattr(one, name)[order].tolist() == getattr(other, name).tolist()


@given(st.lists(COUNTS, min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_what_holds_for_any_counts(counts: list[tuple[int, int]]) -> None:
    k, n = np.array(counts).T
    found = shrink_rates(k, n)
    assert ((found.low > 0) & (found.low < found.mean)).all()
    assert ((found.mean < found.high) & (found.high < 1)).all()
    # Between the segment's own rate and the rest: shrinkage never overshoots.
    seen = n > 0
    own = k[seen] / n[seen]
    within = (found.mean[seen] - own) * (np.median(found.mean) - own) >= -0.35
    assert within.all()


def test_more_successes_are_never_a_lower_rate() -> None:
    found = shrink_rates(np.arange(11), np.full(11, 50))
    for values in (found.mean, found.low, found.high):
        assert (np.diff(values) > 0).all()


def test_much_data_speaks_for_itself_and_none_is_the_prior() -> None:
    found = shrink_rates([16_000, 2, 0], [100_000, 100, 0])
    exact = stats.beta(16_000, 84_000)
    assert found.mean[0] == pytest.approx(0.16, abs=3e-4)
    assert (found.low[0], found.high[0]) == pytest.approx(exact.ppf([0.05, 0.95]), abs=3e-4)
    assert found.low[2] < 0.03
    assert found.high[2] > 0.16
    nothing = shrink_rates([0, 0], [0, 0])
    assert nothing.mean == pytest.approx([0.5, 0.5])
    assert shrink_rates([], []).mean.size == 0


def test_complement_is_of_the_total_given() -> None:
    found = shrink_rates([30, 10], [100, 100], total=(60, 400))
    assert found.complement_mean[0] == pytest.approx(30 / 300, rel=0.15)
    assert found.complement_mean[1] == pytest.approx(50 / 300, rel=0.15)


@pytest.mark.parametrize("bad", [([2], [1]), ([-1], [3]), ([1, 2], [3]), ([np.nan], [2])])
def test_impossible_counts_are_refused(bad: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match=r"must h"):
        shrink_rates(*bad)
    with pytest.raises(ValueError, match="must hold"):
        shrink_rates([1], [10], total=(0, 20))


def test_five_hundred_segments_are_quick() -> None:
    rng = np.random.default_rng(0)
    n = rng.multinomial(100_000, rng.dirichlet(np.full(500, 0.5)))
    k = rng.binomial(n, 0.08)
    shrink_rates(k, n)
    begin = time.perf_counter()
    for _ in range(5):
        shrink_rates(k, n)
    assert (time.perf_counter() - begin) / 5 < 0.25
