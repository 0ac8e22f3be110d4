"""Whom a model would select: a report for people, not a gate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from cis_server.scoring.coded_columns import CodedColumn
from cis_server.scoring.features import RawValue, level_of
from cis_server.stats.arrays import BoolArray, FloatArray

SELECTED_SHARE: Final = 0.1
BY: Final = ("country", "seniority", "title_level")
"""Features the selection is broken down by."""

_LEAST = 20
_UNKNOWN = "(unknown)"


def selection_rates(
    raw: Mapping[str, Sequence[RawValue]], probability: FloatArray
) -> dict[str, list[dict[str, Any]]]:
    """Share of each group among whom the model ranks in the best `SELECTED_SHARE`.

    Args:
        raw: feature name -> n values.
        probability: (n,) predictions.

    Returns:
        Feature -> groups of 20 leads or more: ``value``, ``leads``, ``selected_share`` 0..1 and
        ``ratio`` to the highest share (the four-fifths rule looks at ratios below .8), largest
        group first.
    """
    cut = float(np.quantile(probability, 1.0 - SELECTED_SHARE))
    chosen = probability >= cut
    return {name: _rates(CodedColumn.of(raw[name]), chosen) for name in BY if name in raw}


def _rates(column: CodedColumn, chosen: BoolArray) -> list[dict[str, Any]]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    selected_of = np.bincount(column.codes[chosen], minlength=len(column.values)).tolist()
    for value, leads, selected in zip(
        column.values, column.counts().tolist(), selected_of, strict=True
    ):
        count = counts[_UNKNOWN if value is None else level_of(value)]
        count[0] += leads
        count[1] += selected
    shares = {
        name: (leads, selected / leads)
        for name, (leads, selected) in counts.items()
        if leads >= _LEAST
    }
    highest = max((share for _, share in shares.values()), default=0.0)
    return [
        {
            "value": name,
            "leads": leads,
            "selected_share": round(share, 6),
            "ratio": round(share / highest, 6) if highest else None,
        }
        for name, (leads, share) in sorted(shares.items(), key=lambda item: (-item[1][0], item[0]))
    ]
