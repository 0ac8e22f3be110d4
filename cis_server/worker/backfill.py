"""Working up a client's history before learning from it.

For onboarding with a past, for recovery, and after a change of the rules by which something is
derived: marks the converting touches anew, rebuilds missing content snapshots from the stored
bodies, and scores leads that were never contacted. Running it twice changes nothing more.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Final

from sqlalchemy import Connection, Engine

from cis_server.capture.content_features import content_snapshot
from cis_server.domain.lead import Lead
from cis_server.domain.learned import LearningState
from cis_server.domain.runs import BackfillCounts, Run
from cis_server.domain.scores import LeadScore
from cis_server.domain.vocabulary import Source
from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.learning.stages import Stages
from cis_server.persistence.backfill import (
    add_counts,
    leads_to_score,
    mark_converting,
    set_counts,
    step,
    store_snapshots,
    touches_without_snapshot,
)
from cis_server.persistence.leads import get_leads, write_scores
from cis_server.persistence.learned import learning_state
from cis_server.scoring.icp import resolved_icp
from cis_server.scoring.scorer import score_batch

SNAPSHOTS_AT_ONCE: Final = 1_000
LEADS_AT_ONCE: Final = 500
RECONSTRUCTED: Final = "+backfill"
"""At the end of `scorer_version`: the score was made afterwards, not when the lead came in."""

_MARKING, _REBUILDING, _SCORING = 0.0, 0.004, 0.008
"""Share of the run that is done when these begin; the learning that follows begins at 0.01."""


class Backfill:
    """What a backfill does before it learns.

    Args:
        engine: connections to the database.
        clock: the time now, aware.
        version: of the program.
    """

    def __init__(self, engine: Engine, clock: Callable[[], dt.datetime], version: str) -> None:
        self._engine, self._clock, self._version = engine, clock, version

    def run(self, run: Run, stages: Stages) -> BackfillCounts:
        """Work the history up; gives back what this attempt changed.

        Args:
            run: as claimed; a dry run changes nothing and counts what it would have changed.
            stages: told of every stage.

        Raises:
            StoreUnavailable: the database is away; what was finished stays.
            NotFound: the client is gone.
        """
        done = BackfillCounts()
        with stages.run("mark", _MARKING, "marking the touches that converted") as count:
            done = _sum(done, self._step(run, lambda it: mark_converting(it, run.client_id)))
            count(done.touches_marked + done.marks_cleared)
        with stages.run("content", _REBUILDING, "rebuilding content snapshots") as count:
            done = _sum(done, self._rebuild(run))
            count(done.snapshots_rebuilt)
        with stages.run("score", _SCORING, "scoring leads never contacted") as count:
            done = _sum(done, self._score(run))
            count(done.leads_scored)
        if run.options.dry_run:
            set_counts(self._engine, run, done)
        return done

    def _step(self, run: Run, work: Callable[[Connection], BackfillCounts]) -> BackfillCounts:
        with step(self._engine, run) as connection:
            counts = work(connection)
            add_counts(connection, run, counts)
        return counts

    def _rebuild(self, run: Run) -> BackfillCounts:
        since = run.options.as_of - dt.timedelta(days=run.options.lookback_days)
        done, after = BackfillCounts(), _Position()

        def chunk(connection: Connection) -> BackfillCounts:
            touches = touches_without_snapshot(
                connection, run.client_id, since, after.key, SNAPSHOTS_AT_ONCE
            )
            after.move([touch.activity_id for touch in touches], SNAPSHOTS_AT_ONCE)
            stored = store_snapshots(
                connection,
                run.client_id,
                {
                    touch.activity_id: content_snapshot(
                        touch.subject, touch.body, touch.lead, touch.channel
                    )
                    for touch in touches
                },
            )
            return BackfillCounts(snapshots_rebuilt=stored)

        while not after.at_end:
            done = _sum(done, self._step(run, chunk))
        return done

    def _score(self, run: Run) -> BackfillCounts:
        state = learning_state(self._engine, run.client_id)
        done, after = BackfillCounts(), _Position()

        def chunk(connection: Connection) -> BackfillCounts:
            ids = leads_to_score(connection, run.client_id, after.key or "", LEADS_AT_ONCE)
            after.move(ids, LEADS_AT_ONCE)
            found = get_leads(connection, run.client_id, ids)
            by_campaign: dict[str, list[Lead]] = defaultdict(list)
            for stored in found.values():
                by_campaign[stored.campaign_id or ""].append(stored.lead)
            written = write_scores(
                connection,
                run.client_id,
                _scores(by_campaign, state, run.options.as_of.astimezone(dt.UTC).date()),
                scored_at=self._clock(),
                as_of=run.options.as_of,
                scorer_version=self._version + RECONSTRUCTED,
            )
            return BackfillCounts(leads_scored=len(written))

        while not after.at_end:
            done = _sum(done, self._step(run, chunk))
        return done


class _Position:
    """How far a pass over keys in order has come."""

    def __init__(self) -> None:
        self.key: str | None = None
        self.at_end = False

    def move(self, keys: Sequence[str], full: int) -> None:
        """Go behind these, of which a chunk that is not the last has ``full``."""
        self.key = keys[-1] if keys else self.key
        self.at_end = len(keys) < full


def _scores(
    by_campaign: Mapping[str, list[Lead]], state: LearningState, as_of: dt.date
) -> list[LeadScore]:
    """Scores under what is in force; the probability is left to the scoring of active leads."""
    client, scores = state.client, list[LeadScore]()
    for campaign_id, leads in by_campaign.items():
        campaign = state.campaigns.get(campaign_id)
        profile = resolved_icp(campaign=campaign.icp if campaign else None, client=client.icp)
        scores += score_batch(
            leads,
            as_of=as_of,
            icp=profile.icp,
            weights=state.live_weights or DEFAULT_WEIGHTS,
            weights_source=Source.DEFAULT if state.live_weights is None else Source.LEARNED,
            competitor_domains=client.competitor_domains,
            tier_channels=client.policy.tier_channels,
        )
    return scores


def _sum(one: BackfillCounts, other: BackfillCounts) -> BackfillCounts:
    return BackfillCounts(
        **{
            field.name: getattr(one, field.name) + getattr(other, field.name)
            for field in fields(BackfillCounts)
        }
    )
