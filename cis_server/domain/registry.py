"""The model registry: versions of weights and propensity models, their states and their history.

A version is made by a run (learned, pooled) or a person (manual) and never changed; only its state
moves::

    candidate ──► rolling_out ──► live ──► retired
        │              │           │          └──► rolling_out, live (promoted once more)
        └► rejected    └───────────┴► rolled_back ──► rolling_out, live (promoted once more)

Of one kind and target at most one version is live and at most one rolling out; while one is rolling
out it serves its share of the leads and the live one, or the defaults, serves the rest.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

BY_LEARNING: Final = "learning"
"""Who gave a version its state when no person did: a run, by the client's policy."""
BY_ALARM: Final = "drift alarm"
"""Who took a version back when no person did."""


class ModelKind(StrEnum):
    """What a version holds."""

    WEIGHTS = "weights"
    """Component name -> weight."""
    PROPENSITY = "propensity"
    """`PropensityModel.to_json`."""


class ModelState(StrEnum):
    """Where a version stands."""

    CANDIDATE = "candidate"
    ROLLING_OUT = "rolling_out"
    """Serves a share of the leads."""
    LIVE = "live"
    """Serves all leads, save the share of a version that is rolling out."""
    RETIRED = "retired"
    """Was in force until another version took its place."""
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


class ModelOrigin(StrEnum):
    """Who made a version."""

    LEARNED = "learned"
    MANUAL = "manual"
    POOLED = "pooled"


IN_FORCE: Final = (ModelState.LIVE, ModelState.ROLLING_OUT)
"""States of versions that serve leads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModel:
    """A version to store."""

    kind: ModelKind
    content: Mapping[str, Any]
    """JSON values: what serving loads."""
    target: str = ""
    """What a propensity model predicts; empty for weights."""
    origin: str = ModelOrigin.LEARNED.value
    """A `ModelOrigin`."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    gates: Mapping[str, Any] = field(default_factory=dict)
    """Gate name -> `Gate.to_json`."""
    lineage: Mapping[str, Any] = field(default_factory=dict)
    """Snapshot hash, seed, code and library versions, parameters."""
    sample_size: int = 0
    """Leads it was learned from, converted or not; 0 for versions set by hand."""
    confidence: float = 0.0
    as_of: dt.datetime | None = None
    valid_until: dt.datetime | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel(NewModel):
    """A version as stored."""

    model_id: str
    version: int
    state: ModelState
    reason: str
    created_at: dt.datetime
    promoted_at: dt.datetime | None
    """When it came into force last."""
    promoted_by: str | None
    serves: float = 0.0
    """Share of the leads it serves, 0..1; 0 unless it is in force."""
    decided_at: dt.datetime | None = None
    decided_by: str | None = None
    """Who gave it its state: a person, `BY_LEARNING` or `BY_ALARM`; None while nobody did."""
    parent: str | None = None
    """Label of the version that was live when this one was made; None: the defaults."""
    replaced: str | None = None
    """Label of the version that was live before it, to which a rollback goes; None: the defaults,
    or never in force."""

    @property
    def label(self) -> str:
        """Name of the version as answers carry it, e.g. ``weights-3``; unique for the client."""
        return version_label(self.kind, self.version)

    @property
    def by_hand(self) -> bool:
        """Whether a person set it."""
        return self.origin == ModelOrigin.MANUAL.value

    def refused_gates(self) -> tuple[str, ...]:
        """Names of the gates that refused it."""
        return tuple(name for name, gate in self.gates.items() if not gate.get("passed", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvent:
    """One change of a version's state."""

    version: str
    """Label."""
    at: dt.datetime
    before: ModelState | None
    """None: it was made."""
    after: ModelState
    rollout: float
    """Share of the leads it served from then on, 0..1."""
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """A version that came into force."""

    model: StoredModel
    replaced: str | None
    """Label of the version that was live before; None: the defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """A version that was taken back."""

    taken_back: StoredModel
    in_force: StoredModel | None
    """What serves all leads again; None: the defaults, or no model."""


def version_label(kind: str, version: int) -> str:
    """Name of a version as answers carry it, e.g. ``weights-3``."""
    return f"{kind}-{version}"


def read_label(label: str) -> tuple[ModelKind, int] | None:
    """Kind and number of a version's name; None when it is no such name."""
    kind, _, number = label.rpartition("-")
    if kind not in tuple(ModelKind) or not (number.isascii() and number.isdecimal()):
        return None
    return (ModelKind(kind), int(number)) if len(number) < 10 else None
