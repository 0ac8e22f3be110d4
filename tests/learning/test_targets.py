"""Who reached a target: from first engagement, within its days, and never judged too young."""

from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl
import pytest
from learning_cases import AS_OF, dataset

from cis_server.detectors.outcomes import Population, population
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset
from cis_server.learning.targets import TARGETS, Target, TargetRows, target_rows

BY_NAME = {target.name: target for target in TARGETS}


def rows(data: Dataset, target: Target) -> tuple[Population, TargetRows]:
    run = population(data, DetectorSettings())
    return run, target_rows(run, data, target)


def test_the_three_targets_and_their_days() -> None:
    assert [(t.name, t.days) for t in TARGETS] == [
        ("call_booked", 7),
        ("qualified", 14),
        ("customer", 30),
    ]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_leads_younger_than_the_window_are_left_out_whatever_became_of_them(
    target: Target,
) -> None:
    run, found = rows(dataset("planted"), target)
    kept = run.leads.filter(pl.col("lead").is_in(found.lead.implode()))
    edge = AS_OF - dt.timedelta(days=target.days)
    assert found.young > 0
    # A reply before the first touch moves engagement earlier, never later.
    assert kept.filter(pl.col("contacted_at") > edge).height <= found.before
    assert len(found.lead) == len(found.reached) == found.lead.n_unique()


def test_a_call_counts_within_seven_days_and_not_a_moment_later() -> None:
    data = dataset("planted")
    run, found = rows(data, BY_NAME["call_booked"])
    engaged = (
        run.leads.filter(pl.col("lead").is_in(found.lead.implode()))
        .select("lead_id", "contacted_at")
        .sort("lead_id")
        .head(3)
        .rows()
    )
    week = dt.timedelta(days=7)
    at = [week, week + dt.timedelta(microseconds=1), -dt.timedelta(hours=1)]
    names = [lead for lead, _ in engaged]
    booked = [contacted + delay for (_, contacted), delay in zip(engaged, at, strict=True)]
    others = data.meetings.filter(~pl.col("lead_id").is_in(names))
    row = data.meetings.head(3).with_columns(
        lead_id=pl.Series(names), booked_at=pl.Series(booked, dtype=pl.Datetime("us", "UTC"))
    )
    leads = data.leads.with_columns(
        conversion_type=pl.when(pl.col("lead_id").is_in(names))
        .then(pl.lit("status"))
        .otherwise("conversion_type")
    )
    changed = dataclasses.replace(data, meetings=pl.concat([others, row]), leads=leads)
    run, again = rows(changed, BY_NAME["call_booked"])
    reached = dict(
        zip(
            run.leads.filter(pl.col("lead").is_in(again.lead.implode())).sort("lead")["lead_id"],
            again.reached,
            strict=True,
        )
    )
    assert reached[names[0]] is True
    assert reached[names[1]] is False
    assert names[2] not in reached
    assert again.before >= 1


def test_a_customer_is_somebody_whose_deal_was_won() -> None:
    data = dataset("planted")
    run, found = rows(data, BY_NAME["customer"])
    won = set(data.deals.filter(pl.col("won"))["lead_id"])
    won |= set(data.leads.filter(pl.col("conversion_type") == "deal_won")["lead_id"])
    names = run.leads.filter(pl.col("lead").is_in(found.lead.filter(found.reached).implode()))[
        "lead_id"
    ]
    assert set(names) <= won
