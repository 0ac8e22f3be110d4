"""A design with few filled entries a row, in compressed form.

An encoded lead fills about one column per feature of several hundred. In this form its rows are
passed over in a fraction of the time and memory of a dense matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cis_server.stats.arrays import FloatArray, IntArray
from cis_server.stats.kernels import dot, transposed_dot, weighted_gram


@dataclass(frozen=True, slots=True, eq=False)
class SparseDesign:
    """Rows of an (n, p) design without an intercept.

    Attributes:
        start: (n + 1,) row i has the entries start[i] up to start[i + 1].
        columns: (m,) column of each entry, ascending within a row.
        values: (m,) what it is filled with.
        width: p.
    """

    start: IntArray
    columns: NDArray[np.int32]
    values: FloatArray
    width: int

    @classmethod
    def of(cls, x: FloatArray) -> SparseDesign:
        """The same design as a dense (n, p) matrix, zeros left out."""
        row, column = np.nonzero(x)
        return cls(
            _starts(np.bincount(row, minlength=len(x))),
            column.astype(np.int32),
            np.ascontiguousarray(x[row, column], dtype=np.float64),
            x.shape[1],
        )

    @classmethod
    def of_slots(cls, index: NDArray[np.int32], value: FloatArray, width: int) -> SparseDesign:
        """Of encoded leads, as `scoring.features.Encoder.encode_columns` gives them.

        Args:
            index: (n, F) column of each feature, -1 for none; ascending within a row.
            value: (n, F) what it is filled with.
            width: p.
        """
        filled = index >= 0
        return cls(_starts(filled.sum(axis=1)), index[filled], value[filled], width)

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p)."""
        return len(self), self.width

    def __matmul__(self, beta: FloatArray) -> FloatArray:
        """(n,) x beta."""
        return dot(self.start, self.columns, self.values, np.ascontiguousarray(beta))

    def sums(self, weights: FloatArray) -> FloatArray:
        """(p,) x' weights."""
        return transposed_dot(self.start, self.columns, self.values, weights, self.width)

    def gram(self, weights: FloatArray) -> FloatArray:
        """(p, p) x' diag(weights) x."""
        return weighted_gram(self.start, self.columns, self.values, weights, self.width)

    def taken(self, rows: IntArray) -> SparseDesign:
        """The given rows in that order; without a copy of entries where they lie together."""
        n = len(rows)
        if n and rows[-1] - rows[0] + 1 == n and (n == 1 or bool((np.diff(rows) == 1).all())):
            first, last = self.start[rows[0]], self.start[rows[-1] + 1]
            return SparseDesign(
                self.start[rows[0] : rows[-1] + 2] - first,
                self.columns[first:last],
                self.values[first:last],
                self.width,
            )
        lengths = np.diff(self.start)[rows]
        start = _starts(lengths)
        entries = np.arange(start[-1]) + np.repeat(self.start[rows] - start[:-1], lengths)
        return SparseDesign(start, self.columns[entries], self.values[entries], self.width)

    def dense(self) -> FloatArray:
        """(n, p) with zeros."""
        result = np.zeros(self.shape)
        result[np.repeat(np.arange(len(self)), np.diff(self.start)), self.columns] = self.values
        return result


def _starts(lengths: NDArray[np.int64]) -> IntArray:
    start = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=start[1:])
    return start
