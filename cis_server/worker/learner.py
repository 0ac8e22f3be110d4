"""One client's run from the database to the database: load, learn, save.

An attempt claims the run, and only the attempt that claimed it last may end it, so that a worker
thought dead which comes back stores nothing. Everything is stored in the transaction that ends the
run: killed at any moment, a worker leaves what was there before, and the queue starts another
attempt.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import platform
import resource
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Engine
from threadpoolctl import threadpool_info

from cis_server.detectors.settings import DetectorSettings
from cis_server.domain.dataset import Dataset, Window
from cis_server.domain.learned import Learned, LearningState, RunInputs
from cis_server.domain.runs import LearnOptions, Run, RunResult, Stage
from cis_server.domain.vocabulary import RunTrigger
from cis_server.errors import CisError, DataError, NotFound, PreconditionFailed, StoreUnavailable
from cis_server.learning.pipeline import learn
from cis_server.learning.quality import quality_gates
from cis_server.learning.stages import Stages
from cis_server.persistence.dataset import dataset_aside, save_dataset, save_run_inputs
from cis_server.persistence.extraction import record_extract
from cis_server.persistence.learned import (
    Saving,
    drained,
    learning_state,
    only_learner_of,
    save_learned,
)
from cis_server.persistence.runs import Runs
from cis_server.persistence.stored_dataset import StoredDataset
from cis_server.serving.learning_runs import LearningRuns, refusal
from cis_server.serving.rescorings import Rescorings
from cis_server.version import code_version
from cis_server.worker.backfill import Backfill
from cis_server.worker.pool import pools_for, serve_pooled
from cis_server.worker.queue import Tasks
from cis_server.worker.rescorer import Rescorer
from cis_server.worker.upkeep import Upkeep

LOCK_SECONDS: Final = 30.0
"""Wait for another worker that is still busy with the same client."""
LIBRARIES: Final = ("numpy", "scipy", "numba", "polars", "pyarrow", "scikit-learn")
"""Whose versions belong to the lineage of what was learned."""

# Names the runs of one firing of the weekly schedule.
_WEEKLY: Final = uuid.UUID("6f0f7d0e-5a54-4d1b-9f0e-2f4d3c5b7a10")
# Followers look four times a second.
_PROGRESS_SECONDS = 0.2
_DRAINED, _READ, _SAVING = 0.01, 0.25, 0.95
"""Share of a run that is done when these stages begin or have ended."""


class Learner:
    """What the jobs of the queue do.

    Args:
        engine: connections to the database.
        database_url: the same database, for reading columns.
        datasets: folder in which the dataset of each run is kept.
        requests: asks for runs of all clients, and for new jobs of runs that lost theirs.
        clock: the time now, aware.
        settings: thresholds of the detectors.
        lock_seconds: see `LOCK_SECONDS`.
        rescorings: asked to score leads again after a promotion; None: nobody is.
    """

    def __init__(
        self,
        engine: Engine,
        database_url: str,
        datasets: Path,
        requests: LearningRuns,
        clock: Callable[[], dt.datetime],
        *,
        settings: DetectorSettings | None = None,
        lock_seconds: float = LOCK_SECONDS,
        rescorings: Rescorings | None = None,
    ) -> None:
        self._engine = engine
        self._url = database_url
        self._datasets = datasets
        self._requests = requests
        self._clock = clock
        self._settings = settings or DetectorSettings()
        self._lock_seconds = lock_seconds
        self._rescorings = rescorings
        self._runs = Runs(engine)
        self._version = code_version()
        self._log = structlog.get_logger("cis.learner")

    @property
    def engine(self) -> Engine:
        """Connections to the database."""
        return self._engine

    def tasks(self) -> Tasks:
        """The jobs, as the queue wants them."""
        upkeep = Upkeep(self._engine, self._datasets, self._clock)
        return Tasks(
            learn=self.learn,
            learn_all=self.learn_all,
            recover=self.recover,
            check_health=upkeep.check_health,
            clean_up=upkeep.clean_up,
            rescore=Rescorer(self._engine, self._url, self._clock).rescore,
        )

    def learn_all(self, fired: int) -> None:
        """Request a run of every eligible client; the same firing asked for twice starts none.

        Args:
            fired: when the schedule fired, seconds since 1970.

        Raises:
            StoreUnavailable: the database is away.
        """
        requested = self._requests.request_all(
            LearnOptions(as_of=self._clock()),
            trigger=RunTrigger.SCHEDULE,
            run_id=str(uuid.uuid5(_WEEKLY, str(fired))),
        )
        self._log.info(
            "learning_requested", clients=len(requested.runs), skipped=len(requested.skipped)
        )
        served = serve_pooled(self._engine, self._clock())
        if served:
            self._log.info("pooled_answers_served", models=served)

    def recover(self) -> None:
        """Give runs under way that lost their job a new one; have leads scored again whose client
        got other weights or another model.

        Raises:
            StoreUnavailable: the database is away.
        """
        found = self._requests.recover()
        if self._rescorings is not None:
            found += self._rescorings.recover()
            self._rescorings.request_outdated()
        if found:
            self._log.warning("runs_recovered", runs=found)

    def learn(self, client_id: str, run_id: str, will_be_retried: bool) -> None:
        """Work one run off.

        Args:
            client_id: whose.
            run_id: which; one that has ended already is left alone.
            will_be_retried: whether another attempt follows when this one raises.

        Raises:
            StoreUnavailable: the database was away and another attempt follows. Every other
                failure ends the run and raises nothing.
        """
        run = self._runs.claim(client_id, run_id, self._version)
        if run is None:
            return
        log = self._log.bind(client=client_id, run=run_id, attempt=run.attempts)
        try:
            with only_learner_of(self._engine, client_id, self._lock_seconds):
                self._attempt(run, log)
        except StoreUnavailable as problem:
            if will_be_retried:
                log.warning("learning_postponed", problem=str(problem))
                with suppress(StoreUnavailable):
                    self._runs.postpone(client_id, run_id, str(problem), attempt=run.attempts)
                raise
            self._fail(run, "UNAVAILABLE", str(problem), log)
        except CisError as problem:
            self._fail(run, _code(problem), str(problem), log)
        except Exception:
            number = uuid.uuid4().hex[:12]
            log.exception("learning_broke", error_id=number)
            self._fail(run, "INTERNAL", f"internal error {number}; see the worker's log", log)

    def _attempt(self, run: Run, log: structlog.typing.FilteringBoundLogger) -> None:
        stages = Stages(self._clock, _Reporter(self._runs, run))
        if run.trigger is RunTrigger.BACKFILL:
            Backfill(self._engine, self._clock, self._version).run(run, stages)
            if (reason := self._not_to_be_learned(run)) is not None:
                message = f"history worked up; nothing learned: {reason}"
                self._runs.end_without_result(
                    run.client_id, run.run_id, message, stages.finished, attempt=run.attempts
                )
                return
        with stages.run("drain", 0.0, "bringing derived columns up to date") as count:
            count(drained(self._engine, run.client_id))
        state = replace(
            learning_state(self._engine, run.client_id),
            pools=pools_for(self._engine, run.client_id),
        )
        with ExitStack() as lasting:
            with stages.run("extract", _DRAINED, "reading the data") as count:
                dataset = lasting.enter_context(self._dataset(run))
                count(dataset.height("leads") + dataset.height("activities"))
            with stages.run("snapshot", _READ, "keeping the data"):
                # A dry run stores nothing, so it keeps nothing to make it again either.
                if not run.options.dry_run:
                    dataset = save_dataset(dataset, self._datasets)
                    save_run_inputs(self._inputs(run, state, dataset), self._datasets)
            learned = learn(dataset, state, run.options, stages, settings=self._settings)
        saved = self._save(run, learned, stages, dataset)
        if not saved:
            log.warning("learning_taken_over")
            return
        if learned.result.promoted and self._rescorings is not None:
            # What went live is stored whatever becomes of this; `recover` asks again.
            with suppress(StoreUnavailable):
                self._rescorings.request_outdated()
        log.info(
            "learned",
            seconds=round(stages.seconds, 3),
            promoted=learned.result.promoted,
            leads=learned.result.leads,
            activities=learned.result.activities,
        )

    def _not_to_be_learned(self, run: Run) -> str | None:
        """Why nothing is to be learned, now that past conversions are known."""
        options = run.options
        found = self._runs.eligibility(run.client_id, options.as_of, options.lookback_days)
        if not found:
            raise NotFound("client", run.client_id)
        reason = refusal(found[0], options)
        return None if reason is None else reason.message

    def _inputs(self, run: Run, state: LearningState, dataset: Dataset) -> RunInputs:
        return RunInputs(
            client_id=run.client_id,
            run_id=run.run_id,
            dataset_hash=dataset.content_hash,
            options=run.options,
            state=state,
            settings=dataclasses.asdict(self._settings),
            code_version=self._version,
            libraries=library_versions(),
            arithmetic=arithmetic(),
        )

    @contextmanager
    def _dataset(self, run: Run) -> Iterator[StoredDataset]:
        """The data of the run, read once it is written down who reads them.

        They are on disk for as long as this lasts, or as they are kept.

        Raises:
            PreconditionFailed: DATA_QUALITY; they are not sound, and no force.
        """
        as_of = run.options.as_of
        window = Window(start=as_of - dt.timedelta(days=run.options.lookback_days), as_of=as_of)
        future = record_extract(
            self._engine,
            run.client_id,
            window,
            actor=f"learning {self._version}",
            run_id=run.run_id,
            now=self._clock(),
        )
        with dataset_aside(self._url, run.client_id, window, self._datasets) as dataset:
            failed = [gate for gate in quality_gates(dataset, future) if not gate.passed]
            if failed and not run.options.force:
                raise PreconditionFailed(
                    "DATA_QUALITY",
                    "the data are not sound: " + "; ".join(gate.text for gate in failed),
                    {gate.name: gate.value for gate in failed},
                )
            yield dataset

    def _save(self, run: Run, learned: Learned, stages: Stages, dataset: Dataset) -> bool:
        started = stages.begin("save", _SAVING, "storing what was learned")

        def ended(result: RunResult) -> tuple[RunResult, Sequence[Stage]]:
            stages.record("save", started, (self._clock() - started).total_seconds())
            memory = peak_memory_bytes()
            return (
                replace(result, seconds=round(stages.seconds, 4), peak_memory_bytes=memory),
                stages.finished,
            )

        saving = Saving(
            now=started,
            lineage=_lineage(run, dataset, self._version),
            dataset=None if dataset.path is None else dataset,
            ended=ended,
        )
        return save_learned(self._engine, run, learned, saving) is not None

    def _fail(
        self, run: Run, code: str, message: str, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        log.warning("learning_failed", code=code, problem=message)
        try:
            self._runs.fail(run.client_id, run.run_id, code, message, attempt=run.attempts)
        except StoreUnavailable:
            # It stays under way without a job, and `recover` will find it.
            log.warning("failure_not_stored")


class _Reporter:
    """Writes progress into the run, but not more often than somebody could read it.

    Nobody's run fails because its progress could not be written.
    """

    def __init__(self, runs: Runs, run: Run) -> None:
        self._runs, self._run = runs, run
        self._written = -_PROGRESS_SECONDS
        self._log = structlog.get_logger("cis.learner")

    def __call__(
        self, stage: str, fraction: float, message: str, finished: Sequence[Stage]
    ) -> None:
        now = time.monotonic()
        if now - self._written < _PROGRESS_SECONDS:
            return
        self._written = now
        try:
            self._runs.progress(
                self._run.client_id,
                self._run.run_id,
                stage=stage,
                fraction=fraction,
                message=message,
                stages=finished,
                attempt=self._run.attempts,
            )
        except StoreUnavailable:
            self._log.warning("progress_not_stored", run=self._run.run_id)


def peak_memory_bytes() -> int:
    """Most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def library_versions() -> dict[str, str]:
    """Versions of `LIBRARIES` as installed; empty for one that is not."""
    return {name: _version_of(name) for name in LIBRARIES}


def arithmetic() -> str:
    """Linear algebra in use and the kind of processor it computes for."""
    found = (
        f"{info['internal_api']} {info.get('version')} {info.get('architecture', '')}".strip()
        for info in threadpool_info()
        if info["user_api"] == "blas"
    )
    return ", ".join(sorted(set(found)))


def _lineage(run: Run, dataset: Dataset, version: str) -> dict[str, Any]:
    return {
        "snapshot_hash": dataset.content_hash,
        "snapshot_path": dataset.path,
        "window_start": dataset.window.start.isoformat(),
        "as_of": dataset.window.as_of.isoformat(),
        "code_version": version,
        "python": platform.python_version(),
        "libraries": library_versions(),
        "arithmetic": arithmetic(),
        "seeds": "BLAKE2b of client id, as-of instant and purpose",
        "options": run.options.to_json(),
        "run_id": run.run_id,
    }


@cache
def _version_of(library: str) -> str:
    # Looked up in files: what was imported stays what it was when these change.
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""


def _code(problem: CisError) -> str:
    if isinstance(problem, PreconditionFailed):
        return problem.reason
    if isinstance(problem, NotFound):
        return "NOT_FOUND"
    if isinstance(problem, DataError):
        return "DATA_ERROR"
    return "FAILED"
