"""Threads and their messages as a conversation run looks at them.

A thread is part of the run when it began in the window and a person wrote in it; automatic replies
are nobody's words and are left out before anything is counted.

A meeting booked ends a thread the same day, silence only weeks later: among threads that have
ended, those begun lately are mostly the converted ones. So no thread is chosen by how it stands.
Rates are of a cohort like that of the leads (`cohort`): every thread in which the lead first wrote
at least `follow_up_days` before the end of the window, ended or not, and a success is a conversion
within that many days of that first message.

A thread converts when that was recorded as its outcome, or, where no outcome was recorded, when its
lead converts after its first message in the thread. Whichever is known to have come first dates it,
as outcomes are often entered long after the meeting was booked; without either date, the last
message is the latest that can have brought it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from cis_server.detectors.cohort import follow_up_days
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.vocabulary import ReplyIntent, ThreadOutcome, ThreadStatus

INBOUND, OUTBOUND = "inbound", "outbound"
_WON = (ThreadOutcome.CONVERTED.value, ThreadOutcome.MEETING_BOOKED.value)
_ENDED = (ThreadStatus.RESOLVED.value, ThreadStatus.CONVERTED.value, ThreadStatus.DEAD.value)
_AUTOMATIC_INTENTS = (ReplyIntent.OUT_OF_OFFICE.value, ReplyIntent.AUTO_REPLY.value)

AUTOMATIC = (pl.col("direction") == INBOUND) & pl.col("intent").is_in(_AUTOMATIC_INTENTS).fill_null(
    False
)
"""Whether a message is an automatic reply."""


@dataclass(frozen=True, kw_only=True)
class Threads:
    """The threads of a run.

    Attributes:
        threads: one row a thread, by `thread_id`, with the columns of the dataset and `thread` (row
            number), `begun_at` (the lead's first message), `won` and `ended` as of the end of the
            window, and `tier` of the lead.
        followed: the rows of `threads` in the cohort, the denominator of every rate; `won` is
            within the follow-up.
        follow_up_days: days from `begun_at` within which a conversion counts.
        messages: without automatic replies, by thread and time, with the columns of the dataset and
            `thread`, `lead_id`, `channel`. What came after the follow-up, or in a won thread after
            its conversion, is left out: it cannot have brought it.
        automatic: automatic replies left out.
    """

    threads: pl.DataFrame
    followed: pl.DataFrame
    follow_up_days: int
    messages: pl.DataFrame
    automatic: int

    @cached_property
    def inbound(self) -> pl.DataFrame:
        """Messages of leads."""
        return self.messages.filter(pl.col("direction") == INBOUND)

    def lists(self, values: pl.DataFrame, column: str) -> pl.Series:
        """The values of each followed thread, an empty list where there are none.

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
        joined = self.followed.join(by_thread, on="thread", how="left", maintain_order="left")
        empty = pl.lit([], dtype=pl.List(pl.String))
        return joined.select(pl.col(column).fill_null(empty)).to_series()

    def one(self, values: pl.DataFrame, column: str) -> pl.Series:
        """The single value of each followed thread, null where there is none."""
        found = values.select("thread", column)
        joined = self.followed.join(found, on="thread", how="left", maintain_order="left")
        return joined[column]


def conversation_threads(dataset: Dataset, settings: DetectorSettings) -> Threads:
    """The threads and messages of a dataset, in a fixed order.

    Args:
        dataset: threads begun in its window count.
        settings: its horizon is the shortest follow-up.
    """
    window = dataset.window
    begun = dataset.threads.filter(pl.col("created_at").is_between(window.start, window.as_of))
    said = dataset.messages.filter(pl.col("sent_at") <= window.as_of).join(
        begun.select("thread_id"), on="thread_id", how="semi"
    )
    human = said.filter(~AUTOMATIC)
    wrote = human.group_by("thread_id").agg(
        begun_at=pl.col("sent_at").filter(pl.col("direction") == INBOUND).min(),
        last_message_at=pl.col("sent_at").max(),
    )
    leads = dataset.leads.select("lead_id", "tier", lead_converted_at="converted_at")
    threads = (
        begun.join(wrote.drop_nulls("begun_at"), on="thread_id", how="inner")
        .join(leads, on="lead_id", how="left")
        .with_columns(_by_lead(window))
        .with_columns(won=_won())
        .with_columns(
            ended=pl.col("status").is_in(_ENDED).fill_null(False) | pl.col("won"),
            # One that is recorded before the lead wrote a word is not that of the thread.
            won_at=pl.when("won").then(
                pl.min_horizontal(
                    pl.when(pl.col("outcome_at") >= pl.col("begun_at")).then("outcome_at"),
                    "by_lead",
                )
            ),
        )
        .sort("thread_id")
        .with_row_index("thread")
    )
    followed, days = _followed(threads, window, settings)
    facts = threads.select("thread_id", "thread", "lead_id", "channel", "begun_at", "won_at")
    messages = (
        human.join(facts, on="thread_id", how="inner")
        .filter((pl.col("sent_at") <= pl.col("won_at")).fill_null(True))
        .filter(pl.col("sent_at") <= pl.col("begun_at") + pl.duration(days=days))
        .sort("thread", "sent_at", "position", "direction")
        .drop("begun_at", "won_at")
    )
    unread = ("lead_converted_at", "by_lead", "won_at", "last_message_at")
    return Threads(
        threads=threads.drop(unread),
        followed=followed.drop(unread),
        follow_up_days=days,
        messages=messages,
        automatic=said.height - human.height,
    )


def _by_lead(window: Window) -> pl.Expr:
    """When the lead converted, if that was after its first message."""
    converted = pl.col("lead_converted_at")
    return (
        pl.when(converted.is_between(pl.col("begun_at"), window.as_of))
        .then(converted)
        .alias("by_lead")
    )


def _won() -> pl.Expr:
    """Whether a thread converted."""
    untold = pl.col("outcome").is_null() | (pl.col("outcome") == ThreadOutcome.ONGOING.value)
    recorded = pl.col("outcome").is_in(_WON).fill_null(False)
    return recorded | (untold & pl.col("by_lead").is_not_null())


def _followed(
    threads: pl.DataFrame, window: Window, settings: DetectorSettings
) -> tuple[pl.DataFrame, int]:
    """The threads followed for the same time with `won` within it, and that time in days."""
    delay = pl.coalesce("won_at", "last_message_at") - pl.col("begun_at")
    delays = threads.filter("won").select(delay=delay)["delay"]
    days = follow_up_days(delays, window, settings)
    followed = threads.filter(pl.col("begun_at") <= window.as_of - dt.timedelta(days=days))
    within = pl.col("won") & (delay <= dt.timedelta(days=days))
    return followed.with_columns(won=within), days
