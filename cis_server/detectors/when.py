"""WHEN: on which day, at which hour, after how many days and touches."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import polars as pl

from cis_server.detectors.blocks import Blocks
from cis_server.detectors.coded import Coded
from cis_server.detectors.conversion_timing import conversion_timing
from cis_server.detectors.engagement import COLUMNS as ENGAGEMENT
from cis_server.detectors.engagement import engagement_timing
from cis_server.detectors.envelope import envelope, require_enough
from cis_server.detectors.gaps import (
    default_gaps,
    gap_days,
    gap_touches,
    sequence_gaps,
)
from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.risk_set import RiskSet
from cis_server.detectors.segments import Judged, Segments
from cis_server.detectors.send_times import SendTimes
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.touch_hazard import (
    converting_touch_distribution,
    peak_and_average,
    touch_hazard,
)
from cis_server.detectors.zones import COLUMNS as OF_ZONES
from cis_server.detectors.zones import DIMENSION as ZONE
from cis_server.detectors.zones import timezone_insights
from cis_server.domain.dataset import Dataset
from cis_server.domain.patterns import PrecisionCoverage, WhenPattern
from cis_server.domain.vocabulary import PatternType

_METHOD = (
    "touches older than the horizon; rates by beta-binomial shrinkage, a touch succeeding when "
    "the conversion is credited to it; week smoothed with a wrapped Gaussian kernel, bandwidth "
    "by leave-one-out likelihood; Fisher or score test against the complement with "
    "Benjamini-Hochberg over all segments; hazard per touch; Kaplan-Meier"
)
_COLUMNS = (
    *("lead", "channel", "tier", "touch_number", "position", "success", "label", "occurred_at"),
    *("lead_timezone", "local_weekday", "local_hour", "gap_days"),
    *("hour_known", "weekday_known", "gap_known", *ENGAGEMENT, *OF_ZONES),
)


def detect_when(
    dataset: Dataset,
    *,
    settings: DetectorSettings | None = None,
    run: Population | None = None,
) -> WhenPattern:
    """Compare local weekdays, hours, waiting times and touch numbers by what the touch achieves.

    Args:
        dataset: one client's frames and window.
        settings: thresholds.
        run: the labelled population of this dataset, when it is known already.

    Returns:
        The pattern; the same data give the same pattern whatever the row order.

    Raises:
        InsufficientData: too few touches, conversions or non-conversions.
    """
    settings = settings or DetectorSettings()
    run = run or population(dataset, settings)
    touches = run.resolved_columns(_COLUMNS)
    converted = int(touches["success"].sum())
    require_enough(touches.height, converted, "touches", settings, run.note)
    blocks = Blocks()
    risk = RiskSet.of_touches(touches, settings.touch_cap)
    times = SendTimes(touches, Coded.of(touches["channel"]), risk, settings)
    gaps = blocks.run("sequence_gaps", lambda: gap_touches(touches, risk)) or []
    segments = Segments(settings, converted / touches.height)
    times.add_to(segments, blocks)
    zone = cache(lambda: Coded.of(touches["lead_timezone"]))
    blocks.step(
        "timezone_insights",
        lambda: segments.add(zone().levels(ZONE, limit=1000), risk.event, risk),
    )

    def add_gaps() -> None:
        for gap in gaps:
            gap.add_to(segments)

    blocks.step("sequence_gaps", add_gaps)
    judged: Mapping[str, Judged] = segments.judged()
    days = blocks.run("best_days", lambda: times.best_days(judged)) or ()
    hours = blocks.run("best_hours", lambda: times.best_hours(judged)) or ()
    surface = blocks.run("surface", times.surface)
    by_channel = blocks.run("by_channel", lambda: times.by_channel(judged)) or ()
    distribution = (
        blocks.run(
            "converting_touch_distribution",
            lambda: converting_touch_distribution(touches, settings.touch_cap),
        )
        or {}
    )
    peak, average = peak_and_average(touches, settings.touch_cap)
    hazard = blocks.run("touch_hazard", lambda: touch_hazard(touches, settings)) or ()
    waits = blocks.run("sequence_gaps", lambda: sequence_gaps(judged, gaps)) or default_gaps()
    engagement = blocks.run("engagement_timing", lambda: engagement_timing(touches, run, settings))
    zones = blocks.run(
        "timezone_insights", lambda: timezone_insights(touches, zone(), run, judged[ZONE])
    )
    timing = blocks.run("conversion_timing", lambda: conversion_timing(run, settings))
    return WhenPattern(
        envelope=envelope(
            PatternType.WHEN,
            run,
            blocks,
            unit="touches",
            method=_METHOD,
            sample=touches.height,
            converted=converted,
        ),
        best_days=days,
        best_hours=hours,
        surface=surface,
        by_channel=by_channel,
        converting_touch_distribution=distribution,
        peak_converting_touch=peak,
        avg_touches_to_convert=average,
        touch_hazard=hazard,
        optimal_sequence_gaps=gap_days(waits),
        sequence_gaps=waits,
        engagement_timing=engagement,
        timezone_insights=zones,
        conversion_timing=timing,
        coverage=_coverage(touches),
    )


def _coverage(touches: pl.DataFrame) -> PrecisionCoverage:
    row = touches.select(
        hour=pl.col("hour_known").mean(),
        weekday=pl.col("weekday_known").mean(),
        gap=pl.col("gap_known").mean(),
        timezone=pl.col("lead_timezone").is_not_null().mean(),
    ).row(0, named=True)
    return PrecisionCoverage(**{name: round(share, 4) for name, share in row.items()})
