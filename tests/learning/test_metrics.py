"""Ranking and calibration against scikit-learn, bootstrap intervals against known truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics as theirs

from cis_server.learning.metrics import (
    brier,
    calibration_curve,
    calibration_slope,
    lift_at,
    log_loss,
    paired_gains,
    pr_auc,
)

LABELLED = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 9)), min_size=3, max_size=60
).filter(lambda rows: len({y for y, _ in rows}) == 2)


def labelled(seed: int, n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability = special.expit(rng.normal(-2.5, 1, n))
    return (rng.random(n) < probability).astype(float), probability


@given(LABELLED)
@settings(max_examples=80)
def test_metrics_are_those_of_scikit_learn_with_ties(rows: list[tuple[int, int]]) -> None:
    y, p = np.array(rows).T
    p = p / 10
    assert pr_auc(y, p) == pytest.approx(theirs.average_precision_score(y, p))
    assert brier(y, p) == pytest.approx(theirs.brier_score_loss(y, p))
    assert log_loss(y, p) == pytest.approx(theirs.log_loss(y, p))


@given(LABELLED, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_row_order_changes_no_bit(rows: list[tuple[int, int]], random: object) -> None:
    y, p = np.array(rows).T
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for metric in (pr_auc, brier, log_loss, lambda a, b: lift_at(a, b, 0.2)):
        assert metric(y, p / 10) == metric(y[order], p[order] / 10)


def test_lift_counts_exactly_the_share_and_splits_ties_evenly() -> None:
    y = np.array([1, 1, 0, 0, 0, 0, 0, 0, 1, 0])
    score = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    assert lift_at(y, score, 0.2) == pytest.approx(1.0 / 0.3)
    assert lift_at(y, score, 0.25) == pytest.approx(2 / 2.5 / 0.3)
    assert lift_at(y, np.zeros(10), 0.1) == pytest.approx(1.0)
    assert lift_at(y, score, 1.0) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="share"):
        lift_at(y, score, 0.0)


def test_calibration_slope_sees_overconfidence_and_covers_1() -> None:
    y, p = labelled(1, 20_000)
    good = calibration_slope(y, p)
    assert good.low < 1 < good.high
    assert good.slope == pytest.approx(1, abs=0.1)
    logit = special.logit(p)
    sharp = calibration_slope(y, special.expit(2 * logit))
    assert sharp.slope == pytest.approx(good.slope / 2, rel=1e-3)
    assert sharp.high < 1
    covered = [
        found.low <= 1 <= found.high
        for found in (calibration_slope(*labelled(seed, 600)) for seed in range(300))
    ]
    assert 0.86 <= np.mean(covered) <= 0.94


def test_constant_probabilities_say_nothing_of_a_slope() -> None:
    found = calibration_slope([0, 1, 0, 0], [0.3] * 4)
    assert (found.low, found.high) == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="both classes"):
        calibration_slope([1, 1], [0.3, 0.4])


def test_calibration_curve_counts_everybody_once() -> None:
    y, p = labelled(3)
    curve = calibration_curve(y, p)
    assert sum(bin_.n for bin_ in curve) == len(y)
    assert sum(bin_.n * bin_.observed for bin_ in curve) == pytest.approx(y.sum())
    assert [bin_.predicted for bin_ in curve] == sorted(bin_.predicted for bin_ in curve)
    assert len(calibration_curve(y, np.full(len(y), 0.1))) == 1


def test_gain_interval_covers_the_gain_of_the_population() -> None:
    y, p = labelled(0, 400_000)
    noise = np.random.default_rng(99).normal(0, 1, len(y))
    worse = special.expit(special.logit(p) * 0.5 + noise * 0.5 - 1)
    truth = pr_auc(y, p) - pr_auc(y, worse)
    covered = []
    for start in range(0, 200_000, 2000):
        part = slice(start, start + 2000)
        rng = np.random.default_rng(start)
        gain = paired_gains(y[part], p[part], worse[part], rng, draws=200).pr_auc
        covered.append(gain.low <= truth <= gain.high)
    assert 0.68 <= np.mean(covered) <= 0.92


def test_gains_of_a_model_over_itself_are_nothing() -> None:
    y, p = labelled(5, 500)
    gains = paired_gains(y, p, p, np.random.default_rng(0), draws=100)
    for gain in (gains.pr_auc, gains.log_loss, gains.brier):
        assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)


def test_gains_do_not_depend_on_the_order_of_rows() -> None:
    y, p = labelled(6, 400)
    q = special.expit(special.logit(p) * 0.7)
    groups = np.array([f"c{i % 37}" for i in range(400)])
    order = np.random.default_rng(1).permutation(400)
    for labels in (None, groups):
        shuffled = None if labels is None else labels[order]
        one = paired_gains(y, p, q, np.random.default_rng(2), groups=labels, draws=50)
        other = paired_gains(
            y[order], p[order], q[order], np.random.default_rng(2), groups=shuffled, draws=50
        )
        assert one == other


def test_leads_of_one_company_widen_the_interval() -> None:
    y, p = labelled(7, 300)
    # Ten copies of each lead are one company: 3 000 rows carry the evidence of 300.
    many_y, many_p = np.repeat(y, 10), np.repeat(p, 10)
    base = np.full(3000, 0.1)
    companies = np.repeat(np.arange(300), 10)
    rng = np.random.default_rng
    single = paired_gains(many_y, many_p, base, rng(0), draws=300).log_loss
    whole = paired_gains(many_y, many_p, base, rng(0), groups=companies, draws=300).log_loss
    plain = paired_gains(y, p, base[:300], rng(0), draws=300).log_loss
    assert whole.high - whole.low == pytest.approx(plain.high - plain.low, rel=0.2)
    assert single.high - single.low < 0.5 * (whole.high - whole.low)


def test_bad_input_is_refused() -> None:
    for bad in (([], []), ([1], [np.nan]), ([2], [0.5]), ([0, 1], [0.5]), ([0, 0], [0.1, 0.2])):
        with pytest.raises(ValueError, match=r"outcome|length|finite"):
            pr_auc(*bad)
