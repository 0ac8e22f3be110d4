"""Leads as columns, made one by one: what tests hold the columnar forms against."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cis_server.domain.lead import Lead
from cis_server.domain.vocabulary import EmailStatus, LeadStatus
from cis_server.scoring.columns import EMAIL_STATUSES, EPOCH_DAY, LEAD_STATUSES, LeadColumns
from cis_server.scoring.distinct_texts import TextColumn
from cis_server.scoring.text_kernel import NO_DATE

NUMBERS: dict[str, Callable[[Lead], int]] = {
    "email_status": lambda lead: EMAIL_STATUSES.index(lead.email_status),
    "phone_verified": lambda lead: _flag(lead.phone_verified),
    "employment_start_date": lambda lead: _day(lead.employment_start_date),
    "employee_count": lambda lead: lead.employee_count or 0,
    "latest_funding_date": lambda lead: _day(lead.latest_funding_date),
    "is_hiring": lambda lead: _flag(lead.is_hiring),
    "status": lambda lead: -1 if lead.status is None else LEAD_STATUSES.index(lead.status),
    "bounce_count": lambda lead: lead.bounce_count or 0,
    "unsubscribed": lambda lead: _flag(lead.unsubscribed),
    "do_not_contact": lambda lead: _flag(lead.do_not_contact),
}
TEXTS = (
    "lead_id",
    "email",
    "phone",
    "linkedin_url",
    "personal_email",
    "title",
    "seniority",
    "domain",
    "industry",
    "country",
)


def text_column(texts: Sequence[str | None]) -> TextColumn:
    """A column with its texts side by side."""
    pieces = [(text or "").encode() for text in texts]
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]]) if pieces else ends
    return TextColumn(np.frombuffer(b"".join(pieces) + b"\0", dtype=np.uint8), starts, ends)


def columns_of(leads: Sequence[Lead]) -> LeadColumns:
    """The columns of leads."""
    keys = sorted({key for lead in leads for key in lead.attributes})
    columns: dict[str, Any] = {
        name: text_column([getattr(lead, name) for lead in leads]) for name in TEXTS
    }
    for name, number in NUMBERS.items():
        columns[name] = np.array([number(lead) for lead in leads], dtype=np.int64)
    return LeadColumns(
        **columns,
        attributes={key: text_column([lead.attributes.get(key) for lead in leads]) for key in keys},
    )


def _flag(value: bool | None) -> int:
    return -1 if value is None else int(value)


def _day(date: dt.date | None) -> int:
    return NO_DATE if date is None else date.toordinal() - EPOCH_DAY


def _some(*texts: str) -> st.SearchStrategy[str | None]:
    """One of the texts, with space or anything else around it now and then, or none."""
    return st.none() | st.sampled_from(texts) | st.sampled_from(texts).map(lambda t: f" {t}\n")


_WILD = st.text(st.sampled_from("ab1.@ -/:\n\x1cé٣\u2003ſ"), max_size=12)
_DATES = st.none() | st.dates(dt.date(2022, 1, 1), dt.date(2027, 12, 31)) | st.dates()
_FLAGS = st.sampled_from([None, False, True])
_ADDRESSES = (
    _some("dana@northwind.example", "ceo@eu.rival.example", "a@b", "x@y.z", "é@ü.example") | _WILD
)

LEADS = st.builds(
    Lead,
    lead_id=st.sampled_from(["", "lead-1", "lead-2", "führer-7"]) | st.uuids().map(str),
    email=_ADDRESSES,
    email_status=st.sampled_from(EmailStatus),
    phone=_some("+61 400 000 000", "00 61 (400) 1", "1234", "٣٣٣٣٣", "555-0100-99") | _WILD,
    phone_verified=_FLAGS,
    call_register_listed=_FLAGS,
    linkedin_url=_some(
        "https://www.linkedin.com/in/dana",
        "LinkedIn.com:443/PUB/x",
        "linkedin.com/company/northwind",
        "http://lnkd.in/sales/people/1",
    )
    | _WILD,
    personal_email=_ADDRESSES,
    postal_address=_some("1 George St"),
    title=_some("CEO", "VP Sales", "Executive Assistant to the CEO", "Intern", "Geschäftsführer")
    | _WILD,
    seniority=_some("Owner", "c-suite", "C Suite", "entry", "boss"),
    employment_start_date=_DATES,
    domain=_some(
        "northwind.example", "https://www.Rival.example/about", "mail.rival.example", "www.www.a.b"
    )
    | _WILD,
    industry=_some("Software", "Information Technology & Services", "Banks", "Bücher") | _WILD,
    employee_count=st.none() | st.integers(0, 300) | st.integers(-5, 10**9),
    latest_funding_date=_DATES,
    is_hiring=_FLAGS,
    country=_some("Australia", "US", "New Zealand", "Österreich", "Atlantis") | _WILD,
    status=st.none() | st.sampled_from(LeadStatus),
    bounce_count=st.none() | st.integers(0, 3),
    unsubscribed=_FLAGS,
    do_not_contact=_FLAGS,
    attributes=st.dictionaries(
        st.sampled_from(["plan", "seats", "region"]),
        st.sampled_from(["Free", "pro ", "12", "1,200.5", "nan", ""]) | _WILD,
    ),
)
"""Leads of every shape, ordinary and odd."""
