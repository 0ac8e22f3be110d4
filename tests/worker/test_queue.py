"""The job queue over a real Postgres: one job a run, stalled jobs, retries, schedules."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest
import structlog
from procrastinate import App, PsycopgConnector

from cis_server.errors import StoreUnavailable
from cis_server.worker import queue
from cis_server.worker.queue import Tasks, defer_learn, deferring_app

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    with psycopg.connect(database_url, autocommit=True) as connection:

        def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            done = connection.execute(statement, values)
            return done.fetchall() if done.description else []

        yield run


def nothing(*_: object) -> None:
    """A task that has nothing to do."""


def tasks(**doing: Callable[..., None]) -> Tasks:
    return Tasks(**{field.name: nothing for field in dataclasses.fields(Tasks)} | doing)


def work(url: str, doing: Tasks, then: Callable[[App], Awaitable[None]]) -> None:
    """Open a worker's app and do something with it."""

    async def opened() -> None:
        connector = PsycopgConnector(conninfo=url, min_size=1, max_size=2)
        app = queue._declared(App(connector=connector), doing)
        async with app.open_async():
            await then(app)

    asyncio.run(opened())


async def all_jobs(app: App) -> None:
    await app.run_worker_async(queues=["learn"], wait=False, install_signal_handlers=False)


def test_one_job_a_run(database_url: str, sql: Sql) -> None:
    app = deferring_app(database_url)
    with app.open():
        for client, run in (("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")):
            defer_learn(app, client, run)
    jobs = sql("SELECT args->>'client_id', args->>'run_id', lock FROM procrastinate_jobs")
    # Runs of one client take turns by their lock, but the second one's job is not swallowed.
    assert sorted(jobs) == [("a", "1", "learn:a"), ("a", "2", "learn:a"), ("b", "1", "learn:b")]


def test_a_stalled_job_is_given_to_others(database_url: str, sql: Sql) -> None:
    app = deferring_app(database_url)
    with app.open():
        defer_learn(app, "a", "1")
    _stall(sql)
    done: list[str] = []
    log = structlog.get_logger("test")

    async def rescue(app: App) -> None:
        await queue._rescue(app, log)
        await all_jobs(app)

    work(database_url, tasks(learn=lambda client, _run, _more: done.append(client)), rescue)
    assert done == ["a"]


def test_a_stalled_job_whose_work_is_queued_again_is_given_up(database_url: str, sql: Sql) -> None:
    app = deferring_app(database_url)
    with app.open():
        defer_learn(app, "a", "1")
        _stall(sql)
        # What `recover` does for a run that seems to have lost its job.
        defer_learn(app, "a", "1")
        defer_learn(app, "b", "1")
        sql("UPDATE procrastinate_jobs SET status = 'doing' WHERE args->>'client_id' = 'b'")
    done: list[str] = []
    log = structlog.get_logger("test")

    async def rescue(app: App) -> None:
        await queue._rescue(app, log)
        await all_jobs(app)

    work(database_url, tasks(learn=lambda client, _run, _more: done.append(client)), rescue)
    # The one that stands in the way does not keep the others from being rescued.
    assert sorted(done) == ["a", "b"]
    statuses = sql("SELECT args->>'client_id', status FROM procrastinate_jobs ORDER BY id")
    assert statuses == [("a", "failed"), ("a", "succeeded"), ("b", "succeeded")]


def _stall(sql: Sql) -> None:
    """As a killed worker leaves its job."""
    sql("UPDATE procrastinate_jobs SET status = 'doing' WHERE status = 'todo'")


@pytest.mark.parametrize("name", ["learn_all", "check_health", "clean_up"])
def test_what_may_pass_is_tried_again(database_url: str, sql: Sql, name: str) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("the database is away")

    async def fire(app: App) -> None:
        await app.configure_task(name, queue="learn").defer_async(timestamp=1_780_797_600)
        await all_jobs(app)

    work(database_url, tasks(**{name: away}), fire)
    ((status, attempts, waiting),) = sql(
        "SELECT status, attempts, scheduled_at > now() FROM procrastinate_jobs"
    )
    assert (status, attempts, waiting) == ("todo", 1, True)


def test_the_weekly_task_is_told_when_it_fired(database_url: str) -> None:
    fired: list[int] = []

    async def fire(app: App) -> None:
        await app.configure_task("learn_all", queue="learn").defer_async(timestamp=1_780_797_600)
        await all_jobs(app)

    work(database_url, tasks(learn_all=fired.append), fire)
    assert fired == [1_780_797_600]


def test_schedules(database_url: str) -> None:
    found: dict[str, str] = {}

    async def look(app: App) -> None:
        for periodic in app.periodic_registry.periodic_tasks.values():
            found[periodic.task.name] = periodic.cron

    work(database_url, tasks(), look)
    assert found["learn_all"] == "0 2 * * 0"
    assert found["check_health"] == "0 6 * * *"
    assert found["clean_up"] == "30 3 * * *"
