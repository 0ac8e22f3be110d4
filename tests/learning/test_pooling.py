"""Pooling: planted effects shared by clients help one with few leads, and nobody's own is lost."""

import dataclasses
import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from cis_server.domain.pooling import Column, Contribution
from cis_server.domain.propensity import OTHER_LEVEL, CategoricalFeature, NumericFeature
from cis_server.learning.design import bounded_space, design
from cis_server.learning.metrics import log_loss, pr_auc
from cis_server.learning.pooling import (
    LEAST_CONTRIBUTORS,
    PooledPrior,
    contribution,
    full_space,
    pooled,
)
from cis_server.learning.propensity import learn_propensity, pooled_fit
from cis_server.scoring.features import RawColumns
from cis_server.scoring.propensity import PropensityScorer
from cis_server.stats.logistic import fit_logistic

SHARED = {"a": 0.0, "b": 1.0, "c": -0.8, "d": 0.5}


def leads(n: int, seed: int) -> tuple[RawColumns, np.ndarray]:
    """n leads of one client, whose effects lie around those that all clients share."""
    own = np.random.default_rng(seed)
    effect = {level: value + 0.15 * own.normal() for level, value in SHARED.items()}
    slope, rate = 0.7 + 0.15 * own.normal(), -2.2 + 0.5 * own.normal()
    level = own.choice(list(effect), n).tolist()
    size = own.normal(40.0, 15.0, n)
    local = own.choice(["x", "y"], n).tolist()
    eta = rate + np.array([effect[name] for name in level]) + slope * (size - 40.0) / 15.0
    raw: RawColumns = {
        "attribute:kind": list(level),
        "attribute:size": [None if own.random() < 0.1 else float(value) for value in size],
        f"attribute:own{seed}": list(local),
    }
    return raw, (own.random(n) < special.expit(eta)).astype(float)


@cache
def others(count: int = 8) -> tuple[Contribution, ...]:
    parts = [contribution(*leads(1500, seed), "converted") for seed in range(100, 100 + count)]
    return tuple(part for part in parts if part is not None)


@cache
def prior() -> PooledPrior:
    found = pooled(others())
    assert found is not None
    return found


def predicted(model: object, raw: RawColumns, n: int) -> np.ndarray:
    scorer = PropensityScorer(model)  # type: ignore[arg-type]
    return scorer.rows(*scorer.encoder.encode_columns(raw, n))[:, 0]


def test_the_pool_finds_what_the_clients_share() -> None:
    model = prior().model()
    effect = dict(zip(model.space.columns, model.coefficients, strict=True))
    for level, value in SHARED.items():
        found = effect[f"attribute:kind={level}"] - effect["attribute:kind=a"]
        assert found == pytest.approx(value, abs=0.25)
    (size,) = (f for f in model.space.features if isinstance(f, NumericFeature))
    # Leads near a probability of one half tell most, and they are the larger ones.
    assert size.mean == pytest.approx(44.0, abs=4.0)
    assert effect["attribute:size"] / size.scale * 15.0 == pytest.approx(0.7, abs=0.15)
    assert all(np.sqrt(prior().between) < 0.8)


def test_few_leads_are_judged_better_with_the_pool_and_many_alike() -> None:
    small_gain, large_gap = [], []
    for seed in range(6):
        raw, y = leads(6000, seed)
        test = {name: values[3000:] for name, values in raw.items()}
        for n in (60, 3000):
            head = {name: values[:n] for name, values in raw.items()}
            space = bounded_space(head, n)
            alone = fit_logistic(design(space, head, n), y[:n], prior_precision=2.0)
            own = special.expit(alone.log_odds(design(space, test, 3000)))
            with_pool = predicted(pooled_fit(head, y[:n], prior()), test, 3000)
            gain = log_loss(y[3000:], own) - log_loss(y[3000:], with_pool)
            (small_gain if n == 60 else large_gap).append(gain)
    assert np.mean(small_gain) > 0.01
    assert np.mean(np.array(small_gain) > 0.0) >= 0.8
    assert np.abs(large_gap).max() < 0.004


def test_a_client_with_much_data_gets_its_own_answer() -> None:
    # Effects turned round: the others are wrong about this client, and its data say so.
    own = np.random.default_rng(9)
    level = own.choice(list(SHARED), 20_000).tolist()
    eta = -2.0 - 1.5 * np.array([SHARED[name] for name in level])
    y = (own.random(20_000) < special.expit(eta)).astype(float)
    model = pooled_fit({"attribute:kind": list(level)}, y, prior())
    effect = dict(zip(model.space.columns, model.coefficients, strict=True))
    found = effect["attribute:kind=b"] - effect["attribute:kind=c"]
    assert found == pytest.approx(-1.5 * 1.8, abs=0.4)


def test_no_leads_give_the_pooled_answer_exactly() -> None:
    empty: RawColumns = {"attribute:kind": []}
    model = pooled_fit(empty, [], prior())
    assert model == prior().model()
    space = prior().space
    fit = fit_logistic(np.empty((0, space.width)), [], prior=prior().prior(space, 2.0))
    np.testing.assert_allclose(fit.coefficients, prior().mean[1:], rtol=0, atol=1e-12)
    assert fit.intercept == pytest.approx(prior().mean[0], abs=1e-12)


def test_the_prior_in_a_clients_own_encoding_predicts_the_same() -> None:
    raw, _ = leads(400, 3)
    del raw["attribute:own3"]
    space = bounded_space(raw, 400)
    translated = prior().prior(space, 2.0)
    eta = translated.mean[0] + design(space, raw, 400) @ translated.mean[1:]
    there = prior().model()
    expected = there.intercept + design(there.space, raw, 400) @ np.array(there.coefficients)
    known = [value is not None for value in raw["attribute:size"]]
    np.testing.assert_allclose(eta[known], expected[known], atol=1e-9)
    spread = np.linalg.inv(translated.precision)
    rows = np.column_stack([np.ones(400), design(space, raw, 400)])[known]
    full = np.column_stack([np.ones(400), design(there.space, raw, 400)])[known]
    np.testing.assert_allclose(
        np.einsum("ij,jk,ik->i", rows, spread, rows),
        np.einsum("ij,jk,ik->i", full, prior().covariance, full),
        rtol=1e-6,
    )


def test_fewer_than_five_others_say_nothing() -> None:
    assert pooled(others()[: LEAST_CONTRIBUTORS - 1]) is None
    assert pooled(others()[:LEAST_CONTRIBUTORS]) is not None


def test_what_only_some_clients_have_does_not_cross() -> None:
    names = {feature.name for feature in prior().space.features}
    assert names == {"attribute:kind", "attribute:size"}
    told = json.dumps(prior().to_json())
    assert "own1" not in told
    assert OTHER_LEVEL not in told


def test_a_contribution_is_coefficients_information_and_counts() -> None:
    part = others()[0]
    assert {field.name for field in dataclasses.fields(part)} == {
        "target", "columns", "coefficients", "information", "leads", "positives",
    }  # fmt: skip
    assert Contribution.from_json(json.loads(json.dumps(part.to_json()))) == part
    assert contribution(*leads(60, 1), "converted") is None


def test_the_order_of_clients_does_not_matter() -> None:
    again = pooled(others()[::-1])
    assert again is not None
    np.testing.assert_array_equal(again.mean, prior().mean)
    assert json.dumps(again.to_json()) == json.dumps(prior().to_json())
    back = PooledPrior.from_json(json.loads(json.dumps(prior().to_json())))
    assert back.model() == prior().model()


def test_only_one_target_is_pooled() -> None:
    other = dataclasses.replace(others()[0], target="customer")
    with pytest.raises(ValueError, match="target"):
        pooled([*others(), other])


def _gaussian(
    column: str, means: Sequence[float], deviations: Sequence[float]
) -> list[Contribution]:
    """Contributions of one number, and an intercept known well."""
    made = []
    for mean, deviation in zip(means, deviations, strict=True):
        weight = 1.0 / deviation**2
        made.append(
            Contribution(
                target="t",
                columns=(Column(column, "yes"),),
                coefficients=(-2.0, mean),
                information=((400.0, 0.0), (0.0, weight)),
                leads=1000,
                positives=100,
            )
        )
    return made


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-2.0, 2.0), min_size=6, max_size=12),
    st.floats(0.05, 0.5),
)
def test_the_mean_lies_among_the_clients_and_disagreement_widens_it(
    means: list[float], deviation: float
) -> None:
    found = pooled(_gaussian("f", means, [deviation] * len(means)))
    assert found is not None
    low, high = min(0.0, *means), max(0.0, *means)
    assert low - 1e-6 <= found.mean[1] <= high + 1e-6
    apart = float(np.std(means))
    if apart > 3 * deviation:
        assert found.between[1] == pytest.approx(apart**2, rel=0.6, abs=0.1)
    assert found.covariance[1, 1] >= found.between[1]


def test_the_variance_between_clients_is_recovered() -> None:
    own = np.random.default_rng(5)
    means = own.normal(0.5, 0.6, 40)
    deviations = np.full(40, 0.2)
    found = pooled(
        _gaussian("f", (means + 0.2 * own.normal(size=40)).tolist(), deviations.tolist())
    )
    assert found is not None
    assert np.sqrt(found.between[1]) == pytest.approx(0.6, rel=0.3)
    assert found.mean[1] == pytest.approx(0.5, abs=0.25)


def test_a_learned_client_is_told_how_many_it_rests_on() -> None:
    raw, y = leads(1500, 4)
    fit = learn_propensity(
        raw,
        y,
        np.arange(1500),
        [None] * 1500,
        np.random.default_rng(0),
        baseline_score=np.random.default_rng(1).random(1500),
        pool=prior(),
    )
    assert fit.model is not None
    assert fit.report["pool"]["contributors"] == len(others())
    assert {feature.name for feature in fit.model.space.features} == {
        "attribute:kind", "attribute:size", "attribute:own4",
    }  # fmt: skip
    assert fit.outcome.pr_auc is not None
    assert fit.outcome.pr_auc > fit.outcome.pr_auc_baseline  # type: ignore[operator]


def test_every_level_has_a_column_where_clients_meet() -> None:
    raw, _ = leads(400, 5)
    space = bounded_space(raw, 400)
    kinds = {
        feature.name: set(feature.levels)
        for feature in full_space(space).features
        if isinstance(feature, CategoricalFeature)
    }
    assert kinds["attribute:kind"] == set(SHARED)


def test_pooled_ranking_beats_chance_for_a_new_client() -> None:
    raw, y = leads(4000, 77)
    score = predicted(prior().model(), raw, 4000)
    assert pr_auc(y, score) > 1.5 * y.mean()
