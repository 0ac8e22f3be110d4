"""Days from first contact to conversion."""

from __future__ import annotations

import numpy as np
import polars as pl

from cis_server.detectors.outcomes import Label, Population
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.patterns import ConversionTiming
from cis_server.stats.survival import kaplan_meier

_DAY = 86_400_000_000
_MINIMUM_CONVERTED = 3


def conversion_timing(run: Population, settings: DetectorSettings) -> ConversionTiming | None:
    """How long conversions take.

    Young leads have had little time for slow conversions, so the days among converted leads are
    too short on average; the percentiles therefore come from Kaplan-Meier. Whoever has not
    converted is censored at the end of the run, with or without a refusal: that is when it was
    last known not to have converted. Percentile p is the day by which p % of the conversions that
    the curve shows in all had happened.

    Args:
        run: the population. Counted are leads first contacted in the window, at a time known to
            the day; leads of before are there only if they were slow.
        settings: minimum of leads.

    Returns:
        None under `minimum_units` leads or 3 conversions.
    """
    first = run.touches.select("lead", "position", "gap_known")
    first = first.filter("gap_known", pl.col("position") == 1)
    precise = np.zeros(run.leads.height, dtype=np.bool_)
    precise[first["lead"].to_numpy()] = True
    end = pl.when(pl.col("label") == Label.CONVERTED).then("converted_at").otherwise(run.as_of)
    leads = (
        run.leads.select("label", "converted_at", "contacted_at")
        .filter(pl.Series(precise), pl.col("contacted_at") >= run.window_start)
        .select(
            won=pl.col("label") == Label.CONVERTED,
            days=(end - pl.col("contacted_at")).dt.total_microseconds() / _DAY,
        )
        .filter(pl.col("days") >= 0)
    )
    won = leads["won"].to_numpy()
    days = leads["days"].to_numpy()
    if leads.height < settings.minimum_units or won.sum() < _MINIMUM_CONVERTED:
        return None
    curve = kaplan_meier(days, won)
    whole = 1.0 - float(curve.survival[-1])
    converted = days[won]
    return ConversionTiming(
        sample=leads.height,
        converted=int(won.sum()),
        avg_days_to_convert=_days(float(converted.mean())),
        median_days_to_convert=_days(float(np.median(converted))),
        percentile_50=_days(curve.quantile(0.50 * whole)),
        percentile_80=_days(curve.quantile(0.80 * whole)),
        percentile_95=_days(curve.quantile(0.95 * whole)),
    )


def _days(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
