"""What content converts: GetContent's answer as a function of the WHAT pattern and the channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

from cis_server.domain.envelope import FlagEffect
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import Source, Verdict
from cis_server.domain.what_pattern import (
    LengthBin,
    OptimalLength,
    TemplatePerformance,
    WhatPattern,
)
from cis_server.serving.answers import (
    ContentAnswer,
    ContentRanking,
    LengthAdvice,
    PersonalizationEffect,
)
from cis_server.serving.freshness import blended_source
from cis_server.stats.confidence import blend_weight

EMAIL: Final = "email"
"""Whose length is advised where no channel is named."""


@dataclass(frozen=True, slots=True)
class DefaultLength:
    """How long a text is before anything was learned."""

    optimal: int
    range_min: int | None
    range_max: int | None
    unit: str


DEFAULT_LENGTHS: Final[Mapping[str, DefaultLength]] = MappingProxyType(
    {
        "email": DefaultLength(75, 50, 100, "words"),
        "linkedin": DefaultLength(40, None, None, "words"),
        "sms": DefaultLength(120, None, None, "characters"),
    }
)
"""Consumption sheet, section 6; other channels have none."""

_NO_LENGTH = LengthAdvice(
    optimal=None,
    range_min=None,
    range_max=None,
    unit="words",
    verdict=Verdict.UNDECIDED,
    estimate=None,
)


def content_answer(
    pattern: WhatPattern | None, channel: str | None, model: ModelInfo
) -> ContentAnswer:
    """Answer one request.

    Args:
        pattern: usable; None: nothing was learned, or it may not be used.
        channel: None: all channels together; the advised length is then that of e-mail.
        model: what to say of `pattern`. Its share of learning decides: at none the defaults answer,
            in between the advised length is a blend and the lists are the learned ones.

    Returns:
        The answer. A channel whose own rates are trusted answers from them, and its sample and
        confidence stand in the model; another one answers from all channels together.
    """
    share = 0.0 if model.source is Source.DEFAULT else blend_weight(model.confidence)
    if pattern is None or share <= 0.0:
        return _without_learning(channel, model)
    pattern, model, share = _of_channel(pattern, channel, model, share)
    pains, ctas, subjects = pattern.pain_points, pattern.ctas, pattern.subject_patterns
    return ContentAnswer(
        pain_points=ContentRanking(
            effective=_segments(pains.effective),
            ineffective=_segments(pains.ineffective),
            undecided=_segments(pains.undecided),
        )
        if pains
        else ContentRanking(),
        ctas=ContentRanking(
            effective=ctas.effective, ineffective=ctas.ineffective, undecided=ctas.undecided
        )
        if ctas
        else ContentRanking(),
        angles=by_verdict(pattern.angles.rankings if pattern.angles else ()),
        subject_patterns=ContentRanking(
            effective=subjects.winning, ineffective=subjects.losing, undecided=subjects.undecided
        )
        if subjects
        else ContentRanking(),
        optimal_length=length_advice(pattern, channel, share),
        personalization_lift=_personalization(pattern.personalization_lift),
        template_ranking=_templates(pattern.template_performance),
        model=model,
    )


def by_verdict(rates: Iterable[SegmentRate]) -> ContentRanking:
    """Rates sorted into winners (best lower bound first), losers (worst first) and the others."""
    found = list(rates)
    return ContentRanking(
        effective=_best_first(r for r in found if r.verdict is Verdict.WINNING),
        ineffective=tuple(
            sorted(
                (r for r in found if r.verdict is Verdict.LOSING),
                key=lambda r: (r.estimate.high, -r.estimate.sample, r.value),
            )
        ),
        undecided=_best_first(r for r in found if r.verdict is Verdict.UNDECIDED),
    )


def length_advice(pattern: WhatPattern | None, channel: str | None, share: float) -> LengthAdvice:
    """How long a text should be.

    Args:
        pattern: None: nothing was learned.
        channel: None: e-mail.
        share: share of learning, 0..1, in a blend of learned and default length.

    Returns:
        The best length and the good range: the default ones where nothing was learned, both unset
        where something was but no best length. The range of a blend is unset where the learned or
        the default length has none.
    """
    name = channel or EMAIL
    default = DEFAULT_LENGTHS.get(name)
    if pattern is None or share <= 0.0:
        return _default_length(default)
    learned = pattern.optimal_length.get(name)
    if learned is None:
        return replace(_NO_LENGTH, unit=default.unit if default is not None else _NO_LENGTH.unit)
    optimal = learned.optimal_chars if learned.unit == "characters" else learned.optimal_words
    best = _best_bin(learned)
    estimate = best.estimate if best is not None else None
    advice = LengthAdvice(
        optimal=optimal,
        range_min=learned.range_min,
        range_max=learned.range_max,
        unit=learned.unit,
        verdict=learned.verdict,
        estimate=estimate,
    )
    if share >= 1.0 or default is None or optimal is None or default.unit != learned.unit:
        return advice
    blended = _mix(optimal, default.optimal, share)
    low, high = learned.range_min, learned.range_max
    measured = low is not None and high is not None and low <= blended <= high
    return replace(
        advice,
        optimal=blended,
        range_min=_mix_if_both(low, default.range_min, share),
        range_max=_mix_if_both(high, default.range_max, share),
        estimate=estimate if measured else None,
    )


class Rated(Protocol):
    """Anything with a value, a rate and a verdict."""

    @property
    def value(self) -> str:
        """What was rated."""
        ...

    @property
    def estimate(self) -> RateEstimate:
        """Its rate."""
        ...

    @property
    def verdict(self) -> Verdict:
        """What the evidence says."""
        ...


def _segments(rates: Sequence[Rated]) -> tuple[SegmentRate, ...]:
    return tuple(SegmentRate(value=r.value, estimate=r.estimate, verdict=r.verdict) for r in rates)


def _of_channel(
    pattern: WhatPattern, channel: str | None, model: ModelInfo, share: float
) -> tuple[WhatPattern, ModelInfo, float]:
    own = pattern.by_channel.get(channel) if channel is not None else None
    own_share = blend_weight(own.envelope.confidence) if own is not None else 0.0
    if own is None or own_share <= 0.0:
        return pattern, model, share
    own_share = min(own_share, share)
    source = model.source
    if source is not Source.BLENDED:
        source = blended_source(own_share, source)
    return (
        own,
        replace(
            model,
            source=source,
            sample_size=own.envelope.sample_size,
            confidence=min(own.envelope.confidence, model.confidence),
        ),
        own_share,
    )


def _without_learning(channel: str | None, model: ModelInfo) -> ContentAnswer:
    return ContentAnswer(
        pain_points=ContentRanking(),
        ctas=ContentRanking(),
        angles=ContentRanking(),
        subject_patterns=ContentRanking(),
        optimal_length=length_advice(None, channel, 0.0),
        personalization_lift=(),
        template_ranking=(),
        model=model,
    )


def _default_length(default: DefaultLength | None) -> LengthAdvice:
    if default is None:
        return _NO_LENGTH
    return LengthAdvice(
        optimal=default.optimal,
        range_min=default.range_min,
        range_max=default.range_max,
        unit=default.unit,
        verdict=Verdict.UNDECIDED,
        estimate=None,
    )


def _best_bin(length: OptimalLength) -> LengthBin | None:
    """The bin the verdict is on: of the winning ones, or else of all, the best lower bound."""
    winning = [part for part in length.bins if part.verdict is Verdict.WINNING]
    return max(winning or length.bins, key=lambda part: part.estimate.low, default=None)


def _mix(learned: int, default: int, share: float) -> int:
    return round(share * learned + (1.0 - share) * default)


def _mix_if_both(learned: int | None, default: int | None, share: float) -> int | None:
    # One range alone need not hold a length between the learned and the default one.
    return None if learned is None or default is None else _mix(learned, default, share)


def _personalization(effects: Mapping[str, FlagEffect]) -> tuple[PersonalizationEffect, ...]:
    order = (Verdict.WINNING, Verdict.UNDECIDED, Verdict.LOSING)
    ranked = sorted(
        effects.items(),
        key=lambda item: (
            order.index(item[1].verdict),
            -(item[1].lift if item[1].lift is not None else 1.0),
            item[0],
        ),
    )
    return tuple(
        PersonalizationEffect(
            value=name,
            present=effect.present,
            absent=effect.absent,
            lift=effect.lift,
            verdict=effect.verdict,
        )
        for name, effect in ranked
    )


def _templates(block: TemplatePerformance | None) -> tuple[SegmentRate, ...]:
    return _best_first((*block.top_templates, *block.bottom_templates)) if block else ()


def _best_first(rates: Iterable[SegmentRate]) -> tuple[SegmentRate, ...]:
    return tuple(sorted(rates, key=lambda r: (-r.estimate.low, -r.estimate.sample, r.value)))
