"""In-memory implementations of serving's ports, and builders of what they serve."""

from __future__ import annotations

import datetime as dt
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from cis_server.domain.clients import CampaignRecord, ClientPolicy, ClientRecord
from cis_server.domain.clock_rates import DayRate, HourRate
from cis_server.domain.envelope import Envelope
from cis_server.domain.live_state import (
    Change,
    ChangeKind,
    ClientState,
    DecisionRecord,
    LiveRecord,
    PatternKey,
    PatternRecord,
    Revisions,
    StoredLead,
    SuppressionList,
)
from cis_server.domain.patterns import (
    ChannelTiming,
    FirstTouch,
    HowPattern,
    MultiChannelLift,
    PrecisionCoverage,
    SequenceGap,
    SequencePatterns,
    SequenceRate,
    TouchHazard,
    Transition,
    WeekSurface,
    WhenPattern,
)
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.stored import Stored
from cis_server.domain.suppression import IdentifierKind
from cis_server.domain.vocabulary import PatternType, Source, Verdict
from cis_server.errors import StoreUnavailable

NOW = dt.datetime(2026, 3, 2, 8, 0, tzinfo=dt.UTC)  # a Monday
DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for other threads; fail when the time is over."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


class FakeSource:
    """A `SnapshotSource` over dictionaries; `commit_*` change them and notify."""

    def __init__(self) -> None:
        self.states: dict[str, ClientState] = {}
        self.lists: dict[str | None, tuple[tuple[IdentifierKind, str], ...]] = {}
        self.patterns: dict[PatternKey, PatternRecord] = {}
        self.away = threading.Event()
        self.mute = False
        """Notifications are lost while set."""
        self.pattern_gate = threading.Event()
        self.pattern_gate.set()
        self.pattern_loads: list[PatternKey] = []
        self.listened = 0
        self._versions: dict[str | None, int] = {}
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()

    def commit_client(self, state: ClientState) -> None:
        self.states[state.client.client_id] = state
        self._notify(Change(ChangeKind.CLIENT, state.client.client_id))

    def delete_client(self, client_id: str) -> None:
        del self.states[client_id]
        self._notify(Change(ChangeKind.CLIENT, client_id))

    def commit_suppression(
        self, client_id: str | None, *entries: tuple[IdentifierKind, str]
    ) -> None:
        self.lists[client_id] = entries
        self._versions[client_id] = self._versions.get(client_id, 0) + 1
        self._notify(Change(ChangeKind.SUPPRESSION, client_id))

    def commit_pattern(self, record: PatternRecord) -> None:
        self.patterns[record.key] = record
        self._notify(Change(ChangeKind.PATTERNS, record.key.client_id))

    def load_clients(self) -> Iterable[ClientState]:
        self._check()
        return list(self.states.values())

    def load_client(self, client_id: str) -> ClientState | None:
        self._check()
        return self.states.get(client_id)

    def load_suppressions(self) -> Iterable[SuppressionList]:
        self._check()
        return [self._list(client_id) for client_id in self.lists]

    def load_suppression(self, client_id: str | None) -> SuppressionList:
        self._check()
        return self._list(client_id)

    def load_patterns(self, keys: Sequence[PatternKey]) -> Mapping[PatternKey, PatternRecord]:
        assert self.pattern_gate.wait(10)
        self._check()
        self.pattern_loads += keys
        return {key: self.patterns[key] for key in keys if key in self.patterns}

    def load_revisions(self) -> Mapping[str | None, Revisions]:
        self._check()
        revisions: dict[str | None, Revisions] = {
            client_id: Revisions(
                state=state.revision,
                suppression=self._list(client_id).revision,
                patterns={
                    key.type: record.revision
                    for key, record in self.patterns.items()
                    if key.client_id == client_id
                },
            )
            for client_id, state in self.states.items()
        }
        revisions[None] = Revisions(state="", suppression=self._list(None).revision)
        return revisions

    def listen(self) -> None:
        self._check()
        self.listened += 1

    def wait_for_changes(self, timeout_seconds: float) -> Sequence[Change]:
        end = time.monotonic() + timeout_seconds
        while (remaining := end - time.monotonic()) > 0:
            self._check()
            try:
                return [self._changes.get(timeout=min(remaining, 0.02))]
            except queue.Empty:
                continue
        return []

    def close(self) -> None:
        pass

    def _list(self, client_id: str | None) -> SuppressionList:
        entries = self.lists.get(client_id, ())
        revision = str(self._versions[client_id]) if entries else ""
        return SuppressionList(client_id=client_id, revision=revision, identifiers=iter(entries))

    def _notify(self, change: Change) -> None:
        if not self.mute:
            self._changes.put(change)

    def _check(self) -> None:
        if self.away.is_set():
            raise StoreUnavailable("the fake database is away")


class FakeLeads:
    """A `LeadReader` over a dictionary."""

    def __init__(self, *leads: StoredLead) -> None:
        self.leads = {stored.lead.lead_id: stored for stored in leads}
        self.timeouts: list[float] = []

    def read_leads(
        self, client_id: str, lead_ids: Sequence[str], timeout_seconds: float
    ) -> Mapping[str, StoredLead]:
        assert client_id
        self.timeouts.append(timeout_seconds)
        return {lead_id: self.leads[lead_id] for lead_id in lead_ids if lead_id in self.leads}


class FakeSink:
    """A `DecisionSink` that keeps what it is given."""

    def __init__(self) -> None:
        self.written: list[DecisionRecord] = []
        self.away = threading.Event()
        self.refuse = False

    def write_decisions(self, records: Sequence[DecisionRecord]) -> None:
        if self.away.is_set():
            raise StoreUnavailable("away")
        if self.refuse:
            raise ValueError("not storable")
        self.written += records


def client_state(
    client_id: str = "acme",
    *,
    revision: str = "1",
    weights: Mapping[str, object] | None = None,
    weights_version: str = "w1",
    weights_until: dt.datetime | None = None,
    exploration: float = 0.0,
    timezone: str = "Europe/Berlin",
    campaigns: tuple[CampaignRecord, ...] = (),
    model: Mapping[str, object] | None = None,
) -> ClientState:
    return ClientState(
        revision=revision,
        client=ClientRecord(
            client_id=client_id,
            timezone=timezone,
            policy=ClientPolicy(exploration_share=exploration),
        ),
        campaigns=campaigns,
        weights=None if weights is None else live(weights, weights_version, weights_until),
        model=None if model is None else live(model, "m1", None),
    )


def live(content: Mapping[str, object], version: str, until: dt.datetime | None) -> LiveRecord:
    return LiveRecord(
        version=version,
        content=content,
        computed_at=NOW,
        valid_until=until,
        sample_size=400,
        confidence=0.8,
    )


def rate(k: int, n: int) -> RateEstimate:
    """A rate with a normal 90 % interval; good enough where only its order matters."""
    mean = (k + 1) / (n + 20)
    spread = 1.645 * (mean * (1 - mean) / (n + 21)) ** 0.5
    return RateEstimate(
        rate=k / n if n else None,
        adjusted_rate=mean,
        low=max(0.0, mean - spread),
        high=min(1.0, mean + spread),
        sample=n,
        converted=k,
    )


def segment(value: str, k: int, n: int, verdict: Verdict = Verdict.UNDECIDED) -> SegmentRate:
    return SegmentRate(value=value, estimate=rate(k, n), verdict=verdict)


def envelope(pattern_type: PatternType, confidence: float, baseline: float) -> Envelope:
    return Envelope(
        type=pattern_type,
        as_of=NOW,
        window_start=NOW - dt.timedelta(days=90),
        window_end=NOW,
        method="test",
        sample_size=1000,
        n_converted=80,
        unit="touch",
        baseline_conversion_rate=baseline,
        confidence=confidence,
    )


def when_pattern(
    *,
    days: Mapping[int, tuple[int, int]] | None = None,
    hours: Mapping[int, tuple[int, int]] | None = None,
    surface: WeekSurface | None = None,
    by_channel: tuple[ChannelTiming, ...] = (),
    gaps: tuple[SequenceGap, ...] = (),
    confidence: float = 0.9,
    winning_days: frozenset[int] = frozenset(),
) -> WhenPattern:
    """Days and hours as {value: (converted, sent)}."""
    return WhenPattern(
        envelope=envelope(PatternType.WHEN, confidence, 0.08),
        best_days=day_rates(days or {}, winning_days),
        best_hours=hour_rates(hours or {}),
        surface=surface,
        by_channel=by_channel,
        converting_touch_distribution={"touch_1": 0.5, "touch_2": 0.4, "touch_10_plus": 0.1},
        peak_converting_touch=1,
        avg_touches_to_convert=1.7,
        touch_hazard=(
            TouchHazard(
                touch_number=1,
                at_risk=1000,
                converted=40,
                hazard=rate(40, 1000),
                marginal_value=0.04,
                marginal_low=0.03,
                marginal_high=0.05,
            ),
        ),
        optimal_sequence_gaps={},
        sequence_gaps=gaps,
        engagement_timing=None,
        timezone_insights=None,
        conversion_timing=None,
        coverage=PrecisionCoverage(hour=1.0, weekday=1.0, gap=1.0, timezone=1.0),
    )


def day_rates(
    days: Mapping[int, tuple[int, int]], winning: frozenset[int] = frozenset()
) -> tuple[DayRate, ...]:
    def rated(day: int, k: int, n: int) -> DayRate:
        name = DAY_NAMES[day - 1]
        verdict = Verdict.WINNING if day in winning else Verdict.UNDECIDED
        return DayRate(day=name, day_of_week=day, segment=segment(name, k, n, verdict))

    found = [rated(day, k, n) for day, (k, n) in days.items()]
    return tuple(sorted(found, key=lambda d: -d.segment.estimate.low))


def hour_rates(hours: Mapping[int, tuple[int, int]]) -> tuple[HourRate, ...]:
    found = [HourRate(hour=h, segment=segment(str(h), k, n)) for h, (k, n) in hours.items()]
    return tuple(sorted(found, key=lambda h: -h.segment.estimate.low))


def how_pattern(
    *,
    overall: tuple[SegmentRate, ...] = (),
    tiers: Mapping[str, tuple[SegmentRate, ...]] | None = None,
    best_first: str | None = None,
    winning: tuple[SequenceRate, ...] = (),
    others: tuple[SequenceRate, ...] = (),
    multi: MultiChannelLift | None = None,
    transitions: tuple[Transition, ...] = (),
    confidence: float = 0.9,
) -> HowPattern:
    return HowPattern(
        envelope=envelope(PatternType.HOW, confidence, 0.08),
        channel_effectiveness=overall,
        touch_effectiveness=(),
        first_touch_effectiveness=FirstTouch(rates=(), best_first_channel=best_first),
        sequence_patterns=SequencePatterns(
            winning_sequences=winning, sequences=others, three_channel=()
        ),
        tier_channel_effectiveness=dict(tiers or {}),
        multi_channel_lift=multi,
        email_engagement_correlation=None,
        channel_conversation_quality={},
        booking_channel_distribution={},
        channel_transitions=transitions,
        attribution=None,
    )


def sequence(k: int, n: int, *channels: str, verdict: Verdict = Verdict.WINNING) -> SequenceRate:
    text = "→".join(channels)
    return SequenceRate(channels=channels, sequence=text, segment=segment(text, k, n, verdict))


def pattern_record(
    pattern: Stored,
    pattern_type: PatternType,
    client_id: str = "acme",
    *,
    revision: str = "1",
    confidence: float = 0.9,
    until: dt.datetime | None = NOW + dt.timedelta(days=14),
) -> PatternRecord:
    return PatternRecord(
        key=PatternKey(client_id, pattern_type),
        revision=revision,
        version=f"{pattern_type}-{revision}",
        content=pattern.to_json(),
        source=Source.LEARNED,
        computed_at=NOW - dt.timedelta(days=1),
        valid_until=until,
        sample_size=1000,
        confidence=confidence,
    )
