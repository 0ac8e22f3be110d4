"""The work of the database is set-based: as many statements for three hundred leads as for three.

One query or one commit a lead made batches slow beyond use.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event, text

from cis_server.domain.clients import ClientRecord
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import DecisionOption, DecisionRecord
from cis_server.domain.suppression import IdentifierKind, SuppressionEntry, SuppressionReason
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import tenant
from cis_server.persistence.decisions import Decisions
from cis_server.persistence.health import HealthReader
from cis_server.persistence.leads import get_leads, upsert_leads, write_scores
from cis_server.persistence.rederive import drain_dirty, rederive
from cis_server.persistence.suppression import add_suppressions
from cis_server.scoring.scorer import score_lead

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
_TOUCHES = """
INSERT INTO activities (client_id, lead_id, channel, action, occurred_at)
SELECT :client, lead_id, 'email', 'sent', CAST(:now AS timestamptz) - n * interval '2 days'
FROM leads CROSS JOIN generate_series(1, 3) n WHERE client_id = :client
"""


@contextmanager
def counted(engine: Engine) -> Iterator[Counter[str]]:
    """Statements and transactions; one statement for many sets of parameters counts as many."""
    found: Counter[str] = Counter()

    def statement(_c: Any, _k: Any, _s: str, parameters: Any, _x: Any, many: bool) -> None:
        found["statements"] += len(parameters) if many else 1

    def commit(_connection: Any) -> None:
        found["commits"] += 1

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", commit)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "commit", commit)


def work(engine: Engine, client_id: str, leads: int) -> dict[str, Counter[str]]:
    """Everything that happens to many leads at once, with what it cost."""
    Clients(engine).upsert(ClientRecord(client_id=client_id))
    people = [Lead(lead_id=f"l{i}", title="CEO", email=f"p{i}@x.example") for i in range(leads)]
    names = [lead.lead_id for lead in people]
    cost: dict[str, Counter[str]] = {}
    with counted(engine) as cost["store"], tenant(engine, client_id) as connection:
        upsert_leads(connection, client_id, people)
    with counted(engine) as cost["read"], tenant(engine, client_id) as connection:
        assert len(get_leads(connection, client_id, names)) == leads
    with tenant(engine, client_id) as connection:
        connection.execute(text(_TOUCHES), {"client": client_id, "now": NOW})
    with counted(engine) as cost["drain"], tenant(engine, client_id) as connection:
        assert drain_dirty(connection, client_id) == leads
    with counted(engine) as cost["derive"], tenant(engine, client_id) as connection:
        rederive(connection, client_id, names)
    scores = [score_lead(lead, as_of=NOW.date()) for lead in people]
    with counted(engine) as cost["score"], tenant(engine, client_id) as connection:
        written = write_scores(
            connection, client_id, scores, scored_at=NOW, as_of=NOW, scorer_version="test"
        )
        assert len(written) == leads
    entries = [
        SuppressionEntry(
            client_id, IdentifierKind.EMAIL, f"p{i}@x.example", SuppressionReason.LEGAL
        )
        for i in range(leads)
    ]
    with counted(engine) as cost["suppress"], tenant(engine, client_id) as connection:
        assert add_suppressions(connection, entries) == leads
    records = [
        DecisionRecord(
            decision_id=f"00000000-0000-0000-0000-{i:012}",
            client_id=client_id,
            lead_id=f"l{i}",
            kind="channel",
            decided_at=NOW,
            choice="email",
            propensity=1.0,
            options=(DecisionOption(choice="email", propensity=1.0, best=True),),
            context={},
            model_version="",
        )
        for i in range(leads)
    ]
    with counted(engine) as cost["log"]:
        Decisions(engine).write_decisions(records)
    return cost


def test_many_leads_cost_as_many_statements_as_few(database: Engine) -> None:
    few, many = work(database, "few", 3), work(database, "many", 300)
    assert many == few
    assert all(cost["statements"] > 0 for cost in few.values())
    assert {name: cost["commits"] for name, cost in few.items()} == dict.fromkeys(few, 1)


def test_the_health_of_many_clients_costs_as_many_statements_as_that_of_one(
    database: Engine,
) -> None:
    clients = Clients(database)
    costs = []
    for number in range(1, 13):
        clients.upsert(ClientRecord(client_id=f"c{number}"))
        if number in (1, 12):
            with counted(database) as cost:
                assert len(HealthReader(database).figures(None, NOW)) == number
            costs.append(cost["statements"])
    assert costs[0] == costs[1]


def test_the_count_sees_a_statement_per_row(database: Engine) -> None:
    with counted(database) as cost, database.begin() as connection:
        connection.execute(text("SELECT :n"), {"n": 1})
        connection.execute(
            text("INSERT INTO clients (client_id) VALUES (:n)"), [{"n": "a"}, {"n": "b"}]
        )
    assert cost == {"statements": 3, "commits": 1}
