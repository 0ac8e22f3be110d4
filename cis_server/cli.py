"""The command line `cis-server`.

Each command imports what it needs only when it runs, so that `--help` answers at once and an RPC
process never loads what only the worker uses.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from cis_server.errors import CisError, ConfigurationError, StoreUnavailable
from cis_server.logs import configure as configure_logs
from cis_server.residency import bound_arenas
from cis_server.settings import Settings
from cis_server.supervisor import (
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_PORT_IN_USE,
    ChildSpec,
    PortInUse,
    Supervisor,
    report_ready,
    reserved_port,
    stop_with_supervisor,
)
from cis_server.worker.allocators import give_back_freed_memory

Command = Callable[[argparse.Namespace, Settings], int]

_LOOKBACK_DAYS_MAX = 36_500
"""As `Learn` takes it."""
_WORKER_NICENESS = 10
"""Learning yields to serving on a shared machine."""
_RPC_NAME = "rpc"
"""Of an RPC process, in its log lines."""


def run(arguments: Sequence[str]) -> int:
    """Parse the arguments, run the command, give its exit code.

    Exit codes: 0 done; 1 failed; 2 wrong usage; 3 wrong configuration or no database; 4 the port is
    taken; 5 a process would not start. Commands say in their help where they have others.
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        settings = _settings(args)
    except ValidationError as error:
        for problem in error.errors():
            name = "CIS_" + "_".join(str(part) for part in problem["loc"]).upper()
            _say(f"{name}: {problem['msg']}")
        return EXIT_CONFIGURATION
    configure_logs(
        settings.log_level, as_json=settings.log_format == "json", process=args.process_name
    )
    return _exit_code(args, settings)


def _exit_code(args: argparse.Namespace, settings: Settings) -> int:
    """Run the command that was asked for; what it raises becomes a line and a code."""
    command: Command = args.command
    try:
        return command(args, settings)
    except PortInUse as error:
        _say(str(error))
        return EXIT_PORT_IN_USE
    except (ConfigurationError, StoreUnavailable) as error:
        _say(str(error))
        return EXIT_CONFIGURATION
    except CisError as error:
        _say(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cis-server",
        description="Conversion Intelligence System: learns what converts and serves it.",
    )
    parser.add_argument("--version", action="version", version=f"cis-server {version('cis')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = _command(commands, "serve", _serve, "run the service: RPC processes and a worker")
    serve.add_argument("--host", help="address to listen on (CIS_HOST, default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="gRPC port, 0 for a free one (CIS_PORT, 50051)")
    serve.add_argument("--workers", type=int, help="RPC processes (CIS_WORKERS, default: cores)")
    serve.add_argument(
        "--http-port", type=int, help="port of /livez and /readyz, 0 for a free one (CIS_HTTP_PORT)"
    )
    serve.add_argument(
        "--no-worker", action="store_true", help="learn elsewhere: start no worker process"
    )

    worker = _command(commands, "worker", _worker, "run a learning worker")
    worker.add_argument(
        "--concurrency",
        dest="worker_concurrency",
        type=int,
        help="jobs at a time (CIS_WORKER_CONCURRENCY)",
    )
    _add_pipes(worker)

    _command(commands, "migrate", _migrate, "bring the database to this version's schema")

    importing = _command(commands, "import", _import, "import leads and their history from files")
    from cis_server.importing.command import add_arguments

    add_arguments(importing)

    learn = _command(commands, "learn", _learn, "learn one client or all, in this process")
    whom = learn.add_mutually_exclusive_group(required=True)
    whom.add_argument("--client", metavar="ID", help="the client")
    whom.add_argument("--all", action="store_true", help="all eligible clients")
    learn.add_argument("--as-of", metavar="TIME", help="ISO time; only data up to it are looked at")
    learn.add_argument("--lookback-days", type=_days, metavar="DAYS", help="default 90")
    learn.add_argument("--force", action="store_true", help="learn though conversions are few")
    learn.add_argument("--dry-run", action="store_true", help="report, but change nothing")

    report = _command(commands, "report", _report, "one run of learning as a page with charts")
    from cis_server.reports.command import add_arguments as add_report_arguments

    add_report_arguments(report)

    rerun = _command(commands, "rerun", _rerun, "make a stored run again and compare every figure")
    rerun.add_argument("--client", required=True, metavar="ID", help="the client")
    rerun.add_argument("--run", required=True, metavar="ID", help="the run")

    replay = _command(commands, "replay", _replay, "what a version would have done to past leads")
    from cis_server.reports.replay import add_arguments as add_replay_arguments

    add_replay_arguments(replay)

    demo = _command(commands, "demo", _demo, "the whole story in a terminal, with planted truth")
    demo.add_argument("--once", action="store_true", help="end by itself, then stop the server")

    health = _command(commands, "health", _health, "ask a running server for its health")
    health.add_argument("--target", help="host:port (default: CIS_HOST and CIS_PORT)")

    rpc = commands.add_parser("rpc")  # one RPC process; the supervisor runs it
    rpc.set_defaults(command=_rpc, process_name=_RPC_NAME)
    rpc.add_argument("--port", type=int, required=True)
    rpc.add_argument("--index", type=int, default=0)
    _add_pipes(rpc)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Command,
    text: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command, process_name=name)
    return parser


def _add_pipes(parser: argparse.ArgumentParser) -> None:
    """Pipes of the supervisor; see `cis_server.supervisor`."""
    parser.add_argument("--lifeline-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)


def _settings(args: argparse.Namespace) -> Settings:
    """The environment, with what the command line says on top."""
    said = {
        name: value
        for name in ("host", "port", "workers", "http_port", "worker_concurrency")
        if (value := getattr(args, name, None)) is not None
    }
    return Settings(**said)


def _serve(args: argparse.Namespace, settings: Settings) -> int:
    from cis_server.persistence.database import opened_database
    from cis_server.persistence.schema import ensure_schema

    with ExitStack() as stack:
        port = stack.enter_context(reserved_port(settings.host, settings.port))
        url = stack.enter_context(opened_database(settings.database_url, settings.data_dir))
        if settings.database_url is not None:
            ensure_schema(url)
        environment = {"CIS_DATABASE_URL": url, "CIS_HOST": settings.host}
        children = [
            _rpc_child(settings, url, port, index, environment) for index in range(settings.workers)
        ]
        if not args.no_worker:
            children.append(_worker_child(environment))
        supervisor = Supervisor(
            children,
            grace_seconds=settings.grace_seconds,
            on_ready=lambda: _announce(settings.host, port, supervisor.http_port),
            http=(settings.host, settings.http_port),
        )
        _load_for_rpc(settings)
        gc.enable()
        return supervisor.run()


def _rpc_child(
    settings: Settings, url: str, port: int, index: int, environment: dict[str, str]
) -> ChildSpec:
    given = settings.model_copy(update={"database_url": url})

    def run(lifeline: int, ready: int) -> int:
        configure_logs(settings.log_level, as_json=settings.log_format == "json", process=_RPC_NAME)
        asked = {"port": port, "index": index, "lifeline_fd": lifeline, "ready_fd": ready}
        return _exit_code(argparse.Namespace(command=_rpc, **asked), given)

    return ChildSpec(
        name=f"rpc-{index}",
        arguments=["rpc", f"--port={port}", f"--index={index}"],
        environment=environment,
        run=run,
    )


def _worker_child(environment: dict[str, str]) -> ChildSpec:
    return ChildSpec(
        name="worker",
        arguments=["worker"],
        environment=environment,
        niceness=_WORKER_NICENESS,
        waits=True,
    )


def _announce(host: str, port: int, http_port: int | None) -> None:
    sys.stdout.write(f"serving on {host}:{port}\n")
    sys.stdout.write(f"health on http://{host}:{http_port}/readyz\n")
    sys.stdout.flush()


def _rpc(args: argparse.Namespace, settings: Settings) -> int:
    database_url = _given_database(settings)
    _load_for_rpc(settings)
    from cis_server import bootstrap

    stop = threading.Event()
    stop_with_supervisor(args.lifeline_fd, stop.set)
    with bootstrap.rpc_server(settings, database_url, args.port) as server:
        if settings.pin:
            bootstrap.pin_to_core(args.index)
        server.start()
        bootstrap.serve_until_stopped(
            server, stop, settings.grace_seconds, lambda: report_ready(args.ready_fd)
        )
    return EXIT_OK


def _load_for_rpc(settings: Settings) -> None:
    """Load what an RPC process is made of: in itself, or in the process it is to be a copy of.

    Nearly everything made while starting stays. The collector need not walk it, now or later;
    `serve_until_stopped` collects what comes after.
    """
    _prepare_kernels(settings.kernel_cache)
    _bound_threads()  # a process with other threads could not be copied
    gc.disable()
    bound_arenas()
    from cis_server import bootstrap  # noqa: F401 - to have it
    from cis_server.rpc.services.warm_up import warm_up

    warm_up()
    gc.freeze()


def _worker(args: argparse.Namespace, settings: Settings) -> int:
    _bound_threads()
    give_back_freed_memory()
    _prepare_kernels(settings.kernel_cache)
    from cis_server.bootstrap import learner
    from cis_server.persistence.database import opened_database
    from cis_server.worker.queue import run_worker

    with (
        opened_database(settings.database_url, settings.data_dir) as url,
        learner(settings, url) as work,
    ):
        run_worker(
            url,
            work.tasks(),
            concurrency=settings.worker_concurrency,
            on_ready=lambda: report_ready(args.ready_fd),
            on_stop_requested=lambda stop: stop_with_supervisor(args.lifeline_fd, stop),
        )
    return EXIT_OK


def _migrate(_args: argparse.Namespace, settings: Settings) -> int:
    from cis_server.persistence.database import opened_database
    from cis_server.persistence.migrate import current_revision, migrate

    with opened_database(settings.database_url, settings.data_dir) as url:
        migrate(url)
        sys.stdout.write(f"the database is at revision {current_revision(url)}\n")
    return EXIT_OK


def _import(args: argparse.Namespace, settings: Settings) -> int:
    from cis_server.importing.command import run as run_import

    return run_import(args, settings)


def _learn(args: argparse.Namespace, settings: Settings) -> int:
    _bound_threads()
    give_back_freed_memory()
    _prepare_kernels(settings.kernel_cache)
    from cis_server.bootstrap import learn_here, now
    from cis_server.domain.runs import LearnOptions
    from cis_server.persistence.database import opened_database

    default = LearnOptions(as_of=now())
    as_of = _instant(args.as_of) if args.as_of else default.as_of
    if as_of > default.as_of:
        raise ConfigurationError(f"--as-of: {args.as_of} lies in the future")
    options = LearnOptions(
        as_of=as_of,
        lookback_days=args.lookback_days or default.lookback_days,
        force=args.force,
        dry_run=args.dry_run,
    )
    with opened_database(settings.database_url, settings.data_dir) as url:
        requested, runs = learn_here(settings, url, args.client, options)
    for skipped in requested.skipped:
        sys.stdout.write(f"{skipped.client_id}: skipped, {skipped.reason}\n")
    for client_id, run in sorted(runs.items()):
        result = run.result
        said = f"{result.reason} ({result.seconds:.1f} s)" if result else f"failed, {run.error}"
        sys.stdout.write(f"{client_id}: {said}\n")
    return EXIT_OK if all(run.result for run in runs.values()) else EXIT_FAILED


def _report(args: argparse.Namespace, settings: Settings) -> int:
    from cis_server.reports.command import run as run_report

    return run_report(args, settings)


def _rerun(args: argparse.Namespace, settings: Settings) -> int:
    _bound_threads()
    give_back_freed_memory()
    _prepare_kernels(settings.kernel_cache)
    from cis_server.bootstrap import now
    from cis_server.persistence.connections import make_engine
    from cis_server.persistence.database import opened_database
    from cis_server.worker.rerun import run_again

    with opened_database(settings.database_url, settings.data_dir) as url:
        engine = make_engine(url, pool_size=1)
        try:
            compared = run_again(engine, settings.datasets, args.client, args.run, now)
        finally:
            engine.dispose()
    found = compared.differences
    for difference in found:
        sys.stdout.write(f"{difference.path}: {difference.stored} then, {difference.again} now\n")
    for name, (then, today) in compared.surroundings.items():
        sys.stdout.write(
            f"made with another {name}: {then or 'none'} then, {today or 'none'} now\n"
        )
    verdict = f"{len(found)} figures differ" if found else "every figure is the same"
    sys.stdout.write(f"{compared.compared} patterns and versions made again; {verdict}\n")
    return EXIT_FAILED if found else EXIT_OK


def _replay(args: argparse.Namespace, settings: Settings) -> int:
    _bound_threads()
    _prepare_kernels(settings.kernel_cache)
    from cis_server.bootstrap import now
    from cis_server.reports.replay import run as run_replay

    return run_replay(args, settings, now)


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= _LOOKBACK_DAYS_MAX:
        raise argparse.ArgumentTypeError(f"must lie in 1..{_LOOKBACK_DAYS_MAX}, not {days}")
    return days


def _instant(text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"--as-of: {text!r} is not an ISO time") from None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _demo(args: argparse.Namespace, settings: Settings) -> int:
    _prepare_kernels(settings.kernel_cache)
    from cis_server.demo.story import run as run_demo

    return run_demo(settings, once=args.once)


def _health(args: argparse.Namespace, settings: Settings) -> int:
    from cis_server.rpc.probe import health_of

    target = args.target or f"{settings.host}:{settings.port}"
    state = health_of(target, timeout_seconds=3.0)
    sys.stdout.write(f"{target} {state}\n")
    return EXIT_OK if state == "SERVING" else EXIT_FAILED


def _bound_threads() -> None:
    """Let learning take one core, not every one, before anything makes its thread pools.

    On the small matrices of learning several BLAS threads are slower than one.
    """
    for pool in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(pool, "1")


def _prepare_kernels(folder: Path) -> None:
    """Point numba at the folder of compiled kernels, before anything imports it.

    Numba takes its settings from the environment only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("NUMBA_CACHE_DIR", str(folder))


def _given_database(settings: Settings) -> str:
    if settings.database_url is None:
        raise ConfigurationError("CIS_DATABASE_URL: is needed by a process of its own")
    return settings.database_url


def _say(text: str) -> None:
    sys.stderr.write(f"cis-server: {text}\n")
