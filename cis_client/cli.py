"""The command ``cis``: what engines ask the service, from a shell.

Tables for people, ``--json`` for programs. Exit codes:

    0    done
    1    done in part: some leads could not be scored, a run failed, the server takes no calls
    2    the command line or a file cannot be used
    3    no answer: the server is away, overloaded or too slow
    4    the server refused: unknown client, wrong value, too few conversions
    5    a fault of the server
    130  interrupted
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from cis_client._backfill import backfill
from cis_client._commands import (
    DONE,
    PARTLY,
    Console,
    channels,
    health,
    learn,
    patterns,
    runs,
    score,
    timing,
)
from cis_client._follow import RunFailedError
from cis_client._models import (
    models,
    models_arguments,
    promote,
    promote_arguments,
    reject,
    reject_arguments,
    rollback,
    rollback_arguments,
    weights,
    weights_arguments,
)
from cis_client._ranking_commands import (
    rescore,
    rescore_arguments,
    top_leads,
    top_leads_arguments,
)
from cis_client._recommendations import (
    recommendation,
    recommendation_arguments,
    recommendations,
    recommendations_arguments,
)
from cis_client._words import enum_value, timestamp
from cis_client.client import Client
from cis_client.errors import CisError, InvalidArgument, Refused, Temporary
from cis_client.options import ClientOptions, TlsOptions
from cis_client.v1.core_pb2 import PatternType, Tier

UNUSABLE, NO_ANSWER, REFUSED, FAULT, INTERRUPTED = 2, 3, 4, 5, 130

TARGET_VARIABLE = "CIS_TARGET"
"""Environment variable with the default of ``--target``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the arguments; None: those of the process.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    console = Console(sys.stdout, sys.stderr, as_json=arguments.json)
    try:
        with Client(_options(arguments)) as client:
            return int(arguments.command(client, arguments, console))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, a pager) has seen enough. Nothing more may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except CisError as error:
        console.complain(_told(error, arguments.target))
        return _code_of(error)
    except RunFailedError as error:
        console.complain(str(error))
        return PARTLY
    except (OSError, ValueError) as error:
        console.complain(str(error))
        return UNUSABLE


def _code_of(error: CisError) -> int:
    if isinstance(error, Temporary):
        return NO_ANSWER
    return REFUSED if isinstance(error, Refused) else FAULT


def _told(error: CisError, target: str) -> str:
    """The error in words that name what to change."""
    if isinstance(error, InvalidArgument) and error.violations:
        return "; ".join(f"{each.field}: {each.description}" for each in error.violations)
    if isinstance(error, Temporary):
        return f"no answer from {target}: {error.message}"
    if isinstance(error, Refused):
        return error.message
    return f"{error.message} (request {error.request_id})"


def _options(arguments: argparse.Namespace) -> ClientOptions:
    tls = None
    if arguments.tls or arguments.ca is not None:
        tls = TlsOptions(
            root_certificates=arguments.ca.read_bytes() if arguments.ca is not None else None
        )
    token = None
    if arguments.token_file is not None:
        token = arguments.token_file.read_text().strip()
    return ClientOptions(
        target=arguments.target,
        timeout_seconds=arguments.timeout,
        batch_timeout_seconds=arguments.timeout,
        # A person at a terminal wants to hear at once that nobody is there.
        wait_for_ready=False,
        connections=1,
        tls=tls,
        token=token,
        user_agent="cis",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cis",
        description="Ask the Conversion Intelligence System from a shell.",
        epilog="exit codes:" + (__doc__ or "").partition("Exit codes:")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command, text, fill in _COMMANDS:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(command=command)
        fill(sub)
        _connection(sub)
    return parser


def _connection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("connection and output")
    default = os.environ.get(TARGET_VARIABLE) or ClientOptions.target
    group.add_argument(
        "--target",
        default=default,
        metavar="HOST:PORT",
        help=f"the server (default: ${TARGET_VARIABLE}, else {ClientOptions.target})",
    )
    group.add_argument(
        "--timeout",
        type=_argument(_seconds),
        default=30.0,
        metavar="SECONDS",
        help="longest wait for one answer (default: 30)",
    )
    group.add_argument("--tls", action="store_true", help="encrypt the connection")
    group.add_argument(
        "--ca", type=Path, metavar="FILE", help="PEM of the authority to trust; implies --tls"
    )
    group.add_argument("--token-file", type=Path, metavar="FILE", help="file with a bearer token")
    group.add_argument("--json", action="store_true", help="print JSON for programs")


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    _client_argument(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="leads in a CSV, Parquet or Arrow file: columns named as the fields of Lead, every "
        "other one an attribute; - is CSV from standard input",
    )
    what.add_argument("--lead-id", metavar="ID", help="explain the score of one stored lead")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the rows with their scores: .csv, .parquet or .arrow; - is CSV to standard "
        "output",
    )
    parser.add_argument("--campaign", metavar="ID", help="campaign whose profile counts")
    parser.add_argument(
        "--as-of", type=_time, metavar="TIME", help="moment whose knowledge counts (default: now)"
    )
    parser.add_argument(
        "--persist", action="store_true", help="store the scores with leads already stored"
    )


def _timing_arguments(parser: argparse.ArgumentParser) -> None:
    _client_argument(parser)
    parser.add_argument("--lead-id", metavar="ID", help="a stored lead")
    parser.add_argument("--timezone", metavar="ZONE", help="the lead's zone, an IANA name")
    for place in ("country", "region", "city"):
        parser.add_argument(f"--{place}", metavar="NAME", help=f"the lead's {place}")
    parser.add_argument("--campaign", metavar="ID", help="campaign whose work hours count")
    parser.add_argument("--channel", metavar="NAME", help="channel of the touch (default: all)")
    parser.add_argument("--touch-number", type=int, metavar="N", help="number of the touch")
    parser.add_argument("--last-touch", type=_time, metavar="TIME", help="when the last one went")
    parser.add_argument("--earliest", type=_time, metavar="TIME", help="not before (default: now)")
    parser.add_argument("--count", type=int, metavar="N", help="windows to show (default: 3)")


def _channels_arguments(parser: argparse.ArgumentParser) -> None:
    _client_argument(parser)
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument(
        "--tier", type=_argument(_tier), metavar="TIER", help="dead, cold, cool, warm or hot"
    )
    subject.add_argument("--score", type=int, metavar="N", help="a score 0..100, whose tier counts")
    subject.add_argument("--lead-id", metavar="ID", help="a stored lead")
    parser.add_argument("--campaign", metavar="ID", help="campaign whose allocation counts")
    parser.add_argument(
        "--available", type=_names, default=[], metavar="A,B", help="channels that can be used"
    )
    parser.add_argument(
        "--used", type=_names, default=[], metavar="A,B", help="channels used so far, in order"
    )


def _learn_arguments(parser: argparse.ArgumentParser) -> None:
    scope = parser.add_mutually_exclusive_group(required=True)
    scope.add_argument("--client", metavar="ID", help="learn for one client")
    scope.add_argument("--all", action="store_true", help="learn for all eligible clients")
    parser.add_argument("--follow", action="store_true", help="show progress and the result")
    parser.add_argument(
        "--force", action="store_true", help="though not eligible, and whatever a gate says"
    )
    parser.add_argument("--dry-run", action="store_true", help="store nothing but the run itself")
    parser.add_argument(
        "--as-of", type=_time, metavar="TIME", help="look at nothing later (default: now)"
    )
    parser.add_argument("--lookback-days", type=int, metavar="N", help="days to look back (90)")
    parser.add_argument("--min-conversions", type=int, metavar="N", help="conversions needed (20)")
    parser.add_argument("--validity-days", type=int, metavar="N", help="days it stays fresh (14)")


def _backfill_arguments(parser: argparse.ArgumentParser) -> None:
    scope = parser.add_mutually_exclusive_group(required=True)
    scope.add_argument("--client", metavar="ID", help="work up one client's history")
    scope.add_argument(
        "--all", action="store_true", help="every client with touches and without valid patterns"
    )
    parser.add_argument("--follow", action="store_true", help="show progress and the result")
    parser.add_argument("--force", action="store_true", help="though there are valid patterns")
    parser.add_argument("--dry-run", action="store_true", help="count what would change")
    parser.add_argument("--lookback-days", type=int, metavar="N", help="days to look back (90)")


def _patterns_arguments(parser: argparse.ArgumentParser) -> None:
    _client_argument(parser)
    parser.add_argument(
        "--type",
        type=_argument(_pattern_type),
        metavar="TYPE",
        help="show one in full: who, what, when, how, funnel or conversation",
    )
    parser.add_argument(
        "--top",
        type=_argument(_positive),
        default=10,
        metavar="N",
        help="rows of a table (default: 10)",
    )


def _runs_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--client", metavar="ID", help="only runs of this client")
    which.add_argument("--run", metavar="ID", help="show one run in full")
    parser.add_argument(
        "--count",
        type=_argument(_positive),
        default=20,
        metavar="N",
        help="runs to list (default: 20)",
    )


def _health_arguments(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--client", metavar="ID", help="warnings about this client's learning too")
    whose.add_argument(
        "--all", action="store_true", help="warnings about every client that may learn too"
    )


def _top_leads_arguments(parser: argparse.ArgumentParser) -> None:
    _client_argument(parser)
    top_leads_arguments(parser)
    parser.add_argument(
        "--tier",
        type=_argument(_tier),
        action="append",
        default=[],
        metavar="TIER",
        help="only leads of this tier; may be given several times",
    )
    parser.add_argument(
        "--count", type=_argument(_positive), default=20, metavar="N", help="leads (default: 20)"
    )


def _rescore_arguments(parser: argparse.ArgumentParser) -> None:
    _client_argument(parser)
    rescore_arguments(parser)


def _client_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--client", required=True, metavar="ID", help="the client")


_COMMANDS: Iterable[
    tuple[
        str,
        Callable[[Client, argparse.Namespace, Console], int],
        str,
        Callable[[argparse.ArgumentParser], None],
    ]
] = (
    ("score", score, "score a file of leads, or explain the score of one", _score_arguments),
    ("top-leads", top_leads, "list the best stored leads", _top_leads_arguments),
    ("rescore", rescore, "score all active leads again", _rescore_arguments),
    ("timing", timing, "say when to contact a lead", _timing_arguments),
    ("channels", channels, "say through which channel", _channels_arguments),
    ("learn", learn, "learn from outcomes", _learn_arguments),
    ("backfill", backfill, "work up a client's history, then learn", _backfill_arguments),
    ("patterns", patterns, "show what was learned", _patterns_arguments),
    ("weights", weights, "show the weights of the score, or set them", weights_arguments),
    ("models", models, "show versions of weights and models", models_arguments),
    ("promote", promote, "let a version go live, for all leads or a share", promote_arguments),
    ("rollback", rollback, "take back what came into force last", rollback_arguments),
    ("reject", reject, "refuse a candidate", reject_arguments),
    ("runs", runs, "show learning runs", _runs_arguments),
    (
        "recommendations",
        recommendations,
        "show what is proposed to people",
        recommendations_arguments,
    ),
    (
        "recommendation",
        recommendation,
        "accept or reject a proposal",
        recommendation_arguments,
    ),
    ("health", health, "say whether the server takes calls", _health_arguments),
)


T = TypeVar("T")


def _argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """Lets argparse show what ``read`` says is wrong."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


_time = _argument(timestamp)


def _tier(text: str) -> int:
    return enum_value(Tier.DESCRIPTOR, text)


def _pattern_type(text: str) -> int:
    return enum_value(PatternType.DESCRIPTOR, text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ValueError(f"{text!r} is not a number above 0")
    return value


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
