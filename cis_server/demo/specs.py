"""What to simulate: a client, how it reaches out, and what is planted in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cis_server.demo import catalogue
from cis_server.demo.truth import Effects
from cis_server.domain.clients import Icp
from cis_server.domain.vocabulary import WELL_KNOWN_CHANNELS

CHANNELS = WELL_KNOWN_CHANNELS

BUSINESS_HOURS = (
    *(0.3, 0.2, 0.1, 0.1, 0.1, 0.2, 0.6, 2.0),
    *(6.0, 9.0, 9.0, 8.0, 5.0, 6.0, 8.0, 8.0),
    *(7.0, 5.0, 3.0, 2.0, 1.5, 1.2, 0.8, 0.5),
)
"""Weights of the local hours at which touches go out: office hours with a thin night."""
ALL_HOURS = (1.0,) * 24

DEFAULT_SEQUENCES: Mapping[tuple[str, ...], float] = {
    ("email", "linkedin", "email", "voice", "email", "linkedin"): 3.0,
    ("linkedin", "email", "voice", "email", "email", "voice"): 3.0,
    ("email", "email", "email", "email", "email"): 2.5,
    ("email", "voice", "email", "sms", "email", "linkedin"): 2.0,
    ("voice", "email", "linkedin", "email", "voice"): 2.0,
    ("email", "linkedin", "mail", "email", "email"): 1.0,
    ("linkedin", "linkedin", "linkedin", "linkedin"): 1.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outreach:
    """How a client contacts its leads; the same for good and bad leads unless confounded."""

    sequences: Mapping[tuple[str, ...], float] = field(
        default_factory=lambda: dict(DEFAULT_SEQUENCES)
    )
    """Channels in order -> relative weight of the plan. At most 12 touches."""
    history_days: float = 110.0
    """First touches are spread evenly over this many days before `as_of`."""
    uncontacted_share: float = 0.05
    """Leads known but not contacted yet."""
    gap_weights: tuple[float, ...] = (1.0, 3.0, 4.0, 3.0, 2.0, 1.5, 2.0, 0.7, 0.5, 0.5)
    """Weight of waiting 1, 2, ... days before the next touch."""
    hour_weights: tuple[float, ...] = BUSINESS_HOURS
    """Weight of each local hour 0..23."""
    weekend_share: float = 0.1
    """Share of touches falling on a weekend that stay there; the others move to Monday-Thursday."""
    tier_confounding: float = 0.0
    """Share of leads whose tier decides which channels they get."""
    privacy_proxy_share: float = 0.35
    """Leads whose mail is fetched by a proxy seconds after delivery."""
    unmarked_proxy_share: float = 0.0
    """Share of those whose proxy gives no name and fetches within hours, so that its opens cannot
    be told from a person's."""
    scanner_share: float = 0.06
    """Leads whose links are clicked by a scanner seconds after delivery."""
    open_rate: float = 0.34
    """Mails a person opens."""
    click_rate: float = 0.16
    """Opened mails with a link that a person clicks."""
    auto_reply_share: float = 0.03
    """Mails answered by an automatic reply or an out-of-office notice."""
    question_rate: float = 0.025
    """Touches that draw a question and nothing more."""
    refusal_rate: float = 0.02
    """Touches that draw a clear no, which ends the sequence."""
    unsubscribe_rate: float = 0.008
    """Touches that end in an unsubscribe."""
    conversion_delay_days: float = 1.5
    """Median days from the answer to the booking."""
    conversion_delay_spread: float = 0.8
    """Sigma of the logarithm of that delay."""
    missing_zone_share: float = 0.06
    """Leads whose time zone is not recorded."""
    late_industry: str | None = None
    """An industry that nobody was contacted in before the last `late_days` days, and half of the
    leads since: what is new has had little time to fail."""
    late_days: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpec:
    """One simulated client."""

    client_id: str
    name: str = ""
    leads: int = 2_000
    base_rate: float = 0.09
    """Expected conversion rate of a contacted lead whose address did not bounce."""
    timezone: str = "Australia/Sydney"
    icp: Icp = field(
        default_factory=lambda: Icp(
            employee_min=10,
            employee_max=250,
            countries=("Australia", "New Zealand", "United States", "United Kingdom"),
        )
    )
    competitor_domains: tuple[str, ...] = ()
    outreach: Outreach = field(default_factory=Outreach)
    effects: Effects = field(default_factory=Effects)
    title_weights: Mapping[str, float] = field(default_factory=dict)
    """Title level -> factor on its titles' weights."""
    industry_weights: Mapping[str, float] = field(default_factory=dict)
    """Industry -> factor on its weight."""
    currency: str = "AUD"

    def __post_init__(self) -> None:
        if self.leads < 1:
            raise ValueError("a client needs at least one lead")
        if not 0 < self.base_rate < 0.6:
            raise ValueError("base_rate lies between 0 and 0.6")
        plans = self.outreach.sequences
        if not plans or any(not 1 <= len(plan) <= 12 for plan in plans):
            raise ValueError("a sequence has 1 to 12 touches")
        if unknown := {channel for plan in plans for channel in plan} - set(CHANNELS):
            raise ValueError(f"unknown channels {sorted(unknown)}")
        late = self.outreach.late_industry
        if late is not None and late not in {name for name, _ in catalogue.INDUSTRIES}:
            raise ValueError(f"unknown industry {late!r}")
