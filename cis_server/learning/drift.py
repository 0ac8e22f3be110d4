"""How far a distribution has moved from the one a model was trained on."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

DRIFT_LIMIT: Final = 0.2
"""Population stability index above which a shift counts as drift."""


def stability_index(reference: ArrayLike, current: ArrayLike, bins: int = 10) -> float:
    """Population stability index: sum over bins of (q - p) * ln(q / p), bins from the reference.

    Without any shift the index is on average (bins - 1) * (1 / n + 1 / m), which for small samples
    alone exceeds the usual limit (Yurdakul 2018, "Statistical properties of population stability
    index"); that much is taken off.

    Args:
        reference: (n,) values the bins (quantiles) are taken from.
        current: (m,) values to compare.
        bins: number of bins; ties of the reference may leave fewer.

    Returns:
        The index, at least 0; 0 when either side is empty or the reference does not vary.
    """
    old = np.asarray(reference, dtype=np.float64).reshape(-1)
    new = np.asarray(current, dtype=np.float64).reshape(-1)
    if not old.size or not new.size:
        return 0.0
    edges = np.unique(np.quantile(old, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    size = len(edges) + 1
    p = np.bincount(np.searchsorted(edges, old, side="right"), minlength=size) + 0.5
    q = np.bincount(np.searchsorted(edges, new, side="right"), minlength=size) + 0.5
    p, q = p / p.sum(), q / q.sum()
    expected = (size - 1) * (1.0 / old.size + 1.0 / new.size)
    return max(0.0, float(np.sum((q - p) * np.log(q / p))) - expected)
