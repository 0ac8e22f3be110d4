"""CONVERSATION by hand: every figure worked out beside the data."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import polars as pl
import pytest
from conversation_frames import BEGUN, ours, said, thread, with_conversations, won
from detector_frames import AS_OF, START, dataset, outreach, shuffled

from cis_server.detectors.blocks import InsufficientData
from cis_server.detectors.conversation_pattern import detect_conversation
from cis_server.detectors.conversation_pattern_questions import CUT, Questions, cluster_questions
from cis_server.domain.conversation_pattern import ConversationPattern
from cis_server.domain.rates import RateEstimate
from cis_server.domain.vocabulary import PatternStatus, Verdict

Row = dict[str, Any]
N = 40


def pattern(threads: Sequence[Row], messages: Sequence[Row], **frames: Any) -> ConversationPattern:
    numbered = pl.DataFrame(messages, infer_schema_length=None).with_columns(
        position=pl.int_range(1, pl.len() + 1).over("thread_id")
    )
    return detect_conversation(dataset(threads=threads, messages=numbered, **frames))


def counts(estimate: RateEstimate | None) -> tuple[int, int]:
    assert estimate is not None
    return estimate.converted, estimate.sample


def halves(**changes: Any) -> tuple[list[Row], list[Row]]:
    """40 won threads with one kind of message, 40 lost ones with another."""
    threads = [*(won(i) for i in range(N)), *(thread(100 + i) for i in range(N))]
    messages = [*(said(i, 1, **changes) for i in range(N)), *(said(100 + i, 1) for i in range(N))]
    return threads, messages


def test_every_key_of_full_data_is_there() -> None:
    data = with_conversations(outreach(seed=5, leads=2400))
    found = detect_conversation(data)
    assert {b.status for b in found.envelope.blocks} == {PatternStatus.OK}
    names = [f.name for f in fields(found) if f.name != "envelope"]
    assert sorted(b.block for b in found.envelope.blocks) == sorted(names)
    for name in names:
        assert found.to_json()[name], name
    trajectory = found.sentiment_trajectory
    assert trajectory is not None
    assert trajectory.improving is not None
    assert trajectory.worsening is not None
    assert found.envelope.unit == "threads"


def test_the_same_data_give_the_same_bytes_whatever_the_row_order() -> None:
    data = with_conversations(outreach(seed=6, leads=1200))
    first = json.dumps(detect_conversation(data).to_json(), allow_nan=False)
    for seed in (1, 2):
        assert json.dumps(detect_conversation(shuffled(data, seed)).to_json()) == first
    assert ConversationPattern.from_json(json.loads(first)) == detect_conversation(data)


def test_totals_count_threads_in_which_a_person_wrote() -> None:
    threads, messages = halves()
    threads += [
        thread(300),  # nobody wrote
        thread(301),  # an automatic reply is nobody
        thread(302, created_at=START - dt.timedelta(days=1)),
        thread(303, status="active", outcome="ongoing"),
        thread(304, status="stale", outcome="ongoing"),
        thread(305, status="dead", outcome="no_response"),
    ]
    messages += [
        ours(300, 1),
        said(301, 1, intent="out_of_office"),
        said(301, 2, intent="auto_reply"),
        *(said(i, 1) for i in (302, 303, 304, 305)),
    ]
    found = pattern(threads, messages)
    totals = found.thread_totals
    assert totals is not None
    assert (totals.threads, totals.resolved, totals.converted) == (83, 81, 40)
    assert (totals.rejected, totals.no_response) == (40, 1)
    # Running threads had as much time to convert as the others.
    assert counts(totals.estimate) == (40, 83)
    assert found.envelope.note == (
        "conversions within 30 days of the lead's first message; left out: 2 automatic replies"
    )
    assert found.intent_mix["question"].messages == 83
    assert set(found.intent_mix) == {"question"}


def test_an_objection_counts_once_per_thread() -> None:
    threads, messages = halves()
    threads.append(thread(300, status="active", outcome="ongoing"))
    messages += [said(100 + i, 2 + k, objection="budget") for i in range(35) for k in range(3)]
    messages += [said(100, 9, objection="timing"), said(300, 1, objection="budget")]
    found = pattern(threads, messages)
    (budget,) = found.objection_outcomes
    assert (budget.objection_type, budget.threads) == ("budget", 36)
    assert budget.share == pytest.approx(36 / 81, abs=1e-6)
    assert counts(budget.estimate) == (0, 36)
    assert budget.verdict is Verdict.LOSING


def test_answers_to_objections_go_by_template_and_angle() -> None:
    """The template and angle of a message are those of the touch sent at that moment."""
    threads = [*(won(i) for i in range(N)), *(thread(100 + i) for i in range(N))]
    messages, touches = [], []
    for i in [*range(N), *(100 + i for i in range(N))]:
        messages += [
            ours(i, 1),
            said(i, 10, objection="budget"),
            said(i, 11, objection="budget"),
            ours(i, 30),
            ours(i, 90),
        ]
        if i % 4 == 3:
            continue  # written by hand
        for minute, name in ((1, "opener"), (30, "roi" if i < N else "soft"), (90, "later")):
            touches.append(
                {
                    "activity_id": f"a{i}-{minute}",
                    "lead_id": f"l{i:04d}",
                    "channel": "email",
                    "action": "sent",
                    "occurred_at": BEGUN + dt.timedelta(minutes=minute, seconds=20),
                    "template_id": name,
                    "content": json.dumps({"angles": [f"{name}_angle"]}),
                }
            )
    found = pattern(threads, messages, activities=touches)
    seen = {(r.response_template, r.angle): r for r in found.objection_responses}
    assert set(seen) == {
        ("roi", None), ("soft", None), (None, None), (None, "roi_angle"), (None, "soft_angle"),
    }  # fmt: skip
    assert {r.objection_type for r in found.objection_responses} == {"budget"}
    assert counts(seen["roi", None].estimate) == (30, 30)
    assert counts(seen[None, None].estimate) == (10, 20)
    assert counts(seen[None, "soft_angle"].estimate) == (0, 30)
    assert seen["roi", None].verdict is Verdict.WINNING
    assert seen["roi", None].estimate.lift == 2.0
    assert seen["soft", None].threads == 30


def test_response_time_is_taken_on_opposite_sides_only() -> None:
    """A follow-up of ours a day later is no slow answer, their own haste no fast one."""
    threads = [*(won(i) for i in range(N)), *(thread(100 + i) for i in range(N))]
    messages = []
    for i in range(N):
        messages += [ours(i, 0), said(i, 1), ours(i, 4), ours(i, 4 + 2000)]
        # An automatic reply is not answered: the message after it answers nothing.
        messages += [
            ours(100 + i, 0),
            said(100 + i, 1),
            said(100 + i, 2, intent="auto_reply"),
            ours(100 + i, 301),
            said(100 + i, 400, intent="out_of_office"),
            ours(100 + i, 401),
        ]
    found = {e.bucket: e for e in pattern(threads, messages).response_time_effect}
    assert list(found) == ["<5min", "<24h"]
    assert counts(found["<5min"].estimate) == (40, 40)
    assert counts(found["<24h"].estimate) == (0, 40)
    assert found["<5min"].threads == 40
    assert found["<5min"].verdict is Verdict.WINNING


def test_the_hazard_of_turns_is_of_the_threads_that_reached_them() -> None:
    threads = [
        *(won(i) for i in range(20)),  # turn 2
        *(thread(100 + i) for i in range(20)),  # turn 1
        *(won(200 + i) for i in range(10)),  # turn 4
        *(thread(300 + i, status="active", outcome="ongoing") for i in range(10)),  # turn 3
    ]
    opening = [ours(t, k) for t in (0, 100, 200, 300) for k in range(3)]
    messages = [
        *opening,
        *(m for i in range(20) for m in (said(i, 5), said(i, 6), ours(i, 7), ours(i, 8))),
        *(said(100 + i, 5) for i in range(20)),
        *(
            m
            for i in range(10)
            for m in (said(200 + i, 5), ours(200 + i, 6), said(200 + i, 7), ours(200 + i, 8))
        ),
        *(m for i in range(10) for m in (said(300 + i, 5), ours(300 + i, 6), said(300 + i, 7))),
    ]
    turns = pattern(threads, messages).turns
    assert turns is not None
    assert turns.median_turns_converted == 2.0
    assert turns.median_turns_lost == 1.0  # 20 of 1 turn, 10 of 3
    hazard = [(h.turn, *counts(h.estimate)) for h in turns.conversion_rate_by_turns]
    assert hazard == [(1, 0, 60), (2, 20, 40), (3, 0, 20), (4, 10, 10)]


def test_what_is_said_after_the_conversion_does_not_count() -> None:
    threads, messages = halves()
    booked = BEGUN + dt.timedelta(minutes=20)
    leads = [{"lead_id": f"l{i:04d}", "converted_at": booked} for i in range(N)]
    messages += [said(i, 30, objection="timing", intent="interested") for i in range(N)]
    found = pattern(threads, messages, leads=leads)
    assert found.objection_outcomes == ()
    assert set(found.intent_mix) == {"question"}
    # A thread that began after the conversion keeps its words.
    early = [lead | {"converted_at": BEGUN - dt.timedelta(days=9)} for lead in leads]
    assert pattern(threads, messages, leads=early).objection_outcomes


def test_tone_first_and_over_the_thread() -> None:
    threads = [*(won(i) for i in range(N)), *(thread(100 + i) for i in range(N))]
    messages = []
    for i in range(N):
        messages += [
            said(i, 1, sentiment="negative", sentiment_score=-0.3),
            ours(i, 2),
            said(i, 3, sentiment="positive", sentiment_score=0.3),
        ]
        messages += [
            said(100 + i, 1, sentiment="positive", sentiment_score=0.3),
            said(100 + i, 3, sentiment="neutral", sentiment_score=0.25 if i < 10 else 0.0),
        ]
    tone = pattern(threads, messages).sentiment_trajectory
    assert tone is not None
    assert tone.first_inbound == {"positive": 40, "neutral": 0, "negative": 40, "mixed": 0}
    assert {name: counts(rate) for name, rate in tone.conversion_rate.items()} == {
        "positive": (0, 40),
        "negative": (40, 40),
    }
    assert counts(tone.improving) == (40, 40)
    assert counts(tone.worsening) == (0, 30)  # a twentieth less is no change


def test_escalated_threads_stand_beside_the_others() -> None:
    threads, messages = halves()
    threads = [
        row | {"escalated": i % 2 == 0 if i < N else i % 4 == 0} for i, row in enumerate(threads)
    ]
    threads[-1]["escalated"] = None
    escalation = pattern(threads, messages).escalation
    assert escalation is not None
    assert escalation.escalated_threads == 30
    effect = escalation.effect
    assert effect is not None
    assert counts(effect.present) == (20, 30)
    assert counts(effect.absent) == (20, 49)
    assert effect.unknown == 1
    assert effect.present is not None
    assert escalation.conversion_rate_escalated == effect.present.adjusted_rate


# questions


def asked(**times: int) -> pl.DataFrame:
    """Questions, each time by another lead; words are joined by underscores."""
    rows = [
        {"lead_id": f"{key}-{i}", "question_key": key.replace("_", " ")}
        for key, count in times.items()
        for i in range(count)
    ]
    return pl.DataFrame(rows, schema={"lead_id": pl.String, "question_key": pl.String})


def clusters(found: Questions) -> dict[str, int]:
    return dict(found.cluster.iter_rows())


def test_near_duplicates_are_one_question() -> None:
    found = cluster_questions(
        asked(
            what_does_it_cost=5,
            how_much_would_that_cost_us=4,
            what_are_the_costs=3,
            which_countries_do_you_cover=6,
            can_you_explain_which_countries_you_cover=7,
            who_are_you=2,
            do_you_integrate_with_salesforce=2,
            do_you_integrate_with_hubspot=2,
        ),
        1,
    )
    number = clusters(found)
    assert number["what does it cost"] == number["how much would that cost us"]
    assert number["what does it cost"] == number["what are the costs"] == 1
    assert (
        number["which countries do you cover"]
        == number["can you explain which countries you cover"]
        == 0
    )
    assert number["do you integrate with salesforce"] != number["do you integrate with hubspot"]
    assert found.frequency == (13, 12, 2, 2, 2)
    assert found.wording[:2] == ("can you explain which countries you cover?", "what does it cost?")


def test_a_published_question_names_nobody() -> None:
    rows = asked(what_does_it_cost=6)
    private = pl.DataFrame(
        {
            "lead_id": ["x", "y", "z", "x"],
            "question_key": [
                "what does it cost dana northwind",
                "what does it cost, write to dana@northwind.example or +61 2 5550 1234",
                "what does it cost dana northwind",
                "what does it cost dana northwind",
            ],
        }
    )
    found = cluster_questions(pl.concat([rows, private]), 5)
    told = " ".join(found.wording)
    for secret in ("dana", "northwind", "5550", "@"):
        assert secret not in told
    assert found.wording[0] == "what does it cost?"
    assert CUT in cluster_questions(pl.concat([private] * 3), 3).wording[0]


def test_many_different_questions_stay_quick_and_apart() -> None:
    many = asked(**{f"zq{chr(97 + i % 26)}{chr(97 + i // 26)}_thing": 1 for i in range(650)})
    found = cluster_questions(many, 5)
    assert len(found.wording) == 650
    assert sum(found.frequency) == 650


def test_common_questions_carry_tone_and_rate() -> None:
    threads, messages = halves(question_key="when are you free", sentiment_score=0.6)
    messages += [
        said(100 + i, 5, question_key="what does it cost" if i % 2 else "what is the cost")
        for i in range(N)
        for _ in range(2)
    ]
    cost, free = pattern(threads, messages).common_questions
    assert (cost.question, cost.frequency) == ("what does it cost?", 80)
    assert counts(cost.estimate) == (0, 40)
    assert cost.verdict is Verdict.LOSING
    assert (free.question, free.frequency) == ("when are you free?", 40)
    assert free.avg_sentiment_score == 0.6
    assert free.verdict is Verdict.WINNING


# too little, broken


def test_too_few_followed_threads_are_told() -> None:
    threads, messages = halves()
    lately = [message | {"sent_at": AS_OF - dt.timedelta(days=29)} for message in messages]
    with pytest.raises(InsufficientData, match=r"0 followed threads .* 80 threads in which"):
        pattern(threads, lately)
    with pytest.raises(InsufficientData, match="9 converted, 10 needed") as caught:
        pattern(threads[31:], messages)
    assert (caught.value.sample, caught.value.converted) == (49, 9)
    with pytest.raises(InsufficientData):
        detect_conversation(dataset())


def test_a_block_without_material_is_insufficient_and_the_others_stand() -> None:
    threads, messages = halves()
    found = pattern(threads, messages)
    status = {b.block: b.status for b in found.envelope.blocks}
    for block in ("objection_outcomes", "objection_responses", "common_questions"):
        assert status[block] is PatternStatus.INSUFFICIENT_DATA
    assert status["thread_totals"] is status["turns"] is PatternStatus.OK


def test_one_failing_block_leaves_the_others() -> None:
    data = with_conversations(outreach(seed=5, leads=1600))
    whole = detect_conversation(data)
    broken = detect_conversation(
        replace(data, activities=data.activities.drop("template_id")), settings=None
    )
    status = {b.block: b.status for b in broken.envelope.blocks}
    assert status.pop("objection_responses") is PatternStatus.ERROR
    assert set(status.values()) == {PatternStatus.OK}
    assert broken.turns == whole.turns
    assert broken.objection_responses == ()
