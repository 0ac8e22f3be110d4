"""Answers as bytes say what the messages say, and never outlive what they rest on."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cis_client.v1 import core_pb2
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_server.domain.clients import ClientPolicy, ClientRecord
from cis_server.domain.live_state import (
    ClientState,
    DecisionRecord,
    PatternKey,
    PatternRecord,
    Revisions,
    SuppressionList,
)
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.vocabulary import PatternType, Source, Tier
from cis_server.errors import NotFound, StoreUnavailable
from cis_server.rpc.messages.recommendations import channels_message, timing_message
from cis_server.rpc.messages.standing_answers import ChannelsBytes, TimingBytes
from cis_server.rpc.recalled import Recalled, RequestMemory
from cis_server.rpc.services.recommendations import RecommendationService
from cis_server.serving.advisor import Advisor
from cis_server.serving.channel_plan import DEFAULT_CHANNELS
from cis_server.serving.channels import ChannelsRequest
from cis_server.serving.decisions import DecisionLog
from cis_server.serving.draws import SeededDraws
from cis_server.serving.footing import Footing
from cis_server.serving.standing_channels import standing_channels
from cis_server.serving.standing_timing import standing_timing
from cis_server.serving.store import SnapshotStore
from cis_server.serving.timing import TimingRequest
from cis_server.serving.timing_plan import DEFAULT_TIMING

MONDAY = dt.datetime(2026, 3, 2, 8, 0, tzinfo=dt.UTC)
FOOTING = Footing(
    PatternKey("acme", PatternType.WHEN), ClientRecord(client_id="acme"), {}, None, False
)
MODEL = ModelInfo(
    model_version="7",
    source=Source.BLENDED,
    computed_at=MONDAY,
    valid_until=MONDAY + dt.timedelta(days=400),
    sample_size=900,
    confidence=0.6,
)


@settings(max_examples=120, deadline=None)
@given(
    minutes=st.integers(0, 14 * 24 * 60),
    micros=st.integers(0, 999_999),
    zone=st.sampled_from(["Australia/Sydney", "America/New_York", "Europe/Berlin"]),
    channel=st.sampled_from([None, "email", "voice"]),
    touch=st.sampled_from([None, 1, 3]),
    count=st.integers(1, 13),
    share=st.floats(0.0, 0.999),
)
def test_timing_bytes_read_as_the_message(
    minutes: int,
    micros: int,
    zone: str,
    channel: str | None,
    touch: int | None,
    count: int,
    share: float,
) -> None:
    now = MONDAY + dt.timedelta(minutes=minutes, microseconds=micros)
    request = TimingRequest(
        client_id="acme", timezone=zone, channel=channel, touch_number=touch, count=count
    )
    standing = standing_timing(DEFAULT_TIMING, request, FOOTING.client, None, MODEL, now)
    if standing is None:
        return
    kept = TimingBytes.of(standing, FOOTING)
    later = now + (standing.moments.until - now) * share
    raw = kept.at(standing.moments.at(later, SeededDraws("s")))
    told = recommendation.GetTimingResponse.FromString(raw)
    assert told == timing_message(standing.as_of(later, SeededDraws("s")))
    # As bytes are merged when read, reading alone would not show a field that stands twice.
    assert len(raw) == told.ByteSize()


@settings(max_examples=60, deadline=None)
@given(
    tier=st.sampled_from([None, *Tier]),
    used=st.lists(st.sampled_from(["email", "voice", "sms"]), max_size=3),
    exploration=st.sampled_from([0.0, 0.5]),
    seed=st.text(max_size=3),
)
def test_channel_bytes_read_as_the_message(
    tier: Tier | None, used: list[str], exploration: float, seed: str
) -> None:
    request = ChannelsRequest(client_id="acme", tier=tier, used_channels=tuple(used))
    policy = ClientPolicy(exploration_share=exploration)
    standing = standing_channels(DEFAULT_CHANNELS, request, policy, None, MODEL, MONDAY)
    assert standing is not None
    raw = ChannelsBytes.of(standing, FOOTING).at(standing.moments.at(MONDAY, SeededDraws(seed)))
    told = recommendation.GetChannelsResponse.FromString(raw)
    answer, _ = standing.as_of(MONDAY, SeededDraws(seed))
    assert told == channels_message(answer)
    assert len(raw) == told.ByteSize()


class State:
    """What the store reads, in memory."""

    def __init__(self) -> None:
        self.state: ClientState | None = state()
        self.patterns: dict[PatternKey, PatternRecord] = {}

    def load_clients(self) -> list[ClientState]:
        return [self.state] if self.state else []

    def load_client(self, _: str) -> ClientState | None:
        return self.state

    def load_suppressions(self) -> list[SuppressionList]:
        return []

    def load_suppression(self, client_id: str | None) -> SuppressionList:
        return SuppressionList(client_id=client_id, revision="", identifiers=())

    def load_patterns(self, keys: Any) -> dict[PatternKey, PatternRecord]:
        return {key: self.patterns[key] for key in keys if key in self.patterns}

    def load_revisions(self) -> dict[str | None, Revisions]:
        return {}

    def listen(self) -> None:
        raise StoreUnavailable("changes are brought by hand")

    def wait_for_changes(self, _: float) -> list[Any]:
        return []

    def close(self) -> None:
        pass


class Sink:
    def __init__(self) -> None:
        self.records: list[DecisionRecord] = []

    def write_decisions(self, records: Any) -> None:
        self.records += records


def state(exploration: float = 0.0, timezone: str = "Europe/Berlin") -> ClientState:
    policy = ClientPolicy(exploration_share=exploration)
    return ClientState(
        revision="1",
        client=ClientRecord(client_id="acme", timezone=timezone, policy=policy),
    )


class Serving:
    """A service over a store whose changes are brought by hand."""

    def __init__(self) -> None:
        self.now = MONDAY
        self.source, self.sink = State(), Sink()
        self.store = SnapshotStore(self.source, lambda: self.now)
        self.store._load_all()
        self.log = DecisionLog(self.sink, self.store.health)
        advisor = Advisor(self.store, None, self.log, lambda: self.now)  # type: ignore[arg-type]
        self.service = RecommendationService(advisor, store_seconds=0.2)
        for kind in (PatternType.WHEN, PatternType.HOW):
            self.store.load_pattern(PatternKey("acme", kind))

    def recalled(self, request: Any) -> Any:
        """The answer found by the request's bytes, or None."""
        name = (
            "GetTiming" if isinstance(request, recommendation.GetTimingRequest) else "GetChannels"
        )
        recall = self.service.recalls[f"/cis.v1.RecommendationService/{name}"]
        found = recall(request.SerializeToString())
        if found is None:
            return None
        assert isinstance(found, Recalled)
        assert found.client_id == "acme"
        response = getattr(recommendation, f"{name}Response")
        return response.FromString(found.answer)


TIMING = recommendation.GetTimingRequest(client_id="acme", channel="email")
CHANNELS = recommendation.GetChannelsRequest(client_id="acme", tier=core_pb2.TIER_HOT)


@pytest.fixture
def serving() -> Iterator[Serving]:
    made = Serving()
    made.service.GetTiming(TIMING, None)  # type: ignore[arg-type]
    made.service.GetChannels(CHANNELS, None)  # type: ignore[arg-type]
    yield made
    made.store.stop()


def test_equal_requests_are_found_by_their_bytes(serving: Serving) -> None:
    first, second = serving.recalled(TIMING), serving.recalled(TIMING)
    assert first.windows == second.windows
    assert first.decision_id != second.decision_id
    assert first.timezone == "Europe/Berlin"
    assert serving.recalled(CHANNELS).next_channel
    other = recommendation.GetTimingRequest(client_id="acme", channel="voice")
    assert serving.recalled(other) is None


def test_another_client_record_is_another_answer(serving: Serving) -> None:
    serving.source.state = state(timezone="Asia/Tokyo")
    serving.store.reload_client("acme")
    assert serving.recalled(TIMING) is None
    assert serving.recalled(CHANNELS) is None
    raw = serving.service.GetTiming(TIMING, None)  # type: ignore[arg-type]
    assert recommendation.GetTimingResponse.FromString(raw).timezone == "Asia/Tokyo"
    assert serving.recalled(TIMING).timezone == "Asia/Tokyo"


def test_a_client_that_is_gone_has_no_answers(serving: Serving) -> None:
    serving.source.state = None
    serving.store.reload_client("acme")
    assert serving.recalled(TIMING) is None
    with pytest.raises(NotFound):
        serving.service.GetTiming(TIMING, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [PatternType.WHEN, PatternType.HOW])
def test_a_new_pattern_is_a_new_answer(serving: Serving, kind: PatternType) -> None:
    key = PatternKey("acme", kind)
    serving.source.patterns[key] = PatternRecord(
        key=key, revision="2", version="v2", content=None, computed_at=MONDAY,
        valid_until=MONDAY + dt.timedelta(minutes=30), sample_size=900, confidence=0.9,
    )  # fmt: skip
    serving.store._patterns.load(key)
    request = TIMING if kind is PatternType.WHEN else CHANNELS
    assert serving.recalled(request) is None
    call = serving.service.GetTiming if kind is PatternType.WHEN else serving.service.GetChannels
    call(request, None)  # type: ignore[arg-type]
    assert serving.recalled(request).model.model_version == "v2"
    assert not serving.recalled(request).model.stale
    serving.now += dt.timedelta(minutes=30)
    assert serving.recalled(request) is None  # it has run out meanwhile


def test_an_answer_given_with_the_database_there_is_not_given_without(serving: Serving) -> None:
    serving.store._set_away("away")
    assert serving.recalled(TIMING) is None
    assert serving.recalled(CHANNELS) is None
    serving.store._set_away(None)
    assert serving.recalled(TIMING) is not None


def test_explored_channels_are_drawn_and_logged_at_every_call(serving: Serving) -> None:
    serving.source.state = state(exploration=1.0)
    serving.store.reload_client("acme")
    serving.service.GetChannels(CHANNELS, None)  # type: ignore[arg-type]
    answers = [serving.recalled(CHANNELS) for _ in range(60)]
    serving.log.flush()
    assert len({answer.next_channel for answer in answers}) > 1
    logged = {record.decision_id: record for record in serving.sink.records}
    for answer in answers:
        record = logged[answer.decision_id]
        assert (record.choice, record.propensity) == (answer.next_channel, answer.propensity)
        assert record.decided_at == MONDAY
    serving.service.GetTiming(TIMING, None)  # type: ignore[arg-type]
    assert serving.recalled(TIMING) is None  # drawn from windows whose odds follow the clock


def test_the_memory_of_requests_is_bounded() -> None:
    class Kept:
        def __init__(self, size: int) -> None:
            self.size = size

    memory = RequestMemory[Kept](100)
    for number in range(10):
        memory.keep(b"%d" % number, Kept(19))
    assert [memory.get(b"%d" % n) is not None for n in range(10)] == [False] * 5 + [True] * 5
    assert (len(memory), memory.held_bytes) == (5, 100)
    replaced = Kept(9)
    memory.keep(b"9", replaced)
    assert memory.get(b"9") is replaced
    assert memory.held_bytes == 90
    memory.keep(b"9", Kept(1000))
    assert memory.get(b"9") is None
    assert memory.held_bytes == 80


def test_the_size_of_what_is_kept_is_not_understated() -> None:
    request = TimingRequest(client_id="acme", channel="email")
    kept: list[TimingBytes] = []
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for minute in range(200):
            model = replace(MODEL, model_version=str(minute))
            standing = standing_timing(DEFAULT_TIMING, request, FOOTING.client, None, model, MONDAY)
            assert standing is not None
            kept.append(TimingBytes.of(standing, FOOTING))
            del standing
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= sum(each.size for each in kept)
