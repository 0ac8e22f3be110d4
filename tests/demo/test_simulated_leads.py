"""The words of simulated leads and messages mean what the tables say they mean."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cis_server.demo import catalogue, writing
from cis_server.demo.demo_clients import demo_clients
from cis_server.demo.outreach import to_local, to_utc
from cis_server.demo.replies import REPLIES
from cis_server.demo.simulator import Simulation, simulate
from cis_server.domain.lead import Lead
from cis_server.domain.local_time import earliest_instant, find_zone
from cis_server.domain.titles import parse_title
from cis_server.domain.vocabulary import (
    EmailStatus,
    Objection,
    RejectionReason,
    ReplyIntent,
    Sentiment,
)
from cis_server.scoring.components import components_of
from cis_server.scoring.icp import matcher

PAIN_WORDS = {
    "leads": "leads pipeline prospects opportunities qualified mql sql inbound",
    "revenue": "revenue sales growth roi profit income deals closed won booking",
    "time": "time hours manual automate efficiency busy overwhelmed tedious repetitive",
    "scaling": "scale scaling capacity bandwidth hire team expand growing bottleneck",
    "competition": "competitors competition losing threat outpace",
    "cost": "cost expensive budget waste spending save afford price investment",
    "quality": "quality results performance outcomes better improve consistent reliable",
    "clients": "clients customers retention churn satisfaction referrals testimonials reviews",
}
ANGLE_WORDS = {
    "roi_focused": "roi return revenue profit save increase boost",
    "social_proof": "case study",
    "curiosity": "noticed wondering curious",
    "fear_based": "missing out, losing, risk, problem, struggle",
    "value_add": "free complimentary audit analysis",
    "authority": "expert specialist experience trusted leading",
}


@pytest.mark.parametrize("row", catalogue.TITLES, ids=lambda row: row.text)
def test_titles_are_worth_what_the_parser_says(row: catalogue.TitleWord) -> None:
    parsed = parse_title(row.text)
    assert parsed.points == row.authority
    assert parsed.level == row.level


def test_first_scores_are_the_scorers_own(two_small: Simulation) -> None:
    spec = two_small.clients[0]
    rows = two_small.tables["leads"].filter(pl.col("client_id") == spec.client_id)
    first = two_small.tables["activities"].filter(pl.col("sequence_step") == 1)
    day = first.select("lead_id", day=pl.col("occurred_at").dt.date())
    rows = rows.join(day, on="lead_id")
    names = {field.name for field in dataclasses.fields(Lead)} - {
        *("status", "bounce_count", "unsubscribed", "do_not_contact", "attributes"),
        *("employment_history", "technologies"),
    }
    agreeing = 0
    for row in rows.iter_rows(named=True):
        given = {name: row[name] for name in names if name in row}
        given["email_status"] = EmailStatus(given["email_status"])
        components = components_of(Lead(**given), icp=matcher(spec.icp), as_of=row["day"])
        stored = json.loads(row["components_at_first_touch"])
        # The plan's day is the lead's own and may be one off the day in UTC.
        steady = ("data_quality", "authority", "company_fit", "risk")
        assert all(getattr(components, name) == stored[name] for name in steady)
        agreeing += components.timing == stored["timing"]
    assert agreeing > 0.97 * len(rows) > 100


def _has(words: str, text: str) -> bool:
    phrases = words.split(", ") if "," in words else words.split()
    if words == "case study":
        phrases = [words]
    return any(re.search(rf"\b{re.escape(phrase)}\b", text, re.IGNORECASE) for phrase in phrases)


def test_sentences_carry_their_own_category_and_no_other() -> None:
    for name, text in writing.PAIN_POINTS:
        assert {other for other, words in PAIN_WORDS.items() if _has(words, text)} == {name}
        assert not [other for other, words in ANGLE_WORDS.items() if _has(words, text)]
    for name, text in writing.ANGLES:
        found = {other for other, words in ANGLE_WORDS.items() if _has(words, text)}
        assert found == ({name} & set(ANGLE_WORDS))
        assert not [other for other, words in PAIN_WORDS.items() if _has(words, text)]
    for phrase, _, text in writing.CTAS:
        assert [other for other, _, _ in writing.CTAS if other in text.lower()] == [phrase]
        assert not [other for other, words in PAIN_WORDS.items() if _has(words, text)]


def test_bodies_match_their_snapshots(two_small: Simulation) -> None:
    sent = two_small.tables["activities"].filter(pl.col("action") == "sent")
    leads = two_small.tables["leads"].select("client_id", "lead_id", "first_name", "company_name")
    rows = sent.join(leads, on=["client_id", "lead_id"]).sample(400, seed=3)
    pains, angles = dict(writing.PAIN_POINTS), dict(writing.ANGLES)
    for row in rows.iter_rows(named=True):
        body, snapshot = row["full_message_body"], json.loads(row["content_snapshot"])
        written = re.split(r"\n(?:https://|\w+(?: \w+)?,\nAlex)", body)[0]
        assert snapshot["word_count"] == len(written.split())
        assert snapshot["char_count"] == len(written)
        assert snapshot["question_count"] == body.count("?")
        assert snapshot["link_count"] == body.count("https://") == len(row["links_included"])
        assert [name for name, text in pains.items() if text in body] == snapshot[
            "pain_points_used"
        ]
        assert [name for name, text in angles.items() if text in body] == snapshot["angles"]
        assert snapshot["cta_used"] in body.lower()
        assert snapshot["has_company_mention"] == (f"following {row['company_name']}." in body)
        assert snapshot["has_first_name"] == body.startswith(f"Hi {row['first_name']},")
        assert (row["subject"] is not None) == ("subject_patterns" in snapshot)


def test_lengths_stay_within_what_a_channel_carries(two_small: Simulation) -> None:
    sent = two_small.tables["activities"].filter(pl.col("action") == "sent")
    words = sent.with_columns(n=pl.col("full_message_body").str.count_matches(r"\S+"))
    longest = dict(words.group_by("channel").agg(pl.col("n").max()).iter_rows())
    assert longest["sms"] < longest["linkedin"] < longest["email"]


def test_replies_use_the_shared_vocabulary() -> None:
    for reply in REPLIES:
        ReplyIntent(reply.intent)
        Sentiment(reply.sentiment)
        assert reply.objection is None or Objection(reply.objection)
        assert reply.rejection is None or RejectionReason(reply.rejection)
        assert -1 <= reply.sentiment_score <= 1


PLACE = {row.timezone: code for code, row in enumerate(catalogue.PLACES)}


def _utc(local: dt.datetime, zone: str) -> dt.datetime:
    moment = to_utc(np.array([local], dtype="datetime64[us]"), np.array([PLACE[zone]]))
    return moment[0].item().replace(tzinfo=dt.UTC)


@given(
    st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2028, 1, 1)),  # noqa: DTZ001
    st.sampled_from(sorted(PLACE)),
)
def test_local_times_become_the_instants_the_zone_says(local: dt.datetime, zone: str) -> None:
    rules = find_zone(zone)
    assert rules is not None
    exact = earliest_instant(local, rules)
    shown = exact.astimezone(rules).replace(tzinfo=None)
    if shown == local:
        assert _utc(local, zone) == exact
    else:  # the hour that daylight saving skips
        moved = _utc(local, zone).astimezone(rules).replace(tzinfo=None)
        assert moved == local + dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("local", "zone", "utc"),
    [
        # Clocks in Sydney jump from 02:00 to 03:00 on 4 October 2026 and back on 5 April.
        ("2026-10-04T02:30", "Australia/Sydney", "2026-10-03T16:30"),
        ("2026-04-05T02:30", "Australia/Sydney", "2026-04-04T15:30"),
        ("2026-03-08T02:30", "America/New_York", "2026-03-08T07:30"),
        ("2026-03-08T09:00", "America/New_York", "2026-03-08T13:00"),
        ("2026-03-07T09:00", "America/New_York", "2026-03-07T14:00"),
        ("2026-10-04T09:00", "Australia/Perth", "2026-10-04T01:00"),
    ],
)
def test_daylight_saving_days(local: str, zone: str, utc: str) -> None:
    found = _utc(dt.datetime.fromisoformat(local), zone)
    assert found == dt.datetime.fromisoformat(utc).replace(tzinfo=dt.UTC)


def test_instants_come_back_to_the_same_clock() -> None:
    rng = np.random.default_rng(1)
    place = rng.integers(len(catalogue.PLACES), size=(500, 3))
    minutes = rng.integers(0, 4 * 365 * 1_440, size=(500, 3)).astype("timedelta64[m]")
    instants = np.datetime64("2024-01-01", "us") + minutes.astype("timedelta64[us]")
    clocks = to_local(instants, place)
    again = to_utc(clocks, place)
    # Only an hour that comes twice can come back as its first passing, one hour earlier.
    lag = (instants - again) / np.timedelta64(1, "h")
    assert set(np.unique(lag)) <= {0.0, 1.0}
    assert (lag == 0).mean() > 0.995


def test_the_demonstration_clients_want_opposite_things() -> None:
    as_of = dt.datetime(2026, 1, 21, tzinfo=dt.UTC)
    simulation = simulate(demo_clients(), seed=7, as_of=as_of)
    acme, globex = simulation.truth["acme"], simulation.truth["globex"]
    assert acme.implied_weights["authority"] > 0.4 > 0.1 > globex.implied_weights["authority"]
    assert acme.lead_rates["title_level"]["founder"].lift > 3
    assert globex.lead_rates["title_level"]["founder"].lift < 0.7
    assert globex.lead_rates["title_level"]["director"].lift > 2
    assert acme.lead_rates["first_channel"]["linkedin"].lift > 1.5
    assert globex.touch_rates["channel"]["voice"].lift > 2
    assert acme.peak_hour == pytest.approx(10, abs=0.5)
    assert globex.peak_hour == pytest.approx(15, abs=0.5)
    booked = simulation.tables["meetings"].filter(
        pl.col("booked_at") >= as_of - dt.timedelta(days=90)
    )
    assert min(booked["client_id"].value_counts()["count"]) >= 60


def test_leads_have_gaps_as_real_ones_do(planted: Simulation) -> None:
    leads = planted.tables["leads"]
    for column in ("title", "industry", "employee_count", "is_hiring", "timezone", "phone"):
        assert 0.01 < leads[column].null_count() / len(leads) < 0.5, column
    assert leads["title"].n_unique() > 30
    reachable = leads["email"].is_not_null() | leads["linkedin_url"].is_not_null()
    assert reachable.all()
    assert leads["email"].drop_nulls().is_unique().all()
