"""The first lead of a process finds everything made that all leads share."""

from __future__ import annotations

from cis_server.rpc.messages import score_parts
from cis_server.rpc.services.warm_up import warm_up

SHARED = (score_parts._signals, score_parts._every_factor, score_parts._outcome)
"""Each is made of the one before, and is not asked for again while the later one is kept."""


def test_what_all_leads_share_is_made_before_the_first() -> None:
    for part in SHARED:
        part.cache_clear()
    warm_up()
    assert score_parts._signals.cache_info().currsize == 1
    made = [part.cache_info().misses for part in SHARED]
    warm_up()
    assert [part.cache_info().misses for part in SHARED] == made
