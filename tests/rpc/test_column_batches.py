"""Batches scored from bytes to bytes against the reference, which reads lead by lead."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from columns_of_leads import LEADS
from every_feature import every_feature_model
from google.protobuf.message import DecodeError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.live_state import LiveRecord
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.propensity import (
    OTHER_LEVEL,
    CategoricalFeature,
    FeatureSpace,
    NumericFeature,
    PropensityModel,
)
from cis_server.domain.rollout import RolloutShare
from cis_server.domain.suppression import IdentifierKind, suppression_key
from cis_server.domain.vocabulary import Source
from cis_server.domain.weights import COMPONENTS, read_weights
from cis_server.rpc.messages.lead_batches import LeadBatch, batch_request
from cis_server.rpc.messages.lead_scores import PreparedScoring
from cis_server.rpc.messages.lead_tables import LeadTables
from cis_server.rpc.messages.leads import lead_to_message
from cis_server.rpc.services.batch_scoring import BatchScoring
from cis_server.rpc.services.column_batches import ColumnBatches, checked_column_batches
from cis_server.scoring.propensity import PropensityScorer
from cis_server.scoring.suppression import SuppressionIndex
from cis_server.serving.memo import MemoBudget
from cis_server.serving.scoring_answers import ScoringContext, ScoringRollout
from cis_server.serving.snapshot import ModelRollout, WeightsRollout
from tests.bench.realistic_leads import realistic_leads

AS_OF = dt.date(2026, 3, 2)
TABLES = LeadTables(MemoBudget())


def propensity(version: str, *names: str) -> PropensityScorer:
    space = FeatureSpace(
        (
            CategoricalFeature("title_level", ("vp", OTHER_LEVEL), "ceo"),
            NumericFeature("component_timing", 0.4, 0.3),
            *(CategoricalFeature(name, ("free", OTHER_LEVEL), "pro") for name in names),
        )
    )
    return PropensityScorer(
        PropensityModel(
            version=version,
            target="call_booked",
            space=space,
            intercept=-1.0,
            coefficients=tuple(0.3 * i - 0.5 for i in range(space.width)),
            covariance=tuple(map(tuple, (0.1 * np.eye(space.width + 1)).tolist())),
            calibration_intercept=0.2,
            calibration_slope=0.9,
        )
    )


def record(version: str) -> LiveRecord:
    return LiveRecord(
        version=version,
        content={},
        computed_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        valid_until=None,
        sample_size=900,
        confidence=0.8,
    )


PLAIN = ScoringContext.plain(AS_OF)
GUARDED = replace(
    PLAIN,
    competitor_domains=("rival.example",),
    suppression=SuppressionIndex.build(
        [suppression_key(IdentifierKind.DOMAIN, "northwind.example", b"key")], b"key"
    ),
    tier_channels={"warm": ("email", "fax")},
)
EVERY_FEATURE = replace(
    PLAIN, model=PropensityScorer(every_feature_model(1)), model_version="propensity-7"
)
MODELLED = replace(GUARDED, model=propensity("p-1", "attribute:plan"), model_version="p-1")


def rolling(context: ScoringContext, *, weights: bool, model: bool) -> ScoringContext:
    def share(kind: str) -> RolloutShare:
        return RolloutShare.of("client", kind, "converted", 3, 50.0)

    rolled, _ = read_weights(dict(zip(COMPONENTS, (0.4, 0.1, 0.1, 0.1, 0.3), strict=True)))
    return replace(
        context,
        rollout=ScoringRollout(
            WeightsRollout(rolled, record("weights-3"), share("weights")) if weights else None,
            ModelInfo(model_version="weights-3", source=Source.LEARNED) if weights else None,
            ModelRollout(propensity("p-2"), record("p-2"), share("model")) if model else None,
        ),
    )


LONG = replace(
    EVERY_FEATURE,
    # An answer of which every message is longer than two bytes of a size can tell.
    tier_channels=dict.fromkeys(
        ("hot", "warm", "cool", "cold"), tuple(f"channel-{i}-{'x' * 60}" for i in range(250))
    ),
)

CONTEXTS = (
    PLAIN,
    GUARDED,
    MODELLED,
    rolling(GUARDED, weights=True, model=False),
    rolling(GUARDED, weights=False, model=True),
    rolling(MODELLED, weights=True, model=True),
    EVERY_FEATURE,
    LONG,
    rolling(EVERY_FEATURE, weights=False, model=True),
)


def reference(
    request: scoring.BatchScoreLeadsRequest, context: ScoringContext
) -> scoring.BatchScoreLeadsResponse:
    """The answer lead by lead."""
    return batches(context).scored(request, None)  # type: ignore[arg-type]


def batches(context: ScoringContext) -> BatchScoring:
    """A scorer that needs no store."""
    nothing: Any = None
    prepared = PreparedScoring(context, TABLES)
    return BatchScoring(
        nothing, lambda _: prepared, lambda *_: context, nothing, store_seconds=0.25
    )


def answered(
    columns: ColumnBatches, batch: LeadBatch, context: ScoringContext
) -> scoring.BatchScoreLeadsResponse:
    """What the columns answer."""
    body = columns.answer(batch, PreparedScoring(context, TABLES))
    return scoring.BatchScoreLeadsResponse.FromString(body)


@pytest.fixture(scope="module")
def columns() -> ColumnBatches:
    return checked_column_batches()


BREAKS: tuple[Callable[[core.Lead], Any], ...] = (
    lambda lead: setattr(lead, "email", "nobody"),
    lambda lead: setattr(lead, "title", "t" * 501),
    lambda lead: setattr(lead, "first_name", "a\0b"),
    lambda lead: setattr(lead, "timezone", "Mars/Olympus"),
    lambda lead: setattr(lead, "employment_start_date", "2026-W01-1"),
    lambda lead: setattr(lead, "latest_funding_date", "2026-02-30"),
    lambda lead: setattr(lead, "employee_count", -1),
    lambda lead: setattr(lead, "bounce_count", 1_000_001),
    lambda lead: setattr(lead, "founded_year", 0),
    lambda lead: setattr(lead, "revenue", float("nan")),
    lambda lead: setattr(lead, "total_funding", -0.5),
    lambda lead: setattr(lead, "email_status", 77),
    lambda lead: setattr(lead, "status", -1),
    lambda lead: lead.technologies.append("x" * 201),
    lambda lead: lead.technologies.extend("x" * 501),
    lambda lead: lead.attributes.update({"": "no key"}),
    lambda lead: lead.attributes.update({str(i): "" for i in range(201)}),
    lambda lead: lead.attributes.update({"plan": "p" * 1001}),
    lambda lead: lead.employment_history.add(start_date="2020-01-02", end_date="2020-01-01"),
    lambda lead: lead.employment_history.add(company="c" * 501),
    lambda lead: lead.MergeFromString(b"\x72\x03abc"),
)
"""Each makes a lead break a rule."""

ODD: tuple[Callable[[core.Lead], Any], ...] = (
    lambda lead: setattr(lead, "title", "ü" * 400),
    lambda lead: setattr(lead, "revenue", -0.0),
    lambda lead: setattr(lead, "total_funding", 1e308),
    lambda lead: setattr(lead, "timezone", "Australia/Sydney"),
    lambda lead: setattr(lead, "founded_year", 1999),
    lambda lead: setattr(lead, "phone", ""),
    lambda lead: setattr(lead, "is_hiring", False),
    lambda lead: setattr(lead, "employee_count", 0),
    lambda lead: lead.technologies.extend(["numpy", "", "größe"]),
    lambda lead: lead.employment_history.add(start_date="2020-01-02", current=False, title="ö"),
    lambda lead: lead.employment_history.add(start_date="2020-01-02", end_date="2020-01-02"),
    lambda lead: lead.attributes.update({"plan": "", "größe": "ö" * 200, "k" * 128: "v" * 1000}),
    lambda lead: lead.MergeFromString(b"\xd2\x3f\x02hi\xd8\x3f\x05"),  # fields of a later release
    lambda lead: lead.MergeFromString(b"\xba\x02\x06\x12\x04free\xba\x02\x06\x0a\x04plan"),
)
"""Each makes a lead unusual and leaves it valid, but for the last: an entry without a key."""


@st.composite
def requests(draw: st.DrawFn) -> scoring.BatchScoreLeadsRequest:
    """Requests with good leads, odd ones and wrong ones."""
    messages = [lead_to_message(lead) for lead in draw(st.lists(LEADS, min_size=1, max_size=8))]
    change = st.sampled_from(BREAKS) | st.sampled_from(ODD)
    for message in messages:
        if draw(st.booleans()):
            message.attributes["segment"] = draw(st.sampled_from(("gold", "silver", "tin", "")))
        for apply in draw(st.lists(change, max_size=2)) if draw(st.booleans()) else ():
            apply(message)
    return scoring.BatchScoreLeadsRequest(client_id="client", leads=messages)


VIEWS = (scoring.LEAD_SCORE_VIEW_BASIC, scoring.LEAD_SCORE_VIEW_FULL)


@settings(max_examples=100, deadline=None, phases=(Phase.generate,))
@given(requests(), st.sampled_from(CONTEXTS), st.sampled_from(VIEWS))
def test_columns_answer_as_the_reference(
    columns: ColumnBatches,
    request: scoring.BatchScoreLeadsRequest,
    context: ScoringContext,
    view: Any,
) -> None:
    request.view = view
    batch = columns.read(request.SerializeToString())
    assert batch is not None
    answer = answered(columns, batch, context)
    assert answer == reference(request, context)


@settings(max_examples=25, deadline=None, phases=(Phase.generate,))
@given(requests(), st.sampled_from(CONTEXTS))
def test_the_full_view_answers_as_the_reference(
    request: scoring.BatchScoreLeadsRequest, context: ScoringContext
) -> None:
    request.view = scoring.LEAD_SCORE_VIEW_FULL
    answer = batches(context).in_full(request)
    assert scoring.BatchScoreLeadsResponse.FromString(answer) == reference(request, context)


@pytest.mark.parametrize("context", range(len(CONTEXTS)))
def test_large_batches_in_full_are_those_of_the_reference(
    columns: ColumnBatches, context: int
) -> None:
    """Leads as in life, some of them wrong; more texts than are met in a small batch."""
    leads = realistic_leads(600, seed=context)
    for lead in leads[::50]:
        lead.email = "nobody"
    leads[7].lead_id = "l" * 128
    leads[8].title = "ü" * 150
    request = scoring.BatchScoreLeadsRequest(client_id="client", leads=leads, view=VIEWS[1])
    batch = columns.read(request.SerializeToString())
    assert batch is not None
    answer = answered(columns, batch, CONTEXTS[context])
    assert answer == reference(request, CONTEXTS[context])
    assert len(answer.failures) == 12


def test_every_break_is_told_as_the_reference_tells_it(columns: ColumnBatches) -> None:
    request = scoring.BatchScoreLeadsRequest(client_id="client")
    for number, apply in enumerate((*BREAKS, *ODD)):
        apply(request.leads.add(lead_id=f"lead-{number}"))
    batch = columns.read(request.SerializeToString())
    assert batch is not None
    answer = answered(columns, batch, PLAIN)
    assert answer == reference(request, PLAIN)
    assert {failure.index for failure in answer.failures} >= set(range(len(BREAKS)))
    assert len(answer.scores) == len(ODD) - 1


def test_most_leads_of_a_batch_take_the_fast_way(columns: ColumnBatches) -> None:
    """Every field at once, and still no lead is read by itself."""
    lead = core.Lead(lead_id="l", email="a@b.example", attributes={"a": "b"}, technologies=["x"])
    lead.employment_history.add(company="Acme", start_date="2020-01-01", current=True)
    given = {field.name for field, _ in lead.ListFields()}
    for field in core.Lead.DESCRIPTOR.fields:
        if field.name not in given:
            setattr(lead, field.name, _some_value(field.name))
    assert len(lead.ListFields()) == len(core.Lead.DESCRIPTOR.fields)
    request = scoring.BatchScoreLeadsRequest(client_id="c", leads=[lead] * 3)
    batch = columns.read(request.SerializeToString())
    assert batch is not None
    assert columns.leads(batch).regular.all()


def _some_value(name: str) -> Any:
    values: dict[str, Any] = {
        "employee_count": 3,
        "revenue": 2.5,
        "total_funding": 1.0,
        "founded_year": 2001,
    }
    values |= {"bounce_count": 1, "timezone": "UTC", "status": 1, "email_status": 4}
    flags = ("phone_verified", "call_register_listed", "is_hiring", "unsubscribed")
    if name in (*flags, "do_not_contact"):
        return True
    return values.get(name, "2024-01-01" if name.endswith("_date") else "a@b.example")


def test_a_changed_byte_never_changes_what_a_message_is(columns: ColumnBatches) -> None:
    """Whatever the bytes, the answer is that of the parsed message, or neither can be read."""
    rng = random.Random(7)
    leads = [core.Lead(lead_id=f"l-{i}", title="CEO", email="a@b.example") for i in range(3)]
    leads[1].attributes["plan"] = "free"
    leads[2].employment_history.add(title="Geschäftsführer", end_date="2020-01-01")
    whole = scoring.BatchScoreLeadsRequest(client_id="client", leads=leads).SerializeToString()
    read = 0
    for _ in range(400):
        body = bytearray(whole)
        for _ in range(rng.randrange(1, 3)):
            body[rng.randrange(len(body))] = rng.choice((rng.randrange(256), 0x12, 0, 0x80, 0xC3))
        try:
            request = scoring.BatchScoreLeadsRequest.FromString(bytes(body))
        except DecodeError:
            request = None
        try:
            batch = batch_request(bytes(body))
            if batch is None:
                continue
            answer = answered(columns, batch, PLAIN)
        except DecodeError:
            assert request is None
            continue
        assert request is not None
        read += 1
        assert answer == reference(request, PLAIN)
        request.ClearField("leads")
        batch.head.ClearField("leads")
        assert batch.head == request
    assert read > 40
