"""Earlier versions of patterns, as stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cis_server.domain.vocabulary import PatternType


class ArchiveReason(StrEnum):
    """Why a version went to the history."""

    REPLACED = "replaced"
    EXPIRED = "expired"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternVersion:
    """A pattern that was active once."""

    type: PatternType
    version: int
    """Counts up from 1 within the type."""
    content: Mapping[str, Any]
    """Stored JSON; that of an old version may lack what newer ones have."""
    sample_size: int
    confidence: float
    computed_at: dt.datetime
    valid_until: dt.datetime
    run_id: str
    """Empty when unknown."""
    archived_at: dt.datetime
    reason: str
    """A value of `ArchiveReason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPosition:
    """Where a page ended: its last version."""

    archived_at: dt.datetime
    type: PatternType
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """Some versions, newest first, and how many there are."""

    versions: tuple[PatternVersion, ...]
    more: bool
    """Whether older ones follow."""
    total: int
    """Versions in all, on every page."""
