"""Threads and their messages, built from touches and written replies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cis_server.demo.engagement import Touches
from cis_server.demo.identifiers import numbered, uuids
from cis_server.demo.replies import answer_to
from cis_server.demo.specs import CHANNELS, ClientSpec

_STALE, _DEAD = 14, 30
"""Days without a message after which a thread is stale, then dead (data model, section 6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """Threads, their messages, and which reply belongs to which thread."""

    threads: pl.DataFrame
    messages: pl.DataFrame
    thread_of_reply: pl.DataFrame
    """``reply_id``, ``thread_id``; automatic replies have none."""


def build_conversations(
    spec: ClientSpec,
    touches: Touches,
    bodies: pl.Series,
    replies: pl.DataFrame,
    booked: pl.DataFrame,
    lead_ids: pl.Series,
    as_of: np.datetime64,
    rng: np.random.Generator,
) -> Conversations:
    """One thread for each lead and channel on which a person wrote back.

    A thread holds our touches on that channel up to the last reply, the replies, and our answers
    to them. How fast we answer is independent of the outcome.

    Args:
        spec: the client.
        touches: what was sent.
        bodies: text of each touch.
        replies: as of `engagement.draw_reply_rows`, with ``reply_id``.
        booked: ``lead`` and ``booked_at`` of conversions known at `as_of`.
        lead_ids: id of each lead row.
        as_of: nothing later is known.
        rng: source of every draw.
    """
    sent = pl.DataFrame(
        {
            "row": np.arange(len(touches.lead)),
            "lead": touches.lead,
            "channel": touches.channel,
            "sent_at": touches.sent_at,
            "activity_id": touches.activity_id,
            "content": bodies,
        }
    )
    inbound = replies.filter(pl.col("kind") != "automatic").join(
        sent.select("row", "lead", "channel"), on="row", maintain_order="left"
    )
    threads = (
        inbound.group_by("lead", "channel", maintain_order=True)
        .agg(
            last_reply=pl.col("received_at").max(),
            kinds=pl.col("kind"),
        )
        .sort("lead", "channel")
    )
    threads = threads.with_columns(thread_id=numbered(f"{spec.client_id}-T", len(threads)))
    key = threads.select("lead", "channel", "thread_id", "last_reply")
    ours = (
        sent.join(key, on=["lead", "channel"])
        .filter(pl.col("sent_at") < pl.col("last_reply"))
        .select("thread_id", "activity_id", "content", "sent_at")
        .with_columns(direction=pl.lit("outbound"))
    )
    theirs = inbound.join(key, on=["lead", "channel"], maintain_order="left")
    minutes = np.maximum(rng.lognormal(np.log(75.0), 1.3, len(theirs)), 1.5)
    answers = (
        theirs.select(
            "thread_id",
            content=answer_to(theirs["kind"]),
            sent_at=pl.col("received_at") + pl.Series((minutes * 6e7).astype("timedelta64[us]")),
        )
        .with_columns(direction=pl.lit("outbound"))
        .filter(pl.col("sent_at") <= pl.lit(as_of))
    )
    said = theirs.select(
        "thread_id",
        "reply_id",
        "content",
        "intent",
        "objection_type",
        "sentiment",
        "sentiment_score",
        "question_extracted",
        sent_at="received_at",
    ).with_columns(direction=pl.lit("inbound"))
    messages = pl.concat([ours, said, answers], how="diagonal").sort(
        "thread_id", "sent_at", "direction"
    )
    messages = messages.with_columns(message_id=uuids(rng, len(messages)))
    return Conversations(
        threads=_states(threads, messages, booked, lead_ids, as_of, rng),
        messages=messages,
        thread_of_reply=theirs.select("reply_id", "thread_id"),
    )


def _states(
    threads: pl.DataFrame,
    messages: pl.DataFrame,
    booked: pl.DataFrame,
    lead_ids: pl.Series,
    as_of: np.datetime64,
    rng: np.random.Generator,
) -> pl.DataFrame:
    times = messages.group_by("thread_id").agg(
        started_at=pl.col("sent_at").min(), last_message_at=pl.col("sent_at").max()
    )
    escalated = rng.random(len(threads)) < 0.05
    quiet = (pl.lit(as_of) - pl.col("last_message_at")).dt.total_days()
    said_yes = pl.col("kinds").list.contains("yes")
    won = said_yes & pl.col("booked_at").is_not_null()
    lost = pl.col("kinds").list.contains("no") | pl.col("kinds").list.contains("stop")
    status = (
        pl.when(won).then(pl.lit("converted"))
        .when(lost).then(pl.lit("resolved"))
        .when(quiet >= _DEAD).then(pl.lit("dead"))
        .when(quiet >= _STALE).then(pl.lit("stale"))
        .otherwise(pl.lit("active"))
    )  # fmt: skip
    outcome = (
        pl.when(won).then(pl.lit("meeting_booked"))
        .when(lost).then(pl.lit("rejected"))
        .when(quiet >= _DEAD).then(pl.lit("no_response"))
        .otherwise(pl.lit("ongoing"))
    )  # fmt: skip
    ended = (
        pl.when(won).then(pl.col("booked_at"))
        .when(lost).then(pl.col("last_reply"))
        .when(quiet >= _DEAD).then(pl.col("last_message_at") + pl.duration(days=_DEAD))
    )  # fmt: skip
    return (
        threads.join(times, on="thread_id", how="left", maintain_order="left")
        .join(booked, on="lead", how="left", maintain_order="left")
        .with_columns(escalated_to_human=pl.Series(escalated))
        .select(
            "thread_id",
            "started_at",
            "escalated_to_human",
            lead_id=lead_ids.gather(threads["lead"]),
            channel=pl.Series(list(CHANNELS)).gather(threads["channel"]),
            status=status,
            outcome=outcome,
            outcome_at=ended,
            escalated_at=pl.when("escalated_to_human").then("last_reply"),
        )
    )
