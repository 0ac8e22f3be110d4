"""Scoring a client's stored active leads again: what is asked, how far it is, what it changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cis_server.domain.model_info import ModelInfo
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import LeadStatus, RunState, Source, Tier

ACTIVE_STATUSES: Final = (
    LeadStatus.NEW,
    LeadStatus.ENRICHED,
    LeadStatus.SCORED,
    LeadStatus.IN_SEQUENCE,
)
"""Leads that outreach may still work on: neither converted nor given up."""

TierMoves = Mapping[tuple[Tier | None, Tier], int]
"""(tier before, tier after) -> leads; None before: never scored. Those that stayed are in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RescoreOptions:
    """What a rescoring is asked to do."""

    campaign_id: str | None = None
    """Only leads of this campaign; None: all."""
    as_of: dt.datetime | None = None
    """The moment whose knowledge counts; None: the time of the work."""
    reason: str = ""
    """Why it was asked for, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredBy(Stored):
    """What told the new scores, as stored with the run."""

    key: str = ""
    """Versions of weights and propensity model together; other scores come with another key."""
    version: str = ""
    """Of the weights; empty for the defaults."""
    source: Source = Source.DEFAULT
    computed_at: dt.datetime | None = None
    valid_until: dt.datetime | None = None
    sample_size: int = 0
    confidence: float = 0.0
    stale: bool = False

    @classmethod
    def of(cls, info: ModelInfo, probability_version: str) -> ScoredBy:
        """The stored form.

        Args:
            info: of the weights.
            probability_version: of the propensity model; empty without one.
        """
        return cls(
            key=f"{info.model_version or 'defaults'}+{probability_version or 'none'}",
            version=info.model_version,
            source=info.source,
            computed_at=info.computed_at,
            valid_until=info.valid_until,
            sample_size=info.sample_size,
            confidence=info.confidence,
            stale=info.stale,
        )

    @property
    def info(self) -> ModelInfo:
        """As answers carry it."""
        return ModelInfo(
            model_version=self.version,
            source=self.source,
            computed_at=self.computed_at,
            valid_until=self.valid_until,
            sample_size=self.sample_size,
            confidence=self.confidence,
            stale=self.stale,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RescoringRun:
    """A rescoring as stored."""

    client_id: str
    run_id: str
    state: RunState
    options: RescoreOptions = field(default_factory=RescoreOptions)
    total: int | None = None
    """Leads to score; None until they are counted."""
    scored: int = 0
    failed: int = 0
    moves: TierMoves = field(default_factory=dict)
    scored_by: ScoredBy | None = None
    """None until the first leads were scored."""
    message: str = ""
    attempts: int = 0
    requested_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in (RunState.SUCCEEDED, RunState.FAILED)

    @property
    def fraction(self) -> float:
        """Share done, 0..1."""
        if self.state is RunState.SUCCEEDED:
            return 1.0
        return min(1.0, (self.scored + self.failed) / self.total) if self.total else 0.0

    @property
    def tier_counts(self) -> dict[Tier, int]:
        """Leads per tier after; every tier is there."""
        counts = dict.fromkeys(Tier, 0)
        for (_, after), count in self.moves.items():
            counts[after] += count
        return counts
