"""CONVERSATION: which dialogues convert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import polars as pl

from cis_server.detectors.blocks import Blocks
from cis_server.detectors.conversation_pattern_answers import (
    RESPONSE_EDGES,
    RESPONSE_LABELS,
    answers_to_objections,
    response_minutes,
)
from cis_server.detectors.conversation_pattern_questions import Questions, cluster_questions
from cis_server.detectors.conversation_pattern_threads import Threads, conversation_threads
from cis_server.detectors.conversation_pattern_turns import turn_hazards
from cis_server.detectors.envelope import envelope, require_enough
from cis_server.detectors.flag_effects import flag_effect, flag_levels
from cis_server.detectors.levels import Levels, banded, levels, multi_levels
from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.rounding import rounded, rounded_rate
from cis_server.detectors.segments import Judged, Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.unit_strata import one_row_each, tier_codes
from cis_server.domain.conversation_pattern import (
    CommonQuestion,
    ConversationPattern,
    Escalation,
    IntentShare,
    ObjectionOutcome,
    ObjectionResponse,
    ResponseTimeEffect,
    SentimentTrajectory,
    ThreadTotals,
)
from cis_server.domain.dataset import Dataset
from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.vocabulary import PatternType, Sentiment, ThreadOutcome
from cis_server.stats.rates import estimate_segments

_METHOD = (
    "threads followed for the same time after the lead's first message, each once per segment; "
    "rates by beta-binomial shrinkage; Fisher or score test against the complement with "
    "Benjamini-Hochberg over all segments; stratified by score tier and channel; hazard per turn; "
    "questions clustered by overlap of words"
)
_OBJECTIONS, _RESPONSES = "objection_outcomes", "objection_responses"
_QUESTIONS, _SENTIMENT = "common_questions", "sentiment_trajectory"
_RESPONSE_TIME, _ESCALATION, _INTENTS = "response_time_effect", "escalation", "intent_mix"
_TRAJECTORY = "trajectory"
_IMPROVING, _WORSENING, _STEADY = "improving", "worsening", "steady"
_TONE_STEP = 0.1
"""Change of the sentiment score (-1..1) from which the tone has changed."""
_ALL_LEVELS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Material:
    """What is worked out once and read by judging and by listing.

    Attributes:
        minutes: gives what `response_minutes` does.
    """

    threads: Threads
    minutes: Callable[[], pl.DataFrame]
    answers: pl.DataFrame
    asked: pl.DataFrame
    questions: Questions | None


def detect_conversation(
    dataset: Dataset,
    *,
    settings: DetectorSettings | None = None,
    run: Population | None = None,
) -> ConversationPattern:
    """Compare conversations by what is said in them, how fast, how long, and by whom.

    Everything here is an association: threads are handed to a person because they are hard, and
    quick answers go to the leads that look promising.

    Args:
        dataset: one client's frames and window.
        settings: thresholds.
        run: the labelled population of this dataset, when it is known already.

    Returns:
        The pattern; the same data give the same pattern whatever the row order.

    Raises:
        InsufficientData: too few followed threads, conversions or non-conversions.
    """
    settings = settings or DetectorSettings()
    run = run or population(dataset, settings)
    threads = conversation_threads(dataset, settings)
    followed, note = threads.followed, _note(threads)
    converted = int(followed["won"].sum())
    require_enough(followed.height, converted, "followed threads", settings, note)
    blocks = Blocks()
    material = _material(dataset, threads, blocks, settings)
    judged = _judged(material, blocks, settings)
    totals = blocks.run("thread_totals", lambda: _totals(threads))
    objections = blocks.run(_OBJECTIONS, lambda: _objections(threads, judged)) or ()
    responses = blocks.run(_RESPONSES, lambda: _responses(material, judged, settings)) or ()
    questions = blocks.run(_QUESTIONS, lambda: _questions(material, judged, settings)) or ()
    sentiment = blocks.run(_SENTIMENT, lambda: _sentiment(threads, judged))
    times = blocks.run(_RESPONSE_TIME, lambda: _response_times(material, judged)) or ()
    turns = blocks.run("turns", lambda: turn_hazards(threads, settings))
    escalation = blocks.run(_ESCALATION, lambda: _escalation(threads, judged, settings))
    intents = blocks.run(_INTENTS, lambda: _intents(threads, judged)) or {}
    about = envelope(
        PatternType.CONVERSATION,
        run,
        blocks,
        unit="threads",
        method=_METHOD,
        sample=followed.height,
        converted=converted,
    )
    return ConversationPattern(
        envelope=replace(about, note=note),
        thread_totals=totals,
        objection_outcomes=objections,
        objection_responses=responses,
        common_questions=questions,
        sentiment_trajectory=sentiment,
        response_time_effect=times,
        turns=turns,
        escalation=escalation,
        intent_mix=intents,
    )


def _material(
    dataset: Dataset, threads: Threads, blocks: Blocks, settings: DetectorSettings
) -> _Material:
    asked = threads.inbound.select("thread", "lead_id", "question_key", "sentiment_score").filter(
        pl.col("question_key").str.len_bytes() > 0
    )
    answers = blocks.run(_RESPONSES, lambda: answers_to_objections(dataset, threads))
    questions = None
    if asked.height:
        questions = blocks.run(
            _QUESTIONS, lambda: cluster_questions(asked, settings.minimum_listed)
        )
    if questions is not None:
        asked = asked.join(questions.cluster, on="question_key", how="left")
    return _Material(
        threads=threads,
        minutes=cache(partial(response_minutes, threads)),
        answers=answers if answers is not None else pl.DataFrame(schema=_NO_ANSWERS),
        asked=asked,
        questions=questions,
    )


_NO_ANSWERS = {
    "thread": pl.UInt32,
    "objection": pl.String,
    "template": pl.String,
    "angle": pl.String,
}


def _judged(
    material: _Material, blocks: Blocks, settings: DetectorSettings
) -> Mapping[str, Judged]:
    """All comparisons of the run, judged together."""
    threads = material.threads
    followed = threads.followed
    won = followed["won"].to_numpy()
    channels = followed["channel"].fill_null("").rank("dense").to_numpy().astype(np.int64)
    risk = one_row_each(won, tier_codes(followed), channels)
    segments = Segments(settings, float(won.mean()))

    def add(dimension: Levels) -> None:
        if dimension.values:
            segments.add(dimension, won, risk)

    def add_lists(name: str, column: str) -> None:
        add(multi_levels(name, threads.lists(threads.inbound, column), limit=_ALL_LEVELS))

    def add_responses(objection: str, column: str) -> None:
        found = material.answers.filter(pl.col("objection") == objection)
        values = threads.one(found, column)
        dimension = levels(
            f"{_RESPONSES}.{objection}.{column}", values, limit=settings.ranked_levels
        )
        if dimension.values:
            rate = float(won[dimension.known].mean())
            segments.add(dimension, won, risk, baseline=rate)

    def add_questions() -> None:
        frequent = material.asked.filter(pl.col("cluster") < settings.common_questions)
        named = frequent.with_columns(name=pl.col("cluster").cast(pl.String))
        add(multi_levels(_QUESTIONS, threads.lists(named, "name"), limit=_ALL_LEVELS))

    def add_sentiments() -> None:
        first = _first_sentiments(threads)
        add(levels(_SENTIMENT, threads.one(first, "sentiment"), limit=_ALL_LEVELS))
        tone = _tones(threads)
        add(levels(_TRAJECTORY, threads.one(tone, "tone"), limit=_ALL_LEVELS))

    def add_times() -> None:
        minutes = threads.one(material.minutes(), "minutes")
        add(banded(_RESPONSE_TIME, minutes, RESPONSE_EDGES, RESPONSE_LABELS))

    blocks.step(_OBJECTIONS, partial(add_lists, _OBJECTIONS, "objection"))
    for objection in sorted(material.answers["objection"].unique().to_list()):
        for column in ("template", "angle"):
            blocks.step(_RESPONSES, partial(add_responses, objection, column))
    if material.questions is not None:
        blocks.step(_QUESTIONS, add_questions)
    blocks.step(_SENTIMENT, add_sentiments)
    blocks.step(_RESPONSE_TIME, add_times)
    blocks.step(_ESCALATION, lambda: add(flag_levels(_ESCALATION, followed["escalated"])))
    blocks.step(_INTENTS, partial(add_lists, _INTENTS, "intent"))
    return segments.judged()


def _totals(threads: Threads) -> ThreadTotals:
    """Threads of the window as they stand now; their rate is of those followed."""
    won = int(threads.followed["won"].sum())
    estimate = rounded(estimate_segments([won], [threads.followed.height]).estimates[0])
    outcomes = threads.threads["outcome"]
    return ThreadTotals(
        threads=threads.threads.height,
        resolved=int(threads.threads["ended"].sum()),
        converted=int(threads.threads["won"].sum()),
        rejected=int((outcomes == ThreadOutcome.REJECTED.value).sum()),
        no_response=int((outcomes == ThreadOutcome.NO_RESPONSE.value).sum()),
        conversion_rate=estimate.adjusted_rate,
        estimate=estimate,
    )


def _segments(judged: Mapping[str, Judged], dimension: str) -> tuple[SegmentRate, ...]:
    return judged[dimension].segments if dimension in judged else ()


def _objections(
    threads: Threads, judged: Mapping[str, Judged]
) -> tuple[ObjectionOutcome, ...] | None:
    raised = threads.inbound.drop_nulls("objection").unique(["thread", "objection"])
    counts = dict(raised.group_by("objection").len().iter_rows())
    return (
        tuple(
            ObjectionOutcome(
                objection_type=segment.value,
                threads=counts[segment.value],
                share=rounded_rate(counts[segment.value] / threads.threads.height),
                estimate=segment.estimate,
                verdict=segment.verdict,
            )
            for segment in _segments(judged, _OBJECTIONS)
        )
        or None
    )


def _responses(
    material: _Material, judged: Mapping[str, Judged], settings: DetectorSettings
) -> tuple[ObjectionResponse, ...] | None:
    """By objection, then best evidence first; templates before angles."""
    found = []
    for name in judged:
        block, _, rest = name.partition(".")
        if block != _RESPONSES:
            continue
        objection, _, column = rest.rpartition(".")
        own = material.answers.filter(pl.col("objection") == objection)[column]
        counts = dict(own.value_counts().iter_rows())
        found += [
            ObjectionResponse(
                objection_type=objection,
                response_template=segment.value or None if column == "template" else None,
                angle=segment.value if column == "angle" else None,
                threads=counts[segment.value],
                estimate=segment.estimate,
                verdict=segment.verdict,
            )
            for segment in judged[name].segments
            if segment.estimate.sample >= settings.minimum_responses
        ]
    return tuple(found) or None


def _questions(
    material: _Material, judged: Mapping[str, Judged], settings: DetectorSettings
) -> tuple[CommonQuestion, ...] | None:
    if material.questions is None:
        return None
    rates = {int(s.value): s for s in _segments(judged, _QUESTIONS)}
    tones = material.asked.group_by("cluster").agg(
        tone=pl.col("sentiment_score").sort().mean().round(4)
    )
    tone = dict(tones.iter_rows())
    return (
        tuple(
            CommonQuestion(
                question=wording,
                frequency=frequency,
                avg_sentiment_score=tone[cluster],
                estimate=rates[cluster].estimate,
                verdict=rates[cluster].verdict,
            )
            for cluster, (wording, frequency) in enumerate(
                zip(material.questions.wording, material.questions.frequency, strict=True)
            )
            if cluster in rates and cluster < settings.common_questions
        )
        or None
    )


def _first_sentiments(threads: Threads) -> pl.DataFrame:
    """Tone of the lead's first message of each thread; null where it was not analysed."""
    return threads.inbound.group_by("thread", maintain_order=True).agg(
        sentiment=pl.col("sentiment").first()
    )


def _tones(threads: Threads) -> pl.DataFrame:
    """Last against first analysed message of the lead, in threads with two of them."""
    change = pl.col("sentiment_score").last() - pl.col("sentiment_score").first()
    scored = (
        threads.inbound.drop_nulls("sentiment_score")
        .group_by("thread", maintain_order=True)
        .agg(change=change, messages=pl.len())
        .filter(pl.col("messages") > 1)
    )
    return scored.select(
        "thread",
        tone=pl.when(pl.col("change") >= _TONE_STEP - 1e-9)
        .then(pl.lit(_IMPROVING))
        .when(pl.col("change") <= 1e-9 - _TONE_STEP)
        .then(pl.lit(_WORSENING))
        .otherwise(pl.lit(_STEADY)),
    )


def _sentiment(threads: Threads, judged: Mapping[str, Judged]) -> SentimentTrajectory | None:
    counts = _first_sentiments(threads)["sentiment"].drop_nulls().value_counts()
    seen = dict(counts.iter_rows())
    if not seen:
        return None
    rates = {s.value: s.estimate for s in _segments(judged, _SENTIMENT)}
    tones = {s.value: s.estimate for s in _segments(judged, _TRAJECTORY)}
    names = [sentiment.value for sentiment in Sentiment]
    return SentimentTrajectory(
        first_inbound={name: seen.get(name, 0) for name in names},
        conversion_rate={name: rates[name] for name in names if name in rates},
        improving=tones.get(_IMPROVING),
        worsening=tones.get(_WORSENING),
    )


def _response_times(
    material: _Material, judged: Mapping[str, Judged]
) -> tuple[ResponseTimeEffect, ...] | None:
    """In order of time."""
    minutes = material.minutes()["minutes"]
    codes = np.searchsorted(np.asarray(RESPONSE_EDGES), minutes.to_numpy(), side="right")
    counts = np.bincount(codes, minlength=len(RESPONSE_LABELS))
    found = judged[_RESPONSE_TIME].by_value() if _RESPONSE_TIME in judged else {}
    return (
        tuple(
            ResponseTimeEffect(
                bucket=label,
                threads=int(counts[place]),
                estimate=found[label].estimate,
                verdict=found[label].verdict,
            )
            for place, label in enumerate(RESPONSE_LABELS)
            if label in found
        )
        or None
    )


def _escalation(
    threads: Threads, judged: Mapping[str, Judged], settings: DetectorSettings
) -> Escalation:
    sides: dict[str, RateEstimate] = {s.value: s.estimate for s in _segments(judged, _ESCALATION)}
    unknown = int(threads.followed["escalated"].null_count())
    return Escalation(
        escalated_threads=int(threads.threads["escalated"].sum()),
        conversion_rate_escalated=sides["true"].adjusted_rate if "true" in sides else None,
        conversion_rate_not=sides["false"].adjusted_rate if "false" in sides else None,
        effect=flag_effect(judged.get(_ESCALATION), "escalated", unknown, settings),
    )


def _intents(threads: Threads, judged: Mapping[str, Judged]) -> dict[str, IntentShare] | None:
    counts = dict(threads.inbound["intent"].value_counts().iter_rows())
    return {
        segment.value: IntentShare(messages=counts[segment.value], estimate=segment.estimate)
        for segment in sorted(_segments(judged, _INTENTS), key=lambda segment: segment.value)
    } or None


def _note(threads: Threads) -> str:
    days = threads.follow_up_days
    young = threads.threads.height - threads.followed.height
    parts = [
        f"{threads.automatic} automatic replies" if threads.automatic else "",
        f"{young} threads in which the lead first wrote in the last {days} days" if young else "",
    ]
    left_out = ", ".join(part for part in parts if part)
    note = f"conversions within {days} days of the lead's first message"
    return f"{note}; left out: {left_out}" if left_out else note
