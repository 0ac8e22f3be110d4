"""Simulations in a real Postgres: keys hold, and what the database derives is what was planned."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from cis_server.demo.dataset import to_dataset
from cis_server.demo.loading import write
from cis_server.demo.simulator import TABLES, Simulation
from cis_server.domain.dataset import FRAMES, Window
from cis_server.errors import PreconditionFailed
from cis_server.persistence.dataset import COLUMNS, read_dataset

AS_OF = dt.datetime(2026, 4, 20, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def stored(two_small: Simulation, module_database_url: str) -> str:
    counts = write(two_small, module_database_url)
    assert counts == {name: len(frame) for name, frame in two_small.tables.items()}
    return module_database_url


def _rows(url: str, query: str, like: pl.DataFrame) -> pl.DataFrame:
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        rows = connection.execute(query).fetchall()
    return pl.DataFrame(rows, schema=like.schema, orient="row")


def test_every_row_is_stored(two_small: Simulation, stored: str) -> None:
    with psycopg.connect(stored) as connection:
        for name in TABLES:
            found = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
            assert found == (len(two_small.tables[name]),), name
        assert connection.execute("SELECT count(*) FROM dirty_leads").fetchone() == (0,)
        clients = connection.execute(
            "SELECT DISTINCT subscription_status, policy->>'promotion' FROM clients"
        ).fetchall()
    assert clients == [("active", "auto")]


_REFERENCES = """
SELECT con.conrelid::regclass::text, con.confrelid::regclass::text,
       array_agg(mine.attname ORDER BY k.place), array_agg(theirs.attname ORDER BY k.place)
FROM pg_constraint con
CROSS JOIN LATERAL unnest(con.conkey, con.confkey) WITH ORDINALITY k (mine, theirs, place)
JOIN pg_attribute mine ON mine.attrelid = con.conrelid AND mine.attnum = k.mine
JOIN pg_attribute theirs ON theirs.attrelid = con.confrelid AND theirs.attnum = k.theirs
WHERE con.contype = 'f' AND con.conrelid::regclass::text = ANY(%s)
GROUP BY con.oid, con.conrelid, con.confrelid
"""


def test_rows_that_are_stored_unchecked_refer_to_rows_that_exist(stored: str) -> None:
    with psycopg.connect(stored) as connection:
        references = connection.execute(_REFERENCES, (["activities", "email_events"],)).fetchall()
        assert len(references) >= 5
        for table, other, mine, theirs in references:
            given = " AND ".join(f"a.{name} IS NOT NULL" for name in mine)
            same = " AND ".join(f"a.{m} = b.{t}" for m, t in zip(mine, theirs, strict=True))
            query = (
                f"SELECT count(*) FROM {table} a"
                f" WHERE {given} AND NOT EXISTS (SELECT FROM {other} b WHERE {same})"
            )
            assert connection.execute(query).fetchone() == (0,), (table, other)


@pytest.mark.parametrize("days", [45, 1_000])
def test_the_direct_dataset_is_the_one_read_from_the_database(
    two_small: Simulation, stored: str, days: int
) -> None:
    window = Window(start=AS_OF - dt.timedelta(days=days), as_of=AS_OF)
    direct = to_dataset(two_small, "first", window)
    read = read_dataset(stored, "first", window)
    for name in FRAMES:
        mine, theirs = getattr(direct, name), getattr(read, name)
        assert len(mine) > 0 or name == "decisions", name  # the simulator explores nothing
        assert mine.columns == list(COLUMNS[name])
        for column in {"content", "attributes", "components", "employment_history"} & {
            *mine.columns
        }:
            parsed = [
                [None if text is None else json.loads(text) for text in frame[column]]
                for frame in (mine, theirs)
            ]
            assert parsed[0] == parsed[1], column
            mine, theirs = mine.drop(column), theirs.drop(column)
        if name == "email_events":  # several a second; their order is free
            mine, theirs = mine.sort(mine.columns), theirs.sort(mine.columns)
        assert_frame_equal(theirs, mine, abs_tol=1e-6)
    assert direct.content_hash


def test_machine_and_human_signals_are_told_apart_by_the_database(stored: str) -> None:
    with psycopg.connect(stored) as connection:
        reasons = connection.execute(
            "SELECT user_agent LIKE '%ggpht%' OR user_agent LIKE '%Barracuda%', is_machine,"
            " count(*) FROM email_events WHERE event_type IN ('opened', 'clicked') GROUP BY 1, 2"
        ).fetchall()
    assert {(robot, machine) for robot, machine, _ in reasons} == {(True, True), (False, False)}


def test_text_and_lists_arrive_unchanged(two_small: Simulation, stored: str) -> None:
    wanted = (
        two_small.tables["activities"]
        .filter((pl.col("client_id") == "first") & (pl.col("action") == "sent"))
        .select("activity_id", "full_message_body", "subject", "links_included")
        .sort("activity_id")
    )
    found = _rows(
        stored,
        "SELECT activity_id::text, full_message_body, subject, links_included FROM activities"
        " WHERE client_id = 'first' AND action = 'sent'",
        wanted,
    )
    assert_frame_equal(found.sort("activity_id"), wanted)


def test_an_existing_client_is_replaced_only_when_asked(two_small: Simulation, stored: str) -> None:
    with pytest.raises(PreconditionFailed, match="CLIENT_EXISTS"):
        write(two_small, stored)
    with psycopg.connect(stored) as connection:
        connection.execute("UPDATE leads SET title = 'Changed' WHERE client_id = 'first'")
    write(two_small, stored, replace=True)
    with psycopg.connect(stored) as connection:
        query = "SELECT count(*) FROM leads WHERE title = 'Changed'"
        assert connection.execute(query).fetchone() == (0,)
        found = connection.execute("SELECT count(*) FROM leads").fetchone()
    assert found == (len(two_small.tables["leads"]),)
