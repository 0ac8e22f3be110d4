"""The propensity model on simulated leads: like scikit-learn, refused on noise, repeatable."""

import json

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from cis_server.learning.design import bounded_space, design
from cis_server.learning.live_comparison import Incumbent
from cis_server.learning.propensity import PropensityFit, learn_propensity
from cis_server.scoring.features import RawColumns
from cis_server.scoring.propensity import PropensityScorer


def simulated(
    n: int, seed: int, signal: float = 0.8, base: float = -2.4
) -> tuple[RawColumns, np.ndarray, np.ndarray]:
    """Raw features, outcomes and true log-odds of n leads in the order of time."""
    rng = np.random.default_rng(seed)
    eta = np.full(n, base)
    raw: RawColumns = {}
    for f in range(6):
        level = rng.integers(0, 6, n)
        effect = signal * np.linspace(-1, 1, 6)[rng.permutation(6)]
        eta += effect[level]
        raw[f"attribute:f{f}"] = [f"v{value}" for value in level]
    number = rng.normal(size=n)
    eta += signal * number
    raw["attribute:size"] = [float(value) for value in number]
    return raw, rng.random(n) < special.expit(eta), eta


def learned(
    raw: RawColumns, y: np.ndarray, *, seed: int = 0, groups: list[str | None] | None = None
) -> PropensityFit:
    score = np.random.default_rng(seed + 500).random(len(y))
    return learn_propensity(
        raw,
        y,
        np.arange(len(y)),
        groups if groups is not None else [None] * len(y),
        np.random.default_rng(seed),
        baseline_score=score,
        version="v1",
    )


@pytest.mark.parametrize("seed", range(4))
def test_leads_of_one_company_are_a_finding_and_cost_no_run(seed: int) -> None:
    """All of them lie on one side of the split, whichever that is."""
    raw, y, _ = simulated(1000, 1)
    outcome = learned(raw, y, seed=seed, groups=["gmail.com"] * 1000).outcome
    assert outcome.status == "gate_failed"
    assert outcome.reason.endswith(
        "leads converted: the model cannot be "
        + ("fitted to them" if outcome.n_test else "judged on them")
    )


@pytest.mark.parametrize("number", [1e300, -1e308, 10.0**160])
def test_numbers_beyond_reason_are_missing(number: float) -> None:
    raw, y, _ = simulated(1000, 1)
    huge = {f"attribute:{kind}": values for kind, values in {
        "number": [number * (1 + place % 7) / 8 for place in range(1000)],
        "text": [f"{1 + place % 50}e200" for place in range(1000)],
    }.items()}  # fmt: skip
    assert learned(raw | huge, y).outcome.to_json() == learned(raw, y).outcome.to_json()


def test_held_out_metrics_are_those_of_scikit_learn_on_the_same_split() -> None:
    raw, y, _ = simulated(4000, 1)
    outcome = learned(raw, y).outcome
    assert (outcome.n_train, outcome.n_test) == (2800, 1200)
    head = {name: values[:2800] for name, values in raw.items()}
    tail = {name: values[2800:] for name, values in raw.items()}
    space = bounded_space(head, 2800)
    model = LogisticRegression(C=1.0, max_iter=2000).fit(design(space, head, 2800), y[:2800])
    theirs = average_precision_score(y[2800:], model.predict_proba(design(space, tail, 1200))[:, 1])
    assert outcome.pr_auc == pytest.approx(theirs, abs=0.01)
    assert outcome.status == "success"
    assert outcome.calibration_slope is not None
    assert 0.8 <= outcome.calibration_slope <= 1.2
    assert {gate.name for gate in outcome.gates} == {
        "positives",
        "leakage",
        "pr_auc_gain",
        "brier",
        "calibration_slope",
        "lift_at_10",
        "drift",
    }


def test_served_probabilities_are_calibrated_and_their_intervals_cover_the_truth() -> None:
    raw, y, eta = simulated(12_000, 2)
    past = {name: values[:6000] for name, values in raw.items()}
    fit = learned(past, y[:6000])
    assert fit.model is not None
    scorer = PropensityScorer(fit.model)
    later = {name: values[6000:] for name, values in raw.items()}
    found = scorer.rows(*scorer.encoder.encode_columns(later, 6000))
    truth = special.expit(eta[6000:])
    assert found[:, 0].mean() == pytest.approx(truth.mean(), rel=0.08)
    assert np.corrcoef(found[:, 0], truth)[0, 1] > 0.97
    # Shrinkage biases each interval a little; 90 % of them are meant to hold.
    assert 0.75 <= np.mean((found[:, 1] <= truth) & (truth <= found[:, 2])) <= 0.99


def test_noise_is_refused() -> None:
    refused = [learned(*simulated(1500, seed, signal=0.0)[:2], seed=seed) for seed in range(12)]
    assert sum(fit.passed for fit in refused) <= 1
    fit = next(fit for fit in refused if not fit.passed)
    failed = [gate for gate in fit.outcome.gates if not gate.passed]
    assert failed
    assert all(gate.text in fit.outcome.reason for gate in failed)
    assert fit.model is not None


def test_a_model_that_only_remembers_is_refused() -> None:
    # Effects that turn round before the held-out part: better in sample, worse out of it.
    raw, _, eta = simulated(3000, 4)
    rng = np.random.default_rng(4)
    turned = np.where(np.arange(3000) < 2100, eta, -2.4 - (eta + 2.4))
    fit = learned(raw, rng.random(3000) < special.expit(turned))
    assert not fit.passed
    failed = {gate.name for gate in fit.outcome.gates if not gate.passed}
    assert {"pr_auc_gain", "calibration_slope", "lift_at_10"} <= failed


def test_a_moving_mix_of_leads_is_drift() -> None:
    raw, y, _ = simulated(3000, 5)
    moved = [value + (2.0 if i >= 2100 else 0.0) for i, value in enumerate(raw["attribute:size"])]  # type: ignore[operator]
    fit = learned({**raw, "attribute:size": moved}, y)
    assert "drift" in {gate.name for gate in fit.outcome.gates if not gate.passed}


def test_same_leads_same_model_to_the_last_bit() -> None:
    raw, y, _ = simulated(1200, 6)
    groups = [f"c{i % 300}" if i % 3 else None for i in range(1200)]
    one, other = learned(raw, y, groups=groups), learned(raw, y, groups=groups)
    assert one.model is not None
    assert other.model is not None
    assert json.dumps(one.model.to_json()) == json.dumps(other.model.to_json())
    assert one.outcome == other.outcome
    order = np.random.default_rng(0).permutation(1200)
    shuffled = learn_propensity(
        {name: [values[i] for i in order] for name, values in raw.items()},
        y[order],
        order,
        [groups[i] for i in order],
        np.random.default_rng(0),
        baseline_score=np.random.default_rng(500).random(1200)[order],
        version="v1",
    )
    assert shuffled.outcome == one.outcome
    assert shuffled.model == one.model


def test_companies_never_stand_on_both_sides() -> None:
    raw, y, _ = simulated(1500, 7)
    # Each company is one lead copied thrice: whoever remembers it would know the later copies.
    rows = np.tile(np.arange(500), 3)
    copied = {name: [values[i] for i in rows] for name, values in raw.items()}
    copied["attribute:id"] = [f"id{i % 40}" for i in rows]
    fit = learned(copied, y[rows], groups=[f"c{i}" for i in rows])
    assert fit.outcome.n_train + fit.outcome.n_test < 1500


@pytest.mark.parametrize(
    ("n", "positives", "status"),
    [(40, 10, "insufficient_data"), (400, 0, "single_class"), (400, 12, "insufficient_data")],
)
def test_too_little_has_a_name(n: int, positives: int, status: str) -> None:
    raw, _, _ = simulated(n, 8)
    y = np.zeros(n, dtype=bool)
    y[:positives] = True
    fit = learned(raw, y)
    assert fit.outcome.status == status
    assert fit.model is None
    assert str(positives or "no lead") in fit.outcome.reason or status == "insufficient_data"


def test_nothing_to_tell_leads_apart() -> None:
    raw: RawColumns = {"attribute:same": ["x"] * 400}
    y = np.arange(400) % 5 == 0
    assert learned(raw, y).outcome.status == "no_variance"


def test_every_lead_is_counted_once() -> None:
    raw, y, _ = simulated(2000, 9)
    outcome = learned(raw, y).outcome
    assert outcome.n_train + outcome.n_test == 2000
    assert outcome.positives_train + outcome.positives_test == y.sum()


def test_the_trees_are_reported_and_never_served() -> None:
    raw, y, _ = simulated(2000, 10)
    fit = learned(raw, y)
    trees = fit.report["challenger"]
    assert trees["served"] is False
    assert {"pr_auc", "brier", "log_loss", "lift_at_10", "lift_at_20"} <= set(trees)
    assert trees["n_train"] == fit.outcome.n_train
    assert y[1400:].mean() < trees["pr_auc"] < 1.0
    assert fit.model is not None
    assert "tree" not in json.dumps(fit.model.to_json())
    assert learned(raw, y).report["challenger"] == trees


def test_the_candidate_is_compared_with_the_live_model_on_leads_it_has_not_seen() -> None:
    raw, y, _ = simulated(4000, 11)
    early = {name: values[:1000] for name, values in raw.items()}
    live = learned(early, y[:1000]).model
    assert live is not None

    def compared(seen_until: float) -> dict[str, object]:
        fit = learn_propensity(
            raw,
            y,
            np.arange(4000),
            [None] * 4000,
            np.random.default_rng(0),
            baseline_score=np.random.default_rng(1).random(4000),
            incumbent=Incumbent(live, seen_until),
        )
        report: dict[str, object] = fit.report["live"]
        return report

    told = compared(999.0)
    assert told["n"] == 1200
    assert told["pr_auc_gain_low"] <= told["pr_auc_gain"] <= told["pr_auc_gain_high"]  # type: ignore[operator]
    assert told["pr_auc"] > told["pr_auc_live"]  # type: ignore[operator]
    late = compared(3989.0)
    assert late["n"] == 10
    assert "reason" in late


def test_every_feature_has_its_drift_and_the_curve_of_lifts_ends_at_one() -> None:
    raw, y, _ = simulated(3000, 12)
    moved = [value + (2.0 if i >= 2100 else 0.0) for i, value in enumerate(raw["attribute:size"])]  # type: ignore[operator]
    report = learned({**raw, "attribute:size": moved}, y).report
    drift = report["feature_drift"]
    assert max(drift, key=drift.__getitem__) == "attribute:size"
    assert drift["attribute:size"] > 0.2
    assert all(value < 0.1 for name, value in drift.items() if name != "attribute:size")
    assert report["lift_curve"][-1] == {"share": 1.0, "lift": pytest.approx(1.0)}
