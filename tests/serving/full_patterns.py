"""Patterns in which every block says something, for tests of those who read them."""

from __future__ import annotations

from dataclasses import replace

from serving_fakes import envelope, how_pattern, rate, segment, sequence, when_pattern

from cis_server.domain.envelope import FlagEffect
from cis_server.domain.patterns import (
    ConversionTiming,
    FirstTouch,
    GapRate,
    HowPattern,
    MultiChannelLift,
    SequenceGap,
    Transition,
    WhenPattern,
)
from cis_server.domain.rates import SegmentRate
from cis_server.domain.vocabulary import PatternType, Verdict
from cis_server.domain.what_pattern import (
    AbTestInsights,
    AiModelPerformance,
    Angles,
    Ctas,
    LengthBin,
    LinkEffectiveness,
    OptimalLength,
    PainPointRate,
    PainPoints,
    SubjectPatterns,
    TemplatePerformance,
    WhatPattern,
)

WIN, LOSE, OPEN = Verdict.WINNING, Verdict.LOSING, Verdict.UNDECIDED


def pain(value: str, k: int, n: int, verdict: Verdict, share: float | None = 0.34) -> PainPointRate:
    return PainPointRate(
        value=value, estimate=rate(k, n), verdict=verdict, share_all=0.2, share_converting=share
    )


def flag(
    name: str, with_: tuple[int, int], without: tuple[int, int], verdict: Verdict
) -> FlagEffect:
    present, absent = rate(*with_), rate(*without)
    return FlagEffect(
        value=name,
        present=present,
        absent=absent,
        lift=round(present.adjusted_rate / absent.adjusted_rate, 2),
        verdict=verdict,
        unknown=0,
    )


def length(
    words: int | None, low: int | None, high: int | None, verdict: Verdict = WIN
) -> OptimalLength:
    return OptimalLength(
        optimal_words=words,
        optimal_chars=None,
        range_min=low,
        range_max=high,
        unit="words",
        verdict=verdict,
        bins=(
            LengthBin(length_min=10, length_max=59, estimate=rate(20, 1000), verdict=LOSE),
            LengthBin(length_min=60, length_max=90, estimate=rate(90, 1000), verdict=verdict),
        ),
    )


def what_pattern(
    *,
    pains: PainPoints | None = None,
    confidence: float = 0.9,
    by_channel: dict[str, WhatPattern] | None = None,
    lengths: dict[str, OptimalLength] | None = None,
) -> WhatPattern:
    return WhatPattern(
        envelope=envelope(PatternType.WHAT, confidence, 0.05),
        subject_patterns=SubjectPatterns(
            winning=(segment("question_subject", 60, 800, WIN),),
            losing=(segment("all_caps", 4, 600, LOSE),),
            undecided=(segment("other", 30, 700),),
        ),
        pain_points=pains
        or PainPoints(
            effective=(pain("leads", 80, 1000, WIN), pain("time", 70, 1000, WIN)),
            ineffective=(pain("cost", 5, 900, LOSE),),
            undecided=(pain("quality", 40, 900, OPEN),),
        ),
        ctas=Ctas(
            effective=(segment("open to a quick chat", 80, 1000, WIN),),
            ineffective=(segment("let me know", 6, 900, LOSE),),
            undecided=(segment("worth a look", 40, 800),),
            by_type={},
        ),
        angles=Angles(
            rankings=(
                segment("curiosity", 70, 900, WIN),
                segment("roi_focused", 45, 900),
                segment("urgency", 15, 900, LOSE),
                segment("fear_based", 8, 900, LOSE),
            )
        ),
        optimal_length=lengths
        if lengths is not None
        else {"email": length(72, 60, 90), "linkedin": length(None, None, None, OPEN)},
        personalization_lift={
            "first_name": flag("first_name", (50, 1000), (50, 1000), OPEN),
            "company_mention": flag("company_mention", (80, 1000), (40, 1000), WIN),
        },
        template_performance=TemplatePerformance(
            top_templates=(segment("t1", 80, 1000, WIN),),
            bottom_templates=(segment("t9", 2, 500, LOSE), segment("t5", 30, 900)),
            total_templates_analyzed=3,
        ),
        ab_test_insights=AbTestInsights(test_insights=(), total_tests_analyzed=0),
        link_effectiveness=LinkEffectiveness(
            with_links_rate=0.02,
            without_links_rate=0.06,
            links_lift=0.4,
            optimal_link_count=None,
            recommendation="no_links",
            effect=flag("links", (20, 1000), (60, 1000), LOSE),
            by_count=(),
        ),
        ai_model_performance=AiModelPerformance(
            best_model=None, model_rankings=(), best_prompt=None, prompt_rankings=()
        ),
        question_effect=flag("question", (70, 1000), (40, 1000), WIN),
        attachment_effect=flag("attachment", (10, 1000), (60, 1000), LOSE),
        by_channel=by_channel or {},
    )


def full_when_pattern() -> WhenPattern:
    pattern = when_pattern(
        days={2: (120, 800), 4: (60, 800)},
        hours={10: (120, 800), 15: (50, 800)},
        winning_days=frozenset({2}),
        gaps=(
            SequenceGap(
                from_touch=1,
                to_touch=2,
                gap_days=3.5,
                min_days=3.0,
                max_days=5.0,
                sample=400,
                learned=True,
                rates=(
                    GapRate(gap_days_min=2, gap_days_max=2, estimate=rate(15, 200)),
                    GapRate(gap_days_min=3, gap_days_max=5, estimate=rate(40, 200)),
                ),
            ),
        ),
    )
    return replace(
        pattern,
        best_hours=tuple(
            replace(h, segment=replace(h.segment, verdict=WIN if h.hour == 10 else OPEN))
            for h in pattern.best_hours
        ),
        avg_touches_to_convert=2.4,
        conversion_timing=ConversionTiming(
            sample=1000,
            converted=80,
            avg_days_to_convert=10.0,
            median_days_to_convert=9.0,
            percentile_50=None,
            percentile_80=None,
            percentile_95=None,
        ),
    )


def full_how_pattern() -> HowPattern:
    channels: tuple[SegmentRate, ...] = (
        segment("email", 120, 1000, WIN),
        segment("linkedin", 60, 1000),
        segment("sms", 10, 1000, LOSE),
    )
    pattern = how_pattern(
        overall=channels,
        tiers={"warm": (segment("linkedin", 60, 500), segment("email", 30, 500))},
        best_first="email",
        winning=(sequence(90, 900, "email", "linkedin", "email"),),
        multi=MultiChannelLift(
            single_channel_rate=0.05,
            multi_channel_rate=0.1,
            multi_channel_lift=2.0,
            single=rate(50, 1000),
            multi=rate(100, 1000),
            recommendation="multi",
            optimal_channel_count="2",
            buckets=(),
        ),
        transitions=(
            Transition(from_channel="email", to_channel="linkedin", estimate=rate(30, 300)),
        ),
    )
    return replace(
        pattern, first_touch_effectiveness=FirstTouch(rates=channels, best_first_channel="email")
    )
