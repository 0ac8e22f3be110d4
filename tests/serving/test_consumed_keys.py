"""Every key of WHAT, WHEN and HOW reaches an answer, or is known to be for people only.

A reader that looks for a key that no detector writes is silently without effect; a key that no
answer depends on is learned in vain. So each key is taken away in turn and some answer must differ.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest
from full_patterns import full_how_pattern, full_when_pattern, what_pattern
from serving_fakes import NOW

from cis_client.v1 import patterns_pb2
from cis_server.domain.clients import ClientRecord
from cis_server.domain.model_info import DEFAULT_MODEL, ModelInfo
from cis_server.domain.patterns import ChannelTiming, HowPattern, WeekSurface, WhenPattern
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternType, Source, Tier
from cis_server.domain.what_pattern import WhatPattern
from cis_server.serving.channel_plan import ChannelPlan
from cis_server.serving.channels import ChannelsRequest, channels_answer
from cis_server.serving.content import content_answer
from cis_server.serving.draws import SeededDraws, draws_for
from cis_server.serving.prompt_context import PromptPatterns, prompt_lines
from cis_server.serving.sequence import SequenceMaterial, SequenceRequest, sequence_answer
from cis_server.serving.timing import TimingRequest, timing_answer
from cis_server.serving.timing_plan import TimingPlan

CLIENT = ClientRecord(client_id="acme", timezone="Europe/Berlin")
MODEL = ModelInfo(
    model_version="1", source=Source.LEARNED, computed_at=NOW, sample_size=1000, confidence=0.9
)
CHANNELS = (None, "email", "linkedin")


def what_answers(pattern: WhatPattern) -> list[object]:
    return [
        (
            content_answer(pattern, channel, MODEL),
            prompt_lines(PromptPatterns(what=pattern), channel, 50),
        )
        for channel in CHANNELS
    ]


def when_answers(pattern: WhenPattern) -> list[object]:
    plan = TimingPlan(pattern, 1.0, Source.LEARNED)
    answers: list[object] = [prompt_lines(PromptPatterns(when=pattern), None, 50)]
    for channel in CHANNELS:
        request = TimingRequest(
            client_id="acme",
            lead_id="l",
            channel=channel,
            touch_number=2,
            last_touch_time=NOW - dt.timedelta(days=1),
        )
        draws = SeededDraws("x")
        answers.append(timing_answer(plan, request, CLIENT, None, MODEL, NOW, draws)[0])
    material = SequenceMaterial(
        timing=plan,
        timing_model=MODEL,
        channels_model=DEFAULT_MODEL,
        mean_touches=pattern.avg_touches_to_convert,
    )
    return [*answers, plan_of(material)]


def how_answers(pattern: HowPattern) -> list[object]:
    plan = ChannelPlan(pattern, 1.0, Source.LEARNED)
    answers: list[object] = [prompt_lines(PromptPatterns(how=pattern), None, 50)]
    for tier in (Tier.WARM, Tier.HOT):
        for used in ((), ("email",)):
            request = ChannelsRequest(client_id="acme", tier=tier, lead_id="l", used_channels=used)
            answer, _ = channels_answer(
                plan, request, CLIENT.policy, None, MODEL, NOW, SeededDraws("x")
            )
            answers.append(answer)
    # Transitions lead only where no channel has a rate.
    bare = ChannelPlan(
        replace(pattern, channel_effectiveness=(), tier_channel_effectiveness={}),
        1.0,
        Source.LEARNED,
    )
    answers.append(bare.after("email", ("sms", "linkedin")))
    material = SequenceMaterial(channels=plan, channels_model=MODEL, timing_model=DEFAULT_MODEL)
    return [*answers, plan_of(material)]


def plan_of(material: SequenceMaterial) -> object:
    request = SequenceRequest(client_id="acme", lead_id="l", tier=Tier.WARM)
    draws = partial(draws_for, "l", "acme")
    return sequence_answer(material, request, CLIENT, None, NOW, draws)[0]


FOR_PEOPLE: Mapping[PatternType, frozenset[str]] = {
    PatternType.WHAT: frozenset(
        # Which model or prompt writes is not the writer's to choose; tests are read by people.
        {"ai_model_performance", "ab_test_insights"}
    ),
    PatternType.WHEN: frozenset(
        # `sequence_gaps` says the same with its interval.
        {"optimal_sequence_gaps", "engagement_timing", "timezone_insights", "coverage"}
    ),
    PatternType.HOW: frozenset(
        {
            "touch_effectiveness",
            "email_engagement_correlation",
            "channel_conversation_quality",
            "booking_channel_distribution",
            "attribution",
            "channel_attributes",
        }
    ),
}


def full_what() -> WhatPattern:
    own = replace(what_pattern(confidence=0.8), ctas=None)
    return what_pattern(by_channel={"linkedin": own})


def full_when() -> WhenPattern:
    surface = WeekSurface(
        bandwidth_hours=2.0,
        rate=tuple(0.05 + 0.0001 * cell for cell in range(168)),
        low=tuple(0.04 + 0.0001 * cell for cell in range(168)),
        high=tuple(0.06 + 0.0001 * cell for cell in range(168)),
        effective_sample=(50.0,) * 168,
    )
    pattern = full_when_pattern()
    own = ChannelTiming(
        channel="linkedin",
        sample=500,
        best_days=pattern.best_days[1:],
        best_hours=pattern.best_hours[1:],
        surface=None,
    )
    return replace(pattern, surface=surface, by_channel=(own,))


CASES: list[tuple[Stored, Callable[[Any], list[object]]]] = [
    (full_what(), what_answers),
    (full_when(), when_answers),
    (full_how_pattern(), how_answers),
]


@pytest.mark.parametrize(("pattern", "answers"), CASES)
def test_every_key_reaches_an_answer(pattern: Any, answers: Callable[[Any], list[object]]) -> None:
    whole = answers(pattern)
    without_effect = {
        field.name
        for field in fields(pattern)
        if field.name != "envelope"
        and answers(replace(pattern, **{field.name: empty(getattr(pattern, field.name))})) == whole
    }
    assert without_effect == FOR_PEOPLE[pattern.TYPE]


@pytest.mark.parametrize(("pattern", "answers"), CASES)
def test_the_stored_form_answers_the_same(
    pattern: Any, answers: Callable[[Any], list[object]]
) -> None:
    assert answers(type(pattern).from_json(pattern.to_json())) == answers(pattern)


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in CASES])
def test_every_key_that_is_read_is_in_the_message(pattern: Any) -> None:
    name = f"{pattern.TYPE.value.capitalize()}Pattern"
    message = getattr(patterns_pb2, name).DESCRIPTOR.fields_by_name
    read = {field.name for field in fields(pattern)} - FOR_PEOPLE[pattern.TYPE] - {"envelope"}
    assert read <= set(message)


def empty(value: object) -> object:
    return type(value)() if isinstance(value, tuple | dict) else None
