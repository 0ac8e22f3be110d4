"""The health of what was learned: the figures that are looked at, and the warnings they give."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType


class Severity(IntEnum):
    """How bad a warning is."""

    LOW = 1
    """Look at it some time."""
    MEDIUM = 2
    """Look at it soon."""
    HIGH = 3
    """Look at it now; operators are told."""


class WarningType(StrEnum):
    """What is wrong; the names are stable."""

    EXPIRED = "expired"
    EXPIRING_SOON = "expiring_soon"
    LOW_SAMPLE = "low_sample"
    LOW_CONFIDENCE = "low_confidence"
    EXTREME_WEIGHT_HIGH = "extreme_weight_high"
    EXTREME_WEIGHT_LOW = "extreme_weight_low"
    MISSING_PATTERN = "missing_pattern"
    DRIFT = "drift"
    """The leads of today are not those that were learned from."""
    WEIGHT_DRIFT = "weight_drift"
    """The live weights have moved further than their interval explains."""
    MODEL_DRIFT = "model_drift"
    """The live model tells converting leads apart worse than when it went live."""
    NO_CONVERTING_TOUCH = "no_converting_touch"
    SNAPSHOT_COVERAGE = "snapshot_coverage"
    LOCAL_TIME_COVERAGE = "local_time_coverage"
    MACHINE_OPENS = "machine_opens"
    CALIBRATION = "calibration"
    STALE_RUN = "stale_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthWarning(Stored):
    """One thing that is wrong, and what to do about it."""

    type: WarningType
    severity: Severity
    message: str
    """What is wrong, with the figures."""
    remedy: str
    pattern: PatternType | None = None
    """The pattern concerned; None: weights, a model or the flow of data."""
    value: float | None = None
    bound: float | None = None
    """What `value` is held against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternFigures:
    """An active pattern."""

    type: PatternType
    sample_size: int
    confidence: float
    valid_until: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFigures:
    """The live weights and those that were live before."""

    model_id: str
    version: int
    weights: Mapping[str, float]
    previous: Mapping[str, float] | None
    """None: no learned version was live before."""
    intervals: Mapping[str, tuple[float, float]]
    """90 % interval of each weight, as of the run that found them; may lack components."""
    learned: bool
    """Not set by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """A live model of a probability, then and now."""

    model_id: str
    version: int
    target: str
    """What it predicts."""
    pr_auc: float | None
    """On the leads held out when it was fitted."""
    recent_pr_auc: float | None
    """On leads contacted since that were told its probability and whose time has passed."""
    earlier_pr_auc: float | None
    """The same, two weeks ago."""
    recent_converted: int
    earlier_converted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFigures:
    """What arrived within the last 90 days."""

    conversions: int = 0
    marked: int = 0
    """Converted leads with a touch marked as converting."""
    meetings: int = 0
    touches: int = 0
    """Outbound touches that carry text."""
    with_content: int = 0
    """Of those, the ones with a content snapshot."""
    timed: int = 0
    """Outbound touches whose hour is known."""
    with_local_time: int = 0
    """Of those, the ones whose hour at the lead's place is known."""
    opened: int = 0
    """Touches that were opened, by whomever."""
    machine_only: int = 0
    """Of those, the ones only machines opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFigures:
    """Leads by their score before first contact, a month after it."""

    leads: int = 0
    converted: int = 0
    top_leads: int = 0
    """The tenth with the best scores."""
    top_converted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Leads per value of one feature, those learned from and those of the last weeks."""

    feature: str
    reference: Mapping[str, int]
    current: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFigures:
    """Everything a check looks at for one client."""

    client_id: str
    conversion_sample_count: int = 0
    """Converted leads the last learning saw."""
    eligible_since: dt.datetime | None = None
    """When the client came to be; None: it has too few conversions to be learned weekly."""
    last_success_at: dt.datetime | None = None
    patterns: tuple[PatternFigures, ...] = ()
    weights: WeightsFigures | None = None
    models: tuple[ModelFigures, ...] = ()
    """Live models of probabilities, one a target."""
    flow: FlowFigures = field(default_factory=FlowFigures)
    calibration: CalibrationFigures = field(default_factory=CalibrationFigures)
    shifts: tuple[Shift, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftedVersion:
    """A live version that does worse than when it went live."""

    model_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHealth:
    """The warnings of one client, worst first."""

    client_id: str
    warnings: tuple[HealthWarning, ...]
    last_success_at: dt.datetime | None = None
    drifted: tuple[DriftedVersion, ...] = ()
    """What a drift alarm takes back where the client's policy lets it."""

    @property
    def high_count(self) -> int:
        """Warnings of high severity."""
        return sum(warning.severity is Severity.HIGH for warning in self.warnings)
