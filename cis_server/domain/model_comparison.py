"""A model beside others on the same held-out leads: the one that is live, and gradient trees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cis_server.domain.stored import Stored

LIVE: Final = "live"
"""The model that was live when this one was fitted."""
CHALLENGER: Final = "challenger"
"""Gradient-boosted trees on the same features: a yardstick that is never served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison(Stored):
    """How a model did against another on leads that neither had seen."""

    other: str
    """`LIVE` or `CHALLENGER`."""
    version: str = ""
    """Registry version of the other; empty for the challenger, which has none."""
    n: int = 0
    """Leads compared on."""
    n_converted: int = 0
    """Of those, the converted ones."""
    pr_auc: float | None = None
    """Of the model, 0..1; None with a `reason`."""
    other_pr_auc: float | None = None
    """Of the other, 0..1."""
    gain: float | None = None
    """`pr_auc` less `other_pr_auc`; positive is better."""
    low: float | None = None
    """Lower end of the interval of `gain` (paired bootstrap by company); None: not computed."""
    high: float | None = None
    """Upper end."""
    level: float | None = None
    """Of that interval, e.g. .8."""
    log_loss_gain: float | None = None
    """Log-loss of the other less the model's; positive is better."""
    reason: str = ""
    """Why there was nothing to compare on; empty when there was."""


def comparisons_of(figures: Mapping[str, Any]) -> tuple[ModelComparison, ...]:
    """Comparisons among the figures of a propensity model, as its registry row keeps them.

    Args:
        figures: with ``live`` as `learning.live_comparison.live_report` gives it, ``challenger``
            as `learning.challenger.challenger_report` does, and ``n_test``, ``positives_test``,
            ``pr_auc``, ``log_loss`` of the model.

    Returns:
        The live model first. What was not compared with is left out.
    """
    found = []
    live, trees = figures.get("live"), figures.get("challenger")
    if isinstance(live, Mapping):
        found.append(_with_live(live))
    if isinstance(trees, Mapping) and isinstance(figures.get("pr_auc"), int | float):
        found.append(_with_trees(trees, figures))
    return tuple(found)


def _with_live(told: Mapping[str, Any]) -> ModelComparison:
    return ModelComparison(
        other=LIVE,
        version=str(told.get("version") or ""),
        n=int(told.get("n", 0)),
        n_converted=int(told.get("positives", 0)),
        pr_auc=told.get("pr_auc"),
        other_pr_auc=told.get("pr_auc_live"),
        gain=told.get("pr_auc_gain"),
        low=told.get("pr_auc_gain_low"),
        high=told.get("pr_auc_gain_high"),
        level=told.get("level"),
        log_loss_gain=told.get("log_loss_gain"),
        reason=str(told.get("reason", "")),
    )


def _with_trees(told: Mapping[str, Any], figures: Mapping[str, Any]) -> ModelComparison:
    unfitted = ModelComparison(
        other=CHALLENGER,
        n=int(figures.get("n_test", 0)),
        n_converted=int(figures.get("positives_test", 0)),
        reason=str(told.get("reason", "")),
    )
    if "pr_auc" not in told:
        return unfitted
    return replace(
        unfitted,
        pr_auc=figures["pr_auc"],
        other_pr_auc=told["pr_auc"],
        gain=figures["pr_auc"] - told["pr_auc"],
        log_loss_gain=told["log_loss"] - figures["log_loss"]
        if "log_loss" in told and isinstance(figures.get("log_loss"), int | float)
        else None,
    )
