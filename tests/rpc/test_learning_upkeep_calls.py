"""CheckHealth and Backfill over real gRPC and a real database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from running_server import wait_until

from cis_client import Client
from cis_client.errors import FailedPrecondition, InvalidArgument, NotFound
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import learning_service_pb2 as learning
from cis_server.persistence.connections import make_engine
from cis_server.persistence.runs import Runs

Sql = Callable[..., list[tuple[Any, ...]]]


def test_health_of_one_client_and_of_all(api: Client, sql: Sql, tenant_id: str) -> None:
    sql("UPDATE clients SET conversion_sample_count = 40 WHERE client_id = %s", tenant_id)
    sql(
        "INSERT INTO patterns (client_id, pattern_type, patterns, sample_size, confidence,"
        " valid_until) VALUES (%s, 'who', '{}', 12, 0.9, now() - interval '1 day')",
        tenant_id,
    )
    found = api.check_health(learning.CheckHealthRequest(client_id=tenant_id))
    assert (found.clients_checked, found.healthy, found.with_warnings) == (1, 0, 1)
    (client,) = found.clients
    said = [(w.type, w.pattern, w.severity) for w in client.warnings]
    assert said[:4] == [
        ("expired", core.PATTERN_TYPE_WHO, learning.SEVERITY_HIGH),
        ("missing_pattern", core.PATTERN_TYPE_HOW, learning.SEVERITY_HIGH),
        ("missing_pattern", core.PATTERN_TYPE_WHAT, learning.SEVERITY_HIGH),
        ("missing_pattern", core.PATTERN_TYPE_WHEN, learning.SEVERITY_HIGH),
    ]
    assert said[4:] == [("low_sample", core.PATTERN_TYPE_WHO, learning.SEVERITY_MEDIUM)]
    assert (client.warning_count, client.high_severity_count) == (5, 4)
    assert found.total_warnings == 5
    assert all(warning.remedy for warning in client.warnings)
    assert (client.warnings[4].value, client.warnings[4].bound) == (12.0, 30.0)
    assert not client.HasField("last_success_time")
    worst = api.check_health(
        learning.CheckHealthRequest(client_id=tenant_id, min_severity=learning.SEVERITY_HIGH)
    )
    assert len(worst.clients[0].warnings) == 4
    assert worst.clients[0].warning_count == 5


def test_clients_come_in_pages_worst_first(api: Client, sql: Sql, tenant_id: str) -> None:
    sql("UPDATE clients SET conversion_sample_count = 40 WHERE client_id = %s", tenant_id)
    names: list[str] = []
    token = ""
    while True:
        page = api.check_health(learning.CheckHealthRequest(page_size=1, page_token=token))
        names += [client.client_id for client in page.clients]
        assert len(page.clients) == 1
        token = page.next_page_token
        if not token:
            break
    assert len(names) == len(set(names)) == page.clients_checked
    assert tenant_id in names
    with pytest.raises(InvalidArgument, match="page_token"):
        api.check_health(learning.CheckHealthRequest(page_token="nonsense"))
    with pytest.raises(NotFound):
        api.check_health(learning.CheckHealthRequest(client_id="nobody"))


def test_backfill_is_followed_to_its_end(
    api: Client, sql: Sql, tenant_id: str, module_database_url: str
) -> None:
    """Here the test plays the worker."""
    events: list[learning.BackfillResponse] = []

    def follow() -> None:
        with api.backfill(learning.BackfillRequest(client_id=tenant_id)) as stream:
            events.extend(stream)

    caller = threading.Thread(target=follow)
    caller.start()
    query = "SELECT run_id, trigger FROM learning_runs WHERE client_id = %s"
    wait_until(lambda: bool(sql(query, tenant_id)), 10.0)
    ((run_id, trigger),) = sql(query, tenant_id)
    assert trigger == "backfill"
    engine = make_engine(module_database_url)
    runs = Runs(engine)
    run = runs.claim(tenant_id, run_id, "test")
    assert run is not None
    wait_until(lambda: any(event.progress.stage == "running" for event in events), 10.0)
    sql(
        'UPDATE learning_runs SET counts = \'{"touches_marked": 3, "marks_cleared": 1}\''
        " WHERE run_id = %s",
        run_id,
    )
    runs.end_without_result(tenant_id, run_id, "nothing learned", (), attempt=run.attempts)
    caller.join(10)
    engine.dispose()
    result = events[-1].result
    assert result.run_id == run_id
    (done,) = result.clients
    assert (done.touches_marked, done.marks_cleared, done.leads_scored) == (3, 1, 0)
    assert (done.message, done.error) == ("nothing learned", "")
    assert not done.HasField("learned")
    stored = api.get_learning_run(learning.GetLearningRunRequest(run_id=run_id)).run
    assert stored.trigger == "backfill"
    assert stored.counts["touches_marked"] == 3


def test_backfill_refused(api: Client, sql: Sql, tenant_id: str) -> None:
    sql(
        "INSERT INTO patterns (client_id, pattern_type, patterns, sample_size, confidence,"
        " valid_until) VALUES (%s, 'who', '{}', 12, 0.9, now() + interval '1 day')",
        tenant_id,
    )
    with (
        pytest.raises(FailedPrecondition, match="still valid"),
        api.backfill(learning.BackfillRequest(client_id=tenant_id)) as events,
    ):
        list(events)
    with (
        pytest.raises(NotFound),
        api.backfill(learning.BackfillRequest(client_id="nobody")) as events,
    ):
        list(events)
    with api.backfill(learning.BackfillRequest(all_eligible=True)) as events:
        (only,) = list(events)
    assert {s.client_id: s.reason for s in only.result.skipped}[tenant_id].startswith("0 touches")
