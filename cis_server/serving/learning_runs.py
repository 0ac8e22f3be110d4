"""Asking for learning runs and following them.

A run is computed by a worker process; here it is only requested and watched. One thread reads the
state of every followed run in one query, however many callers follow, and wakes them; a caller that
goes away leaves the run alone.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cis_server.domain.runs import BackfillNeed, Eligibility, LearnOptions, Run
from cis_server.domain.vocabulary import (
    LEARNING_SUBSCRIPTIONS,
    RunState,
    RunTrigger,
    SubscriptionStatus,
)
from cis_server.errors import NotFound, PreconditionFailed
from cis_server.serving.run_watch import RunWatch

BACKFILL_TOUCHES_MIN = 50
"""Outbound touches in the look-back from which a client's history is worth working up unasked."""


class RunStore(Protocol):
    """Reads and writes learning runs; every method raises `StoreUnavailable` when it cannot."""

    def eligibility(
        self, client_id: str | None, as_of: dt.datetime, lookback_days: int
    ) -> Sequence[Eligibility]:
        """Of one client (empty when unknown), or of all that are not deleted (None)."""
        ...

    def backfill_needs(
        self, client_id: str | None, as_of: dt.datetime, lookback_days: int
    ) -> Sequence[BackfillNeed]:
        """Of one client (empty when unknown), or of all that are not deleted (None)."""
        ...

    def request(
        self, client_id: str, run_id: str, options: LearnOptions, trigger: RunTrigger
    ) -> str:
        """Store a queued run; the id of the run under way when the client has one already."""
        ...

    def read(self, run_ids: Sequence[str]) -> Mapping[str, Sequence[Run]]:
        """Runs by id, one per client; unknown ids are left out."""
        ...

    def recent(
        self,
        client_id: str | None,
        states: Sequence[RunState],
        limit: int,
        before: tuple[dt.datetime, str] | None,
    ) -> Sequence[Run]:
        """Newest first; `before` = (requested_at, run_id) of the last run of the page before."""
        ...

    def orphaned(self) -> Sequence[tuple[str, str]]:
        """(client id, run id) of runs under way that have no job in the queue."""
        ...


class JobQueue(Protocol):
    """Queues jobs for the workers."""

    def defer_learn(self, client_id: str, run_id: str) -> None:
        """Queue one client's run; nothing happens when it is queued already.

        Raises:
            StoreUnavailable: the database is away.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A client that was left out, and why."""

    client_id: str
    reason: str
    conversions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """What a request came to: the runs to follow (client id -> run id)."""

    run_id: str
    runs: Mapping[str, str]
    skipped: tuple[Skipped, ...] = ()


class LearningRuns:
    """Requests runs and lets any number of callers follow them.

    Args:
        store: where runs are kept.
        queue: where jobs are queued.
    """

    def __init__(self, store: RunStore, queue: JobQueue) -> None:
        self._store = store
        self._queue = queue
        self._watch = RunWatch[Run](store)

    def request(self, client_id: str, options: LearnOptions) -> Requested:
        """Request one client's run, or attach to the one under way.

        Raises:
            NotFound: no such client.
            PreconditionFailed: not a learning subscription, or too few conversions, and no force.
            StoreUnavailable: the database is away.
        """
        found = self._store.eligibility(client_id, options.as_of, options.lookback_days)
        if not found:
            raise NotFound("client", client_id)
        reason = refusal(found[0], options)
        if reason is not None:
            raise reason
        run_id = self._start(client_id, str(uuid.uuid4()), options, RunTrigger.REQUEST)
        return Requested(run_id=run_id, runs={client_id: run_id})

    def request_all(
        self,
        options: LearnOptions,
        *,
        trigger: RunTrigger = RunTrigger.REQUEST,
        run_id: str | None = None,
    ) -> Requested:
        """Request a run of every eligible client under one run id; says whom it left out and why.

        Args:
            options: of each run.
            trigger: what set them off.
            run_id: the same id asked for twice starts no client twice; None: a new one.

        Raises:
            StoreUnavailable: the database is away.
        """
        run_id, runs, skipped = run_id or str(uuid.uuid4()), {}, []
        for found in self._store.eligibility(None, options.as_of, options.lookback_days):
            reason = refusal(found, options)
            if reason is None:
                runs[found.client_id] = self._start(found.client_id, run_id, options, trigger)
            else:
                skipped.append(
                    Skipped(
                        client_id=found.client_id,
                        reason=reason.message,
                        conversions=found.conversions,
                    )
                )
        return Requested(run_id=run_id, runs=runs, skipped=tuple(skipped))

    def request_backfill(self, client_id: str, options: LearnOptions, *, force: bool) -> Requested:
        """Request the backfill of one client, or attach to the one under way.

        Args:
            client_id: whose.
            options: of the learning that follows.
            force: do it whatever the subscription is and though there are valid patterns.

        Raises:
            NotFound: no such client.
            PreconditionFailed: not a learning subscription or valid patterns, and no force; or a
                run of another sort is under way.
            StoreUnavailable: the database is away.
        """
        found = self._store.backfill_needs(client_id, options.as_of, options.lookback_days)
        if not found:
            raise NotFound("client", client_id)
        reason = None if force else _not_needed(found[0])
        if reason is not None:
            raise reason
        run_id = self._start(client_id, str(uuid.uuid4()), options, RunTrigger.BACKFILL)
        under_way = [run for run in self.read(run_id) if run.client_id == client_id]
        if any(run.trigger is not RunTrigger.BACKFILL for run in under_way):
            raise PreconditionFailed(
                "RUN_UNDER_WAY",
                f"the client is being learned for: run {run_id}; ask again when it has ended",
                {"run_id": run_id},
            )
        return Requested(run_id=run_id, runs={client_id: run_id})

    def request_backfill_all(self, options: LearnOptions, *, force: bool) -> Requested:
        """Request the backfill of every client that needs one, under one run id.

        Those need one that may learn, had `BACKFILL_TOUCHES_MIN` touches in the look-back and have
        no valid pattern (which ``force`` passes over).

        Raises:
            StoreUnavailable: the database is away.
        """
        run_id, runs, skipped = str(uuid.uuid4()), {}, []
        for found in self._store.backfill_needs(None, options.as_of, options.lookback_days):
            reason = _not_worth_it(found, force)
            if reason is None:
                started = self._start(found.client_id, run_id, options, RunTrigger.BACKFILL)
                if started == run_id:
                    runs[found.client_id] = run_id
                    continue
                reason = f"another run is under way: {started}"
            skipped.append(Skipped(client_id=found.client_id, reason=reason, conversions=0))
        return Requested(run_id=run_id, runs=runs, skipped=tuple(skipped))

    def recover(self) -> int:
        """Queue again what is under way without a job; returns how many runs that were."""
        orphans = self._store.orphaned()
        for client_id, run_id in orphans:
            self._queue.defer_learn(client_id, run_id)
        return len(orphans)

    def follow(
        self, requested: Requested, is_active: Callable[[], bool]
    ) -> Iterator[Mapping[str, Run]]:
        """States of the requested runs by client, each time something has changed.

        Ends after the state in which all have ended, or once ``is_active`` says nobody listens.
        """
        wanted = set(requested.runs.values())
        with self._watch.following(wanted) as follower:
            seen: Mapping[str, Run] = {}
            while is_active():
                change = follower.change
                states = {
                    run.client_id: run
                    for run_id in wanted
                    for run in follower.state(run_id)
                    if requested.runs.get(run.client_id) == run_id
                }
                if states and states != seen:
                    seen = states
                    yield states
                if len(states) == len(requested.runs) and all(r.ended for r in states.values()):
                    return
                follower.wait(change, 1.0)

    def read(self, run_id: str) -> Sequence[Run]:
        """The run of every client under one id.

        Raises:
            NotFound: no such run.
        """
        found = self._store.read([run_id]).get(run_id)
        if not found:
            raise NotFound("run", run_id)
        return found

    def recent(
        self,
        client_id: str | None,
        states: Sequence[RunState],
        limit: int,
        before: tuple[dt.datetime, str] | None,
    ) -> Sequence[Run]:
        """Newest runs first; see `RunStore.recent`."""
        return self._store.recent(client_id, states, limit, before)

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()

    def _start(
        self, client_id: str, run_id: str, options: LearnOptions, trigger: RunTrigger
    ) -> str:
        under_way = self._store.request(client_id, run_id, options, trigger)
        # Whoever attaches queues nothing: a second job of the run would stand in the way of the
        # first one's retry. A run that has lost its job is found by `recover`.
        if under_way == run_id:
            self._queue.defer_learn(client_id, run_id)
        return under_way


def refusal(found: Eligibility, options: LearnOptions) -> PreconditionFailed | None:
    """Why a client may not learn; None when it may."""
    if options.force:
        return None
    if found.subscription_status not in LEARNING_SUBSCRIPTIONS:
        return _not_learning(found.subscription_status)
    if found.conversions < options.min_conversions:
        return PreconditionFailed(
            "TOO_FEW_CONVERSIONS",
            f"{found.conversions} conversions in the {options.lookback_days} days before "
            f"{options.as_of:%Y-%m-%d}, {options.min_conversions} are needed",
            {
                "conversions": found.conversions,
                "min_conversions": options.min_conversions,
                "lookback_days": options.lookback_days,
            },
        )
    return None


def _not_learning(status: SubscriptionStatus) -> PreconditionFailed:
    return PreconditionFailed(
        "SUBSCRIPTION_NOT_LEARNING",
        f"the subscription is {status}; only active and trialing ones learn",
        {"subscription_status": status},
    )


def _not_needed(found: BackfillNeed) -> PreconditionFailed | None:
    if found.subscription_status not in LEARNING_SUBSCRIPTIONS:
        return _not_learning(found.subscription_status)
    if found.valid_patterns:
        return PreconditionFailed(
            "HAS_VALID_PATTERNS",
            f"{found.valid_patterns} patterns are still valid; force works the history up again",
            {"valid_patterns": found.valid_patterns},
        )
    return None


def _not_worth_it(found: BackfillNeed, force: bool) -> str | None:
    if found.touches < BACKFILL_TOUCHES_MIN:
        return f"{found.touches} touches in the look-back, {BACKFILL_TOUCHES_MIN} are needed"
    reason = _not_needed(found)
    if reason is None or (force and reason.reason == "HAS_VALID_PATTERNS"):
        return None
    return reason.message
