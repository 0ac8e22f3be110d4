"""The command ``cis-server import``.

What reads files and talks to the database is imported when the command runs, so that declaring
its arguments costs the other commands next to nothing.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cis_server.capture.records import record_types
from cis_server.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from cis_server.importing.report import ImportReport
    from cis_server.settings import Settings

OK: Final = 0
SOME_REJECTED: Final = 6

_DESCRIPTION: Final = f"""\
Import leads and their history from the CSV or Parquet files of any CRM. The client is created when
absent. Broken rows are reported and left out, all others are stored; the same files imported again
change nothing. Exit code {SOME_REJECTED}: some rows were rejected. When a file or the mapping
cannot be used at all, nothing is stored.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = _DESCRIPTION
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
        settings: name the database.

    Returns:
        `OK`, or `SOME_REJECTED`.

    Raises:
        DataError: a file or the mapping cannot be used; nothing was stored.
        StoreUnavailable: the database is away.
    """
    from rich.console import Console

    from cis_server.importing.report import print_report, write_report

    console = Console()
    files: dict[str, Path] = {
        record.name: getattr(args, record.name)
        for record in record_types()
        if getattr(args, record.name) is not None
    }
    report = _imported(args, files, settings, console)
    print_report(report, console)
    path = args.report or next(iter(files.values())).with_name("import-report.json")
    try:
        write_report(report, path)
        _say(console, f"Report: {path}")
    except OSError as error:
        _say(Console(stderr=True), f"report {path}: {error.strerror or error}")
    return SOME_REJECTED if report.rejected_rows else OK


def _imported(
    args: argparse.Namespace, files: dict[str, Path], settings: Settings, console: Console
) -> ImportReport:
    from cis_server.capture.mapping import read_mapping
    from cis_server.importing.progress import Bar, progress_for
    from cis_server.importing.run import import_files
    from cis_server.persistence.connections import make_engine
    from cis_server.persistence.database import opened_database

    if not files:
        options = ", ".join(f"--{record.name}" for record in record_types())
        raise DataError(f"nothing to import: give at least one of {options}")
    if not 1 <= len(args.client) <= 128 or not args.client.isprintable():
        raise DataError("--client: 1 to 128 printable characters are expected")
    mapping = read_mapping(args.mapping) if args.mapping is not None else {}
    with ExitStack() as stack:
        url = stack.enter_context(opened_database(settings.database_url, settings.data_dir))
        engine = make_engine(url, pool_size=1)
        stack.callback(engine.dispose)
        progress = progress_for(console)
        if isinstance(progress, Bar):
            stack.enter_context(progress)
        return import_files(engine, args.client, files, mapping, progress)


def _say(console: Console, text: str) -> None:
    """Print a text as it is, on one line."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
