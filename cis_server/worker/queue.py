"""The job queue inside Postgres: which tasks there are, and how they are retried.

Procrastinate distributes the jobs over every worker process, fires the schedules once for the whole
fleet and keeps one job per client at a time (`lock`). A job of a killed worker stays "doing" until
somebody looks for it: every worker does so when it starts and every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from procrastinate import App, JobContext, PsycopgConnector, RetryStrategy, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, UniqueViolation
from procrastinate.jobs import Job, Status

from cis_server.errors import StoreUnavailable
from cis_server.worker.rescore_queue import Rescore, declare_rescore

RETRIES = 2
RETRY_AFTER_SECONDS = 10
HEARTBEAT_SECONDS = 2.0
STALLED_AFTER_SECONDS = 12.0
"""A worker silent for this long is dead; its jobs are given to others."""

WEEKLY_LEARNING = "0 2 * * 0"
"""Sunday 02:00 UTC."""
DAILY_HEALTH = "0 6 * * *"
"""06:00 UTC."""
DAILY_CLEANUP = "30 3 * * *"
"""03:30 UTC."""

LEARN = "learn"
LEARN_ALL = "learn_all"
CHECK_HEALTH = "check_health"
CLEAN_UP = "clean_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """What the jobs do.

    Attributes:
        learn: (client id, run id, whether another attempt follows a failure); raises
            `StoreUnavailable` for what may pass, nothing for what will not.
        learn_all: request a run for every eligible client, once for each firing of the schedule
            (its time in seconds since 1970).
        recover: give runs a new job that lost theirs.
        check_health: check every client and tell operators.
        clean_up: archive and remove what has outlived its time.
        rescore: score a client's leads again; arguments as those of `learn`.
    """

    learn: Callable[[str, str, bool], None]
    learn_all: Callable[[int], None]
    recover: Callable[[], None]
    check_health: Callable[[], None]
    clean_up: Callable[[], None]
    rescore: Rescore


def deferring_app(database_url: str) -> App:
    """An app that can only queue jobs, from any thread; open it before use, close it after."""
    return _declared(
        App(connector=SyncPsycopgConnector(conninfo=database_url, min_size=0, max_size=2))
    )


def defer_learn(app: App, client_id: str, run_id: str) -> None:
    """Queue the run of one client; nothing happens when it is queued already."""
    # Jobs of one client take turns; of one run there is one. A lock on queueing by the client alone
    # would swallow the job of a run that is asked for while another one's waits for its retry.
    lock = f"learn:{client_id}"
    with contextlib.suppress(AlreadyEnqueued):
        app.configure_task(LEARN, queue="learn", lock=lock, queueing_lock=f"{lock}:{run_id}").defer(
            client_id=client_id, run_id=run_id
        )


def run_worker(
    database_url: str,
    tasks: Tasks,
    *,
    concurrency: int,
    on_ready: Callable[[], None],
    on_stop_requested: Callable[[Callable[[], None]], None],
) -> None:
    """Work until SIGTERM or SIGINT; the running job finishes first.

    Args:
        database_url: ``postgresql://`` URI.
        tasks: what the jobs do.
        concurrency: jobs at a time in this process.
        on_ready: called once the queue is being read.
        on_stop_requested: given a function that stops the worker from any thread.
    """
    asyncio.run(_work(database_url, tasks, concurrency, on_ready, on_stop_requested))


async def _work(
    database_url: str,
    tasks: Tasks,
    concurrency: int,
    on_ready: Callable[[], None],
    on_stop_requested: Callable[[Callable[[], None]], None],
) -> None:
    log = structlog.get_logger("cis.worker")
    app = _declared(
        App(connector=PsycopgConnector(conninfo=database_url, min_size=1, max_size=4)), tasks
    )
    loop = asyncio.get_running_loop()
    async with app.open_async():
        worker = asyncio.create_task(
            app.run_worker_async(
                queues=["learn"],
                concurrency=concurrency,
                install_signal_handlers=False,
                fetch_job_polling_interval=1.0,
                update_heartbeat_interval=HEARTBEAT_SECONDS,
                stalled_worker_timeout=STALLED_AFTER_SECONDS,
            )
        )
        rescuer = asyncio.create_task(_rescue_forever(app, tasks, log))

        def stop() -> None:
            loop.call_soon_threadsafe(worker.cancel)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        on_stop_requested(stop)
        on_ready()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await worker
        finally:
            rescuer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await rescuer


async def _rescue_forever(
    app: App, tasks: Tasks, log: structlog.typing.FilteringBoundLogger
) -> None:
    last_recovery = 0.0
    while True:
        try:
            await _rescue(app, log)
            if time.monotonic() - last_recovery > 60:
                last_recovery = time.monotonic()
                await asyncio.to_thread(tasks.recover)
        except Exception:
            # The database may be away; the worker itself reports that and reconnects.
            log.warning("rescue_failed", exc_info=True)
        await asyncio.sleep(STALLED_AFTER_SECONDS / 3)


async def _rescue(app: App, log: structlog.typing.FilteringBoundLogger) -> None:
    stalled = await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER_SECONDS)
    for job in stalled:
        await _rescue_one(app, job, log)


async def _rescue_one(app: App, job: Job, log: structlog.typing.FilteringBoundLogger) -> None:
    try:
        await app.job_manager.retry_job(job)
    except UniqueViolation:
        # The same work waits in the queue already: this job has nothing left to do, and left
        # "doing" it would keep that one waiting for its lock.
        await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=False)
        log.warning("job_given_up", job=job.id, task=job.task_name)
    else:
        log.warning("job_rescued", job=job.id, task=job.task_name)


def _declared(app: App, tasks: Tasks | None = None) -> App:
    """Declare the tasks; without ``tasks`` they can be queued but not run."""
    if tasks is None:
        return app
    retry = RetryStrategy(
        max_attempts=RETRIES, wait=RETRY_AFTER_SECONDS, retry_exceptions={StoreUnavailable}
    )

    @app.task(name=LEARN, queue="learn", retry=retry, pass_context=True)
    async def learn(context: JobContext, client_id: str, run_id: str) -> None:
        attempts = context.job.attempts
        await asyncio.to_thread(tasks.learn, client_id, run_id, attempts < RETRIES)

    @app.periodic(cron=WEEKLY_LEARNING)
    @app.task(
        name=LEARN_ALL, queue="learn", queueing_lock=LEARN_ALL, retry=retry, pass_context=True
    )
    async def learn_all(_context: JobContext, timestamp: int) -> None:
        await asyncio.to_thread(tasks.learn_all, timestamp)

    @app.periodic(cron=DAILY_HEALTH)
    @app.task(
        name=CHECK_HEALTH, queue="learn", queueing_lock=CHECK_HEALTH, retry=retry, pass_context=True
    )
    async def check_health(_context: JobContext, timestamp: int) -> None:
        del timestamp
        await asyncio.to_thread(tasks.check_health)

    @app.periodic(cron=DAILY_CLEANUP)
    @app.task(name=CLEAN_UP, queue="learn", queueing_lock=CLEAN_UP, retry=retry, pass_context=True)
    async def clean_up(_context: JobContext, timestamp: int) -> None:
        del timestamp
        await asyncio.to_thread(tasks.clean_up)

    declare_rescore(app, tasks.rescore, retry, RETRIES)
    return app
