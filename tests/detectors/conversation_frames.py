"""Conversations of simulated outreach."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from detector_frames import AS_OF, frame

from cis_server.domain.dataset import Dataset

BEGUN = AS_OF - dt.timedelta(days=40)
QUESTIONS = ("what does it cost", "what is the cost", "who runs it", None)


def thread(number: int, **changes: Any) -> dict[str, Any]:
    """A resolved thread on e-mail, 40 days old."""
    row = {
        "thread_id": f"t{number:04d}",
        "lead_id": f"l{number:04d}",
        "channel": "email",
        "status": "resolved",
        "outcome": "rejected",
        "created_at": BEGUN,
        "escalated": False,
    }
    return row | changes


def won(number: int, **changes: Any) -> dict[str, Any]:
    """The same, converted."""
    return thread(number, status="converted", outcome="meeting_booked") | changes


def said(number: int, minutes: float, **changes: Any) -> dict[str, Any]:
    """A message of the lead some minutes after the thread began."""
    row = {
        "thread_id": f"t{number:04d}",
        "direction": "inbound",
        "intent": "question",
        "sentiment": "neutral",
        "sentiment_score": 0.0,
        "sent_at": BEGUN + dt.timedelta(minutes=minutes),
    }
    return row | changes


def ours(number: int, minutes: float, **changes: Any) -> dict[str, Any]:
    """A message of ours."""
    plain = {"intent": None, "sentiment": None, "sentiment_score": None}
    return said(number, minutes, direction="outbound") | plain | changes


def with_conversations(data: Dataset, seed: int = 1) -> Dataset:
    """The same outreach with a thread for every fourth lead: a question or an objection of the
    lead, mostly answered, and what came of it."""
    rng = np.random.default_rng(seed)
    leads = data.leads.sort("lead_id")["lead_id"].to_list()[::4]
    n = len(leads)
    converts, runs = rng.random(n) < 0.4, rng.random(n) < 0.1
    threads, messages = [], []
    for i in range(n):
        changes: dict[str, Any] = {"lead_id": leads[i], "escalated": bool(rng.random() < 0.2)}
        if runs[i]:
            changes |= {"status": "active", "outcome": "ongoing"}
        threads.append((won if converts[i] else thread)(i, **changes))
        at = 60 + float(rng.integers(1, 1000))
        score = float(rng.choice([-0.3, 0.0, 0.3]))
        objects = rng.random() < 0.4
        messages += [
            ours(i, 0),
            said(
                i,
                60,
                intent="objection" if objects else "question",
                objection=str(rng.choice(["budget", "timing"])) if objects else None,
                sentiment=["negative", "neutral", "positive"][round(score / 0.3) + 1],
                sentiment_score=score,
                question_key=None if objects else QUESTIONS[int(rng.integers(4))],
            ),
            ours(i, at),
        ]
        if rng.random() < 0.5:
            messages.append(said(i, at + 30, sentiment_score=float(rng.choice([-0.3, 0.3]))))
    table = pl.DataFrame(messages, infer_schema_length=None).with_columns(
        position=pl.int_range(1, pl.len() + 1).over("thread_id")
    )
    return replace(data, threads=frame("threads", threads), messages=frame("messages", table))
