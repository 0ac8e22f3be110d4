"""Stored active leads in rank order, page by page along an index."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from cis_server.domain.scores import MAX_POINTS, Components, ConversionProbability
from cis_server.domain.tiers import tier_of
from cis_server.domain.top_leads import LeadOrder, RankFilter, RankKey, StoredScore
from cis_server.domain.vocabulary import Source
from cis_server.domain.weights import COMPONENTS, Weights, read_weights
from cis_server.persistence.leads import LEAD_COLUMNS, lead_of_row

_PROBABILITY = "coalesce(l.conversion_probability, -1)"
# Word for word the condition of the indexes `ix_leads_score` and `ix_leads_probability`.
_RANKED = (
    "l.score IS NOT NULL AND l.deleted_at IS NULL AND NOT l.unsubscribed AND NOT l.do_not_contact"
    " AND l.status IN ('new', 'enriched', 'scored', 'in_sequence')"
)
# The first condition of each is what the index is entered by; the second cuts ties.
_AFTER: Final = {
    LeadOrder.SCORE: (
        "l.score <= :score AND (l.score < :score OR l.lead_id > :lead)",
        "l.score DESC, l.lead_id",
    ),
    LeadOrder.CONVERSION_PROBABILITY: (
        f"{_PROBABILITY} <= :probability AND ({_PROBABILITY} < :probability"
        " OR l.score < :score OR (l.score = :score AND l.lead_id > :lead))",
        f"{_PROBABILITY} DESC, l.score DESC, l.lead_id",
    ),
}


def top_leads(
    connection: Connection,
    client_id: str,
    wanted: RankFilter,
    limit: int,
    after: RankKey | None = None,
) -> tuple[list[StoredScore], RankKey | None]:
    """The next leads in rank order.

    Leads that opted out by a flag are left out; suppression lists are the caller's to ask.

    Args:
        connection: with rights on the client.
        client_id: the client.
        wanted: order and filters.
        limit: most rows read.
        after: key of the last row of the page before; None: from the top.

    Returns:
        The leads that can be read, and the key of the last row read; None when these were the last.
    """
    condition, order = _AFTER[wanted.order]
    scores = [score for score in range(101) if tier_of(score) in wanted.tiers]
    left_out = [s for s in range(scores[0], scores[-1]) if s not in scores] if scores else []
    where = [f"l.client_id = :client AND {_RANKED}"]
    if scores:
        where.append("l.score BETWEEN :least AND :most AND l.score <> ALL(:left_out)")
    if wanted.campaign_id is not None:
        where.append("l.campaign_id = :campaign")
    if after is not None:
        where.append(condition)
    rows = connection.execute(
        text(
            f"SELECT {', '.join(f'l.{name}' for name in LEAD_COLUMNS)}, l.campaign_id, l.score,"
            " l.components, l.weights_used, l.weights_source, l.weights_version,"
            " l.conversion_probability, l.probability_low, l.probability_high,"
            " l.probability_target, l.probability_version, l.scored_at"
            f" FROM leads l WHERE {' AND '.join(where)} ORDER BY {order} LIMIT :limit"
        ),
        {
            "client": client_id,
            "limit": limit,
            "campaign": wanted.campaign_id,
            "least": scores[0] if scores else 0,
            "most": scores[-1] if scores else 100,
            "left_out": left_out,
            **({} if after is None else {"lead": after.lead_id, "score": after.score}),
            **({} if after is None else {"probability": after.probability}),
        },
    ).all()
    found = []
    for row in rows:
        # Other programs may store JSON of any shape.
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            found.append(_stored(row))
    return found, _key(rows[-1]) if len(rows) == limit else None


def _key(row: Row[Any]) -> RankKey:
    chance = row.conversion_probability
    return RankKey(-1.0 if chance is None else chance, row.score, row.lead_id)


def _stored(row: Row[Any]) -> StoredScore:
    chance = row.conversion_probability
    return StoredScore(
        lead=lead_of_row(row),
        campaign_id=row.campaign_id,
        score=row.score,
        components=_components(row.components),
        weights=_weights(row.weights_used),
        weights_source=_source(row.weights_source),
        weights_version=row.weights_version or "",
        probability=None
        if chance is None
        else ConversionProbability(
            chance,
            chance if row.probability_low is None else row.probability_low,
            chance if row.probability_high is None else row.probability_high,
            row.probability_target or "",
        ),
        probability_version=row.probability_version or "",
        scored_at=row.scored_at,
    )


def _components(stored: object) -> Components | None:
    if not isinstance(stored, Mapping):
        return None
    points = [stored.get(name) for name in COMPONENTS]
    sound = [
        point
        for point, most in zip(points, MAX_POINTS, strict=True)
        if isinstance(point, int) and not isinstance(point, bool) and 0 <= point <= most
    ]
    return Components(*sound) if len(sound) == len(COMPONENTS) else None


def _weights(stored: object) -> Weights | None:
    if not isinstance(stored, Mapping):
        return None
    weights, objection = read_weights(stored)
    return weights if objection is None else None


def _source(stored: str | None) -> Source:
    try:
        return Source(stored or Source.DEFAULT)
    except ValueError:
        return Source.DEFAULT
