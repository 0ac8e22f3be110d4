"""Deals and revenue by channel: the first touch alone, and four ways of sharing the credit.

Only outbound touches before the deal get credit, and each won deal is divided whole, so that the
shares of every model add to 1. Models need all touches of a deal: deals whose first touches lie
before the window are left out of them, instead of giving everything to the late touches seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from cis_server.detectors.funnel_population import DAY_MICROSECONDS, FunnelPopulation
from cis_server.detectors.funnel_values import apportioned, deal_values, money
from cis_server.detectors.rounding import rounded
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.domain.funnel_pattern import ChannelAttribution, ChannelRevenue
from cis_server.domain.vocabulary import Action
from cis_server.stats.arrays import FloatArray, IntArray
from cis_server.stats.rates import estimate_segments

BLOCK = "channel_attribution"
MODELS = ("first_touch", "last_touch", "linear", "time_decay")
_RATE_DECIMALS, _CENTS = 6, 2


def channel_attribution(
    dataset: Dataset, people: FunnelPopulation, settings: DetectorSettings
) -> ChannelAttribution | None:
    """Revenue of the cohort's closed deals in the main currency, by channel.

    Args:
        dataset: outbound touches are read from its activities.
        people: the population.
        settings: minimum and half-life of the time decay.

    Returns:
        None under `minimum_listed` closed deals of known first channel.
    """
    closed = people.closed.filter(
        pl.col("currency") == people.currency, pl.col("first_touch_channel").is_not_null()
    ).with_columns(revenue=pl.when("won").then(pl.col("value").fill_null(0.0)).otherwise(0.0))
    if people.currency is None or closed.height < settings.minimum_listed:
        return None
    path = _traced(dataset, closed)
    traced = closed.filter(pl.col("deal_id").is_in(path["deal_id"].unique().implode()))
    return ChannelAttribution(
        sample_size=closed.height,
        total_revenue=money(_total(closed["revenue"])),
        channels=_by_first_touch(closed),
        currency_code=people.currency,
        models=_models(path, settings) if path.height else {},
        traced_deals=traced.height,
        traced_revenue=money(_total(traced["revenue"])),
    )


def credit_shares(ages: FloatArray, deal: IntArray, half_life: float) -> Mapping[str, FloatArray]:
    """Credit of every touch under each model; the credits of a deal add to 1.

    Time decay: 2^(-age / half-life), divided by the sum over the deal's touches; without that
    division a deal would count for more the more touches it had.

    Args:
        ages: (touches,) days from the touch to the deal; touches of a deal in time order.
        deal: (touches,) number of the deal of each touch, ascending.
        half_life: days.
    """
    if not deal.size:
        return {model: np.zeros(0) for model in MODELS}
    starts = np.flatnonzero(np.concatenate(([True], deal[1:] != deal[:-1])))
    lengths = np.diff(np.concatenate((starts, [deal.size])))
    first, last = np.zeros(deal.size), np.zeros(deal.size)
    first[starts] = 1.0
    last[starts + lengths - 1] = 1.0
    # Relative to the youngest touch, so that very old touches do not all vanish.
    youngest = np.repeat(ages[starts + lengths - 1], lengths)
    decay = np.exp2(-(ages - youngest) / half_life)
    return {
        "first_touch": first,
        "last_touch": last,
        "linear": 1.0 / np.repeat(lengths, lengths),
        "time_decay": decay / np.repeat(np.add.reduceat(decay, starts), lengths),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Credited:
    channel: str
    won: float
    total: float
    revenue: float


def _traced(dataset: Dataset, closed: pl.DataFrame) -> pl.DataFrame:
    """Touches of the deals all of whose touches are in the dataset, by deal and time."""
    deals = closed.select(
        "deal_id", "lead_id", "created_at", "won", "revenue", "touches_before_deal"
    )
    sent = pl.col("action") == Action.SENT.value
    path = (
        dataset.columns("activities", ("lead_id", "channel", "occurred_at", "action"))
        .with_row_index("row")
        .filter(pl.col("lead_id").is_in(deals["lead_id"].unique().implode()), sent)
        .join(deals, on="lead_id", how="inner")
        .filter(pl.col("occurred_at") <= pl.col("created_at"))
        .with_columns(seen=pl.len().over("deal_id"))
        .filter(pl.col("seen") == pl.col("touches_before_deal"))
    )
    order = ["deal_id", "occurred_at"]
    if path.select(pl.struct(order).is_duplicated().any()).item():
        # Names of touches are long to read, and hardly ever two of a deal are of one moment.
        path = path.hstack(dataset.rows("activities", ("activity_id",), path["row"]))
        order.append("activity_id")
    return path.sort(order)


def _models(
    path: pl.DataFrame, settings: DetectorSettings
) -> dict[str, tuple[ChannelRevenue, ...]]:
    age = (path["created_at"] - path["occurred_at"]).dt.total_microseconds().to_numpy()
    deal = path["deal_id"].rank("dense").to_numpy().astype(np.int64)
    names, channel = np.unique(path["channel"].to_numpy().astype(str), return_inverse=True)
    won, revenue = path["won"].to_numpy(), path["revenue"].to_numpy()
    found = {}
    for model, credit in credit_shares(
        age / DAY_MICROSECONDS, deal, settings.decay_half_life_days
    ).items():
        columns = [
            np.bincount(channel, weights=credit * of, minlength=names.size)
            for of in (won, np.ones(won.size), revenue)
        ]
        found[model] = _listed(
            [
                _Credited(channel=str(name), won=w, total=t, revenue=r)
                for name, w, t, r in zip(names, *columns, strict=True)
            ]
        )
    return found


def _by_first_touch(closed: pl.DataFrame) -> tuple[ChannelRevenue, ...]:
    groups = [
        (str(channel), group)
        for (channel,), group in closed.sort("first_touch_channel", "deal_id").group_by(
            "first_touch_channel", maintain_order=True
        )
    ]
    estimates = estimate_segments(
        [int(group["won"].sum()) for _, group in groups], [group.height for _, group in groups]
    ).estimates
    details = {
        channel: (group, rounded(estimate))
        for (channel, group), estimate in zip(groups, estimates, strict=True)
    }
    plain = _listed(
        [
            _Credited(
                channel=channel,
                won=float(group["won"].sum()),
                total=float(group.height),
                revenue=_total(group["revenue"]),
            )
            for channel, group in groups
        ]
    )
    found = []
    for entry in plain:
        group, estimate = details[entry.channel]
        values = deal_values(group.filter("won"))
        found.append(
            ChannelRevenue(
                channel=entry.channel,
                deals_won=entry.deals_won,
                deals_total=entry.deals_total,
                win_rate=estimate.adjusted_rate,
                revenue=entry.revenue,
                revenue_share=entry.revenue_share,
                avg_deal_value=values[0].mean if values else None,
                median_deal_value=values[0].median if values else None,
                estimate=estimate,
            )
        )
    return tuple(found)


def _listed(credited: list[_Credited]) -> tuple[ChannelRevenue, ...]:
    """Channels by revenue, rounded so that deals, revenue and shares add up."""
    credited = sorted(credited, key=lambda entry: (-entry.revenue, -entry.won, entry.channel))
    revenue = [entry.revenue for entry in credited]
    won, total = [entry.won for entry in credited], [entry.total for entry in credited]
    rows = zip(
        credited,
        apportioned(won, round(sum(won)), 4),
        apportioned(total, round(sum(total)), 4),
        apportioned(revenue, money(sum(revenue)), _CENTS),
        apportioned(revenue, 1.0, _RATE_DECIMALS),
        strict=True,
    )
    return tuple(
        ChannelRevenue(
            channel=entry.channel,
            deals_won=float(won),
            deals_total=float(total),
            win_rate=None,
            revenue=float(amount),
            revenue_share=float(share),
            avg_deal_value=None,
            median_deal_value=None,
            estimate=None,
        )
        for entry, won, total, amount, share in rows
    )


def _total(amounts: pl.Series) -> float:
    return float(np.sort(amounts.to_numpy()).sum())
