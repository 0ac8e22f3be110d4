"""What a learning run starts from and what it hands over to be stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.pooling import Contribution
from cis_server.domain.recommendations import Recommendation
from cis_server.domain.runs import LearnOptions, RunResult
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType
from cis_server.domain.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePropensity:
    """A propensity model that is live when a run begins."""

    content: Mapping[str, Any]
    """As stored."""
    origin: str = "learned"
    """``learned`` or ``pooled``."""
    seen_until: dt.datetime | None = None
    """First contact of the latest lead it can have learned from; None: none of the client's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningState:
    """What is in force when a run begins."""

    client: ClientRecord
    campaigns: Mapping[str, CampaignRecord] = field(default_factory=dict)
    """By id."""
    live_weights: Weights | None = None
    """None: the defaults are in force."""
    weights_by_hand: bool = False
    """Whether the live weights were set by a person."""
    promotions: int = 0
    """Learned sets of weights that went live before."""
    live_propensity: Mapping[str, LivePropensity] = field(default_factory=dict)
    """By target."""
    pools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Target -> what other clients say, `PooledPrior.to_json`; empty without consent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs(Stored):
    """Everything a run started from but its data: with those, it can be made again."""

    client_id: str
    run_id: str
    dataset_hash: str
    """Content hash of the data."""
    options: LearnOptions
    state: LearningState
    settings: Mapping[str, Any]
    """Thresholds of the detectors by name."""
    code_version: str
    libraries: Mapping[str, str]
    """Name -> version."""
    arithmetic: str = ""
    """Linear algebra in use and the kind of processor it computes for, which decide the last digits
    of sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether something learned goes live."""

    live: bool
    forced: bool = False
    """Only because it was forced."""
    refused: bool = False
    """A gate refused it, and it does not go live."""
    reason: str
    """In words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedPattern:
    """A pattern to store."""

    type: PatternType
    content: Mapping[str, Any]
    """JSON values, without any time of the clock."""
    sample_size: int
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedModel:
    """Weights or a propensity model to store, live or not."""

    kind: str
    """``weights`` or ``propensity``."""
    target: str = ""
    """Of a propensity model; empty for weights."""
    origin: str = "learned"
    """``learned``, or ``pooled`` for what other clients say."""
    content: Mapping[str, Any]
    """JSON values, what serving loads."""
    metrics: Mapping[str, Any]
    """Figures for the registry."""
    gates: Mapping[str, Any]
    """Name -> gate."""
    sample_size: int
    """Leads it was learned from, converted or not; of a pooled model those of the others."""
    confidence: float
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Everything a run learned."""

    result: RunResult
    """Without versions, which are given when it is stored, and without the peak of memory."""
    patterns: tuple[LearnedPattern, ...]
    models: tuple[LearnedModel, ...]
    recommendations: tuple[Recommendation, ...] = ()
    """Proposals to people, most expected extra conversions first."""
    contributions: tuple[Contribution, ...] = ()
    """What the client adds to the pool, one a target; empty when it does not share."""
