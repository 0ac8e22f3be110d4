"""Thompson sampling: probabilities against brute force, draws against probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from serving_fakes import rate

from cis_server.domain.rates import RateEstimate
from cis_server.serving.draws import SeededDraws, decision_id, draws_for
from cis_server.serving.exploration import choose, probabilities_best


def exact(k: int, n: int) -> RateEstimate:
    """A beta posterior with its own mean and 90 % interval."""
    law = stats.beta(k + 1, n - k + 19)
    return RateEstimate(
        rate=k / n,
        adjusted_rate=float(law.mean()),
        low=float(law.ppf(0.05)),
        high=float(law.ppf(0.95)),
        sample=n,
        converted=k,
    )


def test_probability_of_being_best_agrees_with_sampling() -> None:
    counts = [(30, 300), (28, 300), (5, 40), (20, 300)]
    generator = np.random.default_rng(1)
    drawn = np.stack([generator.beta(k + 1, n - k + 19, 200_000) for k, n in counts])
    frequency = np.bincount(drawn.argmax(axis=0), minlength=4) / 200_000
    found = probabilities_best([exact(k, n) for k, n in counts])
    assert found == pytest.approx(frequency, abs=0.015)


def test_discounts_count() -> None:
    pair = [exact(30, 300), exact(30, 300)]
    assert probabilities_best(pair) == pytest.approx([0.5, 0.5])
    generator = np.random.default_rng(2)
    drawn = np.stack([generator.beta(31, 289, 200_000), 0.8 * generator.beta(31, 289, 200_000)])
    frequency = float((drawn.argmax(axis=0) == 0).mean())
    assert probabilities_best(pair, discounts=[1.0, 0.8])[0] == pytest.approx(frequency, abs=0.015)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.integers(1, 10**7).flatmap(lambda n: st.builds(rate, st.integers(0, n), st.just(n))),
        ),
        min_size=1,
        max_size=12,
    ),
    st.floats(0.0, 1.0),
    st.data(),
)
def test_propensities_are_a_distribution(
    estimates: list[RateEstimate | None], share: float, data: st.DataObject
) -> None:
    greedy = data.draw(st.integers(0, len(estimates) - 1))
    choice = choose(estimates, greedy, share, SeededDraws("x"), baseline=0.08)
    assert sum(choice.propensities) == pytest.approx(1.0)
    assert all(p >= 0.0 for p in choice.propensities)
    assert choice.propensities[choice.index] > 0.0
    assert choice.propensities[greedy] >= 1.0 - share - 1e-9


def test_without_exploration_nothing_is_drawn() -> None:
    class NoDraws:
        def random(self) -> float:
            raise AssertionError("a number was drawn")

    choice = choose([rate(1, 100), rate(50, 100)], 0, 0.0, NoDraws())
    assert (choice.index, choice.propensities) == (0, (1.0, 0.0))


def test_options_without_data_are_tried_alike() -> None:
    assert probabilities_best([None, None, None]) == pytest.approx([1 / 3] * 3)
    known = probabilities_best([rate(80, 1000), None], baseline=0.08)
    assert 0.2 < known[1] < 0.5  # wide belief: worth a try, not the favourite


def test_draws_are_uniform_and_repeatable() -> None:
    stream = SeededDraws("a", "b")
    numbers = [stream.random() for _ in range(20_000)]
    assert stats.kstest(numbers, "uniform").pvalue > 0.001
    again = SeededDraws("a", "b")
    assert [again.random() for _ in range(50)] == numbers[:50]
    assert SeededDraws("ab").random() != SeededDraws("a", "b").random()
    assert SeededDraws("a", "b", "").random() != numbers[0]


def test_streams_of_leads() -> None:
    assert draws_for("l", "t").random() == draws_for("l", "t").random()
    assert draws_for(None, "t").random() != draws_for(None, "t").random()


def test_decision_ids_are_uuids_of_the_decision() -> None:
    import uuid

    one = decision_id("timing", "acme", "lead")
    assert uuid.UUID(one).version == 8
    assert one == decision_id("timing", "acme", "lead")
    assert one != decision_id("timing", "acmel", "ead")
