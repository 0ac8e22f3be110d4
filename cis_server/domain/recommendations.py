"""Proposals to people: what to change or to test, why, and what is expected of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum

from cis_server.domain.experiments import PowerPlan
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType


class RecommendationKind(StrEnum):
    """What is proposed."""

    PROMPT_EDIT = "prompt_edit"
    """Another wording."""
    STEP_ORDER = "step_order"
    """Other steps, channels or their order."""
    GAP = "gap"
    """Other waiting times between touches."""
    EXPERIMENT = "experiment"


class EvidenceBasis(StrEnum):
    """What the evidence is."""

    ASSOCIATION = "association"
    """Seen together in past outreach; may have another cause."""
    EXPERIMENT = "experiment"
    """Found by a randomised experiment."""


class RecommendationState(StrEnum):
    """Where a proposal stands."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    """A later run no longer proposes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Stored):
    """The comparison behind a proposal, as the pattern has it."""

    pattern: PatternType
    key: str
    """Block of the pattern."""
    value: str
    """Element looked at."""
    unit: str
    """``touches`` or ``leads``."""
    sample: int
    converted: int
    rate: float
    """Adjusted."""
    low: float
    high: float
    other_rate: float
    """Adjusted rate of everything else it is compared with."""
    other_sample: int
    q_value: float | None = None
    """None in experiments, which control their errors themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation(Stored):
    """One proposal."""

    recommendation_id: str
    """UUID made of the client, the kind and what it is about: a later run that proposes the same
    finds it again."""
    kind: RecommendationKind
    title: str
    text: str
    basis: EvidenceBasis
    evidence: Evidence
    evidence_text: str
    expected: float
    """Extra conversions in 30 days at the volume of the last 30, this one change alone."""
    low: float
    """Ends of its 90 % interval."""
    high: float
    element: dict[str, str] = field(default_factory=dict)
    power_plan: PowerPlan | None = None
    """Of an experiment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecommendation:
    """A proposal as stored."""

    client_id: str
    recommendation: Recommendation
    state: RecommendationState
    run_id: str
    created_at: dt.datetime
    decided_by: str = ""
    decided_at: dt.datetime | None = None
    decision_reason: str = ""
