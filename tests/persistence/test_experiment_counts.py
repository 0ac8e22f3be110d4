"""Successes of an experiment are counted at once, whoever wrote them."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import Engine, text

from cis_server.domain.experiments import ExperimentMetric, VariantCount
from cis_server.persistence.connections import tenant
from cis_server.persistence.experiments import Experiments

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "metric", [ExperimentMetric.MEETING_RATE, ExperimentMetric.CONVERSION_RATE]
)
@pytest.mark.parametrize("assigned", [True, False])
def test_meetings_that_other_programs_book_count_at_once(
    database: Engine, metric: ExperimentMetric, assigned: bool
) -> None:
    assignments = (
        "INSERT INTO ab_test_assignments"
        " (client_id, ab_test_id, lead_id, variant, assigned_at, propensity)"
        " VALUES ('acme', 'subject', :lead, :variant, :at, 0.5)"
    )
    with tenant(database, "acme") as connection:
        connection.execute(text("INSERT INTO clients (client_id) VALUES ('acme')"))
        connection.execute(
            text(
                "INSERT INTO ab_tests (client_id, ab_test_id, name, metric, status)"
                " VALUES ('acme', 'subject', 'subject', :metric, 'running')"
            ),
            {"metric": metric.value},
        )
        for number, variant in enumerate(("control", "control", "short", "short")):
            lead = {"lead": f"lead{number}", "variant": variant}
            for statement, days in (
                ("INSERT INTO leads (client_id, lead_id) VALUES ('acme', :lead)", 0),
                *([(assignments, 20)] if assigned else []),
                (
                    "INSERT INTO activities"
                    " (client_id, lead_id, channel, action, ab_test_id, ab_variant, occurred_at)"
                    " VALUES ('acme', :lead, 'email', 'sent', 'subject', :variant, :at)",
                    19,
                ),
                (
                    "INSERT INTO meetings (client_id, lead_id, booked_at)"
                    " VALUES ('acme', :lead, :at)",
                    10,
                ),
            ):
                at = NOW - dt.timedelta(days=days)
                connection.execute(text(statement), {**lead, "at": at})
    experiments = Experiments(database)
    counts = experiments.counts(experiments.get("acme", "subject"), NOW)
    both = VariantCount(assigned=2, contacted=2, succeeded=2)
    assert counts == {"control": both, "short": both}
