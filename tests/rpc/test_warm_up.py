"""The first lead of a process finds everything made that all leads share."""

from __future__ import annotations

from cis_server.rpc.messages import score_parts
from cis_server.rpc.services.warm_up import warm_up


def test_what_all_leads_share_is_made_before_the_first() -> None:
    score_parts._signals.cache_clear()
    warm_up()
    assert score_parts._signals.cache_info().currsize == 1
    made = score_parts._signals.cache_info().misses
    warm_up()
    assert score_parts._signals.cache_info().misses == made
