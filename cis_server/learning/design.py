"""The design matrix of a propensity model, within bounds of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cis_server.domain.propensity import FeatureSpace
from cis_server.scoring.coded_columns import CodedColumn
from cis_server.scoring.features import (
    FIXED_FEATURES,
    Encoder,
    RawValue,
    design_matrix,
    learned_space,
)
from cis_server.stats.arrays import FloatArray, IntArray
from cis_server.stats.sparse_design import SparseDesign

MOST_COLUMNS: Final = 200
"""Columns of the design: a model of that width is kept in memory by every serving process, with
its covariance."""
LEAST_COUNT: Final = 20
"""Leads a column has to rest on."""

_LEVELS = (20, 10, 5, 3)


def bounded_space(raw: Mapping[str, Sequence[RawValue]], n: int) -> FeatureSpace:
    """Features with their encoding, learned without a look at the outcomes.

    A CRM with very many columns gets fewer levels of each; if that does not do, the attributes that
    are known of the fewest leads are left out.

    Args:
        raw: feature name -> n values.
        n: leads.

    Returns:
        At most `MOST_COLUMNS` columns, each with `LEAST_COUNT` leads or more.
    """
    space = FeatureSpace(())
    for levels in _LEVELS:
        space = learned_space(raw, min_count=min(LEAST_COUNT, n), max_levels=levels)
        if space.width <= MOST_COLUMNS:
            return space
    fixed = set(FIXED_FEATURES)
    known = {feature.name: _known(raw[feature.name]) for feature in space.features}
    ranked = sorted(
        space.features, key=lambda feature: (feature.name not in fixed, -known[feature.name])
    )
    kept: set[str] = set()
    width = 0
    for feature in ranked:
        if width + feature.width <= MOST_COLUMNS:
            kept.add(feature.name)
            width += feature.width
    return FeatureSpace(tuple(feature for feature in space.features if feature.name in kept))


def _known(values: Sequence[RawValue]) -> int:
    counted = CodedColumn.of(values).counted()
    return sum(count for value, count in counted if value is not None)


def design(space: FeatureSpace, raw: Mapping[str, Sequence[RawValue]], n: int) -> FloatArray:
    """(n, p) design matrix without an intercept."""
    index, value = Encoder(space).encode_columns(raw, n)
    return design_matrix(index, value, space.width)


def sparse_design(
    space: FeatureSpace, raw: Mapping[str, Sequence[RawValue]], n: int
) -> SparseDesign:
    """The same, its filled entries alone."""
    return SparseDesign.of_slots(*Encoder(space).encode_columns(raw, n), space.width)


def taken(raw: Mapping[str, Sequence[RawValue]], rows: IntArray) -> dict[str, CodedColumn]:
    """The given rows of raw columns, in that order."""
    return {name: CodedColumn.of(values).taken(rows) for name, values in raw.items()}
