"""What became of the leads of an experiment: the only place that says what its successes are."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Connection, text

from cis_server.domain.experiments import Experiment, ExperimentMetric, History, VariantCount
from cis_server.persistence.derivations import human_reply
from cis_server.persistence.rederive import rederive

HISTORY_DAYS, MATURITY_DAYS = 120, 30
"""A base rate is that of leads first contacted between so many days ago."""

_OUTCOMES = {
    ExperimentMetric.REPLY_RATE: f"""
        EXISTS (SELECT FROM activities o WHERE o.client_id = :client AND o.lead_id = s.lead_id
                AND o.action = 'replied' AND {human_reply("o")}
                AND o.occurred_at BETWEEN s.since AND :at)
        OR EXISTS (SELECT FROM replies o WHERE o.client_id = :client AND o.lead_id = s.lead_id
                   AND o.direction = 'inbound' AND {human_reply("o")}
                   AND o.received_at BETWEEN s.since AND :at)""",
    ExperimentMetric.OPEN_RATE: """
        EXISTS (SELECT FROM activities o WHERE o.client_id = :client AND o.lead_id = s.lead_id
                AND o.action = 'sent' AND o.human_opened_at BETWEEN s.since AND :at)""",
    ExperimentMetric.CLICK_RATE: """
        EXISTS (SELECT FROM activities o WHERE o.client_id = :client AND o.lead_id = s.lead_id
                AND o.action = 'sent' AND o.human_clicked_at BETWEEN s.since AND :at)""",
    ExperimentMetric.CONVERSION_RATE: """
        EXISTS (SELECT FROM leads o WHERE o.client_id = :client AND o.lead_id = s.lead_id
                AND o.converted_at BETWEEN s.since AND :at)""",
    ExperimentMetric.MEETING_RATE: """
        EXISTS (SELECT FROM meetings o WHERE o.client_id = :client AND o.lead_id = s.lead_id
                AND o.booked_at BETWEEN s.since AND :at)""",
}
"""Whether lead `s` had the success from `s.since` to `:at`. The same outcomes that derived columns
are made of: machines and automatic answers are none."""

_DERIVED = (
    ExperimentMetric.OPEN_RATE,
    ExperimentMetric.CLICK_RATE,
    ExperimentMetric.CONVERSION_RATE,
)
"""Metrics whose outcomes are read from derived columns."""

# A lead belongs to the variant it was assigned. Tests of other programs record no assignments:
# there it is the variant of its touches; one that met several is left out.
_ASSIGNED = """
    SELECT s.lead_id, s.variant, s.assigned_at AS since
    FROM ab_test_assignments s
    WHERE s.client_id = :client AND s.ab_test_id = :test AND s.assigned_at <= :at
    UNION ALL
    SELECT a.lead_id, min(a.ab_variant), min(a.occurred_at)
    FROM activities a
    WHERE a.client_id = :client AND a.ab_test_id = :test AND a.ab_variant IS NOT NULL
      AND a.action = 'sent' AND a.occurred_at <= :at
      AND NOT EXISTS (SELECT FROM ab_test_assignments x WHERE x.client_id = :client
                      AND x.ab_test_id = :test AND x.lead_id = a.lead_id)
    GROUP BY a.lead_id
    HAVING min(a.ab_variant) = max(a.ab_variant)
"""

# A touch that names the test belongs to it even when the sender's clock runs behind ours.
_COUNTS = """
SELECT s.variant, count(*) AS assigned, count(*) FILTER (WHERE c.contacted) AS contacted,
       count(*) FILTER (WHERE c.contacted AND ({outcome})) AS succeeded
FROM ({assigned}) s
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM activities a
        WHERE a.client_id = :client AND a.lead_id = s.lead_id AND a.action = 'sent'
          AND a.occurred_at <= :at
          AND (a.ab_test_id = :test
               OR (a.occurred_at >= s.since
                   AND (CAST(:campaign AS text) IS NULL OR a.campaign_id = :campaign)))
    ) AS contacted
) c
GROUP BY s.variant
"""

_HISTORY = """
SELECT count(*) FILTER (WHERE matured) AS contacted,
       count(*) FILTER (WHERE matured AND ({outcome})) AS succeeded,
       count(*) FILTER (WHERE s.since > :matured) / CAST(:days AS float8) AS leads_per_day
FROM (
    SELECT l.lead_id, l.first_contacted_at AS since, l.first_contacted_at <= :matured AS matured
    FROM leads l
    WHERE l.client_id = :client AND l.deleted_at IS NULL
      AND l.first_contacted_at BETWEEN :first AND :at
      AND (CAST(:campaign AS text) IS NULL OR l.campaign_id = :campaign)
) s
"""


def count(connection: Connection, planned: Experiment, at: dt.datetime) -> dict[str, VariantCount]:
    """Leads by variant, as of `at`.

    Args:
        connection: inside a transaction with the rights of `Role.APP` on the client.
        planned: the experiment.
        at: nothing later counts.
    """
    if planned.metric in _DERIVED:
        _derive(connection, planned)
    statement = _COUNTS.format(outcome=_OUTCOMES[planned.metric], assigned=_ASSIGNED)
    rows = connection.execute(
        text(statement),
        {
            "client": planned.client_id,
            "test": planned.experiment_id,
            "campaign": planned.campaign_id,
            "at": at,
        },
    )
    return {
        row.variant: VariantCount(
            assigned=row.assigned, contacted=row.contacted, succeeded=row.succeeded
        )
        for row in rows
    }


def past(
    connection: Connection,
    client_id: str,
    campaign_id: str | None,
    metric: ExperimentMetric,
    at: dt.datetime,
) -> History:
    """What the past of a campaign, or of the whole client, tells a plan.

    Args:
        connection: inside a transaction with the rights of `Role.APP` on the client.
        client_id: whose.
        campaign_id: None: all.
        metric: what counts as success.
        at: the time now.
    """
    row = connection.execute(
        text(_HISTORY.format(outcome=_OUTCOMES[metric])),
        {
            "client": client_id,
            "campaign": campaign_id,
            "at": at,
            "first": at - dt.timedelta(days=HISTORY_DAYS),
            "matured": at - dt.timedelta(days=MATURITY_DAYS),
            "days": MATURITY_DAYS,
        },
    ).one()
    return History(
        contacted=row.contacted, succeeded=row.succeeded, leads_per_day=row.leads_per_day
    )


def _derive(connection: Connection, planned: Experiment) -> None:
    """Take in what other programs have written since of the leads of the test."""
    stale = connection.execute(
        text(
            "SELECT d.lead_id FROM dirty_leads d WHERE d.client_id = :client"
            " AND (EXISTS (SELECT FROM ab_test_assignments s WHERE s.client_id = :client"
            " AND s.lead_id = d.lead_id AND s.ab_test_id = :test)"
            " OR EXISTS (SELECT FROM activities a WHERE a.client_id = :client"
            " AND a.lead_id = d.lead_id AND a.ab_test_id = :test))"
        ),
        {"client": planned.client_id, "test": planned.experiment_id},
    )
    rederive(connection, planned.client_id, [row.lead_id for row in stale])
