"""What a propensity model reads of a lead, and how it becomes numbers: one encoder for training
and for serving.

Two steps. *Raw features* are words and numbers with names (`FIXED_FEATURES`, then
``attribute:<key>`` for every column of the caller's CRM); missing is None. *Encoding* turns them
into (column, value) pairs of a `FeatureSpace`. Both steps exist for one lead and for columns; the
columnar forms apply the very same functions value by value, once per distinct value, so a model
meets in serving exactly what it was trained on.

Nothing here depends on an outcome: bounces, opt-outs and statuses are no features (defect 10).
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.lead import Lead
from cis_server.domain.propensity import (
    MISSING_LEVEL,
    OTHER_LEVEL,
    CategoricalFeature,
    Feature,
    FeatureSpace,
    NumericFeature,
)
from cis_server.domain.scores import MAX_POINTS, Components
from cis_server.domain.titles import parse_title
from cis_server.domain.weights import COMPONENTS
from cis_server.scoring.coded_columns import CodedColumn
from cis_server.scoring.contacts import is_email_address, is_linkedin_profile, is_phone_number
from cis_server.scoring.icp import country_key, industry_key

RawValue: TypeAlias = str | float | None
RawFeatures: TypeAlias = dict[str, RawValue]
RawColumns: TypeAlias = dict[str, list[RawValue]]
Slot: TypeAlias = Callable[[RawValue], tuple[int, float]]
"""Encodes one feature: raw value -> (column or -1, value)."""

ATTRIBUTE: Final = "attribute:"
"""Prefix of features that are CRM columns."""

COMPONENT_FEATURES: Final = tuple(f"component_{name}" for name in COMPONENTS)

LEAD_FEATURES: Final = (
    "title",
    "title_level",
    "title_function",
    "industry",
    "size_range",
    "employee_count_log",
    "seniority",
    "country",
    "email_status",
    "has_email",
    "has_phone",
    "has_linkedin",
    "hiring",
    "role_age",
    "funding_age",
)
FIXED_FEATURES: Final = (*LEAD_FEATURES, *COMPONENT_FEATURES)
"""Features every lead has; the components are points / maximum, 0..1."""

COLUMNS: Final = (
    "title",
    "industry",
    "employee_count",
    "seniority",
    "country",
    "email_status",
    "has_email",
    "has_phone",
    "has_linkedin",
    "is_hiring",
    "employment_start_date",
    "latest_funding_date",
    "attributes",
)
"""Columns that `raw_columns` reads, named as in `cis_server.domain.dataset`; ``attributes`` holds
one mapping key -> text a lead. A column that is left out is missing for every lead."""

SIZE_RANGES: Final = (
    (5, "1-5"),
    (15, "6-15"),
    (30, "16-30"),
    (50, "31-50"),
    (100, "51-100"),
    (250, "101-250"),
    (500, "251-500"),
)
"""(largest head-count, label) of the size ranges of pattern sheet §8.2; above them "501+"."""

AGE_RANGES: Final = (
    (90, "0-89 days"),
    (180, "90-179 days"),
    (360, "180-359 days"),
    (720, "360-719 days"),
)
"""(first day that is too old, label); above them "720+ days"."""


def raw_features(lead: Lead, components: Components, as_of: dt.date) -> RawFeatures:
    """Raw features of one lead.

    Args:
        lead: the lead.
        components: its points.
        as_of: the day ages are counted to.
    """
    title = parse_title(lead.title)
    raw: RawFeatures = {
        "title": folded(lead.title),
        "title_level": title.level,
        "title_function": title.function,
        "industry": industry_level(lead.industry),
        "size_range": size_range(lead.employee_count),
        "employee_count_log": log_headcount(lead.employee_count),
        "seniority": folded(lead.seniority),
        "country": country_level(lead.country),
        "email_status": lead.email_status.value,
        "has_email": flag(is_email_address(lead.email)),
        "has_phone": flag(is_phone_number(lead.phone)),
        "has_linkedin": flag(is_linkedin_profile(lead.linkedin_url)),
        "hiring": flag(lead.is_hiring),
        "role_age": age_range(lead.employment_start_date, as_of),
        "funding_age": age_range(lead.latest_funding_date, as_of),
    }
    raw.update(zip(COMPONENT_FEATURES, components.fractions(), strict=True))
    for key, text in lead.attributes.items():
        raw[ATTRIBUTE + key] = folded(text)
    return raw


def raw_columns(
    columns: Mapping[str, Sequence[Any]],
    components: NDArray[np.float64] | Sequence[Sequence[float]],
    as_of: dt.date | Sequence[dt.date],
) -> RawColumns:
    """Raw features of n leads, equal value by value to `raw_features` of each.

    Args:
        columns: of `COLUMNS`, those there are, n values each, None for missing.
        components: raw points, shape (n, 5), in the order of `COMPONENTS`.
        as_of: one day for all leads or one a lead.

    Returns:
        Feature name -> n values; attributes that a lead does not have are None.

    Raises:
        ValueError: the columns have different lengths.
    """
    points = np.asarray(components, dtype=np.float64).reshape(-1, len(COMPONENTS))
    n = len(points)
    days = [as_of] * n if isinstance(as_of, dt.date) else list(as_of)
    for name in COLUMNS:
        if name in columns and len(columns[name]) != n:
            raise ValueError(f"column {name!r} has {len(columns[name])} values, not {n}")
    if len(days) != n:
        raise ValueError(f"as_of has {len(days)} values, not {n}")

    def column(name: str) -> Sequence[Any]:
        return columns.get(name, [None] * n)

    heads = column("employee_count")
    raw: RawColumns = {
        "title": _mapped(folded, column("title")),
        "title_level": _mapped(lambda text: parse_title(text).level, column("title")),
        "title_function": _mapped(lambda text: parse_title(text).function, column("title")),
        "industry": _mapped(industry_level, column("industry")),
        "size_range": _mapped(size_range, heads),
        "employee_count_log": _mapped(log_headcount, heads),
        "seniority": _mapped(folded, column("seniority")),
        "country": _mapped(country_level, column("country")),
        # A lead that says nothing of its address has the status unknown, as in `Lead`.
        "email_status": _mapped(lambda text: folded(text) or "unknown", column("email_status")),
        "has_email": _mapped(flag, column("has_email")),
        "has_phone": _mapped(flag, column("has_phone")),
        "has_linkedin": _mapped(flag, column("has_linkedin")),
        "hiring": _mapped(flag, column("is_hiring")),
        "role_age": _ages(column("employment_start_date"), days),
        "funding_age": _ages(column("latest_funding_date"), days),
    }
    fractions = points / np.array(MAX_POINTS, dtype=np.float64)
    for k, name in enumerate(COMPONENT_FEATURES):
        raw[name] = list(fractions[:, k].tolist())
    attributes: Sequence[Mapping[str, str] | None] = column("attributes")
    for key in sorted({key for item in attributes if item for key in item}):
        raw[ATTRIBUTE + key] = _mapped(folded, [(item or {}).get(key) for item in attributes])
    return raw


def encode(space: FeatureSpace, raw: RawFeatures) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """(column or -1, value) of each feature of a space for one lead.

    Args:
        space: the features of the model, F of them.
        raw: as from `raw_features`; a feature that is not in it is missing.

    Returns:
        Two arrays of shape (F,).
    """
    return Encoder(space).encode(raw)


class Encoder:
    """A `FeatureSpace` prepared for encoding many leads."""

    __slots__ = ("_slots", "space")

    def __init__(self, space: FeatureSpace) -> None:
        self.space = space
        self._slots: list[tuple[str, Slot]] = [
            (feature.name, _slot(feature, first)) for feature, first in space.offsets()
        ]

    @property
    def slots(self) -> Sequence[tuple[str, Slot]]:
        """Name of each feature, and the function that encodes its raw value."""
        return self._slots

    def encode(self, raw: Mapping[str, RawValue]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """As the function `encode`."""
        pairs = [slot(raw.get(name)) for name, slot in self._slots]
        index = np.array([column for column, _ in pairs], dtype=np.int32)
        return index, np.array([value for _, value in pairs], dtype=np.float64)

    def encode_columns(
        self, raw: Mapping[str, Sequence[RawValue]], n: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Encode n leads, equal row by row to `encode` of each.

        Args:
            raw: as from `raw_columns`; a feature that is not in it is missing for all.
            n: number of leads.

        Returns:
            Two C-ordered arrays of shape (n, F).
        """
        index = np.full((n, len(self._slots)), -1, dtype=np.int32)
        value = np.zeros((n, len(self._slots)))
        for f, (name, slot) in enumerate(self._slots):
            if not n:
                break
            coded = CodedColumn.of(raw.get(name) or [None] * n)
            pairs = [slot(each) for each in coded.values]
            index[:, f] = np.array([column for column, _ in pairs], dtype=np.int32)[coded.codes]
            value[:, f] = np.array([number for _, number in pairs])[coded.codes]
        return index, value


def design_matrix(
    index: NDArray[np.int32], value: NDArray[np.float64], width: int
) -> NDArray[np.float64]:
    """The dense design matrix of encoded leads.

    Args:
        index: shape (n, F), from `Encoder.encode_columns`.
        value: shape (n, F).
        width: number of columns p, `FeatureSpace.width`.

    Returns:
        Shape (n, p), without an intercept.
    """
    matrix = np.zeros((len(index), width))
    rows, slots = np.nonzero(index >= 0)
    matrix[rows, index[rows, slots]] = value[rows, slots]
    return matrix


def learned_space(
    raw: Mapping[str, Sequence[RawValue]],
    *,
    min_count: int,
    max_levels: int = 20,
    exclude: Iterable[str] = (),
) -> FeatureSpace:
    """Decide from training data how each raw feature is encoded. Looks at no outcome.

    A feature whose known values are all numbers and more than `max_levels` different ones is
    numeric, as is every feature that is a number by nature. Anything else is categorical: levels
    seen at least `min_count` times stay, at most `max_levels` of them (the most frequent, ties by
    name); what is left becomes one level `OTHER_LEVEL` if it has `min_count` leads. The most
    frequent level of all is left out as the reference. Missing flags and levels need `min_count`
    leads too. What does not vary is dropped.

    Args:
        raw: feature name -> n values, from `raw_columns`.
        min_count: fewest leads a column must rest on, at least 1.
        max_levels: most levels of a category.
        exclude: names of features to leave out.

    Returns:
        Features in the order of `FIXED_FEATURES`, then attributes by name.
    """
    if min_count < 1 or max_levels < 1:
        raise ValueError("min_count and max_levels must be at least 1")
    known = [name for name in FIXED_FEATURES if name in raw]
    names = known + sorted(name for name in raw if name not in FIXED_FEATURES)
    left_out = frozenset(exclude)
    features = (
        _learned_feature(name, CodedColumn.of(raw[name]), min_count, max_levels)
        for name in names
        if name not in left_out
    )
    return FeatureSpace(tuple(feature for feature in features if feature is not None))


def folded(text: str | None) -> str | None:
    """Text in the form levels are compared in: no outer space, one space inside, no case."""
    return " ".join(text.split()).casefold() or None if text else None


def industry_level(industry: str | None) -> str | None:
    """`industry_key`, or None when nothing is left of the text."""
    return industry_key(industry) or None if industry else None


def country_level(country: str | None) -> str | None:
    """`country_key`, or None when nothing is left of the text."""
    return country_key(country) or None if country else None


def size_range(headcount: int | None) -> str | None:
    """Label of the size range; None when unknown or not above 0."""
    if headcount is None or headcount <= 0:
        return None
    return next((label for largest, label in SIZE_RANGES if headcount <= largest), "501+")


def age_range(date: dt.date | None, as_of: dt.date) -> str | None:
    """Label of the age of a date; None when missing or in the future."""
    return None if date is None else age_label((as_of - date).days)


def age_label(days: int) -> str | None:
    """Label of an age in days; None below 0."""
    if days < 0:
        return None
    return next((label for end, label in AGE_RANGES if days < end), "720+ days")


def number_of(value: RawValue) -> float | None:
    """The number a raw value is or spells (thousands may be grouped: ``1,234.5``), or None.

    A comma that groups nothing ("1,5") is ambiguous and makes no number; nor does what lies beyond
    `LARGEST_NUMBER`, whose square no sum could hold.
    """
    if value is None:
        return None
    if isinstance(value, str) and _GROUPED.match(value):
        value = value.replace(",", "")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= LARGEST_NUMBER else None  # NaN is not


LARGEST_NUMBER: Final = 1e100
_GROUPED = re.compile(r"^\s*[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?\s*$")


def log_headcount(headcount: int | None) -> float | None:
    """log10 of the head-count: firms differ by factors, not by heads. None when unknown."""
    return math.log10(headcount) if headcount is not None and headcount > 0 else None


def flag(value: object) -> str | None:
    """The level of a yes or no."""
    return None if value is None else "yes" if value else "no"


def _mapped(function: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """`function` of every value, called once per distinct value."""
    known: dict[Hashable, Any] = {}
    out = []
    for value in values:
        if value not in known:
            known[value] = function(value)
        out.append(known[value])
    return out


def _ages(dates: Sequence[dt.date | None], days: Sequence[dt.date]) -> list[RawValue]:
    pairs = zip(dates, days, strict=True)
    return _mapped(lambda pair: age_range(pair[0], pair[1]), list(pairs))


def _slot(feature: Feature, first: int) -> Slot:
    if isinstance(feature, NumericFeature):
        mean, scale = feature.mean, feature.scale
        missing = (first + 1, 1.0) if feature.flags_missing else (-1, 0.0)

        def numeric(value: RawValue) -> tuple[int, float]:
            number = number_of(value)
            return missing if number is None else (first, (number - mean) / scale)

        return numeric
    columns = {level: (first + i, 1.0) for i, level in enumerate(feature.levels)}
    none = (-1, 0.0)
    other, unknown = columns.get(OTHER_LEVEL, none), columns.get(MISSING_LEVEL, none)
    # The reference level is no column and must not fall to "other": it is known by name.
    reference = feature.reference

    def categorical(value: RawValue) -> tuple[int, float]:
        if value is None:
            return unknown
        level = level_of(value)
        return none if level == reference else columns.get(level, other)

    return categorical


def level_of(value: str | float) -> str:
    """The level a raw value is; a whole number has no decimals."""
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else repr(value)


def _learned_feature(
    name: str, column: CodedColumn, min_count: int, max_levels: int
) -> Feature | None:
    known = [(value, count) for value, count in column.counted() if value is not None]
    numbers = [(number_of(value), count) for value, count in known]
    missing = len(column) - sum(count for _, count in known)
    flagged = min_count <= missing <= len(column) - min_count
    by_nature = any(isinstance(value, float) for value, _ in known)
    finite = [(number, count) for number, count in numbers if number is not None]
    spread = len(known) > max_levels and len(finite) == len(numbers)
    if known and (by_nature or spread):
        return _learned_number(name, finite, flagged)
    levels: Counter[str] = Counter()
    for value, count in known:
        levels[level_of(value)] += count
    return _learned_category(name, levels, missing, min_count, max_levels)


def _learned_number(name: str, numbers: list[tuple[float, int]], flagged: bool) -> Feature | None:
    # fsum: the same data in any order give the same bits.
    n = sum(count for _, count in numbers)
    if not n:
        return None
    mean = _sum(numbers) / n
    variance = _sum([((number - mean) ** 2, count) for number, count in numbers]) / n
    if variance <= 1e-24 * max(mean * mean, 1.0):
        return CategoricalFeature(name, (MISSING_LEVEL,)) if flagged else None
    return NumericFeature(name, mean, math.sqrt(variance), flagged)


def _sum(numbers: list[tuple[float, int]]) -> float:
    """Exactly rounded sum of numbers, each as often as it says."""
    return math.fsum(chain.from_iterable(repeat(number, count) for number, count in numbers))


def _learned_category(
    name: str, counts: Mapping[str, int], missing: int, min_count: int, max_levels: int
) -> Feature | None:
    ranked = sorted(counts, key=lambda level: (-counts[level], level))
    kept = [level for level in ranked if counts[level] >= min_count][:max_levels]
    if not kept:
        return None
    rest = sum(counts.values()) - sum(counts[level] for level in kept)
    reference, *columns = kept
    if rest >= min_count:
        columns.append(OTHER_LEVEL)
    if missing >= min_count:
        columns.append(MISSING_LEVEL)
    return CategoricalFeature(name, tuple(columns), reference) if columns else None
