"""What was learned, as short sentences for the prompt of a text generator.

Every sentence names its figures and ends with sample and band of confidence; what is in the low
band is left out, and nothing is advised against on fewer than `LEAST_AVOIDED` units (consumption
sheet, section 6). Only verdicts speak: what the data leave open is not said.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cis_server.domain.envelope import Envelope, FlagEffect
from cis_server.domain.patterns import HowPattern, SequenceGap, WhenPattern
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import PatternType, Source, Verdict
from cis_server.domain.what_pattern import PainPointRate, WhatPattern
from cis_server.serving.answers import PromptLine
from cis_server.serving.content import EMAIL, by_verdict, length_advice
from cis_server.serving.gaps import gap_before
from cis_server.serving.send_hours import send_hours
from cis_server.serving.timing_plan import TimingPlan
from cis_server.stats.confidence import BLENDED_FROM, LEARNED_FROM, blend_weight, confidence

DEFAULT_LINES: Final = 12
LEAST_AVOIDED: Final = 30
ARROW: Final = " → "

_EFFECTIVE, _AVOIDED, _ANGLES = 3, 2, 2
_CLASSIC, _FURTHER, _MINOR = 0, 1, 2  # which lines go first when there is not room for all

_PERSONALIZATION: Final[Mapping[str, str]] = {
    "company_mention": "Mentioning the company",
    "first_name": "Using the first name",
    "recent_news": "Mentioning recent news of the company",
    "mutual_connection": "Mentioning a mutual connection",
    "industry_specific": "Naming the industry",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPatterns:
    """Patterns that may speak; None where there is none."""

    what: WhatPattern | None = None
    when: WhenPattern | None = None
    how: HowPattern | None = None


def prompt_lines(
    patterns: PromptPatterns, channel: str | None, max_lines: int
) -> tuple[PromptLine, ...]:
    """The sentences on content, then timing, then channels.

    Args:
        patterns: usable ones.
        channel: the one a text is written for: content and timing of it alone where they were
            learned, and of orders of channels only those that contain it. None: all together.
        max_lines: most lines. Where there are more, the six lines of the sheet stay first, then
            further advice, then what is to be avoided.
    """
    drafts = [
        draft
        for draft in (
            *_content(patterns.what, channel),
            *_timing(patterns.when, channel),
            *_channels(patterns.how, channel),
        )
        if draft.line.confidence >= BLENDED_FROM
    ]
    by_rank = sorted(range(len(drafts)), key=lambda i: drafts[i].rank)
    return tuple(drafts[i].line for i in sorted(by_rank[:max_lines]))


def band(value: float) -> str:
    """``low``, ``medium`` or ``high`` confidence; the bounds are those of the read rule."""
    if value < BLENDED_FROM:
        return "low"
    return "medium" if value < LEARNED_FROM else "high"


@dataclass(frozen=True, slots=True)
class _Draft:
    rank: int
    line: PromptLine


class _Speaker:
    """Builds the lines of one pattern."""

    def __init__(self, kind: PatternType, envelope: Envelope) -> None:
        self._kind, self._limit = kind, envelope.confidence
        self._units, self._conversions = envelope.sample_size, envelope.n_converted

    def rated(
        self,
        rank: int,
        key: str,
        text: str,
        estimate: RateEstimate,
        figures: Mapping[str, float] | None = None,
    ) -> _Draft:
        """A line about one rate."""
        own = confidence(estimate.sample, min(estimate.converted, estimate.sample))
        return self._draft(rank, key, text, estimate, figures or {}, estimate.sample, own)

    def avoided(self, rank: int, key: str, text: str, estimate: RateEstimate) -> _Draft:
        """A line against what does worse than all units together."""
        own = _sure_of_comparison(estimate.sample, self._units, self._conversions)
        return self._draft(rank, key, text, estimate, {}, estimate.sample, own)

    def counted(
        self,
        rank: int,
        key: str,
        text: str,
        figures: Mapping[str, float],
        sample: int,
        sure: float | None = None,
    ) -> _Draft:
        """A line about something other than a rate, told from `sample` observations.

        `sure` is its confidence; None: half of the sample counts as converted, with which it is the
        effective one.
        """
        own = confidence(sample, sample // 2) if sure is None else sure
        return self._draft(rank, key, text, None, figures, sample, own)

    def flag(
        self, rank: int, key: str, subject: str, effect: FlagEffect | None, name: str
    ) -> Iterator[_Draft]:
        """A line about units with a property against those without it, if there is a verdict."""
        if effect is None or effect.present is None or effect.absent is None:
            return
        if effect.lift is None or effect.verdict is Verdict.UNDECIDED:
            return
        if effect.verdict is Verdict.LOSING and effect.present.sample < LEAST_AVOIDED:
            return
        change = "raises" if effect.verdict is Verdict.WINNING else "lowers"
        text = (
            f"{subject} {change} the conversion rate {effect.lift:.2f}-fold: "
            f"{_percent(effect.present)} with it, {_percent(effect.absent)} without"
        )
        figures = {f"{name}_lift": effect.lift, f"{name}_absent_rate": effect.absent.adjusted_rate}
        yield self.compared(rank, key, text, effect.present, effect.absent, figures)

    def compared(
        self,
        rank: int,
        key: str,
        text: str,
        estimate: RateEstimate,
        other: RateEstimate,
        figures: Mapping[str, float],
    ) -> _Draft:
        """A line about one rate against another: both samples, and as sure as the smaller one."""
        sample = estimate.sample + other.sample
        converted = estimate.converted + other.converted
        smaller = min(estimate.sample, other.sample)
        sure = _sure_of_comparison(smaller, sample, converted)
        return self._draft(rank, key, text, estimate, figures, sample, sure)

    def _draft(
        self,
        rank: int,
        key: str,
        text: str,
        estimate: RateEstimate | None,
        figures: Mapping[str, float],
        sample: int,
        own: float,
    ) -> _Draft:
        sure = min(self._limit, own)
        return _Draft(
            rank,
            PromptLine(
                text=f"{text} (n = {sample}, {band(sure)} confidence).",
                type=self._kind,
                key=key,
                estimate=estimate,
                figures=dict(figures),
                sample_size=sample,
                confidence=sure,
            ),
        )


def _sure_of_comparison(sample: int, units: int, converted: int) -> float:
    """Confidence of `sample` units against others.

    The conversions of all that are compared count: the clearest loser has none of its own.

    Args:
        sample: units of the smaller side.
        units: those of both.
        converted: of `units`.
    """
    return confidence(sample, max(0, min(converted, units - converted, sample // 2)))


def _content(pattern: WhatPattern | None, channel: str | None) -> Iterator[_Draft]:
    if pattern is None:
        return
    own = pattern.by_channel.get(channel) if channel is not None else None
    if own is not None and blend_weight(own.envelope.confidence) > 0.0:
        pattern = own
    say = _Speaker(PatternType.WHAT, pattern.envelope)
    if pattern.pain_points:
        for place, pain in enumerate(pattern.pain_points.effective[:_EFFECTIVE]):
            yield _pain_line(say, place, pain)
        yield from _avoided(say, "pain_points", "pain point", pattern.pain_points.ineffective)
    if pattern.ctas:
        for place, cta in enumerate(pattern.ctas.effective[:_EFFECTIVE]):
            which = "Best call to action" if place == 0 else "Another good call to action"
            text = f"{which}: {_quoted(cta.value)}, {_percent(cta.estimate)} of messages convert"
            yield say.rated(_CLASSIC if place == 0 else _FURTHER, "ctas", text, cta.estimate)
        yield from _avoided(say, "ctas", "call to action", pattern.ctas.ineffective)
    yield from _length_line(say, pattern, channel)
    if pattern.angles:
        angles = by_verdict(pattern.angles.rankings)
        for angle in angles.effective[:_ANGLES]:
            text = f"Good angle: {_words(angle.value)}, {_percent(angle.estimate)} convert"
            yield say.rated(_FURTHER, "angles", text, angle.estimate)
        yield from _avoided(say, "angles", "angle", angles.ineffective)
    if pattern.subject_patterns:
        for subject in pattern.subject_patterns.winning[:1]:
            text = f"Best kind of subject: {_words(subject.value)}, {_percent(subject.estimate)}"
            yield say.rated(_FURTHER, "subject_patterns", f"{text} convert", subject.estimate)
        losing = pattern.subject_patterns.losing
        yield from _avoided(say, "subject_patterns", "kind of subject", losing)
    for name, effect in sorted(pattern.personalization_lift.items()):
        subject_text = _PERSONALIZATION.get(name, f"Personalising by {_words(name)}")
        yield from say.flag(_FURTHER, "personalization_lift", subject_text, effect, name)
    links = pattern.link_effectiveness
    link_effect = links.effect if links else None
    yield from say.flag(_MINOR, "link_effectiveness", "Including links", link_effect, "links")
    asking, attaching = pattern.question_effect, pattern.attachment_effect
    yield from say.flag(_MINOR, "question_effect", "Asking a question", asking, "question")
    yield from say.flag(_MINOR, "attachment_effect", "Attaching a file", attaching, "attachment")


def _pain_line(say: _Speaker, place: int, pain: PainPointRate) -> _Draft:
    which = "Most effective pain point" if place == 0 else "Another effective pain point"
    text = f"{which}: {_words(pain.value)}, {_percent(pain.estimate)} of messages convert"
    figures: dict[str, float] = {}
    if pain.share_converting is not None:
        text += f"; it is in {_whole(pain.share_converting)} of converting messages"
        figures["share_converting"] = pain.share_converting
    return say.rated(
        _CLASSIC if place == 0 else _FURTHER, "pain_points", text, pain.estimate, figures
    )


def _avoided(
    say: _Speaker, key: str, noun: str, losing: Sequence[SegmentRate | PainPointRate]
) -> Iterator[_Draft]:
    enough = [rate for rate in losing if rate.estimate.sample >= LEAST_AVOIDED]
    for rate in enough[:_AVOIDED]:
        text = f"Avoid the {noun} {_quoted(_words(rate.value))}: only {_percent(rate.estimate)}"
        yield say.avoided(_MINOR, key, f"{text} convert", rate.estimate)


def _length_line(say: _Speaker, pattern: WhatPattern, channel: str | None) -> Iterator[_Draft]:
    advice = length_advice(pattern, channel, 1.0)
    if advice.optimal is None or advice.estimate is None or advice.verdict is not Verdict.WINNING:
        return
    text = f"Best length on {channel or EMAIL}: {advice.optimal} {advice.unit}"
    figures = {f"optimal_{advice.unit}": float(advice.optimal)}
    if advice.range_min is not None and advice.range_max is not None:
        text += f" ({advice.range_min} to {advice.range_max})"
        figures[f"min_{advice.unit}"] = float(advice.range_min)
        figures[f"max_{advice.unit}"] = float(advice.range_max)
    text += f", {_percent(advice.estimate)} convert"
    yield say.rated(_CLASSIC, "optimal_length", text, advice.estimate, figures)


def _timing(pattern: WhenPattern | None, channel: str | None) -> Iterator[_Draft]:
    if pattern is None:
        return
    say = _Speaker(PatternType.WHEN, pattern.envelope)
    plan = TimingPlan(pattern, blend_weight(pattern.envelope.confidence), Source.LEARNED)
    yield from _peak_line(say, pattern)
    yield from _gap_line(say, plan.gaps, plan.share)
    days, hours = pattern.best_days, pattern.best_hours
    for timing in pattern.by_channel:
        if timing.channel == channel:
            days, hours = timing.best_days or days, timing.best_hours or hours
    # A time at which nothing may be sent is no advice, however well it does.
    allowed = send_hours(channel, None, plan.channel(channel).learned_days, zone_assumed=False)
    open_hours = {hour for hour, _, _ in allowed.by_hour()}
    by_day = ((d.day.capitalize(), d.segment) for d in days if d.day_of_week in allowed.days)
    yield from _clock_line(say, "best_days", by_day)
    by_hour = ((f"{h.hour}:00", h.segment) for h in hours if h.hour in open_hours)
    yield from _clock_line(say, "best_hours", by_hour)
    spread = pattern.conversion_timing
    if spread and spread.median_days_to_convert is not None:
        median = spread.median_days_to_convert
        text = f"Half of the conversions come within {_number(median)} days of the first touch"
        figures = {"median_days": median}
        yield say.counted(_MINOR, "conversion_timing", text, figures, spread.converted)


def _peak_line(say: _Speaker, pattern: WhenPattern) -> Iterator[_Draft]:
    peak = pattern.peak_converting_touch
    if peak is None:
        return
    shares = pattern.converting_touch_distribution
    share, which = shares.get(f"touch_{peak}"), f"touch {peak}"
    if share is None:
        share, which = shares.get(f"touch_{peak}_plus"), f"touch {peak} or later"
    if share is None:
        return
    text = f"Touch with the most conversions: {which}, {_whole(share)} of all"
    converted = pattern.envelope.n_converted
    yield say.counted(
        _CLASSIC, "converting_touch_distribution", text, {"peak_share": share}, converted
    )


def _gap_line(say: _Speaker, gaps: Sequence[SequenceGap], share: float) -> Iterator[_Draft]:
    """The gaps that a plan would have, not what was learned: no plan goes below `MIN_GAP_DAYS`."""
    told = [gap for gap in gaps if gap.learned and _sure_of_gap(gap) >= BLENDED_FROM]
    if not told or share <= 0.0:
        return
    days = {gap.to_touch: gap_before(gap.to_touch, gaps, share).days for gap in told}
    parts = [f"{_number(days[gap.to_touch])} before touch {gap.to_touch}" for gap in told]
    figures = {f"touch_{g.from_touch}_to_{g.to_touch}_days": days[g.to_touch] for g in told}
    text = f"Best gaps in days: {', '.join(parts)}"
    sample, sure = min(gap.sample for gap in told), min(map(_sure_of_gap, told))
    yield say.counted(_CLASSIC, "sequence_gaps", text, figures, sample, sure)


def _sure_of_gap(gap: SequenceGap) -> float:
    converted = sum(rate.estimate.converted for rate in gap.rates)
    return confidence(gap.sample, min(converted, gap.sample))


def _clock_line(
    say: _Speaker, key: str, rates: Iterable[tuple[str, SegmentRate]]
) -> Iterator[_Draft]:
    for name, rate in rates:
        if rate.verdict is Verdict.WINNING:
            text = f"Best time on the lead's clock: {name}, {_percent(rate.estimate)} convert"
            yield say.rated(_FURTHER, key, text, rate.estimate)
            return


def _channels(pattern: HowPattern | None, channel: str | None) -> Iterator[_Draft]:
    if pattern is None:
        return
    say = _Speaker(PatternType.HOW, pattern.envelope)
    winners = pattern.sequence_patterns.winning_sequences if pattern.sequence_patterns else ()
    fitting = [w for w in winners if channel is None or channel in w.channels]
    for sequence in fitting[:1]:
        estimate = sequence.segment.estimate
        text = f"Best order of channels: {ARROW.join(sequence.channels)}, {_percent(estimate)}"
        yield say.rated(_CLASSIC, "sequence_patterns", f"{text} of leads convert", estimate)
    yield from _first_channel_line(say, pattern, channel)
    for segment in pattern.channel_effectiveness:
        if segment.verdict is Verdict.WINNING and channel in (None, segment.value):
            text = f"Channel {segment.value} does better than the others: "
            text += f"{_percent(segment.estimate)} of leads touched by it convert"
            yield say.rated(_FURTHER, "channel_effectiveness", text, segment.estimate)
            break
    yield from _multi_channel_line(say, pattern)


def _first_channel_line(
    say: _Speaker, pattern: HowPattern, channel: str | None
) -> Iterator[_Draft]:
    first = pattern.first_touch_effectiveness
    if first is None or first.best_first_channel is None:
        return
    for rate in first.rates:
        if rate.value == first.best_first_channel and channel in (None, rate.value):
            text = f"Best first channel: {rate.value}, {_percent(rate.estimate)} of leads convert"
            yield say.rated(_FURTHER, "first_touch_effectiveness", text, rate.estimate)


def _multi_channel_line(say: _Speaker, pattern: HowPattern) -> Iterator[_Draft]:
    block = pattern.multi_channel_lift
    if block is None or block.single is None or block.multi is None:
        return
    better = {"multi": "Several channels do better than one", "single": "One channel does best"}
    text = better.get(block.recommendation)
    if text is None:
        return
    text += f": {_percent(block.multi)} of leads convert over several, "
    text += f"{_percent(block.single)} over one"
    figures = {"single_channel_rate": block.single.adjusted_rate}
    yield say.compared(_FURTHER, "multi_channel_lift", text, block.multi, block.single, figures)


def _percent(estimate: RateEstimate) -> str:
    return f"{estimate.adjusted_rate * 100:.1f} %"


def _whole(share: float) -> str:
    return f"{share * 100:.0f} %"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _words(value: str) -> str:
    """A stored name as words, on one line: stored values must not break out of their sentence."""
    return _on_one_line(value.replace("_", " "))


def _quoted(value: str) -> str:
    return f'"{_on_one_line(value.replace(chr(34), chr(39)))}"'


def _on_one_line(value: str) -> str:
    # Of characters that cannot be seen (Unicode's C: controls, marks that turn the direction of
    # writing, private ones) only white space means something.
    seen = (c for c in value if c.isspace() or not unicodedata.category(c).startswith("C"))
    return " ".join("".join(seen).split())
