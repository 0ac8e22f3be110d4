"""The one tier function, and which channels a tier may use (scoring sheet §6)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cis_server.domain.vocabulary import Tier

TIER_MINIMUM: Final[Mapping[Tier, int]] = MappingProxyType(
    {Tier.HOT: 85, Tier.WARM: 60, Tier.COOL: 35, Tier.COLD: 20, Tier.DEAD: 0}
)
"""Lowest score of each tier, warmest first."""

DEFAULT_TIER_CHANNELS: Final[Mapping[Tier, tuple[str, ...]]] = MappingProxyType(
    {
        Tier.HOT: ("email", "sms", "linkedin", "voice", "mail"),
        # No sms for warm leads: consent rules for sms are stricter. A client's policy may add it.
        Tier.WARM: ("email", "linkedin", "voice"),
        Tier.COOL: ("email", "linkedin"),
        Tier.COLD: ("email",),
        Tier.DEAD: (),
    }
)
"""Channels a tier may use unless the client's policy says otherwise."""


def tier_of(score: float) -> Tier:
    """The tier of a score 0..100; a lower bound belongs to its tier (85 is hot)."""
    for tier, minimum in TIER_MINIMUM.items():
        if score >= minimum:
            return tier
    return Tier.DEAD


def channels_of_tier(tier: Tier, policy: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Channels a tier may use.

    Args:
        tier: the effective tier. A dead lead has no channel, whatever the policy says.
        policy: the client's own table, tier label -> channels; tiers not named keep the default.
    """
    if tier is Tier.DEAD:
        return ()
    return policy.get(tier.label, DEFAULT_TIER_CHANNELS[tier])
