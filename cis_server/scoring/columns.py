"""Many leads as columns, and from there to the kernel's codes without Python objects of each lead.

What `cis_server.scoring.components.coded_lead`, `.suppression.gate_reason` and
`.features.raw_features` say of one lead, said of columns: text is judged once per distinct text
(`DistinctTexts`), shapes of addresses are judged in the buffer they arrived in (`text_kernel`), and
what is left is arithmetic on whole columns. A test holds every column against those functions.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cis_server.domain.titles import NO_TITLE, ParsedTitle, parse_title
from cis_server.domain.vocabulary import EmailStatus, LeadStatus
from cis_server.scoring.arithmetic import CODED_WIDTH, CodedLead
from cis_server.scoring.components import seniority_key
from cis_server.scoring.contacts import is_email_address, is_linkedin_profile, is_phone_number
from cis_server.scoring.distinct_texts import DistinctTexts, TextColumn
from cis_server.scoring.icp import MAX_HEADCOUNT, IcpMatcher
from cis_server.scoring.points import SENIORITY_POINTS
from cis_server.scoring.text_kernel import (
    ASK,
    NO_DATE,
    email_shapes,
    phone_shapes,
    profile_shapes,
)

Integers = NDArray[np.int64]
ShapeKernel = Callable[[NDArray[np.uint8], Integers, Integers, Integers], None]

EMAIL_STATUSES: Final = tuple(EmailStatus)
LEAD_STATUSES: Final = tuple(LeadStatus)
EPOCH_DAY: Final = dt.date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadColumns:
    """n leads, a column for each field that scoring reads; integers are int64 of shape (n,).

    Flags are 1, 0, or -1 for unknown; dates are days since 1970, or `text_kernel.NO_DATE`.
    """

    lead_id: TextColumn
    email: TextColumn
    email_status: Integers
    """Place in `EMAIL_STATUSES`; that of UNKNOWN where nothing is said."""
    phone: TextColumn
    phone_verified: Integers
    linkedin_url: TextColumn
    personal_email: TextColumn
    title: TextColumn
    seniority: TextColumn
    employment_start_date: Integers
    domain: TextColumn
    industry: TextColumn
    employee_count: Integers
    """0 when unknown."""
    latest_funding_date: Integers
    is_hiring: Integers
    country: TextColumn
    status: Integers
    """Place in `LEAD_STATUSES`; -1 when unknown."""
    bounce_count: Integers
    """0 when unknown."""
    unsubscribed: Integers
    do_not_contact: Integers
    attributes: Mapping[str, TextColumn] = field(default_factory=dict)
    """Those a model reads; one that is left out is missing for every lead."""

    def __len__(self) -> int:
        return len(self.email_status)

    def take(self, rows: Integers) -> LeadColumns:
        """Some of the leads, over the same texts."""
        taken: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            column = getattr(self, name)
            if isinstance(column, TextColumn):
                taken[name] = column.take(rows)
            elif isinstance(column, np.ndarray):
                taken[name] = column[rows]
        attributes = {key: column.take(rows) for key, column in self.attributes.items()}
        return LeadColumns(**taken, attributes=attributes)


@dataclass(frozen=True, slots=True)
class ContactShapes:
    """Which contact data of n leads can be used: 1 or 0 each, shape (n,)."""

    email: Integers
    phone: Integers
    linkedin: Integers
    personal_email: Integers


class TextTables:
    """The distinct texts of each field, shared by all calls of a process."""

    def __init__(self) -> None:
        self.titles = DistinctTexts()
        self.seniorities = DistinctTexts()
        self.industries = DistinctTexts()
        self.countries = DistinctTexts()
        self.zones = DistinctTexts()
        self.attributes = DistinctTexts()


def contact_shapes(columns: LeadColumns) -> ContactShapes:
    """Which contact data can be used, as `cis_server.scoring.contacts` decides."""
    return ContactShapes(
        email=_shapes(columns.email, email_shapes, is_email_address),
        phone=_shapes(columns.phone, phone_shapes, is_phone_number),
        linkedin=_shapes(columns.linkedin_url, profile_shapes, is_linkedin_profile),
        personal_email=_shapes(columns.personal_email, email_shapes, is_email_address),
    )


def coded_columns(
    columns: LeadColumns,
    shapes: ContactShapes,
    tables: TextTables,
    *,
    icp: IcpMatcher,
    as_of: dt.date,
    competitor: Integers,
) -> Integers:
    """The leads as `kernel.score_rows` reads them, equal row by row to `coded_lead` of each.

    Args:
        columns: n leads.
        shapes: of the same leads.
        tables: the texts met so far.
        icp: the prepared profile.
        as_of: the day ages are counted to.
        competitor: 1 where the lead belongs to a competitor, shape (n,).

    Returns:
        Shape (n, `CODED_WIDTH`), C order.
    """
    titles = tables.titles.judged(columns.title, _title_code, "title", missing=_packed(NO_TITLE))
    seniority = tables.seniorities.judged(columns.seniority, _seniority_points, "points")
    points = titles % _RANKED
    mailable = shapes.email * (columns.email_status != _INVALID)
    coded = {
        "email": mailable * (1 + (columns.email_status == _VERIFIED)),
        "phone": shapes.phone * (1 + (columns.phone_verified == 1)),
        "linkedin": shapes.linkedin,
        "personal_email": shapes.personal_email,
        "authority": np.where(titles & _RANKED, points, np.maximum(points, seniority)),
        "industry": tables.industries.judged(
            columns.industry, lambda text: int(icp.industry_matches(text)), ("fit", icp.industries)
        ),
        "headcount": np.clip(columns.employee_count, 0, MAX_HEADCOUNT),
        "headcount_min": icp.employee_min,
        "headcount_max": icp.employee_max,
        "country": tables.countries.judged(
            columns.country, lambda text: int(icp.country_fit(text)), ("fit", icp.countries)
        ),
        "role_days": days_since(columns.employment_start_date, as_of),
        "hiring": columns.is_hiring == 1,
        "funding_days": days_since(columns.latest_funding_date, as_of),
        "bounced": has_bounced(columns),
        "unsubscribed": opted_out(columns),
        "competitor": competitor,
        "unsuitable": titles // _UNSUITABLE,
    }
    codes = np.empty((len(columns), CODED_WIDTH), dtype=np.int64)
    for k, name in enumerate(CodedLead._fields):
        codes[:, k] = coded[name]
    return codes


def opted_out(columns: LeadColumns) -> NDArray[np.bool_]:
    """Where `cis_server.scoring.suppression.has_unsubscribed` holds, shape (n,)."""
    out: NDArray[np.bool_] = (columns.unsubscribed == 1) | (columns.status == _UNSUBSCRIBED)
    return out


def has_bounced(columns: LeadColumns) -> NDArray[np.bool_]:
    """Where `cis_server.scoring.components.has_bounced` holds, shape (n,)."""
    out: NDArray[np.bool_] = (columns.bounce_count > 0) | (columns.status == _BOUNCED)
    return out


def days_since(dates: Integers, as_of: dt.date) -> Integers:
    """Whole days from each date to `as_of`; -1 where it is missing or lies in the future."""
    days = (as_of.toordinal() - EPOCH_DAY) - dates
    return np.where((days < 0) | (dates == NO_DATE), -1, days)


_VERIFIED: Final = EMAIL_STATUSES.index(EmailStatus.VERIFIED)
_INVALID: Final = EMAIL_STATUSES.index(EmailStatus.INVALID)
_UNSUBSCRIBED: Final = LEAD_STATUSES.index(LeadStatus.UNSUBSCRIBED)
_BOUNCED: Final = LEAD_STATUSES.index(LeadStatus.BOUNCED)

_RANKED: Final = 32
_UNSUITABLE: Final = 64


def _packed(title: ParsedTitle) -> int:
    return title.points + _RANKED * title.ranked + _UNSUITABLE * title.unsuitable


def _title_code(text: str) -> int:
    return _packed(parse_title(text))


def _seniority_points(text: str) -> int:
    return SENIORITY_POINTS.get(seniority_key(text), 0)


def _shapes(column: TextColumn, kernel: ShapeKernel, is_shaped: Callable[[str], bool]) -> Integers:
    shapes = np.empty(len(column), dtype=np.int64)
    kernel(column.data, column.start, column.stop, shapes)
    if shapes.max(initial=0) == ASK:
        for row in np.flatnonzero(shapes == ASK).tolist():
            shapes[row] = is_shaped(column.text(row))
    return shapes
