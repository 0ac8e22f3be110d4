"""From attended meetings to deals, and from deals to won ones.

A meeting counts once whatever its deals; a deal belongs to the cohort of its creation. Open deals
are censored: the segments compare closed ones, the share eventually won and the time to close take
the open ones into account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl

from cis_server.detectors.blocks import Blocks, InsufficientData
from cis_server.detectors.flag_effects import difference, flag_effect, flag_levels
from cis_server.detectors.funnel_population import FunnelPopulation
from cis_server.detectors.funnel_values import (
    deal_values,
    in_currency,
    mean_days,
    median_days,
    money,
)
from cis_server.detectors.lead_dimensions import size_levels
from cis_server.detectors.levels import Levels, banded, levels
from cis_server.detectors.rounding import rounded, rounded_rate
from cis_server.detectors.segments import Judged, Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.detectors.unit_strata import one_row_each, tier_codes
from cis_server.domain.funnel_pattern import (
    Insight,
    LostDeals,
    LostReasonShare,
    MeetingToDeal,
    WinRate,
)
from cis_server.domain.rates import SegmentRate
from cis_server.domain.vocabulary import MeetingOutcome, Verdict
from cis_server.stats.multiplicity import ranked
from cis_server.stats.rates import estimate_segments
from cis_server.stats.survival import aalen_johansen, kaplan_meier

MEETING_BLOCK, WIN_BLOCK, LOST_BLOCK = "meeting_to_deal", "win_rate", "lost_deals"
UNKNOWN_REASON = "unknown"
_REASONS = 5
_STAFF_RATIO = 1.5
_TOUCH_EDGES = (2.0, 3.0, 4.0, 6.0, 9.0)
_TOUCH_LABELS = ("1", "2", "3", "4–5", "6–8", "9+")
_MEETING, _WIN = "deal", "win"
_LARGER = f"{_MEETING}.larger_company"
_BY_SEGMENT = ("outcome", "meeting_type", "company_size")


def add_meetings_to_deals(
    segments: Segments, people: FunnelPopulation, blocks: Blocks, settings: DetectorSettings
) -> None:
    """Add the dimensions of attended meetings to the run."""
    meetings = people.matured(settings)
    if meetings.height < settings.funnel_minimum:
        return
    brought = meetings["has_deal"].to_numpy()
    risk = one_row_each(brought, tier_codes(meetings))
    limit = settings.ranked_levels

    def add(dimension: Levels) -> None:
        segments.add(dimension, brought, risk, baseline=float(brought.mean()))

    def add_text(name: str) -> None:
        add(levels(f"{_MEETING}.{name}", meetings[name], limit=limit))

    def add_outcomes() -> None:
        judged_so = [MeetingOutcome.GOOD.value, MeetingOutcome.BAD.value]
        outcome = pl.when(pl.col("outcome").is_in(judged_so)).then("outcome")
        add(levels(f"{_MEETING}.outcome", meetings.select(outcome).to_series(), limit=limit))

    blocks.step(MEETING_BLOCK, add_outcomes)
    blocks.step(MEETING_BLOCK, partial(add_text, "meeting_type"))
    blocks.step(MEETING_BLOCK, lambda: add(_sizes(_MEETING, meetings)))
    blocks.step(MEETING_BLOCK, lambda: add(flag_levels(_LARGER, _larger(meetings))))


def meeting_to_deal(
    people: FunnelPopulation, judged: Mapping[str, Judged], settings: DetectorSettings
) -> MeetingToDeal:
    """The block, once everything is judged.

    Raises:
        InsufficientData: too few attended meetings old enough to have brought a deal.
    """
    meetings = people.matured(settings)
    if meetings.height < settings.funnel_minimum:
        raise InsufficientData(
            f"{meetings.height} attended meetings older than {settings.deal_delay_days:g} days, "
            f"{settings.funnel_minimum} needed"
        )
    brought = int(meetings["has_deal"].sum())
    estimate = rounded(estimate_segments([brought], [meetings.height]).estimates[0])
    own = people.every_deal.filter(
        pl.col("meeting_id").is_in(meetings["meeting_id"].implode())
        | pl.col("deal_id").is_in(meetings["deal_id"].drop_nulls().implode())
    )
    values = deal_values(own)
    main = in_currency(values, people.currency)
    return MeetingToDeal(
        sample_size=meetings.height,
        meeting_to_deal_rate=estimate.adjusted_rate,
        estimate=estimate,
        avg_deal_value=main.mean if main else None,
        median_deal_value=main.median if main else None,
        values=values,
        by_segment=_by_segment(judged),
        insights=_meeting_insights(meetings, judged, settings),
    )


def add_wins(
    segments: Segments, people: FunnelPopulation, blocks: Blocks, settings: DetectorSettings
) -> None:
    """Add the dimensions of closed deals to the run."""
    closed = people.closed
    if closed.height < settings.funnel_minimum:
        return
    won = closed["won"].to_numpy()
    rate = float(won.mean())
    risk = one_row_each(won, tier_codes(closed))
    limit = settings.ranked_levels

    def add(dimension: Levels) -> None:
        held = None if dimension.dimension == f"{_WIN}.tier" else risk
        segments.add(dimension, won, held, baseline=rate)

    def add_text(name: str, column: str) -> None:
        add(levels(f"{_WIN}.{name}", closed[column], limit=limit))

    def add_touches() -> None:
        count = pl.col("touches_before_deal")
        touches = closed.select(pl.when(count > 0).then(count)).to_series()
        add(banded(f"{_WIN}.touches", touches, _TOUCH_EDGES, _TOUCH_LABELS))

    blocks.step(WIN_BLOCK, partial(add_text, "channel", "converting_channel"))
    blocks.step(WIN_BLOCK, partial(add_text, "first_channel", "first_touch_channel"))
    blocks.step(WIN_BLOCK, partial(add_text, "tier", "tier"))
    blocks.step(WIN_BLOCK, lambda: add(_sizes(_WIN, closed)))
    blocks.step(WIN_BLOCK, add_touches)


def win_rate(
    people: FunnelPopulation, judged: Mapping[str, Judged], settings: DetectorSettings
) -> WinRate:
    """The block, once everything is judged.

    Raises:
        InsufficientData: too few closed deals.
    """
    closed = people.closed
    if closed.height < settings.funnel_minimum:
        raise InsufficientData(
            f"{closed.height} closed deals created since {people.deals_since:%Y-%m-%d}, "
            f"{settings.funnel_minimum} needed"
        )
    won = int(closed["won"].sum())
    estimate = rounded(estimate_segments([won], [closed.height]).estimates[0])
    values = deal_values(closed.filter("won"))
    main = in_currency(values, people.currency)
    median = _median_to_close(people.deals)

    def listed(name: str) -> tuple[SegmentRate, ...]:
        dimension = f"{_WIN}.{name}"
        return judged[dimension].segments if dimension in judged else ()

    return WinRate(
        sample_size=closed.height,
        win_rate=estimate.adjusted_rate,
        estimate=estimate,
        avg_won_value=main.mean if main else None,
        median_won_value=main.median if main else None,
        avg_days_to_close=mean_days(closed["days"]),
        median_days_to_close=median,
        values=values,
        by_channel=listed("channel"),
        by_company_size=listed("company_size"),
        by_touches=listed("touches"),
        by_tier=listed("tier"),
        censored=people.deals.height - closed.height,
        insights=_win_insights(closed, listed("touches"), listed("first_channel")),
        by_first_channel=listed("first_channel"),
        eventual_win_rate=_eventual(people.deals),
    )


def lost_deals(people: FunnelPopulation, settings: DetectorSettings) -> LostDeals | None:
    """Why deals of the cohort are lost, most frequent reasons first.

    Returns:
        None under `minimum_listed` lost deals.
    """
    lost = people.closed.filter(~pl.col("won")).with_columns(
        reason=pl.col("lost_reason").fill_null(UNKNOWN_REASON)
    )
    if lost.height < settings.minimum_listed:
        return None
    groups = [
        LostReasonShare(
            reason=str(reason),
            count=group.height,
            share=rounded_rate(group.height / lost.height),
            total_value_lost=_lost_value(group, people.currency),
            avg_days_in_pipeline=mean_days(group["days"]),
            median_days_in_pipeline=median_days(group["days"]),
        )
        for (reason,), group in lost.sort("reason", "deal_id").group_by(
            "reason", maintain_order=True
        )
    ]
    groups.sort(key=lambda entry: (-entry.count, entry.reason))
    return LostDeals(sample_size=lost.height, top_reasons=tuple(groups[:_REASONS]))


def _sizes(prefix: str, rows: pl.DataFrame) -> Levels:
    return replace(size_levels(rows), dimension=f"{prefix}.company_size")


def _larger(meetings: pl.DataFrame) -> pl.Series:
    """Whether the company has more staff than the median of them; null where unknown."""
    staff = meetings.select(
        pl.when(pl.col("employee_count") > 0).then("employee_count").alias("staff")
    )
    return staff.select(pl.col("staff") > pl.col("staff").median()).to_series()


def _by_segment(judged: Mapping[str, Judged]) -> tuple[SegmentRate, ...]:
    found = [
        SegmentRate(
            value=f"{name}={segment.value}", estimate=segment.estimate, verdict=segment.verdict
        )
        for name in _BY_SEGMENT
        if f"{_MEETING}.{name}" in judged
        for segment in judged[f"{_MEETING}.{name}"].segments
    ]
    order = ranked(
        [segment.estimate.low for segment in found],
        [segment.estimate.sample for segment in found],
        [segment.value for segment in found],
    )
    return tuple(found[place] for place in order)


def _meeting_insights(
    meetings: pl.DataFrame, judged: Mapping[str, Judged], settings: DetectorSettings
) -> tuple[Insight, ...]:
    found = (_outcome_insight(judged), _size_insight(meetings, judged, settings))
    return tuple(insight for insight in found if insight is not None)


def _outcome_insight(judged: Mapping[str, Judged]) -> Insight | None:
    dimension = judged.get(f"{_MEETING}.outcome")
    sides = dimension.by_value() if dimension else {}
    good, bad = (sides.get(name.value) for name in (MeetingOutcome.GOOD, MeetingOutcome.BAD))
    if good is None or bad is None:
        return None
    if good.verdict is Verdict.UNDECIDED and bad.verdict is Verdict.UNDECIDED:
        return None
    rates = good.estimate.adjusted_rate, bad.estimate.adjusted_rate
    return Insight(
        type="outcome_impact",
        impact="high",
        message=f"{rates[0]:.0%} of good meetings lead to a deal, {rates[1]:.0%} of bad ones.",
        action="",
        figures={"good_meeting_deal_rate": rates[0], "bad_meeting_deal_rate": rates[1]},
        labels={},
    )


def _size_insight(
    meetings: pl.DataFrame, judged: Mapping[str, Judged], settings: DetectorSettings
) -> Insight | None:
    """Head-counts are skewed, so typical ones are compared: geometric means."""
    effect = flag_effect(judged.get(_LARGER), _LARGER, 0, settings)
    staff = meetings.filter(pl.col("employee_count") > 0)
    typical = {
        deal: float(np.exp(np.log(np.sort(group["employee_count"].to_numpy())).mean()))
        for (deal,), group in staff.group_by("has_deal", maintain_order=True)
    }
    if difference(effect) <= 0 or len(typical) < 2:
        return None
    if typical[True] <= _STAFF_RATIO * typical[False]:
        return None
    return Insight(
        type="company_size_preference",
        impact="medium",
        message=f"Meetings that lead to a deal are with larger companies: typically "
        f"{typical[True]:.0f} staff against {typical[False]:.0f}.",
        action="",
        figures={
            "typical_deal_employees": round(typical[True], 1),
            "typical_no_deal_employees": round(typical[False], 1),
        },
        labels={},
    )


def _win_insights(
    closed: pl.DataFrame, touches: tuple[SegmentRate, ...], channels: tuple[SegmentRate, ...]
) -> tuple[Insight, ...]:
    found = []
    if any(segment.verdict is not Verdict.UNDECIDED for segment in touches):
        sides = {
            won: mean_days(group["touches_before_deal"].cast(pl.Float64)) or 0.0
            for (won,), group in closed.group_by("won", maintain_order=True)
        }
        found.append(
            Insight(
                type="touch_count",
                impact="low",
                message=f"Won deals had {sides.get(True, 0.0):.1f} touches before them on average, "
                f"lost ones {sides.get(False, 0.0):.1f}.",
                action="",
                figures={
                    "avg_touches_won": sides.get(True, 0.0),
                    "avg_touches_lost": sides.get(False, 0.0),
                },
                labels={},
            )
        )
    best = next((s for s in channels if s.verdict is Verdict.WINNING), None)
    if best is not None:
        found.append(
            Insight(
                type="channel_win_rates",
                impact="medium",
                message=f"Deals that began on {best.value} are won most often "
                f"({best.estimate.adjusted_rate:.0%}).",
                action="",
                figures={
                    f"{s.value}_win_rate": s.estimate.adjusted_rate
                    for s in sorted(channels, key=lambda s: s.value)
                },
                labels={"best_channel": best.value},
            )
        )
    return tuple(found)


def _eventual(deals: pl.DataFrame) -> float | None:
    """Share won among deals that close at all, as the cumulative incidences have it at the end."""
    dated = deals.drop_nulls("days")
    cause = dated.select(
        pl.when(pl.col("won").is_null()).then(0).when("won").then(1).otherwise(2)
    ).to_series()
    curve = aalen_johansen(dated["days"].to_numpy(), cause.to_numpy())
    ends = np.zeros(2)
    if curve.incidence.size:
        ends[: curve.incidence.shape[1]] = curve.incidence[-1]
    return rounded_rate(ends[0] / ends.sum()) if ends.sum() > 0 else None


def _median_to_close(deals: pl.DataFrame) -> float | None:
    """Day by which half of the deals have closed; None when that is not seen yet."""
    dated = deals.drop_nulls("days")
    curve = kaplan_meier(dated["days"].to_numpy(), dated["won"].is_not_null().to_numpy())
    day = curve.quantile(0.5)
    return None if day is None else round(day, 2)


def _lost_value(lost: pl.DataFrame, currency: str | None) -> float | None:
    priced = lost.filter(pl.col("currency") == currency)["value"].drop_nulls()
    return money(float(np.sort(priced.to_numpy()).sum())) if priced.len() else None
