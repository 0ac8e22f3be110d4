"""CRM columns of any name may hold people's data; it does not get into a dataset."""

from __future__ import annotations

import datetime as dt
import json

from sqlalchemy import Engine

from cis_server.domain.clients import ClientRecord
from cis_server.domain.dataset import Window
from cis_server.domain.lead import Lead
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import tenant
from cis_server.persistence.dataset import read_dataset
from cis_server.persistence.leads import upsert_leads

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
WINDOW = Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF)

PERSONAL = {
    "Second e-mail": "dana.doe@northwind.example",
    "note": "ask for dana@northwind.example or +61 2 5550 1234 first",
    "mobile": "0412 345 678",
    "Landline": "(02) 5550-1234",
    "contact_name": 'Dana "Dee" Doe',
    "Owner Name": "Lee Li",
    "first name": "Dana",
}
KEPT = {
    "founded": "01.02.2024",
    "plan": "pro",
    "seats": "1200",
    "product name": "Relay",
    "budget": "100000000",
    "since": "2024-02-01",
    "pdays": "-1",
    "ratio": "0.25",
}


def attributes(database: Engine, database_url: str, given: dict[str, str]) -> dict[str, str]:
    Clients(database).upsert(ClientRecord(client_id="acme", name="Acme"))
    with tenant(database, "acme") as connection:
        upsert_leads(connection, "acme", [Lead(lead_id="1", attributes=given)])
        connection.exec_driver_sql(
            "UPDATE leads SET stated_converted_at = %s, converted_at = %s",
            (AS_OF - dt.timedelta(days=3),) * 2,
        )
    [text] = read_dataset(database_url, "acme", WINDOW).leads["attributes"]
    found: dict[str, str] = json.loads(text)
    return found


def test_addresses_numbers_and_names_are_left_out(database: Engine, database_url: str) -> None:
    found = attributes(database, database_url, PERSONAL | KEPT)
    assert found.keys() == PERSONAL.keys() | KEPT.keys()
    said = " ".join(found.values())
    for secret in ("northwind", "dana", "Dana", "Dee", "Doe", "Lee", "555", "345"):
        assert secret not in said


def test_what_is_nobodys_stays_as_it_is(database: Engine, database_url: str) -> None:
    assert attributes(database, database_url, KEPT) == KEPT
