"""Local hours across the days on which clocks change."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from zoneinfo import ZoneInfo

import polars as pl

from cis_server.demo.specs import ALL_HOURS, ClientSpec
from tests.proof.cases import Figures
from tests.proof.simulated import BASE_RATE, CLIENT, STEADY, leads_for, observed

CHANGES = (dt.date(2026, 3, 8), dt.date(2026, 3, 29), dt.date(2026, 4, 5))
"""America, Europe, Australia and New Zealand."""
FROZEN_ON = dt.datetime(2026, 1, 15, tzinfo=dt.UTC)
"""The naive method takes the offset that was right on this day."""


def measure(seed: int, *, cohort: int) -> Figures:
    """Touches within two days of a change: whether weekday and hour are those of the lead's clock.

    The reference is Python's own zone rules, which share no code with what is measured.
    """
    spec = ClientSpec(
        client_id=CLIENT,
        leads=leads_for(cohort),
        base_rate=BASE_RATE,
        outreach=replace(STEADY, history_days=60, hour_weights=ALL_HOURS),
    )
    dataset, _, _ = observed(spec, seed)
    near = pl.any_horizontal(
        (pl.col("occurred_at").dt.date() - pl.lit(day)).abs() <= dt.timedelta(days=2)
        for day in CHANGES
    )
    touches = dataset.activities.filter(
        near & pl.col("local_hour").is_not_null() & pl.col("lead_timezone").is_not_null()
    )
    right = frozen = universal = 0
    for at, zone, weekday, hour in touches.select(
        "occurred_at", "lead_timezone", "local_weekday", "local_hour"
    ).iter_rows():
        local = at.astimezone(ZoneInfo(zone))
        truth = (local.isoweekday(), local.hour)
        offset = FROZEN_ON.astimezone(ZoneInfo(zone)).utcoffset() or dt.timedelta()
        shifted = at + offset
        right += (weekday, hour) == truth
        frozen += (shifted.isoweekday(), shifted.hour) == truth
        universal += (at.isoweekday(), at.hour) == truth
    return {
        "touches": touches.height,
        "right": right,
        "frozen_right": frozen,
        "utc_right": universal,
    }
