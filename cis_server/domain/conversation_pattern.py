"""What the CONVERSATION detector finds; the unit is the thread in which the lead wrote.

Rates are of threads that were followed for the same time after the lead's first message, ended or
not (`detectors.conversation_pattern_threads`); each thread counts once per segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cis_server.domain.envelope import Envelope, FlagEffect
from cis_server.domain.rates import RateEstimate
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadTotals(Stored):
    """Threads of the window as they stand at its end, and the rate of those followed."""

    threads: int
    resolved: int
    """Threads that have come to an end."""
    converted: int
    rejected: int
    no_response: int
    conversion_rate: float | None
    """Adjusted."""
    estimate: RateEstimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectionOutcome(Stored):
    """How threads with one objection end."""

    objection_type: str
    threads: int
    share: float
    """Of all threads."""
    estimate: RateEstimate
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectionResponse(Stored):
    """What we wrote next after an objection: by template, or by angle."""

    objection_type: str
    response_template: str | None
    angle: str | None
    threads: int
    estimate: RateEstimate
    """`lift` refers to all answered threads with the objection."""
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonQuestion(Stored):
    """A question, near-duplicates together."""

    question: str
    """Most frequent wording; words too rare to be anybody's are cut out."""
    frequency: int
    avg_sentiment_score: float | None
    estimate: RateEstimate
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentTrajectory(Stored):
    """Tone of the lead over the thread."""

    first_inbound: dict[str, int]
    conversion_rate: dict[str, RateEstimate]
    improving: RateEstimate | None
    worsening: RateEstimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseTimeEffect(Stored):
    """Threads by the median time we took to answer."""

    bucket: str
    threads: int
    estimate: RateEstimate
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnHazard(Stored):
    """Conversions at a turn / threads that reached it."""

    turn: int
    estimate: RateEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns(Stored):
    """Length in turns from the lead's first message on; a turn ends when the side changes."""

    median_turns_converted: float | None
    median_turns_lost: float | None
    conversion_rate_by_turns: tuple[TurnHazard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation(Stored):
    """Threads handed to a person. Not causal: hard threads are handed over."""

    escalated_threads: int
    conversion_rate_escalated: float | None
    conversion_rate_not: float | None
    effect: FlagEffect | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentShare(Stored):
    """Messages of one intent, and how their threads end."""

    messages: int
    estimate: RateEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationPattern(Stored):
    """Which dialogues convert."""

    TYPE: ClassVar[PatternType] = PatternType.CONVERSATION

    envelope: Envelope
    thread_totals: ThreadTotals | None
    objection_outcomes: tuple[ObjectionOutcome, ...]
    objection_responses: tuple[ObjectionResponse, ...]
    common_questions: tuple[CommonQuestion, ...]
    sentiment_trajectory: SentimentTrajectory | None
    response_time_effect: tuple[ResponseTimeEffect, ...]
    turns: Turns | None
    escalation: Escalation | None
    intent_mix: dict[str, IntentShare]
