"""Ways through channels and channels used so far, against a walk by hand."""

from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from cis_server.detectors.coded import Coded
from cis_server.detectors.paths import (
    ARROW,
    Paths,
    channel_levels,
    channel_strata,
    channel_walks,
    count_strata,
    sequence_levels,
    transition_levels,
)
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.settings import DetectorSettings

_NAMES = ("email", "sms", "voice")
_WAYS = st.lists(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=7), min_size=1, max_size=9)


def paths_of(ways: list[list[str]]) -> Paths:
    """Leads that went these ways; stratum is the number of the touch, every last one converts."""
    length = np.array([len(way) for way in ways])
    first = np.cumsum(length) - length
    channel = Coded.of(pl.Series([channel for way in ways for channel in way]))
    first_use = [
        [start + way.index(name) if name in way else -1 for name in channel.names]
        for start, way in zip(first.tolist(), ways, strict=True)
    ]
    place = np.concatenate([np.arange(n) for n in length])
    return Paths(
        tier=pl.Series([None] * len(ways), dtype=pl.String),
        won=np.ones(len(ways), dtype=np.bool_),
        whole=np.ones(len(ways), dtype=np.bool_),
        channel=channel,
        first_use=np.array(first_use),
        risk=RiskSet(
            first=first,
            rows=length,
            stratum=place,
            event=np.isin(np.arange(place.size), first + length - 1),
            strata=7,
        ),
    )


@given(_WAYS, st.integers(1, 4))
def test_walks_are_the_ways(ways: list[list[str]], most: int) -> None:
    paths = paths_of(ways)
    length = np.minimum(paths.length, most)
    found = channel_walks(paths, paths.risk.first, length)
    assert len(found) == length.max()
    for steps, walks in enumerate(found, start=1):
        assert walks.units.tolist() == [i for i, way in enumerate(ways) if len(way) >= steps]
        assert len(set(walks.ways)) == len(walks.ways)
        for unit, way in zip(walks.units.tolist(), walks.way.tolist(), strict=True):
            assert [paths.channels[c] for c in walks.ways[way]] == ways[unit][:steps]


@given(_WAYS)
def test_sequences_are_counted_from_their_last_touch_on(ways: list[list[str]]) -> None:
    found = sequence_levels(paths_of(ways), DetectorSettings(sequence_length=3))
    assert [levels.dimension for levels, _ in found] == [
        f"sequence_{steps}" for steps in (2, 3) if max(map(len, ways)) >= steps
    ]
    for steps, (levels, strata) in enumerate(found, start=2):
        reached = [way for way in ways if len(way) >= steps]
        counts = Counter(ARROW.join(way[:steps]) for way in reached)
        assert dict(zip(levels.values, levels.counts().tolist(), strict=True)) == counts
        assert levels.known.tolist() == [len(way) >= steps for way in ways]
        later = sum(len(way) - steps + 1 for way in reached)
        assert np.asarray(strata.n).sum() == np.asarray(strata.total_n).sum() == later
        assert np.asarray(strata.k).sum() == len(reached)


@given(_WAYS)
def test_channels_count_from_their_first_use_on(ways: list[list[str]]) -> None:
    paths = paths_of(ways)
    strata = channel_strata(paths, channel_levels(paths, "channel"))
    n = np.zeros((len(paths.channels), 7), dtype=np.int64)
    by_count, by_kind = np.zeros((4, 7), dtype=np.int64), np.zeros((2, 7), dtype=np.int64)
    for way in ways:
        for place in range(len(way)):
            so_far = set(way[: place + 1])
            n[[paths.channels.index(name) for name in so_far], place] += 1
            if place:
                by_count[len(so_far) - 1, place] += 1
                by_kind[int(len(so_far) > 1), place] += 1
    assert np.asarray(strata.n).tolist() == n.tolist()
    assert [np.asarray(found.n).tolist() for found in count_strata(paths)] == [
        by_count.tolist(),
        by_kind.tolist(),
    ]


@given(_WAYS)
def test_transitions_stay_within_a_lead(ways: list[list[str]]) -> None:
    lead = np.repeat(np.arange(len(ways)), [len(way) for way in ways])
    found = transition_levels(lead, paths_of(ways).channel)
    counts = Counter(f"{a}{ARROW}{b}" for way in ways for a, b in pairwise(way))
    assert dict(zip(found.values, found.counts().tolist(), strict=True)) == counts
    assert int(found.known.sum()) == counts.total()
