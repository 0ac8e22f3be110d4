"""From the text columns of a file to typed columns, with a reason for every row that is broken.

Each distinct text of a column is parsed once and then looked up, so that one plain parser per
field is both the rule and the quick way: most columns hold few distinct texts, and looking one up
costs some tens of nanoseconds. A row with any broken value is left out as a whole, naming each of
its broken fields; the rows around it go on.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from cis_server.capture.mapping import ATTRIBUTE, Section
from cis_server.capture.records import Field, Kind, RecordType, plain_header
from cis_server.capture.times import Reading, coarser, read_date, read_time, resolve
from cis_server.capture.values import MISSING, choice_of, parse_zone, shown, text_of
from cis_server.domain.local_time import find_zone
from cis_server.domain.vocabulary import TimePrecision
from cis_server.errors import DataError

Column: TypeAlias = list[Any]
"""One value a row; None means not known."""

PRECISION: Final = "time_precision"
_REMEMBERED: Final = 300_000
_EXTRA_TEXT: Final = text_of(10_000)
_parse_precision: Final = choice_of(TimePrecision)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row was left out."""

    line: int
    """Line of the file (row of a Parquet file plus one), the header being line 1."""
    field: str
    reason: str


@dataclass(slots=True)
class Batch:
    """Rows of a file, by database column."""

    lines: list[int]
    columns: dict[str, Column]
    rejected: list[Rejection] = field(default_factory=list)

    def drop(self, rejected: Sequence[Rejection]) -> None:
        """Leave out the rows on the lines of `rejected`, and keep the reasons."""
        if not rejected:
            return
        self.rejected.extend(rejected)
        gone = {item.line for item in rejected}
        kept = [index for index, line in enumerate(self.lines) if line not in gone]
        self.lines = [self.lines[index] for index in kept]
        self.columns = {
            name: [column[index] for index in kept] for name, column in self.columns.items()
        }


class Converter:
    """Reads the rows of one file by its header and its section of the mapping.

    Attributes:
        recognised: (header, field or attribute) for each column that is used, in file order.
        dropped: headers of columns that have no place in this kind of record.
        assumes_utc: whether times without an offset occur and are read as UTC for want of a zone.
    """

    def __init__(self, record: RecordType, header: Sequence[str], section: Section) -> None:
        """Decide what each column is.

        Raises:
            DataError: a mapped column is not in the file, a constant cannot be read, or a field
                that every record needs has neither column nor constant.
        """
        self._record, self._section = record, section
        self._missing = MISSING | section.missing
        self.assumes_utc = False
        self._layout = _layout(record, header, section)
        self.recognised = self._layout.recognised
        self.dropped = self._layout.dropped
        self._zones = _Texts(parse_zone, self._missing, {})
        self._precisions = _Texts(_parse_precision, self._missing, {})
        self._values = {
            item.name: _Texts(self._parser(item), self._missing, section.values.get(item.name, {}))
            for item in record.fields
        }
        self._times: dict[str, dict[tuple[Any, Any], Any]] = {}
        self._extras = {
            name: _Texts(_EXTRA_TEXT, self._missing, section.values.get(ATTRIBUTE + name, {}))
            for name in (*self._layout.attributes, *self._layout.extras)
        }
        self._constants = self._read_constants()

    def convert(self, lines: list[int], texts: Sequence[Sequence[str | None]]) -> Batch:
        """Convert some rows.

        Args:
            lines: the line of each row.
            texts: one sequence of texts per column of the header, each as long as `lines`.

        Returns:
            The rows without a broken value; `rejected` explains the others.
        """
        faults = _Faults(lines)
        columns: dict[str, Column] = {}
        for item in self._record.fields:
            column = self._column(item, texts, len(lines), faults)
            if column is None:
                continue
            if item.required:
                faults.need(item.name, column)
            if item.kind is Kind.TIME:
                self._place(item, column, texts, columns, faults)
            else:
                columns[item.target] = column
        columns |= self._json_columns(texts, len(lines), faults)
        batch = Batch(lines, columns)
        batch.drop(faults.found)
        return batch

    def _parser(self, item: Field) -> Callable[[str], Any]:
        formats = self._section.formats(item.name)
        if item.kind is Kind.TIME:
            return lambda text: read_time(text, formats)
        if item.kind is Kind.DATE:
            return lambda text: read_date(text, formats)
        return item.parse

    def _read_constants(self) -> dict[str, Any]:
        constants: dict[str, Any] = {}
        for name, text in self._section.constants.items():
            known = self._values.get(name)
            value = text if known is None else known[text]
            if isinstance(value, _Broken):
                raise DataError(f"[{self._record.name}] constants.{name}: {value.reason}")
            constants[name] = value
        for item in self._record.fields:
            if item.required and item.name not in {*self._layout.fields, *constants}:
                headers = ", ".join(self._layout.header)
                raise DataError(
                    f"the {self._record.name} file has no column for {item.name!r} (columns:"
                    f" {headers}); name it under [{self._record.name}.columns] of a mapping"
                )
        return constants

    def _column(
        self, item: Field, texts: Sequence[Sequence[str | None]], count: int, faults: _Faults
    ) -> Column | None:
        """The parsed values of a field, or None when the file says nothing about it."""
        constant = self._constants.get(item.name)
        index = self._layout.fields.get(item.name)
        if index is None:
            return None if constant is None else [constant] * count
        column = self._values[item.name].column(texts[index], item.name, faults)
        if constant is not None:
            column = [constant if value is None else value for value in column]
        return column

    def _place(
        self,
        item: Field,
        readings: list[Reading | None],
        texts: Sequence[Sequence[str | None]],
        columns: dict[str, Column],
        faults: _Faults,
    ) -> None:
        """Give readings their zone, place in the day and precision."""
        zones = self._zone_names(texts, readings, faults)
        known = self._times.setdefault(item.name, {})
        if len(known) > _REMEMBERED:
            known.clear()
        instants: Column = []
        for reading, zone in zip(readings, zones, strict=True):
            if reading is None:
                instants.append(None)
                continue
            key = (reading, zone)
            instant = known.get(key)
            if instant is None:
                instant = known[key] = resolve(reading, find_zone(zone) or dt.UTC, item.place)
            instants.append(instant)
        columns[item.target] = instants
        if item.name == self._record.timed_by:
            columns[PRECISION] = self._precision(readings, texts, faults)

    def _zone_names(
        self,
        texts: Sequence[Sequence[str | None]],
        readings: list[Reading | None],
        faults: _Faults,
    ) -> Sequence[str]:
        default = self._section.timezone or "UTC"
        index = self._layout.timezone
        if index is not None:
            named = self._zones.column(texts[index], self._layout.header[index], faults)
            return [name or default for name in named]
        if self._section.timezone is None and not self.assumes_utc:
            self.assumes_utc = any(
                reading is not None and reading.moment.tzinfo is None for reading in readings
            )
        return [default] * len(readings)

    def _precision(
        self,
        readings: list[Reading | None],
        texts: Sequence[Sequence[str | None]],
        faults: _Faults,
    ) -> Column:
        stated = self._section.precision or TimePrecision.INSTANT
        index = self._layout.precision
        if index is None:
            return [None if r is None else coarser(r.precision, stated).value for r in readings]
        named = self._precisions.column(texts[index], self._layout.header[index], faults)
        return [
            None
            if reading is None
            else coarser(reading.precision, TimePrecision(name) if name else stated).value
            for reading, name in zip(readings, named, strict=True)
        ]

    def _json_columns(
        self, texts: Sequence[Sequence[str | None]], count: int, faults: _Faults
    ) -> dict[str, Column]:
        record, layout = self._record, self._layout
        constants = {
            name.removeprefix(ATTRIBUTE): text
            for name, text in self._section.constants.items()
            if name.startswith(ATTRIBUTE)
        }
        found: dict[str, Column] = {}
        if record.attributes == record.extras:
            if record.extras is not None:
                sources = {**layout.extras, **layout.attributes}
                found[record.extras] = self._objects(sources, constants, texts, count, faults)
            return found
        if record.extras is not None and layout.extras:
            found[record.extras] = self._objects(layout.extras, {}, texts, count, faults)
        if record.attributes is not None and (layout.attributes or constants):
            objects = self._objects(layout.attributes, constants, texts, count, faults)
            found[record.attributes] = [
                None if item is None else f'{{"attributes":{item}}}' for item in objects
            ]
        return found

    def _objects(
        self,
        sources: dict[str, int],
        constants: dict[str, str],
        texts: Sequence[Sequence[str | None]],
        count: int,
        faults: _Faults,
    ) -> Column:
        """One JSON object a row, as text; None where nothing is known."""
        names = list(sources)
        columns = [
            self._extras[name].column(texts[index], name, faults) for name, index in sources.items()
        ]
        rows = zip(*columns, strict=True) if columns else ((),) * count
        objects = (
            {**constants, **{n: x for n, x in zip(names, row, strict=True) if x is not None}}
            for row in rows
        )
        return [json.dumps(item, ensure_ascii=False) if item else None for item in objects]


@dataclass(frozen=True, slots=True)
class _Broken:
    reason: str


class _Texts(dict[str | None, Any]):
    """Text -> its value, None, or what is wrong with it; filled as texts come along."""

    def __init__(
        self,
        parse: Callable[[str], Any],
        missing: frozenset[str],
        translations: Any,
    ) -> None:
        super().__init__()
        self._parse, self._missing, self._translations = parse, missing, translations
        self._any_broken = False

    def __missing__(self, text: str | None) -> Any:
        value = self._read(text)
        self._any_broken |= isinstance(value, _Broken)
        self[text] = value
        return value

    def column(self, texts: Sequence[str | None], name: str, faults: _Faults) -> Column:
        """The values of a column; broken ones are reported and left None."""
        if len(self) > _REMEMBERED:
            self.clear()
            self._any_broken = False
        column = [self[text] for text in texts]
        if self._any_broken:
            for index, value in enumerate(column):
                if isinstance(value, _Broken):
                    faults.add(index, name, value.reason)
                    column[index] = None
        return column

    def _read(self, text: str | None) -> Any:
        if text is None:
            return None
        stripped = text.strip()
        lower = stripped.lower()
        if lower in self._translations:
            stripped = self._translations[lower].strip()
            if stripped == "":
                return None
        elif lower in self._missing:
            return None
        if "\ufffd" in stripped:
            return _Broken(f"not readable in the file's encoding: {shown(stripped)}")
        try:
            return self._parse(stripped)
        except ValueError as error:
            return _Broken(str(error))


class _Faults:
    """What is wrong with which row of a batch."""

    def __init__(self, lines: list[int]) -> None:
        self._lines = lines
        self._seen: set[tuple[int, str]] = set()
        self.found: list[Rejection] = []

    def add(self, index: int, name: str, reason: str) -> None:
        """Reject a row; only the first reason for a field counts."""
        if (index, name) not in self._seen:
            self._seen.add((index, name))
            self.found.append(Rejection(self._lines[index], name, reason))

    def need(self, name: str, column: Column) -> None:
        """Reject the rows that say nothing about a field every record needs."""
        if None in column:
            for index, value in enumerate(column):
                if value is None:
                    self.add(index, name, "missing")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where in the header each thing stands."""

    header: list[str]
    fields: dict[str, int]
    attributes: dict[str, int]
    extras: dict[str, int]
    timezone: int | None
    precision: int | None
    recognised: list[tuple[str, str]]
    dropped: list[str]


def _layout(record: RecordType, header: Sequence[str], section: Section) -> _Layout:
    cleaned = (name.replace("\x00", "").strip() for name in header)
    names = [name or f"column {index + 1}" for index, name in enumerate(cleaned)]
    where: dict[str, int] = {}
    for index, name in enumerate(names):
        where.setdefault(plain_header(name) or name, index)
    mapped = _mapped_columns(record, where, section)
    helpers = _helper_columns(record, where, section)
    fields = {name: index for name, index in mapped.items() if not name.startswith(ATTRIBUTE)}
    attributes = {
        name.removeprefix(ATTRIBUTE): index
        for name, index in mapped.items()
        if name.startswith(ATTRIBUTE)
    }
    used = set(mapped.values())
    used |= {where[name] for name in section.ignore if name in where}
    fields |= _recognised_columns(record, where, used, fields)
    used |= {*fields.values(), *(index for index in helpers if index is not None)}
    rest = [index for index in range(len(names)) if index not in used]
    extras: dict[str, int] = {}
    for index in rest if record.extras else ():
        extras[_free_name(names[index], {*extras, *attributes})] = index
    targets = {index: name for name, index in fields.items()}
    targets |= {index: ATTRIBUTE + name for name, index in attributes.items()}
    targets |= {index: f"{record.extras}: {name}" for name, index in extras.items()}
    return _Layout(
        header=names,
        fields=fields,
        attributes=attributes,
        extras=extras,
        timezone=helpers[0],
        precision=helpers[1],
        recognised=[(names[index], targets[index]) for index in sorted(targets)],
        dropped=[] if record.extras else [names[index] for index in rest],
    )


def _mapped_columns(record: RecordType, where: dict[str, int], section: Section) -> dict[str, int]:
    mapped = {}
    for header, name in section.columns.items():
        if header not in where:
            raise DataError(
                f"[{record.name}] columns: no column of the file is called like"
                f" {header!r}, which is mapped to {name!r}"
            )
        mapped[name] = where[header]
    return mapped


def _helper_columns(
    record: RecordType, where: dict[str, int], section: Section
) -> tuple[int | None, int | None]:
    found: list[int | None] = []
    for key, header in (
        ("timezone", section.timezone_column),
        ("precision", section.precision_column),
    ):
        if header is not None and header not in where:
            raise DataError(f"[{record.name}] {key}: the file has no column {header!r}")
        found.append(None if header is None else where[header])
    if found[1] is None and record.timed_by is not None and section.precision is None:
        found[1] = where.get(plain_header(PRECISION))
    return found[0], found[1]


def _recognised_columns(
    record: RecordType, where: dict[str, int], used: set[int], fields: dict[str, int]
) -> dict[str, int]:
    """Fields found by the usual headers; of several columns for one the likeliest wins."""
    best: dict[str, tuple[int, int]] = {}
    for header, index in where.items():
        known = record.by_header.get(header)
        if known is None or index in used or known[1].name in fields:
            continue
        rank, item = known
        if item.name not in best or rank < best[item.name][0]:
            best[item.name] = (rank, index)
    return {name: index for name, (_, index) in best.items()}


def _free_name(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"
