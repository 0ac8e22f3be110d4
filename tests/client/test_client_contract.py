"""The clients have every RPC of the contract, each treated as its meaning allows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

import cis_client
from cis_client import AsyncClient, Client, ClientOptions
from cis_client._methods import RPCS, Timeout, rpc_of, snake_case
from cis_client._transport import service_config
from cis_client.v1.core_pb2 import LeadScore
from cis_client.v1.scoring_service_pb2 import BatchScoreLeadsRequest

PROTO = Path(__file__).parents[2] / "proto" / "cis" / "v1"

CONTRACT = {
    (service.full_name, method.name)
    for path in sorted(PROTO.glob("*_service.proto"))
    for service in (
        descriptor_pool.Default().FindFileByName(f"cis/v1/{path.name}").services_by_name.values()
    )
    for method in service.methods
}


def test_the_table_is_the_contract() -> None:
    assert {(rpc.service, rpc.name) for rpc in RPCS.values()} == CONTRACT
    declared = sum(
        len(re.findall(r"^  rpc ", path.read_text(), re.MULTILINE)) for path in PROTO.glob("*")
    )
    assert len(CONTRACT) == len(RPCS) == declared


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_rpc_is_a_method(kind: type) -> None:
    for name, rpc in RPCS.items():
        method = vars(kind)[name]
        assert method.__doc__ == rpc.text
        assert method.attrname == snake_case(rpc.name)


def test_methods_call_the_rpc_of_their_name() -> None:
    with Client(ClientOptions(connections=1)) as client:
        for name, rpc in RPCS.items():
            assert getattr(client, name).rpc is rpc


def test_a_wrong_pair_of_messages_is_refused() -> None:
    with pytest.raises(TypeError, match="no RPC takes BatchScoreLeadsRequest and gives LeadScore"):
        rpc_of(BatchScoreLeadsRequest, LeadScore)


def test_what_may_be_repeated() -> None:
    once = {rpc.name for rpc in RPCS.values() if not rpc.repeatable}
    assert once == {
        "ScoreTable",
        "PromoteModel",
        "RollbackModel",
        "RejectModel",
        "SetWeights",
        "DecideRecommendation",
        "CreateExperiment",
        "EndExperiment",
    }


def test_deadlines_by_kind() -> None:
    kinds = {kind: {rpc.name for rpc in RPCS.values() if rpc.timeout is kind} for kind in Timeout}
    assert kinds[Timeout.STREAM] == {"ScoreTable", "RescoreLeads", "Learn", "Backfill"}
    assert {"BatchScoreLeads", "RecordActivities", "ListTopLeads"} <= kinds[Timeout.BATCH]
    assert {"ScoreLead", "GetTiming", "UpsertClient", "AnalyzeReply"} <= kinds[Timeout.CALL]


def test_service_config() -> None:
    config = json.loads(service_config(ClientOptions(retry_attempts=3, retry_backoff_seconds=0.2)))
    repeatable, health, others = config["methodConfig"]
    assert {"service": "cis.v1.ScoringService", "method": "ScoreLead"} in repeatable["name"]
    assert {"service": "cis.v1.LearningService", "method": "SetWeights"} not in repeatable["name"]
    assert repeatable["retryPolicy"]["maxAttempts"] == 3
    assert repeatable["retryPolicy"]["initialBackoff"] == "0.200s"
    assert (health["waitForReady"], others) == (False, {"name": [{}], "waitForReady": True})
    once = json.loads(service_config(ClientOptions(retry_attempts=1)))
    assert "retryPolicy" not in once["methodConfig"][0]


def test_the_error_tree_is_the_one_drawn() -> None:
    drawn: dict[str, str] = {}
    parents = ["CisError"]
    for line in (cis_client.errors.__doc__ or "").splitlines():
        found = re.match(r"([│ ]*)[├└]── (\w+)", line)
        if found:
            depth = len(found[1]) // 4 + 1
            parents[depth:] = [found[2]]
            drawn[found[2]] = parents[depth - 1]
    assert len(drawn) == 14
    for name, parent in drawn.items():
        assert issubclass(getattr(cis_client, name), getattr(cis_client, parent)), name
    exported = {
        name
        for name in cis_client.__all__
        if isinstance(getattr(cis_client, name), type)
        and issubclass(getattr(cis_client, name), cis_client.CisError)
    }
    assert exported == {*drawn, "CisError"}
