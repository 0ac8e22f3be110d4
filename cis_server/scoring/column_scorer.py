"""Score leads that came as columns: `cis_server.scoring.scorer.score_table` without `Lead`s."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.clients import Icp
from cis_server.domain.vocabulary import Tier
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.scoring.arithmetic import Arithmetic
from cis_server.scoring.column_features import probabilities
from cis_server.scoring.column_gates import competitor_rows, gate_rows
from cis_server.scoring.columns import (
    ContactShapes,
    Integers,
    LeadColumns,
    TextTables,
    coded_columns,
    contact_shapes,
)
from cis_server.scoring.compiled import score_rows
from cis_server.scoring.icp import DEFAULT_ICP, matcher
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.suppression import NO_SUPPRESSION, SuppressionIndex, competitor_set

_SCORE = Arithmetic._fields.index("score")
_TIER = Arithmetic._fields.index("tier")


@dataclass(frozen=True, slots=True)
class ScoredColumns:
    """Scores of n leads, in their order; each value equals that of `score_lead`."""

    score: Integers
    """Shape (n,), 0..100."""
    tier: Integers
    """Shape (n,), the effective tier as `Tier` value."""
    gates: Integers
    """Shape (n,), why the lead is suppressed: place in `cis_server.scoring.column_gates.GATES`."""
    arithmetic: NDArray[np.float64]
    """Shape (n, `ARITHMETIC_WIDTH`); its first five columns are the components' raw points."""
    codes: Integers
    """Shape (n, `CODED_WIDTH`): the leads as the kernel read them."""
    probabilities: NDArray[np.float64] | None
    """Shape (n, 3): probability, low, high; None without a model."""

    def placed(self, rows: Integers, n: int, whole: ScoredColumns | None) -> ScoredColumns:
        """These scores among those of n leads.

        Args:
            rows: where each of these belongs.
            n: number of leads in all.
            whole: the others, changed; None: there are none yet.
        """
        parts: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            part = getattr(self, name)
            known = None if whole is None else getattr(whole, name)
            if part is not None:
                if known is None:
                    known = np.zeros((n, *part.shape[1:]), dtype=part.dtype)
                known[rows] = part
            parts[name] = known
        return ScoredColumns(**parts)


def score_columns(
    columns: LeadColumns,
    tables: TextTables,
    *,
    as_of: dt.date,
    icp: Icp = DEFAULT_ICP,
    weights: Weights = DEFAULT_WEIGHTS,
    competitor_domains: tuple[str, ...] = (),
    suppression: SuppressionIndex = NO_SUPPRESSION,
    model: PropensityScorer | None = None,
    shapes: ContactShapes | None = None,
) -> ScoredColumns:
    """Score n leads.

    Args:
        columns: the leads; where there is a model, with the attributes `attributes_of` names.
        tables: the texts met so far.
        as_of, icp, weights, competitor_domains, suppression, model: as for
            `cis_server.scoring.scorer.score_lead`.
        shapes: of the same leads, where they are known already.
    """
    shapes = shapes if shapes is not None else contact_shapes(columns)
    competitor = competitor_rows(columns, competitor_set(competitor_domains))
    codes = coded_columns(
        columns, shapes, tables, icp=matcher(icp), as_of=as_of, competitor=competitor
    )
    arithmetic = score_rows(codes, weights.as_tuple())
    gates = gate_rows(columns, competitor, suppression)
    tier = np.where(gates == 0, arithmetic[:, _TIER], float(Tier.DEAD))
    return ScoredColumns(
        score=arithmetic[:, _SCORE].astype(np.int64),
        tier=tier.astype(np.int64),
        gates=gates,
        arithmetic=arithmetic,
        codes=codes,
        probabilities=None
        if model is None
        else probabilities(columns, shapes, codes, arithmetic, model, tables),
    )
