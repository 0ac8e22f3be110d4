"""Recommendations over a real server: listed by what they may bring, decided on once."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cis_client import Client
from cis_client.cli import main
from cis_client.errors import FailedPrecondition, InvalidArgument, NotFound
from cis_client.v1 import learning_service_pb2 as learning
from cis_server.domain.experiments import PowerPlan
from cis_server.domain.recommendations import (
    Evidence,
    EvidenceBasis,
    Recommendation,
    RecommendationKind,
)
from cis_server.domain.vocabulary import PatternType
from cis_server.persistence.connections import make_engine, tenant
from cis_server.persistence.recommendations import save_recommendations

AT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
PROPOSED, ACCEPTED, REJECTED, EXPIRED = (
    learning.RecommendationState.Value(f"RECOMMENDATION_STATE_{name}")
    for name in ("PROPOSED", "ACCEPTED", "REJECTED", "EXPIRED")
)
ALL = [PROPOSED, ACCEPTED, REJECTED, EXPIRED]

Save = Callable[..., None]


@pytest.fixture(scope="module")
def save(module_database_url: str) -> Any:
    """Store what a run proposes."""
    engine = make_engine(module_database_url)

    def stored(
        client_id: str,
        found: Sequence[Recommendation],
        *,
        patterns: Sequence[PatternType] = (PatternType.WHAT, PatternType.HOW),
        run_id: str = "run-1",
        at: dt.datetime = AT,
    ) -> None:
        with tenant(engine, client_id) as connection:
            save_recommendations(connection, client_id, found, patterns, run_id, at)

    yield stored
    engine.dispose()


def proposal(number: int, expected: float, **changes: Any) -> Recommendation:
    given: dict[str, Any] = {
        "recommendation_id": str(uuid.UUID(int=number)),
        "kind": RecommendationKind.PROMPT_EDIT,
        "title": f"Use more: angle {number}",
        "text": "Use it",
        "basis": EvidenceBasis.ASSOCIATION,
        "evidence": Evidence(
            pattern=PatternType.WHAT, key="angles", value=str(number), unit="touches", sample=400,
            converted=40, rate=0.1, low=0.08, high=0.12, other_rate=0.05, other_sample=600,
            q_value=0.01,
        ),
        "evidence_text": "Seen together",
        "expected": expected,
        "low": expected - 1,
        "high": expected + 1,
        "element": {"angle": str(number)},
    }  # fmt: skip
    return Recommendation(**{**given, **changes})


def listed(api: Client, client_id: str, states: Sequence[Any] = ()) -> dict[int, Any]:
    """By number, in order."""
    request = learning.GetRecommendationsRequest(client_id=client_id, states=states)
    found = api.get_recommendations(request).recommendations
    return {uuid.UUID(one.recommendation_id).int: one for one in found}


def decide(api: Client, client_id: str, number: int, decision: Any, **fields: Any) -> Any:
    request = learning.DecideRecommendationRequest(
        client_id=client_id,
        recommendation_id=str(uuid.UUID(int=number)),
        decision=decision,
        **{"approver": "Ann", **fields},
    )
    return api.decide_recommendation(request).recommendation


def test_they_come_with_everything_behind_them(api: Client, tenant_id: str, save: Save) -> None:
    plan = PowerPlan(base_rate=0.1, leads_per_variant=700, expected_days=31.0)
    test = proposal(2, 1.0, kind=RecommendationKind.EXPERIMENT, power_plan=plan)
    save(tenant_id, [proposal(1, 5.0), test])
    answer = api.get_recommendations(learning.GetRecommendationsRequest(client_id=tenant_id))
    first, second = answer.recommendations
    assert first.client_id == tenant_id
    assert first.kind == learning.RECOMMENDATION_KIND_PROMPT_EDIT
    assert first.basis == learning.EVIDENCE_BASIS_ASSOCIATION
    assert (first.expected_extra_conversions, first.low, first.high) == (5.0, 4.0, 6.0)
    assert first.state == PROPOSED
    assert first.element["angle"] == "1"
    assert first.run_id == "run-1"
    assert first.created_time.ToDatetime(dt.UTC) == AT
    assert (first.finding.pattern, first.finding.key, first.finding.value) == (
        "what",
        "angles",
        "1",
    )
    assert (first.finding.sample, first.finding.other_sample) == (400, 600)
    assert first.finding.q_value == 0.01
    assert not first.HasField("power_plan")
    assert second.power_plan.leads_per_variant == 700
    assert second.power_plan.expected_days == 31.0
    assert answer.model.model_version == "run-1"


def test_a_run_again_updates_rather_than_doubles(api: Client, tenant_id: str, save: Save) -> None:
    save(tenant_id, [proposal(1, 5.0), proposal(2, 3.0), proposal(3, 2.0)])
    decide(api, tenant_id, 3, REJECTED)
    later = AT + dt.timedelta(days=7)
    save(
        tenant_id, [proposal(1, 1.0), proposal(3, 9.0), proposal(4, 2.0)], run_id="run-2", at=later
    )
    assert {n: one.state for n, one in listed(api, tenant_id, ALL).items()} == {
        1: PROPOSED, 2: EXPIRED, 3: REJECTED, 4: PROPOSED,
    }  # fmt: skip
    now = listed(api, tenant_id, ALL)
    assert (now[1].expected_extra_conversions, now[1].run_id) == (1.0, "run-2")
    assert now[1].created_time.ToDatetime(dt.UTC) == AT
    # What was decided on stays as it was when it was decided.
    assert (now[3].expected_extra_conversions, now[3].run_id) == (2.0, "run-1")
    save(tenant_id, [proposal(2, 3.0)], run_id="run-3", at=later)
    again = listed(api, tenant_id)
    assert list(again) == [2]
    assert again[2].created_time.ToDatetime(dt.UTC) == later


def test_a_pattern_that_was_not_found_expires_nothing(
    api: Client, tenant_id: str, save: Save
) -> None:
    save(tenant_id, [proposal(1, 5.0)])
    save(tenant_id, [], patterns=[PatternType.HOW], run_id="run-2")
    assert list(listed(api, tenant_id)) == [1]
    save(tenant_id, [], patterns=[PatternType.WHAT], run_id="run-3")
    assert listed(api, tenant_id) == {}


def test_pages_in_order_of_what_they_may_bring(api: Client, tenant_id: str, save: Save) -> None:
    expected = {1: 2.0, 2: 7.5, 3: 2.0, 4: 0.1, 5: -1.0}
    save(tenant_id, [proposal(number, value) for number, value in expected.items()])
    seen, token = [], ""
    while True:
        page = api.get_recommendations(
            learning.GetRecommendationsRequest(client_id=tenant_id, page_size=2, page_token=token)
        )
        seen += [uuid.UUID(one.recommendation_id).int for one in page.recommendations]
        token = page.next_page_token
        if not token:
            break
    assert seen == [2, 1, 3, 4, 5]


def test_a_decision_is_kept_with_who_and_why(
    api: Client, tenant_id: str, save: Save, sql: Callable[..., list[Any]]
) -> None:
    save(tenant_id, [proposal(1, 5.0), proposal(2, 3.0)])
    made = decide(api, tenant_id, 1, ACCEPTED, reason="worth a try")
    assert (made.state, made.approver, made.reason) == (ACCEPTED, "Ann", "worth a try")
    assert made.decided_time.seconds > 0
    assert decide(api, tenant_id, 1, ACCEPTED) == made
    assert listed(api, tenant_id, [ACCEPTED]) == {1: made}
    assert list(listed(api, tenant_id)) == [2]
    for again in ({"decision": REJECTED}, {"decision": ACCEPTED, "approver": "Bob"}):
        with pytest.raises(FailedPrecondition) as refused:
            decide(api, tenant_id, 1, **again)
        assert refused.value.reason == "RECOMMENDATION_DECIDED"
        assert refused.value.metadata["approver"] == "Ann"
    audit = "SELECT actor, action, subject, detail ->> 'decision' FROM access_audit" \
        " WHERE client_id = %s"  # fmt: skip
    assert sql(audit, tenant_id) == [
        ("Ann", "decide_recommendation", str(uuid.UUID(int=1)), "accepted")
    ]


def test_what_expired_cannot_be_accepted(api: Client, tenant_id: str, save: Save) -> None:
    save(tenant_id, [proposal(1, 5.0)])
    save(tenant_id, [])
    with pytest.raises(FailedPrecondition) as refused:
        decide(api, tenant_id, 1, ACCEPTED)
    assert refused.value.reason == "RECOMMENDATION_EXPIRED"


def test_one_client_sees_nothing_of_another(
    api: Client, tenant_id: str, save: Save, sql: Callable[..., list[Any]]
) -> None:
    sql("INSERT INTO clients (client_id) VALUES ('other-recommendations') ON CONFLICT DO NOTHING")
    save("other-recommendations", [proposal(1, 5.0)])
    assert listed(api, tenant_id) == {}
    with pytest.raises(NotFound, match="recommendation"):
        decide(api, tenant_id, 1, ACCEPTED)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"decision": EXPIRED}, "decision"),
        ({"decision": ACCEPTED, "approver": ""}, "approver"),
        ({"decision": ACCEPTED, "recommendation_id": "x"}, "recommendation_id"),
    ],
)
def test_wrong_decisions_are_named(
    api: Client, tenant_id: str, fields: dict[str, Any], path: str
) -> None:
    given = {"recommendation_id": str(uuid.UUID(int=1)), "approver": "Ann", **fields}
    request = learning.DecideRecommendationRequest(client_id=tenant_id, **given)
    with pytest.raises(InvalidArgument) as wrong:
        api.decide_recommendation(request)
    assert [violation.field for violation in wrong.value.violations] == [path]


def test_unknown_clients_and_tokens(api: Client, tenant_id: str) -> None:
    with pytest.raises(NotFound, match="client 'nobody'"):
        listed(api, "nobody")
    with pytest.raises(NotFound, match="client 'nobody'"):
        decide(api, "nobody", 1, ACCEPTED)
    for token in ("x", "WyJuYW4iLCAiMSJd", "WyJhIiwgIjEiXQ=="):
        with pytest.raises(InvalidArgument) as wrong:
            api.get_recommendations(
                learning.GetRecommendationsRequest(client_id=tenant_id, page_token=token)
            )
        assert wrong.value.violations[0].field == "page_token"


def test_the_command_lists_and_decides(
    target: str,
    tenant_id: str,
    save: Save,
    sql: Callable[..., list[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def cis(*arguments: str) -> str:
        assert main([*arguments, "--client", tenant_id, "--target", target]) == 0
        return capsys.readouterr().out

    assert "nothing is proposed" in cis("recommendations")
    plan = PowerPlan(base_rate=0.1, leads_per_variant=700, expected_days=31.0)
    save(tenant_id, [proposal(1, 5.0), proposal(2, 3.0, power_plan=plan)])
    table = cis("recommendations")
    assert table.index("Use more: angle 1") < table.index("Use more: angle 2")
    assert "+4.0 to +6.0" in table
    assert "700 per variant" in cis("recommendations", "--long")
    number = str(uuid.UUID(int=1))
    done = cis("recommendation", "accept", number, "--approver", "Ann", "--comment", "try it")
    assert "accepted" in done
    assert "try it" in done
    assert "angle 1" not in cis("recommendations")
    assert '"RECOMMENDATION_STATE_ACCEPTED"' in cis("recommendations", "--state", "all", "--json")
    refused = main(["recommendation", "reject", number, "--approver", "Ann", "--client", tenant_id,
                    "--target", target])  # fmt: skip
    assert refused == 4
    assert "accepted by Ann" in capsys.readouterr().err
    sql("UPDATE recommendations SET detail = '{}' WHERE client_id = %s", tenant_id)
    assert main(["recommendations", "--client", tenant_id, "--target", target]) == 0
    assert "the server cannot read them: 00000000-" in capsys.readouterr().err


@pytest.mark.parametrize(
    "breaking",
    [
        "detail = '[]'",
        "detail = detail - 'evidence'",
        "detail = jsonb_set(detail, '{kind}', '\"rumour\"')",
        "detail = jsonb_set(detail, '{evidence}', '\"none\"')",
        # Reads as a proposal, but holds words where a number belongs.
        "detail = jsonb_set(detail, '{expected}', '\"many\"')",
        "detail = jsonb_set(detail, '{evidence,sample}', '1.5')",
        "detail = '{}', expected_conversions = NULL",
        "detail = '{}', expected_conversions = 'NaN'",
        "detail = '{}', expected_conversions = 'infinity'",
    ],
)
def test_one_that_cannot_be_read_hides_no_other(
    api: Client,
    tenant_id: str,
    save: Save,
    sql: Callable[..., list[Any]],
    breaking: str,
) -> None:
    """Another program may write anything into a row; the others are told as they are."""
    save(tenant_id, [proposal(number, 6.0 - number) for number in (1, 2, 3)])
    broken = str(uuid.UUID(int=2))
    where = "client_id = %s AND recommendation_id = %s"
    sql(f"UPDATE recommendations SET {breaking} WHERE {where}", tenant_id, broken)
    request = learning.GetRecommendationsRequest(client_id=tenant_id)
    answer = api.get_recommendations(request)
    assert [uuid.UUID(one.recommendation_id).int for one in answer.recommendations] == [1, 3]
    assert list(answer.unreadable_recommendation_ids) == [broken]
    assert answer.model.model_version == "run-1"
    seen, unreadable, token = [], [], ""
    while True:
        request = learning.GetRecommendationsRequest(
            client_id=tenant_id, page_size=1, page_token=token
        )
        page = api.get_recommendations(request)
        seen += [uuid.UUID(one.recommendation_id).int for one in page.recommendations]
        unreadable += page.unreadable_recommendation_ids
        token = page.next_page_token
        if not token:
            break
    assert (seen, unreadable) == ([1, 3], [broken])
    with pytest.raises(FailedPrecondition) as refused:
        decide(api, tenant_id, 2, ACCEPTED)
    assert refused.value.reason == "RECOMMENDATION_UNREADABLE"
    assert decide(api, tenant_id, 3, ACCEPTED).state == ACCEPTED
