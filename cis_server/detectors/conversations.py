"""How conversations go on each channel."""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.conversation_pattern_threads import AUTOMATIC, ENDED, INBOUND, WON
from cis_server.detectors.rounding import rounded, rounded_rate
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.patterns import ConversationQuality, SentimentCount
from cis_server.stats.rates import estimate_segments


def conversation_quality(
    dataset: Dataset, settings: DetectorSettings
) -> dict[str, ConversationQuality] | None:
    """Length, answer times, sentiment and conversion of the threads of each channel.

    The conversion rate is over threads that have come to an end; running ones are not failures.
    Automatic replies are nobody's words: they count neither as messages nor as answers.

    Args:
        dataset: threads and messages; those begun in the window count.
        settings: minimum of ended threads per channel.

    Returns:
        By channel name; None when no channel has enough ended threads.
    """
    window = dataset.window
    threads = dataset.threads.filter(
        pl.col("created_at").is_between(window.start, window.as_of), pl.col("channel").is_not_null()
    ).with_columns(won=WON, ended=ENDED)
    received = dataset.messages.filter(
        pl.col("direction") == INBOUND, pl.col("sent_at") <= window.as_of
    ).join(threads.select("thread_id", "channel"), on="thread_id", how="inner")
    inbound = received.filter(~AUTOMATIC)
    threads = _by_people(threads, received.filter(AUTOMATIC))
    rows = (
        threads.group_by("channel")
        .agg(
            threads=pl.len(),
            ended=pl.col("ended").sum(),
            won=pl.col("won").sum(),
            messages=pl.col("message_count").mean(),
            theirs=pl.col("their_message_count").mean(),
        )
        .filter(pl.col("ended") >= settings.minimum_listed)
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
    n, k = (rows[name].to_numpy().astype(np.int64) for name in ("ended", "won"))
    estimates = estimate_segments(k, n).estimates
    sentiments = _sentiments(inbound)
    return {
        row["channel"]: ConversationQuality(
            thread_count=row["threads"],
            avg_messages_per_thread=round(row["messages"] or 0.0, 2),
            avg_lead_messages=round(row["theirs"] or 0.0, 2),
            avg_lead_response_minutes=None if row["minutes"] is None else round(row["minutes"], 1),
            conversion_rate=rounded_rate(row["won"] / row["ended"]),
            estimate=rounded(estimate),
            sentiment_distribution=sentiments.get(row["channel"], ()),
        )
        for row, estimate in zip(rows.iter_rows(named=True), estimates, strict=True)
    }


def _by_people(threads: pl.DataFrame, automatic: pl.DataFrame) -> pl.DataFrame:
    """Message counts without automatic replies; threads with no other reply are no conversation."""
    counts = automatic.group_by("thread_id").agg(automatic=pl.len().cast(pl.Int64))
    machine = pl.col("automatic").fill_null(0)
    return (
        threads.join(counts, on="thread_id", how="left")
        .with_columns(
            message_count=pl.col("message_count") - machine,
            their_message_count=pl.col("their_message_count") - machine,
        )
        .filter((machine == 0) | (pl.col("their_message_count") > 0))
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
