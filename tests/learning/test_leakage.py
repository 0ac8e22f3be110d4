"""The leakage gate: an outcome's time among the features is found, honest features are not."""

import numpy as np
import pytest
from scipy import special

from cis_server.learning.leakage import find_leakage
from cis_server.learning.propensity import PropensityFit, learn_propensity
from cis_server.scoring.features import RawColumns

N = 2000


def honest(seed: int = 0) -> tuple[RawColumns, np.ndarray]:
    draw = np.random.default_rng(seed)
    level = draw.integers(0, 5, N)
    eta = -2.2 + 1.2 * np.linspace(-1, 1, 5)[level] + draw.normal(size=N)
    raw: RawColumns = {
        "attribute:kind": [f"k{value}" for value in level],
        "attribute:free_text": [f"unique {i}" for i in range(N)],
        "attribute:number": [float(value) for value in draw.normal(size=N)],
    }
    return raw, (draw.random(N) < special.expit(eta)).astype(float)


def fitted(raw: RawColumns, y: np.ndarray, **known_at: np.ndarray) -> PropensityFit:
    return learn_propensity(
        raw,
        y,
        np.arange(N, dtype=float),
        [None] * N,
        np.random.default_rng(0),
        baseline_score=np.random.default_rng(1).random(N),
        known_at={f"attribute:{name}": times for name, times in known_at.items()},
    )


def gate(fit: PropensityFit) -> tuple[bool, str]:
    return next((g.passed, g.text) for g in fit.outcome.gates if g.name == "leakage")


def test_honest_features_pass() -> None:
    for seed in range(3):
        passed, text = gate(fitted(*honest(seed)))
        assert passed, text


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_stage_that_is_not_always_filled_in_is_refused_too(share: float) -> None:
    raw, y = honest()
    won = (y > 0.5) & (np.random.default_rng(5).random(N) < share)
    fit = fitted({**raw, "attribute:stage": ["won" if each else "open" for each in won]}, y)
    passed, text = gate(fit)
    assert not passed
    assert f"a value of attribute:stage stands on {won.sum()} leads" in text


def test_a_good_source_is_no_leak() -> None:
    """Six of ten convert where one in ten does: much, and possible."""
    draw = np.random.default_rng(7)
    raw, _ = honest()
    referred = draw.random(N) < 0.1
    y = (draw.random(N) < np.where(referred, 0.6, 0.1)).astype(float)
    source = ["referral" if each else "list" for each in referred]
    passed, text = gate(fitted({**raw, "attribute:source": source}, y))
    assert passed, text


@pytest.mark.parametrize("form", ["time", "present", "stage"])
def test_an_outcome_among_the_features_is_refused_by_name(form: str) -> None:
    raw, y = honest()
    converted = y > 0.5
    leaks = {
        "time": [float(i) if hit else None for i, hit in enumerate(converted)],
        "present": [
            f"2026-01-{1 + i % 28:02d}" if hit else None for i, hit in enumerate(converted)
        ],
        "stage": ["won" if hit else "open" for hit in converted],
    }
    fit = fitted({**raw, "attribute:closed": leaks[form]}, y)
    passed, text = gate(fit)
    assert not passed
    assert "attribute:closed" in text
    assert fit.outcome.status == "gate_failed"
    assert text in fit.outcome.reason


def test_a_value_known_after_first_contact_is_refused_however_weak() -> None:
    raw, y = honest()
    order = np.arange(N, dtype=float)
    in_time = order - 1.0
    assert gate(fitted(raw, y, number=in_time))[0]
    shifted = in_time.copy()
    shifted[7] += 2.0
    shifted[8] = np.nan
    passed, text = gate(fitted(raw, y, number=shifted))
    assert not passed
    assert "attribute:number (1 leads)" in text


def test_one_class_has_nothing_to_tell() -> None:
    raw, _ = honest()
    found = find_leakage(raw, np.zeros(N), {}, np.arange(N, dtype=float))
    assert not found.leaks
    assert found.separation == 0.5
