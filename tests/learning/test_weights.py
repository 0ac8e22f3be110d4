"""The five weights: recovery, size and power on simulated clients, statuses, exact sums.

Bounds are the promised figures less (or plus) what chance alone moves them by at the number of
seeds used here; the full table is printed by `tests/bench/weights_power.py`.
"""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from cis_server.domain.weights import COMPONENTS, DEFAULT_WEIGHTS, Weights, rounded_weights
from cis_server.learning.weights import PRIOR_STRENGTH, WeightsStatus, fit_weights
from cis_server.learning.weights_gate import (
    WEEKLY_CHANGE_LIMIT,
    deviance_test,
    learn_weights,
    limit_change,
)
from cis_server.stats.nonnegative_logistic import group_rows
from cis_server.stats.simplex import project_to_box_simplex

DEFAULTS = np.array(DEFAULT_WEIGHTS.as_tuple())


def bench() -> ModuleType:
    path = Path(__file__).parents[1] / "bench" / "weights_power.py"
    spec = importlib.util.spec_from_file_location("weights_power", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


POWER = bench()


@cache
def intercept(kind: str) -> float:
    return float(POWER.intercept(POWER.DIRECTIONS[kind]))


def client(kind: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = POWER.client(kind, intercept(kind), n, seed)
    return x, y


def test_estimate_is_the_minimum_of_the_stated_objective() -> None:
    for seed in range(4):
        x, y = client("authority, slope 3", 400, seed)
        result = fit_weights(x, y, np.random.default_rng(0))

        def objective(theta: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> float:
            eta = theta[0] + theta[1] * (x @ theta[2:])
            loss = float(np.mean(np.logaddexp(0, eta) - y * eta))
            away = theta[2:] - DEFAULTS
            return loss + PRIOR_STRENGTH / len(y) * float(away @ away)

        rng = np.random.default_rng(seed)
        plain = min(
            optimize.minimize(
                objective,
                np.concatenate([[-3, rng.uniform(0, 8)], rng.dirichlet(np.full(5, 5))]),
                method="SLSQP",
                bounds=[(None, None), (0, None)] + [(0.05, 0.5)] * 5,
                constraints={"type": "eq", "fun": lambda theta: theta[2:].sum() - 1},
                options={"ftol": 1e-12, "maxiter": 500},
            ).fun
            for _ in range(5)
        )
        assert result.intercept is not None
        assert result.slope is not None
        ours = objective(np.array([result.intercept, result.slope, *result.weights.as_tuple()]))
        # Weights are rounded to three decimals.
        assert ours == pytest.approx(plain, abs=2e-6)


def test_planted_authority_is_found_and_promoted() -> None:
    decisions = [
        learn_weights(*client("authority, slope 3", 400, seed), np.random.default_rng(seed))
        for seed in range(40)
    ]
    authority = np.array([decision.result.weights.authority for decision in decisions])
    # .95 and .85 promised; two standard errors of 40 seeds below them.
    assert (authority > 0.25).mean() >= 0.88
    assert np.mean([decision.passed for decision in decisions]) >= 0.74
    for decision in decisions:
        assert decision.result.intervals is not None
        for name, weight in decision.result.weights.as_dict().items():
            interval = decision.result.intervals[name]
            # The weight is rounded to three decimals, by at most a thousandth; the bounds are not.
            assert 0.05 - 1e-9 <= interval.low <= weight + 1e-3
            assert weight - 1e-3 <= interval.high <= 0.5 + 1e-9


@pytest.mark.parametrize(("kind", "n"), [("authority, slope 5", 400), ("authority, slope 3", 1000)])
def test_strong_evidence_is_promoted(kind: str, n: int) -> None:
    passed = [
        learn_weights(*client(kind, n, seed), np.random.default_rng(seed)).passed
        for seed in range(20)
    ]
    assert np.mean(passed) >= 0.9


@pytest.mark.parametrize(("kind", "at_most"), [("noise", 0.05), ("defaults true, slope 4", 0.08)])
def test_right_defaults_are_kept(kind: str, at_most: float) -> None:
    seeds = 40
    passed = [
        learn_weights(*client(kind, 400, seed), np.random.default_rng(seed)).passed
        for seed in range(seeds)
    ]
    assert np.mean(passed) <= at_most + 2 * np.sqrt(at_most * (1 - at_most) / seeds)


def test_size_of_the_deviance_test_itself() -> None:
    p_values = []
    for seed in range(120):
        x, y = client("defaults true, slope 4", 400, seed + 1000)
        test = deviance_test(group_rows(x, y), np.random.default_rng(seed), draws=199)
        p_values.append(test.p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 120)
    assert 0.4 <= np.mean(p_values) <= 0.6


def test_row_order_changes_no_bit() -> None:
    x, y = client("authority, slope 3", 400, 1)
    order = np.random.default_rng(0).permutation(400)
    one = learn_weights(x, y, np.random.default_rng(5))
    other = learn_weights(x[order], y[order], np.random.default_rng(5))
    assert one == other


def test_more_outcomes_weaken_the_prior() -> None:
    few = fit_weights(*client("authority, slope 3", 400, 2), np.random.default_rng(0))
    many = fit_weights(*client("authority, slope 3", 10_000, 2), np.random.default_rng(0))
    assert many.weights.authority == 0.5
    assert few.weights.authority < 0.5
    assert few.intervals is not None
    assert many.intervals is not None
    before, after = few.intervals["timing"], many.intervals["timing"]
    assert after.high - after.low < before.high - before.low


def sound(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    x, y = client("authority, slope 5", n, 3)
    return x.copy(), y.copy()


def test_single_class() -> None:
    x, y = sound()
    for label in (0.0, 1.0):
        result = fit_weights(x, np.full(len(y), label), np.random.default_rng(0))
        assert result.status is WeightsStatus.SINGLE_CLASS
        assert result.weights == DEFAULT_WEIGHTS
        assert result.confidence == 0


def test_tiny_data_and_rare_classes() -> None:
    x, y = sound()
    tiny = fit_weights(x[:49], y[:49], np.random.default_rng(0))
    assert tiny.status is WeightsStatus.INSUFFICIENT_DATA
    assert fit_weights(np.empty((0, 5)), [], np.random.default_rng(0)).n == 0
    rare = np.zeros(400)
    rare[:19] = 1
    assert fit_weights(x, rare, np.random.default_rng(0)).status is WeightsStatus.INSUFFICIENT_DATA
    assert "20 of each" in fit_weights(x, 1 - rare, np.random.default_rng(0)).reason


def test_missing_components_leave_rows_out() -> None:
    x, y = sound()
    x[60:, 2] = np.nan
    short = fit_weights(x[:, :], y, np.random.default_rng(0))
    assert short.status in (WeightsStatus.INSUFFICIENT_DATA, WeightsStatus.SINGLE_CLASS)
    x[40:, 2] = np.nan
    result = fit_weights(x, y, np.random.default_rng(0))
    assert result.status is WeightsStatus.INSUFFICIENT_COMPONENT_DATA
    assert result.n == 40
    x, y = sound()
    x[::10, 1] = np.nan
    kept = np.isfinite(x).all(axis=1)
    one = fit_weights(x, y, np.random.default_rng(0))
    assert one == fit_weights(x[kept], y[kept], np.random.default_rng(0))
    assert one.status is WeightsStatus.SUCCESS


def test_constant_components_keep_the_default() -> None:
    x, y = sound()
    x[:, 4] = 1.0
    result = fit_weights(x, y, np.random.default_rng(0))
    assert result.status is WeightsStatus.SUCCESS
    assert result.held == ("risk",)
    assert result.weights.risk == DEFAULT_WEIGHTS.risk
    assert result.weights.authority > 0.25
    assert result.intervals is not None
    assert result.intervals["risk"].low == result.intervals["risk"].high == 0.15
    assert result.intercept is not None
    assert result.slope is not None
    eta = result.intercept + result.slope * (x @ np.array(result.weights.as_tuple()))
    assert special.expit(eta).mean() == pytest.approx(y.mean(), abs=2e-3)


def test_nothing_varies() -> None:
    x, y = sound()
    for kept in ([], [1]):
        flat = np.full_like(x, 0.4)
        flat[:, kept] = x[:, kept]
        result = learn_weights(flat, y, np.random.default_rng(0)).result
        assert result.status is WeightsStatus.NO_VARIANCE
        assert result.weights == DEFAULT_WEIGHTS
        assert len(result.held) == 5 - len(kept)


def test_refused_estimate_keeps_its_figures_and_says_by_which_gate() -> None:
    decision = learn_weights(*client("noise", 400, 0), np.random.default_rng(0))
    assert not decision.passed
    assert decision.result.status is WeightsStatus.NOT_BETTER
    assert decision.promotable == decision.result.weights
    failed = [gate for gate in decision.gates if not gate.passed]
    assert {gate.name for gate in failed} <= {"nested_deviance", "out_of_fold_gain"}
    assert all(gate.text in decision.result.reason for gate in failed)
    assert decision.result.gain is not None


def test_change_is_limited_from_the_second_promotion_on() -> None:
    x, y = client("authority, slope 5", 1000, 0)
    first = learn_weights(x, y, np.random.default_rng(0))
    assert first.passed
    assert not first.limited
    second = learn_weights(x, y, np.random.default_rng(0), live=DEFAULT_WEIGHTS, promotions=1)
    assert second.limited
    assert second.promotable is not None
    assert second.promotable.authority == pytest.approx(0.3, abs=1e-9)
    assert second.result.weights == first.result.weights


SHARES = st.lists(st.floats(0.05, 0.5), min_size=5, max_size=5)


@given(SHARES, SHARES)
@settings(max_examples=200)
def test_limited_moves_stay_legal_and_point_the_right_way(a: list[float], b: list[float]) -> None:
    def legal(values: list[float]) -> Weights:
        return rounded_weights(
            project_to_box_simplex(np.array(values), low=0.05, high=0.5, total=1.0).tolist()
        )

    live, learned = legal(a), legal(b)
    moved, limited = limit_change(live, learned)
    start, end, now = (np.array(w.as_tuple()) for w in (live, learned, moved))
    assert np.abs(now - start).max() <= WEEKLY_CHANGE_LIMIT + 1e-9
    assert round(sum(now), 9) == 1
    assert ((now >= 0.05) & (now <= 0.5)).all()
    assert limited == bool(np.abs(end - start).max() > WEEKLY_CHANGE_LIMIT + 1e-9)
    assert ((now - start) * (end - start) >= -0.002).all()
    if limited:
        assert np.abs(now - start).max() >= WEEKLY_CHANGE_LIMIT - 0.003


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="same number"):
        fit_weights(np.ones((3, 5)), [1, 0], np.random.default_rng(0))
    with pytest.raises(ValueError, match="maximum"):
        fit_weights(np.full((2, 5), 20.0), [1, 0], np.random.default_rng(0))
    with pytest.raises(ValueError, match="0 or 1"):
        fit_weights(np.ones((2, 5)), [2, 0], np.random.default_rng(0))
    assert len(COMPONENTS) == 5
