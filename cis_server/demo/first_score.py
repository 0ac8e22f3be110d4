"""Scores of simulated leads just before their first touch, by the scorer's own rules and kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cis_server.demo.population import Population
from cis_server.demo.truth import Floats
from cis_server.domain.clients import Icp
from cis_server.domain.scores import MAX_POINTS
from cis_server.domain.titles import parse_title
from cis_server.domain.weights import COMPONENTS, DEFAULT_WEIGHTS
from cis_server.scoring.arithmetic import Arithmetic, CodedLead
from cis_server.scoring.compiled import score_rows
from cis_server.scoring.components import authority_points
from cis_server.scoring.icp import matcher

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstScores:
    """Scores under the default weights as of the day of first contact, in lead order."""

    points: Codes
    """(leads, 5): raw points, in the order of `COMPONENTS`."""
    score: Codes
    tier: Codes
    """0 dead ... 4 hot."""

    def normalised(self) -> dict[str, Floats]:
        """Component -> points / maximum, (leads,)."""
        return {name: self.points[:, k] / MAX_POINTS[k] for k, name in enumerate(COMPONENTS)}


def first_scores(
    population: Population, icp: Icp, competitor_domains: tuple[str, ...] = ()
) -> FirstScores:
    """Score every lead as of its first contact; nobody has bounced or unsubscribed by then.

    Args:
        population: the leads.
        icp: the client's profile.
        competitor_domains: domains that are no leads at all.
    """
    leads = population.leads
    wanted = matcher(icp)
    ranks = {title: parse_title(title) for title in leads["title"].unique().to_list()}
    state = {"verified": 2, "invalid": 0}
    has_mail = leads["email"].is_not_null().to_numpy()
    columns = {
        "email": np.where(has_mail, _mapped(leads["email_status"], state, 1), 0),
        "phone": np.where(leads["phone"].is_not_null(), 1 + _flags(leads["phone_verified"]), 0),
        "linkedin": leads["linkedin_url"].is_not_null(),
        "personal_email": leads["personal_email"].is_not_null(),
        "authority": _authority(leads),
        "industry": _mapped(
            leads["industry"],
            {text: int(wanted.industry_matches(text)) for text in leads["industry"].unique()},
        ),
        "headcount": leads["employee_count"].fill_null(0),
        "headcount_min": np.full(len(leads), wanted.employee_min),
        "headcount_max": np.full(len(leads), wanted.employee_max),
        "country": _mapped(
            leads["country"],
            {text: int(wanted.country_fit(text)) for text in leads["country"].unique()},
        ),
        "role_days": _days(leads["employment_start_date"], population),
        "hiring": _flags(leads["is_hiring"]),
        "funding_days": _days(leads["latest_funding_date"], population),
        "bounced": np.zeros(len(leads)),
        "unsubscribed": np.zeros(len(leads)),
        "competitor": leads["domain"].is_in(list(competitor_domains)),
        "unsuitable": _mapped(
            leads["title"], {title: int(parsed.unsuitable) for title, parsed in ranks.items()}
        ),
    }
    codes = np.column_stack([np.asarray(columns[name]).astype(np.int64) for name in _FIELDS])
    rows = score_rows(codes, DEFAULT_WEIGHTS.as_tuple())
    return FirstScores(
        points=rows[:, :5].astype(np.int64),
        score=rows[:, _SCORE].astype(np.int64),
        tier=rows[:, _TIER].astype(np.int64),
    )


_FIELDS = CodedLead._fields
_SCORE = Arithmetic._fields.index("score")
_TIER = Arithmetic._fields.index("tier")


def _authority(leads: pl.DataFrame) -> Codes:
    pairs = leads.select("title", "seniority").unique().rows()
    points = {
        f"{title}|{seniority}": authority_points(parse_title(title), seniority)
        for title, seniority in pairs
    }
    key = leads.select(
        pl.col("title").fill_null("None") + "|" + pl.col("seniority").fill_null("None")
    ).to_series()
    return _mapped(key, points)


def _flags(values: pl.Series) -> Codes:
    """1 where true; unknown is no evidence, as in the score."""
    return np.asarray(values.cast(pl.Int64).fill_null(0).to_numpy())


def _mapped(values: pl.Series, codes: dict[str, int], default: int = 0) -> Codes:
    known = {key: code for key, code in codes.items() if key is not None}
    mapped = values.replace_strict(known, default=default, return_dtype=pl.Int64)
    return np.asarray(mapped.fill_null(default).to_numpy(), dtype=np.int64)


def _days(dates: pl.Series, population: Population) -> Codes:
    """Days from the date to first contact; -1 when unknown or later."""
    first = population.first_contact.astype("datetime64[D]").astype(np.int64)
    day = dates.cast(pl.Int32).cast(pl.Int64).fill_null(2**31).to_numpy()
    return np.asarray(np.maximum(first - day, -1))
