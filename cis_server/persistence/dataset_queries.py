"""The reads behind `dataset`: one per frame, cut at the run's instant of knowledge.

``$1`` is the client, ``$2`` the start of the window, ``$3`` `as_of`.
What happened after `as_of` has not happened: later rows are left out, later outcomes are null, and
a status that only a later event explains is taken back. Personal data stays behind: contact fields
become flags, and of a message only its measured features pass.
"""

from __future__ import annotations

from typing import Final

TEXT_KEYS: Final = (
    *("body", "body_full", "body_preview", "subject", "message_body", "connection_note"),
    *("script_content", "notes", "links"),
)
"""Keys of a content snapshot that hold what a message or a call said; the rest is measurements."""

_IN_WINDOW = "(l.{column} >= $2 AND l.{column} <= $3)"

# A touch inside the window or an outcome inside it makes a lead part of the run.
_LEADS_SEEN = f"""
    SELECT l.* FROM leads l
    WHERE l.client_id = $1 AND l.deleted_at IS NULL AND (
        EXISTS (SELECT FROM activities a
                WHERE a.client_id = $1 AND a.lead_id = l.lead_id AND a.action = 'sent'
                  AND a.occurred_at BETWEEN $2 AND $3)
        OR {_IN_WINDOW.format(column="converted_at")}
        OR {_IN_WINDOW.format(column="sequence_completed_at")}
        OR {_IN_WINDOW.format(column="rejected_at")}
        OR {_IN_WINDOW.format(column="unsubscribed_at")})
"""

# The experiment of a campaign that a lead was in, from its assignment until the next one or the
# end; one without a campaign counts for all of them. Never two at once in a campaign, so that a
# touch that does not say which it belongs to belongs to one.
_ASSIGNED = """
    SELECT s.lead_id, s.ab_test_id, s.variant, s.assigned_at, t.campaign_id,
           coalesce(
               least(t.ended_at,
                     CASE WHEN t.campaign_id IS NULL THEN lead(s.assigned_at) OVER of_lead
                          ELSE lead(s.assigned_at) OVER (
                              PARTITION BY s.lead_id, t.campaign_id
                              ORDER BY s.assigned_at, s.ab_test_id) END,
                     min(s.assigned_at) FILTER (WHERE t.campaign_id IS NULL) OVER (
                         of_lead ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)),
               'infinity') AS until
    FROM ab_test_assignments s
    JOIN ab_tests t ON t.client_id = $1 AND t.ab_test_id = s.ab_test_id
    WHERE s.client_id = $1 AND s.assigned_at <= $3
    WINDOW of_lead AS (PARTITION BY s.lead_id ORDER BY s.assigned_at, s.ab_test_id)
"""


def _until_now(column: str, alias: str = "a") -> str:
    """The instant if it had come by then."""
    return f"CASE WHEN {alias}.{column} <= $3 THEN {alias}.{column} END"


_QUERIES: Final[dict[str, str]] = {
    "leads": f"""
SELECT l.lead_id, l.campaign_id,
       CASE WHEN (l.status IN ('converted', 'meeting_booked') AND l.converted_at > $3)
              OR (l.status = 'exhausted' AND l.sequence_completed_at > $3)
              OR (l.status = 'not_interested' AND l.rejected_at > $3)
              OR (l.status = 'unsubscribed' AND l.unsubscribed_at > $3)
            THEN 'in_sequence' ELSE l.status END AS status,
       l.title, l.seniority, l.industry, l.employee_count::bigint AS employee_count, l.revenue,
       l.total_funding, nullif(l.technologies, '{{}}') AS technologies, l.latest_funding_stage,
       l.latest_funding_date, l.employment_start_date, l.is_hiring,
       l.founded_year::bigint AS founded_year, l.city, l.region, l.country, l.person_city,
       l.person_region, l.person_country, l.timezone, l.email_status,
       l.email IS NOT NULL AS has_email, l.phone IS NOT NULL AS has_phone, l.phone_verified,
       l.linkedin_url IS NOT NULL AS has_linkedin,
       l.personal_email IS NOT NULL AS has_personal_email, l.call_register_listed,
       greatest(l.bounce_count, l.bounces_seen)::bigint AS bounce_count,
       CASE WHEN l.unsubscribed_at > $3 THEN false
            ELSE l.unsubscribed OR l.unsubscribed_at IS NOT NULL END AS unsubscribed,
       l.do_not_contact, l.domain AS company_key, l.employment_history::text AS employment_history,
       -- Text only, as serving is given them: what another program has nested is its JSON text.
       CASE WHEN jsonb_path_exists(
                l.attributes, 'strict $.* ? (@.type() == "object" || @.type() == "array")')
            THEN (SELECT jsonb_object_agg(entry.key, entry.value #>> '{{}}')
                  FROM jsonb_each(l.attributes) entry)
            ELSE l.attributes END::text AS attributes,
       CASE WHEN l.rejected_at > $3 THEN '{{}}' ELSE l.objections END AS objections,
       CASE WHEN l.rejected_at > $3 THEN NULL ELSE l.rejection_reason END AS rejection_reason,
       -- An import writes today's date on leads of years ago.
       least(l.created_at, l.first_contacted_at, l.converted_at) AS created_at,
       {_until_now("first_contacted_at", "l")} AS first_contacted_at,
       {_until_now("converted_at", "l")} AS converted_at,
       {_until_now("sequence_completed_at", "l")} AS sequence_completed_at,
       CASE WHEN l.converted_at > $3 THEN NULL ELSE l.conversion_type END AS conversion_type,
       CASE WHEN l.first_contacted_at > $3 OR l.first_contacted_at IS NULL THEN NULL
            WHEN l.scored_at <= l.first_contacted_at THEN l.score::bigint
            -- Scored again since: under the default weights the score is the sum of the points.
            ELSE (SELECT sum(points.value::numeric)::bigint
                  FROM jsonb_each_text(f.components) points)
       END AS score,
       f.components::text AS components
FROM ({_LEADS_SEEN}) l
CROSS JOIN LATERAL (
    -- Anybody may have written them: what is no set of numbers counts as missing.
    SELECT CASE WHEN jsonb_typeof(l.components_at_first_touch) = 'object'
                 AND NOT jsonb_path_exists(l.components_at_first_touch,
                                           'strict $.* ? (@.type() != "number")')
                THEN l.components_at_first_touch END AS components
) f
""",
    "activities": f"""
SELECT a.activity_id::text AS activity_id, a.lead_id, a.campaign_id, a.channel, a.action,
       a.occurred_at, a.time_precision, a.touch_number::bigint AS touch_number, a.gap_days,
       a.local_weekday::bigint AS local_weekday, a.local_hour::bigint AS local_hour,
       a.lead_timezone, a.converting AND l.converted_at <= $3 AS converting,
       {_until_now("human_opened_at")} AS human_opened_at,
       {_until_now("human_clicked_at")} AS human_clicked_at,
       {_until_now("replied_at")} AS replied_at,
       a.machine_open AND a.opened_at <= $3 AS machine_open,
       CASE WHEN a.human_opened_at <= $3 THEN a.time_to_open_minutes END AS minutes_to_open,
       CASE WHEN a.human_clicked_at <= $3 THEN a.time_to_click_minutes END AS minutes_to_click,
       CASE WHEN a.replied_at <= $3 THEN a.time_to_reply_minutes END AS minutes_to_reply,
       a.template_id, coalesce(a.ab_test_id, x.ab_test_id) AS ab_test_id,
       coalesce(a.ab_variant, x.variant) AS ab_variant, a.ai_model_used AS ai_model,
       a.prompt_version,
       cardinality(a.links_included)::bigint AS links,
       (a.content_snapshot - '{{{",".join(TEXT_KEYS)}}}'::text[])::text AS content
FROM activities a
JOIN ({_LEADS_SEEN}) l ON l.lead_id = a.lead_id
LEFT JOIN ({_ASSIGNED}) x
       ON x.lead_id = a.lead_id AND a.action = 'sent'
      AND a.occurred_at >= x.assigned_at AND a.occurred_at < x.until
      AND (a.ab_test_id IS NULL OR a.ab_test_id = x.ab_test_id)
      AND (x.campaign_id IS NULL OR x.campaign_id = a.campaign_id)
WHERE a.client_id = $1 AND a.occurred_at BETWEEN $2 AND $3
""",
    "email_events": f"""
SELECT e.activity_id::text AS activity_id, e.lead_id, e.event_type, e.occurred_at, e.is_machine
FROM email_events e
JOIN ({_LEADS_SEEN}) l ON l.lead_id = e.lead_id
WHERE e.client_id = $1 AND e.occurred_at BETWEEN $2 AND $3
""",
    "meetings": """
SELECT m.meeting_id, m.lead_id, m.campaign_id, m.booked_at, m.scheduled_at,
       m.confirmed AND coalesce(m.confirmed_at <= $3, true) AS confirmed,
       m.reminder_sent AND coalesce(m.reminder_sent_at <= $3, true) AS reminder_sent,
       CASE WHEN coalesce(m.showed_up_confirmed_at, m.outcome_at, m.scheduled_at) > $3 THEN NULL
            ELSE m.showed_up END AS showed_up,
       m.rescheduled_count::bigint AS rescheduled_count, m.meeting_type,
       CASE WHEN coalesce(m.outcome_at, m.scheduled_at) > $3 THEN NULL ELSE m.outcome END
           AS outcome,
       m.converting_channel, d.deal_id
FROM meetings m
LEFT JOIN deals d ON d.client_id = $1 AND d.deal_id = m.deal_id AND d.opened_at <= $3
WHERE m.client_id = $1 AND m.booked_at BETWEEN $2 AND $3
""",
    # Deals look back further than the touches that led to them, so the window does not cut them.
    # A deal that has changed since is told by its history: the stage as of then is that of the last
    # change; of several at one instant, the one after which no other of them goes on.
    "deals": """
SELECT d.deal_id, d.lead_id, d.meeting_id, d.currency, d.first_touch_channel,
       d.value::float8 AS value, d.opened_at AS created_at,
       CASE WHEN d.changed_since THEN coalesce(h.to_stage, 'qualification') ELSE d.stage END
           AS stage,
       CASE WHEN d.closed_at > $3 OR d.changed_since AND h.to_stage IS DISTINCT FROM 'closed_lost'
            THEN NULL ELSE d.lost_reason END AS lost_reason,
       CASE WHEN NOT d.changed_since THEN d.won
            WHEN h.to_stage = 'closed_won' THEN true
            WHEN h.to_stage = 'closed_lost' THEN false END AS won,
       CASE WHEN NOT d.changed_since THEN d.closed_at
            WHEN h.to_stage IN ('closed_won', 'closed_lost') THEN h.changed_at END AS closed_at,
       coalesce(d.touches_before_deal, 0)::bigint AS touches_before_deal
FROM (
    -- The first row of a history tells what the deal was entered as, which is no change.
    SELECT d.*, coalesce(d.closed_at > $3, false) OR EXISTS (
               SELECT FROM deal_stage_history n
               WHERE n.client_id = $1 AND n.deal_id = d.deal_id AND n.changed_at > $3
                 AND n.from_stage IS NOT NULL) AS changed_since
    FROM deals d
    WHERE d.client_id = $1 AND d.opened_at <= $3
) d
LEFT JOIN LATERAL (
    SELECT h.to_stage, h.changed_at FROM deal_stage_history h
    WHERE h.client_id = $1 AND h.deal_id = d.deal_id AND h.changed_at <= $3
    ORDER BY h.changed_at DESC, EXISTS (
        SELECT FROM deal_stage_history n
        WHERE n.client_id = $1 AND n.deal_id = h.deal_id
          AND n.changed_at = h.changed_at AND n.from_stage = h.to_stage
          AND n.to_stage <> h.to_stage),
        h.change_id LIMIT 1
) h ON d.changed_since
""",
    "deal_stages": """
SELECT h.deal_id, h.from_stage, h.to_stage, h.changed_at, h.days_in_previous_stage
FROM deal_stage_history h
WHERE h.client_id = $1 AND h.changed_at <= $3
""",
    "threads": f"""
SELECT t.thread_id, t.lead_id, t.channel,
       CASE WHEN t.outcome_at > $3 THEN 'active' ELSE t.status END AS status,
       CASE WHEN t.outcome_at > $3 THEN NULL ELSE t.outcome END AS outcome,
       t.started_at AS created_at, {_until_now("outcome_at", "t")} AS outcome_at,
       count(m.message_id) AS message_count,
       count(*) FILTER (WHERE m.direction = 'outbound') AS our_message_count,
       count(*) FILTER (WHERE m.direction = 'inbound') AS their_message_count,
       t.escalated_to_human AND coalesce(t.escalated_at <= $3, true) AS escalated
FROM conversation_threads t
LEFT JOIN thread_messages m
    ON m.client_id = $1 AND m.thread_id = t.thread_id AND m.sent_at <= $3
WHERE t.client_id = $1 AND t.started_at BETWEEN $2 AND $3
GROUP BY t.client_id, t.thread_id
""",
    "messages": """
SELECT m.thread_id, m.direction, m.intent, m.objection_type AS objection, m.sentiment,
       m.sentiment_score, m.sent_at, m.response_time_minutes AS response_minutes,
       m.position::bigint AS position,
       lower(btrim(m.question_extracted, ' ?.!')) AS question_key
FROM thread_messages m
JOIN conversation_threads t ON t.client_id = $1 AND t.thread_id = m.thread_id
WHERE m.client_id = $1 AND t.started_at BETWEEN $2 AND $3 AND m.sent_at <= $3
""",
    # Options are written by serving; what is no list of choices counts as unknown.
    "decisions": """
SELECT d.decision_id, d.kind, d.decided_at, d.choice, d.propensity, o.best, o.best_propensity,
       a.activity_id::text AS activity_id, a.lead_id, a.channel, a.occurred_at,
       a.converting AND l.converted_at <= $3 AS converting
FROM decision_log d
LEFT JOIN LATERAL (
    SELECT option->>'choice' AS best, (option->>'propensity')::float8 AS best_propensity
    FROM jsonb_array_elements(
        CASE WHEN jsonb_typeof(d.options) = 'array' THEN d.options ELSE '[]' END) option
    WHERE option->'best' = 'true' AND jsonb_typeof(option->'propensity') = 'number'
    LIMIT 1
) o ON true
LEFT JOIN activities a ON a.client_id = $1 AND a.decision_id = d.decision_id
    AND a.action = 'sent' AND a.occurred_at <= $3
LEFT JOIN leads l ON l.client_id = $1 AND l.lead_id = a.lead_id
WHERE d.client_id = $1 AND d.decided_at BETWEEN $2 AND $3
""",
}

SETTINGS: Final = ("cis.client_id", "cis.window_start", "cis.as_of")
"""Settings of the transaction that hold the three values."""


def query(frame: str) -> str:
    """The query of a frame, reading its values from `SETTINGS`.

    ADBC streams results as binary `COPY`, which is faster than rows and needs no second copy in
    memory, but not for statements with parameters.
    """
    text = _QUERIES[frame]
    values = (
        f"current_setting('{SETTINGS[0]}')",
        f"current_setting('{SETTINGS[1]}')::timestamptz",
        f"current_setting('{SETTINGS[2]}')::timestamptz",
    )
    for position, value in enumerate(values, start=1):
        text = text.replace(f"${position}", value)
    return text
