"""What serving processes hold in memory, in the form in which it is read from the store.

Learned content is carried as the stored JSON, so that reading cannot fail on it: serving checks it
when it builds its snapshot, keeps the last good one where it does not hold, and says so. A client
that cannot be read is an `UnreadableClient`, so that it takes no other down with it.

A revision is a short text that differs whenever what it stands for differs; nothing else is ever
read into it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.lead import Lead
from cis_server.domain.rollout import RolloutShare
from cis_server.domain.suppression import IdentifierKind
from cis_server.domain.vocabulary import PatternStatus, PatternType, Source, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRecord:
    """Learned numbers that are live: promoted weights or a promoted propensity model."""

    version: str
    content: Mapping[str, Any]
    """Stored JSON: component name -> weight, or `PropensityModel.to_json`."""
    source: Source = Source.LEARNED
    """LEARNED or POOLED; LEARNED too for weights set by hand."""
    computed_at: dt.datetime | None
    valid_until: dt.datetime | None
    """None: until replaced."""
    sample_size: int
    confidence: float
    """0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingOut:
    """A version that serves a share of the leads, beside the live one."""

    record: LiveRecord
    share: RolloutShare


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsStanding:
    """What people are told of the weights in force; no score depends on it."""

    by_hand: bool = False
    """Whether the live weights were set by a person."""
    leads: int = 0
    """Leads the live weights were learned from; 0 for the defaults and weights set by hand."""
    converted: int = 0
    """Of those, the converted ones."""
    live_since: dt.datetime | None = None
    """None for the defaults."""
    previous_version: str | None = None
    """To which a rollback goes; None: the defaults."""
    learned: LiveRecord | None = None
    """The newest learned weights that nothing refused, when they are not in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientState:
    """One client without its suppression list and patterns."""

    revision: str
    """Of everything in here."""
    client: ClientRecord
    campaigns: tuple[CampaignRecord, ...] = ()
    """All that are not deleted."""
    weights: LiveRecord | None = None
    """None: the defaults are in force."""
    model: LiveRecord | None = None
    weights_rollout: RollingOut | None = None
    model_rollout: RollingOut | None = None
    weights_standing: WeightsStanding = WeightsStanding()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableClient:
    """A client whose stored profile, policy or campaigns are not what they must be."""

    client_id: str
    revision: str
    """Of everything the client's `ClientState` would hold."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionList:
    """Everything one client, or the global list, suppresses."""

    client_id: str | None
    """None: the global list."""
    revision: str
    """Empty for a list without entries."""
    identifiers: Iterable[tuple[IdentifierKind, str]]
    """In any order and spelling, repeated ones allowed; read once. Serving keeps keyed hashes."""


class PatternKey(NamedTuple):
    """Names one pattern."""

    client_id: str
    type: PatternType


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternRecord:
    """One active pattern as stored, with how its type's last run ended."""

    key: PatternKey
    revision: str
    """Of pattern and run status together."""
    version: str = ""
    content: Mapping[str, Any] | None
    """Stored JSON; None when no run of this type ever succeeded."""
    source: Source = Source.LEARNED
    computed_at: dt.datetime | None = None
    valid_until: dt.datetime | None = None
    sample_size: int = 0
    confidence: float = 0.0
    run_status: PatternStatus | None = None
    """Of the last run; None when there was none."""
    run_reason: str = ""
    run_id: str = ""
    run_at: dt.datetime | None = None
    """When the last run ended."""
    run_sample_size: int = 0
    """Units the last run had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """What one client's state is at; serving compares it with what it holds."""

    state: str
    suppression: str
    """Empty for a list without entries."""
    patterns: Mapping[PatternType, str] = field(default_factory=dict)
    """Types that have a pattern or a run status; a missing one has neither."""


class ChangeKind(StrEnum):
    """What a notification says has changed."""

    CLIENT = "client"
    """Client record, campaigns, weights or model; a client deleted or made too."""
    SUPPRESSION = "suppression"
    PATTERNS = "patterns"


class Change(NamedTuple):
    """One committed change."""

    kind: ChangeKind
    client_id: str | None
    """None: the global suppression list."""


class StoredTouch(NamedTuple):
    """An outbound touch that was sent; thousands are read with the leads of one call."""

    channel: str
    sent_at: dt.datetime
    campaign_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLead:
    """A stored lead and what was already sent to it."""

    lead: Lead
    campaign_id: str | None = None
    campaign_described: bool = True
    """Leads may be stored with a campaign that was never described: it has touches, no settings."""
    score: int | None = None
    tier: Tier | None = None
    """Effective tier of the last scoring; None when never scored."""
    touches: tuple[StoredTouch, ...] = ()
    """Of all campaigns, in order."""

    @property
    def described_campaign_id(self) -> str | None:
        """The lead's campaign, when it has settings."""
        return self.campaign_id if self.campaign_described else None

    @property
    def last_contact_at(self) -> dt.datetime | None:
        """When the lead was last contacted, in any campaign."""
        return self.touches[-1].sent_at if self.touches else None

    def touches_of(self, campaign_id: str | None) -> tuple[StoredTouch, ...]:
        """The touches of a campaign, in order: numbers and gaps are learned within one.

        Args:
            campaign_id: None: the lead's own. Where it has none either, all touches count.
        """
        campaign = campaign_id or self.campaign_id
        if campaign is None:
            return self.touches
        # A touch that names no campaign was one of the lead's own.
        return tuple(t for t in self.touches if (t.campaign_id or self.campaign_id) == campaign)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionOption:
    """One thing that could have been chosen."""

    choice: str
    """A channel, channels joined by commas, or the UTC start of a window as ISO text.

    Of a window under way it is the start of the whole window, which a rerun names again."""
    propensity: float
    best: bool = False
    """Whether it would have been taken without exploration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One choice made under exploration, for judging policies by inverse propensity."""

    decision_id: str
    client_id: str
    lead_id: str | None
    kind: str
    """``timing``, ``channel`` or ``sequence``."""
    decided_at: dt.datetime
    choice: str
    propensity: float
    options: tuple[DecisionOption, ...]
    """Every option with its propensity, the chosen one too; they add to 1."""
    context: Mapping[str, str]
    """What it was made under: tier, channel, touch_number, campaign_id; no personal data."""
    model_version: str
