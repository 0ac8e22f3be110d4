"""The five components of leads as they were at first touch.

What was stored then is used as it is. Where nothing was stored (imported histories) the components
are computed again, as of the day of first contact and from facts that no outcome changes: bounces,
opt-outs and statuses are left aside, for they are the outcome (defect 10), so that risk speaks of
the title alone. Whether a company is a competitor is not known here: domains are not part of a
dataset.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from cis_server.domain.clients import CampaignRecord, ClientRecord
from cis_server.domain.lead import Lead
from cis_server.domain.scores import MAX_POINTS
from cis_server.domain.titles import parse_title
from cis_server.domain.vocabulary import EmailStatus
from cis_server.domain.weights import COMPONENTS, DEFAULT_WEIGHTS, Weights
from cis_server.scoring.components import coded_lead
from cis_server.scoring.icp import IcpMatcher, matcher, resolved_icp
from cis_server.scoring.kernel import CODED_WIDTH, CodedLead, score_rows
from cis_server.stats.arrays import BoolArray, FloatArray

_MAXIMA = np.array(MAX_POINTS, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class FirstTouch:
    """Components of n leads at first touch.

    Attributes:
        points: (n, 5) raw points in the order of `COMPONENTS`.
        reconstructed: (n,) whether they were computed afterwards.
        days: first contact of each lead as a date; the day of creation, else of `as_of`, for leads
            that were never contacted.
    """

    points: FloatArray
    reconstructed: BoolArray
    days: Sequence[dt.date]

    @property
    def fractions(self) -> FloatArray:
        """(n, 5) points / maximum, 0..1."""
        result: FloatArray = self.points / _MAXIMA
        return result

    def scores(self, weights: Weights) -> FloatArray:
        """(n,) lead scores 0..100 under some weights, to nine decimals.

        Without the rounding the noise of the last digits would rank leads that score the same.
        """
        result: FloatArray = np.round(100.0 * (self.fractions @ np.array(weights.as_tuple())), 9)
        return result


def first_touch(
    leads: pl.DataFrame,
    *,
    client: ClientRecord,
    campaigns: Mapping[str, CampaignRecord],
    as_of: dt.datetime,
) -> FirstTouch:
    """Components of leads at first touch.

    Args:
        leads: columns of the dataset and `contacted_at`.
        client: its profile holds where the lead's campaign has none.
        campaigns: by id.
        as_of: the instant of knowledge.
    """
    days = leads.select(day=pl.coalesce("contacted_at", "created_at", pl.lit(as_of)).dt.date())[
        "day"
    ].to_list()
    points = _stored(leads)
    missing: BoolArray = np.asarray(np.isnan(points).any(axis=1), dtype=np.bool_)
    rows = np.flatnonzero(missing)
    if rows.size:
        profiles = _Profiles(client, campaigns)
        facts = leads.select(_FACTS)[rows].iter_rows()
        codes = [
            _coded(fact, profiles, days[row])
            for fact, row in zip(facts, rows.tolist(), strict=True)
        ]
        table = np.array(codes, dtype=np.int64).reshape(-1, CODED_WIDTH)
        points[rows] = score_rows(table, DEFAULT_WEIGHTS.as_tuple())[:, : len(COMPONENTS)]
    return FirstTouch(points, missing, days)


_FACTS = (
    "campaign_id",
    "title",
    "seniority",
    "industry",
    "employee_count",
    "country",
    "email_status",
    "has_email",
    "has_phone",
    "phone_verified",
    "has_linkedin",
    "has_personal_email",
    "employment_start_date",
    "latest_funding_date",
    "is_hiring",
)

# Stand-ins where a dataset says only that there is one: any well-formed value scores the same.
_EMAIL, _PHONE, _PROFILE = "someone@example.com", "+61200000000", "https://linkedin.com/in/someone"


def _stored(leads: pl.DataFrame) -> FloatArray:
    """(n, 5) stored points; NaN in every column of a lead whose set is missing or cannot be."""
    text = leads["components"].cast(pl.String)
    shape = pl.Struct(dict.fromkeys(COMPONENTS, pl.Float64))
    if text.null_count() == len(text):
        return np.full((len(text), len(COMPONENTS)), np.nan)
    decoded = text.str.json_decode(shape).struct.unnest()
    points = decoded.select(pl.col(COMPONENTS).cast(pl.Float64)).to_numpy().astype(np.float64)
    sound = np.isfinite(points).all(axis=1) & ((points >= 0) & (points <= _MAXIMA)).all(axis=1)
    points[~sound] = np.nan
    return points


class _Profiles:
    """The profile a lead is held against: that of its campaign, else of the client."""

    def __init__(self, client: ClientRecord, campaigns: Mapping[str, CampaignRecord]) -> None:
        self._of_client = matcher(resolved_icp(client=client.icp).icp)
        self._of_campaign = {
            name: matcher(resolved_icp(campaign=campaign.icp, client=client.icp).icp)
            for name, campaign in campaigns.items()
        }

    def of(self, campaign_id: str | None) -> IcpMatcher:
        return self._of_campaign.get(campaign_id or "", self._of_client)


_parsed = lru_cache(maxsize=65_536)(parse_title)


def _coded(fact: tuple[Any, ...], profiles: _Profiles, day: dt.date) -> CodedLead:
    values = dict(zip(_FACTS, fact, strict=True))
    lead = Lead(
        email=_EMAIL if values["has_email"] else None,
        email_status=_email_status(values["email_status"]),
        phone=_PHONE if values["has_phone"] else None,
        phone_verified=values["phone_verified"],
        linkedin_url=_PROFILE if values["has_linkedin"] else None,
        personal_email=_EMAIL if values["has_personal_email"] else None,
        seniority=values["seniority"],
        industry=values["industry"],
        employee_count=values["employee_count"],
        country=values["country"],
        employment_start_date=values["employment_start_date"],
        latest_funding_date=values["latest_funding_date"],
        is_hiring=values["is_hiring"],
    )
    return coded_lead(
        lead,
        title=_parsed(values["title"]),
        icp=profiles.of(values["campaign_id"]),
        as_of=day,
        competitor=False,
    )


def _email_status(text: object) -> EmailStatus:
    try:
        return EmailStatus(str(text))
    except ValueError:
        return EmailStatus.UNKNOWN
