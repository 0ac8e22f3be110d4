"""The rescoring job: queued with the learning jobs, one at a time for a client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from procrastinate import App, JobContext, RetryStrategy
from procrastinate.exceptions import AlreadyEnqueued

RESCORE = "rescore"

Rescore = Callable[[str, str, bool], None]
"""(client id, run id, whether another attempt follows a failure); raises `StoreUnavailable` for
what may pass, nothing for what will not."""


def defer_rescore(app: App, client_id: str, run_id: str) -> None:
    """Queue one rescoring; nothing happens when it is queued already."""
    lock = f"rescore:{client_id}"
    with contextlib.suppress(AlreadyEnqueued):
        app.configure_task(
            RESCORE, queue="learn", lock=lock, queueing_lock=f"{lock}:{run_id}"
        ).defer(client_id=client_id, run_id=run_id)


def declare_rescore(app: App, rescore: Rescore, retry: RetryStrategy, retries: int) -> None:
    """Tell the app what the job does.

    Args:
        app: of a worker.
        rescore: see `Rescore`.
        retry: when a failed job is tried again.
        retries: how often.
    """

    @app.task(name=RESCORE, queue="learn", retry=retry, pass_context=True)
    async def job(context: JobContext, client_id: str, run_id: str) -> None:
        attempts = context.job.attempts
        await asyncio.to_thread(rescore, client_id, run_id, attempts < retries)
