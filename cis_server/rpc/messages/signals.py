"""What scoring reads of a lead's texts and dates, kept by value with its words on the wire.

Titles, industries, countries, head-counts and dates repeat from lead to lead. Each distinct value
is checked, judged and put into words once; a lead then costs a look-up a field. What a value means
depends on the day (dates) or on the profile (industry, country, size), and on nothing else, so the
tables are shared by all clients. The judgements are those of `cis_server.scoring`, the rules those
of the request.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cis_server.domain.titles import parse_title
from cis_server.rpc.messages.wire import delimited, float64, varint
from cis_server.rpc.rule_table import RULES
from cis_server.scoring.components import (
    authority_points,
    days_since,
    funding_class,
    role_class,
    size_fit,
)
from cis_server.scoring.icp import MAX_HEADCOUNT, IcpMatcher
from cis_server.scoring.reasons import (
    authority_text,
    country_text,
    funding_text,
    industry_text,
    role_text,
    size_text,
)
from cis_server.serving.memo import Memo, MemoBudget

_REASONS: Final = 13  # number of the field LeadScore.reasons
_DOUBLE_BYTES: Final = 9  # Reason.points with its tag


class IrregularError(Exception):
    """A field that breaks a rule, or that is left to the full check; never reaches a caller."""


class Signal(NamedTuple):
    """One value of one field."""

    code: int
    """What the arithmetic reads."""
    front: bytes
    """A `LeadScore.reasons` entry up to the points, ..."""
    back: bytes
    """... and after them."""


class TitleSignal(NamedTuple):
    """A title with a provider's seniority; as `Signal`, of the factor `authority`."""

    code: int
    """Points."""
    front: bytes
    back: bytes
    unsuitable: bool


def reason_ends(factor: str, text: str) -> tuple[bytes, bytes]:
    """The bytes of a `LeadScore.reasons` entry before and after the points."""
    name, words = delimited(1, factor.encode()), delimited(3, text.encode())
    length = len(name) + _DOUBLE_BYTES + len(words)
    return varint(_REASONS << 3 | 2) + varint(length) + name, words


def points_bytes(points: float) -> bytes:
    """`Reason.points` with its tag; points of a reason are never zero."""
    return b"\x11" + float64(points)


class DaySignals:
    """Dates as they stand to one day.

    Attributes:
        role: `employment_start_date` -> `Signal`, the code being the class of the days.
        funding: `latest_funding_date` -> the same.
    """

    __slots__ = ("funding", "role")

    def __init__(self, as_of: dt.date, budget: MemoBudget) -> None:
        def role(text: str) -> Signal:
            days = _days("employment_start_date", text, as_of)
            return Signal(role_class(days), *reason_ends("new_role", role_text(days)))

        def funding(text: str) -> Signal:
            days = _days("latest_funding_date", text, as_of)
            return Signal(funding_class(days), *reason_ends("funding", funding_text(days)))

        self.role: Mapping[str, Signal] = Memo(role, budget)
        self.funding: Mapping[str, Signal] = Memo(funding, budget)


class ProfileSignals:
    """Facts of companies as they stand to one profile.

    Attributes:
        industry: text -> `Signal`, 1 when it is a target.
        size: head-count -> `Signal`, the code being the `SizeFit`.
        country: text -> `Signal`, the code being the `CountryFit`.
    """

    __slots__ = ("country", "industry", "size")

    def __init__(self, icp: IcpMatcher, budget: MemoBudget) -> None:
        least, most = icp.employee_min, icp.employee_max

        def industry(text: str) -> Signal:
            check("Lead.industry", text)
            matches = icp.industry_matches(text)
            return Signal(int(matches), *reason_ends("industry", industry_text(text, matches)))

        def size(headcount: int) -> Signal:
            check("Lead.employee_count", headcount)
            heads = min(max(headcount, 0), MAX_HEADCOUNT)
            words = size_text(heads, least, most)
            return Signal(int(size_fit(heads, least, most)), *reason_ends("company_size", words))

        def country(text: str) -> Signal:
            check("Lead.country", text)
            fit = int(icp.country_fit(text))
            return Signal(fit, *reason_ends("country", country_text(text, fit)))

        self.industry: Mapping[str, Signal] = Memo(industry, budget, keeps=is_short)
        self.size: Mapping[int, Signal] = Memo(size, budget)
        self.country: Mapping[str, Signal] = Memo(country, budget, keeps=is_short)


def check(field: str, value: Any) -> bool:
    """Hold a value against the rule of its field in `cis.v1`: True.

    Raises:
        IrregularError: it breaks the rule.
    """
    if RULES[f"cis.v1.{field}"](value) is not None:
        raise IrregularError(field)
    return True


def is_short(text: str) -> bool:
    """Whether a text is worth a place in a table; longer ones seldom come twice."""
    return len(text) <= 120


def title_signal(key: tuple[str, str]) -> TitleSignal:
    """What (title, seniority) say, each empty when not given."""
    title, seniority = key[0] or None, key[1] or None
    check("Lead.title", key[0])
    check("Lead.seniority", key[1])
    parsed = parse_title(title)
    points = authority_points(parsed, seniority)
    words = authority_text(title, seniority, parsed, points)
    return TitleSignal(points, *reason_ends("authority", words), parsed.unsuitable)


def _days(field: str, text: str, as_of: dt.date) -> int:
    check(f"Lead.{field}", text)
    return days_since(dt.date.fromisoformat(text) if text else None, as_of)
