"""Simulated outreach of several clients with a known truth.

`simulate` draws leads, plans their touches, plants the effects, throws the coins and writes down
everything that would be known at `as_of`: messages, opens by people and machines, replies,
meetings, deals. The same clients, seed and `as_of` give the same rows; each client has random
streams of its own, one a stage, so that adding a client or a stage leaves the others as they were.

What lies after `as_of` is not in the tables: running sequences, bookings and deals are cut there,
as they are in life.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cis_server.demo import rows
from cis_server.demo.conversations import build_conversations
from cis_server.demo.engagement import draw_reply_rows, email_events, visible_touches
from cis_server.demo.facts import truth_of
from cis_server.demo.first_score import first_scores
from cis_server.demo.identifiers import uuids
from cis_server.demo.outreach import plan_outreach
from cis_server.demo.pipeline import draw_deals, draw_meetings
from cis_server.demo.planting import (
    BOUNCE_RATES,
    bounce_chances,
    check_words,
    expect,
    hazard_of,
    lead_log_odds,
    realise,
    touch_log_odds,
)
from cis_server.demo.population import draw_population
from cis_server.demo.specs import ClientSpec
from cis_server.demo.truth import Truth
from cis_server.demo.writing import template_rows, write_messages
from cis_server.stats.seeds import generator

TABLES = (
    "clients",
    "campaigns",
    "templates",
    "ab_tests",
    "ab_test_variants",
    "leads",
    "conversation_threads",
    "activities",
    "email_events",
    "replies",
    "thread_messages",
    "meetings",
    "deals",
    "deal_stage_history",
)
"""Every table written, in an order that foreign keys allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What was simulated, and what is true of it."""

    clients: tuple[ClientSpec, ...]
    seed: int
    as_of: dt.datetime
    tables: Mapping[str, pl.DataFrame]
    """Table -> rows of all clients. Columns are columns of the database table, without the derived
    ones (`rederive` fills those); JSON columns hold JSON text, instants are UTC."""
    truth: Mapping[str, Truth]
    """Client id -> what is true of it."""


def simulate(clients: Sequence[ClientSpec], seed: int, as_of: dt.datetime) -> Simulation:
    """Simulate the outreach of clients up to an instant.

    About 4 seconds for 100 000 leads with 500 000 touches.

    Args:
        clients: what to simulate; client ids differ.
        seed: same seed, same rows.
        as_of: the instant of knowledge, aware.

    Raises:
        ValueError: `as_of` is naive, a client comes twice, or an effect names an unknown word.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of needs a time zone")
    if len({spec.client_id for spec in clients}) < len(clients):
        raise ValueError("client ids must differ")
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    truth = {}
    for spec in clients:
        tables, truth[spec.client_id] = _simulate_client(spec, seed, as_of)
        for name in TABLES:
            frame = tables[name].with_columns(client_id=pl.lit(spec.client_id))
            parts[name].append(frame.with_columns(rows.utc(frame)))
    return Simulation(
        clients=tuple(clients),
        seed=seed,
        as_of=as_of,
        tables={name: pl.concat(frames) for name, frames in parts.items() if frames},
        truth=truth,
    )


def _simulate_client(
    spec: ClientSpec, seed: int, as_of: dt.datetime
) -> tuple[dict[str, pl.DataFrame], Truth]:
    check_words(spec.effects)

    def draw(stage: str) -> np.random.Generator:
        return generator(spec.client_id, as_of, f"demo.{seed}.{stage}")

    now = np.datetime64(as_of.astimezone(dt.UTC).replace(tzinfo=None), "us")
    population = draw_population(spec, draw("population"), as_of)
    leads = population.leads
    scores = first_scores(population, spec.icp, spec.competitor_domains)
    plan = plan_outreach(spec, population, scores.tier, draw("plan"))
    eta = touch_log_odds(spec.effects, plan)
    eta += lead_log_odds(spec.effects, population, scores.normalised(), scores.tier)[:, None]
    states = {name: code for code, name in enumerate(BOUNCE_RATES)}
    state = leads["email_status"].replace_strict(states, return_dtype=pl.Int64).to_numpy()
    bounces = bounce_chances(plan, state)
    expected = expect(spec, plan, eta, bounces)
    hazard = hazard_of(expected.intercept, eta)
    outcomes = realise(spec, plan, hazard, bounces, draw("outcomes"))

    touches = visible_touches(plan, outcomes, now, draw("touches"))
    messages = write_messages(
        plan.factors.at(touches.lead, touches.touch),
        touches.channel,
        leads.select("first_name", "company_name", "industry")[touches.lead],
        spec.client_id,
    )
    replies = draw_reply_rows(spec, outcomes, touches, now, draw("replies"))
    replies = replies.with_columns(reply_id=uuids(draw("reply ids"), len(replies)))
    replied = np.zeros(len(touches.lead), dtype=bool)
    replied[replies.filter(pl.col("kind").is_in(["yes", "no", "stop"]))["row"].to_numpy()] = True
    events = email_events(spec, plan, touches, replied, now, draw("events"))
    meetings = draw_meetings(spec, population, scores.tier, touches, now, draw("meetings"))
    deals, history = draw_deals(spec, population, touches, meetings, now, draw("deals"))
    conversations = build_conversations(
        spec,
        touches,
        messages["body"],
        replies,
        meetings.select("lead", "booked_at"),
        leads["lead_id"],
        now,
        draw("conversations"),
    )
    campaign = rows.draw_campaigns(spec, draw("campaigns"))
    belongs = pl.DataFrame({"lead_id": leads["lead_id"], "campaign_id": campaign})
    tables = {
        "clients": rows.client_rows(spec, as_of),
        "campaigns": rows.campaign_rows(spec, as_of),
        "templates": template_rows(spec.client_id),
        "ab_tests": rows.ab_test_rows(spec, as_of),
        "ab_test_variants": rows.ab_variant_rows(spec),
        "leads": rows.lead_rows(
            spec, population, scores, outcomes, plan, touches, replies, meetings, deals,
            campaign, now, draw("lead rows"),
        ),
        "activities": rows.activity_rows(
            spec, plan, outcomes, touches, messages, leads, campaign, now, draw("activity ids")
        ),
        "email_events": rows.event_rows(touches, events, leads, draw("event ids")),
        "replies": rows.reply_rows(replies, conversations.thread_of_reply, touches, leads),
        "conversation_threads": conversations.threads.join(
            belongs, on="lead_id", how="left", maintain_order="left"
        ),
        "thread_messages": conversations.messages,
        "meetings": meetings.drop("lead", "touch_row", "channel").join(
            belongs, on="lead_id", how="left", maintain_order="left"
        ),
        "deals": deals.drop("lead", "won"),
        "deal_stage_history": history,
    }  # fmt: skip
    return tables, truth_of(spec.effects, population, scores.tier, plan, expected)
