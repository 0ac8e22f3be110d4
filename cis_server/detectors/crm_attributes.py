"""Dimensions out of lead `attributes`: any column a CRM has, without being told what it means.

A column of numbers is cut into quantile bins, anything else is taken by its folded value. A number
that stands for "never" or "not known" (the classic 999) shows as a value that dominates: it gets a
bin of its own, so that it does not blur its neighbours. Columns in which nearly every lead has a
value of its own are keys and are left out.
"""

from __future__ import annotations

import json

import numpy as np
import polars as pl

from cis_server.detectors.levels import Levels, folded, levels
from cis_server.detectors.settings import DetectorSettings
from cis_server.stats.arrays import FloatArray

_KEY = r'"(?:[^"\\]|\\.)*"\s*:'
_NUMERIC_SHARE = 0.95
_NUMERIC_DISTINCT = 10
_UNIQUE_SHARE = 0.5
_EMPTY = ("", "null", "nan", "n/a", "na")


def attribute_levels(
    attributes: pl.Series, settings: DetectorSettings
) -> tuple[list[Levels], list[str]]:
    """One dimension ``attributes.<name>`` per usable attribute.

    Args:
        attributes: a JSON object as text per lead; null where there is none.
        settings: number of bins, of values, and the share that dominates.

    Returns:
        The dimensions by name, and a line for each attribute left out saying why.
    """
    table = attribute_table(attributes)
    found: list[Levels] = []
    skipped: list[str] = []
    for name in sorted(table.columns):
        values, reason = usable_values(table[name], settings)
        if values is None:
            skipped.append(f"{name}: {reason}")
        else:
            found.append(levels(f"attributes.{name}", values, limit=settings.ranked_levels))
    return found, skipped


def usable_values(column: pl.Series, settings: DetectorSettings) -> tuple[pl.Series | None, str]:
    """The values of a column as they are ranked: numbers in bins, anything else as it is.

    Args:
        column: folded text, null where missing.
        settings: number of bins, and the share that dominates.

    Returns:
        The values, or None and why the column cannot be used.
    """
    reason = _unusable(column)
    if reason:
        return None, reason
    return (_binned(column, settings) if _is_numeric(column) else column), ""


def attribute_table(attributes: pl.Series) -> pl.DataFrame:
    """Attributes as text columns, folded; null where missing.

    Args:
        attributes: a JSON object as text per lead.

    Returns:
        One column per key that has a value somewhere.
    """
    objects = attributes.fill_null("{}")
    matches = objects.str.extract_all(_KEY).explode(empty_as_null=True).drop_nulls().unique()
    keys = sorted({str(json.loads(match.rstrip()[:-1])) for match in matches.to_list()})
    if not keys:
        return pl.DataFrame()
    decoded = objects.str.json_decode(pl.Struct(dict.fromkeys(keys, pl.String())))
    table = decoded.struct.unnest()
    table = table.select(folded(name) for name in table.columns)
    table = table.with_columns(
        pl.when(~pl.col(name).is_in(_EMPTY)).then(pl.col(name)).alias(name)
        for name in table.columns
    )
    return table.select(name for name in table.columns if table[name].null_count() < table.height)


def _unusable(column: pl.Series) -> str:
    known = len(column) - column.null_count()
    distinct = column.drop_nulls().n_unique()
    if distinct < 2:
        return "one value only"
    if _is_numeric(column):
        numbers = column.drop_nulls().cast(pl.Float64, strict=False).drop_nulls()
        whole = bool((numbers == numbers.floor()).all())
        return "nearly unique" if whole and distinct > 0.9 * known and distinct > 100 else ""
    if distinct > _NUMERIC_DISTINCT and distinct > _UNIQUE_SHARE * known:
        return "nearly unique"
    return ""


def _is_numeric(column: pl.Series) -> bool:
    known = column.drop_nulls()
    numbers = known.cast(pl.Float64, strict=False)
    finite = int(numbers.is_finite().sum())
    return finite >= _NUMERIC_SHARE * len(known) and known.n_unique() > _NUMERIC_DISTINCT


def _binned(column: pl.Series, settings: DetectorSettings) -> pl.Series:
    numbers = column.cast(pl.Float64, strict=False)
    numbers = pl.select(pl.when(numbers.is_finite()).then(numbers)).to_series()
    known = numbers.drop_nulls().to_numpy()
    value, count = np.unique(known, return_counts=True)
    special = value[count >= settings.dominant_share * known.size]
    ordinary = np.setdiff1d(value, special)
    label = {float(number): _number(number) for number in special}
    for lowest, highest, members in _bins(known, ordinary, settings.quantile_bins):
        text = _number(lowest)
        if highest > lowest and _number(highest) != text:
            text = f"{text}–{_number(highest)}"
        label.update((float(number), text) for number in members)
    binned = numbers.replace_strict(
        pl.Series(list(label), dtype=pl.Float64),
        pl.Series(list(label.values()), dtype=pl.String),
        default=None,
        return_dtype=pl.String,
    )
    # What is not a number ("unknown") stays a value of its own.
    return pl.select(pl.coalesce(binned, column)).to_series()


def _bins(
    known: FloatArray, ordinary: FloatArray, bins: int
) -> list[tuple[float, float, FloatArray]]:
    if not ordinary.size:
        return []
    sample = known[np.isin(known, ordinary)]
    cuts = np.quantile(sample, np.arange(1, bins) / bins, method="inverted_cdf")
    place = np.searchsorted(np.unique(cuts), ordinary, side="left")
    groups = [ordinary[place == index] for index in np.unique(place)]
    return [(float(group[0]), float(group[-1]), group) for group in groups]


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"
