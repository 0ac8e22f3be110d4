"""The figures behind health warnings, read set by set, and the daily results.

A check is the installation's own work over all clients, so it is read with the owner's rights; a
fixed number of statements whatever the number of clients.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, text

from cis_server.domain.health import (
    CalibrationFigures,
    ClientHealth,
    FlowFigures,
    HealthFigures,
    ModelFigures,
    PatternFigures,
    Shift,
    WeightsFigures,
)
from cis_server.domain.registry import version_label
from cis_server.domain.vocabulary import LEARNING_SUBSCRIPTIONS, PatternType
from cis_server.persistence.connections import operator

_DAY: Final = dt.timedelta(days=1)
_MATURITY: Final = 30
"""Days a lead is given to convert before it counts."""
_LOOKBACK: Final = 90
_RECENT: Final = 28
"""Days whose leads are held against those learned from."""
_CONVERSIONS_MIN: Final = 20


class HealthReader:
    """Reads the figures of one or all clients.

    Args:
        engine: connections to the database.
        statement_seconds: longest statement of a check.
    """

    def __init__(self, engine: Engine, statement_seconds: float = 30.0) -> None:
        self._engine, self._seconds = engine, statement_seconds

    def figures(self, client_id: str | None, now: dt.datetime) -> Sequence[HealthFigures]:
        """Figures of one client (none when it is unknown), or of all that may learn (None).

        Args:
            client_id: whose.
            now: the instant of the check.

        Raises:
            StoreUnavailable: the database is away or did not answer in time.
        """
        with operator(self._engine) as connection:
            connection.execute(
                text("SELECT set_config('statement_timeout', :milliseconds, true)"),
                {"milliseconds": str(round(self._seconds * 1000))},
            )
            clients = connection.execute(
                text(_CLIENTS),
                {
                    "client": client_id,
                    "statuses": [status.value for status in LEARNING_SUBSCRIPTIONS],
                    "now": now,
                },
            ).all()
            return _figures(connection, clients, now)


def save_health(engine: Engine, found: Sequence[ClientHealth], now: dt.datetime) -> None:
    """Keep the results of a daily check; a second one of the day replaces the first.

    Raises:
        StoreUnavailable: the database is away.
    """
    with operator(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO health_checks (client_id, checked_on, checked_at, warnings,"
                " warning_count, high_count)"
                " SELECT r.client_id, CAST(:day AS date), :now, r.warnings, r.warning_count,"
                " r.high_count FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (client_id text,"
                " warnings jsonb, warning_count integer, high_count integer)"
                # A client that went away meanwhile is not an error of the others.
                " JOIN clients c ON c.client_id = r.client_id"
                " ON CONFLICT (client_id, checked_on) DO UPDATE SET"
                " checked_at = excluded.checked_at, warnings = excluded.warnings,"
                " warning_count = excluded.warning_count, high_count = excluded.high_count"
            ),
            {
                "day": now.astimezone(dt.UTC).date(),
                "now": now,
                "rows": json.dumps(
                    [
                        {
                            "client_id": health.client_id,
                            "warnings": [warning.to_json() for warning in health.warnings],
                            "warning_count": len(health.warnings),
                            "high_count": health.high_count,
                        }
                        for health in found
                    ]
                ),
            },
        )


_CLIENTS = """
SELECT c.client_id, c.conversion_sample_count, c.created_at,
       (SELECT max(r.finished_at) FROM learning_runs r
        WHERE r.client_id = c.client_id AND r.state = 'succeeded' AND NOT r.dry_run
          AND r.results <> '{}'::jsonb AND r.finished_at <= :now) AS last_success_at
FROM clients c
WHERE c.deleted_at IS NULL
  AND CASE WHEN CAST(:client AS text) IS NULL THEN c.subscription_status = ANY(:statuses)
           ELSE c.client_id = :client END
ORDER BY c.client_id
"""

_PATTERNS = """
SELECT client_id, pattern_type, sample_size, confidence, valid_until
FROM patterns WHERE client_id = ANY(:clients) ORDER BY client_id, pattern_type
"""

_MODELS = """
SELECT m.client_id, m.model_id, m.kind, m.target, m.version, m.origin, m.parameters, m.metrics,
       m.as_of, m.promoted_at,
       (SELECT p.parameters FROM models p
        WHERE p.client_id = m.client_id AND p.model_id = m.replaced_id) AS previous
FROM models m
WHERE m.client_id = ANY(:clients) AND m.state = 'live'
ORDER BY m.client_id, m.kind, m.target
"""

_CONVERSIONS = """
SELECT l.client_id, count(*) AS conversions,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM activities a WHERE a.client_id = l.client_id AND a.lead_id = l.lead_id
             AND a.converting)) AS marked
FROM leads l
WHERE l.client_id = ANY(:clients) AND l.deleted_at IS NULL
  AND l.converted_at > :start AND l.converted_at <= :now
GROUP BY l.client_id
"""

_MEETINGS = """
SELECT m.client_id, count(*) AS meetings FROM meetings m
WHERE m.client_id = ANY(:clients) AND m.booked_at > :start AND m.booked_at <= :now
GROUP BY m.client_id
"""

# A profile view or a call without notes carries no text; what carries some says so by its body,
# its subject or its snapshot.
_TOUCHES = """
SELECT a.client_id,
       count(*) FILTER (WHERE texts) AS touches,
       count(*) FILTER (WHERE texts AND a.content_snapshot IS NOT NULL) AS with_content,
       count(*) FILTER (WHERE a.time_precision IN ('instant', 'hour')) AS timed,
       count(*) FILTER (WHERE a.time_precision IN ('instant', 'hour')
                          AND a.local_hour IS NOT NULL) AS with_local_time,
       count(*) FILTER (WHERE a.opened_at IS NOT NULL) AS opened,
       count(*) FILTER (WHERE a.opened_at IS NOT NULL AND a.machine_open
                          AND a.human_opened_at IS NULL) AS machine_only
FROM activities a
CROSS JOIN LATERAL (SELECT a.channel IN ('email', 'linkedin', 'sms') OR a.subject IS NOT NULL
    OR a.full_message_body IS NOT NULL OR a.content_snapshot IS NOT NULL AS texts) t
WHERE a.client_id = ANY(:clients) AND a.action = 'sent'
  AND a.occurred_at > :start AND a.occurred_at <= :now
GROUP BY a.client_id
"""

_FIRST_SCORE = """
    SELECT CASE WHEN l.scored_at <= l.first_contacted_at THEN l.score::float8
                WHEN jsonb_typeof(l.components_at_first_touch) = 'object'
                 AND NOT jsonb_path_exists(l.components_at_first_touch,
                                           'strict $.* ? (@.type() != "number")')
                THEN (SELECT sum(points.value::float8)
                      FROM jsonb_each_text(l.components_at_first_touch) points)
           END AS score"""

_CALIBRATION = f"""
WITH cohort AS (
    SELECT l.client_id,
           coalesce(l.converted_at <= l.first_contacted_at + :maturity, false) AS converted,
           ntile(10) OVER (PARTITION BY l.client_id ORDER BY f.score DESC, l.lead_id) AS tenth
    FROM leads l CROSS JOIN LATERAL ({_FIRST_SCORE}) f
    WHERE l.client_id = ANY(:clients) AND l.deleted_at IS NULL AND f.score IS NOT NULL
      AND l.first_contacted_at > :start - :maturity AND l.first_contacted_at <= :now - :maturity
)
SELECT client_id, count(*) AS leads, count(*) FILTER (WHERE converted) AS converted,
       count(*) FILTER (WHERE tenth = 1) AS top_leads,
       count(*) FILTER (WHERE tenth = 1 AND converted) AS top_converted
FROM cohort GROUP BY client_id
"""

# What a target's event is: as in `learning.targets`, which says it of frames.
_EVENT = """
    SELECT min(at) AS at FROM (
        SELECT l.converted_at AS at WHERE w.target = 'converted'
           OR (w.target = 'call_booked' AND l.conversion_type = 'meeting_booked')
           OR (w.target = 'customer' AND l.conversion_type = 'deal_won')
        UNION ALL
        SELECT CASE WHEN w.target = 'call_booked' THEN m.booked_at
                    WHEN m.showed_up AND m.outcome = 'good' THEN m.scheduled_at END
        FROM meetings m WHERE m.client_id = l.client_id AND m.lead_id = l.lead_id
          AND w.target IN ('call_booked', 'qualified')
        UNION ALL
        SELECT CASE WHEN w.target = 'qualified' THEN d.opened_at WHEN d.won THEN d.closed_at END
        FROM deals d WHERE d.client_id = l.client_id AND d.lead_id = l.lead_id
          AND w.target IN ('qualified', 'customer')) events"""

# Average precision: over the distinct probabilities from the top, the converted leads at each times
# the precision down to it, by all converted leads (as scikit-learn's average_precision_score).
_PR_AUC = f"""
WITH seen AS (
    SELECT l.client_id, w.version, p.period, l.conversion_probability AS probability,
           coalesce(event.at <= l.first_contacted_at + w.days, false)::int AS converted
    FROM unnest(CAST(:scored AS text[]), CAST(:since AS timestamptz[]), CAST(:versions AS text[]),
                CAST(:targets AS text[]), CAST(:days AS interval[]))
        AS w (client_id, since, version, target, days)
    JOIN leads l ON l.client_id = w.client_id AND l.deleted_at IS NULL
     AND l.conversion_probability IS NOT NULL AND l.probability_version = w.version
     AND l.scored_at <= l.first_contacted_at
     AND l.first_contacted_at > w.since AND l.first_contacted_at <= :now - w.days
    JOIN (VALUES ('recent', CAST(:now AS timestamptz)),
                 ('earlier', CAST(:now AS timestamptz) - interval '14 days')) AS p (period, until)
      ON l.first_contacted_at <= p.until - w.days
    CROSS JOIN LATERAL ({_EVENT}) event
), grouped AS (
    SELECT client_id, version, period, probability, count(*) AS n, sum(converted) AS k
    FROM seen GROUP BY client_id, version, period, probability
), running AS (
    SELECT client_id, version, period, k, sum(k) OVER down AS k_down, sum(n) OVER down AS n_down
    FROM grouped
    WINDOW down AS (PARTITION BY client_id, version, period ORDER BY probability DESC)
)
SELECT client_id, version, period, sum(k)::int AS converted,
       (sum(k * k_down::float8 / n_down) / nullif(sum(k), 0))::float8 AS pr_auc
FROM running GROUP BY client_id, version, period
"""

_SHIFTS = f"""
WITH windows AS (
    SELECT * FROM unnest(CAST(:scored AS text[]), CAST(:since AS timestamptz[])) AS w
        (client_id, learned_at)
), seen AS (
    SELECT l.client_id,
           l.first_contacted_at > greatest(w.learned_at, CAST(:now AS timestamptz) - :recent)
               AS current,
           l.seniority, l.email_status, lower(btrim(l.industry)) AS industry,
           coalesce(l.person_country, l.country) AS country,
           width_bucket(l.employee_count, ARRAY[2, 11, 51, 201, 1001, 5001])::text AS size,
           width_bucket(f.score, ARRAY[20, 35, 60, 85]::float8[])::text AS score
    FROM windows w
    JOIN leads l ON l.client_id = w.client_id AND l.deleted_at IS NULL
     AND (l.first_contacted_at BETWEEN w.learned_at - :lookback AND w.learned_at
          OR (l.first_contacted_at > greatest(w.learned_at, CAST(:now AS timestamptz) - :recent)
              AND l.first_contacted_at <= :now))
    CROSS JOIN LATERAL ({_FIRST_SCORE}) f
)
SELECT s.client_id, v.feature, coalesce(v.value, '') AS value,
       count(*) FILTER (WHERE NOT s.current) AS reference,
       count(*) FILTER (WHERE s.current) AS current
FROM seen s
CROSS JOIN LATERAL (VALUES
    ('seniority', s.seniority), ('e-mail status', s.email_status), ('industry', s.industry),
    ('country', s.country), ('company size', s.size), ('the score', s.score)) AS v (feature, value)
GROUP BY s.client_id, v.feature, coalesce(v.value, '')
"""


def _figures(
    connection: Connection, clients: Sequence[Row[Any]], now: dt.datetime
) -> list[HealthFigures]:
    names = [row.client_id for row in clients]
    values: dict[str, Any] = {
        "clients": names,
        "now": now,
        "start": now - _LOOKBACK * _DAY,
        "maturity": _MATURITY * _DAY,
        "recent": _RECENT * _DAY,
        "lookback": _LOOKBACK * _DAY,
    }

    def by_client(query: str, **more: Any) -> dict[str, list[Row[Any]]]:
        found = defaultdict(list)
        for row in connection.execute(text(query), {**values, **more}):
            found[row.client_id].append(row)
        return found

    patterns, models = by_client(_PATTERNS), by_client(_MODELS)
    flow = [by_client(query) for query in (_CONVERSIONS, _MEETINGS, _TOUCHES)]
    calibration = by_client(_CALIBRATION)
    learned = {
        name: max(instants)
        for name, rows in models.items()
        if (instants := [row.as_of for row in rows if row.as_of is not None])
    }
    served = [
        row
        for rows in models.values()
        for row in rows
        if row.kind == "propensity" and row.promoted_at is not None
    ]
    shifts = by_client(_SHIFTS, scored=list(learned), since=list(learned.values()))
    recent = by_client(
        _PR_AUC,
        scored=[row.client_id for row in served],
        since=[row.promoted_at for row in served],
        versions=[version_label(row.kind, row.version) for row in served],
        targets=[row.target for row in served],
        days=[_window(row) for row in served],
    )
    return [
        _client(
            row,
            [PatternFigures(**_pattern(found)) for found in patterns[row.client_id]],
            models[row.client_id],
            _flow([found[row.client_id] for found in flow]),
            calibration[row.client_id],
            shifts[row.client_id],
            recent[row.client_id],
        )
        for row in clients
    ]


def _client(
    row: Row[Any],
    patterns: Sequence[PatternFigures],
    models: Sequence[Row[Any]],
    flow: FlowFigures,
    calibration: Sequence[Row[Any]],
    shifts: Sequence[Row[Any]],
    recent: Sequence[Row[Any]],
) -> HealthFigures:
    weights = [_weights(model) for model in models if model.kind == "weights"]
    eligible = flow.conversions >= _CONVERSIONS_MIN
    return HealthFigures(
        client_id=row.client_id,
        conversion_sample_count=row.conversion_sample_count,
        eligible_since=row.created_at if eligible else None,
        last_success_at=row.last_success_at,
        patterns=tuple(patterns),
        weights=weights[0] if weights else None,
        models=tuple(_model(model, recent) for model in models if model.kind == "propensity"),
        flow=flow,
        calibration=CalibrationFigures(
            **{
                name: getattr(calibration[0], name)
                for name in ("leads", "converted", "top_leads", "top_converted")
            }
        )
        if calibration
        else CalibrationFigures(),
        shifts=_shifts(shifts),
    )


def _window(row: Row[Any]) -> dt.timedelta:
    """Time that a lead is given to reach a model's target."""
    days = row.metrics.get("follow_up_days") if row.target != "converted" else None
    return (days if isinstance(days, int) and 0 < days <= _LOOKBACK else _MATURITY) * _DAY


def _pattern(row: Row[Any]) -> dict[str, Any]:
    return {
        "type": PatternType(row.pattern_type),
        "sample_size": row.sample_size,
        "confidence": row.confidence,
        "valid_until": row.valid_until,
    }


def _flow(found: Sequence[Sequence[Row[Any]]]) -> FlowFigures:
    counts = {
        name: int(value)
        for rows in found
        for row in rows
        for name, value in row._mapping.items()
        if name != "client_id"
    }
    return FlowFigures(**counts)


def _weights(row: Row[Any]) -> WeightsFigures:
    intervals = row.metrics.get("intervals")
    return WeightsFigures(
        model_id=row.model_id,
        version=row.version,
        weights=_numbers(row.parameters),
        previous=None if row.previous is None else _numbers(row.previous),
        intervals={
            name: (float(ends[0]), float(ends[1]))
            for name, ends in (intervals.items() if isinstance(intervals, dict) else ())
            if isinstance(ends, list) and len(ends) == 2
        },
        learned=row.origin != "manual",
    )


def _numbers(stored: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(v) for name, v in stored.items() if isinstance(v, (int, float))}


def _model(row: Row[Any], recent: Sequence[Row[Any]]) -> ModelFigures:
    version = version_label(row.kind, row.version)
    by_period = {found.period: found for found in recent if found.version == version}
    now, then = by_period.get("recent"), by_period.get("earlier")
    pr_auc = row.metrics.get("pr_auc")
    return ModelFigures(
        model_id=row.model_id,
        version=row.version,
        target=row.target,
        pr_auc=float(pr_auc) if isinstance(pr_auc, (int, float)) else None,
        recent_pr_auc=now.pr_auc if now else None,
        earlier_pr_auc=then.pr_auc if then else None,
        recent_converted=now.converted if now else 0,
        earlier_converted=then.converted if then else 0,
    )


def _shifts(rows: Sequence[Row[Any]]) -> tuple[Shift, ...]:
    sides: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
    for row in rows:
        reference, current = sides.setdefault(row.feature, ({}, {}))
        reference[row.value], current[row.value] = row.reference, row.current
    return tuple(
        Shift(feature=feature, reference=reference, current=current)
        for feature, (reference, current) in sorted(sides.items())
    )
