"""The statements behind `rederive`: each computes some derived columns anew from the events.

Every statement is a function of what is stored now, compares before it writes (``IS DISTINCT
FROM``, so unchanged rows are not rewritten) and takes ``:client``, the client, and, where
``{scope:x}`` stands, a filter of alias ``x`` on the leads asked for.

Touches of a lead are ordered by time, then sequence step, then key, everywhere the same way.
"""

from __future__ import annotations

import re

from cis_server.domain.machine_signals import (
    FAST_CLICK_SECONDS,
    FAST_OPEN_SECONDS,
    PRIVACY_PROXIES,
    SCANNERS,
)
from cis_server.domain.vocabulary import (
    GAP_PRECISE,
    HOUR_PRECISE,
    WEEKDAY_PRECISE,
    TimePrecision,
)


def _listed(words: tuple[TimePrecision, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_HOUR = _listed(HOUR_PRECISE)
_WEEKDAY = _listed(WEEKDAY_PRECISE)
_GAP = _listed(GAP_PRECISE)


def human_reply(alias: str) -> str:
    """Out-of-office notes and other automatic answers are not replies."""
    return f"coalesce({alias}.intent, '') NOT IN ('out_of_office', 'auto_reply')"


def _in_order(alias: str) -> str:
    """How the touches of a lead follow each other."""
    return (
        f"{alias}.occurred_at, {alias}.sequence_step, {alias}.idempotency_key, {alias}.activity_id"
    )


def _latest_first(alias: str) -> str:
    """The exact opposite of `_in_order`."""
    return (
        f"{alias}.occurred_at DESC, {alias}.sequence_step DESC NULLS FIRST,"
        f" {alias}.idempotency_key DESC NULLS FIRST, {alias}.activity_id DESC"
    )


def _began(alias: str, zone: str) -> str:
    """When the period began in which the touch was sent: a coarse time stands in the middle of it.

    What was booked in the same period may have come after the touch. A weekday's date stands for
    its month.
    """
    return f"""
        CASE WHEN {alias}.time_precision IN ({_HOUR}) THEN {alias}.occurred_at
             ELSE date_trunc(CASE WHEN {alias}.time_precision IN ({_GAP}) THEN 'day' ELSE 'month'
                             END, {alias}.occurred_at, coalesce({zone}, 'UTC')) END"""


MACHINE_PATTERNS = {"proxies": "|".join(PRIVACY_PROXIES), "scanners": "|".join(SCANNERS)}
"""Parameters of `EMAIL_EVENTS` and `ACTIVITIES`."""


def _machine(kind: str, agent: str, since_delivery: str) -> str:
    """SQL for the reason an open or click counts as a machine's, null when it counts as human.

    ``agent`` is an alias of `_AGENTS`.
    """
    return f"""
        CASE WHEN {kind} = 'opened' AND {agent}.is_proxy THEN 'privacy_proxy'
             WHEN {kind} IN ('opened', 'clicked') AND {agent}.is_scanner THEN 'scanner'
             WHEN {kind} = 'opened' AND {since_delivery} < {FAST_OPEN_SECONDS} THEN 'fast_open'
             WHEN {kind} = 'clicked' AND {since_delivery} < {FAST_CLICK_SECONDS} THEN 'fast_click'
        END"""


def _agents(columns: str, rows: str) -> str:
    """A common table of the distinct agents among ``rows``; each is judged once, not once a row."""
    return f"""agents AS MATERIALIZED (
    SELECT agent, agent ~* :proxies AS is_proxy, agent ~* :scanners AS is_scanner
    FROM (SELECT DISTINCT concat_ws(' ', {columns}) AS agent FROM {rows}) distinct_agents
)"""


_EVENT_AGENTS = _agents(
    "e.user_agent, e.email_client",
    "email_events e WHERE e.client_id = :client"
    " AND e.event_type IN ('opened', 'clicked') {scope:e}",
)
_ACTIVITY_AGENTS = _agents(
    "a.user_agent",
    "activities a WHERE a.client_id = :client"
    " AND a.action NOT IN ('sent', 'profile_viewed') {scope:a}",
)

# The touch that an activity is about when it does not say: the last one on its channel before it.
_TOUCH_ABOUT = f"""
    LEFT JOIN LATERAL (
        SELECT s.activity_id FROM activities s
        WHERE a.about_activity_id IS NULL
          AND s.client_id = :client AND s.lead_id = a.lead_id AND s.action = 'sent'
          AND s.channel = a.channel AND s.occurred_at <= a.occurred_at
        ORDER BY {_latest_first("s")}
        LIMIT 1
    ) t ON true"""

# From when on opens and clicks of a touch are timed: its delivery, else its sending.
_DELIVERIES = f"""deliveries AS (
    SELECT activity_id, min(at) AS delivered_at
    FROM (
        SELECT e.activity_id, e.occurred_at AS at
        FROM email_events e
        WHERE e.client_id = :client AND e.event_type = 'delivered' {{scope:e}}
        UNION ALL
        SELECT coalesce(a.about_activity_id, t.activity_id), a.occurred_at
        FROM activities a {_TOUCH_ABOUT}
        WHERE a.client_id = :client AND a.action = 'delivered'
          AND a.time_precision = 'instant' {{scope:a}}
    ) told
    GROUP BY 1
)"""

EMAIL_EVENTS = f"""
WITH {_EVENT_AGENTS}, {_DELIVERIES},
judged AS (
    SELECT e.event_id,
           CASE WHEN e.event_type IN ('opened', 'clicked') AND e.reported_machine THEN 'reported'
                ELSE {
    _machine(
        "e.event_type",
        "g",
        "extract(epoch FROM e.occurred_at - coalesce(d.delivered_at, s.occurred_at))",
    )
} END AS reason
    FROM email_events e
    JOIN agents g ON g.agent = concat_ws(' ', e.user_agent, e.email_client)
    LEFT JOIN deliveries d USING (activity_id)
    LEFT JOIN activities s
        ON s.client_id = :client AND s.activity_id = e.activity_id
       AND s.time_precision = 'instant'
    WHERE e.client_id = :client AND e.event_type IN ('opened', 'clicked') {{scope:e}}
)
UPDATE email_events e
SET is_machine = j.reason IS NOT NULL, machine_reason = j.reason
FROM judged j
WHERE e.client_id = :client AND e.event_id = j.event_id
  AND (e.is_machine, e.machine_reason) IS DISTINCT FROM (j.reason IS NOT NULL, j.reason)
"""

REPLIES = f"""
UPDATE replies r
SET answered_activity_id = w.answered
FROM (
    SELECT r.reply_id, coalesce(r.activity_id, t.activity_id) AS answered
    FROM replies r
    LEFT JOIN LATERAL (
        SELECT a.activity_id FROM activities a
        WHERE a.client_id = :client AND a.lead_id = r.lead_id AND a.action = 'sent'
          AND a.occurred_at <= r.received_at AND r.direction = 'inbound'
        ORDER BY a.channel = r.channel DESC, {_latest_first("a")}
        LIMIT 1
    ) t ON true
    WHERE r.client_id = :client {{scope:r}}
) w
WHERE r.client_id = :client AND r.reply_id = w.reply_id
  AND r.answered_activity_id IS DISTINCT FROM w.answered
"""

DEAL_CLOSINGS = """
UPDATE deals d
SET closed_at = w.closed_at, won = w.won, days_to_close = w.days_to_close
FROM (
    SELECT c.deal_id, c.closed_at, c.won,
           -- greatest() passes over nulls, so an open deal needs its own case.
           CASE WHEN c.closed_at IS NOT NULL
                THEN greatest(0, extract(epoch FROM c.closed_at - c.opened_at) / 86400)::float8
           END AS days_to_close
    FROM (
        SELECT d.deal_id, d.opened_at,
               CASE WHEN d.stage IN ('closed_won', 'closed_lost')
                    THEN coalesce(d.closed_at, d.stage_changed_at) END AS closed_at,
               CASE d.stage WHEN 'closed_won' THEN true WHEN 'closed_lost' THEN false END AS won
        FROM deals d WHERE d.client_id = :client {scope:d}
    ) c
) w
WHERE d.client_id = :client AND d.deal_id = w.deal_id
  AND (d.closed_at, d.won, d.days_to_close)
      IS DISTINCT FROM (w.closed_at, w.won, w.days_to_close)
"""

DEAL_HISTORY = """
UPDATE deal_stage_history h
SET days_in_previous_stage = w.days
FROM (
    SELECT h.change_id,
           (extract(epoch FROM h.changed_at - lag(h.changed_at) OVER (
               PARTITION BY h.deal_id ORDER BY h.changed_at, h.from_stage IS NOT NULL, h.created_at,
                   h.change_id)) / 86400)::float8 AS days
    FROM deal_stage_history h
    JOIN deals d ON d.client_id = :client AND d.deal_id = h.deal_id {scope:d}
    WHERE h.client_id = :client
) w
WHERE h.client_id = :client AND h.change_id = w.change_id
  AND h.days_in_previous_stage IS DISTINCT FROM w.days
"""

STATED_CONVERSIONS = """
UPDATE leads l
SET stated_converted_at = w.stated
FROM (
    SELECT l.lead_id,
           CASE WHEN l.status IN ('new', 'enriched', 'scored', 'in_sequence', 'not_interested',
                                  'exhausted') THEN NULL
                WHEN l.status IN ('converted', 'meeting_booked') AND l.stated_converted_at IS NULL
                 AND coalesce(l.conversion_type, 'status') = 'status' THEN l.converted_at
                ELSE l.stated_converted_at END AS stated
    FROM leads l WHERE l.client_id = :client {scope:l}
) w
WHERE l.client_id = :client AND l.lead_id = w.lead_id
  AND l.stated_converted_at IS DISTINCT FROM w.stated
"""
"""A program that wrote ``converted_at`` itself meant ``stated_converted_at``; going back to an open
or lost status takes the statement back."""

CONVERSIONS = """
WITH booked AS (
    SELECT DISTINCT ON (m.lead_id) m.lead_id, m.meeting_id, m.booked_at
    FROM meetings m WHERE m.client_id = :client {scope:m}
    ORDER BY m.lead_id, m.booked_at, m.meeting_id
), closed AS (
    SELECT DISTINCT ON (d.lead_id) d.lead_id, d.deal_id, d.value, coalesce(d.won, false) AS won,
           CASE WHEN d.won THEN d.closed_at END AS won_at
    FROM deals d WHERE d.client_id = :client {scope:d}
    ORDER BY d.lead_id, d.won DESC NULLS LAST, CASE WHEN d.won THEN d.closed_at END,
             d.opened_at DESC, d.deal_id
), w AS (
    SELECT l.lead_id, b.meeting_id, b.booked_at, c.deal_id, c.value,
           coalesce(c.won, false) AS won, c.won_at,
           least(b.booked_at, c.won_at, l.stated_converted_at) AS converted_at,
           CASE WHEN b.booked_at <= least(c.won_at, l.stated_converted_at, b.booked_at)
                THEN 'meeting_booked'
                WHEN c.won_at <= least(c.won_at, l.stated_converted_at) THEN 'deal_won'
                WHEN l.stated_converted_at IS NOT NULL AND l.status = 'meeting_booked'
                THEN 'meeting_booked'
                WHEN l.stated_converted_at IS NOT NULL OR l.status = 'converted' THEN 'status'
           END AS conversion_type
    FROM leads l
    LEFT JOIN booked b USING (lead_id)
    LEFT JOIN closed c USING (lead_id)
    WHERE l.client_id = :client {scope:l}
)
UPDATE leads l
SET converted_at = w.converted_at, conversion_type = w.conversion_type,
    meeting_booked = w.meeting_id IS NOT NULL, meeting_booked_at = w.booked_at,
    meeting_id = w.meeting_id, deal_id = w.deal_id, deal_value = w.value, deal_won = w.won,
    deal_won_at = w.won_at
FROM w
WHERE l.client_id = :client AND l.lead_id = w.lead_id
  AND (l.converted_at, l.conversion_type, l.meeting_booked, l.meeting_booked_at, l.meeting_id,
       l.deal_id, l.deal_value, l.deal_won, l.deal_won_at)
      IS DISTINCT FROM
      (w.converted_at, w.conversion_type, w.meeting_id IS NOT NULL, w.booked_at, w.meeting_id,
       w.deal_id, w.value, w.won, w.won_at)
"""

ACTIVITIES = f"""
WITH {_ACTIVITY_AGENTS}, {_DELIVERIES},
placed AS (
    SELECT a.activity_id, a.lead_id, a.campaign_id, a.channel, a.action, a.occurred_at,
           a.time_precision, a.sequence_step, a.idempotency_key,
           coalesce(own.name, home.name) AS zone
    FROM activities a
    JOIN leads l ON l.client_id = :client AND l.lead_id = a.lead_id
    LEFT JOIN time_zones own ON own.name = a.timezone
    LEFT JOIN time_zones home ON home.name = l.timezone
    WHERE a.client_id = :client {{scope:a}}
), timed AS (
    -- A time coarser than an hour stands for a calendar day of the lead, whether its zone is known
    -- or not, so its weekday needs no zone.
    SELECT p.*,
           CASE WHEN p.time_precision IN ({_HOUR}) THEN p.occurred_at AT TIME ZONE p.zone
                ELSE p.occurred_at AT TIME ZONE coalesce(p.zone, 'UTC') END AS local_at
    FROM placed p
), touches AS (
    SELECT t.activity_id,
           row_number() OVER ordered AS touch_number,
           CASE WHEN t.time_precision IN ({_HOUR}) AND lag(t.time_precision) OVER ordered IN ({
    _HOUR
})
                THEN extract(epoch FROM t.occurred_at - lag(t.occurred_at) OVER ordered) / 86400
                WHEN t.time_precision IN ({_GAP}) AND lag(t.time_precision) OVER ordered IN ({_GAP})
                THEN t.local_at::date - lag(t.local_at::date) OVER ordered
           END AS gap_days
    FROM timed t
    WHERE t.action = 'sent'
    WINDOW ordered AS (PARTITION BY t.lead_id, t.campaign_id ORDER BY {_in_order("t")})
), converted AS (
    SELECT a.activity_id,
           row_number() OVER (PARTITION BY a.lead_id ORDER BY {_latest_first("a")}) = 1 AS last_one,
           1.0 / count(*) OVER (PARTITION BY a.lead_id) AS credit
    FROM placed a
    JOIN leads l ON l.client_id = :client AND l.lead_id = a.lead_id
    WHERE a.action = 'sent' AND {_began("a", "a.zone")} <= l.converted_at
), reported AS (
    SELECT coalesce(a.about_activity_id, t.activity_id) AS activity_id, a.action AS kind,
           a.occurred_at AS at,
           {
    _machine(
        "a.action",
        "g",
        "CASE WHEN a.time_precision = 'instant'"
        " THEN extract(epoch FROM a.occurred_at - coalesce(d.delivered_at, s.occurred_at)) END",
    )
} IS NOT NULL AS machine
    FROM activities a
    JOIN agents g ON g.agent = concat_ws(' ', a.user_agent)
    {_TOUCH_ABOUT}
    LEFT JOIN activities s
        ON s.client_id = :client AND s.activity_id = coalesce(a.about_activity_id, t.activity_id)
       AND s.time_precision = 'instant'
    LEFT JOIN deliveries d ON d.activity_id = coalesce(a.about_activity_id, t.activity_id)
    WHERE a.client_id = :client
      AND a.action IN ('delivered', 'opened', 'clicked', 'replied', 'bounced')
      AND (a.action <> 'replied' OR {human_reply("a")}) {{scope:a}}
    UNION ALL
    SELECT e.activity_id, e.event_type, e.occurred_at, e.is_machine
    FROM email_events e
    WHERE e.client_id = :client
      AND e.event_type IN ('delivered', 'opened', 'clicked', 'bounced') {{scope:e}}
    UNION ALL
    SELECT r.answered_activity_id, 'replied', r.received_at, false
    FROM replies r
    WHERE r.client_id = :client AND r.direction = 'inbound'
      AND {human_reply("r")} {{scope:r}}
), engagement AS (
    SELECT activity_id,
           min(at) FILTER (WHERE kind = 'delivered') AS delivered_at,
           min(at) FILTER (WHERE kind = 'opened') AS opened_at,
           count(*) FILTER (WHERE kind = 'opened') AS open_count,
           min(at) FILTER (WHERE kind = 'opened' AND NOT machine) AS human_opened_at,
           coalesce(bool_or(machine) FILTER (WHERE kind = 'opened'), false) AS machine_open,
           min(at) FILTER (WHERE kind = 'clicked') AS clicked_at,
           count(*) FILTER (WHERE kind = 'clicked') AS click_count,
           min(at) FILTER (WHERE kind = 'clicked' AND NOT machine) AS human_clicked_at,
           coalesce(bool_or(machine) FILTER (WHERE kind = 'clicked'), false) AS machine_click,
           min(at) FILTER (WHERE kind = 'replied') AS replied_at,
           min(at) FILTER (WHERE kind = 'bounced') AS bounced_at
    FROM reported
    WHERE activity_id IS NOT NULL
    GROUP BY activity_id
), w AS (
    SELECT t.activity_id,
           coalesce(c.last_one, false) AS converting,
           c.credit::float8 AS conversion_credit,
           o.touch_number::int AS touch_number,
           CASE WHEN t.action = 'sent' THEN coalesce(t.sequence_step, o.touch_number::int)
           END AS sequence_position,
           o.gap_days::float8 AS gap_days,
           t.zone AS lead_timezone,
           CASE WHEN t.time_precision IN ({_WEEKDAY})
                THEN extract(isodow FROM t.local_at)::smallint END AS local_weekday,
           CASE WHEN t.time_precision IN ({_HOUR})
                THEN extract(hour FROM t.local_at)::smallint END AS local_hour,
           CASE WHEN t.time_precision = 'instant' THEN t.local_at::time END AS local_time,
           g.delivered_at, g.opened_at, coalesce(g.open_count, 0)::int AS open_count,
           g.human_opened_at, coalesce(g.machine_open, false) AS machine_open,
           g.clicked_at, coalesce(g.click_count, 0)::int AS click_count,
           g.human_clicked_at, coalesce(g.machine_click, false) AS machine_click,
           g.replied_at, g.bounced_at,
           m.open_minutes, m.click_minutes, m.reply_minutes
    FROM timed t
    LEFT JOIN touches o USING (activity_id)
    LEFT JOIN converted c USING (activity_id)
    LEFT JOIN engagement g USING (activity_id)
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN g.human_opened_at >= t.occurred_at AND t.time_precision = 'instant'
            THEN (extract(epoch FROM g.human_opened_at - t.occurred_at) / 60)::float8 END,
            CASE WHEN g.human_clicked_at >= t.occurred_at AND t.time_precision = 'instant'
            THEN (extract(epoch FROM g.human_clicked_at - t.occurred_at) / 60)::float8 END,
            CASE WHEN g.replied_at >= t.occurred_at AND t.time_precision = 'instant'
            THEN (extract(epoch FROM g.replied_at - t.occurred_at) / 60)::float8 END
    ) m (open_minutes, click_minutes, reply_minutes)
)
UPDATE activities a
SET converting = w.converting, conversion_credit = w.conversion_credit,
    touch_number = w.touch_number, sequence_position = w.sequence_position,
    gap_days = w.gap_days, lead_timezone = w.lead_timezone, local_weekday = w.local_weekday,
    local_hour = w.local_hour, local_time = w.local_time, delivered_at = w.delivered_at,
    opened_at = w.opened_at, open_count = w.open_count, human_opened_at = w.human_opened_at,
    machine_open = w.machine_open, clicked_at = w.clicked_at, click_count = w.click_count,
    human_clicked_at = w.human_clicked_at, machine_click = w.machine_click,
    replied_at = w.replied_at, bounced_at = w.bounced_at,
    time_to_open_minutes = w.open_minutes, time_to_click_minutes = w.click_minutes,
    time_to_reply_minutes = w.reply_minutes
FROM w
WHERE a.client_id = :client AND a.activity_id = w.activity_id
  AND (a.converting, a.conversion_credit, a.touch_number, a.sequence_position, a.gap_days,
       a.lead_timezone, a.local_weekday, a.local_hour, a.local_time, a.delivered_at, a.opened_at,
       a.open_count, a.human_opened_at, a.machine_open, a.clicked_at, a.click_count,
       a.human_clicked_at, a.machine_click, a.replied_at, a.bounced_at, a.time_to_open_minutes,
       a.time_to_click_minutes, a.time_to_reply_minutes)
      IS DISTINCT FROM
      (w.converting, w.conversion_credit, w.touch_number, w.sequence_position, w.gap_days,
       w.lead_timezone, w.local_weekday, w.local_hour, w.local_time, w.delivered_at, w.opened_at,
       w.open_count, w.human_opened_at, w.machine_open, w.clicked_at, w.click_count,
       w.human_clicked_at, w.machine_click, w.replied_at, w.bounced_at, w.open_minutes,
       w.click_minutes, w.reply_minutes)
"""

LEADS = f"""
WITH touched AS (
    SELECT a.lead_id, count(*)::int AS touch_count, min(a.occurred_at) AS first_at,
           max(a.occurred_at) AS last_at
    FROM activities a
    WHERE a.client_id = :client AND a.action = 'sent' {{scope:a}}
    GROUP BY 1
), first_touch AS (
    SELECT DISTINCT ON (a.lead_id) a.lead_id, a.channel
    FROM activities a
    WHERE a.client_id = :client AND a.action = 'sent' {{scope:a}}
    ORDER BY a.lead_id, {_in_order("a")}
), spoken AS (
    SELECT a.lead_id,
           max(a.occurred_at) FILTER (WHERE a.action = 'opened') AS opened_at,
           max(a.occurred_at) FILTER (WHERE a.action = 'clicked') AS clicked_at,
           max(a.occurred_at) FILTER (WHERE a.action = 'replied') AS replied_at,
           count(*) FILTER (WHERE a.action = 'replied') AS replies,
           count(*) FILTER (WHERE a.action = 'bounced'
                              AND coalesce(a.provider_status, '') <> 'soft') AS bounces,
           min(a.occurred_at) FILTER (WHERE a.action = 'unsubscribed') AS unsubscribed_at,
           min(a.occurred_at) FILTER (WHERE a.action = 'complained') AS complained_at
    FROM activities a
    WHERE a.client_id = :client AND a.action NOT IN ('sent', 'delivered', 'profile_viewed')
      AND (a.action <> 'replied' OR {human_reply("a")}) {{scope:a}}
    GROUP BY 1
), mailed AS (
    SELECT e.lead_id,
           max(e.occurred_at) FILTER (WHERE e.event_type = 'opened' AND NOT e.is_machine)
               AS opened_at,
           max(e.occurred_at) FILTER (WHERE e.event_type = 'clicked' AND NOT e.is_machine)
               AS clicked_at,
           count(DISTINCT e.activity_id) FILTER (
               WHERE e.event_type = 'bounced' AND e.bounce_class IS DISTINCT FROM 'soft')
               AS bounces,
           min(e.occurred_at) FILTER (WHERE e.event_type = 'unsubscribed') AS unsubscribed_at,
           min(e.occurred_at) FILTER (WHERE e.event_type = 'complained') AS complained_at
    FROM email_events e WHERE e.client_id = :client {{scope:e}}
    GROUP BY 1
), answered AS (
    SELECT r.lead_id, max(r.received_at) AS replied_at, count(*) AS replies
    FROM replies r
    WHERE r.client_id = :client AND r.direction = 'inbound'
      AND {human_reply("r")} {{scope:r}}
    GROUP BY 1
), w AS (
    SELECT l.lead_id, coalesce(t.touch_count, 0) AS touch_count, t.first_at, t.last_at, f.channel,
           greatest(s.opened_at, m.opened_at) AS opened_at,
           greatest(s.clicked_at, m.clicked_at) AS clicked_at,
           greatest(s.replied_at, r.replied_at) AS replied_at,
           -- The same reply may stand in both tables, so the larger count, not the sum.
           greatest(coalesce(s.replies, 0), coalesce(r.replies, 0))::int AS replies,
           greatest(coalesce(s.bounces, 0), coalesce(m.bounces, 0))::int AS bounces,
           least(s.unsubscribed_at, m.unsubscribed_at) AS unsubscribed_at,
           least(s.complained_at, m.complained_at) AS complained_at
    FROM leads l
    LEFT JOIN touched t USING (lead_id)
    LEFT JOIN first_touch f USING (lead_id)
    LEFT JOIN spoken s USING (lead_id)
    LEFT JOIN mailed m USING (lead_id)
    LEFT JOIN answered r USING (lead_id)
    WHERE l.client_id = :client {{scope:l}}
)
UPDATE leads l
SET touch_count = w.touch_count, first_contacted_at = w.first_at, last_contacted_at = w.last_at,
    first_touch_channel = w.channel, last_opened_at = w.opened_at, last_clicked_at = w.clicked_at,
    last_replied_at = w.replied_at, reply_count = w.replies, bounces_seen = w.bounces,
    unsubscribed_at = w.unsubscribed_at, complained_at = w.complained_at
FROM w
WHERE l.client_id = :client AND l.lead_id = w.lead_id
  AND (l.touch_count, l.first_contacted_at, l.last_contacted_at, l.first_touch_channel,
       l.last_opened_at, l.last_clicked_at, l.last_replied_at, l.reply_count, l.bounces_seen,
       l.unsubscribed_at, l.complained_at)
      IS DISTINCT FROM
      (w.touch_count, w.first_at, w.last_at, w.channel, w.opened_at, w.clicked_at, w.replied_at,
       w.replies, w.bounces, w.unsubscribed_at, w.complained_at)
"""

MEETINGS = f"""
UPDATE meetings m
SET deal_id = w.deal_id, converting_activity_id = w.activity_id, converting_channel = w.channel,
    touches_before_booking = w.touches, days_to_booking = w.days
FROM (
    SELECT m.meeting_id, d.deal_id, t.activity_id, t.channel,
           coalesce(n.touches, 0)::int AS touches,
           -- greatest() passes over nulls, so a meeting without a touch needs its own case.
           CASE WHEN n.first_at IS NOT NULL
                THEN greatest(0, extract(epoch FROM m.booked_at - n.first_at) / 86400)::float8
           END AS days
    FROM meetings m
    LEFT JOIN LATERAL (
        SELECT d.deal_id FROM deals d
        WHERE d.client_id = :client AND d.meeting_id = m.meeting_id
        ORDER BY d.opened_at, d.deal_id LIMIT 1
    ) d ON true
    LEFT JOIN LATERAL (
        SELECT a.activity_id, a.channel FROM activities a
        WHERE a.client_id = :client AND a.lead_id = m.lead_id AND a.action = 'sent'
          AND {_began("a", "a.lead_timezone")} <= m.booked_at
        ORDER BY {_latest_first("a")} LIMIT 1
    ) t ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS touches, min(a.occurred_at) AS first_at FROM activities a
        WHERE a.client_id = :client AND a.lead_id = m.lead_id AND a.action = 'sent'
          AND {_began("a", "a.lead_timezone")} <= m.booked_at
    ) n ON true
    WHERE m.client_id = :client {{scope:m}}
) w
WHERE m.client_id = :client AND m.meeting_id = w.meeting_id
  AND (m.deal_id, m.converting_activity_id, m.converting_channel, m.touches_before_booking,
       m.days_to_booking)
      IS DISTINCT FROM (w.deal_id, w.activity_id, w.channel, w.touches, w.days)
"""

DEALS = f"""
UPDATE deals d
SET converting_activity_id = w.activity_id, converting_channel = w.channel,
    first_touch_channel = w.first_channel, touches_before_deal = w.touches
FROM (
    SELECT d.deal_id, t.activity_id, t.channel, l.first_touch_channel AS first_channel,
           coalesce(n.touches, 0)::int AS touches
    FROM deals d
    JOIN leads l ON l.client_id = :client AND l.lead_id = d.lead_id
    LEFT JOIN LATERAL (
        SELECT a.activity_id, a.channel FROM activities a
        WHERE a.client_id = :client AND a.lead_id = d.lead_id AND a.action = 'sent'
          AND {_began("a", "a.lead_timezone")} <= d.opened_at
        ORDER BY {_latest_first("a")} LIMIT 1
    ) t ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS touches FROM activities a
        WHERE a.client_id = :client AND a.lead_id = d.lead_id AND a.action = 'sent'
          AND {_began("a", "a.lead_timezone")} <= d.opened_at
    ) n ON true
    WHERE d.client_id = :client {{scope:d}}
) w
WHERE d.client_id = :client AND d.deal_id = w.deal_id
  AND (d.converting_activity_id, d.converting_channel, d.first_touch_channel,
       d.touches_before_deal)
      IS DISTINCT FROM (w.activity_id, w.channel, w.first_channel, w.touches)
"""

MESSAGES = """
UPDATE thread_messages m
SET position = w.position, response_time_minutes = w.minutes
FROM (
    SELECT m.message_id, (row_number() OVER ordered)::int AS position,
           -- Only an answer to the other side is a response.
           CASE WHEN lag(m.direction) OVER ordered <> m.direction
                THEN (extract(epoch FROM m.sent_at - lag(m.sent_at) OVER ordered) / 60)::float8
           END AS minutes
    FROM thread_messages m
    JOIN conversation_threads t ON t.client_id = :client AND t.thread_id = m.thread_id {scope:t}
    WHERE m.client_id = :client
    WINDOW ordered AS (PARTITION BY m.thread_id ORDER BY m.sent_at, m.message_id)
) w
WHERE m.client_id = :client AND m.message_id = w.message_id
  AND (m.position, m.response_time_minutes) IS DISTINCT FROM (w.position, w.minutes)
"""

THREADS = """
UPDATE conversation_threads t
SET message_count = w.messages, our_message_count = w.ours, their_message_count = w.theirs,
    last_message_at = w.last_at, last_our_message_at = w.our_last_at,
    last_their_message_at = w.their_last_at, avg_our_response_minutes = w.our_minutes,
    avg_their_response_minutes = w.their_minutes
FROM (
    SELECT t.thread_id, count(m.message_id)::int AS messages,
           count(*) FILTER (WHERE m.direction = 'outbound')::int AS ours,
           count(*) FILTER (WHERE m.direction = 'inbound')::int AS theirs,
           max(m.sent_at) AS last_at,
           max(m.sent_at) FILTER (WHERE m.direction = 'outbound') AS our_last_at,
           max(m.sent_at) FILTER (WHERE m.direction = 'inbound') AS their_last_at,
           -- Summed in a fixed order: the last bit of a mean must not depend on the plan.
           (sum(m.response_time_minutes::numeric) FILTER (WHERE m.direction = 'outbound')
            / count(m.response_time_minutes) FILTER (WHERE m.direction = 'outbound'))::float8
               AS our_minutes,
           (sum(m.response_time_minutes::numeric) FILTER (WHERE m.direction = 'inbound')
            / count(m.response_time_minutes) FILTER (WHERE m.direction = 'inbound'))::float8
               AS their_minutes
    FROM conversation_threads t
    LEFT JOIN thread_messages m ON m.client_id = :client AND m.thread_id = t.thread_id
    WHERE t.client_id = :client {scope:t}
    GROUP BY t.thread_id
) w
WHERE t.client_id = :client AND t.thread_id = w.thread_id
  AND (t.message_count, t.our_message_count, t.their_message_count, t.last_message_at,
       t.last_our_message_at, t.last_their_message_at, t.avg_our_response_minutes,
       t.avg_their_response_minutes)
      IS DISTINCT FROM
      (w.messages, w.ours, w.theirs, w.last_at, w.our_last_at, w.their_last_at, w.our_minutes,
       w.their_minutes)
"""

IN_ORDER = (
    EMAIL_EVENTS,
    REPLIES,
    DEAL_CLOSINGS,
    DEAL_HISTORY,
    STATED_CONVERSIONS,
    CONVERSIONS,
    ACTIVITIES,
    LEADS,
    MEETINGS,
    DEALS,
    MESSAGES,
    THREADS,
)
"""Every statement, each after those whose columns it reads."""

_SCOPE = re.compile(r"\{scope:(\w+)\}")


def scoped(statement: str, *, leads: bool) -> str:
    """The statement for some leads (``:leads``, an array of ids) or for all of the client."""
    return _SCOPE.sub(r"AND \1.lead_id = ANY(:leads)" if leads else "", statement)
