"""The command ``cis backfill``: works up a client's history, then learns from it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

from cis_client._commands import DONE, PARTLY, Console
from cis_client._follow import ProgressLine, to_the_end
from cis_client._reports import learn_report
from cis_client._tables import Table, number
from cis_client.client import Client
from cis_client.v1.learning_service_pb2 import (
    BackfillRequest,
    BackfillResult,
    ClientBackfillResult,
    LearningRun,
    LearnProgress,
    LearnResult,
)


def backfill(client: Client, arguments: argparse.Namespace, console: Console) -> int:
    """Starts a backfill, or follows one to its end."""
    request = BackfillRequest(
        client_id=arguments.client,
        force=arguments.force,
        lookback_days=arguments.lookback_days,
        dry_run=arguments.dry_run,
    )
    if arguments.all:
        request.all_eligible = True
    if arguments.follow:
        line = ProgressLine(console.errors)
        try:
            result = follow_backfill(client, request, line.show)
        finally:
            line.clear()
        return _done(result, console)
    with client.backfill(request) as events:
        first = next(events)
    if first.WhichOneof("event") == "result":
        return _done(first.result, console)
    text = f"run {first.progress.run_id} is under way: cis runs --run {first.progress.run_id}"
    console.answer(first.progress, [text])
    return DONE


def _done(result: BackfillResult, console: Console) -> int:
    console.answer(result, backfill_report(result))
    return PARTLY if any(each.error for each in result.clients) else DONE


def backfill_report(result: BackfillResult) -> Iterator[str]:
    """What a backfill changed, and what was then learned."""
    table = Table(
        ("client", "marked", "cleared", "snapshots", "leads scored", "what came of it"), "backfill"
    )
    for done in result.clients:
        table.add(
            done.client_id,
            number(done.touches_marked),
            number(done.marks_cleared),
            number(done.snapshots_rebuilt),
            number(done.leads_scored),
            done.error or done.message,
        )
    yield table.text()
    learned = [done.learned for done in result.clients if done.HasField("learned")]
    yield from learn_report(LearnResult(clients=learned, skipped=result.skipped))


def follow_backfill(
    client: Client,
    request: BackfillRequest,
    show: Callable[[LearnProgress], None],
    sleep: Callable[[float], None] = time.sleep,
) -> BackfillResult:
    """Asks for a backfill and follows it to its end, also when the stream breaks off.

    Args:
        client: the client.
        request: what to work up.
        show: is told where the run stands.
        sleep: waits between two looks once the stream is gone.

    Raises:
        CisError: the run could not be begun, or not be found again.
        RunFailedError: it ended in a fault.
    """
    return to_the_end(client, client.backfill(request), "Backfill", _result_of, show, sleep)


def _result_of(run: LearningRun) -> BackfillResult:
    """The result as the run keeps it; its counts are those of all its clients together."""
    counts = run.counts
    whole = ClientBackfillResult(
        client_id=run.client_id,
        touches_marked=counts["touches_marked"],
        marks_cleared=counts["marks_cleared"],
        snapshots_rebuilt=counts["snapshots_rebuilt"],
        leads_scored=counts["leads_scored"],
        message=run.message,
    )
    if len(run.results) == 1 and run.results[0].patterns:
        whole.learned.CopyFrom(run.results[0])
    return BackfillResult(run_id=run.run_id, clients=[whole], seconds=run.seconds)
