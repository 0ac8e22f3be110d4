"""A learning run: what was asked, how far it is, and what came of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from cis_server.domain.model_comparison import ModelComparison
from cis_server.domain.policy_value import PolicyOutcomes
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import (
    PatternStatus,
    PatternType,
    RunState,
    RunTrigger,
    SubscriptionStatus,
)
from cis_server.domain.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnOptions(Stored):
    """What a run is asked to do."""

    as_of: dt.datetime
    """Instant of knowledge: only data up to it are looked at."""
    lookback_days: int = 90
    min_conversions: int = 20
    validity_days: int = 14
    """Counted from the clock of the run, not from `as_of`."""
    force: bool = False
    """Learn although conversions are too few, and promote although a gate fails."""
    dry_run: bool = False
    """Compute and report everything, write nothing but the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Stored):
    """One finished stage of a run."""

    stage: str
    started_at: dt.datetime
    seconds: float
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Stored):
    """One condition for going live."""

    name: str
    value: float | None
    """What was measured; None when it could not be."""
    bound: float
    """What it is held against."""
    passed: bool
    text: str = ""
    """In words a manager understands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternOutcome(Stored):
    """How one detector ended."""

    type: PatternType
    status: PatternStatus
    reason: str = ""
    sample_size: int = 0
    n_converted: int = 0
    confidence: float = 0.0
    seconds: float = 0.0
    content_hash: str = ""
    """SHA-256 of the pattern's content as JSON with sorted keys; empty without a pattern."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsOutcome(Stored):
    """How the optimisation of the five weights ended."""

    status: str
    reason: str
    before: Weights
    learned: Weights | None = None
    """What was fitted, promoted or not."""
    after: Weights
    """In force after the run."""
    version: str = ""
    """Of the stored weights; empty when none were stored."""
    promoted: bool = False
    forced: bool = False
    n: int = 0
    n_converted: int = 0
    baseline_log_loss: float | None = None
    """Out of fold, with the default weights."""
    log_loss: float | None = None
    """Out of fold, with the learned weights."""
    gates: tuple[Gate, ...] = ()
    low: Weights | None = None
    """5 % bound of each learned weight."""
    high: Weights | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PropensityOutcome(Stored):
    """How the conversion-probability model came out; metrics are held out in time."""

    status: str
    reason: str
    target: str = "converted"
    version: str = ""
    promoted: bool = False
    forced: bool = False
    n_train: int = 0
    n_test: int = 0
    positives_train: int = 0
    positives_test: int = 0
    pr_auc: float | None = None
    pr_auc_baseline: float | None = None
    """Of the lead score under the weights in force before."""
    pr_auc_gain_low: float | None = None
    pr_auc_gain_high: float | None = None
    """80 % interval of the gain, paired bootstrap."""
    brier: float | None = None
    brier_baseline: float | None = None
    log_loss: float | None = None
    calibration_slope: float | None = None
    calibration_slope_low: float | None = None
    calibration_slope_high: float | None = None
    lift_at_10: float | None = None
    lift_at_20: float | None = None
    gates: tuple[Gate, ...] = ()
    comparisons: tuple[ModelComparison, ...] = ()
    """With the model that was live, and with gradient trees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Stored):
    """What one client's run came to."""

    patterns: tuple[PatternOutcome, ...]
    weights: WeightsOutcome
    propensity: PropensityOutcome
    """Of the target ``converted``."""
    promoted: bool
    """Whether weights or a model went live."""
    reason: str
    seconds: float
    leads: int
    activities: int
    conversions: int
    snapshot_hash: str
    peak_memory_bytes: int
    policies: PolicyOutcomes = field(default_factory=PolicyOutcomes)
    """What exploration tells of the policy in force and of always taking the best choice."""
    propensity_targets: tuple[PropensityOutcome, ...] = ()
    """Of the further targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as stored: one row per client, several clients may share a run id."""

    client_id: str
    run_id: str
    state: RunState
    options: LearnOptions
    trigger: RunTrigger = RunTrigger.REQUEST
    stage: str = ""
    fraction: float = 0.0
    message: str = ""
    stages: tuple[Stage, ...] = ()
    result: RunResult | None = None
    """None while it goes on, when it failed, and when a backfill ended without learning."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What a backfill has changed so far, see `BackfillCounts`."""
    error_code: str = ""
    error: str = ""
    attempts: int = 0
    code_version: str = ""
    requested_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in (RunState.SUCCEEDED, RunState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillCounts(Stored):
    """What a backfill changed, or would change in a dry run."""

    touches_marked: int = 0
    """Touches that are marked as converting now and were not before."""
    marks_cleared: int = 0
    """Touches whose mark as converting was wrong."""
    snapshots_rebuilt: int = 0
    """Touches whose content snapshot was made from the stored body."""
    leads_scored: int = 0
    """Leads never contacted that had no components."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillNeed:
    """Whether a client's history should be worked up."""

    client_id: str
    subscription_status: SubscriptionStatus
    touches: int
    """Outbound touches within the look-back before `as_of`."""
    valid_patterns: int
    """Patterns that have not expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """Whether there is enough to learn from."""

    client_id: str
    subscription_status: SubscriptionStatus
    conversions: int
    """Leads whose `converted_at` lies within the look-back before `as_of`."""
