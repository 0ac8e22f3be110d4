"""Reading CSV and Parquet files as columns of text, in batches, with the line of every row.

A CSV row whose fields do not add up is reported and skipped. When such a row runs over several
lines, most likely because a quotation mark is never closed, only its first line is given up and
reading goes on with the next one, so that one stray mark does not swallow the rest of the file.
"""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import io
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from cis_server.capture.conversion import Rejection
from cis_server.errors import DataError

BATCH_ROWS: Final = 20_000
ROW_FIELD: Final = "(row)"
"""What a report names when it is not one field but the row that cannot be read."""

_DELIMITERS: Final = ",;\t|"
_HEADER_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Some rows of a file."""

    lines: list[int]
    """Where each row starts; the header is line 1."""
    columns: list[Sequence[str | None]]
    """One sequence per column of the header."""
    broken: list[Rejection]
    """Rows in between that cannot be read."""
    done: int
    """How much of `Source.size` is read by now."""


class Source(Protocol):
    """An open file of records."""

    header: list[str]
    size: int
    """Measure of the whole file, for progress: bytes or rows."""

    def batches(self) -> Iterator[TextBatch]:
        """The rows in file order, once."""
        ...


def open_source(path: Path, *, encoding: str = "utf-8", delimiter: str | None = None) -> Source:
    """Open a file by its ending: ``.parquet`` or ``.pq`` is Parquet, anything else CSV.

    Args:
        path: the file.
        encoding: of a CSV file; a byte order mark overrules it.
        delimiter: between the fields of a CSV file; None finds it out from the header.

    Raises:
        DataError: there is no such file, it is empty, or it is no Parquet file.
    """
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty")
        if path.suffix.lower() in (".parquet", ".pq"):
            return _ParquetSource(path)
        return _CsvSource(path, encoding, delimiter)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


class _CsvSource:
    def __init__(self, path: Path, encoding: str, delimiter: str | None) -> None:
        self._path = path
        self.size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
        self._encoding = _marked_encoding(start) or encoding
        first = start.decode(self._encoding, errors="replace").lstrip("\ufeff")
        self._delimiter = delimiter or _delimiter_of(first)
        with self._open() as file:
            try:
                self.header = next(_Rows(file, self._delimiter)).fields
            except (StopIteration, csv.Error):
                raise DataError(f"{path} has no readable header line") from None

    def batches(self) -> Iterator[TextBatch]:
        width = len(self.header)
        with self._open() as file:
            rows = _Rows(file, self._delimiter)
            next(rows)
            lines: list[int] = []
            records: list[list[str]] = []
            broken: list[Rejection] = []
            for row in rows.of_width(width):
                if isinstance(row, Rejection):
                    broken.append(row)
                else:
                    lines.append(row.line)
                    records.append(row.fields)
                if len(records) + len(broken) >= BATCH_ROWS:
                    yield self._batch(lines, records, broken, file)
                    lines, records, broken = [], [], []
            yield TextBatch(lines, _columns(records, width), broken, self.size)

    def _open(self) -> io.TextIOWrapper:
        file = self._path.open("rb")
        return io.TextIOWrapper(file, self._encoding, errors="replace", newline="")

    def _batch(
        self,
        lines: list[int],
        records: list[list[str]],
        broken: list[Rejection],
        file: io.TextIOWrapper,
    ) -> TextBatch:
        done = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        return TextBatch(lines, _columns(records, len(self.header)), broken, done)


def _columns(records: list[list[str]], width: int) -> list[Sequence[str | None]]:
    return list(zip(*records, strict=True)) if records else [() for _ in range(width)]


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    fields: list[str]


class _Rows:
    """The records of a CSV text; lines of a record that does not add up can be read again."""

    def __init__(self, file: io.TextIOWrapper, delimiter: str) -> None:
        self._file = iter(file)
        self._delimiter = delimiter
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._line = 0
        self._reader = self._new_reader()

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> _Row:
        """The next record that is not blank.

        Raises:
            csv.Error: its quotation marks do not add up.
        """
        while True:
            self._taken.clear()
            fields = next(self._reader)
            line = self._line - len(self._taken) + 1
            if any(fields) or len(fields) > 1:
                if line == 1:
                    fields[0] = fields[0].lstrip("\ufeff")
                return _Row(line, fields)

    def of_width(self, width: int) -> Iterator[_Row | Rejection]:
        """The records with `width` fields; the others as rejections."""
        while True:
            try:
                row = next(self)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._give_up(f"not readable: {error}")
                continue
            if len(row.fields) == width:
                yield row
            else:
                reason = f"{len(row.fields)} fields where the header has {width}"
                yield self._give_up(reason)

    def _give_up(self, reason: str) -> Rejection:
        """Reject the first line of the record at hand and read its other lines again."""
        first = self._line - len(self._taken) + 1
        self._again.extendleft(reversed(self._taken[1:]))
        self._line = first
        if len(self._taken) > 1:
            reason += f" (it runs over {len(self._taken)} lines; is a quotation mark not closed?)"
        self._reader = self._new_reader()
        return Rejection(first, ROW_FIELD, reason)

    def _new_reader(self) -> Any:
        return csv.reader(self._lines(), delimiter=self._delimiter, strict=True)

    def _lines(self) -> Iterator[str]:
        while True:
            line = self._again.popleft() if self._again else next(self._file, None)
            if line is None:
                return
            self._line += 1
            self._taken.append(line)
            yield line


def _marked_encoding(start: bytes) -> str | None:
    """The encoding that a byte order mark at the start of a file stands for."""
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return None


def _delimiter_of(text: str) -> str:
    """The commonest separator of the header line, outside of quotation marks."""
    counts = dict.fromkeys(_DELIMITERS, 0)
    quoted = False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "\n" and not quoted:
            break
        elif char in counts and not quoted:
            counts[char] += 1
    return max(counts, key=counts.__getitem__)


class _ParquetSource:
    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(path)
        except pa.ArrowException as error:
            raise DataError(f"{path} is no Parquet file: {error}") from error
        self.header = list(self._file.schema_arrow.names)
        self.size = self._file.metadata.num_rows

    def batches(self) -> Iterator[TextBatch]:
        first = 0
        for batch in self._file.iter_batches(batch_size=BATCH_ROWS):
            lines = list(range(first + 2, first + batch.num_rows + 2))
            first += batch.num_rows
            columns: list[Sequence[str | None]] = [
                _texts(column.to_pylist()) for column in batch.columns
            ]
            yield TextBatch(lines, columns, [], first)


def _texts(values: list[Any]) -> list[str | None]:
    return [value if value is None or isinstance(value, str) else _text(value) for value in values]


def _text(value: Any) -> str:
    """A typed value as a CSV export would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
