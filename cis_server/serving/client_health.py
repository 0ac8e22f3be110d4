"""Checking the health of what was learned for one or all clients."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Protocol

from cis_server.domain.health import ClientHealth, HealthFigures
from cis_server.errors import NotFound
from cis_server.learning.health import client_health


class FiguresReader(Protocol):
    """Reads what a check looks at."""

    def figures(self, client_id: str | None, now: dt.datetime) -> Sequence[HealthFigures]:
        """Figures of one client (none when it is unknown), or of all that may learn (None).

        Raises:
            StoreUnavailable: the database is away or did not answer in time.
        """
        ...


class HealthChecks:
    """Gives the warnings of clients as of now.

    Args:
        reader: see the port.
        clock: the time now, aware.
    """

    def __init__(self, reader: FiguresReader, clock: Callable[[], dt.datetime]) -> None:
        self._reader, self._clock = reader, clock

    def check(self, client_id: str | None) -> Sequence[ClientHealth]:
        """Clients with their warnings, those with the most high ones first.

        Args:
            client_id: one client, whatever its subscription; None: all that may learn, also those
                whose learning never worked.

        Raises:
            NotFound: there is no such client.
            StoreUnavailable: the database is away or did not answer in time.
        """
        now = self._clock()
        found = [client_health(figures, now) for figures in self._reader.figures(client_id, now)]
        if client_id is not None and not found:
            raise NotFound("client", client_id)
        return sorted(found, key=lambda it: (-it.high_count, -len(it.warnings), it.client_id))
