"""Answers about no lead in particular, worked out once and completed at every call.

What `Advisor.timing` and `Advisor.channels` would say, for as long as it stands: until the moment
the answer names, and while nothing it rests on has changed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from cis_server.domain.live_state import PatternKey
from cis_server.domain.vocabulary import PatternType
from cis_server.serving.channel_plan import DEFAULT_CHANNELS
from cis_server.serving.channels import ChannelsRequest
from cis_server.serving.decisions import DecisionLog
from cis_server.serving.draws import FRESH, Draws
from cis_server.serving.footing import Footing
from cis_server.serving.freshness import may_answer, pattern_info
from cis_server.serving.pattern_cache import ResidentPattern
from cis_server.serving.snapshot import ClientSnapshot
from cis_server.serving.standing_channels import (
    ChannelsMoment,
    ChannelsMoments,
    StandingChannels,
    standing_channels,
)
from cis_server.serving.standing_timing import (
    StandingTiming,
    TimingMoment,
    TimingMoments,
    standing_timing,
)
from cis_server.serving.store import SnapshotStore
from cis_server.serving.timing import TimingRequest
from cis_server.serving.timing_plan import DEFAULT_TIMING


class StandingAdvice:
    """Works answers out and completes them."""

    def __init__(
        self,
        store: SnapshotStore,
        decisions: DecisionLog,
        clock: Callable[[], dt.datetime],
        fresh: Draws = FRESH,
    ) -> None:
        """Put the parts together.

        Args:
            store: state in memory.
            decisions: log of explored choices.
            clock: gives the present instant, aware.
            fresh: numbers that nothing repeats.
        """
        self._store, self._decisions = store, decisions
        self._clock, self._fresh = clock, fresh

    def timing(self, request: TimingRequest) -> tuple[StandingTiming, Footing] | None:
        """`Advisor.timing` for as long as it stands, and on what; None: it does not stand.

        Raises:
            NotFound: there is no such client or campaign.
        """
        now, client, resident, footing = self._footing(request.client_id, PatternType.WHEN)
        model = pattern_info(footing.record, now, database_away=footing.away)
        plan = resident.timing if resident is not None and _usable(footing, now) else None
        standing = standing_timing(
            plan or DEFAULT_TIMING,
            request,
            client.client,
            client.campaign(request.campaign_id),
            model,
            now,
        )
        return (standing, footing) if standing is not None else None

    def timing_moment(self, footing: Footing, moments: TimingMoments) -> TimingMoment | None:
        """What a standing answer is completed with now; None when it stands no more."""
        now = self._clock()
        if moments.holds(now) and footing.stands_in(self._store):
            return moments.at(now, self._fresh)
        return None

    def channels(self, request: ChannelsRequest) -> tuple[StandingChannels, Footing] | None:
        """`Advisor.channels` for as long as it stands, and on what; None: it does not stand.

        Raises:
            NotFound: there is no such client or campaign.
        """
        now, client, resident, footing = self._footing(request.client_id, PatternType.HOW)
        plan = resident.channels if resident is not None and _usable(footing, now) else None
        standing = standing_channels(
            plan or DEFAULT_CHANNELS,
            request,
            client.client.policy,
            client.campaign(request.campaign_id),
            pattern_info(footing.record, now, database_away=footing.away),
            now,
        )
        return (standing, footing) if standing is not None else None

    def channels_moment(self, footing: Footing, moments: ChannelsMoments) -> ChannelsMoment | None:
        """What a standing answer is completed with now; None when it stands no more.

        What is drawn is logged.
        """
        now = self._clock()
        if not (moments.holds(now) and footing.stands_in(self._store)):
            return None
        moment = moments.at(now, self._fresh)
        if moment.decision is not None:
            self._decisions.add(moment.decision)
        return moment

    def _footing(
        self, client_id: str, pattern_type: PatternType
    ) -> tuple[dt.datetime, ClientSnapshot, ResidentPattern | None, Footing]:
        """Everything an answer rests on, each thing read once."""
        client, key = self._store.client(client_id), PatternKey(client_id, pattern_type)
        resident, away = self._store.pattern(key), self._store.database_away
        return self._clock(), client, resident, Footing.of(key, client, resident, away=away)


def _usable(footing: Footing, now: dt.datetime) -> bool:
    record = footing.record
    return record is not None and may_answer(record.valid_until, now, database_away=footing.away)
