"""Lead-local time zones: volume, engagement, conversion and the local hour of sending."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from cis_server.detectors.coded import Coded
from cis_server.detectors.engagement import EMAIL, ENGAGEMENT, engaged
from cis_server.detectors.outcomes import Population
from cis_server.detectors.rounding import rounded_rate
from cis_server.detectors.segments import Judged
from cis_server.domain.patterns import TimezoneInsights, TimezoneRow
from cis_server.stats.arrays import IntArray
from cis_server.stats.circular import circular_mean

ZONES = 10
"""Zones listed, by volume."""
DIMENSION = "timezone"

COLUMNS = ("lead", "channel", "hour_known", "local_hour", *ENGAGEMENT)
"""Columns that are read of touches, beside the zone."""


def timezone_insights(
    touches: pl.DataFrame, zone: Coded, run: Population, judged: Judged
) -> TimezoneInsights | None:
    """The zones with most touches.

    Args:
        touches: resolved touches of a population with `COLUMNS`.
        zone: zone of each.
        run: the population.
        judged: the dimension of the zones of those touches.

    Returns:
        None when no zone reached the minimum.
    """
    estimates = {segment.value: segment.estimate for segment in judged.segments}
    if not estimates:
        return None
    listed = sorted(estimates, key=lambda name: (-estimates[name].sample, name))[:ZONES]
    rank = np.full(len(zone.names) + 1, -1)
    rank[[zone.names.index(name) for name in listed]] = np.arange(len(listed))
    place = rank[zone.code]
    figures = _mail_figures(touches, place, run)
    hours = _send_hours(touches, place, len(listed))
    return TimezoneInsights(
        by_timezone=tuple(
            TimezoneRow(
                timezone=name,
                sample=estimates[name].sample,
                open_rate=_share(figures.get(number), "opened"),
                click_rate=_share(figures.get(number), "clicked"),
                avg_time_to_open_minutes=_rounded(figures.get(number, {}).get("to_open")),
                avg_send_hour_local=_mean_hour(hours[number]),
                estimate=estimates[name],
            )
            for number, name in enumerate(listed)
        ),
        timezone_coverage=round(judged.coverage, 4),
    )


def _mail_figures(
    touches: pl.DataFrame, place: IntArray, run: Population
) -> dict[int, dict[str, Any]]:
    """Opens and clicks before the conversion in each listed zone, by its place; -1 are others."""
    own = pl.Series(place >= 0) & (touches["channel"] == EMAIL)
    mails = touches.select("lead", *ENGAGEMENT).filter(own)
    mails = engaged(mails, run.leads["converted_at"], run.as_of)
    found = (
        mails.with_columns(zone=pl.Series(place).filter(own))
        .group_by("zone")
        .agg(
            mails=pl.len(),
            opened=pl.col("opened").sum(),
            clicked=pl.col("clicked").sum(),
            to_open=pl.col("minutes_to_open").mean(),
        )
    )
    return {row["zone"]: row for row in found.iter_rows(named=True)}


def _send_hours(touches: pl.DataFrame, place: IntArray, zones: int) -> IntArray:
    """Touches per listed zone and local hour, shape (zones, 24)."""
    known = touches["hour_known"].to_numpy() & (place >= 0)
    hour = touches["local_hour"].fill_null(0).to_numpy()[known]
    counted = np.bincount(place[known] * 24 + hour, minlength=zones * 24)
    return np.asarray(counted.reshape(zones, 24))


def _share(row: dict[str, Any] | None, of: str) -> float | None:
    return rounded_rate(row[of] / row["mails"]) if row else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _mean_hour(counts: IntArray) -> float | None:
    hours = np.flatnonzero(counts)
    if not hours.size:
        return None
    mean = circular_mean(
        hours.astype(np.float64), weights=counts[hours].astype(np.float64), period=24.0
    )
    return None if mean is None else round(mean, 2)
