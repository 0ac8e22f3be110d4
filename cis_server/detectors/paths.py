"""Channel paths of leads, and what they had been through at each touch.

A lead that converts early has a short path, so that paths as wholes tell how leads ended rather
than what works. What is compared here is alike up to the point of comparison: sequences of L
channels among leads that received at least L touches, channels "used so far" at each touch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cis_server.detectors.levels import Levels, coded_levels, levels
from cis_server.detectors.outcomes import Population
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.settings import DetectorSettings
from cis_server.stats.arrays import BoolArray, IntArray
from cis_server.stats.rates import Strata

ARROW = "→"
COUNT_LABELS = ("1", "2", "3", "4+")
MULTI_LABELS = ("single", "multi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Leads followed long enough with at least one touch, as units, and their touches, as rows.

    Attributes:
        leads: rows of `Population.resolved_leads`, in order. `won`: whether each converted.
        touches: rows of `Population.followed_touches`, in order, with lead, channel, position,
            touch_number, tier and success. `unit`: row in `leads` of each touch.
        channels: names in alphabetical order.
        first_use: position of the first touch per lead and channel, shape (leads, channels); a
            number beyond every position where the channel was not used.
        whole: per lead, whether its path begins with its first touch ever (the window may cut it).
        risk: the touches at risk.
    """

    leads: pl.DataFrame
    won: BoolArray
    touches: pl.DataFrame
    unit: IntArray
    channels: tuple[str, ...]
    first_use: IntArray
    whole: BoolArray
    risk: RiskSet

    @property
    def used(self) -> BoolArray:
        """Whether a lead was touched through a channel, shape (leads, channels)."""
        return np.asarray(self.first_use < _NEVER)

    @property
    def position(self) -> IntArray:
        """Position of each touch in its lead's path, from 1."""
        return self.touches["position"].to_numpy().astype(np.int64)

    @property
    def length(self) -> IntArray:
        """Touches per lead."""
        return self.risk.rows


_COLUMNS = ("lead", "channel", "position", "touch_number", "tier", "success")
_NEVER = np.iinfo(np.int64).max


def channel_paths(run: Population, settings: DetectorSettings) -> Paths:
    """The paths of the leads of a run that were followed long enough and received a touch."""
    followed = run.followed_columns(_COLUMNS)
    leads = run.resolved_leads.join(followed, on="lead", how="semi", maintain_order="left")
    touches = followed.join(
        leads.select("lead").with_row_index("unit"),
        on="lead",
        how="inner",
        maintain_order="left",
    )
    unit = touches["unit"].to_numpy().astype(np.int64)
    channels = tuple(touches["channel"].drop_nulls().unique().sort().to_list())
    first_use = np.full((leads.height, len(channels)), _NEVER)
    channel = _codes(touches["channel"], channels)
    position = touches["position"].to_numpy().astype(np.int64)
    np.minimum.at(first_use, (unit, channel), position)
    risk = RiskSet.of_leads(leads, touches.drop("unit"), settings.touch_cap)
    return Paths(
        leads=leads,
        won=leads["converted"].to_numpy(),
        touches=touches,
        unit=unit,
        channels=channels,
        first_use=first_use,
        whole=touches["touch_number"].to_numpy()[risk.first] == 1
        if leads.height
        else np.empty(0, dtype=np.bool_),
        risk=risk,
    )


def channel_levels(paths: Paths, dimension: str, among: BoolArray | None = None) -> Levels:
    """Leads by the channels they were touched through; several a lead.

    Args:
        paths: the paths.
        dimension: name of the dimension.
        among: leads that count, all by default.
    """
    known = np.ones(paths.leads.height, dtype=np.bool_) if among is None else among
    unit, code = np.nonzero(paths.used & known[:, None])
    return Levels(dimension=dimension, values=paths.channels, unit=unit, code=code, known=known)


def channel_strata(paths: Paths, among: BoolArray | None = None) -> Strata:
    """Touches at which a channel had been used by then, per channel.

    Exposure begins with the first touch through the channel, so that a lead does not count as
    exposed for the time it had to last in order to get there (immortal time).
    """
    used = paths.position[:, None] >= paths.first_use[paths.unit]
    rows = np.ones(paths.unit.size, dtype=np.bool_) if among is None else among[paths.unit]
    row, code = np.nonzero(used & rows[:, None])
    return paths.risk.row_counts(row, code, np.flatnonzero(rows), len(paths.channels))


def first_channel_levels(paths: Paths) -> Levels:
    """Leads by the channel of their first touch, where that lies in the window."""
    first = paths.touches["channel"].to_numpy()[paths.risk.first]
    channel = pl.Series("channel", first, dtype=pl.String)
    whole = pl.Series("whole", paths.whole)
    return levels("first_channel", pl.select(pl.when(whole).then(channel)).to_series(), limit=1000)


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
    count = (paths.position[:, None] >= paths.first_use[paths.unit]).sum(axis=1)
    rows = np.flatnonzero(paths.position >= 2)
    by_count = paths.risk.row_counts(rows, np.clip(count[rows], 1, 4) - 1, rows, len(COUNT_LABELS))
    by_kind = paths.risk.row_counts(
        rows, (count[rows] > 1).astype(np.int64), rows, len(MULTI_LABELS)
    )
    return by_count, by_kind


def sequence_levels(paths: Paths, length: int, settings: DetectorSettings) -> tuple[Levels, Strata]:
    """Leads by their first `length` channels, among those that received that many touches.

    The stratified counts are of the touches from that one on.
    """
    reached = paths.whole & (paths.length >= length)
    start = paths.risk.first[reached]
    channel = paths.touches["channel"].to_numpy()
    text = pl.DataFrame(
        {str(step): channel[start + step] for step in range(length)},
        schema=dict.fromkeys(map(str, range(length)), pl.String()),
    ).select(path=pl.concat_str(pl.all(), separator=ARROW))["path"]
    found = levels(f"sequence_{length}", text, limit=settings.ranked_levels)
    unit = np.flatnonzero(reached)
    whole = Levels(
        dimension=found.dimension,
        values=found.values,
        unit=unit[found.unit],
        code=found.code,
        known=reached,
    )
    return whole, paths.risk.counts(whole, among=paths.position >= length)


def transition_levels(touches: pl.DataFrame) -> Levels:
    """Touches by the channel of the touch before and their own, ``from→to``.

    Args:
        touches: touches of a population, in order, all of every lead from its first in the window.
    """
    before = pl.col("channel").shift(1).over("lead")
    text = touches.select(pl.concat_str(before, "channel", separator=ARROW)).to_series()
    return levels("transition", text, limit=1000)


def _codes(channel: pl.Series, channels: tuple[str, ...]) -> IntArray:
    return (
        channel.replace_strict(channels, range(len(channels)), return_dtype=pl.Int64)
        .to_numpy()
        .astype(np.int64)
    )
