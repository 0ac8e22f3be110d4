"""Simulated people and companies, column by column."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cis_server.demo import catalogue
from cis_server.demo.identifiers import numbered
from cis_server.demo.specs import ClientSpec

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]

NEW_ROLE_DAYS = 90
FUNDED_DAYS = 360


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """One client's leads, in lead order; codes index the lists of `catalogue`."""

    leads: pl.DataFrame
    """Columns are the fields of `domain.lead.Lead` without its state, `attributes` as JSON text."""
    title: Codes
    """-1 when the title is not known (the lead still has one)."""
    true_title: Codes
    industry: Codes
    size: Codes
    place: Codes
    crm_source: Codes
    lead_grade: Codes
    technologies: Flags
    """(leads, technologies)."""
    hiring: Flags
    new_role: Flags
    funded: Flags
    """Signals as of first contact; false where the data do not say."""
    contacted: Flags
    first_contact: NDArray[np.datetime64]
    """Local calendar day of the first touch; `as_of` for leads not contacted yet."""


def draw_population(spec: ClientSpec, rng: np.random.Generator, as_of: dt.datetime) -> Population:
    """Draw a client's leads.

    Args:
        spec: what to draw.
        rng: source of every draw.
        as_of: the instant of knowledge, aware.
    """
    n = spec.leads
    contacted, first_contact = _contact_days(spec, rng, as_of)
    true_title = _weighted(rng, n, _title_weights(spec))
    industry = _weighted(rng, n, _industry_weights(spec))
    if spec.outreach.late_industry is not None:
        industry = _industry_of_late(spec, industry, first_contact, rng, as_of)
    size = _weighted(rng, n, [row[3] for row in catalogue.SIZE_RANGES])
    place = _weighted(rng, n, [row.weight for row in catalogue.PLACES])
    source = _weighted(rng, n, [row[1] for row in catalogue.CRM_SOURCES])
    title = np.where(rng.random(n) < 0.04, -1, true_title)
    columns: dict[str, pl.Series] = {}
    columns["lead_id"] = numbered(f"{spec.client_id}-L", n)
    columns |= _people(rng, n, place, true_title, title)
    columns |= _companies(rng, industry, size, place, as_of.year)
    columns |= _contacts(rng, columns, place)
    moved, role = _days_ago(rng, first_contact, share_known=0.7, median_days=700, future=0.01)
    raised, funding = _days_ago(rng, first_contact, share_known=0.35, median_days=500, future=0.01)
    columns["employment_start_date"] = _dates(role, moved)
    columns["latest_funding_date"] = _dates(funding, raised)
    columns |= _funding(rng, raised)
    hiring, hiring_known = rng.random(n) < 0.35, rng.random(n) < 0.75
    columns["is_hiring"] = _masked(pl.Series(hiring), hiring_known)
    zones = [row.timezone for row in catalogue.PLACES]
    zone_known = rng.random(n) >= spec.outreach.missing_zone_share
    columns["timezone"] = _masked(_take(zones, place), zone_known)
    stack, stack_known = _technologies(rng, n)
    columns["technologies"] = _stack_lists(stack, stack_known)
    grade = _weighted(rng, n, [row[1] for row in catalogue.LEAD_GRADES])
    columns["attributes"] = _attributes(source, grade)
    columns["employment_history"] = _history(role, moved, columns)
    return Population(
        leads=pl.DataFrame(columns),
        title=title,
        true_title=true_title,
        industry=industry,
        size=size,
        place=place,
        crm_source=source,
        lead_grade=grade,
        technologies=stack & stack_known[:, None],
        hiring=hiring & hiring_known,
        new_role=moved & _within(role, first_contact, NEW_ROLE_DAYS),
        funded=raised & _within(funding, first_contact, FUNDED_DAYS),
        contacted=contacted,
        first_contact=first_contact,
    )


def _contact_days(
    spec: ClientSpec, rng: np.random.Generator, as_of: dt.datetime
) -> tuple[Flags, NDArray[np.datetime64]]:
    today = np.datetime64(as_of.date(), "D")
    contacted = rng.random(spec.leads) >= spec.outreach.uncontacted_share
    ago = 1 + rng.random(spec.leads) * max(spec.outreach.history_days - 1, 1)
    days = today - np.ceil(ago).astype("timedelta64[D]")
    return contacted, np.where(contacted, days, today)


def _title_weights(spec: ClientSpec) -> list[float]:
    return [row.weight * spec.title_weights.get(row.level, 1.0) for row in catalogue.TITLES]


def _industry_weights(spec: ClientSpec) -> list[float]:
    return [weight * spec.industry_weights.get(name, 1.0) for name, weight in catalogue.INDUSTRIES]


def _industry_of_late(
    spec: ClientSpec,
    industry: Codes,
    first_contact: NDArray[np.datetime64],
    rng: np.random.Generator,
    as_of: dt.datetime,
) -> Codes:
    """Half of the late leads in the late industry, none of the others."""
    names = [name for name, _ in catalogue.INDUSTRIES]
    late = names.index(spec.outreach.late_industry or "")
    other = (late + 1) % len(names)
    since = np.datetime64(as_of.date(), "D") - np.timedelta64(round(spec.outreach.late_days), "D")
    chosen = (first_contact > since) & (rng.random(len(industry)) < 0.5)
    return np.where(chosen, late, np.where(industry == late, other, industry))


def _people(
    rng: np.random.Generator, n: int, place: Codes, true_title: Codes, title: Codes
) -> dict[str, pl.Series]:
    levels = [row.level for row in catalogue.TITLES]
    known = rng.random(n) < 0.45
    there = rng.random(n) < 0.8
    return {
        "first_name": _take(
            catalogue.FIRST_NAMES, rng.integers(len(catalogue.FIRST_NAMES), size=n)
        ),
        "last_name": _take(catalogue.LAST_NAMES, rng.integers(len(catalogue.LAST_NAMES), size=n)),
        "title": _masked(_take([row.text for row in catalogue.TITLES], true_title), title >= 0),
        "seniority": _masked(_take([_SENIORITY[level] for level in levels], true_title), known),
        "person_city": _masked(_take([row.city for row in catalogue.PLACES], place), there),
        "person_region": _masked(_take([row.region for row in catalogue.PLACES], place), there),
        "person_country": _masked(_take([row.country for row in catalogue.PLACES], place), there),
    }


_SENIORITY = {
    "founder": "founder",
    "ceo": "c_suite",
    "c_level": "c_suite",
    "vp": "vp",
    "director": "director",
    "head": "director",
    "manager": "manager",
    "staff": "entry",
}


def _companies(
    rng: np.random.Generator, industry: Codes, size: Codes, place: Codes, year: int
) -> dict[str, pl.Series]:
    n = len(place)
    low = np.array([row[1] for row in catalogue.SIZE_RANGES], dtype=float)[size]
    high = np.array([row[2] for row in catalogue.SIZE_RANGES], dtype=float)[size] + 1
    staff = np.floor(low * (high / low) ** rng.random(n)).astype(np.int64)
    staff = np.minimum(staff, high.astype(np.int64) - 1)
    revenue = np.round(staff * np.exp(rng.normal(11.9, 0.5, n)), -3)
    first = _any(rng, n, catalogue.COMPANY_FIRST)
    second = _any(rng, n, catalogue.COMPANY_SECOND)
    # A number in the domain keeps companies of the same name apart; a few share a company.
    number = pl.Series(rng.integers(max(n // 2, 10), size=n)).cast(pl.String)
    names = [name for name, _ in catalogue.INDUSTRIES]
    return {
        "company_name": first + " " + second,
        "domain": (first + second).str.to_lowercase() + number + ".example",
        "industry": _masked(_take(names, industry), rng.random(n) < 0.95),
        "employee_count": _masked(pl.Series(staff), rng.random(n) < 0.92),
        "revenue": _masked(pl.Series(revenue), rng.random(n) < 0.5),
        "founded_year": _masked(
            pl.Series(year - 1 - np.minimum(rng.gamma(2.0, 8.0, n), 120).astype(np.int64)),
            rng.random(n) < 0.7,
        ),
        "city": _take([row.city for row in catalogue.PLACES], place),
        "region": _masked(
            _take([row.region for row in catalogue.PLACES], place), rng.random(n) < 0.85
        ),
        "country": _masked(
            _take([row.country for row in catalogue.PLACES], place), rng.random(n) < 0.97
        ),
    }


_EMAIL_STATES = (
    ("verified", 60.0),
    ("guessed", 16.0),
    ("catch_all", 12.0),
    ("unknown", 9.0),
    ("invalid", 3.0),
)


def _contacts(
    rng: np.random.Generator, columns: dict[str, pl.Series], place: Codes
) -> dict[str, pl.Series]:
    n = len(place)
    email, linkedin = rng.random(n) < 0.95, rng.random(n) < 0.75
    linkedin |= ~email  # everybody can be reached somehow
    phone = rng.random(n) < 0.65
    first, last = columns["first_name"].str.to_lowercase(), columns["last_name"].str.to_lowercase()
    order = pl.Series(np.arange(n)).cast(pl.String)
    dialling = _take([row.dialling for row in catalogue.PLACES], place)
    digits = pl.Series(rng.integers(5_000_000, 9_999_999, size=n)).cast(pl.String)
    state = _take(
        [name for name, _ in _EMAIL_STATES], _weighted(rng, n, [w for _, w in _EMAIL_STATES])
    )
    state = pl.select(
        pl.when(pl.Series(email)).then(state).otherwise(pl.lit("unknown"))
    ).to_series()
    street = pl.Series(rng.integers(1, 400, size=n)).cast(pl.String) + " High Street, "
    return {
        "email": _masked(first + "." + last + "." + order + "@" + columns["domain"], email),
        "email_status": state.fill_null("unknown"),
        "phone": _masked(dialling + digits, phone),
        "phone_verified": _masked(pl.Series(rng.random(n) < 0.55), phone),
        "call_register_listed": _masked(
            pl.Series(rng.random(n) < 0.03), phone & (rng.random(n) < 0.6)
        ),
        "linkedin_url": _masked(
            "https://www.linkedin.com/in/" + first + "-" + last + "-" + order, linkedin
        ),
        "personal_email": _masked(first + "." + order + "@mail.example", rng.random(n) < 0.15),
        "postal_address": _masked(street + columns["city"], rng.random(n) < 0.55),
    }


def _days_ago(
    rng: np.random.Generator,
    day: NDArray[np.datetime64],
    *,
    share_known: float,
    median_days: float,
    future: float,
) -> tuple[Flags, NDArray[np.datetime64]]:
    """(known, date): log-normal days before `day`; a few dates lie in the future, as CRMs have."""
    n = len(day)
    known = rng.random(n) < share_known
    ago = np.minimum(np.exp(rng.normal(np.log(median_days), 1.2, n)), 9_000)
    ago = np.where(rng.random(n) < future, -30.0, ago)
    return known, day - ago.astype("timedelta64[D]")


def _within(date: NDArray[np.datetime64], day: NDArray[np.datetime64], days: int) -> Flags:
    age = (day - date).astype(np.int64)
    return np.asarray((age >= 0) & (age < days))


def _funding(rng: np.random.Generator, raised: Flags) -> dict[str, pl.Series]:
    n = len(raised)
    stage = _weighted(rng, n, [weight for _, weight in catalogue.FUNDING_STAGES])
    total = np.round(np.exp(rng.normal(14.0 + stage, 0.6, n)), -4)
    return {
        "latest_funding_stage": _masked(
            _take([name for name, _ in catalogue.FUNDING_STAGES], stage), raised
        ),
        "total_funding": _masked(pl.Series(total), raised),
    }


def _technologies(rng: np.random.Generator, n: int) -> tuple[Flags, Flags]:
    shares = np.array([share for _, share in catalogue.TECHNOLOGIES])
    return rng.random((n, len(shares))) < shares, rng.random(n) < 0.6


def _stack_lists(stack: Flags, known: Flags) -> pl.Series:
    names = [name for name, _ in catalogue.TECHNOLOGIES]
    codes = stack @ (1 << np.arange(len(names)))
    every = [
        [name for bit, name in enumerate(names) if code >> bit & 1]
        for code in range(1 << len(names))
    ]
    lists = pl.Series(every, dtype=pl.List(pl.String)).gather(codes)
    return _masked(lists, known)


def _attributes(source: Codes, grade: Codes) -> pl.Series:
    grades = catalogue.LEAD_GRADES
    texts = [
        f'{{"crm_source": "{name}", "lead_grade": "{letter}"}}'
        for name, _ in catalogue.CRM_SOURCES
        for letter, _ in grades
    ]
    return _take(texts, source * len(grades) + grade)


def _history(
    role: NDArray[np.datetime64], known: Flags, columns: dict[str, pl.Series]
) -> pl.Series:
    """JSON text of the current job and one before it, for those whose role date is known."""
    start = pl.Series(role.astype("datetime64[D]")).cast(pl.String)
    before = pl.Series((role - np.timedelta64(1_100, "D")).astype("datetime64[D]")).cast(pl.String)
    title = columns["title"].fill_null("Consultant")
    text = (
        '[{"company": "'
        + columns["company_name"]
        + '", "title": "'
        + title
        + '", "start_date": "'
        + start
        + '", "current": true}, {"company": "Former '
        + columns["company_name"]
        + '", "title": "Consultant", "start_date": "'
        + before
        + '", "end_date": "'
        + start
        + '", "current": false}]'
    )
    return _masked(text, known)


def _weighted(rng: np.random.Generator, n: int, weights: Sequence[float]) -> Codes:
    edges = np.cumsum(np.asarray(weights, dtype=float))
    return np.searchsorted(edges / edges[-1], rng.random(n), side="right").astype(np.int64)


def _any(rng: np.random.Generator, n: int, words: Sequence[str]) -> pl.Series:
    return _take(words, rng.integers(len(words), size=n))


def _take(words: Sequence[str], codes: Codes) -> pl.Series:
    return pl.Series(list(words)).gather(codes)


def _masked(values: pl.Series, known: Flags) -> pl.Series:
    return pl.select(pl.when(pl.Series(known)).then(values)).to_series()


def _dates(days: NDArray[np.datetime64], known: Flags) -> pl.Series:
    return _masked(pl.Series(days.astype("datetime64[D]")), known)
