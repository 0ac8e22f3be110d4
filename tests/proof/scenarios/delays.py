"""Conversions that take weeks, and an industry nobody was contacted in until lately."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl

from cis_server.demo.specs import ClientSpec
from cis_server.detectors.outcomes import Label
from cis_server.detectors.when import detect_when
from cis_server.detectors.who import detect_who
from cis_server.domain.vocabulary import Verdict
from tests.proof.cases import Figures
from tests.proof.simulated import (
    AS_OF,
    BASE_RATE,
    CLIENT,
    EVERYTHING_LISTED,
    STEADY,
    leads_for,
    observed,
    simulated,
)

LATE = "Energy"
QUICK = replace(STEADY, late_industry=LATE, late_days=60.0)
SLOW = replace(QUICK, conversion_delay_days=12.0, conversion_delay_spread=0.6)


def measure(seed: int, *, cohort: int, slow: bool) -> Figures:
    """The late industry's lift and the days to convert, with open leads counted rightly and not.

    Args:
        seed: of the simulation.
        cohort: leads that count, about.
        slow: a booking follows the answer after weeks (median 12 days) instead of days.
    """
    outreach = SLOW if slow else QUICK
    spec = ClientSpec(
        client_id=CLIENT, leads=leads_for(cohort), base_rate=BASE_RATE, outreach=outreach
    )
    dataset, run, _ = observed(spec, seed)
    who = detect_who(dataset, settings=EVERYTHING_LISTED, run=run)
    when = detect_when(dataset, settings=EVERYTHING_LISTED, run=run)
    late = next((s for s in who.industry_rankings if s.value == LATE.lower()), None)
    everybody = run.leads.with_columns(
        won=pl.col("label") == Label.CONVERTED, late=pl.col("industry") == LATE
    )
    timing = when.conversion_timing
    assert timing is not None
    return {
        "leads": late.estimate.sample if late else 0,
        "lift": late.estimate.adjusted_lift if late else None,
        "winner": late is not None and late.verdict is Verdict.WINNING,
        "ended_lift": _lift(everybody.filter(pl.col("label") != Label.OPEN)),
        "everybody_lift": _lift(everybody),
        "days_80": timing.percentile_80,
        "naive_days_80": _naive_days(run.leads),
        "true_days_80": true_days() if slow else None,
    }


def _lift(leads: pl.DataFrame) -> float | None:
    """Raw rate of the late industry against the others."""
    rates = dict(leads.group_by("late").agg(pl.col("won").mean()).drop_nulls().iter_rows())
    return rates.get(True, 0.0) / rates[False] if rates.get(False) else None


def _naive_days(leads: pl.DataFrame) -> float:
    days = leads.filter(pl.col("label") == Label.CONVERTED).select(
        (pl.col("converted_at") - pl.col("contacted_at")).dt.total_seconds() / 86_400
    )
    return float(np.quantile(days.to_series().to_numpy(), 0.8))


@cache
def true_days() -> float:
    """Days by which 80 % of the conversions have happened, of leads all followed to the end."""
    old = replace(SLOW, history_days=600.0, late_industry=None)
    spec = ClientSpec(client_id="truth", leads=60_000, base_rate=BASE_RATE, outreach=old)
    tables = simulated(spec, 0).tables
    first = (
        tables["activities"]
        .filter(pl.col("action") == "sent")
        .group_by("lead_id")
        .agg(first=pl.col("occurred_at").min())
    )
    booked = tables["meetings"].group_by("lead_id").agg(at=pl.col("booked_at").min())
    since = pl.lit(AS_OF) - pl.col("first")
    days = (
        first.join(booked, on="lead_id")
        .filter(since >= pl.duration(days=200))
        .select((pl.col("at") - pl.col("first")).dt.total_seconds() / 86_400)
    )
    return float(np.quantile(days.to_series().to_numpy(), 0.8))
