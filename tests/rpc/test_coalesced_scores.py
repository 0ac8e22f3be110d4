"""Coalesced calls answer as separate ones do: every field, every error, stored leads, rollouts."""

from __future__ import annotations

import asyncio
import datetime as dt
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running_server import make_client

from cis_client import AsyncClient, CisError, Client, ClientOptions, InvalidArgument
from cis_client._score_batches import batch_scores
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.domain.registry import ModelKind, NewModel
from cis_server.domain.weights import Weights
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.models import insert_model

AS_OF = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
ROLLED_OUT = "weights-2"


@dataclass
class Both:
    """A client that coalesces and one that does not, on one loop."""

    runner: asyncio.Runner
    together: AsyncClient
    separate: AsyncClient

    def answers(
        self, client: AsyncClient, requests: Sequence[scoring.ScoreLeadRequest]
    ) -> list[Any]:
        """What comes of calls made at the same moment: answers, and errors without their ids."""

        async def one(request: scoring.ScoreLeadRequest) -> Any:
            try:
                return await client.score_lead(request)
            except CisError as error:
                told = {**vars(error), "request_id": ""}
                return type(error), told

        async def run() -> list[Any]:
            return await asyncio.gather(*map(one, requests))

        return self.runner.run(run())

    def agree(self, requests: Sequence[scoring.ScoreLeadRequest]) -> list[Any]:
        """The answers, which are the same both ways."""
        separate = self.answers(self.separate, requests)
        assert self.answers(self.together, requests) == separate
        return separate


@pytest.fixture(scope="module")
def both(target: str) -> Iterator[Both]:
    with asyncio.Runner() as runner:

        async def made(**options: Any) -> AsyncClient:
            return AsyncClient(ClientOptions(target=target, timeout_seconds=20, **options))

        clients = Both(runner, runner.run(made(coalesce=True)), runner.run(made()))
        yield clients
        runner.run(clients.together.close())
        runner.run(clients.separate.close())


@pytest.fixture(scope="module")
def rolling(api: Client, module_database_url: str) -> str:
    """A client with weights of its own, and others that are being rolled out."""
    make_client(api, "rolling")
    engine = make_engine(module_database_url)
    for weights in (Weights(0.1, 0.4, 0.2, 0.2, 0.1), Weights(0.3, 0.1, 0.3, 0.1, 0.2)):
        with tenant(engine, "rolling") as connection:
            new = NewModel(kind=ModelKind.WEIGHTS, content=weights.as_dict())
            insert_model(connection, "rolling", new)
    engine.dispose()
    for version, share in (("weights-1", 100), (ROLLED_OUT, 40)):
        api.promote_model(
            learning.PromoteModelRequest(
                client_id="rolling",
                model_version=version,
                approver="ana",
                rollout_percentage=share,
                force=True,
                reason="a test",
            )
        )
    return "rolling"


def request(client_id: str, **fields: Any) -> scoring.ScoreLeadRequest:
    made = scoring.ScoreLeadRequest(client_id=client_id, **fields)
    made.as_of_time.FromDatetime(AS_OF)
    return made


words = st.text(string.ascii_letters + " &äß", max_size=12)
lead_messages = st.builds(
    core.Lead,
    lead_id=st.text(string.ascii_lowercase, max_size=6),
    email=st.none() | st.sampled_from(["a@b.example", "no-address", ""]),
    email_status=st.sampled_from([*core.EmailStatus.values(), 77]),
    phone=st.none() | words,
    title=st.none() | words | st.sampled_from(["CEO", "Head of Sales", "x" * 501]),
    employment_start_date=st.none() | st.sampled_from(["2026-01-15", "2019-05-01", "soon"]),
    industry=st.none() | words | st.just("Software"),
    employee_count=st.none() | st.integers(-5, 5_000),
    technologies=st.lists(words, max_size=3),
    is_hiring=st.none() | st.booleans(),
    country=st.none() | st.sampled_from(["Australia", "Chile", "US"]),
    unsubscribed=st.none() | st.booleans(),
    attributes=st.dictionaries(words, words, max_size=2),
)


# Drawing leads of many fields takes its time where others use the machine too.
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(leads=st.lists(lead_messages, min_size=2, max_size=25))
def test_random_leads(both: Both, rolling: str, leads: list[core.Lead]) -> None:
    both.agree([request(rolling, lead=lead) for lead in leads])


def test_leads_of_a_rollout(both: Both, api: Client, rolling: str) -> None:
    leads = [core.Lead(lead_id=f"lead-{i}", title="CEO") for i in range(120)]
    answers = both.agree([request(rolling, lead=lead) for lead in leads])
    told = [answer.model.model_version for answer in answers]
    assert 20 < told.count(ROLLED_OUT) < 80
    assert len({answer.weights.authority for answer in answers}) == 2
    assert all(answer.reasons for answer in answers)
    # The same by hand: no answer above came from a call that was made again alone.
    batch = scoring.BatchScoreLeadsRequest(
        client_id=rolling, leads=leads, view=scoring.LEAD_SCORE_VIEW_FULL
    )
    batch.as_of_time.FromDatetime(AS_OF)
    scores = batch_scores(api.batch_score_leads(batch).SerializeToString(), len(leads))
    assert [core.LeadScore.FromString(score or b"") for score in scores] == answers


def test_an_error_names_its_field_as_alone(both: Both, rolling: str) -> None:
    wrong = core.Lead(lead_id="wrong", employee_count=-1, email="nowhere")
    leads = [core.Lead(lead_id=f"l-{i}", title="CEO") for i in range(9)] + [wrong]
    answers = both.agree([request(rolling, lead=lead) for lead in leads])
    kind, told = answers[-1]
    assert kind is InvalidArgument
    assert [each.field for each in told["violations"]] == ["lead.email", "lead.employee_count"]
    assert [answer.lead_id for answer in answers[:-1]] == [lead.lead_id for lead in leads[:-1]]


def test_stored_leads(both: Both, api: Client, store_leads: Callable[..., None]) -> None:
    """Each by the profile of its campaign; one that is unknown, or no id at all, fails alone."""
    make_client(api, "storing")
    campaign = admin.Campaign(
        campaign_id="miners", icp=core.Icp(industries=["mining"], countries=["Chile"])
    )
    api.upsert_campaigns(admin.UpsertCampaignsRequest(client_id="storing", campaigns=[campaign]))
    people = [
        Lead(lead_id=f"l-{i}", title="CEO", industry="Mining", country="Chile") for i in range(8)
    ]
    store_leads("storing", people[:4], "miners")
    store_leads("storing", people[4:])
    ids = [*(lead.lead_id for lead in people), "unknown", "", "x" * 129]
    answers = both.agree([request("storing", lead_id=each) for each in ids])
    fits = [answer.components.company_fit for answer in answers[: len(people)]]
    assert fits[:4] == [fits[0]] * 4 > fits[4:] == [fits[4]] * 4
    assert [kind.__name__ for kind, _ in answers[-3:]] == [
        "NotFound",
        "InvalidArgument",
        "InvalidArgument",
    ]


def test_persisted_scores(
    both: Both, api: Client, store_leads: Callable[..., None], sql: Callable[..., Any]
) -> None:
    make_client(api, "keeping")
    store_leads("keeping", [Lead(lead_id=f"l-{i}") for i in range(5)])
    leads = [core.Lead(lead_id=f"l-{i}", title="CEO") for i in range(6)] + [core.Lead(title="CEO")]
    answers = both.agree([request("keeping", lead=lead, persist=True) for lead in leads])
    stored = dict(sql("SELECT lead_id, score FROM leads WHERE client_id = 'keeping'"))
    assert stored == {answer.lead_id: answer.score for answer in answers[:5]}
    assert [kind.__name__ for kind, _ in answers[5:]] == ["NotFound", "InvalidArgument"]


def test_what_is_wrong_for_all_is_wrong_for_each(both: Both, rolling: str) -> None:
    """A bad profile, an unknown client, and a request without a lead."""
    icp = core.Icp(employee_min=9, employee_max=3)
    lead = core.Lead(title="CEO")
    asked = [request(rolling, lead=lead, icp=icp) for _ in range(4)]
    asked += [request("nobody", lead=lead) for _ in range(4)]
    asked += [request(rolling) for _ in range(3)]
    names = [kind.__name__ for kind, _ in both.agree(asked)]
    assert names == ["InvalidArgument"] * 4 + ["NotFound"] * 4 + ["InvalidArgument"] * 3


def test_profiles_campaigns_and_moments_stay_apart(both: Both, rolling: str) -> None:
    lead = core.Lead(
        lead_id="x", title="CFO", industry="Mining", employment_start_date="2025-12-01"
    )
    later = request(rolling, lead=lead)
    later.as_of_time.FromDatetime(AS_OF + dt.timedelta(days=900))
    asked = [
        request(rolling, lead=lead),
        request(rolling, lead=lead, icp=core.Icp(industries=["mining"])),
        later,
        request(rolling, lead=lead, campaign_id="none"),
    ]
    answers = both.agree(asked * 5)
    assert len({answer.weighted_sum for answer in answers[:3]}) == 3
