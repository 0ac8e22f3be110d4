"""The state a serving process answers from, kept up to date by a listening thread.

Readers take one reference and never wait: a snapshot is immutable and complete. The listening
thread loads everything once, then waits for notifications and loads what changed; every poll
interval it compares revisions, so that a lost notification costs at most that long. When the
database goes away the last snapshot stays, and after the reconnect everything is compared again.
"""

from __future__ import annotations

import datetime as dt
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from cis_server.domain.live_state import (
    Change,
    ChangeKind,
    ClientState,
    PatternKey,
    Revisions,
    SuppressionList,
    UnreadableClient,
)
from cis_server.errors import NotFound, StoreUnavailable
from cis_server.serving.backoff import Backoff
from cis_server.serving.health import HealthWarning, HealthWarnings, WarningKind
from cis_server.serving.pattern_cache import (
    DEFAULT_BYTES,
    PatternCache,
    PatternCounts,
    ResidentPattern,
)
from cis_server.serving.ports import SnapshotSource
from cis_server.serving.snapshot import (
    NO_LIST,
    NOTHING_LOADED,
    ClientSnapshot,
    HeldSuppression,
    Snapshot,
    built_client,
    held,
    joined,
)

_log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 30.0
_LISTEN_SECONDS = 0.25  # longest wait between two looks at whether to stop
_LOADED_ONE_BY_ONE = 16  # clients; more than that are cheaper to load all at once


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCounts:
    """How the store does."""

    clients: int
    generation: int
    notifications: int
    reloads: int
    """Clients and suppression lists loaded after the first load."""
    reconnects: int
    patterns: PatternCounts


class SnapshotStore:
    """All clients' weights, models and suppression, and the patterns that are asked for."""

    def __init__(
        self,
        source: SnapshotSource,
        clock: Callable[[], dt.datetime],
        *,
        pattern_bytes: int = DEFAULT_BYTES,
        poll_seconds: float = POLL_SECONDS,
        backoff_seconds: float = 0.1,
        secret: bytes | None = None,
    ) -> None:
        """Prepare; nothing is read before `start`.

        Args:
            source: where state is read.
            clock: gives the present instant, aware.
            pattern_bytes: bound of the patterns in memory.
            poll_seconds: how often revisions are compared.
            backoff_seconds: wait after the first failure; doubles up to five seconds.
            secret: key of the suppression hashes; None: a random one for this process.
        """
        self._source, self._clock = source, clock
        self._poll_seconds, self._backoff_seconds = poll_seconds, backoff_seconds
        self._secret = secret if secret is not None else secrets.token_bytes(32)
        self._snapshot = NOTHING_LOADED
        self._writing = threading.RLock()
        self._stopping = threading.Event()
        self._loaded = threading.Event()
        self._thread: threading.Thread | None = None
        self._away = False
        self._notifications = self._reloads = self._reconnects = 0
        self.health = HealthWarnings(clock)
        self._patterns = PatternCache(source, self.health, max_bytes=pattern_bytes)

    # Reading: no lock, no waiting

    @property
    def snapshot(self) -> Snapshot:
        """The state in force."""
        return self._snapshot

    @property
    def database_away(self) -> bool:
        """Whether changes cannot be read at present."""
        return self._away

    def client(self, client_id: str) -> ClientSnapshot:
        """One client.

        Raises:
            NotFound: there is no such client.
            StoreUnavailable: nothing was loaded yet.
        """
        snapshot = self._snapshot
        found = snapshot.clients.get(client_id)
        if found is not None:
            return found
        if snapshot.built_at is None:
            raise StoreUnavailable("state is still being loaded")
        raise NotFound("client", client_id)

    def pattern(self, key: PatternKey) -> ResidentPattern | None:
        """A pattern of a known client; None when it is not in memory, then it is being loaded."""
        return self._patterns.get(key)

    def warnings(self) -> tuple[HealthWarning, ...]:
        """What is wrong at present, oldest first."""
        return self.health.listed()

    def load_pattern(self, key: PatternKey) -> ResidentPattern:
        """A pattern, read from the store when it is not in memory: for callers that may wait.

        Raises:
            StoreUnavailable: it is not in memory and the database is away.
        """
        found = self._patterns.get(key)
        return found if found is not None else self._patterns.load(key)

    def counts(self) -> StoreCounts:
        """How the store does."""
        snapshot = self._snapshot
        return StoreCounts(
            clients=len(snapshot.clients),
            generation=snapshot.generation,
            notifications=self._notifications,
            reloads=self._reloads,
            reconnects=self._reconnects,
            patterns=self._patterns.counts(),
        )

    # Running

    def start(self) -> None:
        """Begin to load and listen, in the background; the database may come later."""
        self._patterns.start()
        self._thread = threading.Thread(target=self._run, name="snapshot-listener", daemon=True)
        self._thread.start()

    def wait_until_loaded(self, timeout_seconds: float) -> bool:
        """Wait for the first snapshot; whether it is there."""
        return self._loaded.wait(timeout_seconds)

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End listening and loading; the last snapshot goes on answering."""
        self._stopping.set()
        self._patterns.stop(timeout_seconds)
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        self._source.close()

    def reload_client(self, client_id: str) -> None:
        """Load one client now, on this thread: for a writer that must read what it wrote.

        Raises:
            StoreUnavailable: the database is away.
        """
        self._reload_client(client_id)

    # The listening thread

    def _run(self) -> None:
        backoff = Backoff(self._stopping, self._backoff_seconds)
        connected_before = False
        while not self._stopping.is_set():
            try:
                self._source.listen()
                self._synchronise()
                self._set_away(None)
                backoff.reset()
                if connected_before:
                    self._reconnects += 1
                connected_before = True
                self._listen()
            except StoreUnavailable as error:
                self._set_away(str(error))
                backoff.wait()
            except Exception as error:
                # A fault in what is stored or read must not end the thread for good.
                _log.exception("snapshot listener failed")
                self._set_away(repr(error))
                backoff.wait()

    def _listen(self) -> None:
        next_poll = time.monotonic() + self._poll_seconds
        while not self._stopping.is_set():
            remaining = next_poll - time.monotonic()
            if remaining <= 0.0:
                self._synchronise()
                next_poll = time.monotonic() + self._poll_seconds
                continue
            changes = self._source.wait_for_changes(min(_LISTEN_SECONDS, remaining))
            if changes:
                self._notifications += len(changes)
                self._apply(changes)

    def _apply(self, changes: Iterable[Change]) -> None:
        """Load what changed, each thing once; what closes channels comes first."""
        distinct = list(dict.fromkeys(changes))
        for change in distinct:
            if change.kind is ChangeKind.SUPPRESSION:
                self._reload_suppression(change.client_id)
        clients = [
            change.client_id
            for change in distinct
            if change.kind is ChangeKind.CLIENT and change.client_id is not None
        ]
        if len(clients) > _LOADED_ONE_BY_ONE:
            self._synchronise()
        else:
            for client_id in clients:
                self._reload_client(client_id)
        for change in distinct:
            if change.kind is ChangeKind.PATTERNS and change.client_id is not None:
                self._patterns.changed(change.client_id)

    def _synchronise(self) -> None:
        """Bring everything to what the store has."""
        if self._snapshot.built_at is None:
            self._load_all()
            return
        revisions = self._source.load_revisions()
        snapshot = self._snapshot
        lists = [c for c, r in revisions.items() if r.suppression != _list_revision(snapshot, c)]
        clients = _differing_clients(snapshot.clients, revisions)
        if len(lists) + len(clients) > _LOADED_ONE_BY_ONE:
            self._load_all()
        else:
            for client_id in lists:
                self._reload_suppression(client_id)
            for client_id in clients:
                self._reload_client(client_id)
        self._patterns.compare(revisions)

    def _load_all(self) -> None:
        first = self._snapshot.built_at is None
        with self._writing:
            lists = {
                stored.client_id: self._held(stored) for stored in self._source.load_suppressions()
            }
            everybody = lists.get(None, NO_LIST)
            previous = self._snapshot.clients
            clients: dict[str, ClientSnapshot] = {}
            for state in self._source.load_clients():
                client_id = _id_of(state)
                own = lists.get(client_id, NO_LIST)
                built = self._built(state, own, everybody, previous.get(client_id))
                if built is not None:
                    clients[client_id] = built
            for gone in previous.keys() - clients.keys():
                self._forget(gone)
            self._swap(clients, everybody)
        if not first:
            self._reloads += len(clients)
        self._loaded.set()

    # Loading happens while the writer's lock is held, so that what was read last is swapped last.

    def _reload_client(self, client_id: str) -> None:
        with self._writing:
            state = self._source.load_client(client_id)
            snapshot = self._snapshot
            if snapshot.built_at is None:
                return  # the first load is under way and will read it
            clients = dict(snapshot.clients)
            if state is None:
                clients.pop(client_id, None)
                self._forget(client_id)
            else:
                previous = clients.get(client_id)
                # A new client may have come with a list of its own.
                own = (
                    previous.own_suppression
                    if previous is not None
                    else self._held(self._source.load_suppression(client_id))
                )
                built = self._built(state, own, snapshot.global_suppression, previous)
                if built is not None:
                    clients[client_id] = built
            self._swap(clients, snapshot.global_suppression)
            self._reloads += 1

    def _reload_suppression(self, client_id: str | None) -> None:
        with self._writing:
            new = self._held(self._source.load_suppression(client_id))
            snapshot = self._snapshot
            if client_id is None:
                clients = {
                    name: replace(client, suppression=joined(client.own_suppression, new))
                    for name, client in snapshot.clients.items()
                }
                self._swap(clients, new)
            else:
                client = snapshot.clients.get(client_id)
                if client is None:
                    return
                changed = replace(
                    client,
                    own_suppression=new,
                    suppression=joined(new, snapshot.global_suppression),
                )
                clients = {**snapshot.clients, client_id: changed}
                self._swap(clients, snapshot.global_suppression)
            self._reloads += 1

    def _built(
        self,
        state: ClientState | UnreadableClient,
        own: HeldSuppression,
        everybody: HeldSuppression,
        previous: ClientSnapshot | None,
    ) -> ClientSnapshot | None:
        """The client as it is now; None when it cannot be read and never could."""
        client_id = _id_of(state)
        if isinstance(state, UnreadableClient):
            self.health.record(WarningKind.CLIENT_REFUSED, state.reason, client_id=client_id)
            if previous is None:
                return None
            return replace(
                previous,
                revision=state.revision,
                own_suppression=own,
                suppression=joined(own, everybody),
            )
        self.health.clear(WarningKind.CLIENT_REFUSED, client_id=client_id)
        built, refusals = built_client(state, own, everybody, previous)
        refused = {refusal.kind: refusal.reason for refusal in refusals}
        for kind in (WarningKind.WEIGHTS_REFUSED, WarningKind.MODEL_REFUSED):
            if kind in refused:
                self.health.record(kind, refused[kind], client_id=client_id)
            else:
                self.health.clear(kind, client_id=client_id)
        return built

    def _held(self, stored: SuppressionList) -> HeldSuppression:
        kind = WarningKind.SUPPRESSION_REFUSED
        result, unreadable = held(stored, self._secret)
        if unreadable:
            message = f"{unreadable} entries cannot be read"
            self.health.record(kind, message, client_id=stored.client_id)
        else:
            self.health.clear(kind, client_id=stored.client_id)
        return result

    def _forget(self, client_id: str) -> None:
        self._patterns.forget(client_id)
        self.health.clear_client(client_id)

    def _swap(self, clients: Mapping[str, ClientSnapshot], everybody: HeldSuppression) -> None:
        self._snapshot = Snapshot(
            clients=clients,
            global_suppression=everybody,
            built_at=self._clock(),
            generation=self._snapshot.generation + 1,
        )

    def _set_away(self, reason: str | None) -> None:
        self._away = reason is not None
        if reason is None:
            self.health.clear(WarningKind.DATABASE_AWAY)
        else:
            self.health.record(WarningKind.DATABASE_AWAY, reason)


def _id_of(state: ClientState | UnreadableClient) -> str:
    return state.client_id if isinstance(state, UnreadableClient) else state.client.client_id


def _list_revision(snapshot: Snapshot, client_id: str | None) -> str:
    if client_id is None:
        return snapshot.global_suppression.revision
    client = snapshot.clients.get(client_id)
    return client.own_suppression.revision if client is not None else NO_LIST.revision


def _differing_clients(
    clients: Mapping[str, ClientSnapshot], revisions: Mapping[str | None, Revisions]
) -> list[str]:
    """Clients that are new, gone or at another revision."""
    differing = [
        client_id
        for client_id, stored in revisions.items()
        if client_id is not None
        and (client_id not in clients or clients[client_id].revision != stored.state)
    ]
    return differing + [client_id for client_id in clients if client_id not in revisions]
