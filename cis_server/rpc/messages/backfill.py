"""Backfills as messages: what is asked for, and what came of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from cis_client.v1 import learning_service_pb2 as learning
from cis_server.domain.runs import BackfillCounts, LearnOptions, Run
from cis_server.rpc.messages.runs import client_result, skipped_message
from cis_server.serving.learning_runs import Requested


def backfill_options(message: learning.BackfillRequest, now: dt.datetime) -> LearnOptions:
    """How to learn from the history once it is worked up; `force` of the request is not that of
    learning: no gate is passed over."""
    default = LearnOptions(as_of=now)
    return LearnOptions(
        as_of=now,
        lookback_days=message.lookback_days
        if message.HasField("lookback_days")
        else default.lookback_days,
        dry_run=message.dry_run,
    )


def backfill_message(
    requested: Requested, runs: Iterable[Run], seconds: float
) -> learning.BackfillResult:
    """The end of a request: what was done for every client, and who was left out."""
    return learning.BackfillResult(
        run_id=requested.run_id,
        clients=[_client(run) for run in sorted(runs, key=lambda run: run.client_id)],
        seconds=seconds,
        skipped=[skipped_message(entry) for entry in requested.skipped],
    )


def _client(run: Run) -> learning.ClientBackfillResult:
    counts = BackfillCounts.from_json(run.counts)
    return learning.ClientBackfillResult(
        client_id=run.client_id,
        touches_marked=counts.touches_marked,
        marks_cleared=counts.marks_cleared,
        snapshots_rebuilt=counts.snapshots_rebuilt,
        leads_scored=counts.leads_scored,
        learned=client_result(run) if run.result is not None else None,
        error=run.error,
        message=run.message,
    )
