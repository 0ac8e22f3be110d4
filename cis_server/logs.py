"""Structured logs: one JSON object a line on stderr, or coloured text on a terminal.

No personal data are logged: ids of clients and requests, method names, codes and durations only.
"""

from __future__ import annotations

import logging
import sys

import structlog


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
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(message)s")
    if process:
        structlog.contextvars.bind_contextvars(process=process)
