"""Strata of units that are single rows: meetings, deals, threads."""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.risk_set import RiskSet
from cis_server.domain.vocabulary import Tier
from cis_server.stats.arrays import BoolArray, IntArray

_TIERS = tuple(tier.label for tier in Tier)


def tier_codes(rows: pl.DataFrame) -> IntArray:
    """Tier of the lead as a number; unknown is one of its own."""
    codes = rows["tier"].replace_strict(
        _TIERS, range(len(_TIERS)), default=len(_TIERS), return_dtype=pl.Int64
    )
    return codes.to_numpy().astype(np.int64)


def one_row_each(event: BoolArray, *codes: IntArray) -> RiskSet:
    """A risk set whose units are single rows, in strata of every combination of the codes.

    Args:
        event: per unit, whether it succeeded.
        codes: per unit and confounder, a number from 0.
    """
    stratum = np.zeros(event.size, dtype=np.int64)
    for code in codes:
        stratum = stratum * (int(code.max(initial=0)) + 1) + code
    used, stratum = np.unique(stratum, return_inverse=True)
    return RiskSet(
        first=np.arange(event.size),
        rows=np.ones(event.size, dtype=np.int64),
        stratum=stratum.astype(np.int64),
        event=event,
        strata=max(1, used.size),
    )
