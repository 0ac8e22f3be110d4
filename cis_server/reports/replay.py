"""The command ``cis-server replay``: what a version would have done to past leads, as tables."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cis_server.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from cis_server.domain.registry import StoredModel
    from cis_server.domain.weights import Weights
    from cis_server.learning.replay import ReplayedVersion
    from cis_server.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--client", required=True, metavar="ID", help="the client")
    parser.add_argument(
        "--model", required=True, metavar="VERSION", help="e.g. weights-3 or propensity-2"
    )
    parser.add_argument(
        "--since", required=True, metavar="DATE", help="replay leads first contacted from this day"
    )
    parser.add_argument(
        "--as-of", metavar="DATE", help="look at nothing later (default: everything until now)"
    )
    parser.add_argument(
        "--against",
        metavar="VERSION",
        help="weights it is held against, or 'defaults' (default: those in force, or the defaults "
        "for the version in force itself)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE.parquet", help="write a row for every lead"
    )


def run(args: argparse.Namespace, settings: Settings, clock: Callable[[], dt.datetime]) -> int:
    """Replay, print the tables and write the file.

    Raises:
        NotFound: there is no such client or version.
        PreconditionFailed: nobody was first contacted in this time.
        ConfigurationError: an argument cannot be used.
        StoreUnavailable: the database is away.
    """
    from rich.console import Console

    from cis_server.domain.dataset import Window
    from cis_server.domain.registry import ModelKind
    from cis_server.domain.weights import DEFAULT_WEIGHTS
    from cis_server.learning.replay import replay
    from cis_server.persistence.connections import make_engine, tenant
    from cis_server.persistence.database import opened_database
    from cis_server.persistence.dataset import read_dataset
    from cis_server.persistence.learned import learning_state
    from cis_server.persistence.models import live_model, model_of_label
    from cis_server.reports.replay_tables import show

    now = clock()
    window = Window(
        start=_day(args.since, "--since"),
        as_of=min(now, _day(args.as_of, "--as-of")) if args.as_of else now,
    )
    if window.start >= window.as_of:
        raise ConfigurationError("--since must lie before --as-of and before now")
    if args.output is not None and args.output.suffix.lower() != ".parquet":
        raise ConfigurationError(f"--output: {args.output} must end in .parquet")
    with opened_database(settings.database_url, settings.data_dir) as url:
        engine = make_engine(url, pool_size=1)
        try:
            state = learning_state(engine, args.client)
            with tenant(engine, args.client) as connection:
                version = model_of_label(connection, args.client, args.model)
                live = live_model(connection, args.client, ModelKind.WEIGHTS)
                wanted = args.against
                if wanted is None and live is not None and live.label != version.label:
                    wanted = live.label
                baseline = (
                    model_of_label(connection, args.client, wanted)
                    if wanted not in (None, "defaults")
                    else None
                )
            found = replay(
                read_dataset(url, args.client, window),
                state,
                _replayed(version),
                against=_weights_of(baseline) if baseline is not None else DEFAULT_WEIGHTS,
                against_label=baseline.label if baseline is not None else "defaults",
            )
        finally:
            engine.dispose()
    if args.output is not None:
        found.leads.write_parquet(args.output)
    show(found, Console(file=sys.stdout))
    if args.output is not None:
        sys.stdout.write(f"{found.leads.height} leads written to {args.output}\n")
    return 0


def _replayed(version: StoredModel) -> ReplayedVersion:
    from cis_server.domain.propensity import PropensityModel
    from cis_server.domain.registry import ModelKind
    from cis_server.learning.replay import ReplayedVersion

    start, end = (version.lineage.get(name) for name in ("window_start", "as_of"))
    if version.by_hand or start is None or end is None:
        start = end = None
    weights, model = None, None
    if version.kind is ModelKind.WEIGHTS:
        weights = _weights_of(version)
    else:
        model = PropensityModel.from_json(version.content)
    return ReplayedVersion(
        label=version.label,
        weights=weights,
        model=model,
        trained_from=None if start is None else dt.datetime.fromisoformat(start),
        trained_until=None if end is None else dt.datetime.fromisoformat(end),
    )


def _weights_of(version: StoredModel) -> Weights:
    from cis_server.domain.weights import read_weights

    weights, objection = read_weights(version.content)
    if objection is not None:
        raise DataError(f"{version.label} holds no weights: {objection}")
    return weights


def _day(text: str, name: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{name}: {text!r} is not an ISO date") from None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
