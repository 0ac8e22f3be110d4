"""The hard gate, the resident lists and the channels that single facts close."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cis_server.domain.lead import Lead
from cis_server.domain.suppression import IdentifierKind, host_name, suppression_key, with_parents
from cis_server.domain.vocabulary import EmailStatus, LeadStatus, Tier
from cis_server.scoring.scorer import score_lead
from cis_server.scoring.suppression import (
    NO_SUPPRESSION,
    SuppressionIndex,
    competitor_set,
    gate_reason,
    gate_reasons,
)

SECRET = b"a key of the installation"
AS_OF = dt.date(2026, 1, 21)

FLAWLESS = Lead(
    lead_id="L1",
    email="Ann@Sales.X.example",
    email_status=EmailStatus.VERIFIED,
    phone="+61 400 000 000",
    phone_verified=True,
    linkedin_url="https://linkedin.com/in/ann",
    personal_email="ann@home.example",
    postal_address="1 High Street",
    domain="https://www.x.example/about",
    title="CEO",
    industry="Technology",
    employee_count=25,
    country="Australia",
    employment_start_date=dt.date(2025, 12, 1),
    is_hiring=True,
    latest_funding_date=dt.date(2025, 12, 1),
)
ALL = ("email", "sms", "linkedin", "voice", "mail")


def changed(**facts: Any) -> Lead:
    return dataclasses.replace(FLAWLESS, **facts)


def listed(*entries: tuple[IdentifierKind, str]) -> SuppressionIndex:
    return SuppressionIndex.build(
        [suppression_key(kind, value, SECRET) for kind, value in entries], SECRET
    )


def test_the_flawless_lead_is_open_on_every_channel() -> None:
    score = score_lead(FLAWLESS, as_of=AS_OF)
    assert (score.score, score.tier, score.channels) == (100, Tier.HOT, ALL)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"unsubscribed": True}, "unsubscribed"),
        ({"status": LeadStatus.UNSUBSCRIBED}, "unsubscribed"),
        ({"do_not_contact": True}, "do_not_contact"),
        ({"domain": "RIVAL.example"}, "competitor_domain"),
        ({"domain": "shop.rival.example"}, "competitor_domain"),
        ({"domain": None, "email": "a@eu.Rival.example"}, "competitor_domain"),
    ],
)
def test_the_gate_closes_every_channel_whatever_the_score(
    facts: dict[str, Any], reason: str
) -> None:
    score = score_lead(
        changed(**facts), as_of=AS_OF, competitor_domains=("https://www.Rival.example/",)
    )
    assert score.suppressed
    assert score.suppression_reason == reason
    assert score.tier is Tier.DEAD
    assert score.score >= 85
    assert score.tier_channels == score.channels == ()


@pytest.mark.parametrize("domain", ["arrival.example", "rival.example.org", "example"])
def test_a_domain_that_only_looks_like_a_competitor_is_none(domain: str) -> None:
    rivals = competitor_set(("rival.example",))
    assert gate_reason(changed(domain=domain, email=None), rivals) is None


@pytest.mark.parametrize(
    "entry",
    [
        (IdentifierKind.EMAIL, " ann@sales.x.EXAMPLE "),
        (IdentifierKind.EMAIL, "ANN@home.example"),
        (IdentifierKind.DOMAIN, "x.example"),
        (IdentifierKind.DOMAIN, "sales.X.example"),
        (IdentifierKind.DOMAIN, "home.example"),
        (IdentifierKind.PHONE, "0061-400 000 000"),
        (IdentifierKind.LEAD_ID, "L1"),
    ],
)
def test_any_listed_identifier_of_the_lead_closes_the_gate(
    entry: tuple[IdentifierKind, str],
) -> None:
    index = listed(entry)
    score = score_lead(FLAWLESS, as_of=AS_OF, suppression=index)
    assert score.suppression_reason == "suppression_list"
    assert score.channels == ()
    other = changed(
        lead_id="L2", email="b@y.example", personal_email=None, phone="123456", domain="y.example"
    )
    assert not score_lead(other, as_of=AS_OF, suppression=index).suppressed


def test_kinds_do_not_meet() -> None:
    index = listed((IdentifierKind.LEAD_ID, "x.example"), (IdentifierKind.EMAIL, "x.example"))
    assert not index.contains(IdentifierKind.DOMAIN, "x.example")
    assert index.contains(IdentifierKind.LEAD_ID, "x.example")


def test_another_secret_gives_other_keys() -> None:
    key = suppression_key(IdentifierKind.EMAIL, "a@x.example", SECRET)
    assert key != suppression_key(IdentifierKind.EMAIL, "a@x.example", b"another")
    assert 0 <= key < 2**64


def test_client_and_global_list_count_both_and_share_their_arrays() -> None:
    world = listed((IdentifierKind.EMAIL, "a@x.example"))
    own = listed((IdentifierKind.PHONE, "12345"))
    both = own.merged(world)
    assert both.contains(IdentifierKind.EMAIL, "A@x.example")
    assert both.contains(IdentifierKind.PHONE, "1 23 45")
    assert not own.contains(IdentifierKind.EMAIL, "a@x.example")
    assert both.lists[1] is world.lists[0]
    assert len(both) == 2
    assert NO_SUPPRESSION.merged(world).contains(IdentifierKind.EMAIL, "a@x.example")


def test_lists_of_different_secrets_cannot_be_merged() -> None:
    other = SuppressionIndex.build([1], b"other")
    with pytest.raises(ValueError, match="different keys"):
        listed((IdentifierKind.EMAIL, "a@x.example")).merged(other)


@settings(deadline=None)
@given(st.sets(st.integers(0, 2**64 - 1), max_size=50), st.integers(0, 2**64 - 1))
def test_look_up_is_exact_over_the_whole_range_of_64_bits(held: set[int], probe: int) -> None:
    for hashes in (
        list(held),
        np.array(sorted(held), dtype=np.uint64),
        np.array(sorted(held), dtype=np.uint64).view(np.int64),
    ):
        index = SuppressionIndex.build(hashes, SECRET)
        assert all(index.holds_any((value,)) for value in held)
        assert index.holds_any((probe,)) == (probe in held)


def test_many_leads_get_the_reasons_of_each(
    random_lead: Callable[[random.Random], Lead],
) -> None:
    rng = random.Random(3)
    leads = [random_lead(rng) for _ in range(500)]
    index = listed(
        (IdentifierKind.EMAIL, "a@x.example"),
        (IdentifierKind.DOMAIN, "other.example"),
        *((IdentifierKind.LEAD_ID, lead.lead_id) for lead in leads[::50]),
    )
    rivals = competitor_set(("rival.example",))
    expected = [gate_reason(lead, rivals, index) for lead in leads]
    assert gate_reasons(leads, rivals, index) == expected
    assert len(set(expected)) == 5


@pytest.mark.parametrize(
    ("facts", "open_"),
    [
        ({"email_status": EmailStatus.INVALID}, ("sms", "linkedin", "voice", "mail")),
        ({"call_register_listed": True}, ("email", "linkedin", "mail")),
        ({"email": None}, ("sms", "linkedin", "voice", "mail")),
        ({"email": "not an address"}, ("sms", "linkedin", "voice", "mail")),
        ({"phone": None}, ("email", "linkedin", "mail")),
        ({"phone": "n/a"}, ("email", "linkedin", "mail")),
        ({"linkedin_url": "https://linkedin.com/company/x"}, ("email", "sms", "voice", "mail")),
        ({"linkedin_url": "linkedin"}, ("email", "sms", "voice", "mail")),
        ({"postal_address": "  "}, ("email", "sms", "linkedin", "voice")),
        ({"bounce_count": 2}, ALL),
    ],
)
def test_single_facts_close_only_their_own_channels(
    facts: dict[str, Any], open_: tuple[str, ...]
) -> None:
    score = score_lead(changed(**facts), as_of=AS_OF)
    assert not score.suppressed
    assert score.tier is Tier.HOT
    assert score.tier_channels == ALL
    assert score.channels == open_


def test_a_call_register_hit_takes_no_points_and_an_invalid_address_only_its_own() -> None:
    assert score_lead(changed(call_register_listed=True), as_of=AS_OF).score == 100
    assert score_lead(changed(email_status=EmailStatus.INVALID), as_of=AS_OF).score == 92


def test_a_policy_can_open_channels_nobody_here_knows() -> None:
    policy = {"hot": ("whatsapp", "email")}
    score = score_lead(changed(email=None), as_of=AS_OF, tier_channels=policy)
    assert score.tier_channels == ("whatsapp", "email")
    assert score.channels == ("whatsapp",)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://www.Rival.example/about?x=1", "rival.example"),
        ("sales@rival.example", "rival.example"),
        ("rival.example:8080", "rival.example"),
        ("rival.example.", "rival.example"),
        ("  ", None),
        ("https://", None),
    ],
)
def test_host_name(text: str, host: str | None) -> None:
    assert host_name(text) == host


def test_parents_stop_at_two_labels() -> None:
    assert with_parents("a.b.c.example") == ("a.b.c.example", "b.c.example", "c.example")
    assert with_parents("example") == ("example",)
