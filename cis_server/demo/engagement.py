"""What happens to the messages that were sent: delivery, opens, clicks, replies.

Machines open and click too: privacy proxies fetch a mail within seconds of its delivery, link
scanners follow links at once. They are independent of interest, so that a detector that believes
them learns from robots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cis_server.demo.identifiers import uuids
from cis_server.demo.outreach import Codes, Flags, Instants, Plan
from cis_server.demo.planting import Outcomes
from cis_server.demo.replies import draw_replies, reply_columns
from cis_server.demo.specs import CHANNELS, ClientSpec

PROXY_AGENT = (
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
)
UNMARKED_AGENT = "Mozilla/5.0"
SCANNER_AGENT = "Mozilla/5.0 (compatible; BarracudaCentral/1.0; link scanner)"
PERSON_AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_4) AppleWebKit/605.1.15 Mail/16.0",
    "Microsoft Outlook 16.0.17531",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) Mobile/15E148",
)
_EMAIL = CHANNELS.index("email")
_WRITTEN = [CHANNELS.index(name) for name in ("email", "linkedin", "sms")]
_SPOKEN = [CHANNELS.index("voice")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Touches:
    """Touches that went out by `as_of`, flat, in (lead, touch) order."""

    lead: Codes
    """Row of the lead."""
    touch: Codes
    """0, 1, ... within the lead."""
    channel: Codes
    sent_at: Instants
    activity_id: pl.Series
    bounced: Flags
    answered_at: Instants
    """When the lead answered this touch by the reply that ended the sequence; NaT if not."""
    converting: Flags
    """The touch brought the conversion (whether booked by `as_of` or not)."""


def visible_touches(
    plan: Plan, outcomes: Outcomes, as_of: np.datetime64, rng: np.random.Generator
) -> Touches:
    """The touches sent by `as_of`, with the time of the answer that ended each sequence."""
    lead, touch = np.nonzero(outcomes.sent & (plan.sent_at <= as_of))
    channel, sent_at = plan.channel[lead, touch], plan.sent_at[lead, touch]
    converting = outcomes.converted_by[lead] == touch
    ended = converting | (outcomes.unsubscribed_by[lead] == touch)
    ended |= outcomes.refused_by[lead] == touch
    minutes = 3.0 + rng.lognormal(np.log(170.0), 1.2, len(lead))
    spoken = np.isin(channel, _SPOKEN)
    minutes = np.where(spoken, 1.0 + 8 * rng.random(len(lead)), np.minimum(minutes, 6 * 1_440))
    answered = sent_at + _minutes(minutes)
    return Touches(
        lead=lead,
        touch=touch,
        channel=channel,
        sent_at=sent_at,
        activity_id=uuids(rng, len(lead)),
        bounced=outcomes.bounced_by[lead] == touch,
        answered_at=np.where(ended, answered, np.datetime64("NaT", "us")),
        converting=converting,
    )


def email_events(
    spec: ClientSpec,
    plan: Plan,
    touches: Touches,
    replied: Flags,
    as_of: np.datetime64,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Delivered, opened, clicked and bounced events up to `as_of`.

    Args:
        spec: rates of proxies, scanners, opening and clicking.
        plan: for the links in the mails and the number of leads.
        touches: what was sent.
        replied: (touches,): a person answered the touch, so that person read it before.
        as_of: nothing later is known.
        rng: source of every draw.

    Returns:
        ``row`` (index into `touches`), ``event_type``, ``occurred_at``, ``user_agent``,
        ``clicked_url``, ``bounce_class``, ``person`` (whether a person did it).
    """
    outreach = spec.outreach
    proxied = rng.random(spec.leads) < outreach.privacy_proxy_share
    scanned = rng.random(spec.leads) < outreach.scanner_share
    row = np.flatnonzero(touches.channel == _EMAIL)
    lead, n = touches.lead[row], len(row)
    arrived = ~touches.bounced[row]
    has_link = plan.factors.links[lead, touches.touch[row]] > 0
    at = touches.sent_at[row] + _seconds(1 + 29 * rng.random(n))
    machine_open = arrived & proxied[lead]
    machine_click = arrived & scanned[lead] & has_link
    answered = replied[row]
    opened = arrived & (answered | (rng.random(n) < outreach.open_rate))
    opened_at = at + _minutes(2.0 + rng.lognormal(np.log(95.0), 1.4, n))
    until = np.where(answered, touches.answered_at[row], np.datetime64("NaT", "us"))
    opened_at = np.where(
        np.isnat(until), opened_at, np.minimum(opened_at, at + (until - at) * 6 // 10)
    )
    # An open seconds after delivery reads as a machine's; nobody reads that fast.
    opened_at = np.maximum(opened_at, at + _seconds(np.full(n, 75.0)))
    clicked = opened & has_link & (rng.random(n) < outreach.click_rate)
    clicked_at = opened_at + _minutes(0.5 + rng.lognormal(np.log(2.0), 0.8, n))
    agent = rng.integers(len(PERSON_AGENTS), size=n)
    people = pl.Series(list(PERSON_AGENTS)).gather(agent)
    fetched_at = at + _seconds(1 + 19 * rng.random(n))
    machine_agent = pl.Series([PROXY_AGENT]).new_from_index(0, n)
    if outreach.unmarked_proxy_share > 0:
        unmarked = (rng.random(spec.leads) < outreach.unmarked_proxy_share)[lead]
        hours = at + _minutes(2.0 + rng.lognormal(np.log(45.0), 1.2, n))
        fetched_at = np.where(unmarked, hours, fetched_at)
        agents = pl.Series([PROXY_AGENT, UNMARKED_AGENT])
        machine_agent = agents.gather(unmarked.astype(np.int64))
    parts = [
        _events(row, arrived, "delivered", at, person=False),
        _events(row, ~arrived, "bounced", at, person=False, bounce="hard"),
        _events(row, machine_open, "opened", fetched_at, person=False, agent=machine_agent),
        _events(
            row, machine_click, "clicked", at + _seconds(2 + 10 * rng.random(n)),
            person=False, agent=pl.Series([SCANNER_AGENT]).new_from_index(0, n), link=True,
        ),
        _events(row, opened, "opened", opened_at, person=True, agent=people),
        _events(row, clicked, "clicked", clicked_at, person=True, agent=people, link=True),
    ]  # fmt: skip
    events = pl.concat(parts).filter(pl.col("occurred_at") <= pl.lit(as_of))
    return events.sort("row", "occurred_at", "event_type")


def _events(
    row: Codes,
    happened: Flags,
    event_type: str,
    at: Instants,
    *,
    person: bool,
    agent: pl.Series | None = None,
    link: bool = False,
    bounce: str | None = None,
) -> pl.DataFrame:
    if agent is None:
        agent = pl.Series([None], dtype=pl.String).new_from_index(0, len(row))
    return pl.DataFrame(
        {
            "row": row[happened],
            "occurred_at": at[happened],
            "user_agent": agent.filter(pl.Series(happened)),
        }
    ).with_columns(
        event_type=pl.lit(event_type),
        person=pl.lit(person),
        clicked_url=pl.lit("https://example.com/tour" if link else None, dtype=pl.String),
        bounce_class=pl.lit(bounce, dtype=pl.String),
    )


def draw_reply_rows(
    spec: ClientSpec,
    outcomes: Outcomes,
    touches: Touches,
    as_of: np.datetime64,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Replies received by `as_of`: the ones that ended a sequence, questions, automatic ones.

    Calls and letters bring no written reply. Half of those who unsubscribe write so.

    Returns:
        ``row`` (index into `touches`), ``kind``, ``received_at`` and the columns of
        `reply_columns`, in (row, time) order.
    """
    n = len(touches.lead)
    written = np.isin(touches.channel, _WRITTEN) & ~touches.bounced
    refused = outcomes.refused_by[touches.lead] == touches.touch
    stopped = outcomes.unsubscribed_by[touches.lead] == touches.touch
    quiet = np.isnat(touches.answered_at)
    asks = quiet & (rng.random(n) < spec.outreach.question_rate)
    automatic = (touches.channel == _EMAIL) & (rng.random(n) < spec.outreach.auto_reply_share)
    asked_at = touches.sent_at + _minutes(np.minimum(5 + rng.lognormal(5.0, 1.0, n), 700))
    machine_at = touches.sent_at + _seconds(40 + 80 * rng.random(n))
    parts = [
        (touches.converting, "yes", touches.answered_at),
        (refused, "no", touches.answered_at),
        (stopped & (rng.random(n) < 0.5), "stop", touches.answered_at),
        (asks, "question", asked_at),
        (automatic, "automatic", machine_at),
    ]
    frame = pl.concat(
        pl.DataFrame({"row": np.flatnonzero(flags & written), "received_at": at[flags & written]})
        .with_columns(kind=pl.lit(kind))
        for flags, kind, at in parts
    )  # fmt: skip
    frame = frame.filter(pl.col("received_at") <= pl.lit(as_of)).sort("row", "received_at", "kind")
    codes = draw_replies(frame["kind"].to_list(), rng)
    return frame.with_columns(**reply_columns(codes))


def _seconds(values: NDArray[np.float64]) -> NDArray[np.timedelta64]:
    return np.asarray((values * 1e6).astype(np.int64).astype("timedelta64[us]"))


def _minutes(values: NDArray[np.float64]) -> NDArray[np.timedelta64]:
    return _seconds(values * 60)
