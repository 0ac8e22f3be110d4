"""A simulated client as the dataset a learning run looks at, without a database.

Derived columns follow the rules of `persistence.rederive`, frames those of `persistence.dataset`; a
test holds the two ways against each other on a real Postgres.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib

import polars as pl

from cis_server.demo.simulator import Simulation
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.machine_signals import (
    FAST_CLICK_SECONDS,
    FAST_OPEN_SECONDS,
    PRIVACY_PROXIES,
    SCANNERS,
)
from cis_server.persistence.dataset import COLUMNS, content_hash

_AUTOMATIC = ("out_of_office", "auto_reply")
_IN_ORDER = ("lead_id", "occurred_at", "sequence_step", "activity_id")


def to_dataset(simulation: Simulation, client_id: str, window: Window) -> Dataset:
    """The tables of one client for one run.

    Args:
        simulation: holds the client.
        client_id: which one.
        window: what to look at; `window.as_of` is not before the simulation's own.

    Raises:
        ValueError: the window ends before the simulation does: what was known then is found by
            simulating up to that instant, not by cutting.
    """
    if window.as_of < simulation.as_of:
        raise ValueError("simulate up to the end of the window instead of cutting it")
    tables = {
        name: frame.filter(pl.col("client_id") == client_id)
        for name, frame in simulation.tables.items()
    }
    events = _judged_events(tables)
    activities = _activities(tables, events)
    touched = activities.filter(pl.col("action") == "sent")
    seen = pl.col("occurred_at") >= window.start
    leads = _leads(tables, touched)
    recent = touched.filter(seen)["lead_id"].unique()
    stopped = activities.filter(seen & (pl.col("action") == "unsubscribed"))["lead_id"]
    leads = leads.filter(
        pl.col("lead_id").is_in(recent.implode())
        | pl.col("lead_id").is_in(stopped.implode())
        | (pl.max_horizontal("converted_at", "sequence_completed_at", "ended_at") >= window.start)
    )
    inside = pl.col("lead_id").is_in(leads["lead_id"].implode())
    threads, messages = _threads(tables, window)
    keys = ("lead_id", "occurred_at", "activity_id")
    dataset = Dataset(
        client_id=client_id,
        window=window,
        leads=_ordered("leads", leads.sort("lead_id")),
        activities=_ordered("activities", activities.filter(seen & inside).sort(keys)),
        email_events=_ordered("email_events", events.filter(seen & inside)),
        meetings=_ordered(
            "meetings",
            _meetings(tables, touched, window.as_of).filter(pl.col("booked_at") >= window.start),
        ),
        deals=_ordered("deals", _deals(tables, touched)),
        deal_stages=_ordered("deal_stages", _deal_stages(tables)),
        threads=_ordered("threads", threads),
        messages=_ordered("messages", messages),
    )
    return dataclasses.replace(dataset, content_hash=content_hash(dataset))


def _ordered(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of a frame of the dataset, in their order."""
    return frame.select(list(COLUMNS[name]))


def _judged_events(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """E-mail events in order, with ``is_machine``."""
    events = tables["email_events"]
    delivered = (
        events.filter(pl.col("event_type") == "delivered")
        .group_by("activity_id")
        .agg(delivered_at=pl.col("occurred_at").min())
    )
    seconds = (pl.col("occurred_at") - pl.col("delivered_at")).dt.total_milliseconds() / 1_000
    agent = pl.col("user_agent").fill_null("")
    opened, clicked = pl.col("event_type") == "opened", pl.col("event_type") == "clicked"
    machine = (
        (opened & agent.str.contains(_pattern(PRIVACY_PROXIES)))
        | ((opened | clicked) & agent.str.contains(_pattern(SCANNERS)))
        | (opened & (seconds < FAST_OPEN_SECONDS))
        | (clicked & (seconds < FAST_CLICK_SECONDS))
    )
    judged = events.join(delivered, on="activity_id", how="left", maintain_order="left")
    return judged.with_columns(is_machine=machine.fill_null(False)).sort(
        "lead_id", "occurred_at", "activity_id", "event_type"
    )


def _pattern(words: tuple[str, ...]) -> str:
    # Postgres writes a word boundary as \y.
    return "(?i)" + "|".join(words).replace("\\y", "\\b")


def _activities(tables: dict[str, pl.DataFrame], events: pl.DataFrame) -> pl.DataFrame:
    leads = tables["leads"].select("lead_id", "timezone")
    booked = tables["meetings"].group_by("lead_id").agg(converted_at=pl.col("booked_at").min())
    replied = (
        tables["replies"]
        .filter(~pl.col("intent").is_in(_AUTOMATIC))
        .group_by("activity_id")
        .agg(replied_at=pl.col("received_at").min())
    )
    rows = (
        tables["activities"]
        .join(leads, on="lead_id", how="left")
        .join(booked, on="lead_id", how="left")
        .join(_engagement(events), on="activity_id", how="left")
        .join(replied, on="activity_id", how="left")
        .sort(_IN_ORDER)
    )
    sent = pl.col("action") == "sent"
    before = sent & (pl.col("occurred_at") <= pl.col("converted_at")).fill_null(False)
    place = pl.int_range(pl.len())
    rows = rows.with_columns(
        touch_number=pl.when(sent).then(sent.cum_sum().over("lead_id")).cast(pl.Int64),
        previous=pl.when(sent).then("occurred_at").forward_fill().shift(1).over("lead_id"),
        last_before=pl.when(before).then(place).max().over("lead_id"),
        place=place.over("lead_id"),
    )
    local = [_local(rows, zone) for zone in rows["timezone"].unique().drop_nulls().sort()]
    clock = pl.concat(local) if local else _no_clock(rows)
    rows = rows.join(clock, on="activity_id", how="left", maintain_order="left")
    return rows.with_columns(
        gap_days=pl.when(sent).then(_between("previous", "occurred_at", 86_400)),
        converting=(before & (pl.col("place") == pl.col("last_before"))).fill_null(False),
        machine_open=pl.col("machine_open").fill_null(False),
        minutes_to_open=_between("occurred_at", "human_opened_at", 60),
        minutes_to_click=_between("occurred_at", "human_clicked_at", 60),
        minutes_to_reply=_between("occurred_at", "replied_at", 60),
        time_precision=pl.lit("instant"),
        lead_timezone="timezone",
        ai_model="ai_model_used",
        links=pl.col("links_included").list.len().cast(pl.Int64),
        content="content_snapshot",
    )


def _engagement(events: pl.DataFrame) -> pl.DataFrame:
    opened, clicked = pl.col("event_type") == "opened", pl.col("event_type") == "clicked"
    person, at = ~pl.col("is_machine"), pl.col("occurred_at")
    return events.group_by("activity_id").agg(
        human_opened_at=at.filter(opened & person).min(),
        human_clicked_at=at.filter(clicked & person).min(),
        machine_open=pl.col("is_machine").filter(opened).any(),
    )


def _local(rows: pl.DataFrame, zone: str) -> pl.DataFrame:
    here = rows.filter(pl.col("timezone") == zone)
    clock = pl.col("occurred_at").dt.convert_time_zone(zone)
    return here.select(
        "activity_id",
        local_weekday=clock.dt.weekday().cast(pl.Int64),
        local_hour=clock.dt.hour().cast(pl.Int64),
    )


def _no_clock(rows: pl.DataFrame) -> pl.DataFrame:
    empty = pl.lit(None, dtype=pl.Int64)
    return rows.select("activity_id", local_weekday=empty, local_hour=empty)


def _between(start: str, end: str, unit_seconds: int) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).dt.total_microseconds() / (1e6 * unit_seconds)


def _leads(tables: dict[str, pl.DataFrame], touched: pl.DataFrame) -> pl.DataFrame:
    first = touched.group_by("lead_id").agg(first_contacted_at=pl.col("occurred_at").min())
    booked = tables["meetings"].group_by("lead_id").agg(converted_at=pl.col("booked_at").min())
    bounced = tables["email_events"].filter(pl.col("event_type") == "bounced")["lead_id"].unique()
    rows = tables["leads"].join(first, on="lead_id", how="left")
    rows = rows.join(booked, on="lead_id", how="left")
    contacted = pl.col("first_contacted_at").is_not_null()
    return rows.select(
        *("lead_id", "campaign_id", "status", "title", "seniority", "industry"),
        *("employee_count", "revenue", "total_funding"),
        pl.when(pl.col("technologies").list.len() > 0).then("technologies"),
        *("latest_funding_stage", "latest_funding_date", "employment_start_date", "is_hiring"),
        *("founded_year", "city", "region", "country", "person_city", "person_region"),
        *("person_country", "timezone", "email_status"),
        pl.col("email").is_not_null().alias("has_email"),
        pl.col("phone").is_not_null().alias("has_phone"),
        "phone_verified",
        pl.col("linkedin_url").is_not_null().alias("has_linkedin"),
        pl.col("personal_email").is_not_null().alias("has_personal_email"),
        "call_register_listed",
        pl.max_horizontal(
            "bounce_count", pl.col("lead_id").is_in(bounced.implode()).cast(pl.Int64)
        ).alias("bounce_count"),
        "unsubscribed",
        pl.lit(False).alias("do_not_contact"),
        _hashed(rows["domain"]).alias("company_key"),
        *("employment_history", "attributes", "objections", "rejection_reason", "created_at"),
        *("first_contacted_at", "converted_at", "sequence_completed_at"),
        pl.col("rejected_at").alias("ended_at"),
        pl.when(pl.col("converted_at").is_not_null())
        .then(pl.lit("meeting_booked"))
        .alias("conversion_type"),
        pl.when(contacted).then("score").alias("score"),
        pl.when(contacted).then("tier").alias("tier"),
        pl.col("components_at_first_touch").alias("components"),
    )


def _hashed(domains: pl.Series) -> pl.Series:
    keys = {
        domain: hashlib.blake2b(domain.encode(), digest_size=8).hexdigest()
        for domain in domains.unique().drop_nulls()
    }
    return domains.replace_strict(keys, default=None, return_dtype=pl.String)


def _meetings(
    tables: dict[str, pl.DataFrame], touched: pl.DataFrame, as_of: dt.datetime
) -> pl.DataFrame:
    deals = tables["deals"].group_by("meeting_id").agg(pl.col("deal_id").min())
    touches = touched.select("lead_id", "occurred_at", converting_channel="channel")
    rows = tables["meetings"].join(deals, on="meeting_id", how="left").sort("booked_at")
    rows = rows.join_asof(
        touches.sort("occurred_at"),
        left_on="booked_at",
        right_on="occurred_at",
        by="lead_id",
        check_sortedness=False,
    )
    # A meeting still to come has no outcome yet, not even a pending one.
    ahead = pl.coalesce("outcome_at", "scheduled_at") > as_of
    return rows.with_columns(outcome=pl.when(ahead).then(None).otherwise(pl.col("outcome"))).sort(
        "meeting_id"
    )


def _deals(tables: dict[str, pl.DataFrame], touched: pl.DataFrame) -> pl.DataFrame:
    first = touched.filter(pl.col("touch_number") == 1).select(
        "lead_id", first_touch_channel="channel"
    )
    deals = tables["deals"]
    before = (
        deals.select("deal_id", "lead_id", "opened_at")
        .join(touched.select("lead_id", "occurred_at"), on="lead_id")
        .filter(pl.col("occurred_at") <= pl.col("opened_at"))
        .group_by("deal_id")
        .agg(touches_before_deal=pl.len().cast(pl.Int64))
    )
    won = (
        pl.when(pl.col("stage") == "closed_won").then(True)
        .when(pl.col("stage") == "closed_lost").then(False)
    )  # fmt: skip
    return (
        deals.join(first, on="lead_id", how="left")
        .join(before, on="deal_id", how="left")
        .select(
            *("deal_id", "lead_id", "meeting_id", "currency", "stage", "lost_reason"),
            *("first_touch_channel", "value"),
            won.alias("won"),
            pl.col("opened_at").alias("created_at"),
            "closed_at",
            pl.col("touches_before_deal").fill_null(0),
        )
        .sort("deal_id")
    )


def _deal_stages(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    rows = tables["deal_stage_history"].sort("deal_id", "changed_at")
    before = pl.col("changed_at").shift(1).over("deal_id")
    return rows.select(
        *("deal_id", "from_stage", "to_stage", "changed_at"),
        days_in_previous_stage=(pl.col("changed_at") - before).dt.total_microseconds()
        / (86_400 * 1e6),
    )


def _threads(tables: dict[str, pl.DataFrame], window: Window) -> tuple[pl.DataFrame, pl.DataFrame]:
    threads = tables["conversation_threads"].filter(pl.col("started_at") >= window.start)
    messages = tables["thread_messages"].sort("thread_id", "sent_at", "message_id")
    messages = messages.filter(pl.col("thread_id").is_in(threads["thread_id"].implode()))
    before = pl.col("sent_at").shift(1).over("thread_id")
    answers = pl.col("direction") != pl.col("direction").shift(1).over("thread_id")
    minutes = (pl.col("sent_at") - before).dt.total_microseconds() / 6e7
    messages = messages.select(
        "thread_id",
        "direction",
        "intent",
        objection="objection_type",
        sentiment="sentiment",
        sentiment_score="sentiment_score",
        sent_at="sent_at",
        response_minutes=pl.when(answers).then(minutes),
        position=pl.col("sent_at").cum_count().over("thread_id").cast(pl.Int64),
        question_key=pl.col("question_extracted").str.to_lowercase().str.strip_chars(" ?.!"),
    )
    ours = pl.col("direction") == "outbound"
    counts = messages.group_by("thread_id").agg(
        message_count=pl.len().cast(pl.Int64),
        our_message_count=ours.sum().cast(pl.Int64),
        their_message_count=(~ours).sum().cast(pl.Int64),
    )
    threads = threads.join(counts, on="thread_id", how="left").select(
        *("thread_id", "lead_id", "channel", "status", "outcome"),
        pl.col("started_at").alias("created_at"),
        *("outcome_at", "message_count", "our_message_count", "their_message_count"),
        pl.col("escalated_to_human").alias("escalated"),
    )
    return threads.sort("thread_id"), messages
