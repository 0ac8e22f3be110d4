"""Blocks of a WHAT pattern, put together from judged dimensions."""

from __future__ import annotations

from collections.abc import Iterable

from cis_server.detectors.flag_effects import flag_effect
from cis_server.detectors.rounding import rounded_rate
from cis_server.detectors.segments import Judged
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.what_content import Lengths
from cis_server.detectors.what_counts import Counts, Part
from cis_server.domain.envelope import FlagEffect
from cis_server.domain.rates import SegmentRate
from cis_server.domain.vocabulary import Verdict
from cis_server.domain.what_pattern import (
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
)


def subject_block(judged: Judged | None) -> SubjectPatterns | None:
    """Patterns of subject lines by verdict."""
    if not _listed(judged):
        return None
    return SubjectPatterns(
        winning=_of(judged, Verdict.WINNING),
        losing=_of(judged, Verdict.LOSING),
        undecided=_of(judged, Verdict.UNDECIDED),
    )


def pain_point_block(judged: Judged, counts: Counts, part: Part) -> PainPoints | None:
    """Pain points by verdict, with their shares of all and of converting messages."""
    if not _listed(judged):
        return None
    units, converted = counts.totals(part)

    def rates(verdict: Verdict) -> tuple[PainPointRate, ...]:
        return tuple(
            PainPointRate(
                value=segment.value,
                estimate=segment.estimate,
                verdict=verdict,
                share_all=rounded_rate(segment.estimate.sample / units),
                share_converting=rounded_rate(segment.estimate.converted / converted)
                if converted
                else None,
            )
            for segment in _of(judged, verdict)
        )

    return PainPoints(
        effective=rates(Verdict.WINNING),
        ineffective=rates(Verdict.LOSING),
        undecided=rates(Verdict.UNDECIDED),
    )


def cta_block(judged: Judged | None, types: Judged | None) -> Ctas | None:
    """Calls to action by verdict, and the rate of each type."""
    if not _listed(judged):
        return None
    return Ctas(
        effective=_of(judged, Verdict.WINNING),
        ineffective=_of(judged, Verdict.LOSING),
        undecided=_of(judged, Verdict.UNDECIDED),
        by_type={segment.value: segment.estimate for segment in _listed(types)},
    )


def angle_block(judged: Judged | None) -> Angles | None:
    """Angles, best evidence first."""
    found = _listed(judged)
    return Angles(rankings=found) if found else None


def length_block(judged: Judged, lengths: Lengths) -> OptimalLength | None:
    """Bins by length; an optimum only where the bin with the highest lower bound wins."""
    if not judged.segments:
        return None
    place = {value: i for i, value in enumerate(lengths.labels)}
    bins = tuple(
        LengthBin(
            length_min=lengths.ranges[place[segment.value]][0],
            length_max=lengths.ranges[place[segment.value]][1],
            estimate=segment.estimate,
            verdict=segment.verdict,
        )
        for segment in sorted(judged.segments, key=lambda segment: place[segment.value])
    )
    best = judged.segments[0]
    low, high = lengths.ranges[place[best.value]]
    wins = best.verdict is Verdict.WINNING
    typical = lengths.typical(place[best.value]) if wins else None
    in_words = lengths.unit == "words"
    return OptimalLength(
        optimal_words=typical if in_words else None,
        optimal_chars=None if in_words else typical,
        range_min=low if wins else None,
        range_max=high if wins else None,
        unit=lengths.unit,
        verdict=Verdict.WINNING if wins else Verdict.UNDECIDED,
        bins=bins,
    )


def template_block(
    segments: Iterable[SegmentRate], settings: DetectorSettings
) -> TemplatePerformance | None:
    """Best by lower and worst by upper bound, none in both; a loser is not among the best."""
    ranked = tuple(segments)
    if not ranked:
        return None
    top = tuple(s for s in ranked if s.verdict is not Verdict.LOSING)[: settings.top_templates]
    rest = [s for s in ranked if s not in top and s.verdict is not Verdict.WINNING]
    rest.sort(key=_worst_first)
    return TemplatePerformance(
        top_templates=top,
        bottom_templates=tuple(rest[: settings.bottom_templates]),
        total_templates_analyzed=len(ranked),
    )


def link_block(effect: FlagEffect | None, by_count: Judged | None) -> LinkEffectiveness | None:
    """Messages with links against those without; recommended only what the evidence says."""
    counts = _listed(by_count)
    if effect is None and not counts:
        return None
    best = next((s.value for s in counts if s.verdict is Verdict.WINNING), None)
    advice = {Verdict.WINNING: "include_links", Verdict.LOSING: "no_links"}
    present = effect.present if effect else None
    absent = effect.absent if effect else None
    return LinkEffectiveness(
        with_links_rate=present.adjusted_rate if present else None,
        without_links_rate=absent.adjusted_rate if absent else None,
        links_lift=effect.lift if effect else None,
        optimal_link_count=int(best.rstrip("+")) if best is not None else None,
        recommendation=advice.get(effect.verdict, "unknown") if effect else "unknown",
        effect=effect,
        by_count=tuple(sorted(counts, key=lambda segment: segment.value)),
    )


def ai_model_block(models: Judged | None, prompts: Judged | None) -> AiModelPerformance | None:
    """Models and prompt versions; the best only where one wins."""
    if not _listed(models) and not _listed(prompts):
        return None
    return AiModelPerformance(
        best_model=_winner(models),
        model_rankings=_listed(models),
        best_prompt=_winner(prompts),
        prompt_rankings=_listed(prompts),
    )


def flag_block(
    judged: Judged, value: str, counts: Counts, part: Part, settings: DetectorSettings
) -> FlagEffect | None:
    """Messages with a property against those without."""
    return flag_effect(judged, value, part.units - counts.totals(part)[0], settings)


def _listed(judged: Judged | None) -> tuple[SegmentRate, ...]:
    return judged.segments if judged else ()


def _of(judged: Judged | None, verdict: Verdict) -> tuple[SegmentRate, ...]:
    """Segments with a verdict, best evidence first; losers worst first."""
    found = [segment for segment in _listed(judged) if segment.verdict is verdict]
    if verdict is Verdict.LOSING:
        found.sort(key=_worst_first)
    return tuple(found)


def _worst_first(segment: SegmentRate) -> tuple[float, int, str]:
    return segment.estimate.high, -segment.estimate.sample, segment.value


def _winner(judged: Judged | None) -> str | None:
    return next((s.value for s in _listed(judged) if s.verdict is Verdict.WINNING), None)
