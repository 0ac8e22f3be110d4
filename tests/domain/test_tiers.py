"""The one tier function and the channels of a tier."""

from __future__ import annotations

import pytest

from cis_server.domain.tiers import DEFAULT_TIER_CHANNELS, channels_of_tier, tier_of
from cis_server.domain.vocabulary import Tier


@pytest.mark.parametrize(
    ("score", "tier"),
    [
        (100, Tier.HOT),
        (85, Tier.HOT),
        (84, Tier.WARM),
        (60, Tier.WARM),
        (59, Tier.COOL),
        (35, Tier.COOL),
        (34, Tier.COLD),
        (20, Tier.COLD),
        (19, Tier.DEAD),
        (0, Tier.DEAD),
    ],
)
def test_lower_bounds_belong_to_their_tier(score: int, tier: Tier) -> None:
    assert tier_of(score) is tier


def test_a_policy_replaces_only_the_tiers_it_names() -> None:
    policy = {"warm": ("email", "sms", "whatsapp"), "dead": ("email",)}
    assert channels_of_tier(Tier.WARM, policy) == ("email", "sms", "whatsapp")
    assert channels_of_tier(Tier.HOT, policy) == DEFAULT_TIER_CHANNELS[Tier.HOT]
    assert channels_of_tier(Tier.DEAD, policy) == ()
