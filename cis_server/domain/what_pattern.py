"""What WHAT finds, typed: which content of messages brings conversions.

Field names are the JSON keys and the names of the proto messages (see `domain.patterns`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cis_server.domain.envelope import Envelope, FlagEffect
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectPatterns(Stored):
    """Patterns of subject lines; a line may have several."""

    winning: tuple[SegmentRate, ...]
    losing: tuple[SegmentRate, ...]
    undecided: tuple[SegmentRate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PainPointRate(Stored):
    """One pain point."""

    value: str
    estimate: RateEstimate
    verdict: Verdict
    share_all: float
    """Share of all messages that name it."""
    share_converting: float | None
    """Share of converting messages that name it; None when none converted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PainPoints(Stored):
    """Pain points that messages name; a message may name several."""

    effective: tuple[PainPointRate, ...]
    ineffective: tuple[PainPointRate, ...]
    undecided: tuple[PainPointRate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ctas(Stored):
    """Calls to action: the last one of each message."""

    effective: tuple[SegmentRate, ...]
    ineffective: tuple[SegmentRate, ...]
    undecided: tuple[SegmentRate, ...]
    by_type: dict[str, RateEstimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Angles(Stored):
    """Angles, best evidence first."""

    rankings: tuple[SegmentRate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthBin(Stored):
    """Messages of one range of lengths, both ends included."""

    length_min: int
    length_max: int
    estimate: RateEstimate
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimalLength(Stored):
    """Rate by quintile of length in one channel; a best length only where a bin wins."""

    optimal_words: int | None
    """Median length within the winning bin."""
    optimal_chars: int | None
    """The same for a channel measured in characters."""
    range_min: int | None
    range_max: int | None
    unit: str
    """``words`` or ``characters``."""
    verdict: Verdict
    """On the best bin; undecided means that no difference was found."""
    bins: tuple[LengthBin, ...]
    """By length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePerformance(Stored):
    """Templates; none is in both lists."""

    top_templates: tuple[SegmentRate, ...]
    """By lower bound."""
    bottom_templates: tuple[SegmentRate, ...]
    """By upper bound, worst first."""
    total_templates_analyzed: int
    """Templates that reached the minimum sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbTestInsight(Stored):
    """One A/B test, counted by lead."""

    test_id: str
    best_variant: str
    best_rate: float
    worst_variant: str
    worst_rate: float
    rate_difference: float
    """Adjusted rate of the best less that of the worst."""
    rate_difference_low: float | None
    """Ends of the 90 % posterior interval of the difference."""
    rate_difference_high: float | None
    probability_best: float | None
    expected_loss: float | None
    conclusion: str
    """``winner``, ``no_difference`` or ``inconclusive``; safe however often it is looked at."""
    arms: tuple[SegmentRate, ...]
    """All arms, best posterior mean first. Their verdict follows `conclusion`; the test has a
    sequential error control of its own, so `q_value` is unset."""
    sequence_low: float | None
    """Ends of the always-valid 95 % confidence sequence of best less worst."""
    sequence_high: float | None
    sample_ratio_p_value: float | None
    """Below .001 the shares of the arms are not those planned, and nothing is concluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbTestInsights(Stored):
    """A/B tests with at least two arms over the minimum."""

    test_insights: tuple[AbTestInsight, ...]
    total_tests_analyzed: int
    """Tests in all, those without insight included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEffectiveness(Stored):
    """Messages with links against messages without."""

    with_links_rate: float | None
    without_links_rate: float | None
    links_lift: float | None
    optimal_link_count: int | None
    """Only where a count wins; 5 stands for five and more."""
    recommendation: str
    """``include_links``, ``no_links`` or ``unknown``."""
    effect: FlagEffect | None
    by_count: tuple[SegmentRate, ...]
    """``0`` ... ``4``, ``5+``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AiModelPerformance(Stored):
    """Models and prompt versions that wrote the messages."""

    best_model: str | None
    model_rankings: tuple[SegmentRate, ...]
    best_prompt: str | None
    prompt_rankings: tuple[SegmentRate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatPattern(Stored):
    """What to write."""

    TYPE: ClassVar[PatternType] = PatternType.WHAT

    envelope: Envelope
    subject_patterns: SubjectPatterns | None
    pain_points: PainPoints | None
    ctas: Ctas | None
    angles: Angles | None
    optimal_length: dict[str, OptimalLength]
    """By channel."""
    personalization_lift: dict[str, FlagEffect]
    """By way of personalising, see `domain.content.PERSONALISATION`."""
    template_performance: TemplatePerformance | None
    ab_test_insights: AbTestInsights | None
    link_effectiveness: LinkEffectiveness | None
    ai_model_performance: AiModelPerformance | None
    question_effect: FlagEffect | None
    attachment_effect: FlagEffect | None
    by_channel: dict[str, WhatPattern] = field(default_factory=dict)
    """The same blocks for one channel alone, shrunk to the other channels, when messages went out
    over several; the envelope is that of the channel, and its own `by_channel` is empty."""
