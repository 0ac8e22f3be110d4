"""Dimensions of a lead: everything known about it at first contact that may tell who converts."""

from __future__ import annotations

import polars as pl

from cis_server.detectors.levels import Levels, banded, folded_levels, levels, multi_levels
from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.titles import parse_title
from cis_server.domain.vocabulary import EmailStatus

SIZE_EDGES = (6, 16, 31, 51, 101, 251, 501)
"""Lower ends of the head-count ranges after the first (pattern facts 8.2)."""
SIZE_LABELS = ("1–5", "6–15", "16–30", "31–50", "51–100", "101–250", "251–500", "501+")

_REVENUE_EDGES = (1e6, 10e6, 50e6, 250e6, 1e9)
_REVENUE_LABELS = ("under 1M", "1M–10M", "10M–50M", "50M–250M", "250M–1B", "1B+")
_FUNDING_EDGES = (1.0, 1e6, 5e6, 20e6, 100e6)
_FUNDING_LABELS = ("none", "under 1M", "1M–5M", "5M–20M", "20M–100M", "100M+")
_TENURE_EDGES = (3.0, 12.0, 24.0, 60.0)
_TENURE_LABELS = ("under 3 months", "3–12 months", "1–2 years", "2–5 years", "5+ years")
_AGE_EDGES = (3.0, 6.0, 11.0, 21.0)
_AGE_LABELS = ("0–2 years", "3–5 years", "6–10 years", "11–20 years", "21+ years")
_JOBS_EDGES = (2.0, 3.0, 5.0)
_JOBS_LABELS = ("1", "2", "3–4", "5+")
_MONTH_DAYS = 30.4375

TEXT_DIMENSIONS = (
    "seniority",
    "latest_funding_stage",
    "city",
    "region",
    "country",
    "person_city",
    "person_region",
    "person_country",
)
"""Columns taken by their folded text under their own name."""

NEW_ROLE_DAYS = 90
FUNDED_DAYS = 365
SIGNALS = ("new_role", "hiring", "funded")
"""The timing signals, in the order of `signal_levels`."""


def title_levels(leads: pl.DataFrame, settings: DetectorSettings) -> list[Levels]:
    """Canonical title, level and function by the one title parser: ``title``, ``title_level``,
    ``title_function``."""
    written = leads["title"].drop_nulls().unique().sort().to_list()
    parsed = [parse_title(title) for title in written]
    columns = {
        "title": [title.canonical or None for title in parsed],
        "title_level": [title.level for title in parsed],
        "title_function": [title.function for title in parsed],
    }
    return [
        levels(
            name,
            leads["title"].replace_strict(
                pl.Series(written, dtype=pl.String),
                pl.Series(words, dtype=pl.String),
                default=None,
                return_dtype=pl.String,
            ),
            limit=settings.ranked_levels,
        )
        for name, words in columns.items()
    ]


def industry_levels(leads: pl.DataFrame, settings: DetectorSettings) -> Levels:
    """``industry`` by folded text."""
    return _text(leads, "industry", settings)


def size_levels(leads: pl.DataFrame) -> Levels:
    """``company_size``: head count in the ranges of `SIZE_LABELS`; 0 or less is unknown."""
    return banded("company_size", _positive(leads["employee_count"]), SIZE_EDGES, SIZE_LABELS)


def company_levels(leads: pl.DataFrame, settings: DetectorSettings) -> list[Levels]:
    """Further facts of company and place, and the state of the address."""
    founded = leads.select(
        pl.when(pl.col("founded_year") > 0).then(
            (pl.col("contacted_at").dt.year() - pl.col("founded_year")).clip(0)
        )
    ).to_series()
    zone = leads.select(pl.col("timezone").str.strip_chars()).to_series()
    address = leads.select(
        pl.when(pl.col("email_status") != EmailStatus.UNKNOWN.value).then(pl.col("email_status"))
    ).to_series()
    limit = settings.ranked_levels
    return [
        *(_text(leads, name, settings) for name in TEXT_DIMENSIONS),
        banded("revenue_band", _positive(leads["revenue"]), _REVENUE_EDGES, _REVENUE_LABELS),
        banded("funding_band", leads["total_funding"], _FUNDING_EDGES, _FUNDING_LABELS),
        banded("company_age", founded, _AGE_EDGES, _AGE_LABELS),
        multi_levels("technology", leads["technologies"], limit=limit),
        levels("timezone", zone, limit=limit),
        levels("email_status", address, limit=limit),
    ]


def employment_levels(leads: pl.DataFrame) -> list[Levels]:
    """Employment history at first contact: ``employment_tenure`` in the present role,
    ``employment_jobs`` held, ``employment_average_tenure`` of the finished ones.

    Jobs that began after the first contact were not known then and do not count.
    """
    started = leads["employment_start_date"]
    months = _months(started, leads["contacted_at"].dt.date())
    jobs = _jobs(leads)
    return [
        banded("employment_tenure", months, _TENURE_EDGES, _TENURE_LABELS),
        banded("employment_jobs", jobs["jobs"], _JOBS_EDGES, _JOBS_LABELS),
        banded("employment_average_tenure", jobs["average_months"], _TENURE_EDGES, _TENURE_LABELS),
    ]


def signal_flags(leads: pl.DataFrame) -> dict[str, pl.Series]:
    """The timing signals at first contact, null where unknown.

    new_role: in the role for less than 90 days; funded: latest round in the year before; hiring:
    as recorded. A role or round that began after first contact says nothing about that moment, so
    it is unknown, as is everything of a lead whose first contact is not known.
    """
    contact = pl.col("contacted_at").dt.date()

    def since(column: str) -> pl.Expr:
        days = (contact - pl.col(column)).dt.total_days()
        return pl.when(days >= 0).then(days)

    flags = leads.select(
        new_role=since("employment_start_date") < NEW_ROLE_DAYS,
        hiring=pl.col("is_hiring"),
        funded=since("latest_funding_date") <= FUNDED_DAYS,
    )
    return {name: flags[name] for name in SIGNALS}


def _text(leads: pl.DataFrame, name: str, settings: DetectorSettings) -> Levels:
    return folded_levels(name, leads[name], limit=settings.ranked_levels)


def _positive(numbers: pl.Series) -> pl.Series:
    return pl.select(pl.when(numbers > 0).then(numbers)).to_series()


def _months(started: pl.Series, at: pl.Series) -> pl.Series:
    months = (at - started).dt.total_days() / _MONTH_DAYS
    return pl.select(pl.when(months >= 0).then(months)).to_series()


_JOB = pl.Struct({"start_date": pl.String(), "end_date": pl.String(), "current": pl.Boolean()})


def _jobs(leads: pl.DataFrame) -> pl.DataFrame:
    """Per lead `jobs` begun by first contact and `average_months` of those finished by then."""
    entries = (
        pl.DataFrame(
            {
                "unit": pl.int_range(leads.height, eager=True),
                "contact": leads["contacted_at"].dt.date(),
                "job": leads["employment_history"].str.json_decode(pl.List(_JOB)),
            }
        )
        .explode("job", empty_as_null=True)
        .drop_nulls("job")
        .unnest("job")
        .with_columns(
            start=pl.col("start_date").str.head(10).str.to_date("%Y-%m-%d", strict=False),
            end=pl.col("end_date").str.head(10).str.to_date("%Y-%m-%d", strict=False),
        )
        .filter(
            pl.col("start").is_null()
            | pl.col("contact").is_null()
            | (pl.col("start") <= pl.col("contact"))
        )
        .with_columns(
            months=pl.when(pl.col("end").is_between("start", "contact")).then(
                (pl.col("end") - pl.col("start")).dt.total_days() / _MONTH_DAYS
            )
        )
        .group_by("unit")
        .agg(jobs=pl.len().cast(pl.Float64), average_months=pl.col("months").mean())
    )
    units = pl.DataFrame({"unit": pl.int_range(leads.height, eager=True)})
    return units.join(entries, on="unit", how="left", maintain_order="left")
