"""Which booked meetings take place.

The unit is the meeting of known attendance. Day, hour and tier are compared with the days from
booking to meeting held fixed, and the other way round. Confirmations and reminders are looked at
among meetings booked early enough to receive one: a meeting booked an hour ahead gets no reminder
and is hardly ever missed, which says nothing about reminders.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import polars as pl

from cis_server.detectors.blocks import Blocks, InsufficientData
from cis_server.detectors.flag_effects import difference, flag_effect, flag_levels
from cis_server.detectors.funnel_population import (
    DAYS_AHEAD_EDGES,
    DAYS_AHEAD_LABELS,
    FunnelPopulation,
    ahead_codes,
)
from cis_server.detectors.levels import banded, coded_levels, levels
from cis_server.detectors.rounding import rounded, rounded_rate
from cis_server.detectors.segments import Judged, Segments
from cis_server.detectors.send_times import DAYS, HOURS
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.unit_strata import one_row_each, tier_codes
from cis_server.domain.clock_rates import DayRate, HourRate
from cis_server.domain.envelope import FlagEffect
from cis_server.domain.funnel_pattern import Insight, ShowRate
from cis_server.domain.rates import SegmentRate
from cis_server.domain.vocabulary import Verdict
from cis_server.stats.rates import estimate_segments

BLOCK = "show_rate"
_DAY, _HOUR = "show.day", "show.hour"
_AHEAD, _TIER = "show.days_ahead", "show.tier"
_FLAGS = {
    "confirmed": pl.col("confirmed"),
    "reminder_sent": pl.col("reminder_sent"),
    "rescheduled": pl.col("rescheduled_count") > 0,
}
_NEEDS_NOTICE = ("confirmed", "reminder_sent")


def add_show_rates(
    segments: Segments, people: FunnelPopulation, blocks: Blocks, settings: DetectorSettings
) -> None:
    """Add every dimension of attendance to the run; one that cannot be added is lost alone."""
    known = people.known
    if known.height < settings.funnel_minimum:
        return
    showed = known["attended"].to_numpy()
    rate = float(showed.mean())
    ahead, tier = ahead_codes(known), tier_codes(known)
    both = one_row_each(showed, tier, ahead)
    has_clock = known["local_weekday"].is_not_null().to_numpy()

    def add_days() -> None:
        day = known["local_weekday"].fill_null(1).to_numpy() - 1
        segments.add(coded_levels(_DAY, DAYS, day, has_clock), showed, both, baseline=rate)

    def add_hours() -> None:
        hour = known["local_hour"].fill_null(0).to_numpy()
        segments.add(coded_levels(_HOUR, HOURS, hour, has_clock), showed, both, baseline=rate)

    def add_ahead() -> None:
        days = known.select(pl.when(pl.col("days_ahead") >= 0).then("days_ahead")).to_series()
        dimension = banded(_AHEAD, days, DAYS_AHEAD_EDGES, DAYS_AHEAD_LABELS)
        segments.add(dimension, showed, one_row_each(showed, tier), baseline=rate)

    def add_tiers() -> None:
        dimension = levels(_TIER, known["tier"], limit=settings.ranked_levels)
        segments.add(dimension, showed, one_row_each(showed, ahead), baseline=rate)

    def add_flag(name: str) -> None:
        flags = _flag(known, name)
        if flags.is_not_null().any():
            segments.add(flag_levels(f"show.{name}", flags), showed, both, standardized=True)

    for step in (add_days, add_hours, add_ahead, add_tiers):
        blocks.step(BLOCK, step)
    for name in _FLAGS:
        blocks.step(BLOCK, partial(add_flag, name))


def show_rate(
    people: FunnelPopulation, judged: Mapping[str, Judged], settings: DetectorSettings
) -> ShowRate:
    """The block, once everything is judged.

    Raises:
        InsufficientData: too few meetings of known attendance.
    """
    known = people.known
    if known.height < settings.funnel_minimum:
        raise InsufficientData(
            f"{known.height} past meetings of known attendance, {settings.funnel_minimum} needed"
        )
    showed = int(known["attended"].sum())
    estimate = rounded(estimate_segments([showed], [known.height]).estimates[0])
    days, hours = _listed(judged, _DAY), _listed(judged, _HOUR)
    tiers = _listed(judged, _TIER)
    effects = {
        name: flag_effect(judged.get(f"show.{name}"), name, _unknown(known, name), settings)
        for name in _FLAGS
    }
    best_hour = _winner(hours)
    return ShowRate(
        sample_size=known.height,
        overall_rate=estimate.adjusted_rate,
        estimate=estimate,
        best_day=_winner(days),
        best_hour=None if best_hour is None else int(best_hour),
        by_day=tuple(
            DayRate(day=s.value, day_of_week=DAYS.index(s.value) + 1, segment=s) for s in days
        ),
        by_hour=tuple(HourRate(hour=int(s.value), segment=s) for s in hours),
        by_days_ahead=_listed(judged, _AHEAD),
        by_tier=tiers,
        confirmation_effect=effects["confirmed"],
        reminder_effect=effects["reminder_sent"],
        reschedule_effect=effects["rescheduled"],
        unknown_attendance_share=rounded_rate(1 - known.height / people.past.height),
        insights=_insights(effects, tiers),
        local_time_coverage=rounded_rate(known["local_weekday"].count() / known.height),
    )


def _flag(known: pl.DataFrame, name: str) -> pl.Series:
    """The flag of the meetings at risk; null where unknown or not at risk."""
    flag = _FLAGS[name]
    if name in _NEEDS_NOTICE:
        flag = pl.when("reached_reminder").then(flag)
    return known.select(flag.alias(name)).to_series()


def _unknown(known: pl.DataFrame, name: str) -> int:
    asked = known.filter("reached_reminder") if name in _NEEDS_NOTICE else known
    return int(asked.select(_FLAGS[name].is_null().sum()).item())


def _listed(judged: Mapping[str, Judged], dimension: str) -> tuple[SegmentRate, ...]:
    return judged[dimension].segments if dimension in judged else ()


def _winner(segments: tuple[SegmentRate, ...]) -> str | None:
    return next((s.value for s in segments if s.verdict is Verdict.WINNING), None)


def _insights(
    effects: Mapping[str, FlagEffect | None], tiers: tuple[SegmentRate, ...]
) -> tuple[Insight, ...]:
    """Conditions of the pattern facts, section 6, of differences that are more than noise."""
    found = [
        _flag_insight(
            "confirmation_impact",
            effects["confirmed"],
            0.10,
            ("confirmed", "unconfirmed"),
            "high",
            "Ask for a confirmation of every meeting.",
        ),
        _flag_insight(
            "reminder_impact",
            effects["reminder_sent"],
            0.05,
            ("reminded", "not reminded"),
            "medium",
            "Send a reminder 24 hours before the meeting.",
        ),
        _flag_insight(
            "reschedule_risk",
            effects["rescheduled"],
            -0.10,
            ("rescheduled", "first-time"),
            "medium",
            "Confirm rescheduled meetings again, and keep the new date close.",
        ),
        _tier_insight(tiers),
    ]
    return tuple(insight for insight in found if insight is not None)


def _flag_insight(
    kind: str,
    effect: FlagEffect | None,
    threshold: float,
    sides: tuple[str, str],
    impact: str,
    action: str,
) -> Insight | None:
    seen = difference(effect)
    passed = seen > threshold if threshold > 0 else seen < threshold
    if not passed or effect is None or effect.present is None or effect.absent is None:
        return None
    rates = (effect.present.adjusted_rate, effect.absent.adjusted_rate)
    return Insight(
        type=kind,
        impact=impact,
        message=f"{rates[0]:.0%} of {sides[0]} meetings take place, {rates[1]:.0%} of "
        f"{sides[1]} ones.",
        action=action,
        figures={
            f"{side.replace('-', '_').replace(' ', '_')}_show_rate": rate
            for side, rate in zip(sides, rates, strict=True)
        },
        labels={},
    )


def _tier_insight(tiers: tuple[SegmentRate, ...]) -> Insight | None:
    if all(segment.verdict is Verdict.UNDECIDED for segment in tiers):
        return None
    rates = {f"{s.value}_show_rate": s.estimate.adjusted_rate for s in tiers}
    best, worst = tiers[0], min(tiers, key=lambda s: (s.estimate.high, s.value))
    return Insight(
        type="als_tier_impact",
        impact="medium",
        message=f"{best.estimate.adjusted_rate:.0%} of the meetings of {best.value} leads take "
        f"place, {worst.estimate.adjusted_rate:.0%} of those of {worst.value} leads.",
        action="",
        figures=dict(sorted(rates.items())),
        labels={"best_tier": best.value},
    )
