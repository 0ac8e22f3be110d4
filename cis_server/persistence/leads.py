"""Stored leads: read as the scorer sees them, written with their scores."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, text

from cis_server.domain.lead import Job, Lead
from cis_server.domain.live_state import StoredLead, StoredTouch
from cis_server.domain.scores import ConversionProbability, LeadScore, StampedScore
from cis_server.domain.vocabulary import EmailStatus, LeadStatus, Tier
from cis_server.domain.weights import Weights
from cis_server.persistence.connections import committed_at_once

# Columns that a caller states; the field of the domain object has the same name.
_STATED = tuple(field.name for field in dataclasses.fields(Lead) if field.name != "lead_id")
LEAD_COLUMNS = ("lead_id", *_STATED, "bounces_seen", "unsubscribed_at", "complained_at")
"""What of a stored lead its score and its suppression depend on."""
_TYPES = {
    "phone_verified": "boolean",
    "call_register_listed": "boolean",
    "employment_start_date": "date",
    "employment_history": "jsonb",
    "employee_count": "integer",
    "revenue": "double precision",
    "technologies": "text[]",
    "total_funding": "double precision",
    "latest_funding_date": "date",
    "is_hiring": "boolean",
    "founded_year": "smallint",
    "bounce_count": "integer",
    "unsubscribed": "boolean",
    "do_not_contact": "boolean",
    "attributes": "jsonb",
}
# Columns that may not be null: what a new row holds when the caller does not say.
_DEFAULTS = {
    "email_status": "'unknown'",
    "employment_history": "'[]'::jsonb",
    "technologies": "'{}'::text[]",
    "status": "'new'",
    "bounce_count": "0",
    "unsubscribed": "false",
    "do_not_contact": "false",
    "attributes": "'{}'::jsonb",
}
# How a statement joins what is stored; the rest is replaced.
_JOINED = {
    # Nobody opts back in by leaving the flag out, and bounces are not forgotten.
    "unsubscribed": "l.unsubscribed OR excluded.unsubscribed",
    "do_not_contact": "l.do_not_contact OR excluded.do_not_contact",
    "bounce_count": "greatest(l.bounce_count, excluded.bounce_count)",
    "attributes": "l.attributes || excluded.attributes",
}


def upsert_leads(
    connection: Connection,
    client_id: str,
    leads: Sequence[Lead],
    campaign_id: str | None = None,
) -> None:
    """Create leads or add to what is stored of them, in one statement.

    What a lead does not say (None, empty, UNKNOWN) stays as it is stored; attributes are merged;
    an opt-out is never taken back.

    Args:
        connection: with the rights of `Role.APP` on the client.
        client_id: the client.
        leads: any number, each `lead_id` at most once.
        campaign_id: an existing campaign the leads belong to; None leaves theirs.
    """
    names = ", ".join(_STATED)
    types = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in _STATED)
    values = ", ".join(
        f"coalesce(r.{name}, {_DEFAULTS[name]})" if name in _DEFAULTS else f"r.{name}"
        for name in _STATED
    )
    said = ", ".join(f"{name} = {_update_of(name)}" for name in _STATED)
    connection.execute(
        text(
            "WITH r AS MATERIALIZED (SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))"
            f" AS r (lead_id text, {types}))"
            f" INSERT INTO leads AS l (client_id, lead_id, campaign_id, {names})"
            f" SELECT :client, r.lead_id, :campaign, {values} FROM r ORDER BY r.lead_id"
            " ON CONFLICT (client_id, lead_id) DO UPDATE SET"
            f" campaign_id = coalesce(excluded.campaign_id, l.campaign_id), {said}"
        ),
        {
            "client": client_id,
            "campaign": campaign_id,
            "rows": json.dumps([_row_of(lead) for lead in leads]),
        },
    )


def get_leads(
    connection: Connection, client_id: str, lead_ids: Sequence[str]
) -> dict[str, StoredLead]:
    """Leads by id with what was already sent to them; unknown and deleted ones are left out."""
    rows = connection.execute(
        text(
            f"SELECT {', '.join(f'l.{name}' for name in LEAD_COLUMNS)}, l.campaign_id,"
            " l.score, l.tier, t.channels, t.instants, t.campaigns"
            " FROM leads l LEFT JOIN LATERAL ("
            " SELECT array_agg(s.channel) AS channels, array_agg(s.occurred_at) AS instants,"
            " array_agg(s.campaign_id) AS campaigns FROM ("
            " SELECT a.channel, a.occurred_at, a.campaign_id FROM activities a"
            " WHERE a.client_id = :client AND a.lead_id = l.lead_id AND a.action = 'sent'"
            " ORDER BY a.occurred_at, a.sequence_step, a.idempotency_key, a.activity_id"
            ") s) t ON true"
            " WHERE l.client_id = :client AND l.lead_id = ANY(:leads) AND l.deleted_at IS NULL"
        ),
        {"client": client_id, "leads": list(lead_ids)},
    )
    return {row.lead_id: _stored(row) for row in rows}


def write_scores(
    connection: Connection,
    client_id: str,
    scores: Sequence[LeadScore],
    *,
    scored_at: dt.datetime,
    as_of: dt.datetime,
    scorer_version: str,
    weights_version: str = "",
    probability_version: str = "",
) -> list[str]:
    """`write_stamped_scores` of scores that were made together."""
    return write_stamped_scores(
        connection,
        client_id,
        [
            StampedScore(
                score=score,
                scored_at=scored_at,
                as_of=as_of,
                scorer_version=scorer_version,
                weights_version=weights_version,
                probability_version=probability_version,
            )
            for score in scores
        ],
    )


def write_stamped_scores(
    connection: Connection, client_id: str, scores: Sequence[StampedScore]
) -> list[str]:
    """Store scores in one statement; gives back the ids of the leads that exist.

    The lifecycle status changes from new or enriched to scored and in no other way. The components
    before first outreach follow every scoring until the lead is contacted, and then stay.

    Args:
        connection: with the rights of `Role.APP` on the client.
        client_id: the client.
        scores: any number, each lead at most once.
    """
    written = connection.execute(_WRITE_SCORES, _score_values(client_id, scores))
    return list(written.scalars())


def commit_stamped_scores(
    engine: Engine, client_id: str, scores: Sequence[StampedScore], *, statement_seconds: float
) -> list[str]:
    """`write_stamped_scores` in a transaction of its own that takes one round trip.

    Args:
        engine: connections to the database.
        client_id: the client.
        scores: any number, each lead at most once.
        statement_seconds: longest time the statement may take.

    Returns:
        Ids of the leads that exist; their scores are committed.

    Raises:
        StoreUnavailable: the database cannot be reached or did not answer in time.
    """
    rows = committed_at_once(
        engine,
        client_id,
        _WRITE_SCORES,
        _score_values(client_id, scores),
        statement_seconds=statement_seconds,
    )
    return [lead_id for (lead_id,) in rows]


def first_components(new: str) -> str:
    """SQL of `components_at_first_touch` of lead `l` after a scoring that gave `new`.

    The new ones as long as no touch was sent to it, derived yet or not. A lead in a sequence may
    have touches that nobody has told of yet: what is there stays. Where nothing would change, the
    activities are not looked through.
    """
    return (
        "CASE WHEN l.first_contacted_at IS NULL"
        " AND (l.components_at_first_touch IS NULL OR l.status IN ('new', 'enriched', 'scored')"
        f" AND l.components_at_first_touch <> {new})"
        " AND NOT EXISTS (SELECT FROM activities a"
        " WHERE a.client_id = :client AND a.lead_id = l.lead_id AND a.action = 'sent')"
        f" THEN {new} ELSE l.components_at_first_touch END"
    )


_WRITE_SCORES: Final = text(
    "UPDATE leads l SET score = r.score, tier = r.tier, components = r.components,"
    " weights_used = CAST((CAST(:weights AS text[]))[r.stamp] AS jsonb),"
    " weights_source = (CAST(:sources AS text[]))[r.stamp],"
    " weights_version = (CAST(:weights_versions AS text[]))[r.stamp],"
    " conversion_probability = r.probability,"
    " probability_low = r.low, probability_high = r.high, probability_target = r.target,"
    " probability_version = CASE WHEN r.probability IS NOT NULL"
    " THEN (CAST(:probability_versions AS text[]))[r.stamp] END,"
    " scored_at = (CAST(:scored_at AS timestamptz[]))[r.stamp],"
    " score_as_of = (CAST(:as_of AS timestamptz[]))[r.stamp],"
    " scorer_version = (CAST(:versions AS text[]))[r.stamp],"
    " status = CASE WHEN l.status IN ('new', 'enriched') THEN 'scored' ELSE l.status END,"
    f" components_at_first_touch = {first_components('r.components')}"
    " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (lead_id text, score smallint,"
    " tier text, components jsonb, stamp integer,"
    " probability double precision, low double precision, high double precision,"
    " target text)"
    " WHERE l.client_id = :client AND l.lead_id = r.lead_id AND l.deleted_at IS NULL"
    " RETURNING l.lead_id"
)


def _score_values(client_id: str, scores: Sequence[StampedScore]) -> dict[str, Any]:
    # Hardly any differ in what they were made by: that is sent once.
    stamps: dict[tuple[dt.datetime, dt.datetime, str, str, str, str, Weights], int] = {}
    rows = []
    for stamped in scores:
        score = stamped.score
        stamp = (
            stamped.scored_at,
            stamped.as_of,
            stamped.scorer_version,
            stamped.weights_version,
            stamped.probability_version,
            score.weights_source.value,
            score.weights,
        )
        rows.append(
            {
                "lead_id": score.lead_id,
                "score": score.score,
                "tier": score.tier.label,
                "components": score.components.as_dict(),
                "stamp": stamps.setdefault(stamp, len(stamps) + 1),
                **_probability_row(score.conversion_probability),
            }
        )
    return {
        "client": client_id,
        "rows": json.dumps(rows),
        "scored_at": [stamp[0] for stamp in stamps],
        "as_of": [stamp[1] for stamp in stamps],
        "versions": [stamp[2] for stamp in stamps],
        "weights_versions": [stamp[3] for stamp in stamps],
        "probability_versions": [stamp[4] for stamp in stamps],
        "sources": [stamp[5] for stamp in stamps],
        "weights": [json.dumps(stamp[6].as_dict()) for stamp in stamps],
    }


def _probability_row(chance: ConversionProbability | None) -> dict[str, Any]:
    if chance is None:
        return {}
    return {
        "probability": chance.probability,
        "low": chance.low,
        "high": chance.high,
        "target": chance.target,
    }


def _update_of(name: str) -> str:
    if name in _JOINED:
        return _JOINED[name]
    if name == "status":
        # What a lead has reached is not undone by a record that calls it new.
        return "CASE WHEN excluded.status = 'new' THEN l.status ELSE excluded.status END"
    if name in _DEFAULTS:
        return (
            f"CASE WHEN excluded.{name} = {_DEFAULTS[name]} THEN l.{name} ELSE excluded.{name} END"
        )
    return f"coalesce(excluded.{name}, l.{name})"


def _row_of(lead: Lead) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: value.isoformat() if isinstance(value, dt.date) else value
        for name, value in ((name, getattr(lead, name)) for name in ("lead_id", *_STATED))
    }
    row["employment_history"] = [
        {
            "company": job.company,
            "title": job.title,
            "start_date": job.start_date and job.start_date.isoformat(),
            "end_date": job.end_date and job.end_date.isoformat(),
            "current": job.current,
        }
        for job in lead.employment_history
    ]
    row["technologies"] = list(lead.technologies)
    row["attributes"] = dict(lead.attributes)
    return row


def lead_of_row(row: Row[Any]) -> Lead:
    """The lead in a row that has the columns `LEAD_COLUMNS`, as the scorer sees it."""
    facts = row._mapping
    return Lead(
        **{
            **{name: facts[name] for name in ("lead_id", *_STATED)},
            "email_status": EmailStatus(row.email_status),
            "status": LeadStatus(row.status),
            "technologies": tuple(row.technologies),
            "employment_history": tuple(_job(job) for job in row.employment_history),
            "attributes": {str(key): str(value) for key, value in row.attributes.items()},
            "bounce_count": max(row.bounce_count, row.bounces_seen),
            # An opt-out counts however it came in: as a flag, a status or an event.
            "unsubscribed": row.unsubscribed
            or row.status == LeadStatus.UNSUBSCRIBED
            or row.unsubscribed_at is not None
            or row.complained_at is not None,
        }
    )


def _stored(row: Row[Any]) -> StoredLead:
    return StoredLead(
        lead=lead_of_row(row),
        campaign_id=row.campaign_id,
        score=row.score,
        tier=None if row.tier is None else Tier[row.tier.upper()],
        touches=tuple(
            map(StoredTouch, row.channels or (), row.instants or (), row.campaigns or ())
        ),
    )


def _job(stored: Mapping[str, Any]) -> Job:
    return Job(
        company=stored.get("company"),
        title=stored.get("title"),
        start_date=_date(stored.get("start_date")),
        end_date=_date(stored.get("end_date")),
        current=stored.get("current"),
    )


def _date(value: str | None) -> dt.date | None:
    return dt.date.fromisoformat(value) if value else None
