"""The cohort behind every lead-level rate: leads that had the same time to convert.

A conversion is seen the day it happens, a refusal by silence weeks later. Among the latest leads
those with an outcome are therefore mostly the converted ones, and whatever was done lately (a new
industry, a new channel) looks as if it worked. So nobody is chosen by its outcome. The cohort is
everybody first contacted inside the window and at least `follow_up_days` before its end, whatever
has become of them, and a success is a conversion within that many days of the first contact. Who
is still open then has not converted within them; who is younger is left out, converted or not
(statistics, "Attribution horizon"; pattern facts 1 and 1.2).
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import polars as pl

from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Window

COVERED_SHARE = 0.9
"""Share of the conversions that the follow-up is to cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Leads that were followed for the same time after their first contact.

    Attributes:
        leads: rows of the leads given, in their order, with `converted`: within the follow-up.
        follow_up_days: days from first contact within which a conversion counts.
        excluded: why leads are not in the cohort, with their number.
    """

    leads: pl.DataFrame
    follow_up_days: int
    excluded: dict[str, int]


def cohort(leads: pl.DataFrame, window: Window, settings: DetectorSettings) -> Cohort:
    """The leads whose outcome counts, and that outcome.

    Args:
        leads: labelled leads (neither bounced nor converted at an unknown time) with
            `contacted_at`, `converted_at` and `touches`, the number of touches that may have led
            to the outcome.
        window: of the run.
        settings: its horizon is the shortest follow-up.
    """
    contacted_at, delay = pl.col("contacted_at"), pl.col("converted_at") - pl.col("contacted_at")
    converted = (pl.col("converted_at") <= window.as_of).fill_null(False)
    # A credited touch of coarse precision may lie a little after the conversion it led to.
    unprompted = converted & (delay < dt.timedelta(0)) & (pl.col("touches") == 0)
    reasons = {
        "without a known first contact": contacted_at.is_null(),
        "first contacted before the window": contacted_at < window.start,
        "converted before their first contact": unprompted,
    }
    excluded: dict[str, int] = {}
    left_out = leads.select(reason.fill_null(False).alias(name) for name, reason in reasons.items())
    kept = pl.repeat(True, leads.height, dtype=pl.Boolean, eager=True)
    for name in left_out.columns:
        excluded[name] = int((kept & left_out[name]).sum())
        kept &= ~left_out[name]
    few = leads.select("contacted_at", "converted_at").filter(kept)
    days = follow_up_days(few.filter(converted).select(delay=delay)["delay"], window, settings)
    followed = dt.timedelta(days=days)
    old = leads.select((contacted_at <= window.as_of - followed).fill_null(False)).to_series()
    excluded[f"first contacted in the last {days} days"] = int((kept & ~old).sum())
    success = converted & (delay <= followed)
    return Cohort(
        leads=leads.filter(kept & old).with_columns(converted=success.fill_null(False)),
        follow_up_days=days,
        excluded=excluded,
    )


def followed_touches(touches: pl.DataFrame, cohort: Cohort) -> pl.DataFrame:
    """The touches that may have led to the outcomes of a cohort, in their order.

    Those of its leads within their follow-up; `success` is a credited conversion within it. What
    came later cannot have led to a conversion by then, and who converted by then received none of
    it: counted, it would make late touches look like failures.

    Args:
        touches: touches with `lead`, `occurred_at` and `success`.
        cohort: the leads.
    """
    ends = cohort.leads.select(
        "lead",
        "converted",
        followed_until=pl.col("contacted_at") + dt.timedelta(days=cohort.follow_up_days),
    )
    return (
        touches.join(ends, on="lead", how="inner", maintain_order="left")
        .with_columns(success=pl.col("success") & pl.col("converted"))
        .filter((pl.col("occurred_at") <= pl.col("followed_until")) | pl.col("success"))
        .drop("converted", "followed_until")
    )


def follow_up_days(delays: pl.Series, window: Window, settings: DetectorSettings) -> int:
    """Days that cover most conversions: the horizon at least, half of the window at most.

    Half of the window, because as many days at its end can have no outcome yet. Any number of days
    is fair, as it is the same for all units; one that covers most conversions wastes few of them.

    Args:
        delays: durations from the beginning of each converted unit to its conversion.
        window: of the run.
        settings: its horizon is the shortest follow-up.
    """
    days = delays.dt.total_seconds() / 86_400
    covering = days.quantile(COVERED_SHARE, interpolation="higher") or 0.0
    half = (window.as_of - window.start) / dt.timedelta(days=2)
    return max(math.ceil(settings.horizon_days), min(math.ceil(covering), math.floor(half)))
