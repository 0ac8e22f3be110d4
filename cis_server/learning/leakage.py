"""Whether a feature knows the outcome: what came after first contact, or tells it outright.

Two looks. Where it is known when a value became known, that must not be after the first contact
(defect 51). A caller's own CRM columns carry no such time; a column like "stage: won" gives itself
away by what it does: a single feature that by itself orders converted before other leads almost
without fault is not a cause anybody found, but the outcome under another name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from cis_server.scoring.features import RawValue, level_of, number_of
from cis_server.stats.arrays import FloatArray

MOST_SEPARATION: Final = 0.95
"""Area under the ROC curve of a single feature from which on it is taken for the outcome."""

_BINS: Final = 20
_MISSING: Final = "(missing)"
_RARE: Final = 20


@dataclass(frozen=True, slots=True)
class Leakage:
    """What was found.

    Attributes:
        late: feature -> leads of which it became known after their first contact.
        feature: the feature that separates best by itself; empty when none does.
        separation: its area under the ROC curve, .5 for none.
    """

    late: Mapping[str, int]
    feature: str
    separation: float

    @property
    def leaks(self) -> bool:
        """Whether a model on these features would know what only the outcome can tell."""
        return bool(self.late) or self.separation > MOST_SEPARATION

    @property
    def text(self) -> str:
        """In words."""
        if self.late:
            named = ", ".join(f"{name} ({count} leads)" for name, count in self.late.items())
            return f"known only after the first contact, so no basis for a prediction: {named}"
        if self.separation > MOST_SEPARATION:
            return (
                f"{self.feature} alone tells who converted (area under the curve "
                f"{self.separation:.3f}, at most {MOST_SEPARATION} allowed): it looks like the "
                "outcome itself, recorded afterwards; leave it out"
            )
        best = f"; the strongest alone is {self.feature}" if self.feature else ""
        return f"no feature tells the outcome by itself ({self.separation:.2f}{best})"


def find_leakage(
    raw: Mapping[str, Sequence[RawValue]],
    y: FloatArray,
    known_at: Mapping[str, FloatArray],
    contacted_at: FloatArray,
) -> Leakage:
    """Look for features that know the outcome.

    Args:
        raw: feature name -> n values.
        y: (n,) outcomes 0/1.
        known_at: feature -> (n,) times at which its values became known; NaN where there is none.
        contacted_at: (n,) first contact on the same scale.
    """
    late = {
        name: int(np.sum(np.asarray(known_at[name]) > contacted_at)) for name in sorted(known_at)
    }
    best, separation = "", 0.5
    if 0.0 < y.sum() < len(y):
        for name in sorted(raw):
            found = _separation(raw[name], y)
            if found > separation:
                best, separation = name, found
    return Leakage({name: count for name, count in late.items() if count}, best, separation)


def _separation(values: Sequence[RawValue], y: FloatArray) -> float:
    """Area under the ROC curve of the rates of a feature's levels."""
    codes = _codes(values)
    n, k = np.bincount(codes), np.bincount(codes, weights=y)
    # Drawn to the mean by one lead, so that small levels do not remember their own outcomes.
    rate = (k + y.mean()) / (n + 1.0)
    ranks = stats.rankdata(rate[codes])
    positives = y.sum()
    area = (ranks[y > 0.5].sum() - positives * (positives + 1.0) / 2.0) / (
        positives * (len(y) - positives)
    )
    return float(area)


def _codes(values: Sequence[RawValue]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Levels as numbers; rare ones together, numbers in bins, missing apart."""
    known = [value for value in values if value is not None]
    if len(set(known)) > _BINS:
        numbers = [number_of(value) for value in known]
        if None not in numbers:
            edges = np.unique(np.quantile(np.array(numbers, float), np.linspace(0, 1, _BINS + 1)))
            binned = np.searchsorted(edges[1:-1], np.array(numbers, float), side="right")
            result = np.full(len(values), len(edges) + 1, dtype=np.intp)
            result[[i for i, value in enumerate(values) if value is not None]] = binned
            return np.unique(result, return_inverse=True)[1].reshape(-1)
    levels = np.array([_MISSING if value is None else level_of(value) for value in values])
    codes = np.unique(levels, return_inverse=True)[1].reshape(-1)
    rare = np.bincount(codes)[codes] < _RARE
    missing = levels == _MISSING
    codes[rare & ~missing] = codes.max() + 1
    return np.unique(codes, return_inverse=True)[1].reshape(-1)
