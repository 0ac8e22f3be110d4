"""Scores of many leads as columns: by the weights and the model in force, or those rolled out.

Every figure is that of `scored_lead`, to the last bit: the kernels are the same, and what is judged
of text is judged by the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.rollout import RolloutShare
from cis_server.domain.vocabulary import Tier
from cis_server.domain.weights import COMPONENTS
from cis_server.scoring.arithmetic import Arithmetic
from cis_server.scoring.column_features import attributes_of, probabilities
from cis_server.scoring.column_scorer import ScoredColumns, score_columns
from cis_server.scoring.columns import ContactShapes, LeadColumns, TextTables
from cis_server.scoring.compiled import score_rows
from cis_server.scoring.distinct_texts import TextColumn
from cis_server.serving.scoring_answers import ScoringContext


@dataclass(frozen=True, slots=True, kw_only=True)
class TableScores:
    """Scores of n leads."""

    score: NDArray[np.int64]
    """Shape (n,), 0..100."""
    tier: NDArray[np.int64]
    """Shape (n,), the effective tier as `Tier` value."""
    components: NDArray[np.float64]
    """Shape (n, 5), raw points in the order of `COMPONENTS`."""
    gate: NDArray[np.int64]
    """Shape (n,), places in `cis_server.scoring.column_gates.GATES`; 0: not suppressed."""
    probability: NDArray[np.float64] | None
    """Shape (n,), NaN where no model serves the lead; None where none serves any."""
    by_new_weights: NDArray[np.bool_]
    """Shape (n,), whether the weights being rolled out told the score."""
    by_new_model: NDArray[np.bool_]
    """Shape (n,), whether the model being rolled out told the probability."""

    def __len__(self) -> int:
        return len(self.score)


class TableScorer:
    """Scores columns of leads; made for one call, with what its leads have in common prepared.

    Args:
        context: what the leads are scored with.
        tables: texts met so far.
    """

    def __init__(self, context: ScoringContext, tables: TextTables) -> None:
        self._context, self._tables = context, tables
        rollout = context.rollout
        self._new_weights = rollout.weights if rollout is not None else None
        self._new_model = rollout.model if rollout is not None else None
        models = [context.model, self._new_model.model if self._new_model is not None else None]
        self.attributes = frozenset(
            name for model in models if model is not None for name in attributes_of(model)
        )
        """CRM columns that a score depends on."""

    def score(self, columns: LeadColumns, shapes: ContactShapes) -> TableScores:
        """The scores of n leads.

        Args:
            columns: the leads, with the attributes named in `attributes`.
            shapes: of the same leads.
        """
        context = self._context
        scored = score_columns(
            columns,
            self._tables,
            as_of=context.as_of,
            icp=context.icp,
            weights=context.weights,
            competitor_domains=context.competitor_domains,
            suppression=context.suppression,
            model=context.model,
            shapes=shapes,
        )
        score, tier = scored.score, scored.tier
        by_new_weights = np.zeros(len(columns), dtype=np.bool_)
        if self._new_weights is not None:
            by_new_weights = taken_rows(self._new_weights.share, columns.lead_id)
            rows = np.flatnonzero(by_new_weights)
            again = score_rows(scored.codes[rows], self._new_weights.weights.as_tuple())
            score[rows] = again[:, _SCORE]
            tier[rows] = np.where(scored.gates[rows] == 0, again[:, _TIER], float(Tier.DEAD))
        probability = None if scored.probabilities is None else scored.probabilities[:, 0]
        by_new_model = np.zeros(len(columns), dtype=np.bool_)
        if self._new_model is not None:
            by_new_model = taken_rows(self._new_model.share, columns.lead_id)
            probability = self._by_new_model(columns, shapes, scored, probability, by_new_model)
        return TableScores(
            score=score,
            tier=tier,
            components=scored.arithmetic[:, : len(COMPONENTS)],
            gate=scored.gates,
            probability=probability,
            by_new_weights=by_new_weights,
            by_new_model=by_new_model,
        )

    def _by_new_model(
        self,
        columns: LeadColumns,
        shapes: ContactShapes,
        scored: ScoredColumns,
        probability: NDArray[np.float64] | None,
        by_new_model: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """The probabilities, those of the new model where it serves the lead."""
        assert self._new_model is not None
        found = probabilities(
            columns,
            shapes,
            scored.codes,
            scored.arithmetic,
            self._new_model.model,
            self._tables,
        )
        others = np.full(len(columns), np.nan) if probability is None else probability
        return np.where(by_new_model, found[:, 0], others)


def taken_rows(share: RolloutShare, lead_ids: TextColumn) -> NDArray[np.bool_]:
    """Which leads a version that is rolling out serves, shape (n,)."""
    takes = share.takes
    return np.fromiter(
        (takes(lead_ids.text(row)) for row in range(len(lead_ids))), np.bool_, len(lead_ids)
    )


_SCORE = Arithmetic._fields.index("score")
_TIER = Arithmetic._fields.index("tier")
