"""Leads as messages and as rows of a table, drawn at random: most sound, some wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from cis_client.v1 import core_pb2 as core

TEXTS: dict[str, Sequence[str]] = {
    "title": (
        *("CEO", "Founder & CEO", "VP Sales", "Head of IT", "Marketing Manager", "intern"),
        *("Geschäftsführer", "ceo ", "Owner", "assistant to the CEO", "Développeur", "student", ""),
    ),
    "seniority": ("c_suite", "C-Suite", "vp", "Director", "entry", "grand wizard", ""),
    "industry": (
        *("Software", "Information Technology", "biotechnology", "Banking", "health care"),
        *("Télécommunications", "Financial Services"),
    ),
    "country": ("Australia", "AU", "US", "United States", "Deutschland", "NZ", "Österreich", "xx"),
    "email": (
        *("a@target.example", "Bo.Li@Rival.example", "c@sub.rival.example", " d@x.co ", "no-at"),
        *("two@@x.co", "é@x.co", "e@münchen.example", "f@www.listed.example", "g@x", "h@ x.co"),
        *("listed@person.example", "LISTED@Person.Example ", "i@http://rival.example/x"),
    ),
    "personal_email": (
        "p@home.example",
        "own@listed.example",
        "no",
        "q@q.q",
        "listed@person.example",
    ),
    "phone": ("+61 400 000 000", "0061400000001", "12 34", "(02) 5550 1234", "٠١٢٣٤٥", "ext. 5"),
    "linkedin_url": (
        *("https://www.linkedin.com/in/dana", "linkedin.com/company/x", "LINKEDIN.com/IN/Bo"),
        *("https://lnkd.in/in/x", "http://linkedin.com:80/pub/y", "linkedin.com/in/", "é.com/in/x"),
    ),
    "domain": (
        *(
            "target.example",
            "https://www.rival.example/about",
            "SUB.Rival.Example.",
            "x@rival.example",
        ),
        *("www.listed.example", "deep.under.listed.example", "", "münchen.example", "a..b.example"),
    ),
    "status": ("NEW", "SCORED", "UNSUBSCRIBED", "BOUNCED", "CONVERTED"),
    "email_status": ("VERIFIED", "GUESSED", "CATCH_ALL", "INVALID", "UNKNOWN"),
    "employment_start_date": ("2026-01-15", "2025-06-30", "2024-02-29", "2031-01-01", "0001-01-01"),
    "latest_funding_date": ("2025-12-01", "2024-01-01", "9999-12-31", "1999-09-09"),
    "city": ("Sydney", "Zürich"),
}
WRONG: dict[str, Sequence[Any]] = {
    "title": ("x" * 501, "a\0b"),
    "email": ("y" * 320 + "@x.co",),
    "phone": ("5" * 65,),
    "domain": ("d" * 254,),
    "country": ("ü" * 201,),
    "employee_count": (-1, 100_000_001),
    "bounce_count": (-3, 1_000_001),
    "employment_start_date": ("2026-13-01", "15.01.2026", "2026-02-30"),
    "latest_funding_date": ("soon",),
    "seniority": ("s" * 65,),
    "city": ("c" * 201,),
    "revenue": (-5.0, float("inf")),
}
NUMBERS: dict[str, Sequence[Any]] = {
    "employee_count": (0, 1, 4, 5, 20, 50, 51, 200, 201, 5000, 100_000_000),
    "bounce_count": (0, 1, 7),
    "revenue": (0.0, 1e6),
}
FLAGS = ("phone_verified", "is_hiring", "unsubscribed", "do_not_contact", "call_register_listed")
ATTRIBUTES = {"segment": ("gold", "Silver ", "bronze", ""), "seats": ("1", "25", "1,200", "many")}

TYPES = {
    **dict.fromkeys(TEXTS, pa.string()),
    **dict.fromkeys(FLAGS, pa.bool_()),
    "employee_count": pa.int64(),
    "bounce_count": pa.int64(),
    "revenue": pa.float64(),
    **dict.fromkeys(ATTRIBUTES, pa.string()),
    "lead_id": pa.string(),
}


def row(chance: random.Random, number: int) -> dict[str, Any]:
    """One row by column, without those that are null; one in fifty has something wrong."""
    values: dict[str, Any] = {"lead_id": f"lead-{number}"}
    often = {"unsubscribed": 0.02, "do_not_contact": 0.02}
    for name, choices in {**TEXTS, **NUMBERS, **ATTRIBUTES}.items():
        if chance.random() < 0.7:
            values[name] = chance.choice(choices)
    for name in FLAGS:
        if chance.random() < 0.5:
            values[name] = chance.random() < often.get(name, 0.5)
    if values.get("status") == "UNSUBSCRIBED" and chance.random() < 0.8:
        del values["status"]
    if chance.random() < 0.02:
        name = chance.choice(sorted(WRONG))
        values[name] = chance.choice(WRONG[name])
    return values


def message(values: dict[str, Any]) -> core.Lead:
    """The row as `ScoreLead` takes it."""
    lead = core.Lead()
    for name, value in values.items():
        if name in ATTRIBUTES:
            lead.attributes[name] = value
        elif name in ("status", "email_status"):
            kind = core.LeadStatus if name == "status" else core.EmailStatus
            prefix = "LEAD_STATUS" if name == "status" else "EMAIL_STATUS"
            setattr(lead, name, kind.Value(f"{prefix}_{value}"))
        else:
            setattr(lead, name, value)
    return lead


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """The rows as a table."""
    return pa.table(
        {
            name: pa.array([values.get(name) for values in rows], type=kind)
            for name, kind in TYPES.items()
        }
    )
