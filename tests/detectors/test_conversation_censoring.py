"""Refusals that come slower than meetings: no thread is judged by how soon it ended."""

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from conversation_frames import BEGUN, said, thread, won
from detector_frames import AS_OF, START, dataset

from cis_server.detectors.conversation_pattern import detect_conversation
from cis_server.detectors.conversation_pattern_threads import conversation_threads
from cis_server.detectors.conversations import conversation_quality
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.vocabulary import Verdict

RATE = 0.3
"""Of every thread, whenever it began and whatever is said in it."""
DAY = dt.timedelta(days=1)
LATELY = AS_OF - 40 * DAY
"""From when on leads raise the objection `timing`, and are answered by sms."""


def slow_refusals(threads: int = 6000, seed: int = 3) -> Dataset:
    """Threads begun evenly over the window: a meeting is booked the next day, a refusal takes 25
    days; what lies behind `AS_OF` has not happened yet."""
    rng = np.random.default_rng(seed)
    rows, messages = [], []
    for i in range(threads):
        begun = START + rng.random() * (AS_OF - START)
        wins = rng.random() < RATE
        ends = begun + (DAY if wins else 25 * DAY)
        row = (won if wins else thread)(i, created_at=begun, outcome_at=ends)
        if ends > AS_OF:
            row |= {"status": "active", "outcome": None, "outcome_at": None}
        late = begun > LATELY
        objection = "timing" if late else "budget"
        rows.append(row | {"channel": "sms" if late else "email"})
        messages.append(said(i, 0, sent_at=begun, objection=objection, position=1))
    return dataset(threads=rows, messages=pl.DataFrame(messages, infer_schema_length=None))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return slow_refusals()


def rate_of_ended(data: Dataset) -> dict[str, float]:
    """What counting ended threads says, by channel."""
    ended = data.threads.filter(pl.col("outcome_at").is_not_null())
    rates = ended.group_by("channel").agg((pl.col("outcome") == "meeting_booked").mean())
    return dict(rates.iter_rows())


def test_what_was_begun_lately_does_not_look_better(data: Dataset) -> None:
    naive = rate_of_ended(data)
    assert naive["sms"] > 0.45 > 0.33 > naive["email"]
    found = detect_conversation(data)
    totals = found.thread_totals
    assert totals is not None
    assert totals.estimate is not None
    assert totals.estimate.rate == pytest.approx(RATE, abs=0.02)
    assert totals.estimate.sample == pytest.approx(5000, rel=0.03)  # 150 of 180 days
    assert totals.converted / totals.resolved > 0.32
    outcomes = {entry.objection_type: entry for entry in found.objection_outcomes}
    timing = outcomes["timing"]
    assert timing.estimate.low < RATE < timing.estimate.high
    assert timing.estimate.high < naive["sms"]
    assert {entry.verdict for entry in outcomes.values()} == {Verdict.UNDECIDED}


def test_the_hazard_of_the_first_turn_is_that_planted(data: Dataset) -> None:
    turns = detect_conversation(data).turns
    assert turns is not None
    (first,) = turns.conversion_rate_by_turns
    assert first.estimate.rate == pytest.approx(RATE, abs=0.02)


def test_a_new_channel_does_not_look_better(data: Dataset) -> None:
    counted = data.threads.with_columns(
        message_count=pl.lit(1, dtype=pl.Int64), their_message_count=pl.lit(1, dtype=pl.Int64)
    )
    quality = conversation_quality(replace(data, threads=counted), DetectorSettings())
    assert quality is not None
    assert quality["sms"].thread_count > 1000
    assert quality["sms"].estimate.sample < 500  # begun 40 to 30 days ago
    assert quality["sms"].estimate.low < RATE < quality["sms"].estimate.high
    assert quality["email"].conversion_rate == pytest.approx(RATE, abs=0.02)


def test_a_meeting_after_the_follow_up_is_none_yet_and_its_words_are_not_read() -> None:
    begun = AS_OF - 60 * DAY
    rows = [won(i, created_at=begun, outcome_at=begun + (2 + i) * DAY) for i in range(28)]
    rows += [won(28, created_at=begun, outcome_at=begun + 50 * DAY)]
    rows += [thread(29, created_at=begun, status="active", outcome="ongoing")]
    messages = [said(i, 0, sent_at=begun + DAY, position=1) for i in range(30)]
    messages += [
        said(i, 0, sent_at=begun + 45 * DAY, position=2, objection="budget") for i in (28, 29)
    ]
    found = conversation_threads(
        dataset(threads=rows, messages=pl.DataFrame(messages, infer_schema_length=None)),
        DetectorSettings(),
    )
    assert found.follow_up_days == 30
    assert found.followed.height == 30
    assert found.followed.filter(~pl.col("won"))["thread_id"].to_list() == ["t0028", "t0029"]
    assert found.messages["objection"].null_count() == found.messages.height == 30


def test_the_lead_converts_before_somebody_enters_it() -> None:
    """The earlier of the recorded outcome and the lead's conversion counts, the last message where
    neither is known."""
    begun = AS_OF - 60 * DAY
    rows = [
        won(0, created_at=begun, outcome_at=begun + 50 * DAY),
        won(1, created_at=begun),
        won(2, created_at=begun, outcome_at=begun + 50 * DAY),
        *(won(i, created_at=begun, outcome_at=begun + DAY) for i in range(3, 40)),
    ]
    leads = [
        {"lead_id": "l0000", "converted_at": begun + 3 * DAY},
        # Another conversion, from before this thread.
        {"lead_id": "l0002", "converted_at": begun - 3 * DAY},
    ]
    messages = [said(i, 0, sent_at=begun, position=1) for i in range(40)]
    found = conversation_threads(
        dataset(
            threads=rows, leads=leads, messages=pl.DataFrame(messages, infer_schema_length=None)
        ),
        DetectorSettings(horizon_days=30),
    )
    assert found.followed.filter(~pl.col("won"))["thread_id"].to_list() == ["t0002"]


@pytest.mark.parametrize("lead_converts", [1.0, 20 * 24.0, None])
def test_what_is_said_after_the_conversion_of_a_thread_is_not_read(
    lead_converts: float | None,
) -> None:
    """Thanks for the meeting, though the lead is marked as converted later or never."""
    threads, messages, leads = [], [], []
    for i in range(80):
        wins = i < 30
        booked = BEGUN + dt.timedelta(hours=1) if wins else None
        threads.append((won if wins else thread)(i, outcome_at=booked))
        messages.append(said(i, 1, position=1))
        if wins:
            messages.append(said(i, 600, position=2, intent="interested", sentiment="positive"))
        marked = wins and lead_converts is not None
        leads.append(
            {
                "lead_id": f"l{i:04d}",
                "converted_at": BEGUN + dt.timedelta(hours=lead_converts or 0) if marked else None,
            }
        )
    data = dataset(threads=threads, messages=messages, leads=leads)
    found = detect_conversation(data)
    assert "interested" not in found.intent_mix
    assert found.thread_totals is not None
    assert found.thread_totals.converted == 30
    quality = conversation_quality(data, DetectorSettings())
    assert quality is not None
    assert [s.sentiment for s in quality["email"].sentiment_distribution] == ["neutral"]


def test_a_thread_without_a_recorded_outcome_follows_its_lead() -> None:
    kinds = {
        "recorded": won(0, outcome_at=BEGUN + DAY),
        "running": thread(1, status="active", outcome="ongoing"),
        "untold": thread(2, status="active", outcome=None),
        "refused": thread(3),
        "of a lead that converts later": thread(4, status="active", outcome=None),
        "of a lead that converted before": thread(5, status="active", outcome=None),
    }
    converted = [2 * DAY, 2 * DAY, 2 * DAY, 2 * DAY, AS_OF + DAY - BEGUN, -DAY]
    data = dataset(
        threads=list(kinds.values()),
        messages=[said(i, 1, position=1) for i in range(len(kinds))],
        leads=[
            {"lead_id": f"l{i:04d}", "converted_at": BEGUN + after}
            for i, after in enumerate(converted)
        ],
    )
    found = conversation_threads(data, DetectorSettings())
    assert found.followed["won"].to_list() == [True, True, True, False, False, False]
