"""Whether a feature knows the outcome: what came after first contact, or tells it outright.

Two looks. Where it is known when a value became known, that must not be after the first contact
(defect 51). A caller's own CRM columns carry no such time; a column like "stage: won" gives itself
away by what it does: a single feature that by itself orders converted before other leads almost
without fault, or a value of one that stands on converted leads and hardly any other, is not a cause
anybody found, but the outcome under another name. The value may be filled in for some of them only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from cis_server.scoring.coded_columns import CodedColumn
from cis_server.scoring.features import RawValue, level_of, number_of
from cis_server.stats.arrays import BoolArray, FloatArray

MOST_SEPARATION: Final = 0.95
"""Area under the ROC curve of a single feature from which on it is taken for the outcome."""
TELLING_RATE: Final = 0.8
"""Rate of a single value from which on it is taken for the outcome, at `TELLING_ODDS`."""
TELLING_ODDS: Final = 20.0
"""Odds of converting with the value, against those of the leads without it."""
_SURE: Final = 0.99

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
        telling: feature of which one value stands almost only on converted leads; empty: none.
        telling_leads: leads with that value.
        telling_converted: of them, converted.
    """

    late: Mapping[str, int]
    feature: str
    separation: float
    telling: str = ""
    telling_leads: int = 0
    telling_converted: int = 0

    @property
    def leaks(self) -> bool:
        """Whether a model on these features would know what only the outcome can tell."""
        return bool(self.late or self.telling) or self.separation > MOST_SEPARATION

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
        if self.telling:
            return (
                f"a value of {self.telling} stands on {self.telling_leads} leads of whom "
                f"{self.telling_converted} converted: it looks like the outcome itself, recorded "
                "afterwards; leave it out"
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
    telling, leads, converted = "", 0, 0
    if 0.0 < y.sum() < len(y):
        for name in sorted(raw):
            codes = _codes(CodedColumn.of(raw[name]))
            n = np.bincount(codes).astype(np.float64)
            k = np.bincount(codes, weights=y).astype(np.float64)
            found = _separation(n, k, y)
            if found > separation:
                best, separation = name, found
            for level in np.flatnonzero(_tells(n, k, y)).tolist():
                if n[level] > leads:
                    telling, leads, converted = name, int(n[level]), int(k[level])
    late = {name: count for name, count in late.items() if count}
    return Leakage(late, best, separation, telling, leads, converted)


def _tells(n: FloatArray, k: FloatArray, y: FloatArray) -> BoolArray:
    """Which levels stand almost only on converted leads, by the 1 % quantile of their rate."""
    low = special.betaincinv(k + 0.5, n - k + 0.5, 1.0 - _SURE)
    rest_n, rest_k = len(y) - n, y.sum() - k
    elsewhere = (rest_k + 0.5) / (rest_n - rest_k + 0.5)
    telling: BoolArray = (
        (n >= _RARE) & (low >= TELLING_RATE) & (low >= TELLING_ODDS * elsewhere * (1.0 - low))
    )
    return telling


def _separation(n: FloatArray, k: FloatArray, y: FloatArray) -> float:
    """Area under the ROC curve of the rates of a feature's levels, n leads and k converted each."""
    # Drawn to the mean by one lead, so that small levels do not remember their own outcomes.
    level = np.unique((k + y.mean()) / (n + 1.0), return_inverse=True)[1].reshape(-1)
    tied = np.bincount(level, weights=n)
    # Leads of one rate share the mean of their ranks.
    rank = np.cumsum(tied) - (tied - 1.0) / 2.0
    positives = y.sum()
    area = (float(k @ rank[level]) - positives * (positives + 1.0) / 2.0) / (
        positives * (len(y) - positives)
    )
    return float(area)


def _codes(column: CodedColumn) -> NDArray[np.intp]:
    """Levels as numbers; rare ones together, numbers in bins, missing apart."""
    known = [(value, count) for value, count in column.counted() if value is not None]
    if len(known) > _BINS:
        numbers = {value: number_of(value) for value, _ in known}
        if None not in numbers.values():
            return _binned(column, numbers)
    levels = [_MISSING if value is None else level_of(value) for value in column.values]
    names, level_code = np.unique(np.array(levels), return_inverse=True)
    codes = level_code.reshape(-1)[column.codes]
    rare = (np.bincount(codes, minlength=len(names)) < _RARE) & (names != _MISSING)
    return _renumbered(np.where(rare, len(names), np.arange(len(names)))[codes])


def _binned(column: CodedColumn, numbers: Mapping[RawValue, float | None]) -> NDArray[np.intp]:
    table = np.array([numbers.get(value, np.nan) for value in column.values], dtype=np.float64)
    number = table[column.codes]
    missing = np.isnan(number)
    edges = np.unique(np.quantile(number[~missing], np.linspace(0, 1, _BINS + 1)))
    codes = np.searchsorted(edges[1:-1], number, side="right")
    codes[missing] = len(edges) + 1
    return _renumbered(codes)


def _renumbered(codes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Without gaps."""
    return np.cumsum(np.bincount(codes) > 0)[codes] - 1
