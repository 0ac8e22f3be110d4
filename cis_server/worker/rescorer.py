"""A client's active leads scored again: chunk by chunk, each chunk one read and one write.

Scores come from the same functions that answer `BatchScoreLeads`, over a snapshot of the client
made for the run, so that what is stored is what serving would say. Every chunk is stored together
with how far the run is: a killed worker's successor goes on behind the last whole chunk. When
weights or model change while the run works, it begins anew with what is in force then.
"""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog
from sqlalchemy import Engine

from cis_server.domain.clients import Icp
from cis_server.domain.lead import Lead
from cis_server.domain.live_state import UnreadableClient
from cis_server.domain.rescoring import RescoringRun, ScoredBy
from cis_server.domain.vocabulary import RunState, Tier
from cis_server.errors import CisError, DataError, NotFound, StoreUnavailable
from cis_server.persistence.connections import libpq_url
from cis_server.persistence.live_state import PostgresSnapshotSource
from cis_server.persistence.rescoring import ActiveLead, RescoringRuns, Scored, TakenOverError
from cis_server.serving.scoring_answers import ScoringContext, scored_batch, scoring_context
from cis_server.serving.snapshot import ClientSnapshot, built_client, held
from cis_server.version import code_version

CHUNK: Final = 2_000
"""Leads of one read and write: about a tenth of a second of scoring, a few MB."""
PASSES: Final = 5
"""How often a run begins anew because weights or model changed meanwhile."""


class Rescorer:
    """What the rescoring jobs of the queue do.

    Args:
        engine: connections to the database.
        database_url: the same database.
        clock: the time now, aware.
        chunk: see `CHUNK`.
    """

    def __init__(
        self,
        engine: Engine,
        database_url: str,
        clock: Callable[[], dt.datetime],
        *,
        chunk: int = CHUNK,
    ) -> None:
        self._runs = RescoringRuns(engine)
        self._source = PostgresSnapshotSource(engine, libpq_url(database_url))
        self._clock, self._chunk = clock, chunk
        self._log = structlog.get_logger("cis.rescorer")

    def rescore(self, client_id: str, run_id: str, will_be_retried: bool) -> None:
        """Work one run off.

        Args:
            client_id: whose.
            run_id: which; one that has ended already is left alone.
            will_be_retried: whether another attempt follows when this one raises.

        Raises:
            StoreUnavailable: the database was away and another attempt follows. Every other
                failure ends the run and raises nothing.
        """
        run = self._runs.claim(client_id, run_id)
        if run is None:
            return
        log = self._log.bind(client=client_id, run=run_id, attempt=run.attempts)
        try:
            scored = self._attempt(run)
        except TakenOverError:
            log.warning("rescoring_taken_over")
        except StoreUnavailable as problem:
            if will_be_retried:
                log.warning("rescoring_postponed", problem=str(problem))
                self._end(run, RunState.QUEUED, str(problem))
                raise
            self._end(run, RunState.FAILED, str(problem))
        except CisError as problem:
            log.warning("rescoring_failed", problem=str(problem))
            self._end(run, RunState.FAILED, str(problem))
        except Exception:
            number = uuid.uuid4().hex[:12]
            log.exception("rescoring_broke", error_id=number)
            self._end(run, RunState.FAILED, f"internal error {number}; see the worker's log")
        else:
            log.info("rescored", leads=scored)

    def _attempt(self, run: RescoringRun) -> int:
        """Score everything with what is in force at the end; how many leads that were."""
        client = self._client(run)
        for _ in range(PASSES):
            scored_by = self._scored_by(client, run)
            scored = self._pass(run, client, scored_by)
            client = self._client(run)
            if self._scored_by(client, run).key == scored_by.key:
                break
        self._runs.finish(run, RunState.SUCCEEDED, "all active leads were scored again")
        return scored

    def _pass(self, run: RescoringRun, client: ClientSnapshot, scored_by: ScoredBy) -> int:
        last = self._runs.begin_pass(run, scored_by)
        contexts = _Contexts(client, self._clock(), run.options.as_of)
        total = 0
        while leads := self._runs.active_leads(run, last, self._chunk):
            last = leads[-1].lead_id
            scored = _scored(leads, contexts)
            self._runs.write_chunk(
                run,
                scored,
                last_lead_id=last,
                failed=len(leads) - len(scored),
                scored_at=self._clock(),
                as_of=run.options.as_of or self._clock(),
                scorer_version=f"{code_version()}+{scored_by.version or 'defaults'}",
            )
            total += len(scored)
        return total

    def _client(self, run: RescoringRun) -> ClientSnapshot:
        """The client as a serving process holds it."""
        state = self._source.load_client(run.client_id)
        if state is None:
            raise NotFound("client", run.client_id)
        if isinstance(state, UnreadableClient):
            raise DataError(f"the client's record cannot be read: {state.reason}")
        secret = secrets.token_bytes(32)
        own, _ = held(self._source.load_suppression(run.client_id), secret)
        everybody, _ = held(self._source.load_suppression(None), secret)
        snapshot, _ = built_client(state, own, everybody, None)
        return snapshot

    def _scored_by(self, client: ClientSnapshot, run: RescoringRun) -> ScoredBy:
        context = _Contexts(client, self._clock(), run.options.as_of).of(None)
        stored = ScoredBy.of(context.model_info, context.model_version)
        return replace(stored, key=f"{stored.key}{_rollout_key(context)}")

    def _end(self, run: RescoringRun, state: RunState, message: str) -> None:
        # A run that cannot be ended stays under way without a job; `recover` will find it.
        with suppress(StoreUnavailable):
            self._runs.finish(run, state, message)


class _Contexts:
    """What leads are scored with, by campaign; only the profile differs between campaigns."""

    def __init__(self, client: ClientSnapshot, now: dt.datetime, as_of: dt.datetime | None) -> None:
        self._client, self._now, self._as_of = client, now, as_of
        self._found: dict[str | None, ScoringContext] = {}

    def of(self, campaign_id: str | None) -> ScoringContext:
        found = self._found.get(campaign_id)
        if found is None:
            found = self._found[campaign_id] = scoring_context(
                self._client,
                self._now,
                database_away=False,
                campaign_id=campaign_id,
                as_of=self._as_of,
            )
        return found


def _rollout_key(context: ScoringContext) -> str:
    """What is being rolled out, and to how many."""
    if context.rollout is None:
        return ""
    parts = (context.rollout.weights, context.rollout.model)
    found = (f"{p.record.version}@{p.share.percentage:g}" for p in parts if p is not None)
    return f" rolling out {', '.join(found)}"


def _scored(leads: Sequence[ActiveLead], contexts: _Contexts) -> list[Scored]:
    by_profile: dict[Icp, tuple[ScoringContext, list[tuple[Tier | None, Lead]]]] = {}
    for each in leads:
        if each.lead is not None:
            context = contexts.of(each.campaign_id)
            by_profile.setdefault(context.icp, (context, []))[1].append((each.tier, each.lead))
    scored = []
    for context, group in by_profile.values():
        batch = scored_batch([lead for _, lead in group], context, with_reasons=False)
        scored += [
            Scored(
                score=score,
                before=before,
                weights_version=told.model_info.model_version,
                probability_version=told.model_version
                if score.conversion_probability is not None
                else "",
            )
            for (before, _), score, told in zip(group, batch.scores, batch.told, strict=True)
        ]
    return scored
