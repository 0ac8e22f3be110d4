"""What is wrong with the state that answers come from, as warnings that can be listed."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import structlog

_log = structlog.get_logger(__name__)


class WarningKind(StrEnum):
    """What went wrong."""

    DATABASE_AWAY = "database_away"
    """Changes cannot be read; answers come from what is in memory."""
    WEIGHTS_REFUSED = "weights_refused"
    MODEL_REFUSED = "model_refused"
    PATTERN_REFUSED = "pattern_refused"
    SUPPRESSION_REFUSED = "suppression_refused"
    CLIENT_REFUSED = "client_refused"
    DECISIONS_LOST = "decisions_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthWarning:
    """One thing that is wrong now."""

    kind: WarningKind
    client_id: str | None
    """None: not about one client."""
    subject: str
    """What exactly, e.g. the type of a pattern; empty when the kind says it all."""
    message: str
    since: dt.datetime
    times: int
    """How often it was seen since."""


class HealthWarnings:
    """Open warnings. Readers see a finished tuple; nothing waits for a writer."""

    def __init__(self, clock: Callable[[], dt.datetime]) -> None:
        """Start without warnings.

        Args:
            clock: gives the present instant, aware.
        """
        self._clock = clock
        self._writing = threading.Lock()
        self._open: dict[tuple[WarningKind, str | None, str], HealthWarning] = {}
        self._listed: tuple[HealthWarning, ...] = ()

    def listed(self) -> tuple[HealthWarning, ...]:
        """All open warnings, oldest first."""
        return self._listed

    def record(
        self, kind: WarningKind, message: str, *, client_id: str | None = None, subject: str = ""
    ) -> None:
        """Open a warning, or count it again."""
        key = (kind, client_id, subject)
        with self._writing:
            known = self._open.get(key)
            if known is None:
                self._open[key] = HealthWarning(
                    kind=kind,
                    client_id=client_id,
                    subject=subject,
                    message=message,
                    since=self._clock(),
                    times=1,
                )
            else:
                self._open[key] = replace(known, message=message, times=known.times + 1)
            self._listed = tuple(self._open.values())
        if known is None or known.message != message:
            _log.warning("health", kind=kind, client_id=client_id, subject=subject, reason=message)

    def clear(self, kind: WarningKind, *, client_id: str | None = None, subject: str = "") -> None:
        """Close a warning, if it is open."""
        key = (kind, client_id, subject)
        if key not in self._open:
            return
        with self._writing:
            if self._open.pop(key, None) is not None:
                self._listed = tuple(self._open.values())

    def clear_client(self, client_id: str) -> None:
        """Close everything about a client that is gone."""
        with self._writing:
            gone = [key for key in self._open if key[1] == client_id]
            for key in gone:
                del self._open[key]
            self._listed = tuple(self._open.values())
