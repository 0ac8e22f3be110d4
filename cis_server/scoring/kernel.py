"""The arithmetic of scoring, compiled: for many leads, and for the models that read them.

Each kernel is compiled from the plain Python function in `arithmetic`, which is its reference: a
test compares the two to the last bit. Nothing here may be reordered or fused (no `fastmath`): sums
run in the order they are written.

Importing this module imports numba (about 0.3 s of processor time with the machine code in the
cache on disk, several seconds without): `compiled` does it when there is enough to score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from cis_server.errors import ConfigurationError
from cis_server.scoring.arithmetic import (
    ARITHMETIC_WIDTH,
    CODED_WIDTH,
    Arithmetic,
    CodedLead,
    FiveFloats,
    logistic,
    propensity_arithmetic,
    rounded_score,
    score_arithmetic,
    score_one,
    weighted_part,
)
from cis_server.scoring.points import POINTS, PointTable

__all__ = [
    "CODED_WIDTH",
    "Arithmetic",
    "CodedLead",
    "propensity_arithmetic",
    "propensity_rows",
    "score_arithmetic",
    "score_one",
    "score_rows",
    "warm_up",
]

_F = TypeVar("_F", bound=Callable[..., object])

for _function in (weighted_part, rounded_score, score_arithmetic, logistic, propensity_arithmetic):
    register_jitable(_function)  # compiled code may call it; in Python it stays as written


def _compiled(signature: object) -> Callable[[_F], _F]:
    """Compile for one explicit signature, cached on disk."""
    return cast(Callable[[_F], _F], numba.njit(signature, cache=True, error_model="python"))


_INT_ROWS = numba.types.Array(numba.int64, 2, "C")
_FLOAT_ROWS = numba.types.Array(numba.float64, 2, "C")
_FLOATS = numba.types.Array(numba.float64, 1, "C")
_FIVE = numba.types.UniTuple(numba.float64, 5)
_TABLE = numba.typeof(POINTS)


@_compiled(numba.void(_INT_ROWS, _FIVE, _TABLE, _FLOAT_ROWS))
def _score_rows(
    codes: NDArray[np.int64], weights: FiveFloats, points: PointTable, out: NDArray[np.float64]
) -> None:
    for i in range(codes.shape[0]):
        c = codes[i]
        lead = CodedLead(
            c[0],
            c[1],
            c[2],
            c[3],
            c[4],
            c[5],
            c[6],
            c[7],
            c[8],
            c[9],
            c[10],
            c[11],
            c[12],
            c[13],
            c[14],
            c[15],
            c[16],
        )
        result = score_arithmetic(lead, weights, points)
        for j in range(len(result)):
            out[i, j] = result[j]


@_compiled(
    numba.void(
        numba.types.Array(numba.int32, 2, "C"),
        _FLOAT_ROWS,
        _FLOATS,
        _FLOAT_ROWS,
        numba.float64,
        numba.float64,
        _FLOAT_ROWS,
    )
)
def _propensity_rows(
    index: NDArray[np.int32],
    value: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    covariance: NDArray[np.float64],
    calibration_intercept: float,
    calibration_slope: float,
    out: NDArray[np.float64],
) -> None:
    for i in range(index.shape[0]):
        out[i, 0], out[i, 1], out[i, 2] = propensity_arithmetic(
            index[i],
            value[i],
            coefficients,
            covariance,
            calibration_intercept,
            calibration_slope,
        )


def score_rows(leads: NDArray[np.int64], weights: FiveFloats) -> NDArray[np.float64]:
    """`score_arithmetic` of many leads, compiled.

    Args:
        leads: shape (n, `CODED_WIDTH`), one `CodedLead` a row.
        weights: as for `score_arithmetic`.

    Returns:
        Shape (n, `ARITHMETIC_WIDTH`), one `Arithmetic` a row.
    """
    out = np.empty((len(leads), ARITHMETIC_WIDTH))
    _score_rows(np.ascontiguousarray(leads, dtype=np.int64), weights, POINTS, out)
    return out


def propensity_rows(
    index: NDArray[np.int32],
    value: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    covariance: NDArray[np.float64],
    calibration_intercept: float,
    calibration_slope: float,
) -> NDArray[np.float64]:
    """`propensity_arithmetic` of many leads, compiled.

    Args:
        index: shape (n, F).
        value: shape (n, F).
        coefficients, covariance, calibration_intercept, calibration_slope: as there.

    Returns:
        Shape (n, 3): probability, low, high.
    """
    out = np.empty((len(index), 3))
    _propensity_rows(
        np.ascontiguousarray(index, dtype=np.int32),
        np.ascontiguousarray(value, dtype=np.float64),
        coefficients,
        covariance,
        calibration_intercept,
        calibration_slope,
        out,
    )
    return out


def warm_up() -> None:
    """Run every kernel once and hold it against its reference.

    Machine code read from a stale or foreign cache would give wrong scores without any error; a
    process calls this before it uses them.

    Raises:
        ConfigurationError: a kernel disagrees with its reference.
    """
    weights = (0.1, 0.4, 0.2, 0.2, 0.1)
    leads = [
        CodedLead(*(2, 1, 1, 0, 18, 1, 60, 5, 50, 1, 240, 1, 400, 0, 0, 0, 1)),
        CodedLead(*(1, 2, 0, 1, 22, 0, 3, 5, 50, 2, 10, 0, 20, 1, 0, 0, 0)),
        CodedLead(*(0, 0, 0, 0, 0, 0, 200, 5, 50, 0, -1, 0, -1, 0, 1, 1, 0)),
    ]
    expected = [score_arithmetic(lead, weights, POINTS) for lead in leads]
    rows = score_rows(np.array(leads, dtype=np.int64), weights)
    index, value = np.array([0, -1, 1], dtype=np.int32), np.array([0.3, 1.0, -2.0])
    model = (np.array([-2.0, 0.7, 0.1]), np.eye(3) * 0.5 + 0.1, 0.2, 0.9)
    chance = propensity_arithmetic(index, value, *model)
    agree = [tuple(row) for row in rows.tolist()] == [tuple(item) for item in expected] and tuple(
        propensity_rows(index[None], value[None], *model)[0].tolist()
    ) == chance
    if not agree:
        raise ConfigurationError(
            "the compiled scoring kernels disagree with their reference; clear the numba cache"
        )
