"""The bytes put together for a lead are the message the reference builds, whatever is sent."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from cis_client.v1 import core_pb2 as core
from cis_server.domain.clients import Icp
from cis_server.domain.live_state import LiveRecord
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.propensity import (
    MISSING_LEVEL,
    OTHER_LEVEL,
    CategoricalFeature,
    FeatureSpace,
    NumericFeature,
    PropensityModel,
)
from cis_server.domain.rollout import RolloutShare
from cis_server.domain.suppression import IdentifierKind, suppression_key
from cis_server.domain.vocabulary import Source
from cis_server.domain.weights import Weights
from cis_server.errors import InvalidInput
from cis_server.rpc.messages.lead_scores import PreparedScoring
from cis_server.rpc.messages.lead_tables import LeadTables
from cis_server.rpc.messages.leads import lead_from_message
from cis_server.rpc.messages.probabilities import READ, LeadFacts
from cis_server.rpc.messages.scores import score_message
from cis_server.rpc.rule_table import RULES
from cis_server.rpc.rules import check_item
from cis_server.scoring.features import FIXED_FEATURES
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.suppression import SuppressionIndex
from cis_server.serving.memo import MemoBudget
from cis_server.serving.scoring_answers import ScoringContext, ScoringRollout, scored_lead
from cis_server.serving.snapshot import ModelRollout, WeightsRollout

AS_OF = dt.date(2026, 1, 21)
SECRET = b"key of the tests"


def dates() -> st.SearchStrategy[str]:
    days = st.integers(-60, 900).map(lambda n: (AS_OF - dt.timedelta(days=n)).isoformat())
    wrong = st.sampled_from(["", "2026-1-2", "2026-02-30", "20260102", "2026-W01-1", "0000-01-01"])
    return days | days | wrong


def text(*likely: str, most: int) -> st.SearchStrategy[str]:
    odd = st.sampled_from(["", " ", "\0", "a\0b", "é" * most, "x" * most, "x" * (most + 1)])
    anything = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
    return st.sampled_from(likely) | st.sampled_from(likely) | odd | anything


def number(least: float, most: float) -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, 1.0, least, most, least - 1, most + 1, math.nan, math.inf])


JOBS = st.lists(
    st.builds(
        core.Job,
        company=st.none() | text("Acme", most=500),
        title=st.none() | text("CEO", most=500),
        start_date=st.none() | dates(),
        end_date=st.none() | dates(),
        current=st.none() | st.booleans(),
    ),
    max_size=3,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "lead_id": text("lead-1", "lead-2", "listed", most=128),
    "email": text("a@x.example", "b@mail.rival.example", "n/a", "two@@x.example", most=320),
    "email_status": st.sampled_from([*range(6), 6, 77]),
    "phone": text("+61 400 000 000", "0011", "٠١٢٣٤", most=64),
    "linkedin_url": text("https://linkedin.com/in/x", "linkedin.com/company/x", most=2048),
    "personal_email": text("me@home.example", "me", most=320),
    "postal_address": text("1 High Street", "\t", most=1000),
    "title": text("CEO", "Head of Growth", "Intern", "Teacher", "VP of Sales", "...", most=500),
    "seniority": text("C-Suite", "entry", "nonsense", most=64),
    "employment_start_date": dates(),
    "latest_funding_date": dates(),
    "timezone": text("Australia/Sydney", "Mars/Base", "UTC", most=64),
    "domain": text("x.example", "Rival.example", "https://www.rival.example/a", most=253),
    "industry": text("Software", "Hospital & Health Care", "Biotechnology", most=500),
    "country": text("Australia", "usa", "Germany", "Atlantis", most=200),
    "employee_count": st.sampled_from([0, -3, 1, 4, 5, 50, 51, 200, 201, 10**8, 10**8 + 1]),
    "bounce_count": st.sampled_from([0, 1, 7, -1, 10**6, 10**6 + 1]),
    "founded_year": st.sampled_from([0, 999, 1000, 2020, 2200, 2201, -1]),
    "revenue": number(0, 1e308),
    "total_funding": number(0, 5e6),
    "status": st.sampled_from([*range(11), 11, 99]),
    "technologies": st.lists(text("sap", most=200), max_size=3),
    "attributes": st.dictionaries(
        text("crm_source", "lead_grade", most=128), text("referral", "b", most=1000), max_size=3
    ),
    "employment_history": JOBS,
    **dict.fromkeys(
        ["first_name", "last_name", "person_city", "person_region", "person_country"],
        text("Dana", most=200),
    ),
    **dict.fromkeys(["city", "region"], text("Sydney", most=200)),
    "company_name": text("Acme", most=500),
    "linkedin_headline": text("I sell", most=1000),
    "latest_funding_stage": text("series_a", most=100),
    **dict.fromkeys(
        ["phone_verified", "call_register_listed", "is_hiring", "unsubscribed", "do_not_contact"],
        st.booleans(),
    ),
}
# A few fields at a time may be wrong, or nearly every lead would be refused.
GOOD = {
    "lead_id": "lead-9",
    "email": "a@x.example",
    "title": "CEO",
    "industry": "Software",
    "country": "Australia",
}


@st.composite
def leads(draw: st.DrawFn) -> core.Lead:
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=9, unique=True))
    fields = {**GOOD, **{name: draw(FIELDS[name]) for name in names}}
    for name in draw(st.lists(st.sampled_from(sorted(GOOD)), max_size=3)):
        fields.pop(name, None)
    return core.Lead(**fields)


def model(version: str, intercept: float) -> PropensityScorer:
    space = FeatureSpace(
        (
            CategoricalFeature("title_level", ("ceo", OTHER_LEVEL, MISSING_LEVEL), "staff"),
            CategoricalFeature("title", ("intern", "teacher"), "ceo"),
            CategoricalFeature("industry", ("software", MISSING_LEVEL)),
            NumericFeature("employee_count_log", 1.5, 0.7, True),
            CategoricalFeature("size_range", ("1-5", "51-100", OTHER_LEVEL), "16-30"),
            CategoricalFeature("country", ("au", "us"), "nz"),
            CategoricalFeature("email_status", ("verified",), "unknown"),
            CategoricalFeature("has_phone", ("yes",), "no"),
            CategoricalFeature("has_email", ("yes",), "no"),
            CategoricalFeature("has_linkedin", ("yes",), "no"),
            CategoricalFeature("hiring", ("yes", MISSING_LEVEL), "no"),
            CategoricalFeature("seniority", ("c-suite",), "entry"),
            CategoricalFeature("role_age", ("0-89 days", "720+ days", MISSING_LEVEL)),
            CategoricalFeature("funding_age", ("0-89 days", MISSING_LEVEL)),
            NumericFeature("component_authority", 0.5, 0.3, False),
            NumericFeature("component_risk", 0.9, 0.2, False),
            CategoricalFeature("attribute:crm_source", ("referral", MISSING_LEVEL)),
            NumericFeature("attribute:lead_grade", 2.0, 1.0, True),
        )
    )
    width = space.width
    return PropensityScorer(
        PropensityModel(
            version=version,
            target="call_booked",
            space=space,
            intercept=intercept,
            coefficients=tuple(0.37 * (-1) ** i / (1 + i) for i in range(width)),
            covariance=tuple(
                tuple(0.02 / (1 + abs(i - j)) for j in range(width + 1)) for i in range(width + 1)
            ),
            calibration_intercept=0.1,
            calibration_slope=0.9,
        )
    )


LISTED = SuppressionIndex.build(
    [
        suppression_key(kind, value, SECRET)
        for kind, value in (
            (IdentifierKind.LEAD_ID, "listed"),
            (IdentifierKind.EMAIL, "me@home.example"),
            (IdentifierKind.PHONE, "61400000000"),
            (IdentifierKind.DOMAIN, "x.example"),
        )
    ],
    SECRET,
)
LEARNED = ModelInfo(
    model_version="w7",
    source=Source.LEARNED,
    computed_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    valid_until=dt.datetime(2026, 1, 15, tzinfo=dt.UTC),
    sample_size=400,
    confidence=0.8,
    stale=True,
)
PLAIN = ScoringContext.plain(AS_OF)
FULL = replace(
    PLAIN,
    icp=Icp(industries=("biotechnology",), employee_min=0, employee_max=40, countries=("DE",)),
    weights=Weights(0.113, 0.401, 0.199, 0.187, 0.1),
    model_info=LEARNED,
    model=model("m1", -2.0),
    model_version="m1",
    competitor_domains=("rival.example",),
    tier_channels={"hot": ("voice", "fax"), "cool": ("sms", "mail")},
    suppression=LISTED,
)
RECORD = LiveRecord(
    version="w8", content={}, computed_at=None, valid_until=None, sample_size=9, confidence=0.5
)
HALF = RolloutShare.of("acme", "weights", "", 8, 50)
ROLLOUT = replace(
    FULL,
    rollout=ScoringRollout(
        WeightsRollout(Weights(0.3, 0.1, 0.3, 0.1, 0.2), RECORD, HALF),
        replace(LEARNED, model_version="w8", stale=False),
        ModelRollout(
            model("m2", -1.0), RECORD, RolloutShare.of("acme", "propensity", "converted", 2, 50)
        ),
    ),
)
TABLES = LeadTables(MemoBudget())
PREPARED = {
    name: PreparedScoring(context, TABLES)
    for name, context in {"plain": PLAIN, "full": FULL, "rollout": ROLLOUT}.items()
}


def reference(lead: core.Lead, context: ScoringContext) -> core.LeadScore | None:
    """What the clear way gives; None for a lead that breaks a rule."""
    try:
        check_item(lead, "lead")
        own = context.of(lead.lead_id)
        score = scored_lead(lead_from_message(lead, "lead"), own)
    except InvalidInput:
        return None
    return score_message(score, own.model_info, own.model_version)


def written(lead: core.Lead, prepared: PreparedScoring) -> bytes | None:
    writer = prepared.writer(lead.lead_id)
    found = writer.write(lead)
    if found is None:
        return None
    message, score, tier = found
    parsed = core.LeadScore.FromString(message)
    assert (parsed.score, parsed.tier) == (score, core.Tier.Value(f"TIER_{tier.name}"))
    return message + writer.model


def same(lead: core.Lead, prepared: PreparedScoring) -> None:
    expected, got = reference(lead, prepared.context), written(lead, prepared)
    if expected is None:
        assert got is None
        return
    assert got is not None, "a good lead was left to the reference"
    assert core.LeadScore.FromString(got) == expected
    assert got == expected.SerializeToString(), "in the order of the fields, too"


@settings(max_examples=150, deadline=None)
@given(lead=leads(), name=st.sampled_from(sorted(PREPARED)))
def test_the_bytes_are_those_of_the_reference(lead: core.Lead, name: str) -> None:
    same(lead, PREPARED[name])


@settings(max_examples=60, deadline=None)
@given(lead=leads(), name=st.sampled_from(sorted(PREPARED)))
def test_nothing_kept_makes_a_difference(lead: core.Lead, name: str) -> None:
    tiny = PreparedScoring(PREPARED[name].context, LeadTables(MemoBudget(3)))
    assert written(lead, tiny) == written(lead, PREPARED[name]) == written(lead, tiny)


def test_each_input_of_a_component() -> None:
    """Inputs that random leads meet seldom; together they reach every part and every reason."""
    for status in core.EmailStatus.values():
        for email in ("", "none", "a@b.example"):
            for hiring in (None, False, True):
                same(
                    core.Lead(
                        email=email if email != "none" else "no@address",
                        email_status=status,
                        phone="12345" if hiring else "",
                        phone_verified=status % 2 == 0,
                        is_hiring=hiring,
                        bounce_count=status % 2,
                        unsubscribed=email == "",
                        title=("CEO", "Intern", "", "Student")[status % 4],
                        employee_count=(0, 1, 20, 60, 900)[status % 5],
                    ),
                    PREPARED["plain"],
                )


WRONG: dict[str, list[Any]] = {
    "attributes": [
        {"": "x"},
        {"k" * 129: "x"},
        {"k\0": "x"},
        {"k": "x" * 1001},
        {"k": "\0"},
        {str(i): "" for i in range(201)},
    ],
    "technologies": [["x" * 201], ["\0"], ["x"] * 501],
    "employment_history": [
        [core.Job()] * 101,
        [core.Job(company="x" * 501)],
        [core.Job(title="x" * 501)],
        [core.Job(company="\0")],
        [core.Job(title="\0")],
        [core.Job(start_date="x")],
        [core.Job(end_date="2026-02-30")],
        [core.Job(start_date="2026-02-02", end_date="2026-02-01")],
    ],
    "employee_count": [-1, 100_000_001],
    "bounce_count": [-1, 1_000_001],
    "founded_year": [0, 999, 2201],
    **{key: [math.nan, -1.0, math.inf] for key in ["revenue", "total_funding"]},
    **{key: [1000, -1] for key in ["email_status", "status"]},
}
ANY_TEXT = ["\0", "@" * 3000]
"""What no text may be; addresses hold an @, so that nothing else is wrong with it."""


@pytest.mark.parametrize("field", [f.name for f in core.Lead.DESCRIPTOR.fields])
def test_every_field_with_a_rule_is_checked(field: str) -> None:
    """No field can be added to the contract with a rule that the bytes are written without."""
    if core.Lead.DESCRIPTOR.fields_by_name[field].type == FieldDescriptor.TYPE_BOOL:
        assert f"cis.v1.Lead.{field}" not in RULES
        return
    for value in WRONG.get(field, ANY_TEXT):
        lead = core.Lead(**{field: value})
        assert reference(lead, PLAIN) is None, value
        assert written(lead, PREPARED["plain"]) is None, value


def test_a_message_of_another_contract_s_release_is_scored_alike() -> None:
    """Fields that are not known yet are no error."""
    raw = core.Lead(**GOOD).SerializeToString() + b"\xfa\x3f\x03new"
    same(core.Lead.FromString(raw), PREPARED["full"])


def test_every_fixed_feature_is_read_from_one_fact() -> None:
    assert set(READ) == set(LeadFacts._fields)
    read = [feature for features in READ.values() for feature in features]
    assert sorted(read) == sorted(FIXED_FEATURES)
