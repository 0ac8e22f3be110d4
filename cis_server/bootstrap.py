"""The composition root: builds what a process needs from the settings, and takes it down again."""

from __future__ import annotations

import datetime as dt
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Engine

from cis_server.domain.live_state import StoredLead
from cis_server.domain.runs import LearnOptions, Run
from cis_server.domain.scores import StampedScore
from cis_server.domain.top_leads import RankFilter, RankKey, StoredScore
from cis_server.errors import StoreUnavailable
from cis_server.persistence.clients import Clients
from cis_server.persistence.connections import close_engine, libpq_url, make_engine, tenant
from cis_server.persistence.decisions import Decisions
from cis_server.persistence.experiments import Experiments
from cis_server.persistence.health import HealthReader
from cis_server.persistence.leads import commit_stamped_scores, get_leads
from cis_server.persistence.live_state import PostgresSnapshotSource
from cis_server.persistence.patterns import PatternHistory
from cis_server.persistence.recommendations import Recommendations
from cis_server.persistence.registry import ModelRegistry
from cis_server.persistence.rescoring import RescoringRuns
from cis_server.persistence.runs import Runs
from cis_server.persistence.top_leads import top_leads
from cis_server.residency import give_back_unused
from cis_server.rpc.server import Server, ServerOptions, Services
from cis_server.rpc.services.admin import AdminService
from cis_server.rpc.services.experiments import ExperimentService
from cis_server.rpc.services.learning import LearningService
from cis_server.rpc.services.patterns import PatternService
from cis_server.rpc.services.recommendations import RecommendationService
from cis_server.rpc.services.scoring import ScoringService
from cis_server.serving.advisor import Advisor
from cis_server.serving.bulkhead import Bulkhead
from cis_server.serving.client_health import HealthChecks
from cis_server.serving.decisions import DecisionLog
from cis_server.serving.experiments import Experimenter
from cis_server.serving.learning_runs import LearningRuns, Requested
from cis_server.serving.rescorings import Rescorings
from cis_server.serving.score_commits import ScoreCommits
from cis_server.serving.store import SnapshotStore
from cis_server.settings import Settings

if TYPE_CHECKING:
    from procrastinate import App

    from cis_server.worker.learner import Learner

_LOAD_SECONDS = 60.0
"""Longest wait for the first snapshot before the process gives up and is started anew."""

_LOOK_SECONDS = 0.5
"""A signal that comes when the main thread is about to wait does not end its waiting, which on one
core, where another thread may go first at that very moment, is no rarity: so it looks again."""

_WAITING_CALLERS = 6
"""Of the eight threads that score, two always find their answers in memory."""


def now() -> dt.datetime:
    """The clock of every process."""
    return dt.datetime.now(dt.UTC)


class StoredLeads:
    """Reads of stored leads for calls that name them, bounded by a bulkhead.

    Args:
        engine: connections to the database.
        bulkhead: keeps the calls off the scoring threads.
    """

    def __init__(self, engine: Engine, bulkhead: Bulkhead) -> None:
        self._engine, self._bulkhead = engine, bulkhead

    def read_leads(
        self, client_id: str, lead_ids: Sequence[str], timeout_seconds: float
    ) -> Mapping[str, StoredLead]:
        """Leads by id; see the port `LeadReader`."""

        def read() -> Mapping[str, StoredLead]:
            with tenant(self._engine, client_id, statement_seconds=timeout_seconds) as connection:
                return get_leads(connection, client_id, lead_ids)

        return self._bulkhead.call(read, timeout_seconds)

    def top_leads(
        self,
        client_id: str,
        wanted: RankFilter,
        limit: int,
        after: RankKey | None,
        timeout_seconds: float,
    ) -> tuple[Sequence[StoredScore], RankKey | None]:
        """Stored scores in rank order; see the port `TopLeadReader`."""

        def read() -> tuple[Sequence[StoredScore], RankKey | None]:
            with tenant(self._engine, client_id, statement_seconds=timeout_seconds) as connection:
                return top_leads(connection, client_id, wanted, limit, after)

        return self._bulkhead.call(read, timeout_seconds)


class StoredScores:
    """Writes scores with their leads, those of concurrent calls together.

    Args:
        engine: connections to the database.
        bulkhead: bounds how many callers wait.
    """

    def __init__(self, engine: Engine, bulkhead: Bulkhead) -> None:
        self._engine = engine
        self._commits = ScoreCommits(self._store, bulkhead)

    def write_scores(
        self, client_id: str, scores: Sequence[StampedScore], timeout_seconds: float
    ) -> frozenset[str]:
        """Ids of the leads whose scores are stored now; see the port `ScoreWriter`."""
        return self._commits.write(client_id, scores, timeout_seconds)

    def close(self) -> None:
        """Take no more scores."""
        self._commits.close()

    def _store(
        self, client_id: str, scores: Sequence[StampedScore], seconds: float
    ) -> Sequence[str]:
        return commit_stamped_scores(self._engine, client_id, scores, statement_seconds=seconds)


class JobQueue:
    """Queues jobs for the workers; see the ports `JobQueue` and `RescoringQueue`.

    Opened when something is queued first: most serving processes never queue anything, and the
    queue's libraries are not small.

    Args:
        database_url: where the queue is.
    """

    def __init__(self, database_url: str) -> None:
        self._url = libpq_url(database_url)
        self._opening = threading.Lock()
        self._app: App | None = None

    def defer_learn(self, client_id: str, run_id: str) -> None:
        """Queue one client's run."""
        from cis_server.worker.queue import defer_learn

        with self._opened() as app:
            defer_learn(app, client_id, run_id)

    def defer_rescore(self, client_id: str, run_id: str) -> None:
        """Queue one rescoring."""
        from cis_server.worker.rescore_queue import defer_rescore

        with self._opened() as app:
            defer_rescore(app, client_id, run_id)

    def close(self) -> None:
        """Drop the connections."""
        if self._app is not None:
            self._app.close()

    @contextmanager
    def _opened(self) -> Iterator[App]:
        from procrastinate.exceptions import ConnectorException

        from cis_server.worker.queue import deferring_app

        try:
            with self._opening:
                if self._app is None:
                    self._app = deferring_app(self._url).open()
            yield self._app
        except ConnectorException as error:
            raise StoreUnavailable("the job queue is away") from error


@contextmanager
def rpc_server(settings: Settings, database_url: str, port: int) -> Iterator[Server]:
    """A server that has loaded everything and is bound to its port, not yet started.

    Args:
        settings: how to run.
        database_url: a migrated database.
        port: 0 picks a free one.

    Raises:
        StoreUnavailable: the database could not be read in time.
        ConfigurationError: the port is taken.
    """
    with ExitStack() as stack:
        engine = make_engine(
            database_url,
            pool_size=settings.pool_size,
            statement_seconds=min(settings.statement_seconds, settings.call_seconds_max),
        )
        stack.callback(close_engine, engine)
        store = SnapshotStore(
            PostgresSnapshotSource(engine, database_url),
            now,
            pattern_bytes=settings.pattern_cache_bytes,
            poll_seconds=settings.poll_seconds,
        )
        store.start()
        stack.callback(store.stop)
        decisions = DecisionLog(Decisions(engine), store.health)
        decisions.start()
        stack.callback(decisions.stop)
        bulkhead = Bulkhead(settings.pool_size, waiting=_WAITING_CALLERS)
        stack.callback(bulkhead.close)
        scores = StoredScores(engine, bulkhead)
        stack.callback(scores.close)
        queue = JobQueue(database_url)
        stack.callback(queue.close)
        runs = LearningRuns(Runs(engine), queue)
        stack.callback(runs.close)
        rescorings = Rescorings(RescoringRuns(engine), queue)
        stack.callback(rescorings.close)
        leads = StoredLeads(engine, bulkhead)
        advisor = Advisor(store, leads, decisions, now)
        services = Services(
            scoring=ScoringService(
                advisor,
                scores,
                now,
                top_leads=leads,
                rescorings=rescorings,
                store_seconds=settings.store_seconds,
            ),
            recommendations=RecommendationService(advisor, store_seconds=settings.store_seconds),
            patterns=PatternService(
                advisor,
                PatternHistory(engine),
                now,
                call_seconds=settings.call_seconds_max,
            ),
            learning=LearningService(
                runs,
                HealthChecks(HealthReader(engine), now),
                ModelRegistry(engine),
                store.reload_client,
                Recommendations(engine),
                now,
                call_seconds=settings.call_seconds_max,
            ),
            admin=AdminService(Clients(engine), store.reload_client),
            experiments=ExperimentService(Experimenter(Experiments(engine), now)),
        )
        if not store.wait_until_loaded(_LOAD_SECONDS):
            raise StoreUnavailable(f"the database could not be read within {_LOAD_SECONDS:.0f} s")
        yield Server(
            services,
            ServerOptions(
                host=settings.host,
                port=port,
                stream_cap=settings.stream_cap,
                max_message_bytes=settings.max_message_bytes,
            ),
        )


@contextmanager
def learner(settings: Settings, database_url: str) -> Iterator[Learner]:
    """What a worker's jobs do, over connections of its own.

    Args:
        settings: how to run.
        database_url: a migrated database.

    Raises:
        ConfigurationError: a compiled kernel is wrong.
    """
    # Only here: an RPC process never loads what learning needs.
    from cis_server.scoring import compiled
    from cis_server.worker.learner import Learner

    compiled.load()

    with ExitStack() as stack:
        engine = make_engine(database_url, statement_seconds=settings.statement_seconds)
        stack.callback(close_engine, engine)
        queue = JobQueue(database_url)
        stack.callback(queue.close)
        requests = LearningRuns(Runs(engine), queue)
        stack.callback(requests.close)
        rescorings = Rescorings(RescoringRuns(engine), queue)
        stack.callback(rescorings.close)
        settings.datasets.mkdir(parents=True, exist_ok=True)
        yield Learner(engine, database_url, settings.datasets, requests, now, rescorings=rescorings)


def learn_here(
    settings: Settings, database_url: str, client_id: str | None, options: LearnOptions
) -> tuple[Requested, Mapping[str, Run]]:
    """Learn one client, or all eligible ones, in this process and without the queue.

    Args:
        settings: how to run.
        database_url: a migrated database.
        client_id: None: all eligible clients.
        options: what the runs are asked to do.

    Returns:
        What was requested, and the ended runs by client.

    Raises:
        NotFound: no such client.
        PreconditionFailed: the client may not learn, and no force.
        StoreUnavailable: the database is away.
    """
    with learner(settings, database_url) as work:
        store = Runs(work.engine)
        requests = LearningRuns(store, InlineQueue(work))
        requested = (
            requests.request(client_id, options)
            if client_id is not None
            else requests.request_all(options)
        )
        for name, run_id in requested.runs.items():
            # Those that have just been worked off are left alone. One that was under way before,
            # perhaps of a process that was killed, is taken over.
            work.learn(name, run_id, will_be_retried=False)
        found = store.read(list(set(requested.runs.values())))
    return requested, {run.client_id: run for runs in found.values() for run in runs}


class InlineQueue:
    """Does a job at once instead of queueing it; see the port `JobQueue`.

    Args:
        work: what the job does.
    """

    def __init__(self, work: Learner) -> None:
        self._work = work

    def defer_learn(self, client_id: str, run_id: str) -> None:
        """Work the run off, without another attempt after a failure."""
        self._work.learn(client_id, run_id, will_be_retried=False)


def pin_to_core(index: int) -> None:
    """Keep this process, all its threads, on one core, where the system can do that.

    For when it has been loaded: until then it is better off where a core is idle.
    """
    threads = Path("/proc/self/task")
    if not hasattr(os, "sched_setaffinity") or not threads.exists():
        return
    cores = sorted(os.sched_getaffinity(0))
    core = {cores[index % len(cores)]}
    pinned: set[int] = set()
    # A thread inherits the core of the one that starts it, which may not have been pinned yet.
    while left := {int(thread.name) for thread in threads.iterdir()} - pinned:
        for thread in left:
            with suppress(ProcessLookupError):  # ended meanwhile
                os.sched_setaffinity(thread, core)
        pinned |= left


def serve_until_stopped(
    server: Server,
    stop: threading.Event,
    grace_seconds: float,
    on_serving: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`; then drain.

    Args:
        server: started.
        stop: set by whoever wants the process to end.
        grace_seconds: how long running calls may take to finish.
        on_serving: called once the health says SERVING.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    give_back_unused()
    # What lives now lives as long as the process: the collector need not walk it again.
    gc.freeze()
    gc.enable()
    server.serve()
    on_serving()
    while not stop.wait(_LOOK_SECONDS):
        pass
    structlog.get_logger("cis").info("draining", grace_seconds=grace_seconds)
    server.stop(grace_seconds)
