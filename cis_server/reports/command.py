"""The command ``cis-server report``: one run as a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cis_server.errors import NotFound

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from cis_server.domain.runs import Run
    from cis_server.reports.run_report import ReportedModel
    from cis_server.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--client", required=True, metavar="ID", help="the client")
    parser.add_argument("--run", metavar="ID", help="the run (default: the client's last one)")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: report-<run>.html here"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Write the page of a run.

    Raises:
        NotFound: there is no such run of this client.
        StoreUnavailable: the database is away.
    """
    from cis_server.learning.drift import DRIFT_LIMIT
    from cis_server.persistence.connections import make_engine
    from cis_server.persistence.database import opened_database
    from cis_server.reports.run_report import run_report

    with opened_database(settings.database_url, settings.data_dir) as url:
        engine = make_engine(url, pool_size=1)
        try:
            told = _run(engine, args.client, args.run)
            page = run_report(told, _models(engine, told), drift_limit=DRIFT_LIMIT)
        finally:
            engine.dispose()
    path: Path = args.output or Path(f"report-{told.run_id}.html")
    path.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


def _run(engine: Engine, client_id: str, run_id: str | None) -> Run:
    from cis_server.domain.vocabulary import RunState
    from cis_server.persistence.runs import Runs

    runs = Runs(engine)
    if run_id is None:
        found = runs.recent(client_id, (RunState.SUCCEEDED, RunState.FAILED), 1, None)
    else:
        found = [run for run in runs.read([run_id]).get(run_id, ()) if run.client_id == client_id]
    if not found:
        raise NotFound("learning run", run_id or f"of client {client_id}")
    return found[0]


def _models(engine: Engine, told: Run) -> list[ReportedModel]:
    from cis_server.persistence.connections import tenant
    from cis_server.persistence.models import list_models
    from cis_server.reports.run_report import ReportedModel

    with tenant(engine, told.client_id) as connection:
        return [
            ReportedModel(
                version=model.label,
                kind=model.kind.value,
                state=model.state.value,
                target=model.target,
                metrics=model.metrics,
                lineage=model.lineage,
            )
            for model in list_models(connection, told.client_id)
            if model.run_id == told.run_id
        ]
