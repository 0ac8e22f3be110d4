"""One import from its files to the derived columns, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, text

from cis_server.capture.conversion import Converter, Rejection
from cis_server.capture.mapping import Section
from cis_server.capture.records import ACTIVITIES, RecordType, record_types
from cis_server.capture.row_rules import RowRules
from cis_server.importing.content import measure_content
from cis_server.importing.files import Source, open_source
from cis_server.importing.progress import Progressing
from cis_server.importing.report import FileReport, ImportReport
from cis_server.persistence.connections import tenant
from cis_server.persistence.imports import Merge, Staging, ensure_client, refresh_statistics
from cis_server.persistence.rederive import rederive

STATEMENT_SECONDS: Final = 3600.0
"""A merge or a derivation of a big client may take long; it runs alone, at nobody's expense."""


def import_files(
    engine: Engine,
    client_id: str,
    files: Mapping[str, Path],
    mapping: Mapping[str, Section],
    progress: Progressing,
    clock: Callable[[], float] = time.monotonic,
) -> ImportReport:
    """Import some files of one client; all of it is stored, or after an error nothing.

    Rows that are broken are left out and reported, the others are stored. The same files imported
    again change nothing.

    Args:
        engine: of the database.
        client_id: the client; created when absent.
        files: kind (``leads``, ``activities``, ``meetings``, ``deals``) -> file.
        mapping: kind -> how its file reads; kinds that are missing read by their headers.
        progress: is told how it goes.
        clock: counts seconds.

    Raises:
        DataError: a file cannot be opened, or the mapping does not fit it.
        StoreUnavailable: the database cannot be reached.
    """
    timer = _Timer(clock)
    opened = [
        _File.open(record, files[record.name], mapping.get(record.name, Section()))
        for record in record_types()
        if record.name in files
    ]
    with tenant(engine, client_id, statement_seconds=STATEMENT_SECONDS) as connection:
        connection.execute(text("SELECT set_config('cis.actor', 'import', true)"))
        created = ensure_client(connection, client_id)
        reports: list[FileReport] = []
        touched: set[str] = set()
        for file in opened:
            staging = Staging(connection, client_id, file.record.name)
            with timer.stage(f"read {file.record.name}"):
                file.stage(staging, progress)
            with timer.stage(f"store {file.record.name}", progress):
                merge = staging.merge()
            touched |= merge.leads
            reports.append(file.report(merge))
        with timer.stage("derive", progress):
            refresh_statistics(connection, sum(file.inserted + file.updated for file in reports))
            rederive(connection, client_id, sorted(touched))
        storing = timer.begin()
    timer.stages["commit"] = timer.since(storing)
    return ImportReport(
        client_id=client_id,
        client_created=created,
        files=tuple(reports),
        seconds=timer.total(),
        stages=timer.stages,
    )


@dataclass(slots=True)
class _File:
    """A file being imported."""

    record: RecordType
    path: Path
    source: Source
    converter: Converter
    rules: RowRules
    zoned: bool
    read: int = 0
    rejected: list[Rejection] | None = None

    @classmethod
    def open(cls, record: RecordType, path: Path, section: Section) -> _File:
        source = open_source(path, encoding=section.encoding, delimiter=section.delimiter)
        converter = Converter(record, source.header, section)
        return cls(record, path, source, converter, RowRules(record), section.timezone is not None)

    def stage(self, staging: Staging, progress: Progressing) -> None:
        """Read the file into the temporary table."""
        self.rejected = []
        progress.begin(f"read {self.record.name}", self.source.size)
        for texts in self.source.batches():
            self.read += len(texts.lines) + len(texts.broken)
            batch = self.converter.convert(texts.lines, texts.columns)
            self.rules.apply(batch)
            if self.record is ACTIVITIES:
                measure_content(batch, staging.recipients)
            self.rejected += texts.broken + batch.rejected
            staging.add(batch.lines, batch.columns)
            progress.advance(texts.done, self.read)
        progress.end()

    def report(self, merge: Merge) -> FileReport:
        """What became of the file."""
        refused = [Rejection(item.line, item.field, item.reason) for item in merge.refused]
        rejected = sorted([*(self.rejected or ()), *refused], key=lambda item: item.line)
        notes = []
        if self.converter.assumes_utc:
            notes.append("times without an offset were read as UTC; see timezone in the mapping")
        if self.converter.dropped:
            notes.append("columns left out: " + ", ".join(self.converter.dropped))
        return FileReport(
            kind=self.record.name,
            path=str(self.path),
            read=self.read,
            inserted=merge.inserted,
            updated=merge.updated,
            unchanged=merge.unchanged,
            rejected=tuple(rejected),
            columns=tuple(self.converter.recognised),
            dropped=tuple(self.converter.dropped),
            notes=tuple(notes),
        )


class _Timer:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, progress: Progressing | None = None) -> Iterator[None]:
        """Time a stage, and announce it."""
        began = self._clock()
        if progress is not None:
            progress.begin(name, None)
        yield
        if progress is not None:
            progress.end()
        self.stages[name] = self.since(began)

    def begin(self) -> float:
        return self._clock()

    def since(self, moment: float) -> float:
        return self._clock() - moment

    def total(self) -> float:
        return self.since(self._began)
