"""Elements of a campaign that patterns compare with the rest: what proposals are made of.

A pattern says of each element of a message, a sequence or a waiting time how it does beside all
others. Here these findings are brought to one form, whatever block they come from. The others are
those of which it is known what they hold: the rest may hold the element too, and say nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from cis_server.domain.envelope import Envelope, FlagEffect
from cis_server.domain.patterns import HowPattern, WhenPattern
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.recommendations import RecommendationKind
from cis_server.domain.vocabulary import PatternType, Verdict
from cis_server.domain.what_pattern import AbTestInsight, PainPointRate, WhatPattern

MINIMUM_SAMPLE: Final = 30
"""Units on either side below which nothing is proposed."""

_DIMENSION: Final = {
    "subject_patterns": "subject_patterns",
    "pain_points": "pain_points_used",
    "ctas": "cta_used",
    "angles": "angles",
    "template_performance": "template_id",
    "ai_model_performance": "prompt_version",
}
"""What the elements of a block are values of, as `Envelope.known` names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An element against everything else.

    Attributes:
        kind: of the proposal it can become.
        pattern: it comes from.
        key: block of the pattern.
        value: the element, in the pattern's words.
        noun: what it is, for people, e.g. ``pain point``.
        unit: ``touches`` or ``leads``.
        estimate: of the element.
        total: units compared, the element's included.
        converted: conversions of them.
        coverage: share of what goes out that the units compared are an example of.
        verdict: of the pattern.
        identity: what tells it from other proposals, over all runs.
        element: further facts for whoever makes the change.
        randomised: whether leads were assigned to it by chance.
        channel: of the touches it is about; None: all.
        to_touch: number of the touch it is about; None: all.
    """

    kind: RecommendationKind
    pattern: PatternType
    key: str
    value: str
    noun: str
    unit: str
    estimate: RateEstimate
    total: int
    converted: int
    coverage: float = 1.0
    verdict: Verdict
    identity: dict[str, str]
    element: dict[str, str] = field(default_factory=dict)
    randomised: bool = False
    channel: str | None = None
    to_touch: int | None = None

    @property
    def others(self) -> int:
        """Units without the element."""
        return self.total - self.estimate.sample

    @property
    def other_rate(self) -> float:
        """Adjusted rate of the others; the raw one where the pattern gives no adjusted lift."""
        if self.estimate.adjusted_lift:
            return min(1.0, self.estimate.adjusted_rate / self.estimate.adjusted_lift)
        return (self.converted - self.estimate.converted + 0.5) / (self.others + 1.0)

    @property
    def enough(self) -> bool:
        """Whether there are enough units on both sides."""
        own, rest = self.estimate, self.converted - self.estimate.converted
        return min(own.sample, self.others) >= MINIMUM_SAMPLE and 0 <= rest <= self.others


def comparisons(
    what: WhatPattern | None, when: WhenPattern | None, how: HowPattern | None
) -> list[Comparison]:
    """Everything the patterns compare that somebody could change, with enough units behind it."""
    found = [
        *(_content(what) if what is not None else ()),
        *(_tests(what) if what is not None else ()),
        *(_gaps(when) if when is not None else ()),
        *(_steps(how) if how is not None else ()),
    ]
    return [comparison for comparison in found if comparison.enough]


def _content(what: WhatPattern) -> Iterator[Comparison]:
    if what.subject_patterns is not None:
        subjects = what.subject_patterns
        all_of_them = (*subjects.winning, *subjects.losing, *subjects.undecided)
        yield from _listed(what.envelope, "subject_patterns", "subject line", all_of_them)
    if what.pain_points is not None:
        points = what.pain_points
        each = (*points.effective, *points.ineffective, *points.undecided)
        yield from _listed(what.envelope, "pain_points", "pain point", each)
    if what.ctas is not None:
        ctas = (*what.ctas.effective, *what.ctas.ineffective, *what.ctas.undecided)
        yield from _listed(what.envelope, "ctas", "call to action", ctas)
    if what.angles is not None:
        yield from _listed(what.envelope, "angles", "angle", what.angles.rankings)
    if what.template_performance is not None:
        shown = what.template_performance
        templates = (*shown.top_templates, *shown.bottom_templates)
        yield from _listed(what.envelope, "template_performance", "template", templates)
    if what.ai_model_performance is not None:
        prompts = what.ai_model_performance.prompt_rankings
        yield from _listed(what.envelope, "ai_model_performance", "prompt version", prompts)
    for effect in what.personalization_lift.values():
        yield from _flag(what.envelope, "personalization_lift", "personalisation by", effect)
    if what.question_effect is not None:
        yield from _flag(what.envelope, "question_effect", "message with", what.question_effect)
    if what.attachment_effect is not None:
        yield from _flag(what.envelope, "attachment_effect", "message with", what.attachment_effect)
    yield from _lengths(what)


def _listed(
    about: Envelope, key: str, noun: str, segments: Iterable[SegmentRate | PainPointRate]
) -> Iterator[Comparison]:
    known = about.known.get(_DIMENSION[key])
    if known is None:
        return
    for segment in segments:
        yield Comparison(
            kind=RecommendationKind.PROMPT_EDIT,
            pattern=about.type,
            key=key,
            value=segment.value,
            noun=noun,
            unit=about.unit,
            estimate=segment.estimate,
            total=known.units,
            converted=known.converted,
            coverage=known.coverage,
            verdict=segment.verdict,
            identity={key: segment.value},
            element={noun.replace(" ", "_"): segment.value},
        )


def _flag(about: Envelope, key: str, noun: str, effect: FlagEffect) -> Iterator[Comparison]:
    if effect.present is None or effect.absent is None:
        return
    total = effect.present.sample + effect.absent.sample
    yield Comparison(
        kind=RecommendationKind.PROMPT_EDIT,
        pattern=about.type,
        key=key,
        value=effect.value,
        noun=noun,
        unit=about.unit,
        estimate=effect.present,
        total=total,
        converted=effect.present.converted + effect.absent.converted,
        coverage=total / max(1, total + effect.unknown),
        verdict=effect.verdict,
        identity={key: effect.value},
        element={"property": effect.value},
    )


def _lengths(what: WhatPattern) -> Iterator[Comparison]:
    for channel, found in what.optimal_length.items():
        known = what.envelope.known.get(f"length.{channel}")
        if known is None:
            continue
        for each in found.bins:
            span = f"{each.length_min}-{each.length_max} {found.unit}"
            yield Comparison(
                kind=RecommendationKind.PROMPT_EDIT,
                pattern=what.envelope.type,
                key="optimal_length",
                value=span,
                noun=f"length on {channel}:",
                unit=what.envelope.unit,
                estimate=each.estimate,
                total=known.units,
                converted=known.converted,
                coverage=known.coverage,
                verdict=each.verdict,
                # Bins move with the data, so a bin is known by its channel and verdict alone.
                identity={"optimal_length": channel, "verdict": each.verdict.value},
                element={"channel": channel, "length": span},
                channel=channel,
            )


def _tests(what: WhatPattern) -> Iterator[Comparison]:
    found = what.ab_test_insights.test_insights if what.ab_test_insights is not None else ()
    for test in found:
        for arm in test.arms:
            if arm.verdict is Verdict.WINNING:
                yield _arm(what.envelope, test, arm)


def _arm(about: Envelope, test: AbTestInsight, arm: SegmentRate) -> Comparison:
    return Comparison(
        kind=RecommendationKind.PROMPT_EDIT,
        pattern=about.type,
        key="ab_test_insights",
        value=arm.value,
        noun=f"variant of experiment {test.test_id}:",
        unit="leads",
        estimate=arm.estimate,
        total=sum(each.estimate.sample for each in test.arms),
        converted=sum(each.estimate.converted for each in test.arms),
        verdict=arm.verdict,
        identity={"ab_test": test.test_id},
        element={"experiment_id": test.test_id, "variant": arm.value},
        randomised=True,
    )


def _gaps(when: WhenPattern) -> Iterator[Comparison]:
    for gap in when.sequence_gaps:
        converted = sum(each.estimate.converted for each in gap.rates)
        total = sum(each.estimate.sample for each in gap.rates)
        for each in gap.rates:
            if not (gap.learned and each.gap_days_min <= gap.gap_days < each.gap_days_max + 1):
                continue
            days = f"{gap.gap_days:g} days"
            yield Comparison(
                kind=RecommendationKind.GAP,
                pattern=when.envelope.type,
                key="sequence_gaps",
                value=days,
                noun=f"gap between touch {gap.from_touch} and {gap.to_touch}:",
                unit=when.envelope.unit,
                estimate=each.estimate,
                total=total,
                converted=converted,
                verdict=Verdict.WINNING,
                identity={"sequence_gap": f"{gap.from_touch}-{gap.to_touch}"},
                element={
                    "from_touch": str(gap.from_touch),
                    "to_touch": str(gap.to_touch),
                    "gap_days": f"{gap.gap_days:g}",
                    "min_days": f"{gap.min_days:g}",
                    "max_days": f"{gap.max_days:g}",
                },
                to_touch=gap.to_touch,
            )


def _steps(how: HowPattern) -> Iterator[Comparison]:
    about = how.envelope
    sequences = how.sequence_patterns.sequences if how.sequence_patterns is not None else ()
    for found in sequences:
        dimension = f"sequence_{len(found.channels)}"
        yield from _step(about, "sequence_patterns", "sequence", dimension, found.segment)
    first = how.first_touch_effectiveness
    for segment in first.rates if first is not None else ():
        key = "first_touch_effectiveness"
        yield from _step(about, key, "first channel", "first_channel", segment)
    for segment in how.channel_effectiveness:
        yield from _step(about, "channel_effectiveness", "channel", "channel", segment)


def _step(
    about: Envelope, key: str, noun: str, dimension: str, segment: SegmentRate
) -> Iterator[Comparison]:
    known = about.known.get(dimension)
    if known is None:
        return
    # The window hides how earlier paths began, but not how those of leads contacted from now on do.
    begun = known if dimension == "channel" else about.known.get("first_channel", known)
    yield Comparison(
        kind=RecommendationKind.STEP_ORDER,
        pattern=about.type,
        key=key,
        value=segment.value,
        noun=noun,
        unit=about.unit,
        estimate=segment.estimate,
        total=known.units,
        converted=known.converted,
        coverage=known.units / begun.units,
        verdict=segment.verdict,
        identity={key: segment.value},
        element={noun.replace(" ", "_"): segment.value},
    )
