"""How we answer: how fast, and with what after an objection."""

from __future__ import annotations

import polars as pl

from cis_server.detectors.conversation_pattern_threads import INBOUND, OUTBOUND, Threads
from cis_server.domain.dataset import Dataset
from cis_server.domain.vocabulary import Action

RESPONSE_EDGES = (5.0, 60.0, 240.0, 1440.0)
"""Minutes."""
RESPONSE_LABELS = ("<5min", "<1h", "<4h", "<24h", ">=24h")
_SAME_MESSAGE = "1m"
"""A touch and its entry in the thread may be stamped by two clocks."""
_WHICH = ("lead_id", "channel", "action")
_COLUMNS = ("occurred_at", "activity_id", "template_id")


def response_minutes(threads: Threads) -> pl.DataFrame:
    """Median minutes in which we answered the lead, by thread: `thread`, `minutes`.

    Only pairs of opposite sides count: a message of ours right after one of the lead. Two messages
    of ours in a row are one answer and a follow-up, whatever the time between them.
    """
    before = pl.col("sent_at").shift(1).over("thread")
    is_answer = (pl.col("direction") == OUTBOUND) & (
        pl.col("direction").shift(1).over("thread") == INBOUND
    )
    minutes = (pl.col("sent_at") - before).dt.total_microseconds() / 6e7
    return (
        threads.messages.select("thread", minutes=pl.when(is_answer).then(minutes))
        .drop_nulls("minutes")
        .group_by("thread", maintain_order=True)
        .agg(pl.col("minutes").median())
    )


def answers_to_objections(dataset: Dataset, threads: Threads) -> pl.DataFrame:
    """Our next message after each thread's first objection of a kind.

    Args:
        dataset: templates and angles are those of the touch that the message is: same lead and
            channel, at the same time.
        threads: of the run.

    Returns:
        `thread`, `objection`, `template` (empty: written without one), `angle` (null: not known);
        threads in which we did not answer are left out.
    """
    ours = pl.when(pl.col("direction") == OUTBOUND).then("row")
    # The number stands in a column of its own first: within `over` it would begin anew per thread.
    messages = threads.messages.with_row_index("row").with_columns(
        answer=ours.backward_fill().over("thread")
    )
    first = (
        messages.filter(pl.col("direction") == INBOUND)
        .drop_nulls(["objection", "answer"])
        .group_by("thread", "objection", maintain_order=True)
        .agg(row=pl.col("answer").first())
    )
    sent = messages.join(first.select("row").unique(), on="row", how="semi").select(
        "row", "lead_id", "channel", "sent_at"
    )
    # Most columns are read of the touches of these leads alone.
    which = (
        dataset.columns("activities", _WHICH)
        .with_columns(activity=pl.int_range(pl.len(), dtype=pl.UInt32))
        .filter(pl.col("action") == Action.SENT.value)
        .join(
            sent.select("lead_id", "channel").unique(),
            on=["lead_id", "channel"],
            how="semi",
            maintain_order="left",
        )
        .drop("action")
    )
    touches = (
        which.hstack(dataset.rows("activities", _COLUMNS, which["activity"]))
        .rename({"template_id": "template"})
        .sort("occurred_at", "activity_id")
    )
    written = sent.sort("sent_at", "row").join_asof(
        touches,
        left_on="sent_at",
        right_on="occurred_at",
        by=["lead_id", "channel"],
        strategy="nearest",
        tolerance=_SAME_MESSAGE,
        check_sortedness=False,
    )
    # Read here, because only few of the touches are answers to an objection; in order and part by
    # part, because a few snapshots of a part hold all of its text.
    known = written.drop_nulls("activity").select("row", "activity").sort("activity")
    found = [
        piece["content"].str.json_path_match("$.angles[0]")
        for piece in dataset.pieces("activities", ("content",), known["activity"])
    ]
    angles = known.select("row", angle=pl.concat(found))
    return (
        first.join(written.select("row", "template"), on="row", how="left")
        .join(angles, on="row", how="left")
        .with_columns(pl.col("template").fill_null(""))
        .select("thread", "objection", "template", "angle")
        .sort("thread", "objection")
    )
