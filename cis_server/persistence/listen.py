"""Hearing of committed changes as they happen."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import psycopg
from psycopg import sql

from cis_server.domain.live_state import Change, ChangeKind
from cis_server.errors import StoreUnavailable
from cis_server.persistence.connections import libpq_url

CHANNEL = "cis_changes"

_KINDS = {
    "client": ChangeKind.CLIENT,
    # Weights and models are part of what is kept of a client.
    "weights": ChangeKind.CLIENT,
    "patterns": ChangeKind.PATTERNS,
    "suppression": ChangeKind.SUPPRESSION,
}


class ChangeListener:
    """A connection of its own that waits for ``NOTIFY``.

    Args:
        url: ``postgresql://`` URI.
    """

    def __init__(self, url: str) -> None:
        self._url = libpq_url(url)
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._lock = threading.Lock()

    def listen(self) -> None:
        """Begin to receive, on a new connection; what is committed from now on is reported.

        Raises:
            StoreUnavailable: the database is away.
        """
        self.close()
        try:
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=3,
                keepalives=1,
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=2,
                tcp_user_timeout=5000,
                application_name="cis-listen",
            )
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        except psycopg.OperationalError as error:
            raise StoreUnavailable("the database cannot be listened to") from error
        with self._lock:
            self._connection = connection

    def wait(self, timeout_seconds: float) -> Sequence[Change]:
        """Wait until something was committed, at most the given time.

        Returns:
            Every change known by now, in commit order; empty after the timeout.

        Raises:
            StoreUnavailable: the connection is lost or was never made.
        """
        connection = self._connection
        if connection is None:
            raise StoreUnavailable("nobody listens")
        try:
            # stop_after=1 still gives back everything that came in the same packet.
            notices = connection.notifies(timeout=timeout_seconds, stop_after=1)
            return [change for notice in notices if (change := _change(notice.payload))]
        except psycopg.OperationalError as error:
            raise StoreUnavailable("the listening connection is lost") from error

    def close(self) -> None:
        """Drop the connection; a running `wait` may end with an error."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _change(payload: str) -> Change | None:
    """What a notification says; None for one that some other program sent."""
    try:
        said = json.loads(payload)
        kind = _KINDS.get(said["kind"])
        client_id = said["client_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return None if kind is None else Change(kind, client_id)
