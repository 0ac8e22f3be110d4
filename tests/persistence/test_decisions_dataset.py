"""From the decision log and the activities that name its decisions to what a run judges."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import Engine, text

from cis_server.domain.clients import ClientRecord
from cis_server.domain.dataset import Dataset, Window, no_decisions
from cis_server.domain.live_state import DecisionOption, DecisionRecord
from cis_server.learning.policy_value import policy_values
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import tenant
from cis_server.persistence.dataset import read_dataset
from cis_server.persistence.decisions import Decisions

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
SENT = AS_OF - dt.timedelta(days=50)
WINDOW = Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF)


def decision(number: int, choice: str, decided: dt.datetime = SENT) -> DecisionRecord:
    options = (
        DecisionOption(choice="email", propensity=0.8, best=True),
        DecisionOption(choice="voice", propensity=0.2),
    )
    return DecisionRecord(
        decision_id=f"00000000-0000-4000-8000-{number:012}",
        client_id="acme",
        lead_id=f"l{number}",
        kind="channel",
        decided_at=decided,
        choice=choice,
        propensity=next(o.propensity for o in options if o.choice == choice),
        options=options,
        context={},
        model_version="1",
    )


@pytest.fixture
def data(database: Engine, database_url: str) -> Dataset:
    Clients(database).upsert(ClientRecord(client_id="acme"))
    records = [decision(n, "voice" if n % 3 == 0 else "email") for n in range(1, 7)]
    late = decision(7, "email", AS_OF + dt.timedelta(days=1))
    Decisions(database).write_decisions([*records, late])
    with tenant(database, "acme") as connection:
        for record in records[:5]:  # nothing was sent for the sixth
            converted = SENT + dt.timedelta(days=3) if record.lead_id == "l2" else None
            connection.execute(
                text(
                    "INSERT INTO leads (client_id, lead_id, converted_at)"
                    " VALUES ('acme', :lead, :converted)"
                ),
                {"lead": record.lead_id, "converted": converted},
            )
            connection.execute(
                text(
                    "INSERT INTO activities (client_id, lead_id, channel, action, occurred_at,"
                    " decision_id, converting, idempotency_key)"
                    " VALUES ('acme', :lead, :channel, 'sent', :sent, :decision, :converting, :key)"
                ),
                {
                    "lead": record.lead_id,
                    "channel": record.choice,
                    "sent": SENT,
                    "decision": record.decision_id,
                    "converting": converted is not None,
                    "key": record.decision_id,
                },
            )
        connection.execute(
            text("UPDATE decision_log SET options = '{\"odd\": 1}' WHERE lead_id = 'l5'")
        )
    return read_dataset(database_url, "acme", WINDOW)


def test_decisions_come_with_what_followed(data: Dataset) -> None:
    frame = data.decisions
    assert frame.schema == no_decisions().schema
    rows = {row["decision_id"][-1]: row for row in frame.iter_rows(named=True)}
    assert set(rows) == set("123456")  # the seventh lies ahead
    assert rows["3"]["choice"] == "voice"
    assert (rows["3"]["propensity"], rows["3"]["best"]) == (0.2, "email")
    assert rows["3"]["best_propensity"] == 0.8
    assert rows["2"]["converting"] is True
    assert rows["1"]["converting"] in (False, None)
    assert rows["6"]["activity_id"] is None
    assert rows["5"]["best"] is None


def test_the_run_judges_them(data: Dataset) -> None:
    (found,) = policy_values(data.decisions, AS_OF, 30.0).outcomes
    assert (found.decisions, found.followed, found.judged) == (6, 4, 4)
    assert (found.explored, found.converted) == (1, 1)
    assert found.current_value == pytest.approx(0.25)
    # Three e-mails of equal propensity, one converted.
    assert found.best_value == pytest.approx(1 / 3)


def test_what_came_later_is_not_known(database_url: str, data: Dataset) -> None:
    del data
    earlier = Window(start=WINDOW.start, as_of=SENT + dt.timedelta(days=1))
    frame = read_dataset(database_url, "acme", earlier).decisions
    assert not any(frame["converting"].fill_null(False))
