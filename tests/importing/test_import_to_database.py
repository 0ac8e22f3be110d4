"""Imports into a real database."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, text

from cis_server.capture.mapping import parse_mapping
from cis_server.errors import DataError
from cis_server.importing.progress import Lines, Silence
from cis_server.importing.report import FileReport, ImportReport
from cis_server.importing.run import import_files

MESSY_LEADS = """\
Contact ID,Email Address,Job Title,Company,# Employees,Stage,Country,State,Create Date,Owner
c-1,Ann@Acme.COM,CEO,Acme,"1,200",Won,Australia,QLD,2024-01-02,Kim
c-2,bob@acme.com,CTO,Acme,12,Open,US,TX,2024-01-02,Kim
c-3,broken address,CFO,Acme,12,Open,,,2024-01-02,
c-4,dan@acme.com,COO,Acme,-3,Open,,,2024-01-02,
c-5,eve@acme.com,CMO,Acme,12,Open,,,next tuesday,
,nobody@acme.com,,,,,,,,
c-7,fay@acme.com,"Head of
Sales",Acme,11-50,Open,,,2024-01-02,
c-1,ann2@acme.com,CEO,,,,,,,
c-9,gus@acme.com,"VP ""Growth"" EMEA",Acme,,Open,,,,
c-10,hal@acme.com,too,few
"""
MAPPING = parse_mapping(
    {
        "leads": {
            "columns": {"stage": "status"},
            "values": {"status": {"won": "converted", "open": "in_sequence"}},
            "constants": {"is_hiring": True},
        }
    }
)
BRISBANE = parse_mapping({"activities": {"timezone": "Australia/Brisbane"}})


def run(
    engine: Engine, client: str = "acme", mapping: Any = None, **paths: Path
) -> dict[str, FileReport]:
    report = full_report(engine, client, mapping, **paths)
    return {file.kind: file for file in report.files}


def full_report(engine: Engine, client: str, mapping: Any, **paths: Path) -> ImportReport:
    return import_files(engine, client, paths, mapping or {}, Silence())


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def select(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def whole_state(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Everything stored for tenants except when it was stored."""
    tables = ("clients", "leads", "activities", "meetings", "deals", "deal_stage_history")
    return {
        table: select(engine, f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")
        for table in tables
    }


def counts(report: FileReport) -> tuple[int, int, int, int, int]:
    return (
        report.read,
        report.inserted,
        report.updated,
        report.unchanged,
        report.rejected_rows,
    )


def test_a_messy_export_of_leads(database: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, "leads.csv", MESSY_LEADS)
    report = run(database, mapping=MAPPING, leads=path)["leads"]
    assert counts(report) == (10, 3, 0, 0, 7)
    assert [(item.line, item.field) for item in report.rejected] == [
        (4, "email"),
        (5, "employee_count"),
        (6, "created_at"),
        (7, "lead_id"),
        (8, "employee_count"),
        (10, "lead_id"),
        (12, "(row)"),
    ]
    assert '"next tuesday"' in report.rejected[2].reason
    assert select(
        database,
        "SELECT lead_id, email, title, company_name, employee_count, status, country, timezone,"
        " is_hiring, attributes FROM leads ORDER BY length(lead_id), lead_id",
    ) == [
        ("c-1", "ann@acme.com", "CEO", "Acme", 1200, "converted", "Australia",
         "Australia/Brisbane", True, {"Owner": "Kim"}),
        ("c-2", "bob@acme.com", "CTO", "Acme", 12, "in_sequence", "US", "America/Chicago", True,
         {"Owner": "Kim"}),
        ("c-9", "gus@acme.com", 'VP "Growth" EMEA', "Acme", None, "in_sequence", None, None,
         True, {}),
    ]  # fmt: skip
    assert select(
        database,
        "SELECT client_id, subscription_status, policy ->> 'promotion' FROM clients",
    ) == [("acme", "trialing", "auto")]


def test_what_messages_say_is_measured(database: Engine, tmp_path: Path) -> None:
    leads = written(
        tmp_path,
        "l.csv",
        "lead_id,first_name,company_name,industry\na,Ann,Acme Ltd,Mining\nb,Bob,,\n",
    )
    header = "id,lead_id,channel,action,occurred_at,subject,body\n"
    touches = written(
        tmp_path,
        "a.csv",
        f"{header}"
        'm1,a,email,sent,2024-03-04,Quick question,"Hi Ann, does Acme save time?"\n'
        "m2,b,email,sent,2024-03-04,Hello Bob,\n"
        "m3,b,email,sent,2024-03-05,,Hi Bob\n"
        "m4,a,phone,sent,2024-03-05,,\n"
        "m5,a,email,replied,2024-03-06,Re: Quick question,Call me\n",
    )
    files = {"leads": leads, "activities": touches}
    run(database, **files)
    query = "SELECT idempotency_key, content_snapshot FROM activities ORDER BY 1"
    found = dict(select(database, query))
    whole = found["m1"]
    assert (whole["word_count"], whole["question_count"]) == (6, 1)
    assert whole["has_first_name"] is whole["has_company_mention"] is True
    assert whole["has_industry_specific"] is False
    # Without a body its words are unknown, not none.
    assert found["m2"].keys() == {"channel", "subject_word_count", "subject_patterns"}
    assert (found["m3"]["has_first_name"], found["m3"]["has_company_mention"]) == (True, None)
    assert (found["m4"], found["m5"]) == (None, None)
    assert [counts(report)[2:4] for report in run(database, **files).values()] == [(0, 2), (0, 5)]

    # What the capturing engine measured stands until the words are others.
    with database.begin() as connection:
        mark = "content_snapshot || '{\"word_count\": 99}'"
        connection.execute(text(f"UPDATE activities SET content_snapshot = {mark}"))
    run(database, **files)
    assert dict(select(database, query))["m1"]["word_count"] == 99
    changed = written(tmp_path, "a2.csv", f"{header}m1,a,email,sent,2024-03-04,,Hi Ann again\n")
    run(database, activities=changed)
    assert dict(select(database, query))["m1"]["word_count"] == 3


def history(tmp_path: Path) -> dict[str, Path]:
    """Files of two leads with touches, a meeting and a deal."""
    return {
        "leads": written(
            tmp_path,
            "l.csv",
            "lead_id,timezone,status,converted_at,campaign_id\n"
            "a,Australia/Sydney,,2024-03-10,spring\n"
            "b,,exhausted,,\n",
        ),
        "activities": written(
            tmp_path,
            "a.csv",
            "id,lead_id,type,channel,action,occurred_at,about_activity_id,subject,template_id\n"
            "t1,a,x,email,email_sent,2024-03-04 09:00,,Hi,one\n"
            "o1,a,x,email,opened,2024-03-04 10:30,t1,,\n"
            "t2,a,x,phone,sent,2024-03-10,,,\n"
            "t3,a,x,email,sent,2024-03-12,,,\n"
            "t4,b,x,sms,sent,2024-03,,,\n"
            "t5,zz,x,sms,sent,2024-03-01,,,\n"
            "t6,a,x,sms,opened,2024-03-01,nope,,\n"
            "t7,a,x,sms,waved,2024-03-01,,,\n",
        ),
        "meetings": written(
            tmp_path,
            "m.csv",
            "meeting_id,lead_id,booked_at,scheduled_at,showed_up,outcome,campaign_id\n"
            "m1,a,2024-03-11T02:00Z,2024-03-15T02:00Z,yes,completed,summer\n"
            "m2,nobody,2024-03-11T02:00Z,,,,\n",
        ),
        "deals": written(
            tmp_path,
            "d.csv",
            "deal_id,lead_id,meeting_id,amount,currency,deal stage,create date,close date\n"
            "d1,a,m1,\"$1,500.50\",usd,closedwon,2024-03-16,2024-04-01\n"
            "d2,b,,100,,Cake eaten,2024-03-16,2024-04-01\n"
            "d3,a,m9,100,,,2024-03-16,\n",
        ),
    }  # fmt: skip


def test_all_four_files_and_what_follows_from_them(database: Engine, tmp_path: Path) -> None:
    reports = run(database, mapping=BRISBANE, **history(tmp_path))
    assert {kind: counts(report) for kind, report in reports.items()} == {
        "leads": (2, 2, 0, 0, 0),
        "activities": (8, 5, 0, 0, 3),
        "meetings": (2, 1, 0, 0, 1),
        "deals": (3, 2, 0, 0, 1),
    }
    assert [(i.line, i.field) for i in reports["activities"].rejected] == [
        (7, "lead_id"),
        (8, "about_activity_id"),
        (9, "action"),
    ]
    assert "'zz'" in reports["activities"].rejected[0].reason
    assert [(i.line, i.field) for i in reports["meetings"].rejected] == [(3, "lead_id")]
    assert [(i.line, i.field) for i in reports["deals"].rejected] == [(4, "meeting_id")]

    assert select(
        database,
        "SELECT idempotency_key, channel, action, time_precision, touch_number, local_weekday,"
        " local_hour, converting FROM activities ORDER BY 1",
    ) == [
        ("o1", "email", "opened", "instant", None, 1, 11, False),
        ("t1", "email", "sent", "instant", 1, 1, 10, False),
        # the day is known, the hour is not; the last touch before the conversion of that day
        ("t2", "voice", "sent", "day", 2, 7, None, True),
        ("t3", "email", "sent", "day", 3, 2, None, False),
        ("t4", "sms", "sent", "month", 1, None, None, False),
    ]
    assert select(
        database,
        "SELECT o.idempotency_key, t.idempotency_key FROM activities o"
        " JOIN activities t ON t.activity_id = o.about_activity_id",
    ) == [("o1", "t1")]
    assert select(
        database,
        "SELECT lead_id, status, converted_at, conversion_type, deal_won, touch_count, campaign_id"
        " FROM leads ORDER BY 1",
    ) == [
        ("a", "converted", dt.datetime(2024, 3, 10, 23, 59, 59, tzinfo=dt.UTC), "status", True, 3,
         "spring"),
        ("b", "exhausted", None, None, False, 1, None),
    ]  # fmt: skip
    assert select(database, "SELECT campaign_id, name FROM campaigns ORDER BY 1") == [
        ("spring", "spring"),
        ("summer", "summer"),
    ]
    assert select(
        database,
        "SELECT deal_id, value::float, currency, stage, unmapped_stage, won,"
        " expected_close_date FROM deals ORDER BY 1",
    ) == [
        ("d1", 1500.5, "USD", "closed_won", None, True, None),
        ("d2", 100.0, "AUD", "qualification", "Cake eaten", None, dt.date(2024, 4, 1)),
    ]
    assert select(database, "SELECT count(*) FROM dirty_leads") == [(0,)]


def test_the_same_files_again_change_nothing(database: Engine, tmp_path: Path) -> None:
    paths = history(tmp_path)
    paths["leads"].write_text(paths["leads"].read_text() + "c,,,,\n", encoding="utf-8")
    first = run(database, mapping=BRISBANE, **paths)
    before = whole_state(database)
    again = run(database, mapping=BRISBANE, **paths)
    assert whole_state(database) == before
    for kind, report in again.items():
        stored = first[kind].inserted
        assert (report.inserted, report.updated, report.unchanged) == (0, 0, stored)
        assert report.rejected == first[kind].rejected


def test_rows_without_ids_are_stored_once(database: Engine, tmp_path: Path) -> None:
    leads = written(tmp_path, "l.csv", "lead_id\na\n")
    touches = written(
        tmp_path,
        "a.csv",
        "lead_id,channel,action,occurred_at\n" + "a,sms,sent,2024-03-01\n" * 3,
    )
    assert counts(run(database, leads=leads, activities=touches)["activities"])[1] == 3
    assert counts(run(database, activities=touches)["activities"]) == (3, 0, 0, 3, 0)
    touches.write_text(touches.read_text() + "a,sms,sent,2024-03-01\n", encoding="utf-8")
    assert counts(run(database, activities=touches)["activities"]) == (4, 1, 0, 3, 0)


def test_what_a_file_does_not_say_stays(database: Engine, tmp_path: Path) -> None:
    run(
        database,
        leads=written(
            tmp_path,
            "1.csv",
            "lead_id,title,industry,technologies,timezone,score band\n"
            "a,CEO,software,AWS;GCP,Asia/Tokyo,high\nb,CTO,,,,\n",
        ),
    )
    report = run(
        database,
        leads=written(
            tmp_path,
            "2.csv",
            "lead_id,title,email,country,technologies,fit\na,,a@x.io,Germany,,good\nb,CTO,,,,\n",
        ),
    )["leads"]
    assert counts(report) == (2, 0, 1, 1, 0)
    assert select(
        database,
        "SELECT title, industry, technologies, timezone, email, attributes FROM leads"
        " WHERE lead_id = 'a'",
    ) == [
        ("CEO", "software", ["AWS", "GCP"], "Asia/Tokyo", "a@x.io",
         {"fit": "good", "score band": "high"}),
    ]  # fmt: skip


def test_opt_outs_and_outcomes_are_never_taken_back(database: Engine, tmp_path: Path) -> None:
    header = "lead_id,status,unsubscribed,do_not_contact,bounce_count\n"
    run(
        database,
        leads=written(
            tmp_path,
            "1.csv",
            header + "a,unsubscribed,yes,yes,3\nb,exhausted,,,\nc,converted,,,\nd,new,,,\n",
        ),
    )
    run(
        database,
        leads=written(
            tmp_path,
            "2.csv",
            header + "a,in_sequence,no,no,1\nb,in_sequence,,,\nc,new,,,\nd,scored,,,2\n",
        ),
    )
    assert select(
        database,
        "SELECT lead_id, status, unsubscribed, do_not_contact, bounce_count FROM leads ORDER BY 1",
    ) == [
        ("a", "unsubscribed", True, True, 3),
        ("b", "in_sequence", False, False, 0),
        ("c", "converted", False, False, 0),
        ("d", "scored", False, False, 2),
    ]


def test_a_row_never_moves_to_another_lead(database: Engine, tmp_path: Path) -> None:
    header = "id,lead_id,channel,action,occurred_at\n"
    leads = written(tmp_path, "l.csv", "lead_id\na\nb\n")
    run(
        database,
        leads=leads,
        activities=written(tmp_path, "1.csv", header + "t,a,sms,sent,2024-01-01\n"),
    )
    moved = written(tmp_path, "2.csv", header + "t,b,sms,sent,2024-01-01\n")
    report = run(database, activities=moved)["activities"]
    assert [(i.line, i.field) for i in report.rejected] == [(2, "activity_id")]
    assert select(database, "SELECT lead_id FROM activities") == [("a",)]


def test_clients_do_not_meet(database: Engine, tmp_path: Path) -> None:
    leads = written(tmp_path, "l.csv", "lead_id,title\na,CEO\n")
    touch = written(
        tmp_path, "a.csv", "id,lead_id,channel,action,occurred_at\nt,a,sms,sent,2024-01-01\n"
    )
    run(database, "one", leads=leads, activities=touch)
    run(database, "two", leads=leads)
    report = run(database, "three", activities=touch)["activities"]
    assert counts(report) == (1, 0, 0, 0, 1)
    assert select(database, "SELECT client_id, lead_id, touch_count FROM leads ORDER BY 1") == [
        ("one", "a", 1),
        ("two", "a", 0),
    ]


def test_deals_of_a_crm_are_not_doubled(database: Engine, tmp_path: Path) -> None:
    header = "deal_id,lead_id,opened_at,external_crm,external_deal_id\n"
    leads = written(tmp_path, "l.csv", "lead_id\na\n")
    first = written(tmp_path, "1.csv", header + "d1,a,2024-01-01,hub,7\nd0,a,2024-01-01,hub,7\n")
    reports = run(database, leads=leads, deals=first)
    assert [(i.line, i.field) for i in reports["deals"].rejected] == [(2, "external_deal_id")]
    second = written(tmp_path, "2.csv", header + "d2,a,2024-01-01,hub,7\nd3,a,2024-01-01,hub,8\n")
    report = run(database, deals=second)["deals"]
    assert [(i.line, i.field) for i in report.rejected] == [(2, "external_deal_id")]
    assert select(database, "SELECT deal_id FROM deals ORDER BY 1") == [("d0",), ("d3",)]


def test_parquet_gives_what_csv_gives(database: Engine, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "lead_id": [1, 2],
            "title": ["CEO", None],
            "employees": [12.0, None],
            "is_hiring": [True, None],
            "technologies": [["AWS"], []],
            "created_at": [dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC), None],
            "latest_funding_date": [dt.date(2023, 5, 6), None],
            "grade": [1.5, None],
        }
    )
    frame.write_parquet(tmp_path / "leads.parquet")
    assert counts(run(database, leads=tmp_path / "leads.parquet")["leads"]) == (2, 2, 0, 0, 0)
    frame.with_columns(pl.col("technologies").list.join(";")).write_csv(tmp_path / "leads.csv")
    assert counts(run(database, leads=tmp_path / "leads.csv")["leads"]) == (2, 0, 0, 2, 0)
    assert select(
        database,
        "SELECT lead_id, employee_count, technologies, created_at, latest_funding_date, attributes"
        " FROM leads WHERE lead_id = '1'",
    ) == [
        ("1", 12, ["AWS"], dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC), dt.date(2023, 5, 6),
         {"grade": "1.5"}),
    ]  # fmt: skip


def test_nothing_is_stored_when_a_file_does_not_fit(database: Engine, tmp_path: Path) -> None:
    leads = written(tmp_path, "l.csv", "lead_id\na\n")
    touches = written(tmp_path, "a.csv", "who,what\na,b\n")
    with pytest.raises(DataError, match="activities file has no column for 'lead_id'"):
        run(database, leads=leads, activities=touches)
    assert select(database, "SELECT count(*) FROM clients") == [(0,)]


def test_a_file_of_nothing_but_its_header(database: Engine, tmp_path: Path) -> None:
    reports = run(database, leads=written(tmp_path, "l.csv", "lead_id,title\n"))
    assert counts(reports["leads"]) == (0, 0, 0, 0, 0)


def test_texts_that_try_to_break_out(database: Engine, tmp_path: Path) -> None:
    evil = ["a'); DROP TABLE leads; --", "\\N\\.", "{x}:client %s", 'q"q', "tab\there"]
    rows = "".join(f'{number},"{value}","{value}"\n' for number, value in enumerate(evil)).replace(
        'q"q', 'q""q'
    )
    run(database, leads=written(tmp_path, "l.csv", "lead_id,title,note {0} :client\n" + rows))
    stored = select(
        database, "SELECT title, attributes ->> 'note {0} \\:client' FROM leads ORDER BY lead_id"
    )
    assert stored == [(value, value) for value in evil]


def test_progress_in_plain_lines(database: Engine, tmp_path: Path) -> None:
    lines: list[str] = []
    ticks = itertools.count(step=6)
    progress = Lines(lines.append, lambda: float(next(ticks)))
    leads = written(tmp_path, "l.csv", "lead_id\na\nb\n")
    import_files(database, "acme", {"leads": leads}, {}, progress)
    assert lines[0] == "read leads: 2 rows, 0 rows/s, about 0 s left"
    assert [line.split(":")[0] for line in lines[1:]] == ["read leads", "store leads", "derive"]


def test_the_report_counts_and_times(database: Engine, tmp_path: Path) -> None:
    report = full_report(
        database, "acme", None, leads=written(tmp_path, "l.csv", "lead_id,title\na,b\n,c\n")
    )
    assert (report.rows, report.rejected_rows, report.client_created) == (2, 1, True)
    assert set(report.stages) == {"read leads", "store leads", "derive", "commit"}
    assert report.seconds >= sum(report.stages.values()) > 0
    assert json.dumps(report.files[0].columns)
