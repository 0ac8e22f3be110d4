"""How far a distribution has moved from the one a model was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cis_server.domain.propensity import FeatureSpace, NumericFeature
from cis_server.scoring.coded_columns import CodedColumn
from cis_server.scoring.features import RawValue, level_of, number_of
from cis_server.stats.arrays import FloatArray

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


RARE_SHARE: Final = 0.05
"""Values rarer than this on both sides count as one, so that no index rests on a few leads."""


def category_index(reference: Mapping[str, int], current: Mapping[str, int]) -> float:
    """`stability_index` of counts per value, values rare on both sides taken together.

    Args:
        reference: count of each value among what was learned from.
        current: the same of now.

    Returns:
        The index, at least 0; 0 when either side is empty.
    """
    old, new = sum(reference.values()), sum(current.values())
    if not old or not new:
        return 0.0
    counts: dict[str, tuple[int, int]] = {}
    for value in sorted({*reference, *current}):
        pair = (reference.get(value, 0), current.get(value, 0))
        rare = pair[0] < RARE_SHARE * old and pair[1] < RARE_SHARE * new
        name = "\0rare" if rare else value
        seen = counts.get(name, (0, 0))
        counts[name] = (seen[0] + pair[0], seen[1] + pair[1])
    table = np.array(list(counts.values()), dtype=np.float64) + 0.5
    p, q = table[:, 0] / table[:, 0].sum(), table[:, 1] / table[:, 1].sum()
    expected = (len(table) - 1) * (1.0 / old + 1.0 / new)
    return max(0.0, float(np.sum((q - p) * np.log(q / p))) - expected)


def feature_drift(
    space: FeatureSpace,
    reference: Mapping[str, Sequence[RawValue]],
    current: Mapping[str, Sequence[RawValue]],
) -> dict[str, float]:
    """Stability index of every feature of a model.

    A number is compared in the bins of the reference, a missing one apart; a category by its
    levels, those the model does not know together.

    Args:
        space: the features.
        reference: feature name -> values the model was trained on.
        current: feature name -> values to compare.

    Returns:
        Feature -> index, at least 0.
    """
    found = {}
    for feature in space.features:
        old = CodedColumn.of(reference.get(feature.name, ()))
        new = CodedColumn.of(current.get(feature.name, ()))
        if isinstance(feature, NumericFeature):
            found[feature.name] = _number_index(old, new)
            continue
        levels = {level: i for i, level in enumerate((feature.reference, *feature.levels))}
        found[feature.name] = _level_index(_levels(old, levels), _levels(new, levels))
    return found


def _level(value: RawValue, levels: Mapping[str, int]) -> int:
    return -1 if value is None else levels.get(level_of(value), len(levels))


def _number_index(old: CodedColumn, new: CodedColumn) -> float:
    before, after = _numbers(old), _numbers(new)
    known = before[~np.isnan(before)]
    edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, 11)[1:-1])) if known.size else known

    def binned(numbers: FloatArray) -> Counter[int]:
        places = np.searchsorted(edges, numbers, side="right")
        return _counted(np.where(np.isnan(numbers), -1, places))

    return _level_index(binned(before), binned(after))


def _numbers(column: CodedColumn) -> FloatArray:
    """NaN where there is none."""
    numbers = [number_of(value) for value in column.values]
    table = np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)
    result: FloatArray = table[column.codes] if len(table) else np.empty(0)
    return result


def _levels(column: CodedColumn, levels: Mapping[str, int]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for value, count in column.counted():
        counts[_level(value, levels)] += count
    return counts


def _counted(codes: NDArray[np.int64]) -> Counter[int]:
    found, counts = np.unique(codes, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


def _level_index(before: Counter[int], after: Counter[int]) -> float:
    old, new = before.total(), after.total()
    if not old or not new:
        return 0.0
    codes = sorted(set(before) | set(after))
    p = np.array([before[code] + 0.5 for code in codes])
    q = np.array([after[code] + 0.5 for code in codes])
    p, q = p / p.sum(), q / q.sum()
    expected = (len(codes) - 1) * (1.0 / old + 1.0 / new)
    return max(0.0, float(np.sum((q - p) * np.log(q / p))) - expected)
