"""Experiments over leads: what was planned, what was counted, and what may be concluded."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from cis_server.domain.rates import RateEstimate
from cis_server.domain.stored import Stored


class ExperimentMetric(StrEnum):
    """What counts as success of a lead, from its assignment on."""

    REPLY_RATE = "reply_rate"
    """A person replied; automatic answers do not count."""
    OPEN_RATE = "open_rate"
    """A person opened; privacy proxies and scanners do not count."""
    CLICK_RATE = "click_rate"
    """A person clicked."""
    CONVERSION_RATE = "conversion_rate"
    MEETING_RATE = "meeting_rate"
    """A meeting was booked."""


class ExperimentState(StrEnum):
    """Where an experiment stands."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


ENDED = (ExperimentState.COMPLETED, ExperimentState.CANCELLED)


class ExperimentVerdict(StrEnum):
    """What an experiment has shown."""

    WINNER = "winner"
    NO_DIFFERENCE = "no_difference"
    INCONCLUSIVE = "inconclusive"
    BLOCKED = "blocked"
    """The shares of the variants are not those planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Stored):
    """One variant."""

    name: str
    description: str = ""
    weight: float = 1.0
    """Share of leads relative to the others, above 0."""
    template_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPlan(Stored):
    """How large an experiment shall be."""

    base_rate: float | None = None
    """Rate without the change; None in a wish: the client's own."""
    minimum_effect: float = 0.2
    """Least relative effect worth finding."""
    power: float = 0.8
    """Probability of finding it when it is there."""
    alpha: float = 0.05
    """Probability of naming a winner when there is none."""
    leads_per_variant: int = 0
    expected_days: float | None = None
    """Until then, at the volume when it was planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExperiment:
    """An experiment somebody wants."""

    experiment_id: str
    name: str
    hypothesis: str
    campaign_id: str | None
    """None: all campaigns."""
    variants: tuple[Variant, ...]
    """Two or more, the control first."""
    metric: ExperimentMetric
    plan: PowerPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment(NewExperiment):
    """An experiment as stored."""

    client_id: str
    state: ExperimentState
    started_at: dt.datetime | None
    ended_at: dt.datetime | None = None
    ended_by: str = ""
    final: Standing | None = None
    """How it stood when it ended; None before, and when it was called off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantCount:
    """Leads of one variant."""

    assigned: int = 0
    contacted: int = 0
    """Of them, those that were sent something since."""
    succeeded: int = 0
    """Of the contacted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a client's past tells a plan."""

    contacted: int
    """Leads first contacted long enough ago for their outcome to be known."""
    succeeded: int
    leads_per_day: float
    """Leads first contacted a day, of late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantStanding(Stored):
    """How one variant does."""

    variant: str
    assigned: int
    estimate: RateEstimate
    """Leads contacted and those with success; lifts are over all variants together."""
    probability_best: float
    expected_loss: float
    difference: float | None = None
    """Posterior mean less that of the control; None for the control."""
    difference_low: float | None = None
    difference_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing(Stored):
    """How an experiment does."""

    variants: tuple[VariantStanding, ...]
    verdict: ExperimentVerdict
    winner: str | None
    sequence_low: float | None
    """Always-valid confidence sequence of the best variant but the control, less the control."""
    sequence_high: float | None
    sample_ratio_p_value: float
    progress: float
    expected_end_at: dt.datetime | None
    text: str
