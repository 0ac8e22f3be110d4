"""Gradient-boosted trees on the same features: a yardstick for the served model, never served.

If trees are much better out of time, the logistic model misses interactions or bends, which is a
reason to look at the features; whatever they reach, what is served stays a model whose answer is a
sum that can be told (Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning",
chapter 10, on boosting).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from cis_server.learning.metrics import brier, lift_at, log_loss, pr_auc
from cis_server.stats.arrays import FloatArray
from cis_server.stats.sparse_design import SparseDesign

MOST_LEADS: Final = 50_000
"""Training leads, the latest: more cost time and change no verdict."""

# Small trees, slow steps: with few positives larger ones remember single leads.
_ROUNDS, _RATE, _LEAVES, _LEAST = 100, 0.08, 8, 40


def challenger_report(
    x: SparseDesign, y: FloatArray, later: SparseDesign, outcome: FloatArray
) -> dict[str, Any]:
    """Fit on the early leads, judge on the late ones.

    Args:
        x: (n, p) design of the training leads in the order of time.
        y: (n,) their outcomes, both classes present.
        later: (m, p) design of the test leads.
        outcome: (m,) their outcomes, both classes present.

    Returns:
        ``method``, ``n_train`` and out-of-time ``pr_auc``, ``brier``, ``log_loss``,
        ``lift_at_10``, ``lift_at_20``; only ``method`` and ``reason`` where nothing could be
        fitted.
    """
    # Takes most of a second to import, and only the worker needs it.
    from sklearn.ensemble import HistGradientBoostingClassifier

    method = "gradient-boosted trees (scikit-learn HistGradientBoostingClassifier)"
    latest = np.arange(max(0, len(y) - MOST_LEADS), len(y))
    x, y = x.taken(latest), y[-MOST_LEADS:]
    if not 0.0 < y.sum() < len(y):
        return {"method": method, "reason": "the training part has one class only"}
    trees = HistGradientBoostingClassifier(
        max_iter=_ROUNDS,
        learning_rate=_RATE,
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=_LEAST,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    # Its threads come with the import, later than any limit set before; sums depend on them.
    with threadpool_limits(1, user_api="openmp"):
        trees.fit(x.dense(), y)
        predicted = np.asarray(trees.predict_proba(later.dense())[:, 1], dtype=np.float64)
    return {
        "method": method,
        "served": False,
        "n_train": len(y),
        "pr_auc": pr_auc(outcome, predicted),
        "brier": brier(outcome, predicted),
        "log_loss": log_loss(outcome, predicted),
        "lift_at_10": lift_at(outcome, predicted, 0.1),
        "lift_at_20": lift_at(outcome, predicted, 0.2),
    }
