"""Logs: what an error quotes of people's data does not reach them."""

from __future__ import annotations

from cis_server.logs import without_rows

QUOTED = """Traceback (most recent call last):
  File "leads.py", line 3, in write
    connection.execute(query)
sqlalchemy.exc.IntegrityError: (psycopg.errors.CheckViolation) new row for relation "leads" violates
DETAIL:  Failing row contains (acme, 7, dana@northwind.example, Dana
Doe, +61 2 5550 1234).
CONTEXT:  JSON data, line 1: {"email": "dana@northwind.example"...
[SQL: UPDATE leads SET score = 1]
[SQL parameters hidden due to hide_parameters=True]
(Background on this error at: https://sqlalche.me/e/20/gkpj)"""


def test_rows_quoted_in_a_traceback_are_left_out() -> None:
    event = without_rows(None, "error", {"event": "call_failed", "exception": QUOTED})
    text = event["exception"]
    for secret in ("dana", "Dana", "Doe", "5550"):
        assert secret not in text
    for kept in ("CheckViolation", 'relation "leads"', "UPDATE leads", "Background", "line 3"):
        assert kept in text


def test_events_without_a_traceback_pass() -> None:
    assert without_rows(None, "info", {"event": "call"}) == {"event": "call"}
