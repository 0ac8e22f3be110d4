"""The mapping file: which column of a CRM's export is which field, and how its values read.

A TOML file with a section for each kind of file::

    [leads]
    timezone = "Europe/Lisbon"          # of times without an offset; or {column = "Zone"}
    ignore = ["Internal score"]         # columns to leave out
    missing = ["unknown", "999"]        # further texts that mean "not known"
    encoding = "windows-1252"           # default utf-8
    delimiter = ";"                     # default: found out from the header
    dates = ["%d/%m/%Y"]                # for all dates and times, or a table by field
    columns = {"Kundennummer" = "lead_id", "Segment" = "attributes.segment"}
    constants = {country = "Portugal"}  # where the file says nothing
    values.status = {"Closed - Won" = "converted"}

    [activities]
    precision = "day"                   # at most so exactly are times known; or {column = "…"}

Column names are compared without regard to case, spaces and underscores. Columns not named here
are recognised by the usual headers of CRM exports, and what is left becomes lead ``attributes``
(for activities: ``metadata``; ``attributes.x`` makes a column an attribute of the touch, which
learning may look at).
"""

from __future__ import annotations

import codecs
import difflib
import tomllib
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cis_server.capture.records import Kind, RecordType, plain_header, record_types
from cis_server.capture.times import check_format
from cis_server.domain.local_time import find_zone
from cis_server.domain.vocabulary import TimePrecision
from cis_server.errors import DataError

ATTRIBUTE: Final = "attributes."
ALL_FIELDS: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """How one kind of file reads. The default is a file that needs no mapping."""

    columns: MappingOf[str, str] = field(default_factory=dict)
    """Plain header -> field, or ``attributes.`` and a name."""
    values: MappingOf[str, MappingOf[str, str]] = field(default_factory=dict)
    """Field -> text of the file in lower case -> text to read instead."""
    constants: MappingOf[str, str] = field(default_factory=dict)
    """Field -> text to read where the file says nothing."""
    dates: MappingOf[str, tuple[str, ...]] = field(default_factory=dict)
    """Field, or ``*`` for all -> formats, tried in order."""
    timezone: str | None = None
    """Zone of times without an offset."""
    timezone_column: str | None = None
    """Plain header of the column that names it."""
    precision: TimePrecision | None = None
    """Times are known no better than this."""
    precision_column: str | None = None
    """Plain header of the column that says so."""
    ignore: frozenset[str] = frozenset()
    """Plain headers."""
    missing: frozenset[str] = frozenset()
    """Lower-case texts."""
    encoding: str = "utf-8"
    delimiter: str | None = None

    def formats(self, name: str) -> tuple[str, ...]:
        """Date formats of a field; none means ISO 8601."""
        return self.dates.get(name, self.dates.get(ALL_FIELDS, ()))


def read_mapping(path: Path) -> dict[str, Section]:
    """Read a mapping file.

    Returns:
        A section for every kind of file, the default one where the mapping has none.

    Raises:
        DataError: the file cannot be read, or names a section, key, field, zone, format or
            encoding that does not exist; the message says which.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"mapping {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"mapping {path}: {error}") from error
    try:
        return parse_mapping(document)
    except DataError as error:
        raise DataError(f"mapping {path}: {error}") from None


def parse_mapping(document: MappingOf[str, Any]) -> dict[str, Section]:
    """Check a mapping that was read from TOML; see `read_mapping`."""
    records = {record.name: record for record in record_types()}
    for name in document:
        if name not in records:
            raise DataError(f"unknown section [{name}]{_meant(name, records)}")
    return {name: _section(document.get(name, {}), records[name]) for name in records}


def _section(table: Any, record: RecordType) -> Section:
    if not isinstance(table, dict):
        raise DataError(f"[{record.name}] must be a table")
    unknown = [key for key in table if key not in _KEYS]
    if unknown:
        raise DataError(f"[{record.name}] unknown key {unknown[0]!r}{_meant(unknown[0], _KEYS)}")
    here = _Reader(table, record)
    timezone, timezone_column = here.value_or_column("timezone")
    if timezone is not None and find_zone(timezone) is None:
        raise here.error("timezone", f"{timezone!r} is no IANA time zone")
    precision, precision_column = here.value_or_column("precision")
    return Section(
        columns=here.columns(),
        values=here.values(),
        constants=here.constants(),
        dates=here.dates(),
        timezone=timezone,
        timezone_column=timezone_column,
        precision=here.precision(precision),
        precision_column=precision_column,
        ignore=frozenset(plain_header(name) for name in here.texts("ignore")),
        missing=frozenset(text.strip().lower() for text in here.texts("missing")),
        encoding=here.encoding(),
        delimiter=here.delimiter(),
    )


_KEYS: Final = (
    "columns",
    "values",
    "constants",
    "dates",
    "timezone",
    "precision",
    "ignore",
    "missing",
    "encoding",
    "delimiter",
)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Takes the keys of one section apart, naming what is wrong."""

    table: dict[str, Any]
    record: RecordType

    def error(self, key: str, text: str) -> DataError:
        return DataError(f"[{self.record.name}] {key}: {text}")

    def columns(self) -> dict[str, str]:
        columns: dict[str, str] = {}
        for header, name in self._pairs("columns").items():
            self._check_target("columns", name)
            if name in columns.values():
                raise self.error("columns", f"two columns are mapped to {name!r}")
            columns[plain_header(header)] = name
        return columns

    def values(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for name, table in _flattened(self._table("values")).items():
            self._check_target("values", name)
            found[name] = {
                original.strip().lower(): self._scalar(f"values.{name}", text)
                for original, text in table.items()
            }
        return found

    def constants(self) -> dict[str, str]:
        found = {}
        for name, text in self._pairs("constants").items():
            self._check_target("constants", name)
            found[name] = text
        return found

    def dates(self) -> dict[str, tuple[str, ...]]:
        given = self.table.get("dates", {})
        by_field = given if isinstance(given, dict) else {ALL_FIELDS: given}
        found = {}
        for name, formats in by_field.items():
            listed = [formats] if isinstance(formats, str) else formats
            if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
                raise self.error("dates", f"{name}: a format or a list of formats is expected")
            if name != ALL_FIELDS:
                target = self.record.by_name.get(name)
                if target is None or target.kind is Kind.VALUE:
                    timed = [f.name for f in self.record.fields if f.kind is not Kind.VALUE]
                    raise self.error("dates", f"{name!r} is no date field{_meant(name, timed)}")
            for form in listed:
                try:
                    check_format(form)
                except ValueError as error:
                    raise self.error("dates", str(error)) from None
            found[name] = tuple(listed)
        return found

    def value_or_column(self, key: str) -> tuple[str | None, str | None]:
        given = self.table.get(key)
        if isinstance(given, dict) and set(given) == {"column"}:
            return None, plain_header(self._scalar(key, given["column"]))
        return (None if given is None else self._scalar(key, given)), None

    def precision(self, text: str | None) -> TimePrecision | None:
        if text is None:
            return None
        try:
            return TimePrecision(text)
        except ValueError:
            allowed = ", ".join(TimePrecision)
            raise self.error("precision", f"{text!r} is none of {allowed}") from None

    def texts(self, key: str) -> list[str]:
        given = self.table.get(key, [])
        if not isinstance(given, list):
            raise self.error(key, "a list is expected")
        return [self._scalar(key, item) for item in given]

    def encoding(self) -> str:
        name = self._scalar("encoding", self.table.get("encoding", "utf-8"))
        try:
            return codecs.lookup(name).name
        except LookupError:
            raise self.error("encoding", f"{name!r} is no text encoding") from None

    def delimiter(self) -> str | None:
        given = self.table.get("delimiter")
        if given is not None and (not isinstance(given, str) or len(given) != 1):
            raise self.error("delimiter", "one character is expected")
        return given

    def _pairs(self, key: str) -> dict[str, str]:
        pairs = _flattened_texts(self._table(key))
        return {name: self._scalar(f"{key}.{name}", text) for name, text in pairs.items()}

    def _table(self, key: str) -> dict[str, Any]:
        given = self.table.get(key, {})
        if not isinstance(given, dict):
            raise self.error(key, "a table is expected")
        return given

    def _scalar(self, key: str, given: Any) -> str:
        if isinstance(given, bool):
            return "true" if given else "false"
        if isinstance(given, (str, int, float)):
            return str(given)
        if hasattr(given, "isoformat"):
            return str(given.isoformat())
        raise self.error(key, "a text, number, date or yes/no is expected")

    def _check_target(self, key: str, name: str) -> None:
        if name.startswith(ATTRIBUTE) and len(name) > len(ATTRIBUTE) and self.record.attributes:
            return
        if name not in self.record.by_name:
            raise self.error(key, f"{name!r} is no field{_meant(name, self.record.by_name)}")


def _flattened(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``values.attributes.x`` is a table in a table to TOML; here it is one dotted name."""
    found: dict[str, dict[str, Any]] = {}
    for name, inner in table.items():
        if not isinstance(inner, dict):
            raise DataError(f"values.{name}: a table of translations is expected")
        if name == ATTRIBUTE.rstrip("."):
            found |= {f"{ATTRIBUTE}{key}": item for key, item in inner.items()}
        else:
            found[name] = inner
    return found


def _flattened_texts(table: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, inner in table.items():
        if name == ATTRIBUTE.rstrip(".") and isinstance(inner, dict):
            found |= {f"{ATTRIBUTE}{key}": item for key, item in inner.items()}
        else:
            found[name] = inner
    return found


def _meant(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
