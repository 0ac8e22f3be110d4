"""What a propensity model reads of leads that came as columns: `features.raw_features` once more.

Each feature of the model is a function of one column, so that it is encoded once per distinct
value. The encoding itself is that of `features.Encoder`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.scores import MAX_POINTS
from cis_server.domain.titles import parse_title
from cis_server.scoring.arithmetic import CodedLead
from cis_server.scoring.columns import (
    EMAIL_STATUSES,
    ContactShapes,
    Integers,
    LeadColumns,
    TextTables,
)
from cis_server.scoring.distinct_texts import DistinctTexts, TextColumn
from cis_server.scoring.features import (
    ATTRIBUTE,
    COMPONENT_FEATURES,
    RawValue,
    Slot,
    age_label,
    country_level,
    flag,
    folded,
    industry_level,
    log_headcount,
    size_range,
)
from cis_server.scoring.propensity import PropensityScorer

Encoded = tuple[NDArray[np.int32], NDArray[np.float64]]

_ROLE_DAYS: Final = CodedLead._fields.index("role_days")
_FUNDING_DAYS: Final = CodedLead._fields.index("funding_days")


def attributes_of(model: PropensityScorer | None) -> tuple[str, ...]:
    """Keys of the attributes that a model reads."""
    if model is None:
        return ()
    names = (feature.name for feature in model.model.space.features)
    return tuple(name.removeprefix(ATTRIBUTE) for name in names if name.startswith(ATTRIBUTE))


def probabilities(
    columns: LeadColumns,
    shapes: ContactShapes,
    codes: Integers,
    arithmetic: NDArray[np.float64],
    model: PropensityScorer,
    tables: TextTables,
) -> NDArray[np.float64]:
    """Conversion probability of n leads, equal to `PropensityScorer.probability` of each.

    Args:
        columns: the leads, with the attributes that the model reads.
        shapes: of the same leads.
        codes: of the same leads, shape (n, `CODED_WIDTH`).
        arithmetic: of the same leads, shape (n, `ARITHMETIC_WIDTH`).
        model: the model.
        tables: the texts met so far.

    Returns:
        Shape (n, 3): probability, low, high.
    """
    n = len(columns)
    slots = model.encoder.slots
    index = np.empty((n, len(slots)), dtype=np.int32)
    value = np.empty((n, len(slots)))
    texts = _texts(columns, tables)
    numbers = _numbers(columns, shapes, codes, arithmetic)
    for f, (name, slot) in enumerate(slots):
        if name in texts:
            encoded = _encoded_texts(*texts[name], slot, (model, name))
        elif name in numbers:
            encoded = _encoded_numbers(*numbers[name], slot)
        else:  # an attribute no lead of these has, or a feature of another version
            column, number = slot(None)
            encoded = np.full(n, column, dtype=np.int32), np.full(n, number)
        index[:, f], value[:, f] = encoded
    return model.rows(index, value)


def _texts(
    columns: LeadColumns, tables: TextTables
) -> dict[str, tuple[TextColumn, DistinctTexts, Callable[[str], RawValue]]]:
    """Features that are a function of one text."""
    found: dict[str, tuple[TextColumn, DistinctTexts, Callable[[str], RawValue]]] = {
        "title": (columns.title, tables.titles, folded),
        "title_level": (columns.title, tables.titles, lambda text: parse_title(text).level),
        "title_function": (columns.title, tables.titles, lambda text: parse_title(text).function),
        "industry": (columns.industry, tables.industries, industry_level),
        "seniority": (columns.seniority, tables.seniorities, folded),
        "country": (columns.country, tables.countries, country_level),
    }
    for key, column in columns.attributes.items():
        found[ATTRIBUTE + key] = column, tables.attributes, folded
    return found


def _numbers(
    columns: LeadColumns,
    shapes: ContactShapes,
    codes: Integers,
    arithmetic: NDArray[np.float64],
) -> dict[str, tuple[NDArray[Any], Callable[[Any], RawValue]]]:
    """Features that are a function of one number."""
    found: dict[str, tuple[NDArray[Any], Callable[[Any], RawValue]]] = {
        "size_range": (columns.employee_count, size_range),
        "employee_count_log": (columns.employee_count, log_headcount),
        "email_status": (columns.email_status, lambda place: EMAIL_STATUSES[place].value),
        "has_email": (shapes.email, flag),
        "has_phone": (shapes.phone, flag),
        "has_linkedin": (shapes.linkedin, flag),
        "hiring": (columns.is_hiring, lambda known: None if known < 0 else flag(known)),
        "role_age": (codes[:, _ROLE_DAYS], age_label),
        "funding_age": (codes[:, _FUNDING_DAYS], age_label),
    }
    for k, name in enumerate(COMPONENT_FEATURES):
        found[name] = arithmetic[:, k], _fraction(MAX_POINTS[k])
    return found


def _fraction(most: int) -> Callable[[float], RawValue]:
    return lambda points: points / most


def _encoded_texts(
    column: TextColumn,
    table: DistinctTexts,
    raw: Callable[[str], RawValue],
    slot: Slot,
    key: Hashable,
) -> Encoded:
    """Encode a text feature; the table remembers the column each text fills, and with what."""

    def filled(text: str) -> int:
        return slot(raw(text))[0]

    def number(text: str) -> int:
        return int(np.float64(slot(raw(text))[1]).view(np.int64)) ^ _FLIP

    index = table.judged(column, filled, (key, "column"), missing=filled(""))
    bits = table.judged(column, number, (key, "value"), missing=number(""))
    return index.astype(np.int32), (bits ^ _FLIP).view(np.float64)


_FLIP: Final = 1
"""Turns the bits of -0.0 into other ones than those that stand for "not judged yet"."""


def _encoded_numbers(numbers: NDArray[Any], raw: Callable[[Any], RawValue], slot: Slot) -> Encoded:
    """Encode a feature of a number, once per distinct one."""
    distinct, place = np.unique(numbers, return_inverse=True)
    pairs = [slot(raw(number)) for number in distinct.tolist()]
    index = np.array([column for column, _ in pairs], dtype=np.int32)
    value = np.array([filling for _, filling in pairs], dtype=np.float64)
    return index[place], value[place]
