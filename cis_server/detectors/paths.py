"""Channel paths of leads, and what they had been through at each touch.

A lead that converts early has a short path, so that paths as wholes tell how leads ended rather
than what works. What is compared here is alike up to the point of comparison: sequences of L
channels among leads that received at least L touches, channels "used so far" at each touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from cis_server.detectors.coded import Coded
from cis_server.detectors.levels import Levels, coded_levels, frequent_levels
from cis_server.detectors.outcomes import Population
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.settings import DetectorSettings
from cis_server.stats.arrays import BoolArray, IntArray
from cis_server.stats.rates import Strata

ARROW = "→"
COUNT_LABELS = ("1", "2", "3", "4+")
MULTI_LABELS = ("single", "multi")


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Leads followed long enough with at least one touch, as units, and their touches, as rows.

    Attributes:
        tier: tier of each of the leads, which are in the order of `Population.resolved_leads`.
        won: whether each converted.
        whole: per lead, whether its path begins with its first touch ever (the window may cut it).
        channel: channels of the touches, rows of `Population.followed_touches` in order.
        first_use: row of the first touch per lead and channel, shape (leads, channels); -1 where
            the channel was not used.
        risk: the touches at risk.
    """

    tier: pl.Series
    won: BoolArray
    whole: BoolArray
    channel: Coded
    first_use: IntArray
    risk: RiskSet

    @property
    def channels(self) -> tuple[str, ...]:
        """Names in alphabetical order."""
        return self.channel.names

    @property
    def length(self) -> IntArray:
        """Touches per lead."""
        return self.risk.rows

    @cached_property
    def used(self) -> BoolArray:
        """Whether a lead was touched through a channel, shape (leads, channels)."""
        return np.asarray(self.first_use >= 0)

    @cached_property
    def place(self) -> IntArray:
        """Place of each touch among those of its lead, from 1."""
        first = np.repeat(self.risk.first, self.risk.rows)
        return np.arange(1, first.size + 1) - first


@dataclass(frozen=True, slots=True)
class Walks:
    """Which way some units went, step by step; equal ways have the same number.

    Attributes:
        units: those that went as many steps.
        way: of each of them, an index into `ways`.
        ways: distinct ways, as numbers of channels.
    """

    units: IntArray
    way: IntArray
    ways: tuple[tuple[int, ...], ...]


_COLUMNS = ("lead", "channel", "touch_number", "tier", "success")


def channel_paths(run: Population, settings: DetectorSettings) -> Paths:
    """The paths of the leads of a run that were followed long enough and received a touch."""
    touches = run.followed_columns(_COLUMNS)
    received = np.bincount(touches["lead"].to_numpy(), minlength=run.leads.height) > 0
    leads = run.resolved_leads.select("lead", "tier", "converted")
    leads = leads.filter(pl.Series(received[leads["lead"].to_numpy()]))
    risk = RiskSet.of_leads(leads, touches, settings.touch_cap)
    channel = Coded.of(touches["channel"])
    if channel.code.min(initial=0) < 0:
        raise ValueError("a touch has no channel")
    number = len(channel.names)
    first_use = np.full(leads.height * number, -1)
    unit = np.repeat(np.arange(leads.height), risk.rows)
    # From the last touch to the first: of several the last one assigned stays.
    first_use[(unit * number + channel.code)[::-1]] = np.arange(unit.size)[::-1]
    return Paths(
        tier=leads["tier"],
        won=leads["converted"].to_numpy(),
        whole=touches["touch_number"].to_numpy()[risk.first] == 1
        if leads.height
        else np.empty(0, dtype=np.bool_),
        channel=channel,
        first_use=first_use.reshape(leads.height, number),
        risk=risk,
    )


def channel_levels(paths: Paths, dimension: str, among: BoolArray | None = None) -> Levels:
    """Leads by the channels they were touched through; several a lead.

    Args:
        paths: the paths.
        dimension: name of the dimension.
        among: leads that count, all by default.
    """
    known = np.ones(paths.won.size, dtype=np.bool_) if among is None else among
    unit, code = np.nonzero(paths.used if among is None else paths.used & known[:, None])
    return Levels(dimension=dimension, values=paths.channels, unit=unit, code=code, known=known)


def channel_strata(paths: Paths, levels: Levels) -> Strata:
    """Touches at which a channel had been used by then, for `channel_levels`.

    Exposure begins with the first touch through the channel, so that a lead does not count as
    exposed for the time it had to last in order to get there (immortal time).
    """
    unit, code = levels.unit, levels.code
    row = paths.first_use[unit, code]
    return paths.risk.counts_since(row, unit, code, len(levels.values), levels.known)


def first_channel_levels(paths: Paths) -> Levels:
    """Leads by the channel of their first touch, where that lies in the window."""
    first = paths.channel.code[paths.risk.first]
    return frequent_levels("first_channel", paths.channels, first, paths.whole, limit=1000)


def count_levels(paths: Paths) -> tuple[Levels, Levels]:
    """Leads with at least two touches by the number of channels, and by one against several."""
    count = paths.used.sum(axis=1)
    known = paths.length >= 2
    return (
        coded_levels("channel_count", COUNT_LABELS, np.clip(count, 1, 4) - 1, known),
        coded_levels("multi_channel", MULTI_LABELS, (count > 1).astype(np.int64), known),
    )


def count_strata(paths: Paths) -> tuple[Strata, Strata]:
    """Touches from the second on by the number of channels used by then, for `count_levels`."""
    rows = np.flatnonzero(paths.place >= 2)
    count = _channels_so_far(paths)[rows]
    by_count = paths.risk.row_counts(rows, np.clip(count, 1, 4) - 1, len(COUNT_LABELS))
    by_kind = paths.risk.row_counts(rows, (count > 1).astype(np.int64), len(MULTI_LABELS))
    return by_count, by_kind


def _channels_so_far(paths: Paths) -> IntArray:
    """Channels used up to each touch."""
    new = np.zeros(paths.place.size, dtype=np.int64)
    new[paths.first_use[paths.used]] = 1
    total = np.cumsum(new)
    # The first touch of a lead is the first use of its channel.
    before = np.repeat(total[paths.risk.first] - 1, paths.risk.rows)
    return np.asarray(total - before)


def sequence_levels(paths: Paths, settings: DetectorSettings) -> list[tuple[Levels, Strata]]:
    """Leads by their first channels, among those that received as many touches.

    The stratified counts are of the touches from the last of these on.

    Args:
        paths: the paths.
        settings: length of the longest sequence.

    Returns:
        The dimension of 2, 3, ... channels with its counts, as far as leads got.
    """
    whole = np.flatnonzero(paths.whole)
    start = paths.risk.first[whole]
    length = np.minimum(paths.length[whole], settings.sequence_length)
    found = []
    for steps, walks in enumerate(channel_walks(paths, start, length), start=1):
        if steps == 1:
            continue
        unit = whole[walks.units]
        reached = np.zeros(paths.won.size, dtype=np.bool_)
        reached[unit] = True
        way = np.zeros(paths.won.size, dtype=np.int64)
        way[unit] = walks.way
        names = [ARROW.join(paths.channels[channel] for channel in way) for way in walks.ways]
        dimension = frequent_levels(
            f"sequence_{steps}", names, way, reached, limit=settings.ranked_levels
        )
        found.append((dimension, paths.risk.counts(dimension, paths.place >= steps)))
    return found


def channel_walks(paths: Paths, start: IntArray, length: IntArray) -> list[Walks]:
    """The ways that units went through the channels, after 1, 2, ... steps.

    Args:
        paths: the paths.
        start: per unit, the row of its first step.
        length: per unit, its steps.
    """
    number = len(paths.channels)
    units, way = np.arange(start.size), np.zeros(start.size, dtype=np.int64)
    ways: tuple[tuple[int, ...], ...] = ((),)
    found = []
    for step in range(int(length.max(initial=0))):
        on = length[units] > step
        units = units[on]
        longer = way[on] * number + paths.channel.code[start[units] + step]
        used, way = _renumbered(longer, len(ways) * number)
        ways = tuple((*ways[place // number], place % number) for place in used.tolist())
        found.append(Walks(units, way, ways))
    return found


def _renumbered(code: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """The codes that occur, ascending, and the index into them of each; all are below `size`."""
    if size > 4 * code.size + 1000:
        used, place = np.unique(code, return_inverse=True)
        return used, place
    used = np.flatnonzero(np.bincount(code, minlength=size))
    rank = np.zeros(size, dtype=np.int64)
    rank[used] = np.arange(used.size)
    return used, rank[code]


def transition_levels(lead: IntArray, channel: Coded) -> Levels:
    """Touches by the channel of the touch before and their own, ``from→to``.

    Args:
        lead: of each touch; touches of a population in order, all of every lead from its first in
            the window.
        channel: of each touch.
    """
    number = len(channel.names)
    names = [f"{before}{ARROW}{after}" for before in channel.names for after in channel.names]
    before = np.concatenate(([-1], channel.code[:-1]))[: channel.code.size]
    known = np.zeros(channel.code.size, dtype=np.bool_)
    known[1:] = lead[1:] == lead[:-1]
    known &= (before >= 0) & (channel.code >= 0)
    return frequent_levels("transition", names, before * number + channel.code, known, limit=1000)
