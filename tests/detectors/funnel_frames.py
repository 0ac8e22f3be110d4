"""What follows the bookings of simulated outreach: meetings, deals, conversations."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from detector_frames import AS_OF, frame

from cis_server.domain.dataset import Dataset

DAY = dt.timedelta(days=1)


def meeting(number: int, **changes: Any) -> dict[str, Any]:
    """A meeting that took place 30 days ago, booked three days earlier."""
    row = {
        "meeting_id": f"m{number:04d}",
        "lead_id": f"l{number:04d}",
        "booked_at": AS_OF - 33 * DAY,
        "scheduled_at": AS_OF - 30 * DAY,
        "confirmed": False,
        "reminder_sent": False,
        "showed_up": True,
        "rescheduled_count": 0,
        "meeting_type": "discovery",
        "outcome": "good",
    }
    return row | changes


def deal(number: int, **changes: Any) -> dict[str, Any]:
    """A won deal of 40 days, worth 1 000 AUD."""
    row = {
        "deal_id": f"d{number:04d}",
        "lead_id": f"l{number:04d}",
        "currency": "AUD",
        "stage": "closed_won",
        "first_touch_channel": "email",
        "value": 1000.0,
        "won": True,
        "created_at": AS_OF - 60 * DAY,
        "closed_at": AS_OF - 20 * DAY,
        "touches_before_deal": 1,
    }
    return row | changes


def lost(number: int, **changes: Any) -> dict[str, Any]:
    """A lost deal of 40 days, worth 1 000 AUD."""
    return deal(number, stage="closed_lost", won=False) | changes


def open_deal(number: int, **changes: Any) -> dict[str, Any]:
    """A deal opened 60 days ago that is still in its first stage."""
    return deal(number, stage="qualification", won=None, closed_at=None) | changes


def with_pipeline(data: Dataset, seed: int = 1) -> Dataset:
    """The same outreach with a meeting for every conversion, and deals from the attended ones."""
    rng = np.random.default_rng(seed)
    booked = data.leads.drop_nulls("converted_at").sort("lead_id")
    n = booked.height
    numbers = [f"{i:05d}" for i in range(n)]
    meetings = booked.select("lead_id", booked_at="converted_at").with_columns(
        pl.Series("meeting_id", [f"m{i}" for i in numbers], dtype=pl.String),
        pl.Series("wait", rng.integers(24, 200, n)),
        pl.Series("confirmed", rng.random(n) < 0.5),
        pl.Series("reminder_sent", rng.random(n) < 0.5),
        pl.Series("showed_up", rng.random(n) < 0.7),
        pl.Series("rescheduled_count", (rng.random(n) < 0.3).astype(np.int64)),
        pl.Series("outcome", rng.choice(np.array(["good", "bad"]), n)),
        pl.Series("converting_channel", rng.choice(np.array(["email", "voice"]), n)),
    )
    meetings = meetings.with_columns(
        scheduled_at=pl.col("booked_at") + pl.duration(hours="wait")
    ).drop("wait")
    deals = meetings.filter("showed_up").select(
        "lead_id",
        "meeting_id",
        deal_id=pl.col("meeting_id").str.replace("m", "d"),
        created_at=pl.col("scheduled_at") + pl.duration(days=1),
        first_touch_channel="converting_channel",
    )
    size = deals.height
    closed = pl.Series("closes", rng.random(size) < 0.8)
    deals = deals.with_columns(
        pl.Series("won", rng.random(size) < 0.4),
        pl.Series("value", np.round(rng.lognormal(9, 1, size), 2)),
        pl.Series("days", rng.integers(3, 30, size)),
        closed,
        currency=pl.lit("AUD"),
        touches_before_deal=pl.lit(2),
    )
    deals = deals.with_columns(
        won=pl.when("closes").then("won"),
        closed_at=pl.when("closes").then(pl.col("created_at") + pl.duration(days="days")),
        stage=pl.when(~pl.col("closes"))
        .then(pl.lit("proposal"))
        .when("won")
        .then(pl.lit("closed_won"))
        .otherwise(pl.lit("closed_lost")),
        lost_reason=pl.when(pl.col("closes") & ~pl.col("won")).then(pl.lit("no_budget")),
    )
    ended = deals.filter("closes")
    stages = pl.concat(
        [
            deals.select("deal_id", changed_at="created_at", to_stage=pl.lit("qualification")),
            deals.select(
                "deal_id",
                changed_at=pl.col("created_at") + pl.duration(days=2),
                from_stage=pl.lit("qualification"),
                to_stage=pl.lit("proposal"),
            ),
            ended.select(
                "deal_id", changed_at="closed_at", from_stage=pl.lit("proposal"), to_stage="stage"
            ),
        ],
        how="diagonal",
    )
    return replace(
        data,
        meetings=frame("meetings", meetings),
        deals=frame("deals", deals.drop("closes", "days")),
        deal_stages=frame("deal_stages", stages),
    )
