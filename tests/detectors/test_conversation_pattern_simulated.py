"""CONVERSATION against the simulator: what replies mean is found, chance answers nothing."""

import datetime as dt
import time
from functools import cache

import pytest

from cis_client.v1 import patterns_pb2
from cis_server.demo.dataset import to_dataset
from cis_server.demo.replies import REPLIES
from cis_server.demo.simulator import simulate
from cis_server.demo.specs import ClientSpec, Outreach
from cis_server.detectors.conversation_pattern import detect_conversation
from cis_server.detectors.funnel import detect_funnel
from cis_server.detectors.outcomes import population
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.conversation_pattern import ConversationPattern
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternStatus, Verdict
from cis_server.rpc.messages.patterns import fill

AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)
WINDOW = Window(start=AS_OF - dt.timedelta(days=120), as_of=AS_OF)


@cache
def data(leads: int, seed: int) -> Dataset:
    spec = ClientSpec(
        client_id="acme", leads=leads, base_rate=0.1, outreach=Outreach(history_days=150)
    )
    return to_dataset(simulate([spec], seed, AS_OF), "acme", WINDOW)


@cache
def found() -> ConversationPattern:
    return detect_conversation(data(12_000, 1))


def test_refusals_lose_and_requests_win() -> None:
    outcomes = {entry.objection_type: entry for entry in found().objection_outcomes}
    assert set(outcomes) == {reply.objection for reply in REPLIES if reply.objection}
    assert {entry.verdict for entry in outcomes.values()} == {Verdict.LOSING}
    intents = found().intent_mix
    assert set(intents) == {reply.intent for reply in REPLIES if reply.kind != "automatic"}
    assert intents["meeting_request"].estimate.low > intents["objection"].estimate.high
    tone = found().sentiment_trajectory
    assert tone is not None
    assert tone.conversion_rate["positive"].low > tone.conversion_rate["negative"].high


def test_questions_of_the_simulator_are_those_found() -> None:
    wanted = {reply.question for reply in REPLIES if reply.question}
    # Only words are compared: "set-up" is read as two.
    asked = {question.question for question in found().common_questions}
    assert asked == {str(question).lower().replace("-", " ") for question in wanted}
    best = max(found().common_questions, key=lambda question: question.estimate.low)
    assert best.question == "when are you free?"
    assert best.verdict is Verdict.WINNING


def test_speed_and_escalation_without_effect_have_none() -> None:
    """How fast the simulator answers, and whom it hands over, is drawn apart from the outcome."""
    loud = 0
    for seed in range(6):
        pattern = detect_conversation(data(4_000, seed))
        loud += any(e.verdict is not Verdict.UNDECIDED for e in pattern.response_time_effect)
        assert pattern.escalation is not None
        effect = pattern.escalation.effect
        loud += effect is not None and effect.verdict is not Verdict.UNDECIDED
    assert loud <= 2


def test_no_block_fails() -> None:
    blocks = {b.block: b.status for b in found().envelope.blocks}
    assert len(blocks) == 9
    assert PatternStatus.ERROR not in blocks.values()


@pytest.mark.parametrize("kind", ["funnel", "conversation"])
def test_found_patterns_fill_their_messages(kind: str) -> None:
    pattern: Stored = detect_funnel(data(12_000, 1)) if kind == "funnel" else found()
    message = getattr(patterns_pb2.Pattern(), kind)
    fill(message, pattern.to_json())
    read = type(message).FromString(message.SerializeToString())
    if isinstance(pattern, ConversationPattern):
        assert pattern.thread_totals is not None
        assert read.thread_totals.threads == pattern.thread_totals.threads
        assert set(read.intent_mix) == set(pattern.intent_mix)
        assert len(read.common_questions) == len(pattern.common_questions)
    else:
        shares = [entry.revenue_share for entry in read.channel_attribution.models["linear"].items]
        assert sum(shares) == pytest.approx(1.0)
        assert read.show_rate.by_day[0].day_of_week in range(1, 8)
        assert read.velocity.stage_velocity


@pytest.mark.slow
def test_a_hundred_thousand_leads_take_about_a_second() -> None:
    full = data(100_000, 2)
    run = population(full, DetectorSettings())
    began = time.process_time()
    detect_conversation(full, run=run)
    assert time.process_time() - began < 3  # of all cores, and of a busy machine
