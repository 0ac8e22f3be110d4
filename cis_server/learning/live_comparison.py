"""A candidate against the model that is live, on leads that neither of them has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cis_server.domain.propensity import PropensityModel
from cis_server.learning.design import taken
from cis_server.learning.metrics import paired_gains, pr_auc
from cis_server.scoring.features import RawValue
from cis_server.scoring.propensity import PropensityScorer
from cis_server.stats.arrays import FloatArray, IntArray

LEAST_POSITIVES: Final = 10
"""Converted leads that a comparison needs."""


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The model that is live.

    Attributes:
        model: as served.
        seen_until: first contact, on the scale of the run's order, of the latest lead it can have
            learned from; the comparison looks at later ones only, for on the others it would be
            judged in sample.
    """

    model: PropensityModel
    seen_until: float


def live_report(
    incumbent: Incumbent,
    raw: Mapping[str, Sequence[RawValue]],
    at: FloatArray,
    y: FloatArray,
    predicted: FloatArray,
    generator: np.random.Generator,
    *,
    groups: IntArray,
    level: float,
) -> dict[str, Any]:
    """How the candidate compares.

    Args:
        incumbent: the model that is live.
        raw: features of the n test leads.
        at: (n,) their first contact.
        y: (n,) their outcomes.
        predicted: (n,) the candidate's probabilities.
        generator: randomness of the bootstrap.
        groups: (n,) unit that is resampled as one.
        level: of the interval.

    Returns:
        ``version``, ``n``, ``positives`` of the leads compared on, ``pr_auc`` of the candidate and
        ``pr_auc_live`` with ``pr_auc_gain``, ``_low`` and ``_high`` (paired bootstrap), the same of
        Brier and log-loss; only ``reason`` beside the counts when they are too few.
    """
    unseen = np.flatnonzero(at > incumbent.seen_until)
    outcome = y[unseen]
    positives = int(outcome.sum())
    counts: dict[str, Any] = {
        "version": incumbent.model.version,
        "n": len(unseen),
        "positives": positives,
    }
    if min(positives, len(unseen) - positives) < LEAST_POSITIVES:
        reason = (
            f"{positives} of the {len(unseen)} test leads that the live model has not seen "
            f"converted, {LEAST_POSITIVES} of either outcome needed to compare"
        )
        return {**counts, "reason": reason}
    scorer = PropensityScorer(incumbent.model)
    rows = scorer.rows(*scorer.encoder.encode_columns(taken(raw, unseen), len(unseen)))
    live, candidate = rows[:, 0], predicted[unseen]
    gains = paired_gains(
        outcome, candidate, live, generator, groups=groups[unseen], draws=500, level=level
    )
    figures = {"pr_auc": gains.pr_auc, "log_loss": gains.log_loss, "brier": gains.brier}
    named: dict[str, Any] = {
        f"{name}_gain{part}": value
        for name, gain in figures.items()
        for part, value in (("", gain.value), ("_low", gain.low), ("_high", gain.high))
    }
    return {
        **counts,
        "pr_auc": pr_auc(outcome, candidate),
        "pr_auc_live": pr_auc(outcome, live),
        "level": level,
        **named,
    }
