"""Leads from the rows of a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from cis_client.v1.core_pb2 import Job, Lead

OWN_PREFIX = "cis_"
"""Columns that begin so were written by an earlier run: they are not read, and are replaced."""

_TRUE = {"true", "yes", "y", "t", "1"}
_FALSE = {"false", "no", "n", "f", "0"}


@dataclass(frozen=True)
class Row:
    """One row of the file."""

    line: int
    """Its first line in the file; the header is line 1."""
    cells: Mapping[str, str]
    """Its cells by column, as they stand in the file, without earlier results."""
    lead: Lead | None
    """The lead; None when the row cannot be read."""
    error: str
    """Why it cannot be read; empty when it can."""


class LeadsFile:
    """Reads leads one by one, so that a file may be of any length.

    A column named like a field of `Lead` (case, spaces and hyphens do not matter) is that field;
    every other column becomes an attribute under its own heading. Empty cells are unknown.
    ``technologies`` holds values between semicolons; ``employment_history`` a JSON list of jobs.

    Args:
        file: opened with ``newline=""``.

    Raises:
        ValueError: the file has no header, or two columns for one field.
    """

    def __init__(self, file: TextIO) -> None:
        self._reader = csv.reader(file, strict=True)
        try:
            header = next(self._reader, None)
        except csv.Error as error:
            raise ValueError(f"the first line is not CSV: {error}") from None
        if header is None:
            raise ValueError("the file is empty: a first line with column names is needed")
        self._header = [name.strip() for name in header]
        self._setters = [_setter(name) for name in self._header]
        seen: dict[str, str] = {}
        for name in self._header:
            field = _field_name(name)
            if field in seen:
                raise ValueError(f"two columns are {field!r}: {seen[field]!r} and {name!r}")
            seen[field] = name

    @property
    def columns(self) -> Sequence[str]:
        """Columns of the file, without earlier results."""
        return [name for name in self._header if not name.startswith(OWN_PREFIX)]

    def __iter__(self) -> Iterator[Row]:
        while True:
            line = self._reader.line_num + 1
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(line, {}, None, f"is not CSV: {error}")
                continue
            if cells:
                yield self._row(line, cells)

    def _row(self, line: int, cells: list[str]) -> Row:
        named = {
            name: cell
            for name, cell in zip(self._header, cells, strict=False)
            if not name.startswith(OWN_PREFIX)
        }
        if len(cells) != len(self._header):
            found = f"has {len(cells)} cells where the header has {len(self._header)}"
            return Row(line, named, None, found)
        lead = Lead()
        for name, cell, put in zip(self._header, cells, self._setters, strict=True):
            text = cell.strip()
            if not text or put is None:
                continue
            try:
                put(lead, text)
            except ValueError as error:
                return Row(line, named, None, f"{name}: {error}")
        return Row(line, named, lead, "")


_Setter = Callable[[Lead, str], None]


def _field_name(column: str) -> str:
    return column.strip().lower().replace(" ", "_").replace("-", "_")


def _setter(column: str) -> _Setter | None:
    """Puts a cell of the column into a lead; None for columns that are not read."""
    if column.startswith(OWN_PREFIX):
        return None
    name = _field_name(column)
    field = Lead.DESCRIPTOR.fields_by_name.get(name)
    if name == "attributes":
        return _put_attributes
    if name == "employment_history":
        return _put_employment_history
    if name == "technologies":
        return _put_technologies
    if field is None:

        def put_attribute(lead: Lead, text: str) -> None:
            lead.attributes[column] = text

        return put_attribute
    read = _reader(field)

    def put(lead: Lead, text: str) -> None:
        setattr(lead, name, read(text))

    return put


def _put_technologies(lead: Lead, text: str) -> None:
    lead.technologies.extend(part.strip() for part in text.split(";") if part.strip())


def _put_employment_history(lead: Lead, text: str) -> None:
    try:
        jobs = json.loads(text)
        if not isinstance(jobs, list):
            raise ValueError("not a list")
        lead.employment_history.extend(json_format.ParseDict(job, Job()) for job in jobs)
    except (ValueError, json_format.ParseError) as error:
        raise ValueError(f"is not a JSON list of jobs: {error}") from None


def _put_attributes(lead: Lead, text: str) -> None:
    try:
        pairs = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not a JSON object: {error}") from None
    if not isinstance(pairs, dict):
        raise ValueError("is not a JSON object")
    for key, value in pairs.items():
        if value is not None:
            lead.attributes[key] = value if isinstance(value, str) else json.dumps(value)


def _reader(field: FieldDescriptor) -> Callable[[str], object]:
    """Turns text into a value of the field."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return str
        case FieldDescriptor.CPPTYPE_BOOL:
            return _boolean
        case FieldDescriptor.CPPTYPE_INT32 | FieldDescriptor.CPPTYPE_INT64:
            return _whole
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return _figure
        case FieldDescriptor.CPPTYPE_ENUM:
            return _enumeration(field)
        case _:
            raise TypeError(f"a CSV cell cannot hold {field.full_name}")


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _whole(text: str) -> int:
    try:
        value = float(text.replace(" ", "").replace("_", ""))
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
    if not value.is_integer() or not -(2**31) <= value < 2**31:
        raise ValueError(f"{text!r} is not a whole number")
    return int(value)


def _figure(text: str) -> float:
    try:
        return float(text.replace(" ", "").replace("_", ""))
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def _enumeration(field: FieldDescriptor) -> Callable[[str], object]:
    kind = field.enum_type
    assert kind is not None
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    values = {value.name.removeprefix(prefix): value.number for value in kind.values}

    def read(text: str) -> int:
        name = text.upper().replace(" ", "_").replace("-", "_").removeprefix(prefix)
        if name not in values:
            known = ", ".join(sorted(each.lower() for each in values if each != "UNSPECIFIED"))
            raise ValueError(f"{text!r} is none of {known}")
        return values[name]

    return read
