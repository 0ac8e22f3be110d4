"""Conversions credited to channels along the paths that led to them."""

from __future__ import annotations

import numpy as np

from cis_server.detectors.paths import Paths, channel_walks
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
    ways = _path_counts(paths, settings)
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


def _path_counts(paths: Paths, settings: DetectorSettings) -> list[PathCount]:
    """Leads and conversions of every distinct path."""
    length = np.minimum(paths.length, settings.path_cap)
    start = paths.risk.first + paths.length - length
    counted = []
    for steps, walks in enumerate(channel_walks(paths, start, length), start=1):
        ended = length[walks.units] == steps
        leads, converted = (
            np.bincount(walks.way[which], minlength=len(walks.ways)).tolist()
            for which in (ended, ended & paths.won[walks.units])
        )
        counted += [
            PathCount(channels=way, leads=went, converted=won)
            for way, went, won in zip(walks.ways, leads, converted, strict=True)
            if went
        ]
    return counted
