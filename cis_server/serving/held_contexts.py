"""Scoring contexts that still hold, each with what was prepared from it.

A context follows from the client's snapshot, whether the database is away, the hour and what the
call says (campaign, profile, as-of). Between two changes of those it is the same for every call;
what a call then pays is one look-up.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from cis_server.domain.clients import Icp
from cis_server.serving.advisor import Advisor
from cis_server.serving.scoring_answers import ScoringContext, context_ends, scoring_context
from cis_server.serving.snapshot import ClientSnapshot

T = TypeVar("T")

DEFAULT_CONTEXTS: Final = 1024
"""Contexts kept; the oldest gives way to one more. With what ScoreLead prepares, 5 kB each, 21 kB
where a propensity model is live."""

SWEEP: Final = dt.timedelta(seconds=10)
"""How often, at most, contexts that hold no longer are looked for."""


class HeldContexts(Generic[T]):
    """Contexts of the calls of a process, with what was prepared from them.

    Args:
        advisor: gathers contexts.
        prepare: makes of a context what is wanted.
        most: how many are kept.
    """

    def __init__(
        self,
        advisor: Advisor,
        prepare: Callable[[ScoringContext], T],
        *,
        most: int = DEFAULT_CONTEXTS,
    ) -> None:
        self._advisor, self._prepare, self._most = advisor, prepare, most
        self._held: dict[_Key, _Held[T]] = {}
        self._adding = threading.Lock()
        self._swept = dt.datetime.min.replace(tzinfo=dt.UTC)

    def __len__(self) -> int:
        return len(self._held)

    def find(
        self,
        client_id: str,
        campaign_id: str | None = None,
        icp: Icp | None = None,
        as_of: dt.date | None = None,
    ) -> T | None:
        """What was prepared for such a call, if it still holds; arguments as for `of`."""
        client, now, away = self._advisor.scoring_state(client_id)
        held = self._held.get((client_id, campaign_id, icp, as_of))
        return held.prepared if held is not None and held.holds(client, now, away) else None

    def of(
        self,
        client_id: str,
        campaign_id: str | None = None,
        icp: Icp | None = None,
        as_of: dt.date | None = None,
    ) -> T:
        """What was prepared for such a call, or is now.

        Args:
            client_id: the client.
            campaign_id: whose profile counts.
            icp: the caller's profile.
            as_of: the day in UTC whose knowledge counts; None: today.

        Raises:
            NotFound: there is no such client.
            StoreUnavailable: nothing was loaded yet.
        """
        found = self.find(client_id, campaign_id, icp, as_of)
        if found is not None:
            return found
        client, now, away = self._advisor.scoring_state(client_id)
        moment = None if as_of is None else dt.datetime.combine(as_of, dt.time(), dt.UTC)
        if client is None:
            # Says what is wrong, unless the client has come in this very moment.
            return self._prepare(
                self._advisor.scoring_context(
                    client_id, campaign_id=campaign_id, icp=icp, as_of=moment
                )
            )
        context = scoring_context(
            client, now, database_away=away, campaign_id=campaign_id, icp=icp, as_of=moment
        )
        until = context_ends(client, now, follows_clock=as_of is None)
        held = _Held(client, away, now, until, self._prepare(context))
        with self._adding:  # nobody may add while the oldest are looked for
            if not self._swept <= now < self._swept + SWEEP:
                self._sweep(now)
            while len(self._held) >= self._most:
                del self._held[next(iter(self._held))]
            self._held[client_id, campaign_id, icp, as_of] = held
        return held.prepared

    def _sweep(self, now: dt.datetime) -> None:
        """Drop what holds no longer: it keeps whole snapshots and suppression lists in memory."""
        self._swept = now
        for key, held in list(self._held.items()):
            client, _, away = self._advisor.scoring_state(key[0])
            if not held.holds(client, now, away):
                del self._held[key]


_Key = tuple[str, str | None, Icp | None, dt.date | None]


class _Held(NamedTuple, Generic[T]):
    client: ClientSnapshot
    database_away: bool
    since: dt.datetime
    until: dt.datetime
    """From then on it may be another."""
    prepared: T

    def holds(self, client: ClientSnapshot | None, now: dt.datetime, away: bool) -> bool:
        """Whether gathering it again would give the same."""
        return (
            self.client is client and self.since <= now < self.until and self.database_away is away
        )
