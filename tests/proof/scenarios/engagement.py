"""Machines open mails and answer them; only people count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from cis_server.demo.dataset import to_dataset
from cis_server.demo.engagement import PERSON_AGENTS
from cis_server.demo.specs import ClientSpec
from cis_server.detectors.outcomes import population
from cis_server.detectors.when import detect_when
from tests.proof.cases import Figures
from tests.proof.simulated import (
    BASE_RATE,
    CLIENT,
    EVERYTHING_LISTED,
    STEADY,
    WINDOW,
    leads_for,
    simulated,
)

_AUTOMATIC = ("out_of_office", "auto_reply")


def measure(seed: int, *, cohort: int, unmarked: float) -> Figures:
    """Open rate and minutes to open and to reply: by CIS, with machines counted, in truth.

    Args:
        seed: of the simulation.
        cohort: leads that count, about.
        unmarked: share of the privacy proxies that hide what they are.
    """
    outreach = replace(STEADY, unmarked_proxy_share=unmarked, auto_reply_share=0.05)
    spec = ClientSpec(
        client_id=CLIENT, leads=leads_for(cohort), base_rate=BASE_RATE, outreach=outreach
    )
    simulation = simulated(spec, seed)
    dataset = to_dataset(simulation, CLIENT, WINDOW)
    run = population(dataset, EVERYTHING_LISTED)
    timing = detect_when(dataset, settings=EVERYTHING_LISTED, run=run).engagement_timing
    assert timing is not None
    mails = run.resolved_touches.filter(pl.col("channel") == "email").select(
        "activity_id", "occurred_at"
    )
    opens = simulation.tables["email_events"].filter(pl.col("event_type") == "opened")
    by_people = opens.filter(pl.col("user_agent").is_in(PERSON_AGENTS))
    replies = simulation.tables["replies"]
    automatic = pl.col("intent").is_in(_AUTOMATIC)
    resolved = run.resolved_touches.select("activity_id")
    touched = dataset.activities.join(resolved, on="activity_id", how="semi")
    seen = touched.select("minutes_to_reply").drop_nulls().to_series()
    return {
        "open_rate": timing.open_rate,
        "naive_open_rate": _share(mails, opens),
        "true_open_rate": _share(mails, by_people),
        "minutes": timing.median_time_to_open_minutes,
        "naive_minutes": _minutes(mails, opens),
        "true_minutes": _minutes(mails, by_people),
        "reply_minutes": float(np.median(seen.to_numpy())),
        "naive_reply_minutes": _reply_minutes(run.resolved_touches, replies),
        "true_reply_minutes": _reply_minutes(run.resolved_touches, replies.filter(~automatic)),
    }


def _first(opens: pl.DataFrame, mails: pl.DataFrame) -> pl.DataFrame:
    first = opens.group_by("activity_id").agg(opened_at=pl.col("occurred_at").min())
    return mails.join(first, on="activity_id")


def _share(mails: pl.DataFrame, opens: pl.DataFrame) -> float:
    return _first(opens, mails).height / mails.height


def _minutes(mails: pl.DataFrame, opens: pl.DataFrame) -> float:
    took = (pl.col("opened_at") - pl.col("occurred_at")).dt.total_seconds() / 60
    return float(np.median(_first(opens, mails).select(took).to_series().to_numpy()))


def _reply_minutes(touches: pl.DataFrame, replies: pl.DataFrame) -> float:
    first = replies.group_by("activity_id").agg(at=pl.col("received_at").min())
    took = (pl.col("at") - pl.col("occurred_at")).dt.total_seconds() / 60
    found = touches.select("activity_id", "occurred_at").join(first, on="activity_id")
    return float(np.median(found.select(took).to_series().to_numpy()))
