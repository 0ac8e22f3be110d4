"""How conversations go on each channel."""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.conversation_pattern_threads import (
    AUTOMATIC,
    conversation_threads,
)
from cis_server.detectors.rounding import rounded, rounded_rate
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.patterns import ConversationQuality, SentimentCount
from cis_server.stats.rates import estimate_segments


def conversation_quality(
    dataset: Dataset, settings: DetectorSettings
) -> dict[str, ConversationQuality] | None:
    """Length, answer times, sentiment and conversion of the threads of each channel.

    A conversation is a thread in which a person wrote. The conversion rate is over those followed
    for the same time, and answer times and sentiment are of what was said within it, as in the
    CONVERSATION pattern; message counts are of the threads as they stand. Automatic replies are
    nobody's words: they count neither as messages nor as answers.

    Args:
        dataset: threads and messages; those begun in the window count.
        settings: minimum of followed threads per channel, and the shortest follow-up.

    Returns:
        By channel name; None when no channel has enough followed threads.
    """
    found = conversation_threads(dataset, settings)
    automatic = dataset.messages.filter(AUTOMATIC, pl.col("sent_at") <= dataset.window.as_of)
    inbound = found.inbound
    threads = _by_people(found.threads, automatic)
    rows = (
        threads.group_by("channel")
        .agg(
            threads=pl.len(),
            messages=pl.col("message_count").mean(),
            theirs=pl.col("their_message_count").mean(),
        )
        .join(
            found.followed.group_by("channel").agg(followed=pl.len(), won=pl.col("won").sum()),
            on="channel",
            how="inner",
        )
        .filter(pl.col("followed") >= settings.minimum_listed)
        .join(
            inbound.group_by("channel").agg(
                minutes=pl.col("response_minutes").filter(pl.col("response_minutes") >= 0).mean()
            ),
            on="channel",
            how="left",
        )
        .sort("channel")
    )
    if rows.is_empty():
        return None
    n, k = (rows[name].to_numpy().astype(np.int64) for name in ("followed", "won"))
    estimates = estimate_segments(k, n).estimates
    sentiments = _sentiments(inbound)
    return {
        row["channel"]: ConversationQuality(
            thread_count=row["threads"],
            avg_messages_per_thread=round(row["messages"] or 0.0, 2),
            avg_lead_messages=round(row["theirs"] or 0.0, 2),
            avg_lead_response_minutes=None if row["minutes"] is None else round(row["minutes"], 1),
            conversion_rate=rounded_rate(row["won"] / row["followed"]),
            estimate=rounded(estimate),
            sentiment_distribution=sentiments.get(row["channel"], ()),
        )
        for row, estimate in zip(rows.iter_rows(named=True), estimates, strict=True)
    }


def _by_people(threads: pl.DataFrame, automatic: pl.DataFrame) -> pl.DataFrame:
    """Message counts without automatic replies."""
    counts = automatic.group_by("thread_id").agg(automatic=pl.len().cast(pl.Int64))
    machine = pl.col("automatic").fill_null(0)
    return threads.join(counts, on="thread_id", how="left").with_columns(
        message_count=pl.col("message_count") - machine,
        their_message_count=pl.col("their_message_count") - machine,
    )


def _sentiments(inbound: pl.DataFrame) -> dict[str, tuple[SentimentCount, ...]]:
    counts = (
        inbound.drop_nulls("sentiment")
        .group_by("channel", "sentiment")
        .agg(count=pl.len())
        .sort(["channel", "count", "sentiment"], descending=[False, True, False])
    )
    found: dict[str, tuple[SentimentCount, ...]] = {}
    for channel, sentiment, count in counts.iter_rows():
        entry = SentimentCount(sentiment=sentiment, count=count)
        found[channel] = (*found.get(channel, ()), entry)
    return found
