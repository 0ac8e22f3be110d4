"""Rows of text to typed columns and reasons."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cis_server.capture.conversion import Batch, Converter, Rejection
from cis_server.capture.mapping import Section, parse_mapping
from cis_server.capture.records import ACTIVITIES, DEALS, LEADS, MEETINGS, RecordType
from cis_server.capture.row_rules import RowRules
from cis_server.errors import DataError

at = dt.datetime.fromisoformat


def convert(
    record: RecordType, header: str, *rows: str, mapping: dict[str, Any] | None = None
) -> Batch:
    section = parse_mapping({record.name: mapping or {}})[record.name]
    converter = Converter(record, header.split(","), section)
    lines = list(range(2, len(rows) + 2))
    columns = list(zip(*(row.split(",") for row in rows), strict=True))
    batch = converter.convert(lines, columns)
    RowRules(record).apply(batch)
    return batch


def test_headers_of_crm_exports_are_recognised() -> None:
    header = [
        "Record ID",
        "E-mail",
        "Job Title",
        "Company",
        "Website",
        "# Employees",
        "Company Country",
        "Lead Owner",
        "Contact ID",
    ]
    converter = Converter(LEADS, header, Section())
    assert converter.recognised == [
        ("Record ID", "attributes: Record ID"),
        ("E-mail", "email"),
        ("Job Title", "title"),
        ("Company", "company_name"),
        ("Website", "domain"),
        ("# Employees", "employee_count"),
        ("Company Country", "country"),
        ("Lead Owner", "attributes: Lead Owner"),
        ("Contact ID", "lead_id"),
    ]


def test_the_own_name_of_a_field_beats_its_other_spellings() -> None:
    batch = convert(LEADS, "id,Position,lead_id,TITLE", "a,b,c,d")
    assert (batch.columns["lead_id"], batch.columns["title"]) == (["c"], ["d"])
    assert batch.columns["attributes"] == ['{"id": "a", "Position": "b"}']


def test_a_broken_row_is_left_out_and_the_others_stay() -> None:
    batch = convert(
        LEADS,
        "lead_id,email,employees,created date",
        "1,A@B.co,10,2024-05-01",
        "2,nobody,-5,2024-05-01",
        "3,,,next tuesday",
        ",x@y.co,1,",
        "5,,n/a,",
    )
    assert batch.lines == [2, 6]
    assert batch.columns["email"] == ["a@b.co", None]
    assert batch.columns["employee_count"] == [10, None]
    assert {(item.line, item.field) for item in batch.rejected} == {
        (3, "email"),
        (3, "employee_count"),
        (4, "created_at"),
        (5, "lead_id"),
    }
    reasons = {item.field: item.reason for item in batch.rejected}
    assert "next tuesday" in reasons["created_at"]
    assert reasons["lead_id"] == "missing"


def test_translations_constants_and_words_for_nothing() -> None:
    batch = convert(
        LEADS,
        "lead_id,Stage,country,grade,spare",
        "1,Won,unknown,A,x",
        "2,, Spain ,999,y",
        mapping={
            "columns": {"stage": "status", "grade": "attributes.level"},
            "values": {"status": {"won": "converted"}, "attributes": {"level": {"A": "top"}}},
            "constants": {"country": "Portugal", "status": "new", "attributes": {"source": "fair"}},
            "missing": ["unknown", "999"],
            "ignore": ["spare"],
        },
    )
    assert batch.columns["status"] == ["converted", "new"]
    assert batch.columns["country"] == ["Portugal", "Spain"]
    assert batch.columns["attributes"] == [
        '{"source": "fair", "level": "top"}',
        '{"source": "fair"}',
    ]


def test_times_take_zone_and_precision_from_the_mapping() -> None:
    batch = convert(
        ACTIVITIES,
        "lead_id,channel,action,occurred_at,zone,how",
        "1,email,sent,2024-01-05 10:00,Australia/Sydney,",
        "1,email,sent,2024-01-05,,weekday",
        "1,email,sent,2024-01,,day",
        "1,email,sent,2024-01-05T10:00Z,America/New_York,hour",
        "1,email,sent,2024-01-05T10:00Z,Mars,roughly",
        mapping={"timezone": {"column": "zone"}, "precision": {"column": "how"}},
    )
    assert batch.columns["occurred_at"] == [
        at("2024-01-04 23:00+00:00"),
        at("2024-01-05 12:00+00:00"),
        at("2024-01-15 12:00+00:00"),
        at("2024-01-05 10:00+00:00"),
    ]
    assert batch.columns["time_precision"] == ["instant", "weekday", "month", "hour"]
    assert {(item.line, item.field) for item in batch.rejected} == {(6, "zone"), (6, "how")}


def test_times_without_a_zone_are_noticed() -> None:
    header = ["lead_id", "channel", "action", "occurred_at"]
    converter = Converter(ACTIVITIES, header, Section())
    converter.convert([2], [["1"], ["sms"], ["sent"], ["2024-01-05T10:00Z"]])
    assert not converter.assumes_utc
    converter.convert([3], [["1"], ["sms"], ["sent"], ["2024-01-05T10:00"]])
    assert converter.assumes_utc


def test_legacy_actions_name_their_channel() -> None:
    batch = convert(
        ACTIVITIES,
        "lead_id,channel,action,occurred_at,contact,Notes",
        "1,,voice_completed,2024-01-05,cellular,hello",
        "1,linkedin,connection,2024-01-05,,",
        "1,sms,email_sent,2024-01-05,,",
        "1,,sent,2024-01-05,,",
        "1,Text,sent,2024-01-05,,",
        mapping={"columns": {"contact": "attributes.contact"}},
    )
    assert batch.columns["channel"] == ["voice", "linkedin", "sms"]
    assert batch.columns["action"] == ["sent", "sent", "sent"]
    assert batch.columns["content_snapshot"] == [
        '{"attributes":{"contact": "cellular"}}',
        None,
        None,
    ]
    assert batch.columns["metadata"] == ['{"Notes": "hello"}', None, None]
    assert batch.rejected == [
        Rejection(4, "channel", "'sms', but the action is one of channel 'email'"),
        Rejection(5, "channel", "missing"),
    ]


def test_rows_without_an_id_are_known_again() -> None:
    header = "lead_id,channel,action,occurred_at"
    rows = ("1,sms,sent,2024-01-05", "1,sms,sent,2024-01-05", "2,sms,sent,2024-01-05")
    first, again = convert(ACTIVITIES, header, *rows), convert(ACTIVITIES, header, *rows)
    keys = first.columns["idempotency_key"]
    assert len(set(keys)) == 3
    assert again.columns["idempotency_key"] == keys
    turned = convert(ACTIVITIES, header, *reversed(rows))
    assert sorted(turned.columns["idempotency_key"]) == sorted(keys)


def test_own_ids_are_kept_and_may_not_repeat() -> None:
    batch = convert(
        ACTIVITIES,
        "id,lead_id,channel,action,occurred_at,about_activity_id",
        "a,1,email,sent,2024-01-05,",
        "b,1,email,opened,2024-01-06,a",
        "a,1,email,sent,2024-01-07,",
    )
    assert batch.columns["idempotency_key"] == ["a", "b"]
    assert batch.columns["about_key"] == [None, "a"]
    assert batch.rejected == [Rejection(4, "activity_id", "the same activity_id stands on line 2")]


def test_outcomes_of_leads_fit_their_status() -> None:
    batch = convert(
        LEADS,
        "lead_id,status,converted_at,conversion_type",
        "1,,2024-01-05,meeting_booked",
        "2,,2024-01-05,",
        "3,exhausted,2024-01-05,",
        "4,unsubscribed,2024-01-05,status",
        "1,,,",
        "6,,,deal_lost",
    )
    assert batch.columns["status"] == ["meeting_booked", "converted", "unsubscribed"]
    assert "conversion_type" not in batch.columns
    assert batch.columns["stated_converted_at"][0] == at("2024-01-05 23:59:59+00:00")
    assert {(item.line, item.field) for item in batch.rejected} == {
        (4, "converted_at"),
        (6, "lead_id"),
        (7, "conversion_type"),
    }


def test_a_zone_is_guessed_from_the_place_unless_it_would_be_a_blind_guess() -> None:
    batch = convert(
        LEADS,
        "lead_id,person_country,person_city,country,region",
        "1,Germany,,Australia,WA",
        "2,,,Australia,WA",
        "3,,,United States,",
        "4,us,Chicago,,",
        "5,,,,",
    )
    assert batch.columns["timezone_guess"] == [
        "Europe/Berlin",
        "Australia/Perth",
        None,
        "America/Chicago",
        None,
    ]


def test_deals_keep_unknown_stages_apart_and_open_deals_have_no_closing() -> None:
    batch = convert(
        DEALS,
        "deal_id,lead_id,stage,won,create date,close date",
        "1,a,Cake eaten,,2024-01-01,2024-06-01",
        "2,a,,yes,2024-01-01,2024-06-01",
        "3,a,Negotiation/Review,,2024-01-01,2024-06-01",
        "4,a,proposal,yes,2024-01-01,2024-06-01",
        "5,a,closed won,no,2024-01-01,2024-06-01",
        "6,a,closed lost,,2024-01-01,2024-06-01",
    )
    columns = batch.columns
    assert columns["stage"] == [None, "closed_won", "negotiation", "closed_lost"]
    assert columns["unmapped_stage"] == ["Cake eaten", None, None, None]
    assert columns["expected_close_date"] == [dt.date(2024, 6, 1), None, dt.date(2024, 6, 1), None]
    end = at("2024-06-01 23:59:59+00:00")
    assert columns["closed_at"] == [None, end, None, end]
    assert {(item.line, item.field) for item in batch.rejected} == {(5, "won"), (6, "won")}


def test_columns_without_a_place_are_named() -> None:
    converter = Converter(MEETINGS, ["lead_id", "booked_at", "Mood"], Section())
    assert converter.dropped == ["Mood"]


@pytest.mark.parametrize(
    ("header", "mapping", "message"),
    [
        (["name"], {}, "no column for 'lead_id'"),
        (["lead_id"], {"columns": {"job": "title"}}, "no column of the file is called like 'job'"),
        (["lead_id"], {"timezone": {"column": "tz"}}, "no column 'tz'"),
        (["lead_id"], {"constants": {"employee_count": "few"}}, "constants.employee_count"),
    ],
)
def test_a_mapping_that_does_not_fit_the_file(
    header: list[str], mapping: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Converter(LEADS, header, parse_mapping({"leads": mapping})["leads"])
