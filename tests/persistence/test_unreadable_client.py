"""A client that another program has broken in the database is the only one to suffer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text

from cis_server.domain.clients import ClientRecord
from cis_server.errors import NotFound
from cis_server.persistence.clients import Clients
from cis_server.persistence.live_state import PostgresSnapshotSource
from cis_server.serving.health import WarningKind
from cis_server.serving.store import SnapshotStore

BROKEN = [
    "UPDATE clients SET icp = '{\"countries\": null}' WHERE client_id = 'broken'",
    "UPDATE clients SET icp = '[]' WHERE client_id = 'broken'",
    "UPDATE clients SET policy = '{\"promotion\": \"sometimes\"}' WHERE client_id = 'broken'",
]


@pytest.fixture
def store(database: Engine, database_url: str) -> Iterator[Callable[[], SnapshotStore]]:
    for client_id in ("broken", "sound"):
        Clients(database).upsert(ClientRecord(client_id=client_id, name="before"))
    started: list[SnapshotStore] = []

    def start() -> SnapshotStore:
        source = PostgresSnapshotSource(database, database_url)
        it = SnapshotStore(source, lambda: dt.datetime.now(dt.UTC), poll_seconds=0.1)
        it.start()
        started.append(it)
        assert it.wait_until_loaded(10.0)
        return it

    yield start
    for it in started:
        it.stop()


def broken(database: Engine, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


def refused(store: SnapshotStore) -> set[str | None]:
    return {w.client_id for w in store.warnings() if w.kind is WarningKind.CLIENT_REFUSED}


@pytest.mark.parametrize("statement", BROKEN)
def test_a_process_starts_without_it(
    database: Engine, store: Callable[[], SnapshotStore], statement: str
) -> None:
    broken(database, statement)
    started = store()
    assert started.client("sound").client.name == "before"
    with pytest.raises(NotFound):
        started.client("broken")
    assert refused(started) == {"broken"}


@pytest.mark.parametrize("statement", BROKEN)
def test_its_last_good_state_stays_and_others_go_on_changing(
    database: Engine, store: Callable[[], SnapshotStore], statement: str
) -> None:
    started = store()
    broken(database, statement)
    started.reload_client("broken")
    assert started.client("broken").client.name == "before"
    assert refused(started) == {"broken"}

    Clients(database).upsert(ClientRecord(client_id="sound", name="after"))
    started.reload_client("sound")
    assert started.client("sound").client.name == "after"
    assert not started.database_away

    Clients(database).upsert(ClientRecord(client_id="broken", name="mended"))
    started.reload_client("broken")
    assert started.client("broken").client.name == "mended"
    assert not refused(started)
