"""Every RPC, asked by one client with the ids of another: nothing is shown, nothing is changed.

The other client's rows hold one word that is nowhere else. Requests are filled from the contract by
the names of their fields, so that an RPC added later is asked too.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import stored_patterns
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from running_server import make_client

from cis_client import CisError, Client
from cis_client._methods import RPCS
from cis_client.errors import Internal, InvalidArgument
from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import experiment_service_pb2 as experiments
from cis_client.v1 import learning_service_pb2 as learning
from cis_server.persistence.connections import Role, make_engine, tenant
from cis_server.persistence.patterns import save_patterns
from cis_server.persistence.tables import metadata

Sql = Callable[..., list[tuple[Any, ...]]]

WORD = "zebra"
PROPOSAL = "00000000-0000-0000-0000-00000000002a"
IDS: dict[str, Any] = {
    "client_id": "mine",
    "lead_id": "their-lead",
    "lead_ids": ["their-lead"],
    "campaign_id": "their-campaign",
    "experiment_id": "their-experiment",
    "model_version": "weights-7",
    "recommendation_id": PROPOSAL,
    "channel": "email",
    "approver": "Ann",
    "reason": "asked for",
}
"""By the name of a field: what the request holds."""

WEIGHTS = {
    "data_quality": 0.2,
    "authority": 0.25,
    "company_fit": 0.25,
    "timing": 0.15,
    "risk": 0.15,
}
LEAD = core.Lead(lead_id="their-lead", title="CEO")
DOMAIN = admin.SuppressedIdentifier(
    kind=admin.IDENTIFIER_KIND_DOMAIN, value=f"{WORD}.x", reason="competitor"
)
MORE: dict[str, list[dict[str, Any]]] = {
    "score_lead": [{}, {"lead": LEAD}, {"lead": LEAD, "persist": True}],
    "batch_score_leads": [{"persist": True}, {"leads": [LEAD], "lead_ids": [], "persist": True}],
    "get_channels": [{}, {"tier": core.TIER_HOT, "lead_id": ""}],
    "get_sequence": [{}, {"tier": core.TIER_HOT, "lead_id": "", "timezone": "UTC"}],
    "list_patterns": [{"include_expired": True}],
    "get_pattern": [{"type": core.PATTERN_TYPE_WHO}, {"type": core.PATTERN_TYPE_HOW}],
    "list_pattern_history": [{}, {"type": core.PATTERN_TYPE_WHO}],
    "rollback_model": [{"kind": learning.MODEL_KIND_WEIGHTS}],
    "set_weights": [{"weights": core.Weights(**WEIGHTS)}],
    "decide_recommendation": [{"decision": learning.RECOMMENDATION_STATE_ACCEPTED}],
    "suppress": [{"identifiers": [DOMAIN]}],
    "unsuppress": [{"identifiers": [DOMAIN]}],
    "upsert_campaigns": [{"campaigns": [admin.Campaign(campaign_id="their-campaign")]}],
    "upsert_templates": [{"templates": [admin.Template(template_id="t", channel="email")]}],
    "create_experiment": [
        {
            "variants": [experiments.ExperimentVariant(name=name) for name in ("a", "b")],
            "power_plan": core.PowerPlan(base_rate=0.1),
            "metric": experiments.EXPERIMENT_METRIC_REPLY_RATE,
        }
    ],
}
"""What a request needs beyond the ids, once or several times."""

OF_NO_CLIENT = {
    "upsert_client",  # names the client it writes
    "list_clients",  # for operators
    "get_learning_run",  # by the run's random id alone
    "upsert_pool_persons",  # the pool is common to all
}
NOT_SERVED = {"cis.v1.CaptureService", "cis.v1.AnalyticsService"}


@pytest.fixture(scope="module")
def theirs(api: Client, sql: Sql, module_database_url: str) -> Callable[[], str]:
    """Fills another client; gives what tells its whole state."""
    make_client(api, "mine")
    make_client(api, "theirs", name=WORD, competitor_domains=[f"{WORD}.example"])
    for statement in (
        "INSERT INTO campaigns (client_id, campaign_id, name)"
        " VALUES ('theirs', 'their-campaign', :w)",
        "INSERT INTO leads (client_id, lead_id, title, email, campaign_id, score, tier, timezone)"
        " VALUES ('theirs', 'their-lead', :w, :w || '@x.example', 'their-campaign', 80, 'hot',"
        " 'Asia/Seoul')",
        "INSERT INTO activities (client_id, lead_id, channel, action, subject)"
        " VALUES ('theirs', 'their-lead', 'voice', 'sent', :w)",
        "INSERT INTO suppression (client_id, kind, value) VALUES ('theirs', 'domain', :w || '.x')",
        "INSERT INTO learning_runs (client_id, run_id, state, error)"
        " VALUES ('theirs', 'their-run', 'failed', :w)",
        "INSERT INTO models (client_id, model_id, kind, version, state, parameters, promoted_by)"
        f" VALUES ('theirs', 'm7', 'weights', 7, 'live', '{json.dumps(WEIGHTS)}', :w)",
        "INSERT INTO recommendations (client_id, recommendation_id, kind, title)"
        f" VALUES ('theirs', '{PROPOSAL}', 'gap', :w)",
        "INSERT INTO ab_tests (client_id, ab_test_id, name) VALUES ('theirs',"
        " 'their-experiment', :w)",
        "INSERT INTO ab_test_variants (client_id, ab_test_id, name)"
        " VALUES ('theirs', 'their-experiment', :w)",
    ):
        sql(statement.replace(":w", f"'{WORD}'"))
    now = dt.datetime.now(dt.UTC)
    engine = make_engine(module_database_url)
    for title in (WORD, f"{WORD} again"):
        who = stored_patterns.who(now)
        who = replace(who, title_rankings=(replace(who.title_rankings[0], value=title),))
        how = stored_patterns.how(now)
        with tenant(engine, "theirs", Role.APP) as connection:
            rows = [stored_patterns.to_store(pattern, now) for pattern in (who, how)]
            save_patterns(connection, "theirs", rows, WORD)
    engine.dispose()
    tables = [t.name for t in metadata.sorted_tables if "client_id" in t.columns]

    def state() -> str:
        return "\n".join(
            f"{table} {row}"
            for table in tables
            for (row,) in sql(
                f"SELECT to_jsonb(t)::text FROM {table} t WHERE client_id = 'theirs' ORDER BY 1"
            )
        )

    return state


def filled(message: Descriptor, more: dict[str, Any]) -> Message:
    """A request with every id that its fields take."""
    names = {field.name for field in message.fields}
    chosen = {
        name: value
        for name, value in {**IDS, **more}.items()
        if name in names and value not in ("", [])
    }
    for oneof in message.oneofs:
        # Of alternatives, the one that was asked for stands.
        given = [field.name for field in oneof.fields if field.name in chosen]
        for name in given:
            if len(given) > 1 and name not in more:
                del chosen[name]
    return message_factory.GetMessageClass(message)(**chosen)


def asked(api: Client, name: str, request: Message) -> str:
    """Everything that comes back, the words of a refusal included."""
    rpc = RPCS[name]
    call = getattr(api, name)
    said: list[str] = []
    try:
        if rpc.response_streaming:
            answers = call(iter([request]) if rpc.request_streaming else request)
            with contextlib.closing(answers) if hasattr(answers, "close") else answers:
                said.append(str(next(iter(answers))))
        else:
            said.append(str(call(request)))
    except (InvalidArgument, Internal):
        if rpc.service not in NOT_SERVED:
            raise
    except CisError as refusal:
        said.append(str(refusal))
    except StopIteration:
        pass
    return "\n".join(said)


@pytest.mark.parametrize("name", sorted(set(RPCS) - OF_NO_CLIENT))
def test_no_call_shows_or_changes_what_is_another_s(
    api: Client, theirs: Callable[[], str], name: str
) -> None:
    before = theirs()
    assert WORD in before
    message = descriptor_pool.Default().FindMessageTypeByName(RPCS[name].request)
    assert "client_id" in {field.name for field in message.fields} or RPCS[name].request_streaming
    for more in MORE.get(name, [{}]):
        request = filled(message, more)
        said = asked(api, name, request)
        assert WORD not in said
        assert "Asia/Seoul" not in said
    assert theirs() == before


@pytest.mark.parametrize("name", ["get_client", "get_pattern", "get_experiment"])
def test_the_client_itself_gets_what_others_are_refused(
    api: Client, theirs: Callable[[], str], name: str
) -> None:
    """Otherwise the test above would pass on a server that answers nobody."""
    assert theirs()
    more = {**MORE.get(name, [{}])[0], "client_id": "theirs"}
    message = descriptor_pool.Default().FindMessageTypeByName(RPCS[name].request)
    assert WORD in asked(api, name, filled(message, more))
