"""Messages and domain values: nothing is lost on the way there and back."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_server.domain.clients import CampaignRecord, ClientPolicy, ClientRecord, Icp
from cis_server.domain.lead import Job, Lead
from cis_server.domain.vocabulary import (
    EmailStatus,
    LeadStatus,
    Promotion,
    SubscriptionStatus,
)
from cis_server.errors import InvalidInput
from cis_server.rpc.messages.clients import campaign_from_message, client_message, merged_client
from cis_server.rpc.messages.leads import (
    icp_from_message,
    icp_to_message,
    lead_from_message,
    lead_to_message,
)
from cis_server.rpc.messages.runs import learn_options
from cis_server.rpc.messages.values import instant, timestamp

NOW = dt.datetime(2026, 3, 2, 8, 30, 15, 123456, tzinfo=dt.UTC)

words = st.text(min_size=1, max_size=12)
dates = st.dates(dt.date(1000, 1, 1))
counts = st.integers(0, 100_000_000)
amounts = st.floats(0, 1e12)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


BY_TYPE = {
    "str | None": maybe(words),
    "bool | None": maybe(st.booleans()),
    "int | None": maybe(counts),
    "float | None": maybe(amounts),
    "dt.date | None": maybe(dates),
    "str": st.text(max_size=12),
    "EmailStatus": st.sampled_from(EmailStatus),
    "LeadStatus | None": maybe(st.sampled_from(LeadStatus)),
    "tuple[str, ...]": st.lists(words, max_size=3).map(tuple),
    "Mapping[str, str]": st.dictionaries(words, st.text(max_size=12), max_size=3),
}
jobs = st.builds(Job, **{f.name: BY_TYPE[str(f.type)] for f in dataclasses.fields(Job)})
leads = st.builds(
    Lead,
    **{
        f.name: st.lists(jobs, max_size=2).map(tuple)
        if f.name == "employment_history"
        else BY_TYPE[str(f.type)]
        for f in dataclasses.fields(Lead)
    },
)


@given(leads)
def test_a_lead_survives_the_wire(lead: Lead) -> None:
    wire = lead_to_message(lead).SerializeToString()
    assert lead_from_message(core.Lead.FromString(wire), "lead") == lead


def test_empty_text_of_a_lead_means_unknown() -> None:
    message = core.Lead(email="", title="", employment_start_date="", is_hiring=False)
    message.employee_count = 0
    lead = lead_from_message(message, "lead")
    assert lead == Lead(is_hiring=False, employee_count=0)


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (core.Lead(latest_funding_date="soon"), r"leads\[3\]\.latest_funding_date"),
        (
            core.Lead(employment_history=[core.Job(), core.Job(end_date="20200101")]),
            r"leads\[3\]\.employment_history\[1\]\.end_date",
        ),
    ],
)
def test_a_broken_date_is_named(message: core.Lead, path: str) -> None:
    with pytest.raises(InvalidInput, match=path):
        lead_from_message(message, "leads[3]")


icps = st.builds(
    Icp,
    industries=st.lists(words, max_size=3).map(tuple),
    employee_min=st.integers(0, 100),
    employee_max=st.integers(100, 1000),
    countries=st.lists(words, min_size=1, max_size=3).map(tuple),
    titles=st.lists(words, min_size=1, max_size=3).map(tuple),
)


@given(icps)
def test_a_profile_survives_the_wire(icp: Icp) -> None:
    assert icp_from_message(icp_to_message(icp)) == icp


def test_an_empty_profile_is_the_default_one() -> None:
    assert icp_from_message(core.Icp()) == Icp()


STORED = ClientRecord(
    client_id="c",
    name="Acme",
    subscription_status=SubscriptionStatus.PAST_DUE,
    timezone="Europe/Vienna",
    icp=Icp(industries=("banking",), employee_min=10, employee_max=90, titles=("CFO",)),
    competitor_domains=("rival.example",),
    policy=ClientPolicy(
        promotion=Promotion.AUTO,
        pooling=True,
        exploration_share=0.25,
        tier_channels={"hot": ("email", "fax_2")},
        retention_days=90,
    ),
    created_at=NOW,
    updated_at=NOW,
)


def test_a_client_survives_the_wire() -> None:
    message = admin.Client.FromString(client_message(STORED).SerializeToString())
    assert merged_client(message, None, frozenset()) == dataclasses.replace(
        STORED, created_at=None, updated_at=None
    )
    assert message.created_time.ToDatetime(dt.UTC) == NOW


def test_a_new_client_has_the_defaults() -> None:
    assert merged_client(admin.Client(client_id="n"), None, frozenset()) == ClientRecord(
        client_id="n"
    )


def test_without_a_mask_what_is_set_is_written() -> None:
    message = admin.Client(client_id="c", policy=admin.ClientPolicy(pooling=False))
    message.icp.countries.append("Austria")
    changed = merged_client(message, STORED, frozenset())
    assert changed == dataclasses.replace(
        STORED,
        icp=Icp(countries=("Austria",)),
        policy=dataclasses.replace(STORED.policy, pooling=False),
    )


def test_an_empty_zone_is_not_stored() -> None:
    changed = merged_client(admin.Client(client_id="c", timezone=""), STORED, frozenset())
    assert changed.timezone == ClientRecord(client_id="c").timezone


@pytest.mark.parametrize(
    ("mask", "changes"),
    [
        ({"name"}, {"name": "New"}),
        ({"competitor_domains"}, {"competitor_domains": ()}),
        ({"subscription_status"}, {"subscription_status": SubscriptionStatus.TRIALING}),
        ({"icp"}, {"icp": Icp()}),
        ({"icp.titles"}, {"icp": dataclasses.replace(STORED.icp, titles=Icp().titles)}),
        ({"policy"}, {"policy": ClientPolicy(retention_days=365)}),
        (
            {"policy.pooling", "policy.retention_days"},
            {"policy": dataclasses.replace(STORED.policy, pooling=False, retention_days=365)},
        ),
        (
            {"policy.tier_channels"},
            {"policy": dataclasses.replace(STORED.policy, tier_channels={})},
        ),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else "",
)
def test_a_mask_says_what_is_written(mask: set[str], changes: dict[str, Any]) -> None:
    message = admin.Client(
        client_id="c",
        name="New",
        timezone="UTC",
        policy=admin.ClientPolicy(retention_days=365),
    )
    changed = merged_client(message, STORED, frozenset(mask))
    assert changed == dataclasses.replace(STORED, **changes)


@pytest.mark.parametrize("path", ["nmae", "policy.polling", "name.first", "competitor_domains.x"])
def test_a_mask_with_an_unknown_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match=r"update_mask.*no field of Client"):
        merged_client(admin.Client(client_id="c"), STORED, frozenset({path}))


def test_a_mask_cannot_turn_the_head_count_around() -> None:
    message = admin.Client(client_id="c", icp=core.Icp(employee_min=91))
    with pytest.raises(InvalidInput, match=r"client\.icp\.employee_max: 90 is less"):
        merged_client(message, STORED, frozenset({"icp.employee_min"}))


def test_a_campaign() -> None:
    message = admin.Campaign(
        campaign_id="k",
        name="Spring",
        icp=core.Icp(titles=["CTO"]),
        timezone="Asia/Tokyo",
        local_work_start="08:30",
        local_work_end="16:45",
        work_days=[core.DAY_OF_WEEK_SATURDAY, core.DAY_OF_WEEK_SUNDAY],
        allocation={"email": 70, "linkedin": 30},
    )
    assert campaign_from_message(message, "campaigns[0]") == CampaignRecord(
        campaign_id="k",
        name="Spring",
        icp=Icp(titles=("CTO",)),
        timezone="Asia/Tokyo",
        work_hours_start=dt.time(8, 30),
        work_hours_end=dt.time(16, 45),
        work_days=(6, 7),
        allocation={"email": 70, "linkedin": 30},
    )
    bare = campaign_from_message(admin.Campaign(campaign_id="k"), "campaigns[0]")
    assert bare == CampaignRecord(campaign_id="k")


@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_instants(value: dt.datetime) -> None:
    message = learning.LearnRequest(as_of_time=timestamp(value))
    assert instant(message, "as_of_time", "as_of_time") == value
    assert instant(learning.LearnRequest(), "as_of_time", "as_of_time") is None


def test_an_instant_out_of_range_is_named() -> None:
    message = learning.LearnRequest(as_of_time=Timestamp(seconds=10**15))
    with pytest.raises(InvalidInput, match="as_of_time: is not an instant"):
        instant(message, "as_of_time", "as_of_time")


def test_learn_options() -> None:
    plain = learn_options(learning.LearnRequest(client_id="c"), NOW)
    assert (plain.as_of, plain.lookback_days, plain.min_conversions) == (NOW, 90, 20)
    assert (plain.validity_days, plain.force, plain.dry_run) == (14, False, False)
    request = learning.LearnRequest(
        client_id="c",
        as_of_time=timestamp(NOW - dt.timedelta(days=3)),
        lookback_days=7,
        min_conversions=1,
        validity_days=2,
        force=True,
        dry_run=True,
    )
    asked = learn_options(request, NOW)
    assert (asked.as_of, asked.lookback_days) == (NOW - dt.timedelta(days=3), 7)
    assert (asked.min_conversions, asked.validity_days) == (1, 2)
    assert (asked.force, asked.dry_run) == (True, True)
