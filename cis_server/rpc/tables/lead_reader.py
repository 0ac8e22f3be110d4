"""Leads out of record batches: which columns are read, of which types, and which rows are wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import FieldDescriptor
from numpy.typing import NDArray

from cis_client.v1 import core_pb2
from cis_server.domain.vocabulary import EmailStatus, LeadStatus
from cis_server.errors import InvalidInput
from cis_server.rpc.messages.values import word_of
from cis_server.rpc.rules import Text
from cis_server.rpc.tables.arrow_columns import (
    UNKNOWN_FLAG,
    as_text,
    dates,
    flags,
    floats,
    is_date,
    is_flag,
    is_list_of_text,
    is_number,
    is_text,
    repeated,
    text_column,
    whole_numbers,
)
from cis_server.rpc.tables.arrow_stream import FIELD, ArrowBatches, valid_column
from cis_server.rpc.tables.violations import (
    Violations,
    check_number,
    check_text,
    check_whole,
    rule_of,
)
from cis_server.scoring.columns import (
    EMAIL_STATUSES,
    LEAD_STATUSES,
    ContactShapes,
    LeadColumns,
    contact_shapes,
)
from cis_server.scoring.distinct_texts import DistinctTexts, TextColumn, no_texts
from cis_server.scoring.text_kernel import BAD_DATE, NO_DATE

ROWS_AT_ONCE: Final = 32_768
"""Rows scored together. Half as many cost a ninth more a lead, twice as many as much; between two
such parts a call about one lead gets its turn."""

SCORED_FIELDS: Final = tuple(
    name for name in LeadColumns.__dataclass_fields__ if name != "attributes"
)
"""Fields of `Lead` that a score depends on."""

_FIELDS: Final = core_pb2.Lead.DESCRIPTOR.fields_by_name
_UNKNOWN_WORD: Final = -2
_FIRST_DAY: Final = dt.date.min.toordinal() - dt.date(1970, 1, 1).toordinal()
_LAST_DAY: Final = dt.date.max.toordinal() - dt.date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class LeadRows:
    """Some rows of a table."""

    lead_ids: Any
    """`pyarrow.Array` of text, as it was sent."""
    columns: LeadColumns
    shapes: ContactShapes
    errors: dict[int, str]
    """What is wrong with the rows that cannot be scored; their other columns mean nothing."""


class LeadReader:
    """Reads the leads of a table.

    Columns are named as the fields of `Lead`. A column of another name is an attribute when
    `attributes` names it, and is not looked at otherwise. ``employment_history`` is not looked at
    either: no score depends on it.

    Args:
        batches: the table.
        attributes: names of the CRM columns that a score depends on.

    Raises:
        InvalidInput: a column has a type that cannot be read, comes twice, or there is no
            ``lead_id``.
    """

    def __init__(self, batches: ArrowBatches, attributes: frozenset[str]) -> None:
        self._batches = batches
        self._attributes = attributes
        self._words = DistinctTexts()
        self._zones = DistinctTexts()
        self._places: dict[str, int] = {}
        for place, name in enumerate(batches.names):
            if name in self._places:
                raise InvalidInput(_path(name), "comes twice")
            self._places[name] = place
        if "lead_id" not in self._places:
            raise InvalidInput(_path("lead_id"), "is required")
        for field in _FIELDS.values():
            if field.name in self._places:
                _check_type(field, batches.types[self._places[field.name]])

    def __iter__(self) -> Iterator[LeadRows]:
        read = {
            name: place
            for name, place in self._places.items()
            if name in self._attributes or (name in _FIELDS and name != "employment_history")
        }
        for batch in self._batches:
            if not batch.num_rows:
                continue
            arrays = {name: valid_column(batch, place, name) for name, place in read.items()}
            for first in range(0, batch.num_rows, ROWS_AT_ONCE):
                part = {name: each.slice(first, ROWS_AT_ONCE) for name, each in arrays.items()}
                yield self._rows(part)

    def _rows(self, arrays: dict[str, Any]) -> LeadRows:
        n = len(arrays["lead_id"])
        found = Violations()
        values: dict[str, Any] = {}
        for name, field in _FIELDS.items():
            if name in arrays:
                values[name] = self._read(field, arrays[name], found)
            elif name in _MISSING:
                values[name] = _MISSING[name](n)
        lead_id = values["lead_id"]
        for row in np.flatnonzero(lead_id.stop == lead_id.start).tolist():
            found.add(row, "lead_id", "is required")
        columns = LeadColumns(
            **{name: values[name] for name in SCORED_FIELDS},
            attributes=self._read_attributes(arrays, found),
        )
        shapes = contact_shapes(columns)
        _check_address(columns.email, shapes.email, found)
        return LeadRows(_plain_text(arrays["lead_id"]), columns, shapes, found.by_row())

    def _read(self, field: FieldDescriptor, array: Any, found: Violations) -> Any:
        """One column as `LeadColumns` holds it; its wrong values go to `found`."""
        name = field.name
        if name == "attributes":
            return None
        if name == "technologies":
            return _check_lists(array, found)
        if name in _WORDS:
            return self._read_words(name, array, found)
        if name in _DATES:
            return _read_dates(name, array, found)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return flags(array)
        if field.cpp_type == FieldDescriptor.CPPTYPE_INT32:
            return _read_whole(name, array, found)
        if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
            numbers = floats(array)
            check_number(numbers.values, numbers.known, name, found)
            return numbers.values
        column = text_column(repeated(array) if name in _JUDGED else array)
        rule = rule_of(name)
        assert rule is not None
        if isinstance(rule, Text):
            check_text(column, name, rule, found)
        else:  # the zone: judged once per distinct text
            good = self._zones.judged(column, lambda text: int(rule(text) is None), name, missing=1)
            found.ask(np.flatnonzero(good == 0), name, rule, column.text)
        return column

    def _read_words(self, name: str, array: Any, found: Violations) -> NDArray[np.int64]:
        """Places in the vocabulary of an enumeration, which stands as words or as numbers."""
        words = _WORDS[name]
        if is_text(array.type):
            column = text_column(repeated(array))
            places = self._words.judged(column, words.place_of, name, missing=words.unknown)
            for row in np.flatnonzero(places == _UNKNOWN_WORD).tolist():
                found.add(row, name, f"{column.text(row)[:40]!r} is none of {words.listed}")
            return places
        numbers = whole_numbers(array)
        values = numbers.values
        if numbers.known is not None:
            values = np.where(numbers.known, values, 0)
        inside = (values >= 0) & (values < len(words.of_number))
        places = words.of_number[np.where(inside, values, 0).astype(np.int64)]
        places[~inside | (values != np.trunc(values))] = _UNKNOWN_WORD
        for row in np.flatnonzero(places == _UNKNOWN_WORD).tolist():
            found.add(row, name, f"must be a number of the enumeration {words.enumeration}")
        return places

    def _read_attributes(self, arrays: dict[str, Any], found: Violations) -> dict[str, TextColumn]:
        """Attributes that are read: entries of the column ``attributes``, else columns."""
        given = arrays.get("attributes")
        if given is not None and pa.types.is_map(given.type):
            _check_entries(given, found)
        read = {}
        for name in sorted(self._attributes):
            text = _entry(given, name)
            own = arrays.get(name) if name not in _FIELDS else None
            if own is not None:
                own = as_text(own)
                if own is None:
                    raise InvalidInput(
                        _path(name), f"must be text or numbers, not {arrays[name].type}"
                    )
                text = own if text is None else pc.coalesce(_plain_text(text), _plain_text(own))
            if text is not None:
                column = text_column(repeated(text))
                check_text(column, f"attributes[{name}]", _VALUE_RULE, found)
                read[name] = column
        return read


def _check_type(field: FieldDescriptor, kind: Any) -> None:
    """Refuse a column whose type cannot be that field."""
    wanted_kinds = _wanted(field)
    if any(fits(kind) for fits, _ in wanted_kinds):
        return
    wanted = " or ".join(words for _, words in wanted_kinds)
    raise InvalidInput(_path(field.name), f"must be {wanted}, not {kind}")


_Fits = Callable[[Any], bool]


def _wanted(field: FieldDescriptor) -> Sequence[tuple[_Fits, str]]:
    if field.name == "attributes":
        return ((_is_attributes, "a map or struct of texts"),)
    if field.name == "technologies":
        return ((is_list_of_text, "lists of text"),)
    if field.name == "employment_history":
        return ((lambda _: True, "anything"),)
    if field.name in _WORDS:
        return ((is_text, "text"), (pa.types.is_integer, "whole numbers"))
    if field.name in _DATES:
        return ((is_date, "dates, timestamps or text"),)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return ((is_flag, "bool"),)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_DOUBLE):
        return ((is_number, "numbers"),)
    return ((is_text, "text"),)


def _is_attributes(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return all(is_text(kind.field(i).type) for i in range(kind.num_fields))
    if pa.types.is_map(kind):
        return is_text(kind.key_type) and is_text(kind.item_type)
    return bool(pa.types.is_null(kind))


def _read_dates(name: str, array: Any, found: Violations) -> NDArray[np.int64]:
    days = dates(array)
    broken = (days != NO_DATE) & ((days < _FIRST_DAY) | (days > _LAST_DAY))
    if broken.any():
        texts = text_column(array) if is_text(array.type) else None
        rule = rule_of(name)
        assert rule is not None
        for row in np.flatnonzero(broken).tolist():
            said = None if texts is None else rule(texts.text(row))
            found.add(row, name, said or "is not a date of the years 1 to 9999")
        days[broken] = NO_DATE
    return days


def _read_whole(name: str, array: Any, found: Violations) -> NDArray[np.int64]:
    """Whole numbers, 0 where nothing is known."""
    values, known = whole_numbers(array)
    if values.dtype == np.float64:
        check_whole(values, np.ones(len(values), np.bool_) if known is None else known, name, found)
    check_number(values, known, name, found)
    if values.dtype == np.float64:
        values = np.clip(np.nan_to_num(values), -(2.0**62), 2.0**62).astype(np.int64)
    return values if known is None else np.where(known, values, 0)


def _check_address(column: TextColumn, shapes: NDArray[np.int64], found: Violations) -> None:
    """Ask the rule of the address where it has not the shape of one: that may be for want of @."""
    shapeless = (shapes == 0) & (column.stop > column.start)
    if shapeless.any():
        rule = rule_of("email")
        assert isinstance(rule, Text)
        # Too long was said already.
        short = Text(0, 2**31, rule.containing)
        found.ask(np.flatnonzero(shapeless), "email", short, column.text)


def _check_lists(array: Any, found: Violations) -> None:
    rule = rule_of("technologies")
    assert rule is not None
    if pa.types.is_null(array.type):
        return
    counts = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    column = text_column(array.flatten())
    longest = int((column.stop - column.start).max(initial=0))
    if counts.max(initial=0) > _MOST_TECHNOLOGIES or longest > _LONGEST_TECHNOLOGY:
        rows = np.arange(len(array))
        found.ask(rows, "technologies", rule, lambda row: array[row].as_py() or ())


def _check_entries(array: Any, found: Violations) -> None:
    """The rule of ``attributes`` about a map, row by row only where it may be broken."""
    rule = rule_of("attributes")
    assert rule is not None
    counts = np.diff(array.offsets.to_numpy())
    keys, items = text_column(array.keys), text_column(array.items)
    sizes = keys.stop - keys.start
    doubtful = (
        counts.max(initial=0) > _MOST_ATTRIBUTES
        or sizes.max(initial=1) > _LONGEST_KEY
        or sizes.min(initial=1) < 1
        or (items.stop - items.start).max(initial=0) > _VALUE_RULE.most
    )
    if doubtful:
        found.ask(
            np.arange(len(array)),
            "attributes",
            rule,
            lambda row: {key: value or "" for key, value in array[row].as_py() or ()},
        )


def _entry(given: Any, name: str) -> Any | None:
    """The value of one attribute in a map or struct column, a text array; None when it has none."""
    if given is None or pa.types.is_null(given.type):
        return None
    if pa.types.is_struct(given.type):
        place = given.type.get_field_index(name)
        return None if place < 0 else pc.struct_field(given, place)
    key = pa.scalar(name, type=given.type.key_type)
    return pc.map_lookup(given, key, "last")


def _plain_text(array: Any) -> Any:
    """Text of one type, so that arrays can be put together."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array if pa.types.is_string(array.type) else array.cast(pa.string())


def _path(name: str) -> str:
    return f"{FIELD}.{name}"


@dataclass(frozen=True, slots=True)
class _Words:
    """A vocabulary and how the contract's enumeration writes it."""

    enumeration: str
    prefix: str
    places: dict[str, int]
    """By word in capitals, without the prefix."""
    of_number: NDArray[np.int64]
    """Place by number of the enumeration."""
    unknown: int
    """Place of what is not known."""

    @property
    def listed(self) -> str:
        return ", ".join(sorted(word.lower() for word in self.places if word != "UNSPECIFIED"))

    def place_of(self, text: str) -> int:
        """Place of a word, in any case and with or without the prefix."""
        word = "_".join(text.upper().replace("-", " ").replace("_", " ").split())
        return self.places.get(word.removeprefix(self.prefix), _UNKNOWN_WORD)


_W = TypeVar("_W", EmailStatus, LeadStatus)


def _words(enumeration: Any, vocabulary: Sequence[_W], kind: type[_W], unknown: int) -> _Words:
    words = word_of(enumeration, kind)
    prefix = str(enumeration.Name(0)).removesuffix("UNSPECIFIED")
    of_number = np.full(max(enumeration.values()) + 1, unknown, dtype=np.int64)
    places = {"UNSPECIFIED": unknown}
    for name, number in enumeration.items():
        word = words(number)
        if word is not None:
            of_number[number] = places[name.removeprefix(prefix)] = vocabulary.index(word)
    return _Words(enumeration.DESCRIPTOR.name, prefix, places, of_number, unknown)


_WORDS: Final = {
    "email_status": _words(
        core_pb2.EmailStatus,
        EMAIL_STATUSES,
        EmailStatus,
        EMAIL_STATUSES.index(EmailStatus.UNKNOWN),
    ),
    "status": _words(core_pb2.LeadStatus, LEAD_STATUSES, LeadStatus, -1),
}
_DATES: Final = frozenset({"employment_start_date", "latest_funding_date"})
_JUDGED: Final = frozenset({"title", "seniority", "industry", "country", "timezone"})
"""Texts that come again and again, and are judged once each."""
_MOST_TECHNOLOGIES, _LONGEST_TECHNOLOGY = 500, 200
_MOST_ATTRIBUTES, _LONGEST_KEY = 200, 128
_VALUE_RULE: Final = Text(0, 1000)


def _full(value: int) -> Callable[[int], NDArray[np.int64]]:
    return lambda n: np.full(n, value, dtype=np.int64)


def _absent(field: FieldDescriptor) -> Callable[[int], Any]:
    """A column of nothing but unknown, for a field that the table has no column for."""
    if field.name in _WORDS:
        return _full(_WORDS[field.name].unknown)
    if field.name in _DATES:
        return _full(NO_DATE)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _full(UNKNOWN_FLAG)
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT32:
        return _full(0)
    return cast(Callable[[int], Any], no_texts)


_MISSING: Final = {name: _absent(_FIELDS[name]) for name in SCORED_FIELDS}
assert BAD_DATE < _FIRST_DAY
