"""JSON of any shape may stand in a lead; reading a client does not stumble over one of them."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest
from sqlalchemy import Engine, text

from cis_server.detectors.crm_attributes import attribute_table
from cis_server.domain.clients import ClientRecord
from cis_server.domain.dataset import Window
from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import LeadStatus
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import tenant
from cis_server.persistence.dataset import read_dataset
from cis_server.persistence.leads import upsert_leads

AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
WINDOW = Window(start=AS_OF - dt.timedelta(days=90), as_of=AS_OF)
SOUND = {"data_quality": 4, "authority": 25, "company_fit": 10, "timing": 0, "risk": 15}


@pytest.mark.parametrize(
    "odd",
    [[], "x", 3, None, {"authority": "high"}, {"authority": {"points": 3}}, SOUND | {"n": []}],
)
def test_components_that_are_no_numbers_count_as_missing(
    database: Engine, database_url: str, odd: object
) -> None:
    Clients(database).upsert(ClientRecord(client_id="acme", name="Acme"))
    with tenant(database, "acme") as connection:
        upsert_leads(connection, "acme", [Lead(lead_id="odd"), Lead(lead_id="sound")])
        for lead_id, components in (("odd", odd), ("sound", SOUND)):
            connection.execute(
                text(
                    "UPDATE leads SET components_at_first_touch = CAST(:components AS jsonb),"
                    " first_contacted_at = :contacted, sequence_completed_at = :completed"
                    " WHERE lead_id = :lead"
                ),
                {
                    "lead": lead_id,
                    "components": json.dumps(components),
                    "contacted": AS_OF - dt.timedelta(days=40),
                    "completed": AS_OF - dt.timedelta(days=10),
                },
            )
    leads = read_dataset(database_url, "acme", WINDOW).leads
    assert leads["lead_id"].to_list() == ["odd", "sound"]
    assert leads["components"][0] is None
    assert leads["score"][0] is None
    assert json.loads(leads["components"][1]) == SOUND
    assert leads["score"][1] == sum(SOUND.values())


def test_nested_attributes_are_text(database: Engine, database_url: str) -> None:
    Clients(database).upsert(ClientRecord(client_id="acme", name="Acme"))
    with tenant(database, "acme") as connection:
        upsert_leads(connection, "acme", [Lead(lead_id="1", status=LeadStatus.CONVERTED)])
        connection.execute(
            text(
                "UPDATE leads SET attributes = CAST(:given AS jsonb),"
                " stated_converted_at = :at, converted_at = :at"
            ),
            {
                "given": '{"plan": "pro", "seats": {"eu": 2}, "tags": ["a", "b"], "n": 5}',
                "at": AS_OF - dt.timedelta(days=3),
            },
        )
    [attributes] = read_dataset(database_url, "acme", WINDOW).leads["attributes"]
    found = json.loads(attributes)
    assert found["plan"] == "pro"
    assert json.loads(found["seats"]) == {"eu": 2}
    assert json.loads(found["tags"]) == ["a", "b"]
    assert attribute_table(pl.Series([attributes]))["plan"].to_list() == ["pro"]
