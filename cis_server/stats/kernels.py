"""Loops over sparse rows, compiled. With `counting`, the only one of the statistics with numba.

An encoded lead fills about one column per feature of several hundred, so sums over the filled
entries cost a hundredth of the dense matrix product. Each kernel is compiled from the plain Python
function of the same name with `_reference`, which a test compares it with; nothing is reordered or
fused (no `fastmath`), so both give the same bits.

Rows are given in compressed form: the entries of row i are `columns[start[i]:start[i + 1]]`,
ascending, with `values` beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from cis_server.stats.arrays import FloatArray, IntArray

_F = TypeVar("_F", bound=Callable[..., Any])


def _compiled(signature: str) -> Callable[[_F], _F]:
    """Compile for one explicit signature, cached on disk."""
    return cast(Callable[[_F], _F], numba.njit(signature, cache=True))


def dot_reference(
    start: IntArray, columns: NDArray[np.int32], values: FloatArray, beta: FloatArray
) -> FloatArray:
    """(n,) products of the rows with ``beta`` (p,)."""
    n = len(start) - 1
    result = np.zeros(n)
    for i in range(n):
        total = 0.0
        for a in range(start[i], start[i + 1]):
            total += values[a] * beta[columns[a]]
        result[i] = total
    return result


def transposed_dot_reference(
    start: IntArray,
    columns: NDArray[np.int32],
    values: FloatArray,
    weights: FloatArray,
    p: int,
) -> FloatArray:
    """(p,) sums of the rows, row i times ``weights[i]``."""
    result = np.zeros(p)
    for i in range(len(start) - 1):
        for a in range(start[i], start[i + 1]):
            result[columns[a]] += weights[i] * values[a]
    return result


def weighted_gram_reference(
    start: IntArray,
    columns: NDArray[np.int32],
    values: FloatArray,
    weights: FloatArray,
    p: int,
) -> FloatArray:
    """(p, p) sum over rows of ``weights[i]`` times the outer product of row i with itself."""
    result = np.zeros((p, p))
    for i in range(len(start) - 1):
        for a in range(start[i], start[i + 1]):
            weighted = weights[i] * values[a]
            for b in range(a, start[i + 1]):
                result[columns[a], columns[b]] += weighted * values[b]
    for row in range(p):
        for column in range(row):
            result[row, column] = result[column, row]
    return result


dot = _compiled("float64[::1](int64[::1], int32[::1], float64[::1], float64[::1])")(dot_reference)
transposed_dot = _compiled(
    "float64[::1](int64[::1], int32[::1], float64[::1], float64[::1], int64)"
)(transposed_dot_reference)
weighted_gram = _compiled(
    "float64[:, ::1](int64[::1], int32[::1], float64[::1], float64[::1], int64)"
)(weighted_gram_reference)
