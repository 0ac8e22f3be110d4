"""Whether the data of a run are sound enough to learn from.

The quality gates of the extract stage: complete, without duplicates, nothing from the future. The
least number of positives is a gate of each propensity model, not of the data.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from cis_server.domain.dataset import Dataset
from cis_server.domain.runs import Gate

FILLED_MIN: Final = 0.95
DUPLICATES_MAX: Final = 0.01

REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "leads": ("lead_id", "status", "email_status", "created_at"),
    "activities": ("activity_id", "lead_id", "channel", "action", "occurred_at", "time_precision"),
    "meetings": ("meeting_id", "lead_id", "booked_at"),
    "deals": ("deal_id", "stage", "value", "created_at"),
    "messages": ("thread_id", "direction", "sent_at"),
}
"""Frame -> columns without which a row says nothing."""


def quality_gates(dataset: Dataset, future_rows: int) -> tuple[Gate, ...]:
    """The gates of the extract stage.

    Args:
        dataset: as read.
        future_rows: rows of the client that claim to have happened after the moment of reading.
            They are left out of every dataset; that there are any says that clocks or zones of
            what writes them are wrong, and then so are the times of the others.
    """
    share, where = _least_filled(dataset)
    duplicates = _duplicates(dataset)
    return (
        Gate(
            name="required_fields",
            value=round(share, 4),
            bound=FILLED_MIN,
            passed=share >= FILLED_MIN,
            text=f"{share:.1%} of rows have {where}; {FILLED_MIN:.0%} must"
            if where
            else "every required field is filled in",
        ),
        Gate(
            name="duplicates",
            value=round(duplicates, 4),
            bound=DUPLICATES_MAX,
            passed=duplicates <= DUPLICATES_MAX,
            text=f"{duplicates:.1%} of the touches are there twice; {DUPLICATES_MAX:.0%} may be",
        ),
        Gate(
            name="no_future_times",
            value=float(future_rows),
            bound=0.0,
            passed=future_rows == 0,
            text=f"{future_rows} events or conversions lie in the future; none may",
        ),
    )


def _least_filled(dataset: Dataset) -> tuple[float, str]:
    """The least share of rows that have a required column, and which it is; 1 when all have."""
    least, where = 1.0, ""
    for name, columns in REQUIRED.items():
        frame = dataset.columns(name, columns)
        if not frame.height:
            continue
        for column, missing in (
            frame.select(pl.col(columns).null_count()).row(0, named=True).items()
        ):
            share = 1.0 - missing / frame.height
            if share < least:
                least, where = share, f"{name}.{column}"
    return least, where


def _duplicates(dataset: Dataset) -> float:
    """Share of exactly timed touches that repeat another one of the lead, channel and instant.

    A time of a day or a month stands for many; two calls of one day are no duplicate.
    """
    columns = ("lead_id", "channel", "occurred_at", "template_id", "action", "time_precision")
    touches = dataset.columns("activities", columns).filter(
        (pl.col("action") == "sent") & (pl.col("time_precision") == "instant")
    )
    if not touches.height:
        return 0.0
    distinct = touches.select("lead_id", "channel", "occurred_at", "template_id").n_unique()
    return 1.0 - distinct / touches.height
