"""Structured logs: one JSON object a line on stderr, or coloured text on a terminal.

No personal data are logged: ids of clients and requests, method names, codes and durations only.
"""

from __future__ import annotations

import logging
import re
import sys

from cis_server.residency import hidden

# Structlog would load rich for tracebacks that `format_exc_info` has written before it sees them.
with hidden("rich"):
    import structlog
    from structlog.typing import EventDict, WrappedLogger


def configure(level: str = "info", *, as_json: bool | None = None, process: str = "") -> None:
    """Set up structlog for this process.

    Args:
        level: least severe level to write: debug, info, warning or error.
        as_json: None writes JSON unless stderr is a terminal.
        process: name of this process, put on every line.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    if as_json is None:
        as_json = not sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            without_rows,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(message)s")
    if process:
        structlog.contextvars.bind_contextvars(process=process)


# What Postgres quotes of the data that an error is about, each up to the end of its line:
# "DETAIL:  Failing row contains (…)", "CONTEXT:  JSON data, line 1: {…". Its values may hold line
# breaks, so everything up to the next line that a traceback or Postgres begins goes as well.
_QUOTED = re.compile(
    r"^(DETAIL|CONTEXT):.*?(?=^(?:DETAIL|CONTEXT|HINT):|^\[SQL|^\(Background|^Traceback |\n\n|\Z)",
    re.MULTILINE | re.DOTALL,
)


def without_rows(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take out of a traceback what Postgres quotes of the rows that an error is about."""
    trace = event.get("exception")
    if isinstance(trace, str):
        event["exception"] = _QUOTED.sub(r"\1: (left out)\n", trace)
    return event
