"""Patterns in memory, bounded by bytes, loaded in the background.

Reading takes no lock and never waits: a pattern that is not there is asked for and the caller goes
on with defaults. What the store has not got is remembered as absent, so that it is not asked for
again with every call. A change reloads what is held or wanted and nothing else; while it loads, and
when it cannot be read, the last good one goes on answering.
"""

from __future__ import annotations

import itertools
import queue
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import Any, Final, cast

from cis_server.domain.live_state import PatternKey, PatternRecord, Revisions
from cis_server.domain.patterns import PATTERN_CLASSES, HowPattern, WhenPattern
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType
from cis_server.errors import StoreUnavailable
from cis_server.serving.backoff import Backoff
from cis_server.serving.channel_plan import ChannelPlan
from cis_server.serving.health import HealthWarnings, WarningKind
from cis_server.serving.ports import SnapshotSource
from cis_server.serving.timing_plan import TimingPlan
from cis_server.stats.confidence import blend_weight

DEFAULT_BYTES: Final = 64 * 1024 * 1024
_LOADED_TOGETHER = 3
"""As many as answer for one client. What is read lies in memory several times over, as text and as
plain values, until it is prepared."""
_ALIGNMENT: Final = 16
"""The interpreter hands out memory in steps of so many bytes."""
_ANSWERING = frozenset((PatternType.WHAT, PatternType.WHEN, PatternType.HOW))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentPattern:
    """A pattern ready to answer."""

    record: PatternRecord | None
    """Without its content; None when the store has nothing under this key."""
    pattern: Stored | None
    """Typed; None when no run ever succeeded or this version does not know the type."""
    timing: TimingPlan | None = None
    channels: ChannelPlan | None = None


ABSENT: Final = ResidentPattern(record=None, pattern=None)
"""The store has nothing under the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternCounts:
    """How the cache does. Counted without locks: under contention a count may be short."""

    resident: int
    resident_bytes: int
    hits: int
    misses: int
    loads: int
    evictions: int


class _Entry:
    __slots__ = ("asked", "resident", "size", "used")

    def __init__(self, resident: ResidentPattern, size: int, asked: int, used: int) -> None:
        self.resident, self.size, self.asked, self.used = resident, size, asked, used


class PatternCache:
    """Least recently used patterns give way when the bytes do not suffice."""

    def __init__(
        self,
        source: SnapshotSource,
        warnings: HealthWarnings,
        *,
        max_bytes: int = DEFAULT_BYTES,
    ) -> None:
        """Prepare; nothing is loaded before `start`.

        Args:
            source: where patterns are read.
            warnings: told of patterns that cannot be read.
            max_bytes: bound of everything held; the newest pattern is held whatever its size.
        """
        self._source, self._warnings, self._max_bytes = source, warnings, max_bytes
        self._entries: dict[PatternKey, _Entry] = {}
        self._wanted: set[PatternKey] = set()
        self._queue: queue.SimpleQueue[PatternKey | None] = queue.SimpleQueue()
        self._ticks = itertools.count(1)
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._bytes = 0
        self._hits = self._misses = self._loads = self._evictions = 0

    def get(self, key: PatternKey) -> ResidentPattern | None:
        """The pattern if it is in memory, else None; then it is loaded in the background."""
        entry = self._entries.get(key)
        if entry is None:
            self._misses += 1
            self._want(key)
            return None
        self._hits += 1
        entry.used = next(self._ticks)
        return entry.resident

    def load(self, key: PatternKey) -> ResidentPattern:
        """The pattern as stored now, read on this thread and kept.

        Raises:
            StoreUnavailable: the database is away.
        """
        asked = next(self._ticks)
        self._install(key, self._source.load_patterns([key]).get(key), asked)
        entry = self._entries.get(key)
        return entry.resident if entry is not None else ABSENT

    def changed(self, client_id: str) -> None:
        """The client's patterns have changed: reload those that are held or wanted.

        Those that answer engines are loaded even unasked while there is plenty of room, so that the
        first question after learning is answered from what was learned.
        """
        roomy = self._bytes < self._max_bytes // 2
        for pattern_type in PatternType:
            key = PatternKey(client_id, pattern_type)
            foreseen = roomy and pattern_type in _ANSWERING
            if foreseen or key in self._entries or key in self._wanted:
                self._reload(key)

    def compare(self, revisions: Mapping[str | None, Revisions]) -> None:
        """Reload what is held at another revision than the store has."""
        for key, entry in list(self._entries.items()):
            stored = revisions.get(key.client_id)
            record = entry.resident.record
            held = record.revision if record is not None else None
            if held != (stored.patterns.get(key.type) if stored is not None else None):
                self._reload(key)

    def forget(self, client_id: str) -> None:
        """Drop everything of a client that is gone."""
        with self._writing:
            for pattern_type in PatternType:
                self._drop(PatternKey(client_id, pattern_type))

    def counts(self) -> PatternCounts:
        """How the cache does."""
        return PatternCounts(
            resident=len(self._entries),
            resident_bytes=self._bytes,
            hits=self._hits,
            misses=self._misses,
            loads=self._loads,
            evictions=self._evictions,
        )

    def start(self) -> None:
        """Begin to load what is asked for."""
        self._thread = threading.Thread(target=self._run, name="pattern-loader", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End loading; what is held stays."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _want(self, key: PatternKey) -> None:
        # Two threads may both see it missing and queue it twice; it is then loaded twice.
        if key not in self._wanted:
            self._reload(key)

    def _reload(self, key: PatternKey) -> None:
        self._wanted.add(key)
        self._queue.put(key)

    def _run(self) -> None:
        backoff = Backoff(self._stopping)
        waiting: list[PatternKey] = []
        while not self._stopping.is_set():
            waiting = list(dict.fromkeys((*waiting, *self._taken(bool(waiting)))))
            if not waiting:
                continue
            batch, rest = waiting[:_LOADED_TOGETHER], waiting[_LOADED_TOGETHER:]
            asked = next(self._ticks)
            try:
                records = self._source.load_patterns(batch)
            except StoreUnavailable:
                backoff.wait()
                continue
            except Exception as error:
                for key in batch:
                    self._refused(key, f"cannot be loaded: {error!r}")
                waiting = rest
                backoff.wait()
                continue
            backoff.reset()
            for key in batch:
                self._install(key, records.get(key), asked)
            waiting = rest

    def _taken(self, at_once: bool) -> list[PatternKey]:
        """Keys that are queued; waits for the first one unless told not to."""
        keys: list[PatternKey] = []
        if not at_once:
            first = self._queue.get()
            if first is not None:
                keys.append(first)
        while not self._queue.empty():
            key = self._queue.get()
            if key is not None:
                keys.append(key)
        return keys

    def _install(self, key: PatternKey, record: PatternRecord | None, asked: int) -> None:
        """Hold what was read, unless something asked for later is held.

        Every change is followed by a read of its own, so the last to ask has seen them all; the
        last to be answered need not have.
        """
        try:
            resident = prepared(record)
        except Exception as error:  # content of any shape may be stored
            self._refused(key, f"cannot be read: {error!r}")
            return
        size = resident_bytes(resident)
        with self._writing:
            old = self._entries.get(key)
            if old is not None and old.asked > asked:
                return
            entry = _Entry(resident, size, asked, next(self._ticks))
            self._entries[key] = entry
            self._bytes += size - (old.size if old is not None else 0)
            self._loads += 1
            self._wanted.discard(key)
            self._evict(entry)
        self._warnings.clear(WarningKind.PATTERN_REFUSED, client_id=key.client_id, subject=key.type)

    def _refused(self, key: PatternKey, message: str) -> None:
        self._warnings.record(
            WarningKind.PATTERN_REFUSED, message, client_id=key.client_id, subject=key.type
        )
        with self._writing:
            if key not in self._entries:
                # Held as absent until it changes, or every call would load it in vain.
                size = resident_bytes(ABSENT)
                self._entries[key] = _Entry(ABSENT, size, 0, next(self._ticks))
                self._bytes += size
            self._wanted.discard(key)

    def _evict(self, newest: _Entry) -> None:
        if self._bytes <= self._max_bytes:
            return
        for key, entry in sorted(self._entries.items(), key=lambda item: item[1].used):
            if entry is newest:
                continue
            self._drop(key)
            self._evictions += 1
            if self._bytes <= self._max_bytes:
                return

    def _drop(self, key: PatternKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size


def prepared(record: PatternRecord | None) -> ResidentPattern:
    """Make a stored pattern ready to answer.

    Raises:
        Exception: any, when the content is not what its type's class can be built from.
    """
    if record is None:
        return ABSENT
    kind = PATTERN_CLASSES.get(record.key.type)
    content = record.content
    pattern = kind.from_json(content) if kind is not None and content is not None else None
    share = blend_weight(record.confidence)
    return ResidentPattern(
        record=replace(record, content=None),
        pattern=pattern,
        timing=TimingPlan(pattern, share, record.source)
        if isinstance(pattern, WhenPattern)
        else None,
        channels=ChannelPlan(pattern, share, record.source)
        if isinstance(pattern, HowPattern)
        else None,
    )


def resident_bytes(value: object) -> int:
    """Bytes of memory that a value and everything reachable from it take, each counted once."""
    total, seen, waiting = 0, set[int](), [value]
    while waiting:
        item = waiting.pop()
        if item is None or isinstance(item, bool | type | Enum) or id(item) in seen:
            continue
        seen.add(id(item))
        total += -(-sys.getsizeof(item) // _ALIGNMENT) * _ALIGNMENT
        waiting.extend(_parts(item))
    return total


def _parts(item: object) -> Iterable[object]:
    if isinstance(item, Mapping):
        return itertools.chain(item.keys(), item.values())
    if isinstance(item, tuple | list | set | frozenset):
        return item
    if is_dataclass(item):
        return (getattr(item, f.name) for f in fields(cast(Any, item)))
    own = getattr(item, "__dict__", None)
    return (own,) if own is not None else ()
