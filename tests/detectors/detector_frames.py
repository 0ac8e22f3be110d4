"""Small datasets with known truth for the detector tests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from cis_server.domain.dataset import FRAMES, Dataset, Window

AS_OF = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
START = AS_OF - dt.timedelta(days=180)

_TEXT, _INT, _FLOAT, _BOOL = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()
_DATE, _INSTANT = pl.Date(), pl.Datetime("us", "UTC")


def _columns(**kinds: str) -> dict[str, pl.DataType]:
    types: dict[str, pl.DataType] = {
        "text": _TEXT,
        "int": _INT,
        "float": _FLOAT,
        "bool": _BOOL,
        "date": _DATE,
        "instant": _INSTANT,
        "texts": pl.List(pl.String),
    }
    return {name: types[kind] for kind, names in kinds.items() for name in names.split()}


SCHEMAS: Mapping[str, Mapping[str, pl.DataType]] = {
    "leads": _columns(
        text="lead_id campaign_id status title seniority industry latest_funding_stage city region"
        " country person_city person_region person_country timezone email_status company_key"
        " employment_history attributes rejection_reason conversion_type tier components",
        int="employee_count founded_year bounce_count score",
        float="revenue total_funding",
        texts="technologies objections",
        date="latest_funding_date employment_start_date",
        bool="is_hiring has_email has_phone phone_verified has_linkedin has_personal_email"
        " call_register_listed unsubscribed do_not_contact",
        instant="created_at first_contacted_at converted_at sequence_completed_at",
    ),
    "activities": _columns(
        text="activity_id lead_id campaign_id channel action time_precision lead_timezone"
        " template_id ab_test_id ab_variant ai_model prompt_version content",
        instant="occurred_at human_opened_at human_clicked_at replied_at",
        int="touch_number local_weekday local_hour links",
        float="gap_days minutes_to_open minutes_to_click minutes_to_reply",
        bool="converting machine_open",
    ),
    "email_events": _columns(
        text="activity_id lead_id event_type", instant="occurred_at", bool="is_machine"
    ),
    "meetings": _columns(
        text="meeting_id lead_id campaign_id meeting_type outcome converting_channel deal_id",
        instant="booked_at scheduled_at",
        bool="confirmed reminder_sent showed_up",
        int="rescheduled_count",
    ),
    "deals": _columns(
        text="deal_id lead_id meeting_id currency stage lost_reason first_touch_channel",
        float="value",
        bool="won",
        instant="created_at closed_at",
        int="touches_before_deal",
    ),
    "deal_stages": _columns(
        text="deal_id from_stage to_stage", instant="changed_at", float="days_in_previous_stage"
    ),
    "threads": _columns(
        text="thread_id lead_id channel status outcome",
        instant="created_at outcome_at",
        int="message_count our_message_count their_message_count",
        bool="escalated",
    ),
    "messages": _columns(
        text="thread_id direction intent objection sentiment question_key",
        float="sentiment_score response_minutes",
        instant="sent_at",
        int="position",
    ),
    "decisions": _columns(
        text="decision_id kind choice best activity_id lead_id channel",
        float="propensity best_propensity",
        instant="decided_at occurred_at",
        bool="converting",
    ),
}

Rows = Sequence[Mapping[str, Any]] | Mapping[str, Any] | pl.DataFrame


def frame(name: str, rows: Rows = ()) -> pl.DataFrame:
    """A frame of the dataset from rows or columns; what is not given is null."""
    schema = SCHEMAS[name]
    if isinstance(rows, pl.DataFrame):
        given = rows
    else:
        given = pl.DataFrame(rows, infer_schema_length=None) if len(rows) else pl.DataFrame()
    unknown = set(given.columns) - set(schema)
    assert not unknown, unknown
    return pl.DataFrame(
        [
            given[column].cast(kind)
            if column in given.columns
            else pl.Series(column, [None] * given.height, dtype=kind)
            for column, kind in schema.items()
        ]
    )


def dataset(*, as_of: dt.datetime = AS_OF, start: dt.datetime = START, **frames: Rows) -> Dataset:
    """A dataset whose frames are given as rows or columns."""
    return Dataset(
        client_id="acme",
        window=Window(start=start, as_of=as_of),
        **{name: frame(name, frames.get(name, ())) for name in FRAMES},
    )


def shuffled(data: Dataset, seed: int) -> Dataset:
    """The same data, every frame in another row order."""
    return replace(
        data,
        **{
            name: getattr(data, name).sample(fraction=1.0, shuffle=True, seed=seed)
            for name in FRAMES
        },
    )


Hazard = Callable[[dict[str, np.ndarray], int, np.ndarray], np.ndarray]
"""(lead columns, touch number 1.., channel of that touch per lead) -> probability per lead."""


def outreach(
    *,
    seed: int,
    leads: int,
    columns: Mapping[str, Callable[[np.random.Generator, int], Any]] | None = None,
    hazard: float | Hazard = 0.02,
    touches: int = 5,
    channels: Sequence[str] = ("email", "voice"),
    plan: Callable[[np.random.Generator, dict[str, np.ndarray]], np.ndarray] | None = None,
    hours: Sequence[int] = tuple(range(8, 18)),
    hour_effect: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    precision: str = "instant",
    gaps: tuple[int, int] = (1, 6),
    gap_effect: Callable[[int, np.ndarray], np.ndarray] | None = None,
) -> Dataset:
    """Simulated outreach in which all leads have come to an end.

    Every lead gets up to `touches` touches at whole hours, one to several days apart, and stops
    at its conversion.

    Args:
        seed: of everything drawn.
        leads: how many.
        columns: lead columns by name, each drawn as (generator, size).
        hazard: conversion probability of a touch.
        touches: length of the sequence.
        channels: drawn evenly for each touch when there is no `plan`.
        plan: (generator, lead columns) -> channels, shape (leads, touches).
        hours: local hours drawn evenly.
        hour_effect: (ISO weekday, hour) -> factor on the hazard.
        precision: of all times; hours are left empty when it is coarser.
        gaps: smallest and one past the largest number of days between touches.
        gap_effect: (touch number, days waited) -> factor on the hazard.
    """
    rng = np.random.default_rng(seed)
    drawn = {name: np.asarray(draw(rng, leads)) for name, draw in (columns or {}).items()}
    if plan is None:
        route = rng.choice(np.array(channels), size=(leads, touches))
    else:
        route = plan(rng, drawn)
    ids = np.array([f"lead-{i:06d}" for i in range(leads)])
    day = rng.integers(0, 60, leads)
    alive = np.ones(leads, dtype=bool)
    converted_at = np.full(leads, np.datetime64("NaT"), dtype="datetime64[us]")
    completed_at = np.full(leads, np.datetime64("NaT"), dtype="datetime64[us]")
    first = np.full(leads, np.datetime64("NaT"), dtype="datetime64[us]")
    origin = np.datetime64(START.replace(tzinfo=None), "us") + np.timedelta64(1, "D")
    parts: list[pl.DataFrame] = []
    for touch in range(1, touches + 1):
        gap = rng.integers(gaps[0], gaps[1], leads)
        day = day + (gap if touch > 1 else 0)
        hour = rng.choice(np.array(hours), leads)
        at = origin + day * np.timedelta64(1, "D") + hour * np.timedelta64(1, "h")
        weekday = (at.astype("datetime64[D]").astype(np.int64) + 3) % 7 + 1
        channel = route[:, touch - 1]
        probability = hazard(drawn, touch, channel) if callable(hazard) else np.full(leads, hazard)
        if hour_effect is not None:
            probability = probability * hour_effect(weekday, hour)
        if gap_effect is not None and touch > 1:
            probability = probability * gap_effect(touch, gap)
        success = alive & (rng.random(leads) < probability)
        part = pl.DataFrame(
            {
                "activity_id": np.char.add(ids, f"-{touch}")[alive],
                "lead_id": ids[alive],
                "channel": channel[alive],
                "occurred_at": at[alive],
                "local_weekday": weekday[alive],
                "local_hour": hour[alive],
                "gap_days": gap[alive].astype(float),
                "converting": success[alive],
            }
        ).with_columns(
            action=pl.lit("sent"),
            time_precision=pl.lit(precision),
            touch_number=pl.lit(touch),
            lead_timezone=pl.lit("UTC"),
            gap_days=pl.col("gap_days") if touch > 1 else pl.lit(None, dtype=pl.Float64),
            local_hour=pl.col("local_hour")
            if precision in ("instant", "hour")
            else pl.lit(None, dtype=pl.Int64),
        )
        parts.append(part)
        first = np.where(touch == 1, at, first)
        converted_at = np.where(success, at + np.timedelta64(1, "D"), converted_at)
        completed_at = np.where(alive, at, completed_at)
        alive &= ~success
    activities = pl.concat(parts).with_columns(pl.col("occurred_at").dt.replace_time_zone("UTC"))
    done = ~np.isnat(converted_at)
    table = pl.DataFrame(
        {
            "lead_id": ids,
            "status": np.where(done, "converted", "exhausted"),
            "first_contacted_at": first,
            "converted_at": converted_at,
            "sequence_completed_at": np.where(done, np.datetime64("NaT"), completed_at),
        }
    ).with_columns(
        pl.col("first_contacted_at", "converted_at", "sequence_completed_at")
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
    )
    table = table.with_columns(
        conversion_type=pl.when(pl.col("converted_at").is_not_null()).then(pl.lit("meeting_booked"))
    )
    for name, values in drawn.items():
        table = table.with_columns(pl.Series(name, values.tolist()))
    return dataset(leads=table, activities=activities)
