"""What told an answer, and how old that is."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cis_server.domain.vocabulary import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Origin of everything in an answer that was computed from learned state."""

    model_version: str = ""
    """Version of the weights, model or pattern; empty for defaults."""
    source: Source = Source.DEFAULT
    computed_at: dt.datetime | None = None
    """None for defaults."""
    valid_until: dt.datetime | None = None
    """None for defaults and for what was set by hand."""
    sample_size: int = 0
    confidence: float = 0.0
    """0..1, by effective sample size; 0 for defaults."""
    stale: bool = False
    """Whether `valid_until` has passed or the database could not be asked for newer state."""


DEFAULT_MODEL = ModelInfo()
"""Nothing was learned; the documented defaults answered."""
