"""Words of messages and payloads of providers: removed when the client's policy says so.

What a message said and what a provider sent along are personal and needed for little: learning
looks at what was measured of them when they came in. So after `retention_days` the words go, and
the event with its times, flags and measurements stays.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from cis_server.domain.clients import ClientPolicy
from cis_server.persistence.dataset_queries import TEXT_KEYS

ACTOR: Final = "retention"
"""Who removed them, in the audit."""
SHORTEST_DAYS: Final = 30
"""A policy that another program has broken removes nothing younger than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsRemoved:
    """Events of all clients that lost their words."""

    activities: int = 0
    email_events: int = 0
    replies: int = 0
    thread_messages: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.activities + self.email_events + self.replies + self.thread_messages


def remove_texts(connection: Connection, now: dt.datetime) -> TextsRemoved:
    """Remove the words of events older than their client keeps them; nothing the second time.

    Bodies, previews and subjects of touches with the columns that the sender's system left over and
    the texts among the measurements; payloads of mail events; content of replies and of messages
    in threads. One line of `access_audit` a client says how many of each.

    Args:
        connection: inside a transaction over all clients (`connections.operator`).
        now: the time now, aware.
    """
    rows = connection.execute(
        text(_REMOVE),
        {
            "now": now,
            "actor": ACTOR,
            "keys": list(TEXT_KEYS),
            "shortest": SHORTEST_DAYS,
            "default": ClientPolicy().retention_days,
        },
    )
    counts = [row.detail for row in rows]
    return TextsRemoved(
        **{
            name: sum(detail.get(name, 0) for detail in counts)
            for name in TextsRemoved.__dataclass_fields__
        }
    )


# Of the columns set here none is watched by a trigger: nothing derived depends on them.
_REMOVE: Final = """
WITH limits AS (
    SELECT client_id, CAST(:now AS timestamptz) - make_interval(days =>
        CASE WHEN policy ->> 'retention_days' ~ '^[0-9]{1,5}$'
             THEN greatest(:shortest, CAST(policy ->> 'retention_days' AS int))
             ELSE :default END) AS before
    FROM clients
), touches AS (
    UPDATE activities a
    SET full_message_body = NULL, content_preview = NULL, subject = NULL, metadata = NULL,
        content_snapshot = CASE WHEN jsonb_typeof(a.content_snapshot) = 'object'
                                THEN a.content_snapshot - CAST(:keys AS text[])
                                ELSE a.content_snapshot END
    FROM limits l
    WHERE l.client_id = a.client_id AND a.occurred_at < l.before
      AND (num_nonnulls(a.full_message_body, a.content_preview, a.subject, a.metadata) > 0
           OR jsonb_typeof(a.content_snapshot) = 'object'
              AND jsonb_exists_any(a.content_snapshot, CAST(:keys AS text[])))
    RETURNING a.client_id
), payloads AS (
    UPDATE email_events e SET raw_payload = NULL
    FROM limits l
    WHERE l.client_id = e.client_id AND e.occurred_at < l.before AND e.raw_payload IS NOT NULL
    RETURNING e.client_id
), answers AS (
    UPDATE replies r SET content = NULL, subject = NULL, extracted_data = NULL
    FROM limits l
    WHERE l.client_id = r.client_id AND r.received_at < l.before
      AND num_nonnulls(r.content, r.subject, r.extracted_data) > 0
    RETURNING r.client_id
), messages AS (
    UPDATE thread_messages m SET content = NULL, content_preview = NULL
    FROM limits l
    WHERE l.client_id = m.client_id AND m.sent_at < l.before
      AND num_nonnulls(m.content, m.content_preview) > 0
    RETURNING m.client_id
), counted AS (
    SELECT client_id, kind, count(*) AS n
    FROM (SELECT client_id, 'activities' AS kind FROM touches
          UNION ALL SELECT client_id, 'email_events' FROM payloads
          UNION ALL SELECT client_id, 'replies' FROM answers
          UNION ALL SELECT client_id, 'thread_messages' FROM messages) changed
    GROUP BY client_id, kind
)
INSERT INTO access_audit (client_id, occurred_at, actor, action, subject, detail)
SELECT client_id, :now, :actor, 'remove_texts', 'events', jsonb_object_agg(kind, n)
FROM counted GROUP BY client_id
RETURNING detail
"""
