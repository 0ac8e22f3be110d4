"""What serving needs from the outside, as protocols; an adapter over the database implements them.

Every method may be called from any thread, several at once. None is called on a thread that
answers requests, save `LeadReader`, which bounds its own waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from cis_server.domain.live_state import (
    Change,
    ClientState,
    DecisionRecord,
    PatternKey,
    PatternRecord,
    Revisions,
    StoredLead,
    SuppressionList,
    UnreadableClient,
)


class SnapshotSource(Protocol):
    """Reads live state; each method is one set-based read in one transaction.

    Every method raises `StoreUnavailable` when the database is away; the caller retries.
    """

    def load_clients(self) -> Iterable[ClientState | UnreadableClient]:
        """All clients that are not deleted, in any order; may be read while they are taken, and
        then raises only there."""
        ...

    def load_client(self, client_id: str) -> ClientState | UnreadableClient | None:
        """One client; None when it does not exist or was deleted."""
        ...

    def load_suppressions(self) -> Iterable[SuppressionList]:
        """Every suppression list that has entries, the global one (``client_id`` None) included."""
        ...

    def load_suppression(self, client_id: str | None) -> SuppressionList:
        """One client's list, or the global one for None; without entries when there are none."""
        ...

    def load_patterns(self, keys: Sequence[PatternKey]) -> Mapping[PatternKey, PatternRecord]:
        """Active patterns and run statuses; keys with neither are left out."""
        ...

    def load_revisions(self) -> Mapping[str | None, Revisions]:
        """Revisions of every client by id, and of the global suppression list under None (there
        only `suppression` counts). They must equal those that the loading methods give."""
        ...

    def listen(self) -> None:
        """Begin to receive notifications, on a connection kept for that.

        Everything committed after this returns is either reported by `wait_for_changes` or makes it
        raise. Called again after a failure: it drops the old connection and makes a new one.
        """
        ...

    def wait_for_changes(self, timeout_seconds: float) -> Sequence[Change]:
        """Wait until something was committed, at most the given time.

        Returns:
            All changes that are known by now, in commit order, repeated ones allowed; empty after
            the timeout.

        Raises:
            StoreUnavailable: the listening connection is lost.
        """
        ...

    def close(self) -> None:
        """Drop the listening connection; a running `wait_for_changes` may end with an error."""
        ...


class LeadReader(Protocol):
    """Reads stored leads for answers about them."""

    def read_leads(
        self, client_id: str, lead_ids: Sequence[str], timeout_seconds: float
    ) -> Mapping[str, StoredLead]:
        """Leads by id in one read; unknown and deleted ones are left out.

        Raises:
            StoreUnavailable: no answer within the time given.
        """
        ...


class DecisionSink(Protocol):
    """Stores decision records."""

    def write_decisions(self, records: Sequence[DecisionRecord]) -> None:
        """Store the records in one write; an id that is stored already is passed over.

        Raises:
            StoreUnavailable: the database is away; the same records are offered again later.
        """
        ...
