"""What an import did, for people and for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from cis_server.capture.conversion import Rejection

SHOWN_REJECTIONS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What became of the rows of one file."""

    kind: str
    """``leads``, ``activities``, ``meetings`` or ``deals``."""
    path: str
    read: int
    """Rows in the file, the header apart."""
    inserted: int
    updated: int
    unchanged: int
    rejected: tuple[Rejection, ...]
    """One entry for each broken field, by line."""
    columns: tuple[tuple[str, str], ...] = ()
    """(column of the file, field or attribute it was read as)."""
    dropped: tuple[str, ...] = ()
    """Columns that have no place in this kind of record."""
    notes: tuple[str, ...] = ()

    @property
    def rejected_rows(self) -> int:
        """Rows left out."""
        return len({item.line for item in self.rejected})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did."""

    client_id: str
    client_created: bool
    files: tuple[FileReport, ...]
    seconds: float
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage: reading and merging each kind, deriving."""

    @property
    def rows(self) -> int:
        """Rows read from all files."""
        return sum(file.read for file in self.files)

    @property
    def rows_per_second(self) -> float:
        """Rows read for each second of the whole import."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def rejected_rows(self) -> int:
        """Rows left out of all files."""
        return sum(file.rejected_rows for file in self.files)


def print_report(report: ImportReport, console: Console) -> None:
    """Show the counts, what was assumed, and the first rejected rows."""
    table = Table(title=f"Import into client {report.client_id}")
    table.add_column("file")
    for name in ("read", "inserted", "updated", "unchanged", "rejected"):
        table.add_column(name, justify="right")
    for file in report.files:
        counts = (file.read, file.inserted, file.updated, file.unchanged, file.rejected_rows)
        table.add_row(file.kind, *(f"{count:,}" for count in counts))
    console.print(table)
    for file in report.files:
        for note in file.notes:
            console.print(f"{file.kind}: {note}", highlight=False, markup=False)
    if report.rejected_rows:
        _print_rejections(report.files, console)
    console.print(
        f"{report.rows:,} rows in {report.seconds:.1f} s ({report.rows_per_second:,.0f} rows/s)",
        highlight=False,
    )


def write_report(report: ImportReport, path: Path) -> None:
    """Write the report: CSV when the name ends in ``.csv``, else JSON.

    Raises:
        OSError: the file cannot be written.
    """
    if path.suffix.lower() == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "entry", "rows", "line", "field", "reason"))
            writer.writerows(_csv_rows(report.files))
        return
    document = {
        "client_id": report.client_id,
        "client_created": report.client_created,
        "rows": report.rows,
        "rejected_rows": report.rejected_rows,
        "seconds": round(report.seconds, 3),
        "rows_per_second": round(report.rows_per_second),
        "stages": {name: round(seconds, 3) for name, seconds in report.stages.items()},
        "files": [{**asdict(file), "rejected_rows": file.rejected_rows} for file in report.files],
    }
    text = json.dumps(document, ensure_ascii=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _csv_rows(files: Iterable[FileReport]) -> Iterable[tuple[object, ...]]:
    for file in files:
        for entry in ("read", "inserted", "updated", "unchanged"):
            yield (file.kind, entry, getattr(file, entry), "", "", "")
        yield (file.kind, "rejected", file.rejected_rows, "", "", "")
        for item in file.rejected:
            yield (file.kind, "rejection", "", item.line, item.field, item.reason)


def _print_rejections(files: Iterable[FileReport], console: Console) -> None:
    table = Table(title="Rejected rows")
    for name in ("file", "line", "field", "reason"):
        table.add_column(name, justify="right" if name == "line" else "left", overflow="fold")
    entries = [(file.kind, item) for file in files for item in file.rejected]
    for kind, item in entries[:SHOWN_REJECTIONS]:
        table.add_row(kind, str(item.line), _plain(item.field), _plain(item.reason))
    console.print(table)
    if len(entries) > SHOWN_REJECTIONS:
        console.print(f"… and {len(entries) - SHOWN_REJECTIONS:,} more in the report file")


def _plain(text: str) -> str:
    """Text that rich shows as it is."""
    return text.replace("[", r"\[")
