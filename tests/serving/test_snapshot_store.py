"""State in memory: loaded once, swapped whole, never lost."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import pytest
from serving_fakes import (
    NOW,
    FakeSource,
    client_state,
    pattern_record,
    wait_until,
    when_pattern,
)

from cis_server.domain.live_state import PatternKey, PatternRecord
from cis_server.domain.suppression import IdentifierKind
from cis_server.domain.vocabulary import PatternType
from cis_server.domain.weights import DEFAULT_WEIGHTS, Weights
from cis_server.errors import NotFound, StoreUnavailable
from cis_server.serving.health import HealthWarnings, WarningKind
from cis_server.serving.pattern_cache import PatternCache, prepared, resident_bytes
from cis_server.serving.store import SnapshotStore

GOOD = {"data_quality": 0.1, "authority": 0.4, "company_fit": 0.2, "timing": 0.2, "risk": 0.1}
OTHER = {"data_quality": 0.3, "authority": 0.1, "company_fit": 0.2, "timing": 0.1, "risk": 0.3}
EMAIL = IdentifierKind.EMAIL


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def store(source: FakeSource) -> Iterator[SnapshotStore]:
    made = SnapshotStore(source, lambda: NOW, poll_seconds=3600, backoff_seconds=0.01)
    yield made
    made.stop()


def started(store: SnapshotStore) -> SnapshotStore:
    store.start()
    assert store.wait_until_loaded(5)
    return store


def holds(store: SnapshotStore, client_id: str, email: str) -> bool:
    return store.client(client_id).suppression.contains(EMAIL, email)


def test_everything_is_resident_after_the_start(store: SnapshotStore, source: FakeSource) -> None:
    source.commit_client(client_state("acme", weights=GOOD))
    source.commit_client(client_state("other"))
    source.commit_suppression("acme", (EMAIL, "No@One.example"))
    source.commit_suppression(None, (EMAIL, "all@every.example"))
    started(store)
    acme = store.client("acme")
    assert acme.weights == Weights(0.1, 0.4, 0.2, 0.2, 0.1)
    assert acme.weights_record is not None
    assert not acme.weights_record.content
    assert store.client("other").weights == DEFAULT_WEIGHTS
    assert holds(store, "acme", "no@one.example")
    assert not holds(store, "other", "no@one.example")
    assert holds(store, "other", "ALL@every.example ")
    with pytest.raises(NotFound):
        store.client("nobody")


def test_before_the_first_load_nothing_is_known(store: SnapshotStore, source: FakeSource) -> None:
    source.away.set()
    store.start()
    assert not store.wait_until_loaded(0.05)
    with pytest.raises(StoreUnavailable):
        store.client("acme")
    wait_until(lambda: store.database_away)
    assert [w.kind for w in store.warnings()] == [WarningKind.DATABASE_AWAY]
    source.states["acme"] = client_state()
    source.away.clear()
    assert store.wait_until_loaded(5)
    wait_until(lambda: not store.warnings())


def test_notifications_reload_what_changed(store: SnapshotStore, source: FakeSource) -> None:
    source.commit_client(client_state("acme"))
    started(store)
    before = store.snapshot
    source.commit_client(client_state("acme", revision="2", weights=GOOD))
    source.commit_client(client_state("late"))
    wait_until(lambda: "late" in store.snapshot.clients)
    assert store.client("acme").weights.authority == 0.4
    assert before.clients["acme"].weights == DEFAULT_WEIGHTS  # the old one is as it was
    source.delete_client("late")
    wait_until(lambda: "late" not in store.snapshot.clients)


def test_an_opt_out_closes_within_a_second(store: SnapshotStore, source: FakeSource) -> None:
    source.commit_client(client_state("acme"))
    source.commit_client(client_state("other"))
    started(store)
    begin = time.monotonic()
    source.commit_suppression("acme", (EMAIL, "gone@x.example"))
    wait_until(lambda: holds(store, "acme", "gone@x.example"), 1.0)
    source.commit_suppression(None, (EMAIL, "all@x.example"))
    wait_until(lambda: holds(store, "other", "all@x.example"), 1.0)
    assert holds(store, "acme", "gone@x.example")
    assert holds(store, "acme", "all@x.example")
    assert time.monotonic() - begin < 1.0
    source.commit_suppression("acme")
    wait_until(lambda: not holds(store, "acme", "gone@x.example"), 1.0)
    assert holds(store, "acme", "all@x.example")


def test_a_new_client_comes_with_its_list(store: SnapshotStore, source: FakeSource) -> None:
    started(store)
    source.mute = True
    source.commit_suppression("acme", (EMAIL, "gone@x.example"))
    source.mute = False
    source.commit_client(client_state("acme"))
    wait_until(lambda: "acme" in store.snapshot.clients)
    assert holds(store, "acme", "gone@x.example")


@pytest.mark.parametrize("clients", [2, 40])
def test_the_poll_catches_lost_notifications(source: FakeSource, clients: int) -> None:
    store = SnapshotStore(source, lambda: NOW, poll_seconds=0.1)
    for number in range(clients):
        source.commit_client(client_state(f"c{number}"))
    started(store)
    try:
        time.sleep(0.05)
        source.mute = True
        for number in range(clients):
            source.commit_client(client_state(f"c{number}", revision="2", weights=GOOD))
        source.delete_client("c1")
        source.commit_suppression("c0", (EMAIL, "gone@x.example"))
        wait_until(lambda: "c1" not in store.snapshot.clients)
        wait_until(lambda: holds(store, "c0", "gone@x.example"))
        assert {c.revision for c in store.snapshot.clients.values()} == {"2"}
        reloads = store.counts().reloads
        time.sleep(0.3)
        assert store.counts().reloads == reloads  # equal revisions load nothing
    finally:
        store.stop()


def test_after_an_outage_everything_is_compared_again(
    store: SnapshotStore, source: FakeSource
) -> None:
    source.commit_client(client_state("acme", weights=GOOD))
    started(store)
    source.away.set()
    wait_until(lambda: store.database_away)
    assert store.client("acme").weights.authority == 0.4  # goes on from memory
    source.mute = True
    source.commit_client(client_state("acme", revision="2", weights=OTHER))
    source.away.clear()
    wait_until(lambda: store.client("acme").revision == "2")
    wait_until(lambda: not store.database_away)
    assert store.counts().reconnects == 1
    assert store.warnings() == ()


def test_what_cannot_be_built_leaves_the_last_good_one(
    store: SnapshotStore, source: FakeSource
) -> None:
    source.commit_client(client_state("acme", weights=GOOD))
    source.commit_client(client_state("fresh", weights={"authority": 1.0}))
    started(store)
    assert store.client("fresh").weights == DEFAULT_WEIGHTS
    broken = client_state(
        "acme",
        revision="2",
        weights=GOOD | {"risk": 0.9},
        weights_version="w2",
        timezone="Asia/Tokyo",
        model={"format": 99},
    )
    source.commit_client(broken)
    wait_until(lambda: store.client("acme").revision == "2")
    acme = store.client("acme")
    assert acme.weights.authority == 0.4
    assert acme.weights_record is not None
    assert acme.weights_record.version == "w1"
    assert acme.model is None
    assert acme.client.timezone == "Asia/Tokyo"  # the rest is taken over
    found = {(w.kind, w.client_id) for w in store.warnings()}
    assert found == {
        (WarningKind.WEIGHTS_REFUSED, "acme"),
        (WarningKind.MODEL_REFUSED, "acme"),
        (WarningKind.WEIGHTS_REFUSED, "fresh"),
    }
    source.commit_client(client_state("acme", revision="3", weights=OTHER))
    wait_until(lambda: store.client("acme").weights.risk == 0.3)
    assert {w.client_id for w in store.warnings()} == {"fresh"}


def test_an_unreadable_entry_opens_nothing_but_itself(
    store: SnapshotStore, source: FakeSource
) -> None:
    source.commit_client(client_state("acme"))
    source.commit_suppression("acme", ("shoe_size", "44"), (EMAIL, "gone@x.example"))  # type: ignore[arg-type]
    started(store)
    assert holds(store, "acme", "gone@x.example")
    assert [w.kind for w in store.warnings()] == [WarningKind.SUPPRESSION_REFUSED]


def test_a_writer_reads_what_it_wrote(store: SnapshotStore, source: FakeSource) -> None:
    started(store)
    source.mute = True
    source.commit_client(client_state("acme", weights=GOOD))
    store.reload_client("acme")
    assert store.client("acme").weights.authority == 0.4


def test_readers_never_see_half_a_swap(store: SnapshotStore, source: FakeSource) -> None:
    """Version, weights and zone of a client always belong together, whatever is going on."""
    variants = {
        "1": (GOOD, "Europe/Berlin"),
        "2": (OTHER, "Asia/Tokyo"),
    }
    states = {
        revision: client_state(
            "acme",
            revision=revision,
            weights=weights,
            weights_version=f"w{revision}",
            timezone=zone,
        )
        for revision, (weights, zone) in variants.items()
    }
    source.commit_client(states["1"])
    started(store)
    stop = threading.Event()
    torn: list[object] = []
    seen: set[str] = set()

    def read() -> None:
        while not stop.is_set():
            client = store.client("acme")
            weights, zone = variants[client.revision]
            seen.add(client.revision)
            record = client.weights_record
            if (
                client.weights.authority != weights["authority"]
                or client.client.timezone != zone
                or record is None
                or record.version != f"w{client.revision}"
            ):
                torn.append(client)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    generation = store.snapshot.generation
    for turn in range(60):
        source.commit_client(states["2" if turn % 2 == 0 else "1"])
        store.reload_client("acme")  # a second writer beside the listening thread
        time.sleep(0.0005)  # lets the readers run
        if turn % 10 == 0:
            source.commit_suppression("acme", (EMAIL, f"{turn}@x.example"))
    wait_until(lambda: store.snapshot.generation >= generation + 120)
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert seen == {"1", "2"}


# Patterns


def key(client_id: str = "acme", pattern_type: PatternType = PatternType.WHEN) -> PatternKey:
    return PatternKey(client_id, pattern_type)


def record(client_id: str = "acme", revision: str = "1", day: int = 1) -> PatternRecord:
    pattern = when_pattern(days={day: (20, 100)}, hours=dict.fromkeys(range(9, 17), (10, 100)))
    return pattern_record(pattern, PatternType.WHEN, client_id, revision=revision)


def best_day(store: SnapshotStore, client_id: str = "acme") -> int | None:
    found = store.pattern(key(client_id))
    if found is None or found.timing is None:
        return None
    return found.timing.channel(None).best_days[0].day_of_week


def test_a_missing_pattern_is_loaded_in_the_background(
    store: SnapshotStore, source: FakeSource
) -> None:
    source.commit_client(client_state("acme"))
    source.patterns[key()] = record()
    started(store)
    source.pattern_gate.clear()
    begin = time.monotonic()
    assert all(store.pattern(key()) is None for _ in range(100))
    assert time.monotonic() - begin < 0.5  # the store is stuck, the caller is not
    source.pattern_gate.set()
    wait_until(lambda: store.pattern(key()) is not None)
    assert best_day(store) == 1
    assert source.pattern_loads == [key()]  # a hundred misses, one load


def test_an_absent_pattern_is_asked_for_once(store: SnapshotStore, source: FakeSource) -> None:
    source.commit_client(client_state("acme"))
    started(store)
    wait_until(lambda: store.pattern(key()) is not None)
    for _ in range(50):
        found = store.pattern(key())
        assert found is not None
        assert found.record is None
    assert source.pattern_loads == [key()]
    source.commit_pattern(record(day=5))  # a first Learn
    wait_until(lambda: best_day(store) == 5)


def test_the_first_question_after_learning_is_answered_from_what_was_learned(
    store: SnapshotStore, source: FakeSource
) -> None:
    source.commit_client(client_state("acme"))
    source.commit_client(client_state("quiet"))
    source.patterns[key()] = record()
    started(store)
    wait_until(lambda: best_day(store) == 1)
    before = store.counts().patterns.misses
    source.commit_pattern(record(revision="2", day=4))
    source.commit_pattern(record("quiet", day=5))
    wait_until(lambda: best_day(store) == 4)
    wait_until(lambda: store.counts().patterns.resident == 6)  # three that answer, a client
    assert best_day(store, "quiet") == 5
    assert store.counts().patterns.misses == before


def test_a_full_cache_reloads_what_is_resident_and_loads_no_others(source: FakeSource) -> None:
    store = SnapshotStore(source, lambda: NOW, pattern_bytes=1)
    source.commit_client(client_state("acme"))
    source.commit_client(client_state("quiet"))
    source.patterns[key()] = record()
    started(store)
    try:
        wait_until(lambda: best_day(store) == 1)
        source.commit_pattern(record("quiet"))
        source.commit_pattern(record(revision="2", day=4))
        wait_until(lambda: best_day(store) == 4)
        assert {loaded.client_id for loaded in source.pattern_loads} == {"acme"}
    finally:
        store.stop()


def test_the_poll_finds_patterns_whose_notification_was_lost(source: FakeSource) -> None:
    store = SnapshotStore(source, lambda: NOW, poll_seconds=0.1)
    source.commit_client(client_state("acme"))
    source.patterns[key()] = record()
    started(store)
    try:
        wait_until(lambda: best_day(store) == 1)
        source.mute = True
        source.commit_pattern(record(revision="2", day=3))
        wait_until(lambda: best_day(store) == 3)
        assert best_day(store) == 3
    finally:
        store.stop()


@pytest.mark.parametrize(
    "content", [{"envelope": 7}, when_pattern().to_json() | {"sequence_gaps": None}]
)
def test_an_unreadable_pattern_keeps_the_last_good_one(
    store: SnapshotStore, source: FakeSource, content: Mapping[str, object]
) -> None:
    source.commit_client(client_state("acme"))
    source.patterns[key()] = record()
    started(store)
    wait_until(lambda: best_day(store) == 1)
    broken = PatternRecord(key=key(), revision="2", content=content, confidence=0.9)
    source.commit_pattern(broken)
    wait_until(lambda: bool(store.warnings()))
    assert best_day(store) == 1
    assert [(w.kind, w.subject) for w in store.warnings()] == [
        (WarningKind.PATTERN_REFUSED, "when")
    ]
    source.commit_pattern(record(revision="3", day=2))
    wait_until(lambda: best_day(store) == 2)
    wait_until(lambda: store.warnings() == ())


def test_a_late_answer_does_not_bring_back_what_was_replaced() -> None:
    read, go_on = threading.Event(), threading.Event()

    class SlowForSome(FakeSource):
        def load_patterns(self, keys: Sequence[PatternKey]) -> Mapping[PatternKey, PatternRecord]:
            found = super().load_patterns(keys)
            if threading.current_thread().name == "caller":
                read.set()
                assert go_on.wait(10)
            return found

    slow = SlowForSome()
    store = SnapshotStore(slow, lambda: NOW, poll_seconds=60.0)
    slow.commit_client(client_state("acme"))
    slow.patterns[key()] = record()
    started(store)
    try:
        caller = threading.Thread(target=store.load_pattern, args=(key(),), name="caller")
        slow.pattern_gate.clear()  # the background waits until the caller has read
        caller.start()
        wait_until(lambda: store.counts().patterns.misses == 1)
        slow.pattern_gate.set()
        assert read.wait(5)
        slow.commit_pattern(record(revision="2", day=4))
        wait_until(lambda: best_day(store) == 4)
        go_on.set()
        caller.join(5)
        assert best_day(store) == 4
    finally:
        go_on.set()
        store.stop()


def test_patterns_wanted_during_an_outage_come_after_it(
    store: SnapshotStore, source: FakeSource
) -> None:
    source.commit_client(client_state("acme"))
    source.patterns[key()] = record()
    started(store)
    source.away.set()
    assert store.pattern(key()) is None
    time.sleep(0.2)
    assert store.pattern(key()) is None
    source.away.clear()
    wait_until(lambda: best_day(store) == 1)


def test_the_cache_keeps_its_byte_bound_and_what_was_used_last(source: FakeSource) -> None:
    for number in range(40):
        source.patterns[key(f"c{number}")] = record(f"c{number}")
    one = resident_bytes(prepared(source.patterns[key("c0")]))
    bound = one * 10 + one // 2
    cache = PatternCache(source, HealthWarnings(lambda: NOW), max_bytes=bound)
    for number in range(10):
        cache.load(key(f"c{number}"))
    assert cache.counts().resident == 10
    assert cache.get(key("c0")) is not None  # used: now the youngest
    for number in range(10, 19):
        cache.load(key(f"c{number}"))
        assert cache.counts().resident_bytes <= bound
    counts = cache.counts()
    assert (counts.resident, counts.evictions) == (10, 9)
    assert cache.get(key("c0")) is not None
    assert cache.get(key("c1")) is None


def test_the_newest_pattern_is_held_whatever_the_bound(source: FakeSource) -> None:
    source.patterns[key("a")], source.patterns[key("b")] = record("a"), record("b")
    cache = PatternCache(source, HealthWarnings(lambda: NOW), max_bytes=0)
    cache.load(key("a"))
    cache.load(key("b"))
    assert cache.get(key("a")) is None
    assert cache.get(key("b")) is not None


def test_resident_bytes_count_shared_objects_once() -> None:
    text = "x" * 1000
    assert resident_bytes((text, text)) < resident_bytes((text, "y" * 1000))
    assert resident_bytes({"a": [text]}) > 1000


def test_a_deleted_client_takes_its_patterns_along(
    store: SnapshotStore, source: FakeSource
) -> None:
    source.commit_client(client_state("acme"))
    source.patterns[key()] = record()
    started(store)
    wait_until(lambda: best_day(store) == 1)
    source.delete_client("acme")
    wait_until(lambda: "acme" not in store.snapshot.clients)
    assert store.counts().patterns.resident_bytes == 0


def test_stop_is_quick_and_final(source: FakeSource) -> None:
    source.commit_client(client_state("acme"))
    store = started(SnapshotStore(source, lambda: NOW))
    begin = time.monotonic()
    store.stop()
    assert time.monotonic() - begin < 2.5
    assert store.client("acme").revision == "1"
    assert not [
        t for t in threading.enumerate() if t.name in ("snapshot-listener", "pattern-loader")
    ]


def test_warnings_count_and_close() -> None:
    times = iter(NOW + dt.timedelta(minutes=m) for m in range(9))
    health = HealthWarnings(lambda: next(times))
    health.record(WarningKind.WEIGHTS_REFUSED, "first", client_id="a")
    health.record(WarningKind.WEIGHTS_REFUSED, "second", client_id="a")
    health.record(WarningKind.DATABASE_AWAY, "gone")
    first, second = health.listed()
    assert (first.times, first.message, first.since) == (2, "second", NOW)
    assert second.client_id is None
    health.clear(WarningKind.DATABASE_AWAY)
    health.clear_client("a")
    assert health.listed() == ()
