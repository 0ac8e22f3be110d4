"""Threads and their messages as a conversation run looks at them.

A thread is part of the run when it began in the window and a person wrote in it; automatic replies
are nobody's words and are left out before anything is counted. Only threads that have come to an
end (won, resolved or dead) have an outcome; running and stale ones are censored.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from cis_server.domain.dataset import Dataset
from cis_server.domain.vocabulary import ReplyIntent, ThreadOutcome, ThreadStatus

INBOUND, OUTBOUND = "inbound", "outbound"
_WON = (ThreadOutcome.CONVERTED.value, ThreadOutcome.MEETING_BOOKED.value)
_ENDED = (ThreadStatus.RESOLVED.value, ThreadStatus.CONVERTED.value, ThreadStatus.DEAD.value)
_AUTOMATIC_INTENTS = (ReplyIntent.OUT_OF_OFFICE.value, ReplyIntent.AUTO_REPLY.value)

WON = pl.col("outcome").is_in(_WON).fill_null(False)
"""Whether a thread converted."""
ENDED = pl.col("status").is_in(_ENDED).fill_null(False) | WON
"""Whether a thread has come to an end."""
AUTOMATIC = (pl.col("direction") == INBOUND) & pl.col("intent").is_in(_AUTOMATIC_INTENTS).fill_null(
    False
)
"""Whether a message is an automatic reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """The threads of a run.

    Attributes:
        threads: one row a thread, by `thread_id`, with the columns of the dataset and `thread` (row
            number), `won`, `ended`, and `tier` of the lead.
        messages: without automatic replies, by thread and time, with the columns of the dataset and
            `thread`, `lead_id`, `channel`. Of a won thread what came after the conversion of its
            lead is left out: it cannot have brought it.
        automatic: automatic replies left out.
    """

    threads: pl.DataFrame
    messages: pl.DataFrame
    automatic: int

    @property
    def ended(self) -> pl.DataFrame:
        """Threads with an outcome: the denominator of every rate."""
        return self.threads.filter("ended")

    @property
    def inbound(self) -> pl.DataFrame:
        """Messages of leads."""
        return self.messages.filter(pl.col("direction") == INBOUND)

    def lists(self, values: pl.DataFrame, column: str) -> pl.Series:
        """The values of each ended thread, an empty list where there are none.

        Args:
            values: rows with `thread` and the column; nulls are passed over.
            column: text.
        """
        by_thread = (
            values.drop_nulls(column)
            .unique(["thread", column])
            .sort("thread", column)
            .group_by("thread", maintain_order=True)
            .agg(pl.col(column))
        )
        joined = self.ended.join(by_thread, on="thread", how="left", maintain_order="left")
        empty = pl.lit([], dtype=pl.List(pl.String))
        return joined.select(pl.col(column).fill_null(empty)).to_series()

    def one(self, values: pl.DataFrame, column: str) -> pl.Series:
        """The single value of each ended thread, null where there is none."""
        found = values.select("thread", column)
        joined = self.ended.join(found, on="thread", how="left", maintain_order="left")
        return joined[column]


def conversation_threads(dataset: Dataset) -> Threads:
    """The threads and messages of a dataset, in a fixed order."""
    window = dataset.window
    begun = dataset.threads.filter(pl.col("created_at").is_between(window.start, window.as_of))
    said = dataset.messages.filter(pl.col("sent_at") <= window.as_of).join(
        begun.select("thread_id"), on="thread_id", how="semi"
    )
    human = said.filter(~AUTOMATIC)
    answered = human.filter(pl.col("direction") == INBOUND).select("thread_id").unique()
    leads = dataset.leads.select("lead_id", "tier", lead_converted_at="converted_at")
    threads = (
        begun.join(answered, on="thread_id", how="semi")
        .with_columns(won=WON, ended=ENDED)
        .join(leads, on="lead_id", how="left")
        .sort("thread_id")
        .with_row_index("thread")
    )
    facts = threads.select("thread_id", "thread", "lead_id", "channel", "won", "lead_converted_at")
    inbound = pl.col("direction") == INBOUND
    first = pl.col("sent_at").filter(inbound).min().over("thread")
    late = pl.col("won") & (pl.col("sent_at") > pl.col("lead_converted_at")).fill_null(False)
    messages = (
        human.join(facts, on="thread_id", how="inner")
        # A conversion before the lead wrote a word is not that of the thread: nothing is cut.
        .filter(~late | (first > pl.col("lead_converted_at")).fill_null(False))
        .sort("thread", "sent_at", "position", "direction")
        .drop("won", "lead_converted_at")
    )
    return Threads(
        threads=threads.drop("lead_converted_at"),
        messages=messages,
        automatic=said.height - human.height,
    )
