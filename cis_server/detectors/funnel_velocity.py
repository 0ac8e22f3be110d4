"""How long deals stay in each stage: won ones, lost ones, and open ones that stand still.

Times come from the stage changes themselves. A deal that passes a stage twice spent there the sum
of both; changes written down at one instant follow on one another. Deals still open are in neither
column: nobody knows yet which one they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from cis_server.detectors.blocks import Blocks, InsufficientData
from cis_server.detectors.flag_effects import difference, flag_effect, flag_levels
from cis_server.detectors.funnel_population import DAY_MICROSECONDS, FunnelPopulation
from cis_server.detectors.funnel_values import mean_days, median_days
from cis_server.detectors.segments import Judged, Segments
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.funnel_pattern import Insight, StageVelocity, StalledDeal, Velocity
from cis_server.domain.vocabulary import DealStage

BLOCK = "velocity"
_FAST = "win.fast"
_USUAL = 0.90
_CLOSED = (DealStage.CLOSED_WON.value, DealStage.CLOSED_LOST.value)
_STAGES = tuple(stage.value for stage in DealStage if stage.value not in _CLOSED)
_PLACE = {stage.value: place for place, stage in enumerate(DealStage)}


def add_speed(
    segments: Segments, people: FunnelPopulation, blocks: Blocks, settings: DetectorSettings
) -> None:
    """Add to the run whether deals that close sooner than most are won more often."""
    closed = people.closed
    if closed.height < settings.funnel_minimum:
        return
    won = closed["won"].to_numpy()
    fast = closed.select(pl.col("days") < pl.col("days").median()).to_series()
    blocks.step(
        BLOCK,
        lambda: segments.add(flag_levels(_FAST, fast), won, baseline=float(won.mean())),
    )


def velocity(
    dataset: Dataset,
    people: FunnelPopulation,
    judged: Mapping[str, Judged],
    settings: DetectorSettings,
) -> Velocity:
    """The block, once everything is judged.

    Raises:
        InsufficientData: no stage was passed by enough closed deals.
    """
    closed = people.closed
    spans = stage_spans(dataset.deal_stages, closed)
    times = _by_deal(spans).join(closed.select("deal_id", "won"), on="deal_id")
    rows = _stages(times, settings)
    if not rows:
        raise InsufficientData(
            f"no stage was passed by {settings.minimum_listed} closed deals created since "
            f"{people.deals_since:%Y-%m-%d}"
        )
    changes = dataset.deal_stages.join(closed.select("deal_id"), on="deal_id", how="semi")
    return Velocity(
        sample_size=changes.height,
        stage_velocity=rows,
        stalled_deals=_stalled(dataset, people, times, settings),
        insights=_insights(closed, judged, settings),
    )


def stage_spans(changes: pl.DataFrame, deals: pl.DataFrame) -> pl.DataFrame:
    """Time each deal spent in each stage, from one change to the next.

    Args:
        changes: stage changes; changes to the same stage are none.
        deals: `deal_id`, `created_at` and `stage` of the deals wanted.

    Returns:
        `deal_id`, `stage`, `entered_at`, `left_at` (null: still there), by deal and time. A stage
        that a deal was created in, and of which only the leaving was written down, began with it;
        so did the present stage of a deal without any change.
    """
    known = _in_turn(
        changes.join(deals.select("deal_id", "created_at"), on="deal_id", how="inner")
        .filter(pl.col("from_stage").is_null() | (pl.col("from_stage") != pl.col("to_stage")))
        .sort("deal_id", "changed_at", "from_stage", "to_stage", nulls_last=False)
        .filter(~_as_before("deal_id", "changed_at", "from_stage", "to_stage"))
    )
    first = known.group_by("deal_id", maintain_order=True).first()
    begun = first.filter(pl.col("from_stage").is_not_null()).select(
        "deal_id", stage="from_stage", entered_at="created_at"
    )
    unchanged = deals.join(first, on="deal_id", how="anti").select(
        "deal_id", "stage", entered_at="created_at"
    )
    entered = known.select("deal_id", stage="to_stage", entered_at="changed_at")
    # In the order they are stacked, deals keep: created in, then their changes as sorted.
    spans = pl.concat(
        [
            part.with_columns(place=pl.lit(place))
            for place, part in enumerate((begun, unchanged, entered))
        ]
    ).sort("deal_id", "place", maintain_order=True)
    return spans.select(
        "deal_id",
        "stage",
        "entered_at",
        left_at=pl.col("entered_at").shift(-1).over("deal_id"),
    ).filter(~pl.col("stage").is_in(_CLOSED))


def _as_before(*columns: str) -> pl.Expr:
    """Whether a row has the same values there as the one before it."""
    return pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in columns)


def _in_turn(changes: pl.DataFrame) -> pl.DataFrame:
    """Changes sorted by deal and time, with those of one instant as they follow on one another."""
    at = ["deal_id", "changed_at"]
    again = _as_before(*at)
    tied = changes.with_row_index("row").filter(again | again.shift(-1))
    groups = tied.group_by(at, maintain_order=True).agg("row", "from_stage", "to_stage").drop(at)
    order = np.arange(changes.height)
    deal, to = changes["deal_id"], changes["to_stage"]
    for rows, sources, targets in groups.iter_rows():
        first, end = rows[0], rows[-1] + 1
        entered = first > 0 and deal[first - 1] == deal[first]
        row_of = dict(zip(zip(sources, targets, strict=True), rows, strict=True))
        chain = _chained(list(row_of), to[int(order[first - 1])] if entered else None)
        order[first:end] = [row_of[move] for move in chain]
    return changes[order]


def _chained(
    moves: list[tuple[str | None, str]], stage: str | None
) -> list[tuple[str | None, str]]:
    """Different moves from stage to stage as a deal in `stage` makes them one after the other.

    Where nothing leads on, the next is a move that no other leads to, the earliest in the pipeline.
    """
    rest = sorted(moves, key=lambda move: _PLACE.get(move[1], -1))
    chain = []

    def misfit(move: tuple[str | None, str]) -> tuple[bool, bool, bool]:
        source, to = move
        others = [other for other in rest if other != move]
        led_to = any(source == after for _, after in others)
        dead_end = all(to != before for before, _ in others)
        return source != stage, led_to, dead_end

    while rest:
        chain.append(min(rest, key=misfit))
        rest.remove(chain[-1])
        stage = chain[-1][1]
    return chain


def _by_deal(spans: pl.DataFrame) -> pl.DataFrame:
    """Days of each deal in each stage it has left."""
    stay = (pl.col("left_at") - pl.col("entered_at")).dt.total_microseconds().clip(0)
    return (
        spans.drop_nulls("left_at")
        .group_by("deal_id", "stage")
        .agg(days=stay.sum() / DAY_MICROSECONDS)
        .sort("deal_id", "stage")
    )


def _stages(times: pl.DataFrame, settings: DetectorSettings) -> tuple[StageVelocity, ...]:
    found = []
    for stage in _STAGES:
        here = times.filter(pl.col("stage") == stage)
        if here.height < settings.minimum_listed:
            continue
        won, lost = (here.filter(side)["days"] for side in (pl.col("won"), ~pl.col("won")))
        found.append(
            StageVelocity(
                stage=stage,
                avg_days_won=mean_days(won),
                avg_days_lost=mean_days(lost),
                median_days_won=median_days(won),
                median_days_lost=median_days(lost),
                won_count=won.len(),
                lost_count=lost.len(),
            )
        )
    return tuple(found)


def _stalled(
    dataset: Dataset, people: FunnelPopulation, times: pl.DataFrame, settings: DetectorSettings
) -> tuple[StalledDeal, ...]:
    """Open deals longer in their stage than 90 % of the won ones were, furthest beyond first."""
    usual: dict[str, float] = {}
    for stage in _STAGES:
        days = times.filter("won", pl.col("stage") == stage)["days"].to_numpy()
        if days.size >= settings.minimum_listed:
            usual[stage] = float(np.quantile(days, _USUAL))
    waiting = (
        stage_spans(dataset.deal_stages, people.open_deals)
        .filter(pl.col("left_at").is_null(), pl.col("stage").is_in(list(usual)))
        .with_columns(
            days=(pl.lit(people.as_of) - pl.col("entered_at")).dt.total_microseconds()
            / DAY_MICROSECONDS
        )
    )
    found = [
        StalledDeal(
            deal_id=deal,
            stage=stage,
            days_in_stage=round(days, 2),
            usual_days=round(usual[stage], 2),
        )
        for deal, stage, days in waiting.select("deal_id", "stage", "days").iter_rows()
        if days > usual[stage]
    ]
    found.sort(key=lambda deal: (deal.usual_days - deal.days_in_stage, deal.deal_id))
    return tuple(found[: settings.stalled_listed])


def _insights(
    closed: pl.DataFrame, judged: Mapping[str, Judged], settings: DetectorSettings
) -> tuple[Insight, ...]:
    effect = flag_effect(judged.get(_FAST), _FAST, 0, settings)
    won, lost = (closed.filter(side)["days"] for side in (pl.col("won"), ~pl.col("won")))
    medians = median_days(won), median_days(lost)
    if difference(effect) <= 0 or medians[0] is None or medians[1] is None:
        return ()
    if medians[0] >= medians[1]:
        return ()
    return (
        Insight(
            type="velocity_indicator",
            impact="medium",
            message=f"Deals are won after {medians[0]:.0f} days and lost after "
            f"{medians[1]:.0f}: those that drag on are mostly lost.",
            action="Look at deals that stay longer than usual in a stage.",
            figures={
                "median_days_to_win": medians[0],
                "median_days_to_lose": medians[1],
                "avg_days_to_win": mean_days(won) or 0.0,
                "avg_days_to_lose": mean_days(lost) or 0.0,
            },
            labels={},
        ),
    )
