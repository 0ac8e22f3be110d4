"""Lead-local time zones: volume, engagement, conversion and the local hour of sending."""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.engagement import EMAIL, human_engagement
from cis_server.detectors.outcomes import Population
from cis_server.detectors.rounding import rounded_rate
from cis_server.detectors.segments import Judged
from cis_server.domain.patterns import TimezoneInsights, TimezoneRow
from cis_server.stats.circular import circular_mean

ZONES = 10
"""Zones listed, by volume."""
DIMENSION = "timezone"

_COLUMNS = (
    *("lead_timezone", "channel", "hour_known", "local_hour", "human_opened_at"),
    *("human_clicked_at", "minutes_to_open", "minutes_to_click"),
)


def timezone_insights(run: Population, judged: Judged) -> TimezoneInsights | None:
    """The zones with most touches.

    Args:
        run: the population; its resolved touches count.
        judged: the dimension of the zones of those touches.

    Returns:
        None when no zone reached the minimum.
    """
    zones = {segment.value: segment.estimate for segment in judged.segments}
    if not zones:
        return None
    listed = sorted(zones, key=lambda zone: (-zones[zone].sample, zone))[:ZONES]
    touches = (
        run.resolved_columns(_COLUMNS)
        .filter(pl.col("lead_timezone").is_in(listed))
        .with_columns(human_engagement(pl.lit(run.as_of)))
    )
    mails = touches.filter(pl.col("channel") == EMAIL)
    figures = {
        row["lead_timezone"]: row
        for row in mails.group_by("lead_timezone")
        .agg(
            mails=pl.len(),
            opened=pl.col("opened").sum(),
            clicked=pl.col("clicked").sum(),
            to_open=pl.col("minutes_to_open").mean(),
        )
        .iter_rows(named=True)
    }
    hours = (
        touches.filter("hour_known")
        .group_by("lead_timezone", "local_hour")
        .agg(n=pl.len())
        .sort("lead_timezone", "local_hour")
    )
    return TimezoneInsights(
        by_timezone=tuple(
            TimezoneRow(
                timezone=zone,
                sample=zones[zone].sample,
                open_rate=_share(figures.get(zone), "opened"),
                click_rate=_share(figures.get(zone), "clicked"),
                avg_time_to_open_minutes=_rounded(figures.get(zone, {}).get("to_open")),
                avg_send_hour_local=_mean_hour(hours.filter(pl.col("lead_timezone") == zone)),
                estimate=zones[zone],
            )
            for zone in listed
        ),
        timezone_coverage=round(judged.coverage, 4),
    )


def _share(row: dict[str, int] | None, of: str) -> float | None:
    return rounded_rate(row[of] / row["mails"]) if row else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _mean_hour(hours: pl.DataFrame) -> float | None:
    if hours.is_empty():
        return None
    mean = circular_mean(
        hours["local_hour"].to_numpy().astype(np.float64),
        weights=hours["n"].to_numpy().astype(np.float64),
        period=24.0,
    )
    return None if mean is None else round(mean, 2)
