"""The point values of the score: one table, read by the kernel, its twin and the reasons.

Every figure is from the scoring sheet: §1 components, §2 titles (in `titles`), §4 scale,
§5 deductions, §6 tiers. All values are floats so that the table is one uniform tuple, which the
compiled kernel takes as an argument: a changed table never meets stale machine code.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cis_server.domain.scores import MAX_POINTS
from cis_server.domain.tiers import TIER_MINIMUM
from cis_server.domain.vocabulary import Tier


class PointTable(NamedTuple):
    """Points a signal gives or takes, in points of its component."""

    # data quality, 0..20
    email_verified: float = 8.0
    email_unverified: float = 4.0
    phone_verified: float = 6.0
    phone_unverified: float = 3.0
    linkedin: float = 4.0
    personal_email: float = 2.0
    # company fit, 0..25
    industry: float = 10.0
    size_in_range: float = 8.0
    size_above: float = 5.0
    """Above the range, up to four times its maximum."""
    size_below: float = 3.0
    """From one person to below the range."""
    country: float = 7.0
    country_aliased: float = 4.0
    # timing, 0..15
    new_role: float = 6.0
    recent_role: float = 3.0
    hiring: float = 5.0
    fresh_funding: float = 4.0
    recent_funding: float = 2.0
    # spans, days since the event, the bound itself excluded; a month is 30 days
    new_role_days: float = 180.0
    recent_role_days: float = 360.0
    fresh_funding_days: float = 360.0
    recent_funding_days: float = 720.0
    size_above_factor: float = 4.0
    # deductions from risk, 0..15
    bounce: float = 10.0
    unsubscribed: float = 15.0
    competitor: float = 15.0
    unsuitable_title: float = 5.0
    # most points of each component
    max_data_quality: float = float(MAX_POINTS[0])
    max_authority: float = float(MAX_POINTS[1])
    max_company_fit: float = float(MAX_POINTS[2])
    max_timing: float = float(MAX_POINTS[3])
    max_risk: float = float(MAX_POINTS[4])
    # lowest score of each tier
    hot_from: float = float(TIER_MINIMUM[Tier.HOT])
    warm_from: float = float(TIER_MINIMUM[Tier.WARM])
    cool_from: float = float(TIER_MINIMUM[Tier.COOL])
    cold_from: float = float(TIER_MINIMUM[Tier.COLD])


POINTS: Final = PointTable()

SENIORITY_POINTS: Final = {
    "owner": 25,
    "founder": 25,
    "c_suite": 22,
    "vp": 18,
    "director": 15,
    "manager": 10,
    "senior": 7,
    "entry": 3,
}
"""Authority by the seniority of a data provider (scoring sheet §1, alternative fields); used where
the title names no rank, so that one person scores the same whichever source is read."""
