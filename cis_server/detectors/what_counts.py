"""Dimensions of content counted once for all channels together and for each alone.

Content goes with channel, score tier and place in the sequence: templates belong to campaigns, hot
leads are called, first messages introduce. Messages are therefore compared within strata of all
three, and the counts per stratum also hold those of every channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from cis_server.detectors.levels import Levels
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.segments import Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.stats.arrays import BoolArray, IntArray
from cis_server.stats.rates import Strata
from cis_server.stats.standardized import expected_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """All touches, or those of one channel.

    Attributes:
        channel: None for all.
        columns: strata of the part, as a mask.
        units: touches.
        converted: conversions credited to them.
    """

    channel: str | None
    columns: BoolArray
    units: int
    converted: int

    @property
    def rate(self) -> float:
        """Share of the touches that converted."""
        return self.converted / self.units

    def name(self, dimension: str) -> str:
        """Name of a dimension of this part in the run."""
        return dimension if self.channel is None else f"{dimension}.{self.channel}"


class TouchStrata:
    """Touches in strata of channel x score tier x touch number."""

    def __init__(self, touches: pl.DataFrame, settings: DetectorSettings) -> None:
        """Number the strata.

        Args:
            touches: resolved touches of a population.
            settings: touch cap, and the least a channel needs to be looked at alone.
        """
        self._settings = settings
        within = RiskSet.of_touches(touches, settings.touch_cap)
        names = touches["channel"].unique().sort()
        self._channels = tuple(names.to_list())
        channel = (
            touches["channel"]
            .replace_strict(names, pl.Series(np.arange(len(names))), return_dtype=pl.Int64)
            .to_numpy()
        )
        cell = channel * within.strata + within.stratum
        used = np.flatnonzero(np.bincount(cell))
        stratum = np.searchsorted(used, cell)
        self._channel_of = used // within.strata
        self._risk = RiskSet(
            first=within.first,
            rows=within.rows,
            stratum=stratum.astype(np.int64),
            event=within.event,
            strata=used.size,
        )
        self._n = np.bincount(self._risk.stratum, minlength=used.size)
        self._k = np.bincount(self._risk.stratum[within.event], minlength=used.size)

    @property
    def whole(self) -> Part:
        """All touches."""
        return self._part(None, np.ones(self._n.size, dtype=np.bool_))

    def channels(self) -> tuple[Part, ...]:
        """Channels with enough to be looked at alone, by name; none when there is but one."""
        parts = self.every_channel()
        least = self._settings
        return tuple(
            part
            for part in parts
            if len(parts) > 1
            and part.units >= least.minimum_units
            and part.converted >= least.minimum_converted
            and part.units - part.converted >= least.minimum_not_converted
        )

    def every_channel(self) -> tuple[Part, ...]:
        """All channels, by name."""
        return tuple(
            self._part(name, self._channel_of == place) for place, name in enumerate(self._channels)
        )

    def counts(self, levels: Levels) -> Counts:
        """Counts of a dimension per stratum."""
        return Counts.of(self._risk.counts(levels), levels)

    def _part(self, channel: str | None, columns: BoolArray) -> Part:
        units, converted = int(self._n[columns].sum()), int(self._k[columns].sum())
        return Part(channel=channel, columns=columns, units=units, converted=converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A dimension per stratum: (values, strata) and (strata,) arrays."""

    dimension: str
    values: tuple[str, ...]
    n: IntArray
    k: IntArray
    total_n: IntArray
    total_k: IntArray

    @classmethod
    def of(cls, strata: Strata, levels: Levels) -> Self:
        """From counts of a risk set."""
        return cls(
            dimension=levels.dimension,
            values=levels.values,
            n=np.asarray(strata.n),
            k=np.asarray(strata.k),
            total_n=np.asarray(strata.total_n),
            total_k=np.asarray(strata.total_k),
        )

    def totals(self, part: Part) -> tuple[int, int]:
        """(units, conversions) of a part for which the dimension is known."""
        return int(self.total_n[part.columns].sum()), int(self.total_k[part.columns].sum())

    def add_to(self, segments: Segments, part: Part) -> None:
        """Add the dimension of a part to a run; that of a channel is shrunk to the others.

        Values that no touch of the part has are not added, nor is a dimension without any.
        """
        n = self.n[:, part.columns].sum(axis=1)
        seen = np.flatnonzero(n)
        total = self.totals(part)
        if not seen.size:
            return
        segments.add_counts(
            part.name(self.dimension),
            tuple(self.values[i] for i in seen),
            n[seen],
            self.k[np.ix_(seen, part.columns)].sum(axis=1),
            total=total,
            coverage=total[0] / part.units,
            strata=self._informative(seen, part.columns),
            standardized=True,
            prior=None
            if part.channel is None
            else expected_from(self._informative(seen, ~part.columns)),
        )

    def _informative(self, rows: IntArray, columns: BoolArray) -> Strata:
        """The strata; those in which nobody or everybody converted tell nothing and are merged."""
        nobody = columns & (self.total_k == 0)
        everybody = columns & (self.total_k == self.total_n) & ~nobody
        kept = columns & ~nobody & ~everybody

        def merged(table: IntArray) -> IntArray:
            ends = [table[..., mask].sum(axis=-1, keepdims=True) for mask in (nobody, everybody)]
            return np.concatenate([table[..., kept], *ends], axis=-1)

        return Strata(
            n=merged(self.n[rows]),
            k=merged(self.k[rows]),
            total_n=merged(self.total_n),
            total_k=merged(self.total_k),
        )
