"""What all patterns have in common: what they say about themselves, and ranked dimensions."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from cis_server.domain.rates import RateEstimate, SegmentRate
from cis_server.domain.stored import Stored
from cis_server.domain.vocabulary import PatternStatus, PatternType, Verdict

VERSION = "3.0"
"""Schema version of the content; readers accept older ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStatus(Stored):
    """How one block of a pattern came out."""

    block: str
    status: PatternStatus
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUnits(Stored):
    """Units for which a dimension is known: a value is compared with the rest of these alone."""

    units: int
    converted: int
    coverage: float
    """Their share of the units that were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope(Stored):
    """What every pattern says about itself."""

    type: PatternType
    version: str = VERSION
    as_of: dt.datetime
    window_start: dt.datetime
    window_end: dt.datetime
    method: str
    """Name of the estimators used, in words."""
    sample_size: int
    """Units of analysis (leads or touches, as `unit` says)."""
    n_converted: int
    unit: str
    baseline_conversion_rate: float
    confidence: float
    """Anchors of the sample size on min(n, 10 converted, 10 not converted)."""
    blocks: tuple[BlockStatus, ...] = ()
    note: str = ""
    known: dict[str, KnownUnits] = field(default_factory=dict)
    """By dimension, for those that proposals are made of; a pattern stored without has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeRanking(Stored):
    """Values of one dimension, best evidence first (ranked by `low`, sample, value)."""

    attribute: str
    segments: tuple[SegmentRate, ...]
    coverage: float
    """Share of units for which the value is known; missing ones are left out."""
    segments_tested: int
    """Values that reached the minimum sample and took part in the multiplicity control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagEffect(Stored):
    """Units with a property against those without it; unknown ones are in neither."""

    value: str
    """Name of the property."""
    present: RateEstimate | None
    absent: RateEstimate | None
    lift: float | None
    """Adjusted rate with / adjusted rate without."""
    verdict: Verdict
    """On the units with it."""
    unknown: int
