"""A client (tenant), its ideal customer profile and its policy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from cis_server.domain.vocabulary import Promotion, SubscriptionStatus

DEFAULT_INDUSTRIES = (
    "technology",
    "software",
    "saas",
    "fintech",
    "marketing",
    "professional services",
    "consulting",
    "healthcare",
    "real estate",
    "construction",
    "manufacturing",
)
DEFAULT_TITLES = ("CEO", "Managing Director", "Founder", "Owner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Icp:
    """Ideal customer profile. Defaults are those of the scoring rules."""

    industries: tuple[str, ...] = ()
    """Target industries; empty means `DEFAULT_INDUSTRIES`."""
    employee_min: int = 5
    employee_max: int = 50
    """Head-count range, inclusive both ends."""
    countries: tuple[str, ...] = ("Australia",)
    titles: tuple[str, ...] = DEFAULT_TITLES


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPolicy:
    """What the client allows."""

    promotion: Promotion = Promotion.MANUAL
    pooling: bool = False
    exploration_share: float = 0.0
    """Share of answers drawn by Thompson sampling, 0..1."""
    tier_channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tier label -> channels allowed; tiers not named keep the default table."""
    retention_days: int = 730
    """Days for which the words of events are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRecord:
    """A client as stored."""

    client_id: str
    name: str = ""
    subscription_status: SubscriptionStatus = SubscriptionStatus.TRIALING
    timezone: str = "Australia/Sydney"
    icp: Icp = field(default_factory=Icp)
    competitor_domains: tuple[str, ...] = ()
    policy: ClientPolicy = field(default_factory=ClientPolicy)
    created_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRecord:
    """What serving needs of a campaign."""

    campaign_id: str
    name: str = ""
    icp: Icp | None = None
    timezone: str | None = None
    work_hours_start: dt.time = dt.time(9)
    work_hours_end: dt.time = dt.time(17)
    work_days: tuple[int, ...] = (1, 2, 3, 4, 5)
    """ISO weekdays, Monday = 1."""
    allocation: Mapping[str, int] = field(default_factory=dict)
    """Channel -> share of touches, percent; empty means unrestricted."""
