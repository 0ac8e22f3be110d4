"""Stored scores in rank order."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from cis_server.domain.lead import Lead
from cis_server.domain.scores import Components, ConversionProbability
from cis_server.domain.vocabulary import Source, Tier
from cis_server.domain.weights import Weights


class LeadOrder(StrEnum):
    """By what leads are ranked."""

    SCORE = "score"
    """Highest score first, ties by lead id."""
    CONVERSION_PROBABILITY = "conversion_probability"
    """Highest probability first; leads without one come last; ties by score, then lead id."""


class RankKey(NamedTuple):
    """Where a lead stands; the page after it begins right behind."""

    probability: float
    """-1 without one."""
    score: int
    lead_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFilter:
    """Which leads are ranked, and how."""

    order: LeadOrder = LeadOrder.SCORE
    tiers: frozenset[Tier] = frozenset()
    """Only leads whose score lies in these tiers; empty: all."""
    campaign_id: str | None = None
    """Only leads of this campaign; None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScore:
    """A lead with its score as of the last scoring."""

    lead: Lead
    campaign_id: str | None
    score: int
    """0..100."""
    components: Components | None
    """None: another program stored the score without them."""
    weights: Weights | None
    """Used for the score; None as above."""
    weights_source: Source
    weights_version: str
    """Empty for the defaults."""
    probability: ConversionProbability | None
    probability_version: str
    """Empty without a probability."""
    scored_at: dt.datetime | None

    @property
    def key(self) -> RankKey:
        """Where the lead stands."""
        chance = -1.0 if self.probability is None else self.probability.probability
        return RankKey(chance, self.score, self.lead.lead_id)
