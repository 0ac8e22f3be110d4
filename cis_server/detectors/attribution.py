"""Conversions credited to channels along the paths that led to them."""

from __future__ import annotations

import polars as pl

from cis_server.detectors.paths import Paths
from cis_server.detectors.rounding import rounded_rate
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.patterns import Attribution, ChannelCredit
from cis_server.stats.markov import PathCount, markov_credit
from cis_server.stats.seeds import generator

PURPOSE = "how.attribution"
"""What the bootstrap's draws are seeded for."""


def channel_attribution(
    paths: Paths, dataset: Dataset, settings: DetectorSettings
) -> Attribution | None:
    """Markov removal effects of the channels, an association along observed paths.

    Args:
        paths: the paths of the resolved, touched leads; the last `path_cap` touches of each count.
        dataset: client and `as_of`, which seed the bootstrap.
        settings: cap and bootstrap rounds.

    Returns:
        Channels by credit, then name; None when nobody converted.
    """
    number = {name: place for place, name in enumerate(paths.channels)}
    counted = (
        paths.touches.select("unit", "channel")
        .with_columns(channel=pl.col("channel").replace_strict(number, return_dtype=pl.Int64))
        .group_by("unit", maintain_order=True)
        .agg(pl.col("channel").tail(settings.path_cap))
        .with_columns(won=pl.Series(paths.won))
        .group_by("channel")
        .agg(leads=pl.len(), converted=pl.col("won").sum())
    )
    ways = [
        PathCount(channels=tuple(channels), leads=leads, converted=converted)
        for channels, leads, converted in counted.iter_rows()
    ]
    random = generator(dataset.client_id, dataset.window.as_of, PURPOSE)
    credit = markov_credit(ways, len(paths.channels), random, draws=settings.bootstrap_rounds)
    if credit is None:
        return None
    channels = [
        ChannelCredit(
            channel=name,
            share=rounded_rate(credit.share[place]),
            low=rounded_rate(credit.low[place]),
            high=rounded_rate(credit.high[place]),
            conversions=round(float(credit.share[place]) * credit.conversions, 4),
            removal_effect=rounded_rate(credit.removal_effect[place]),
        )
        for name, place in number.items()
    ]
    return Attribution(
        order=credit.order,
        conversions=credit.conversions,
        channels=tuple(sorted(channels, key=lambda entry: (-entry.share, entry.channel))),
    )
