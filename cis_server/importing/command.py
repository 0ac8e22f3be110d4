"""The command ``cis-server import``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from cis_server.capture.mapping import read_mapping
from cis_server.capture.records import record_types
from cis_server.errors import DataError, StoreUnavailable
from cis_server.importing.progress import Bar, progress_for
from cis_server.importing.report import ImportReport, print_report, write_report
from cis_server.importing.run import import_files
from cis_server.persistence.connections import make_engine
from cis_server.settings import Settings

OK: Final = 0
FAILED: Final = 1
"""The database is away."""
UNUSABLE: Final = 2
"""A file or the mapping cannot be used; nothing was stored."""
SOME_REJECTED: Final = 3
"""Some rows were rejected; all others are stored."""

DESCRIPTION: Final = f"""\
Import leads and their history from the CSV or Parquet files of any CRM. The client is created when
absent. Broken rows are reported and left out; the same files imported again change nothing. Exit
code: {OK} all rows stored, {SOME_REJECTED} some rows rejected and all others stored, {UNUSABLE} \
nothing stored because a file or
the mapping cannot be used, {FAILED} the database is away.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "--client", required=True, metavar="ID", help="the client, 1-128 characters"
    )
    for record in record_types():
        parser.add_argument(
            f"--{record.name}", type=Path, metavar="FILE", help=f"{record.name}, CSV or Parquet"
        )
    parser.add_argument(
        "--mapping", type=Path, metavar="FILE.toml", help="which column is which field"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="report as .csv or .json (default: import-report.json beside the first file)",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the command.

    Args:
        args: as declared by `add_arguments`.
        settings: name the database, which must be migrated; without one the embedded database
            is started (and migrated) for as long as the import takes.

    Returns:
        The exit code of the process.
    """
    console = Console()
    errors = Console(stderr=True)
    files: dict[str, Path] = {
        record.name: getattr(args, record.name)
        for record in record_types()
        if getattr(args, record.name) is not None
    }
    try:
        with _database(settings) as database_url:
            report = _imported(args, files, database_url, console)
    except DataError as error:
        errors.print(f"import: {error}", highlight=False, markup=False)
        return UNUSABLE
    except StoreUnavailable as error:
        errors.print(f"import: {error}", highlight=False, markup=False)
        return FAILED
    print_report(report, console)
    path = args.report or next(iter(files.values())).with_name("import-report.json")
    try:
        write_report(report, path)
        console.print(f"Report: {path}", highlight=False, markup=False, soft_wrap=True)
    except OSError as error:
        reason = error.strerror or error
        errors.print(f"import: report {path}: {reason}", highlight=False, markup=False)
    return SOME_REJECTED if report.rejected_rows else OK


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    if settings.database_url is not None:
        yield settings.database_url
        return
    # Only here, because they are slow to import.
    from cis_server.persistence.embedded import EmbeddedPostgres
    from cis_server.persistence.migrate import migrate

    with EmbeddedPostgres(settings.data_dir) as server:
        migrate(server.url)
        yield server.url


def _imported(
    args: argparse.Namespace, files: dict[str, Path], database_url: str, console: Console
) -> ImportReport:
    if not files:
        options = ", ".join(f"--{record.name}" for record in record_types())
        raise DataError(f"nothing to import: give at least one of {options}")
    if not 1 <= len(args.client) <= 128 or not args.client.isprintable():
        raise DataError("--client: 1 to 128 printable characters are expected")
    mapping = read_mapping(args.mapping) if args.mapping is not None else {}
    engine = make_engine(database_url, pool_size=1)
    try:
        with ExitStack() as stack:
            progress = progress_for(console)
            if isinstance(progress, Bar):
                stack.enter_context(progress)
            return import_files(engine, args.client, files, mapping, progress)
    finally:
        engine.dispose()
