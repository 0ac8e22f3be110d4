"""Earlier versions of patterns over the wire."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
import stored_patterns
from running_server import make_client

from cis_client import Client
from cis_client.errors import InvalidArgument, NotFound
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import pattern_service_pb2 as patterns
from cis_server.domain.stored import Stored
from cis_server.persistence.connections import Role, make_engine, tenant
from cis_server.persistence.patterns import save_patterns
from cis_server.rpc.pages import page_token


@pytest.fixture(scope="module")
def save(module_database_url: str) -> Any:
    engine = make_engine(module_database_url)

    def run(client_id: str, run_id: str, *stored: Stored, days: float = 14.0) -> None:
        now = dt.datetime.now(dt.UTC)
        with tenant(engine, client_id, Role.APP) as connection:
            save_patterns(
                connection,
                client_id,
                [stored_patterns.to_store(pattern, now, days=days) for pattern in stored],
                run_id,
            )

    yield run
    engine.dispose()


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def history(api: Client, client_id: str, **fields: Any) -> patterns.ListPatternHistoryResponse:
    return api.list_pattern_history(
        patterns.ListPatternHistoryRequest(client_id=client_id, **fields)
    )


def test_versions_come_newest_first_with_reason_and_run(
    api: Client, tenant_id: str, save: Callable[..., None]
) -> None:
    nothing = history(api, tenant_id)
    assert (list(nothing.versions), nothing.total_size, nothing.next_page_token) == ([], 0, "")
    save(tenant_id, "run-1", stored_patterns.who(now()), stored_patterns.how(now()), days=-1.0)
    assert history(api, tenant_id).total_size == 0, "the active ones are no history"
    save(tenant_id, "run-2", stored_patterns.who(now()))
    save(tenant_id, "run-3", stored_patterns.who(now()), stored_patterns.how(now()))
    who = history(api, tenant_id, type=core.PATTERN_TYPE_WHO)
    assert [v.run_id for v in who.versions] == ["run-2", "run-1"]
    assert [v.pattern.stale for v in who.versions] == [False, True]
    assert who.total_size == 2
    first = who.versions[0]
    assert first.reason == patterns.PATTERN_ARCHIVE_REASON_REPLACED
    assert first.archived_time.ToDatetime(dt.UTC) >= who.versions[1].archived_time.ToDatetime(
        dt.UTC
    )
    assert first.pattern.who.title_rankings[0].value == "founder"
    assert first.pattern.client_id == tenant_id
    assert first.pattern.status == core.PATTERN_STATUS_OK


def test_pages_of_all_types_cover_everything_once(
    api: Client, tenant_id: str, save: Callable[..., None]
) -> None:
    for run in range(6):
        save(tenant_id, f"run-{run}", stored_patterns.who(now()), stored_patterns.how(now()))
    whole = history(api, tenant_id, page_size=100)
    assert whole.total_size == 10
    assert not whole.next_page_token
    seen: list[tuple[str, int]] = []
    token = ""
    while True:
        page = history(api, tenant_id, page_size=3, page_token=token)
        assert page.total_size == 10
        seen += [(v.run_id, v.pattern.type) for v in page.versions]
        token = page.next_page_token
        if not token:
            break
        assert len(page.versions) == 3
    assert seen == [(v.run_id, v.pattern.type) for v in whole.versions]
    assert len(set(seen)) == 10
    assert [run for run, _ in seen] == sorted((run for run, _ in seen), reverse=True)
    save(tenant_id, "more", stored_patterns.who(now()))
    assert len(history(api, tenant_id).versions) == 10, "ten unless told otherwise"


def test_a_version_that_cannot_be_read_hides_no_other(
    api: Client, tenant_id: str, save: Callable[..., None], sql: Callable[..., Any]
) -> None:
    for run in range(3):
        save(tenant_id, f"run-{run}", stored_patterns.who(now()))
    sql(
        """UPDATE pattern_history SET patterns = '{"titles": [1]}', reason = 'rolled_back'
           WHERE client_id = %s AND version = 1""",
        tenant_id,
    )
    answer = history(api, tenant_id)
    good, old = answer.versions
    assert good.pattern.who.title_rankings
    assert "cannot be read" in old.pattern.note
    assert old.pattern.sample_size == 4000
    assert old.pattern.WhichOneof("detail") is None
    assert old.reason == patterns.PATTERN_ARCHIVE_REASON_ROLLED_BACK


def test_one_client_never_sees_another_s_history(
    api: Client, tenant_id: str, save: Callable[..., None]
) -> None:
    make_client(api, f"{tenant_id}-other")
    for run in range(2):
        save(f"{tenant_id}-other", f"run-{run}", stored_patterns.who(now()))
    assert history(api, f"{tenant_id}-other").total_size == 1
    assert history(api, tenant_id).total_size == 0


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        page_token("2026-01-01T00:00:00+00:00", "who"),
        page_token("yesterday", "who", "1"),
        page_token("2026-01-01T00:00:00", "who", "1"),
        page_token("2026-01-01T00:00:00+00:00", "wer", "1"),
        page_token("2026-01-01T00:00:00+00:00", "who", str(2**40)),
    ],
)
def test_a_token_of_another_list_is_refused(api: Client, tenant_id: str, token: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        history(api, tenant_id, page_token=token)
    assert [v.field for v in refused.value.violations] == ["page_token"]


def test_unknown_clients_and_types_are_refused(api: Client, tenant_id: str) -> None:
    with pytest.raises(NotFound, match="client 'nobody'"):
        history(api, "nobody")
    with pytest.raises(InvalidArgument):
        history(api, tenant_id, type=99)
    with pytest.raises(InvalidArgument):
        history(api, tenant_id, page_size=101)
