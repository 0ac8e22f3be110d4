"""Proposals to people: what to change or to test, why, and what is expected of it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from cis_server.domain.experiments import PowerPlan
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType

_MOST: Final = 2**31
"""No count of leads or touches reaches it."""


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

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Recommendation:
        """Rebuild from stored JSON that another program may have had its hands on.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: this is no proposal, or a value of it
                is of another kind than it should be.
        """
        found = cls.from_json(data)
        for part in (found, found.evidence, found.power_plan):
            if part is not None:
                _check_kinds(part)
        return found


def _check_kinds(part: Stored) -> None:
    for name, kind in get_type_hints(type(part)).items():
        value = getattr(part, name)
        wanted = get_args(kind) if isinstance(kind, UnionType) else (kind,)
        if not any(_fits(value, one) for one in wanted):
            raise ValueError(f"{name} cannot be {value!r}")


def _fits(value: object, kind: Any) -> bool:
    if kind is int:
        return isinstance(value, int) and abs(value) < _MOST
    if kind is float:
        return isinstance(value, (int, float)) and math.isfinite(value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    return isinstance(value, kind)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRecommendation:
    """An entry of a list of proposals; what is stored may be of another program's making."""

    recommendation_id: str
    rank: float
    """Expected extra conversions by which lists are ordered; finite."""
    stored: StoredRecommendation | None
    """None when it cannot be read."""
