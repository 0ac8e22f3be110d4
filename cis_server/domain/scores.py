"""What scoring a lead gives, as `cis.v1.LeadScore` carries it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from cis_server.domain.vocabulary import Source, Tier
from cis_server.domain.weights import COMPONENTS, Weights

MAX_POINTS: Final = (20, 25, 25, 15, 15)
"""Most points of each component, in the order of `COMPONENTS`; they add up to 100."""


@dataclass(frozen=True, slots=True)
class Components:
    """Raw points of the five components, before weights."""

    data_quality: int
    """0..20: how well the person can be reached and is known."""
    authority: int
    """0..25: power to decide, read from the title."""
    company_fit: int
    """0..25: industry, size and country against the ideal customer profile."""
    timing: int
    """0..15: new role, hiring, fresh funding."""
    risk: int
    """0..15, high is good: 15 less the deductions, never below 0."""

    def as_tuple(self) -> tuple[int, int, int, int, int]:
        """The five points in the order of `COMPONENTS`."""
        return (self.data_quality, self.authority, self.company_fit, self.timing, self.risk)

    def as_dict(self) -> dict[str, int]:
        """Component name -> points, as stored."""
        return dict(zip(COMPONENTS, self.as_tuple(), strict=True))

    def fractions(self) -> tuple[float, float, float, float, float]:
        """Points / maximum of each component, 0..1: the scale that weights and models learn on."""
        return (
            self.data_quality / MAX_POINTS[0],
            self.authority / MAX_POINTS[1],
            self.company_fit / MAX_POINTS[2],
            self.timing / MAX_POINTS[3],
            self.risk / MAX_POINTS[4],
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """One factor behind a score, in plain words."""

    factor: str
    """Name of the factor, for programs (`email`, `authority`, `industry`, `bounce`, ...)."""
    points: float
    """Effect on the unrounded score, in score points: above 0 what the factor brought, below 0
    what it fell short of its own maximum or what was deducted."""
    text: str
    """One short sentence part for people."""


@dataclass(frozen=True, slots=True)
class ProbabilityFactor:
    """What one feature of the lead did to its probability."""

    feature: str
    """Name of the feature, as in `cis_server.scoring.features`."""
    log_odds: float
    """Added to the calibrated log-odds; below 0 it makes the target less likely."""
    text: str
    """One short sentence part for people."""


@dataclass(frozen=True, slots=True)
class ConversionProbability:
    """Calibrated probability that the lead reaches the target."""

    probability: float
    low: float
    """5 % quantile."""
    high: float
    """95 % quantile."""
    target: str
    """What is predicted, e.g. ``call_booked``."""
    base_log_odds: float | None = None
    """Calibrated log-odds before any feature; None where no factors were asked for."""
    factors: tuple[ProbabilityFactor, ...] = ()
    """Every feature that did something, strongest first. Base and factors add up to the log-odds of
    `probability`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadScore:
    """A scored lead."""

    lead_id: str
    score: int
    """0..100, pure arithmetic: suppression does not change it."""
    score_tier: Tier
    """Tier of the number alone."""
    tier: Tier
    """Effective tier: DEAD when suppressed, else `score_tier`."""
    components: Components
    contributions: tuple[float, float, float, float, float]
    """Weight x points / maximum x 100 of each component; added from the left they give
    `weighted_sum` to the last bit."""
    weighted_sum: float
    """The score before clipping and rounding down."""
    weights: Weights
    weights_source: Source
    suppressed: bool
    suppression_reason: str | None
    """A `SuppressionReason`, None when not suppressed."""
    tier_channels: tuple[str, ...]
    """Channels the effective tier may use."""
    channels: tuple[str, ...]
    """Of those, the ones this lead can be reached on now."""
    conversion_probability: ConversionProbability | None = None
    """None until a model is live."""
    reasons: tuple[Reason, ...] = ()
    """Up to three strongest positive, then up to three strongest negative factors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedScore:
    """A score with what it was made by, as it is stored."""

    score: LeadScore
    scored_at: dt.datetime
    """When it was made, aware."""
    as_of: dt.datetime
    """Instant it holds for, aware."""
    scorer_version: str
    weights_version: str = ""
    """Empty for the defaults."""
    probability_version: str = ""
    """Of the propensity model; empty without one."""
