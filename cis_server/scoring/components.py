"""From a lead to the small integers the kernel reads: every judgement about text and dates."""

from __future__ import annotations

import datetime as dt
from enum import IntEnum

from cis_server.domain.lead import Lead
from cis_server.domain.scores import Components
from cis_server.domain.titles import ParsedTitle, parse_title
from cis_server.domain.vocabulary import EmailStatus, LeadStatus
from cis_server.scoring.arithmetic import CodedLead, score_one
from cis_server.scoring.contacts import (
    is_email_address,
    is_linkedin_profile,
    is_mailable,
    is_phone_number,
)
from cis_server.scoring.icp import MAX_HEADCOUNT, IcpMatcher
from cis_server.scoring.points import POINTS, SENIORITY_POINTS
from cis_server.scoring.suppression import has_unsubscribed, is_competitor

_ANY_WEIGHTS = (0.2, 0.2, 0.2, 0.2, 0.2)


def components_of(
    lead: Lead, *, icp: IcpMatcher, as_of: dt.date, competitor_domains: frozenset[str] = frozenset()
) -> Components:
    """The five components of a lead, without weights, score or gate.

    Args:
        lead: the lead.
        icp: the profile, prepared by `cis_server.scoring.icp.matcher`.
        as_of: the day ages are counted to.
        competitor_domains: prepared by `cis_server.scoring.suppression.competitor_set`.
    """
    coded = coded_lead(
        lead,
        title=parse_title(lead.title),
        icp=icp,
        as_of=as_of,
        competitor=is_competitor(lead, competitor_domains),
    )
    return Components(*(int(points) for points in score_one(coded, _ANY_WEIGHTS)[:5]))


def coded_lead(
    lead: Lead, *, title: ParsedTitle, icp: IcpMatcher, as_of: dt.date, competitor: bool
) -> CodedLead:
    """Code a lead for the kernel; what is missing or makes no sense codes as unknown.

    Args:
        lead: the lead.
        title: its parsed title.
        icp: the prepared profile.
        as_of: the day ages are counted to.
        competitor: whether the lead belongs to a competitor.
    """
    return CodedLead(
        email=email_code(lead),
        phone=0 if not is_phone_number(lead.phone) else 2 if lead.phone_verified else 1,
        linkedin=int(is_linkedin_profile(lead.linkedin_url)),
        personal_email=int(is_email_address(lead.personal_email)),
        authority=authority_points(title, lead.seniority),
        industry=int(icp.industry_matches(lead.industry)),
        headcount=min(max(lead.employee_count or 0, 0), MAX_HEADCOUNT),
        headcount_min=icp.employee_min,
        headcount_max=icp.employee_max,
        country=int(icp.country_fit(lead.country)),
        role_days=days_since(lead.employment_start_date, as_of),
        hiring=int(lead.is_hiring is True),
        funding_days=days_since(lead.latest_funding_date, as_of),
        bounced=int(has_bounced(lead)),
        unsubscribed=int(has_unsubscribed(lead)),
        competitor=int(competitor),
        unsuitable=int(title.unsuitable),
    )


def authority_points(title: ParsedTitle, seniority: str | None) -> int:
    """Points of the title; where it names no rank, those of the provider's seniority if higher."""
    if title.ranked or not seniority:
        return title.points
    return max(title.points, SENIORITY_POINTS.get(seniority_key(seniority), 0))


def seniority_key(seniority: str) -> str:
    """One spelling for a provider's seniority: ``C-Suite`` and ``c suite`` are ``c_suite``."""
    return "_".join(seniority.casefold().replace("-", " ").replace("_", " ").split())


def days_since(date: dt.date | None, as_of: dt.date) -> int:
    """Whole days from a date to `as_of`; -1 when it is missing or lies in the future (bad data)."""
    if date is None or date > as_of:
        return -1
    return (as_of - date).days


class SizeFit(IntEnum):
    """How a head-count stands to a profile's range."""

    UNKNOWN = 0
    BELOW = 1
    INSIDE = 2
    ABOVE = 3
    """Up to four times the largest wanted."""
    BEYOND = 4


def size_fit(headcount: int, least: int, most: int) -> SizeFit:
    """Where a head-count stands; all that scoring reads of it.

    Args:
        headcount: 0 for unknown.
        least, most: the range, see `IcpMatcher`.
    """
    if headcount <= 0:
        return SizeFit.UNKNOWN
    if headcount < least:
        return SizeFit.BELOW
    if headcount <= most:
        return SizeFit.INSIDE
    return SizeFit.ABOVE if headcount <= POINTS.size_above_factor * most else SizeFit.BEYOND


def role_class(days: int) -> int:
    """The fewest days in a role that score as these do; -1 for unknown."""
    return _age_class(days, POINTS.new_role_days, POINTS.recent_role_days)


def funding_class(days: int) -> int:
    """The fewest days since a funding that score as these do; -1 for unknown."""
    return _age_class(days, POINTS.fresh_funding_days, POINTS.recent_funding_days)


def _age_class(days: int, first: float, second: float) -> int:
    if days < 0:
        return -1
    return 0 if days < first else int(first) if days < second else int(second)


def has_bounced(lead: Lead) -> bool:
    """Whether a message to the lead ever bounced; counted once however often it did."""
    return (lead.bounce_count or 0) > 0 or lead.status is LeadStatus.BOUNCED


def email_code(lead: Lead) -> int:
    """0 none or known invalid, 1 any other address, 2 verified."""
    if not is_mailable(lead):
        return 0
    return 2 if lead.email_status is EmailStatus.VERIFIED else 1
