"""Simulated facts as rows of the database tables (columns that callers write, none derived)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

import numpy as np
import polars as pl

from cis_server.demo.engagement import Touches
from cis_server.demo.first_score import FirstScores
from cis_server.demo.identifiers import uuids
from cis_server.demo.outreach import Codes, Plan
from cis_server.demo.planting import TIERS, Outcomes
from cis_server.demo.population import Population
from cis_server.demo.specs import CHANNELS, ClientSpec
from cis_server.domain.clients import ClientPolicy
from cis_server.domain.vocabulary import Promotion
from cis_server.domain.weights import COMPONENTS, DEFAULT_WEIGHTS

SCORER_VERSION = "simulated"
CAMPAIGNS = ("autumn", "partners")
_DAY = np.timedelta64(86_400_000_000, "us")
_NEVER = np.datetime64("NaT", "us")


def utc(frame: pl.DataFrame) -> list[pl.Expr]:
    """Expressions that turn naive instants into UTC ones."""
    return [
        pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.Datetime)
    ]


def client_rows(spec: ClientSpec, as_of: dt.datetime) -> pl.DataFrame:
    """The client: active, and free to promote what it learns by itself."""
    policy = dataclasses.asdict(ClientPolicy(promotion=Promotion.AUTO))
    return pl.DataFrame(
        {
            "name": [spec.name or spec.client_id],
            "subscription_status": ["active"],
            "timezone": [spec.timezone],
            "icp": [json.dumps(dataclasses.asdict(spec.icp))],
            "competitor_domains": [list(spec.competitor_domains)],
            "policy": [json.dumps(policy)],
            "created_at": [_naive(as_of) - dt.timedelta(days=400)],
        },
        schema_overrides={"competitor_domains": pl.List(pl.String)},
    )


def campaign_rows(spec: ClientSpec, as_of: dt.datetime) -> pl.DataFrame:
    """Two campaigns without profiles of their own."""
    return pl.DataFrame(
        {
            "campaign_id": [f"{spec.client_id}-{name}" for name in CAMPAIGNS],
            "name": [name.capitalize() for name in CAMPAIGNS],
            "status": "active",
            "timezone": spec.timezone,
            "created_at": _naive(as_of) - dt.timedelta(days=200),
        }
    )


def draw_campaigns(spec: ClientSpec, rng: np.random.Generator) -> pl.Series:
    """The campaign of each lead, without bearing on anything."""
    names = pl.Series([f"{spec.client_id}-{name}" for name in CAMPAIGNS])
    return names.gather(rng.integers(len(CAMPAIGNS), size=spec.leads))


def ab_test_rows(spec: ClientSpec, as_of: dt.datetime) -> pl.DataFrame:
    """The one running experiment, by lead, on mails."""
    return pl.DataFrame(
        {
            "ab_test_id": [_test_id(spec)],
            "name": ["Sender name in mails"],
            "hypothesis": ["A name people can look up brings more bookings"],
            "metric": ["meeting_rate"],
            "status": ["running"],
            "started_at": [_naive(as_of) - dt.timedelta(days=200)],
        }
    )


def ab_variant_rows(spec: ClientSpec) -> pl.DataFrame:
    """Its two arms."""
    return pl.DataFrame({"ab_test_id": [_test_id(spec)] * 2, "name": ["A", "B"]})


def lead_rows(
    spec: ClientSpec,
    population: Population,
    scores: FirstScores,
    outcomes: Outcomes,
    plan: Plan,
    touches: Touches,
    replies: pl.DataFrame,
    meetings: pl.DataFrame,
    deals: pl.DataFrame,
    campaign: pl.Series,
    as_of: np.datetime64,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Leads with the state that is known at `as_of`."""
    n = spec.leads
    ended = ~np.isnat(touches.answered_at) & (touches.answered_at <= as_of)
    row_of_end = np.full(n, -1)
    row_of_end[touches.lead[ended]] = np.flatnonzero(ended)
    has_end = row_of_end >= 0
    ended_at = np.where(has_end, touches.answered_at[row_of_end], _NEVER)
    refused = has_end & (outcomes.refused_by >= 0)
    stopped = has_end & (outcomes.unsubscribed_by >= 0)
    bounced = np.zeros(n, dtype=bool)
    bounced[touches.lead[touches.bounced]] = True
    booked, won = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    booked[meetings["lead"].to_numpy()] = True
    won[deals.filter(pl.col("won"))["lead"].to_numpy()] = True

    sent = np.bincount(touches.lead, minlength=n)
    last = np.full(n, _NEVER)
    last[touches.lead] = touches.sent_at  # rows are in time order within a lead
    untouched_end = ~(outcomes.converted_by >= 0) & ~refused & ~stopped & ~bounced
    through = untouched_end & (sent > 0) & (sent == plan.planned.sum(axis=1))
    completed = np.where(through & (last + 2 * _DAY <= as_of), last + 2 * _DAY, _NEVER)

    early = np.array(["new", "enriched", "scored"])[rng.integers(3, size=n)]
    status = np.where(sent > 0, "in_sequence", early)
    for flags, name in (
        (~np.isnat(completed), "exhausted"),
        (refused, "not_interested"),
        (stopped, "unsubscribed"),
        (bounced, "bounced"),
        (booked, "meeting_booked"),
        (won, "converted"),
    ):
        status = np.where(flags, name, status)

    first = np.full(n, _NEVER)
    opening = touches.touch == 0
    first[touches.lead[opening]] = touches.sent_at[opening]
    created = np.where(np.isnat(first), as_of - _DAY, first)
    created = created - (rng.random(n) * 20 * 86_400e6).astype(np.int64).astype("timedelta64[us]")
    scored = (sent > 0) | (status == "scored")
    scored_at = np.where(scored, np.where(np.isnat(first), as_of - _DAY // 2, first), _NEVER)
    reasons = _reasons(replies, touches, n)
    components = _components_json(scores.points)
    return population.leads.with_columns(
        campaign_id=campaign,
        technologies=pl.col("technologies").fill_null([]),
        employment_history=pl.col("employment_history").fill_null("[]"),
        status=pl.Series(status),
        bounce_count=pl.Series(bounced.astype(np.int64)),
        unsubscribed=pl.Series(stopped),
        sequence_completed_at=pl.Series(completed),
        rejection_reason=pl.when(pl.Series(refused)).then(
            reasons["rejection_reason"].fill_null("not_interested_generic")
        ),
        rejected_at=pl.Series(np.where(refused, ended_at, _NEVER)),
        objections=reasons["objections"].fill_null([]),
        current_sequence_step=pl.Series(sent),
        score=pl.when(pl.Series(scored)).then(pl.Series(scores.score)),
        tier=pl.when(pl.Series(scored)).then(pl.Series(list(TIERS)).gather(scores.tier)),
        components=pl.when(pl.Series(scored)).then(components),
        weights_used=pl.when(pl.Series(scored)).then(pl.lit(json.dumps(DEFAULT_WEIGHTS.as_dict()))),
        weights_source=pl.when(pl.Series(scored)).then(pl.lit("default")),
        scored_at=pl.Series(scored_at),
        score_as_of=pl.Series(scored_at),
        scorer_version=pl.when(pl.Series(scored)).then(pl.lit(SCORER_VERSION)),
        components_at_first_touch=pl.when(pl.Series(sent > 0)).then(components),
        created_at=pl.Series(created),
    )


def activity_rows(
    spec: ClientSpec,
    plan: Plan,
    outcomes: Outcomes,
    touches: Touches,
    messages: pl.DataFrame,
    leads: pl.DataFrame,
    campaign: pl.Series,
    as_of: np.datetime64,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Every touch, and every unsubscribing."""
    lead = touches.lead
    mails = pl.Series(touches.channel == CHANNELS.index("email"))
    variant = pl.Series(["A", "B"]).gather(plan.variant[lead])
    sent = pl.DataFrame(
        {
            "activity_id": touches.activity_id,
            "lead_id": leads["lead_id"].gather(lead),
            "campaign_id": campaign.gather(lead),
            "channel": pl.Series(list(CHANNELS)).gather(touches.channel),
            "occurred_at": touches.sent_at,
            "sequence_step": touches.touch + 1,
            "subject": messages["subject"],
            "full_message_body": messages["body"],
            "template_id": messages["template_id"],
            "links_included": messages["links"],
            "ai_model_used": messages["ai_model"],
            "prompt_version": messages["prompt_version"],
            "content_snapshot": messages["content_snapshot"],
        }
    ).with_columns(
        action=pl.lit("sent"),
        ab_test_id=pl.when(mails).then(pl.lit(_test_id(spec))),
        ab_variant=pl.when(mails).then(variant),
    )
    stopped = outcomes.unsubscribed_by[lead] == touches.touch
    stopped = np.flatnonzero(stopped & (touches.answered_at <= as_of))
    left = sent[stopped].select(
        "lead_id",
        "campaign_id",
        "channel",
        activity_id=uuids(rng, len(stopped)),
        about_activity_id="activity_id",
        occurred_at=pl.Series(touches.answered_at[stopped]),
        action=pl.lit("unsubscribed"),
    )
    both = pl.concat([sent, left], how="diagonal")
    return both.with_columns(pl.col("links_included").fill_null([]))


def event_rows(
    touches: Touches, events: pl.DataFrame, leads: pl.DataFrame, rng: np.random.Generator
) -> pl.DataFrame:
    """E-mail events; which of them are a machine's is for the database to find out."""
    row = events["row"]
    return events.select(
        "event_type",
        "occurred_at",
        "user_agent",
        "clicked_url",
        "bounce_class",
        event_id=uuids(rng, len(events)),
        provider=pl.lit("simulated"),
        activity_id=touches.activity_id.gather(row),
        lead_id=leads["lead_id"].gather(touches.lead[row.to_numpy()]),
    )


def reply_rows(
    replies: pl.DataFrame, thread_of_reply: pl.DataFrame, touches: Touches, leads: pl.DataFrame
) -> pl.DataFrame:
    """Replies, with the touch they answer."""
    row = replies["row"].to_numpy()
    joined = replies.join(thread_of_reply, on="reply_id", how="left", maintain_order="left")
    return joined.select(
        "reply_id",
        "thread_id",
        "received_at",
        "content",
        "intent",
        "objection_type",
        "sentiment",
        "sentiment_score",
        "question_extracted",
        activity_id=touches.activity_id.gather(row),
        lead_id=leads["lead_id"].gather(touches.lead[row]),
        channel=pl.Series(list(CHANNELS)).gather(touches.channel[row]),
        classified_at="received_at",
        intent_confidence=pl.lit(0.9),
    )


def _reasons(replies: pl.DataFrame, touches: Touches, n: int) -> pl.DataFrame:
    """Rejection reason and objections of each lead, from what it wrote; one row a lead."""
    said = replies.filter(pl.col("kind") == "no")
    said = said.with_columns(lead=pl.Series(touches.lead[said["row"].to_numpy()]))
    per_lead = said.group_by("lead").agg(
        pl.col("rejection_reason").last(), objections=pl.col("objection_type").drop_nulls()
    )
    every = pl.DataFrame({"lead": np.arange(n)})
    return every.join(per_lead, on="lead", how="left", maintain_order="left")


def _components_json(points: Codes) -> pl.Series:
    columns = pl.DataFrame({name: points[:, k] for k, name in enumerate(COMPONENTS)})
    return columns.select(pl.struct(pl.all()).struct.json_encode()).to_series()


def _test_id(spec: ClientSpec) -> str:
    return f"{spec.client_id}-sender-name"


def _naive(instant: dt.datetime) -> dt.datetime:
    return instant.astimezone(dt.UTC).replace(tzinfo=None)
