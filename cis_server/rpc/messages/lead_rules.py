"""The rules of fields of `cis.v1.Lead` that scoring reads nothing of, applied quickly.

Most leads carry a history, technologies and columns of a CRM, which must be valid all the same.
The bounds are those of `rule_table`; what breaks one is left to the full check, which says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

from cis_server.rpc.messages.lead_tables import LeadTables
from cis_server.rpc.messages.signals import IrregularError
from cis_server.rpc.rule_table import RULES
from cis_server.rpc.rules import Check, Entries, Items, Number, Text

R = TypeVar("R")


def check_history(jobs: Sequence[Any], tables: LeadTables) -> None:
    """Check `Lead.employment_history`.

    Raises:
        IrregularError: it breaks a rule, or cannot be judged here.
    """
    if len(jobs) > _MOST_JOBS:
        raise IrregularError
    dates = tables.dates
    for job in jobs:
        company, title, start, end = _job(job)
        if len(company) > _LONGEST_COMPANY or len(title) > _LONGEST_TITLE:
            raise IrregularError
        if "\0" in company or "\0" in title:
            raise IrregularError
        if start:
            dates[start]
        if end and (dates[end] and start and end < start):
            raise IrregularError


def check_technologies(names: Iterable[str]) -> None:
    """Check `Lead.technologies`; raises as `check_history`."""
    known = tuple(names)
    if len(known) > _MOST_TECHNOLOGIES or "\0" in "".join(known):
        raise IrregularError
    if max(map(len, known)) > _LONGEST_TECHNOLOGY:
        raise IrregularError


def check_attributes(attributes: Mapping[str, str], tables: LeadTables) -> None:
    """Check `Lead.attributes`; raises as `check_history`."""
    if len(attributes) > _MOST_ATTRIBUTES:
        raise IrregularError
    names = tables.names
    for name in attributes:
        names[name]
        value = attributes[name]
        if len(value) > _LONGEST_VALUE or "\0" in value:
            raise IrregularError


def rule(field: str, kind: type[R]) -> R:
    """The rule of a field of `cis.v1`, which must be of this kind."""
    found = RULES[f"cis.v1.{field}"]
    if not isinstance(found, kind):
        raise TypeError(f"the rule of {field} is no {kind.__name__}")
    return found


def longest(field: str) -> int:
    """Most characters of a text of `cis.v1.Lead`, which has no other bound."""
    return _most(rule(f"Lead.{field}", Text), "@" if field == "email" else "")


def _most(check: Check | None, containing: str = "", least: int = 0) -> int:
    if not isinstance(check, Text) or check.least != least or check.containing != containing:
        raise TypeError(f"{check} has bounds that are not applied here")
    return check.most


_job: Final = attrgetter("company", "title", "start_date", "end_date")
_MOST_JOBS: Final = rule("Lead.employment_history", Items).most
_LONGEST_COMPANY: Final = _most(rule("Job.company", Text))
_LONGEST_TITLE: Final = _most(rule("Job.title", Text))
_MOST_TECHNOLOGIES: Final = rule("Lead.technologies", Items).most
_LONGEST_TECHNOLOGY: Final = _most(rule("Lead.technologies", Items).each)
_MOST_ATTRIBUTES: Final = rule("Lead.attributes", Entries).most
_LONGEST_VALUE: Final = _most(rule("Lead.attributes", Entries).value)
MOST_BOUNCES: Final = rule("Lead.bounce_count", Number).most
FIRST_YEAR: Final = rule("Lead.founded_year", Number).least
LAST_YEAR: Final = rule("Lead.founded_year", Number).most
