"""The database takes the words of the vocabulary and no others, whoever writes.

Where senders wrote words of their own, touches never converted; where readers asked for words that
nobody wrote, they found no lead.
"""

from __future__ import annotations

import re
from enum import Enum

import psycopg
import pytest
from psycopg.errors import CheckViolation

from cis_server.domain.vocabulary import (
    LEGACY_ACTIONS,
    Action,
    ConversionType,
    DealStage,
    LeadStatus,
    MeetingOutcome,
    PatternType,
    TimePrecision,
)

WORDS: dict[tuple[str, str], type[Enum]] = {
    ("activities", "action"): Action,
    ("activities", "time_precision"): TimePrecision,
    ("leads", "status"): LeadStatus,
    ("leads", "conversion_type"): ConversionType,
    ("meetings", "outcome"): MeetingOutcome,
    ("deals", "stage"): DealStage,
    ("patterns", "pattern_type"): PatternType,
    ("pattern_history", "pattern_type"): PatternType,
    ("pattern_status", "pattern_type"): PatternType,
}


@pytest.fixture(scope="module")
def acme(module_database_url: str) -> str:
    with psycopg.connect(module_database_url) as connection:
        connection.execute("INSERT INTO clients (client_id) VALUES ('acme')")
        connection.execute("INSERT INTO leads (client_id, lead_id) VALUES ('acme', 'ann')")
    return module_database_url


@pytest.mark.parametrize(("table", "column"), WORDS)
def test_each_column_holds_the_words_of_its_enumeration(acme: str, table: str, column: str) -> None:
    with psycopg.connect(acme) as connection:
        (definition,) = connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND conname = %s",
            (table, f"ck_{table}_{column}_known"),
        ).fetchall()
    allowed = set(re.findall(r"'([^']*)'", definition[0]))
    assert allowed == {word.value for word in WORDS[table, column]}


@pytest.mark.parametrize("word", sorted(set(LEGACY_ACTIONS) - {word.value for word in Action}))
def test_a_sender_cannot_store_an_action_of_its_own(acme: str, word: str) -> None:
    with psycopg.connect(acme) as connection, pytest.raises(CheckViolation, match="action_known"):
        connection.execute(
            "INSERT INTO activities (client_id, lead_id, channel, action)"
            " VALUES ('acme', 'ann', 'email', %s)",
            (word,),
        )


@pytest.mark.parametrize("word", ["opt_out", "nurturing", "Converted", ""])
def test_no_lead_can_have_a_status_that_nobody_knows(acme: str, word: str) -> None:
    with psycopg.connect(acme) as connection, pytest.raises(CheckViolation, match="status_known"):
        connection.execute("UPDATE leads SET status = %s", (word,))


def test_a_booking_leaves_a_status_the_database_takes(acme: str) -> None:
    with psycopg.connect(acme) as connection:
        connection.execute("UPDATE leads SET status = 'meeting_booked'")
        found = connection.execute("SELECT status FROM leads").fetchall()
    assert found == [("meeting_booked",)]


def test_patterns_of_all_six_detectors_can_be_stored(acme: str) -> None:
    insert = (
        "INSERT INTO patterns (client_id, pattern_type, patterns, sample_size, confidence,"
        " valid_until) VALUES ('acme', %s, '{}', 1, 0.5, now()) RETURNING pattern_type"
    )
    kinds = ("who", "what", "when", "how", "funnel", "conversation")
    with psycopg.connect(acme) as connection:
        for kind in kinds:
            assert connection.execute(insert, (kind,)).fetchall() == [(kind,)]
        with pytest.raises(CheckViolation, match="pattern_type_known"):
            connection.execute(insert, ("why",))
