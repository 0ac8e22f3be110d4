"""Experiments over a real server and database: assigned, counted, judged, ended."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cis_client import Client
from cis_client.errors import FailedPrecondition, InvalidArgument, NotFound
from cis_client.v1 import core_pb2
from cis_client.v1 import experiment_service_pb2 as api_v1

Sql = Callable[..., list[tuple[Any, ...]]]

RUNNING = api_v1.EXPERIMENT_STATE_RUNNING


@pytest.fixture
def lead_ids(tenant_id: str, sql: Sql) -> list[str]:
    """Two thousand stored leads."""
    ids = [f"lead-{i}" for i in range(2000)]
    sql("INSERT INTO leads (client_id, lead_id) SELECT %s, unnest(%s::text[])", tenant_id, ids)
    return ids


def create(api: Client, client_id: str, **fields: Any) -> api_v1.Experiment:
    given: dict[str, Any] = {
        "variants": [api_v1.ExperimentVariant(name=name) for name in ("control", "new")],
        "power_plan": core_pb2.PowerPlan(base_rate=0.1),
        "metric": api_v1.EXPERIMENT_METRIC_REPLY_RATE,
        **fields,
    }
    request = api_v1.CreateExperimentRequest(client_id=client_id, **given)
    return api.create_experiment(request).experiment


def assign(
    api: Client, experiment: api_v1.Experiment, lead_ids: Sequence[str]
) -> dict[str, tuple[str, float]]:
    found: dict[str, tuple[str, float]] = {}
    for start in range(0, len(lead_ids), 1000):
        request = api_v1.AssignVariantRequest(
            client_id=experiment.client_id,
            experiment_id=experiment.experiment_id,
            lead_ids=lead_ids[start : start + 1000],
        )
        for one in api.assign_variant(request).assignments:
            found[one.lead_id] = (one.variant, one.propensity)
    return found


def get(api: Client, experiment: api_v1.Experiment) -> api_v1.GetExperimentResponse:
    request = api_v1.GetExperimentRequest(
        client_id=experiment.client_id, experiment_id=experiment.experiment_id
    )
    return api.get_experiment(request)


def end(api: Client, experiment: api_v1.Experiment, **fields: Any) -> api_v1.EndExperimentResponse:
    request = api_v1.EndExperimentRequest(
        client_id=experiment.client_id,
        experiment_id=experiment.experiment_id,
        **{"approver": "Ann", **fields},
    )
    return api.end_experiment(request)


def record(
    sql: Sql, client_id: str, action: str, leads: Sequence[str], **fields: str | None
) -> None:
    """One activity of each lead, now."""
    extra = "".join(f", {name}" for name in fields)
    values = "".join(", %s" for _ in fields)
    sql(
        "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at"
        f"{extra}) SELECT %s, unnest(%s::text[]), 'email', %s, clock_timestamp(){values}",
        client_id,
        list(leads),
        action,
        *fields.values(),
    )


def outcomes(
    sql: Sql, client_id: str, assigned: dict[str, tuple[str, float]], rates: dict[str, float]
) -> None:
    """Every lead is written to; of each variant the stated share replies."""
    record(sql, client_id, "sent", list(assigned))
    for variant, rate in rates.items():
        own = [lead for lead, (name, _) in assigned.items() if name == variant]
        record(sql, client_id, "replied", own[: round(rate * len(own))])


def test_create_gives_the_plan(api: Client, tenant_id: str) -> None:
    made = create(
        api,
        tenant_id,
        name="Subject line",
        hypothesis="A question is opened more often",
        power_plan=core_pb2.PowerPlan(base_rate=0.3, minimum_effect=0.2),
    )
    assert made.state == RUNNING
    assert made.started_time.seconds > 0
    assert [v.name for v in made.variants] == ["control", "new"]
    assert made.power_plan.leads_per_variant == 1926  # see tests/stats/test_experiment_size.py
    assert made.power_plan.power == 0.8
    assert not made.power_plan.HasField("expected_days")  # nobody was contacted of late
    found = get(api, made)
    assert found.experiment == made
    assert found.result.verdict == api_v1.EXPERIMENT_VERDICT_INCONCLUSIVE
    assert not found.result.HasField("expected_end_time")


def test_the_same_request_again_gives_the_same_experiment(api: Client, tenant_id: str) -> None:
    made = create(api, tenant_id, experiment_id="mine", name="First")
    assert create(api, tenant_id, experiment_id="mine", name="First") == made
    with pytest.raises(FailedPrecondition) as refused:
        create(api, tenant_id, experiment_id="mine", name="Second")
    assert refused.value.reason == "EXPERIMENT_EXISTS"


def test_base_rate_and_duration_come_from_the_past(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]
) -> None:
    # 300 leads contacted 60 days ago of whom 60 converted; 300 contacted in the last 30 days.
    sql(
        "UPDATE leads SET first_contacted_at = now() - interval '60 days', converted_at ="
        " CASE WHEN lead_id = ANY(%s) THEN now() - interval '50 days' END"
        " WHERE client_id = %s AND lead_id = ANY(%s)",
        lead_ids[:60],
        tenant_id,
        lead_ids[:300],
    )
    sql(
        "UPDATE leads SET first_contacted_at = now() - interval '3 days'"
        " WHERE client_id = %s AND lead_id = ANY(%s)",
        tenant_id,
        lead_ids[300:600],
    )
    plan = create(
        api,
        tenant_id,
        metric=api_v1.EXPERIMENT_METRIC_CONVERSION_RATE,
        power_plan=core_pb2.PowerPlan(minimum_effect=0.5),
    ).power_plan
    assert plan.base_rate == pytest.approx(0.2)
    # Ten leads a day, half of them to each variant.
    assert plan.expected_days == pytest.approx(plan.leads_per_variant / 5.0)


def test_assignment_is_stable_and_has_the_shares(
    api: Client, tenant_id: str, lead_ids: list[str]
) -> None:
    variants = [
        api_v1.ExperimentVariant(name="a", weight=3),
        api_v1.ExperimentVariant(name="b", weight=1),
    ]
    made = create(api, tenant_id, variants=variants)
    first = assign(api, made, lead_ids)
    assert assign(api, made, list(reversed(lead_ids))) == first
    assert {p for v, p in first.values() if v == "a"} == {0.75}
    assert {p for v, p in first.values() if v == "b"} == {0.25}
    shares = Counter(variant for variant, _ in first.values())
    assert abs(shares["a"] - 1500) < 4 * np.sqrt(2000 * 0.75 * 0.25)


def test_another_process_draws_the_same(api: Client, tenant_id: str, lead_ids: list[str]) -> None:
    made = create(api, tenant_id, experiment_id="everywhere")
    here = assign(api, made, lead_ids[:200])
    program = (
        "from cis_server.stats.assignment import Assigner;"
        f"a = Assigner({tenant_id!r}, 'everywhere', [1.0, 1.0]);"
        "print(','.join(str(a.variant(f'lead-{i}')) for i in range(200)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    there = [("control", "new")[int(place)] for place in done.stdout.strip().split(",")]
    assert there == [here[lead][0] for lead in lead_ids[:200]]


def test_the_first_assignment_holds(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]
) -> None:
    made = create(api, tenant_id)
    first = assign(api, made, lead_ids[:50])
    # Somebody changes the shares of a running experiment: leads keep what they have.
    sql(
        "UPDATE ab_test_variants SET weight = 1000 WHERE client_id = %s AND name = 'new'", tenant_id
    )
    assert assign(api, made, lead_ids[:50]) == first


def test_equal_variants_have_no_winner(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]
) -> None:
    made = create(api, tenant_id)
    assigned = assign(api, made, lead_ids)
    outcomes(sql, tenant_id, assigned, {"control": 0.10, "new": 0.10})
    result = get(api, made).result
    assert result.verdict == api_v1.EXPERIMENT_VERDICT_INCONCLUSIVE
    assert not result.HasField("winner")
    assert result.sequence_low < 0 < result.sequence_high
    assert sum(v.assigned for v in result.variants) == 2000
    assert sum(v.estimate.sample for v in result.variants) == 2000
    assert result.variants[0].estimate.rate == pytest.approx(0.10, abs=0.001)
    assert not result.variants[0].HasField("difference")
    assert result.variants[1].difference_low < 0 < result.variants[1].difference_high
    assert 0 < result.progress < 1


def test_a_planted_lift_wins(api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]) -> None:
    made = create(api, tenant_id)
    assigned = assign(api, made, lead_ids)
    outcomes(sql, tenant_id, assigned, {"control": 0.10, "new": 0.20})
    found = get(api, made).result
    assert found.verdict == api_v1.EXPERIMENT_VERDICT_WINNER
    assert found.winner == "new"
    assert found.sequence_low > 0
    new = found.variants[1]
    assert new.probability_best > 0.999
    assert new.difference == pytest.approx(0.10, abs=0.003)
    ended = end(api, made)
    assert ended.experiment.state == api_v1.EXPERIMENT_STATE_COMPLETED
    assert ended.experiment.ended_by == "Ann"
    assert ended.result.winner == "new"
    # What comes later changes nothing.
    record(sql, tenant_id, "replied", [x for x, (v, _) in assigned.items() if v == "control"])
    assert get(api, made).result == ended.result
    assert sql("SELECT status, verdict, winner FROM ab_tests WHERE client_id = %s", tenant_id) == [
        ("completed", "winner", "new")
    ]


def test_leads_missing_from_one_variant_block_the_verdict(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]
) -> None:
    made = create(api, tenant_id)
    assigned = assign(api, made, lead_ids)
    # A fault of the new template: half of its messages never go out. The experiment's
    # identifier is drawn anew, so leads split differently in each run; a fifth could hide in that.
    own = [lead for lead, (variant, _) in assigned.items() if variant == "new"]
    lost = set(own[: len(own) // 2])
    sent = {lead: got for lead, got in assigned.items() if lead not in lost}
    outcomes(sql, tenant_id, sent, {"control": 0.10, "new": 0.20})
    result = get(api, made).result
    assert result.verdict == api_v1.EXPERIMENT_VERDICT_BLOCKED
    assert not result.HasField("winner")
    assert result.sample_ratio_p_value < 0.001
    assert "not those planned" in result.text


def test_only_what_people_do_after_their_assignment_counts(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]
) -> None:
    leads = lead_ids[:10]
    record(sql, tenant_id, "sent", leads)
    record(sql, tenant_id, "replied", leads)
    made = create(api, tenant_id)
    assigned = assign(api, made, leads)
    assert sum(v.estimate.sample for v in get(api, made).result.variants) == 0
    record(sql, tenant_id, "sent", [*leads, *leads])
    record(sql, tenant_id, "replied", leads[:3], intent="out_of_office")
    record(sql, tenant_id, "replied", [leads[4], leads[4]], intent="interested")
    variants = {v.variant: v for v in get(api, made).result.variants}
    assert sum(v.estimate.sample for v in variants.values()) == 10
    assert sum(v.estimate.converted for v in variants.values()) == 1
    assert variants[assigned[leads[4]][0]].estimate.converted == 1


@pytest.mark.parametrize("word", ["open", "click"])
def test_machines_do_not_count(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str], word: str
) -> None:
    metric = getattr(api_v1, f"EXPERIMENT_METRIC_{word.upper()}_RATE")
    past = {"open": "opened", "click": "clicked"}[word]
    made = create(api, tenant_id, metric=metric)
    assign(api, made, lead_ids[:4])
    sql(
        "UPDATE ab_test_assignments SET assigned_at = now() - interval '1 day'"
        " WHERE client_id = %s",
        tenant_id,
    )
    record(sql, tenant_id, "sent", lead_ids[:4])
    sql(
        "UPDATE activities SET occurred_at = now() - interval '2 hours' WHERE client_id = %s",
        tenant_id,
    )
    for lead, machine in zip(lead_ids[:2], (True, False), strict=True):
        sql(
            "INSERT INTO email_events (client_id, lead_id, activity_id, event_type, occurred_at,"
            " reported_machine) SELECT client_id, lead_id, activity_id, %s,"
            " now() - interval '1 hour', %s FROM activities WHERE client_id = %s AND lead_id = %s",
            past,
            machine,
            tenant_id,
            lead,
        )
    assert sum(v.estimate.converted for v in get(api, made).result.variants) == 1


def test_meetings_and_conversions_count(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]
) -> None:
    made = create(api, tenant_id, metric=api_v1.EXPERIMENT_METRIC_MEETING_RATE)
    assign(api, made, lead_ids[:4])
    record(sql, tenant_id, "sent", lead_ids[:4])
    sql(
        "INSERT INTO meetings (client_id, lead_id, booked_at) VALUES (%s, %s, clock_timestamp()),"
        " (%s, %s, now() - interval '1 day')",
        tenant_id,
        lead_ids[0],
        tenant_id,
        lead_ids[1],
    )
    assert sum(v.estimate.converted for v in get(api, made).result.variants) == 1
    end(api, made)
    made = create(api, tenant_id, metric=api_v1.EXPERIMENT_METRIC_CONVERSION_RATE)
    assign(api, made, lead_ids[:4])
    record(sql, tenant_id, "sent", lead_ids[:4])
    sql(
        "UPDATE leads SET status = 'converted', stated_converted_at = clock_timestamp()"
        " WHERE client_id = %s AND lead_id = %s",
        tenant_id,
        lead_ids[2],
    )
    assert sum(v.estimate.converted for v in get(api, made).result.variants) == 1


def test_tests_of_other_programs_are_counted_by_their_touches(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]
) -> None:
    sql(
        "INSERT INTO ab_tests (client_id, ab_test_id, name, status, started_at)"
        " VALUES (%s, 'theirs', 'Theirs', 'running', now() - interval '1 day')",
        tenant_id,
    )
    sql(
        "INSERT INTO ab_test_variants (client_id, ab_test_id, name)"
        " VALUES (%s, 'theirs', 'B'), (%s, 'theirs', 'A')",
        tenant_id,
        tenant_id,
    )
    for variant, leads in (("A", lead_ids[:30]), ("B", lead_ids[29:60])):
        record(sql, tenant_id, "sent", leads, ab_test_id="theirs", ab_variant=variant)
    record(sql, tenant_id, "replied", lead_ids[:3])
    theirs = api_v1.Experiment(client_id=tenant_id, experiment_id="theirs")
    found = get(api, theirs)
    assert found.experiment.state == RUNNING
    # The lead that met both is left out.
    assert [(v.variant, v.estimate.sample, v.estimate.converted) for v in found.result.variants] \
        == [("A", 29, 3), ("B", 30, 0)]  # fmt: skip


def test_one_experiment_at_a_time_in_a_campaign(api: Client, sql: Sql, tenant_id: str) -> None:
    for name in ("north", "south"):
        sql("INSERT INTO campaigns (client_id, campaign_id, name) VALUES (%s, %s, '')",
            tenant_id, name)  # fmt: skip
    north = create(api, tenant_id, campaign_id="north")
    create(api, tenant_id, campaign_id="south")
    for campaign in ({"campaign_id": "north"}, {}):
        with pytest.raises(FailedPrecondition) as refused:
            create(api, tenant_id, **campaign)
        assert refused.value.reason == "EXPERIMENT_RUNNING"
    end(api, north)
    create(api, tenant_id, campaign_id="north")
    with pytest.raises(NotFound) as missing:
        create(api, tenant_id, campaign_id="west")
    assert "campaign 'west'" in str(missing.value)


def test_called_off_leaves_no_verdict(api: Client, tenant_id: str, lead_ids: list[str]) -> None:
    made = create(api, tenant_id)
    known = assign(api, made, lead_ids[:10])
    ended = end(api, made, cancel=True)
    assert ended.experiment.state == api_v1.EXPERIMENT_STATE_CANCELLED
    assert not ended.HasField("result")
    assert not get(api, made).HasField("result")
    # Sequences under way go on as they began; nobody new comes in.
    assert assign(api, made, lead_ids[:10]) == known
    with pytest.raises(FailedPrecondition) as refused:
        assign(api, made, lead_ids[:11])
    assert refused.value.reason == "EXPERIMENT_NOT_RUNNING"
    with pytest.raises(FailedPrecondition) as refused:
        end(api, made)
    assert refused.value.reason == "EXPERIMENT_ENDED"


def test_paused_takes_no_new_leads(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]
) -> None:
    made = create(api, tenant_id)
    known = assign(api, made, lead_ids[:5])
    sql("UPDATE ab_tests SET status = 'paused' WHERE client_id = %s", tenant_id)
    assert assign(api, made, lead_ids[:5]) == known
    with pytest.raises(FailedPrecondition) as refused:
        assign(api, made, lead_ids[:6])
    assert refused.value.metadata["state"] == "paused"
    assert get(api, made).experiment.state == api_v1.EXPERIMENT_STATE_PAUSED


def test_an_unknown_lead_assigns_nobody(
    api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]
) -> None:
    made = create(api, tenant_id)
    with pytest.raises(NotFound) as missing:
        assign(api, made, [lead_ids[0], "nobody"])
    assert "lead 'nobody'" in str(missing.value)
    count = "SELECT count(*) FROM ab_test_assignments WHERE client_id = %s"
    assert sql(count, tenant_id) == [(0,)]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"variants": [api_v1.ExperimentVariant(name="only")]}, "variants"),
        (
            {"variants": [api_v1.ExperimentVariant(name="a"), api_v1.ExperimentVariant(name="a")]},
            "variants[1].name",
        ),
        (
            {"variants": [api_v1.ExperimentVariant(name="a"),
                          api_v1.ExperimentVariant(name="b", weight=0)]},
            "variants[1].weight",
        ),
        ({"power_plan": core_pb2.PowerPlan(base_rate=1.0)}, "power_plan.base_rate"),
        ({"power_plan": core_pb2.PowerPlan(base_rate=0.6, minimum_effect=0.8)},
         "power_plan.minimum_effect"),
        ({"power_plan": core_pb2.PowerPlan(base_rate=0.1, power=0.4)}, "power_plan.power"),
    ],
)  # fmt: skip
def test_wrong_plans_are_named(
    api: Client, tenant_id: str, fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        create(api, tenant_id, **fields)
    assert [violation.field for violation in wrong.value.violations] == [path]


def test_what_is_unknown_is_not_found(api: Client, tenant_id: str) -> None:
    nobody = api_v1.Experiment(client_id="nobody", experiment_id="x")
    nothing = api_v1.Experiment(client_id=tenant_id, experiment_id="x")
    for call in (get, end, lambda a, e: assign(a, e, ["lead"])):
        with pytest.raises(NotFound, match="client 'nobody'"):
            call(api, nobody)
        with pytest.raises(NotFound, match="experiment 'x'"):
            call(api, nothing)
    with pytest.raises(NotFound, match="client 'nobody'"):
        create(api, "nobody")
    with pytest.raises(FailedPrecondition) as unknown:
        create(api, tenant_id, power_plan=None)
    assert unknown.value.reason == "BASE_RATE_UNKNOWN"
    with pytest.raises(InvalidArgument) as wrong:
        end(api, nothing, approver="")
    assert wrong.value.violations[0].field == "approver"


def test_pace_gives_the_end(api: Client, sql: Sql, tenant_id: str, lead_ids: list[str]) -> None:
    made = create(api, tenant_id)
    sql("UPDATE ab_tests SET started_at = now() - interval '10 days' WHERE client_id = %s",
        tenant_id)  # fmt: skip
    assigned = assign(api, made, lead_ids[:200])
    record(sql, tenant_id, "sent", list(assigned))
    result = get(api, made).result
    slowest = min(v.estimate.sample for v in result.variants)
    wanted = made.power_plan.leads_per_variant
    assert result.progress == pytest.approx(slowest / wanted)
    left = result.expected_end_time.ToDatetime(dt.UTC) - dt.datetime.now(dt.UTC)
    assert left / dt.timedelta(days=1) == pytest.approx(10 * (wanted - slowest) / slowest, rel=1e-3)
