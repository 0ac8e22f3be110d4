"""Population stability: silent without a shift, also in small samples; loud with one."""

import numpy as np
import pytest

from cis_server.learning.drift import DRIFT_LIMIT, stability_index


def test_golden_shift_between_two_bins() -> None:
    reference = np.repeat([0.0, 1.0], [5000, 5000])
    current = np.repeat([0.0, 1.0], [3000, 7000])
    expected = 0.2 * np.log(0.7 / 0.5) + 0.2 * np.log(0.5 / 0.3)
    assert stability_index(reference, current) == pytest.approx(expected, abs=1e-3)


def test_no_shift_is_no_drift_even_in_small_samples() -> None:
    rng = np.random.default_rng(1)
    found = [stability_index(rng.normal(size=250), rng.normal(size=100)) for _ in range(300)]
    assert np.mean([value > DRIFT_LIMIT for value in found]) < 0.02
    assert np.mean(found) < 0.06


def test_a_shift_of_one_deviation_is_drift() -> None:
    rng = np.random.default_rng(2)
    assert stability_index(rng.normal(size=300), rng.normal(1.0, size=150)) > 0.5


def test_what_cannot_shift_does_not() -> None:
    assert stability_index([1.0] * 50, [1.0] * 20) == 0.0
    assert stability_index([], [1.0]) == 0.0
