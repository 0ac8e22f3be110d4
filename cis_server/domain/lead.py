"""A lead as the scorer and the detectors see it: the caller's own facts, nothing derived."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from cis_server.domain.vocabulary import EmailStatus, LeadStatus


@dataclass(frozen=True, slots=True)
class Job:
    """One entry of an employment history."""

    company: str | None = None
    title: str | None = None
    start_date: dt.date | None = None
    end_date: dt.date | None = None
    current: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """One person at one company. None means unknown, never false or zero.

    Field names are those of the proto message `cis.v1.Lead`; the converter maps them one to one.
    """

    lead_id: str = ""
    # contact
    email: str | None = None
    email_status: EmailStatus = EmailStatus.UNKNOWN
    phone: str | None = None
    phone_verified: bool | None = None
    call_register_listed: bool | None = None
    linkedin_url: str | None = None
    personal_email: str | None = None
    postal_address: str | None = None
    # person
    first_name: str | None = None
    last_name: str | None = None
    title: str | None = None
    seniority: str | None = None
    employment_start_date: dt.date | None = None
    employment_history: tuple[Job, ...] = ()
    linkedin_headline: str | None = None
    person_city: str | None = None
    person_region: str | None = None
    person_country: str | None = None
    timezone: str | None = None
    # company
    company_name: str | None = None
    domain: str | None = None
    industry: str | None = None
    employee_count: int | None = None
    revenue: float | None = None
    technologies: tuple[str, ...] = ()
    total_funding: float | None = None
    latest_funding_stage: str | None = None
    latest_funding_date: dt.date | None = None
    is_hiring: bool | None = None
    founded_year: int | None = None
    city: str | None = None
    region: str | None = None
    country: str | None = None
    # state
    status: LeadStatus | None = None
    bounce_count: int | None = None
    unsubscribed: bool | None = None
    do_not_contact: bool | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
