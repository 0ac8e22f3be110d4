"""The arithmetic of scoring as this process runs it: compiled once that was loaded, plain before.

Both give the same to the last bit. A serving process that answers for single leads never needs the
compiler, which takes longer to load than everything else it starts with; what scores many at once
loads it aside and goes on without meanwhile.
"""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cis_server.scoring.arithmetic import (
    ARITHMETIC_WIDTH,
    CodedLead,
    FiveFloats,
    propensity_arithmetic,
    score_one,
)

PLAIN_ROWS: Final = 10_000
"""More leads than that, as no call about leads one by one has, are worth waiting for the kernels:
plain Python takes about 5 µs for each."""

_kernel: ModuleType | None = None
_loading: Final = threading.Lock()


def load() -> None:
    """Load the kernels, or compile them where no process has, and hold them against the reference.

    Raises:
        ConfigurationError: a kernel disagrees with its reference.
    """
    global _kernel
    with _loading:
        if _kernel is None:
            from cis_server.scoring import kernel

            kernel.warm_up()
            _kernel = kernel


def score_rows(leads: NDArray[np.int64], weights: FiveFloats) -> NDArray[np.float64]:
    """`cis_server.scoring.arithmetic.score_arithmetic` of many leads.

    Args:
        leads: shape (n, `CODED_WIDTH`), one `CodedLead` a row.
        weights: as for `score_arithmetic`.

    Returns:
        Shape (n, `ARITHMETIC_WIDTH`), one `Arithmetic` a row.
    """
    if kernel := _loaded_for(len(leads)):
        rows: NDArray[np.float64] = kernel.score_rows(leads, weights)
        return rows
    found = [score_one(CodedLead(*lead), weights) for lead in leads.tolist()]
    return np.array(found, dtype=np.float64).reshape(-1, ARITHMETIC_WIDTH)


def propensity_rows(
    index: NDArray[np.int32],
    value: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    covariance: NDArray[np.float64],
    calibration_intercept: float,
    calibration_slope: float,
) -> NDArray[np.float64]:
    """`cis_server.scoring.arithmetic.propensity_arithmetic` of many leads.

    Args:
        index: shape (n, F).
        value: shape (n, F).
        coefficients, covariance, calibration_intercept, calibration_slope: as there.

    Returns:
        Shape (n, 3): probability, low, high.
    """
    if kernel := _loaded_for(len(index)):
        rows: NDArray[np.float64] = kernel.propensity_rows(
            index, value, coefficients, covariance, calibration_intercept, calibration_slope
        )
        return rows
    # Python's own numbers cost a third of numpy's.
    plain, plain_covariance = coefficients.tolist(), covariance.tolist()
    found = [
        propensity_arithmetic(
            row, filled, plain, plain_covariance, calibration_intercept, calibration_slope
        )
        for row, filled in zip(index.tolist(), value.tolist(), strict=True)
    ]
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _loaded_for(rows: int) -> ModuleType | None:
    """The kernels if they are loaded, or worth it for so many rows."""
    if _kernel is None and rows > PLAIN_ROWS:
        load()
    return _kernel
