"""How long conversations are, and what one more turn is worth to those that reach it.

A turn is what one side says until the other one speaks; the first is the lead's first message.
Counting conversions per length would say that long threads convert: only living threads grow. The
hazard asks at each turn how many of the threads that reached it converted there.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.conversation_pattern_threads import INBOUND, Threads
from cis_server.detectors.rounding import rounded
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.conversation_pattern import TurnHazard, Turns
from cis_server.stats.arrays import IntArray
from cis_server.stats.rates import estimate_segments


def turn_hazards(threads: Threads, settings: DetectorSettings) -> Turns | None:
    """Length and hazard by turn.

    Over threads followed for the same time. To leave running threads out at their present turn
    would not do: of the latest threads at that turn only the converted ones would be left.

    Args:
        threads: of the run.
        settings: minimum at risk, which ends the list, and the largest turn listed.

    Returns:
        None without enough threads at the first turn.
    """
    counted = turns(threads).join(
        threads.followed.select("thread", "won"), on="thread", how="inner"
    )
    length = counted["turns"].to_numpy().astype(np.int64)
    won = counted["won"].to_numpy()
    numbers = np.arange(1, settings.touch_cap + 1)
    at_risk = length[None, :] >= numbers[:, None]
    n = at_risk.sum(axis=1).astype(np.int64)
    k = (won[None, :] & (length[None, :] == numbers[:, None])).sum(axis=1).astype(np.int64)
    enough = n >= settings.minimum_listed
    last = int(np.argmin(enough)) if not enough.all() else numbers.size
    if not last:
        return None
    return Turns(
        median_turns_converted=_median(length[won]),
        median_turns_lost=_median(length[~won]),
        conversion_rate_by_turns=tuple(
            TurnHazard(turn=turn, estimate=rounded(estimate))
            for turn, estimate in enumerate(estimate_segments(k[:last], n[:last]).estimates, 1)
        ),
    )


def turns(threads: Threads) -> pl.DataFrame:
    """`thread` and the number of its `turns`, from the lead's first message on."""
    inbound = pl.col("direction") == INBOUND
    return (
        threads.messages.filter(inbound.cum_max().over("thread"))
        .with_columns(
            begins=(pl.col("direction") != pl.col("direction").shift(1).over("thread")).fill_null(
                True
            )
        )
        .group_by("thread", maintain_order=True)
        .agg(turns=pl.col("begins").sum())
    )


def _median(length: IntArray) -> float | None:
    return float(np.median(length)) if length.size else None
