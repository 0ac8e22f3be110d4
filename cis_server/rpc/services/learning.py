"""`cis.v1.LearningService`: runs are requested, followed and looked up; a worker computes them."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Final

import grpc

from cis_client.v1 import learning_service_pb2 as learning
from cis_server.domain.runs import Run
from cis_server.errors import DeadlinePassed, InvalidInput
from cis_server.rpc.messages.backfill import backfill_message, backfill_options
from cis_server.rpc.messages.health import client_health_message, severity_of
from cis_server.rpc.messages.runs import (
    RUN_STATE,
    learn_options,
    progress_message,
    result_message,
    run_message,
)
from cis_server.rpc.messages.values import timestamp
from cis_server.rpc.pages import page_key, page_token
from cis_server.rpc.services.models import ModelCalls, Registry
from cis_server.rpc.services.proposals import ProposalCalls, ProposalStore
from cis_server.serving.client_health import HealthChecks
from cis_server.serving.learning_runs import LearningRuns, Requested

FOLLOW_SECONDS: Final = 3600.0
"""Longest that one call follows a run; the run itself may take longer."""
_DEFAULT_PAGE = 20
_HEALTH_PAGE = 100


class LearningService(ModelCalls, ProposalCalls):
    """Streams a run's progress; a caller that goes away leaves the run alone.

    Args:
        runs: requests and follows runs.
        health: checks clients.
        registry: where versions are stored.
        changed: told the id of a client whose versions in force changed.
        proposals: where recommendations are stored.
        clock: gives the present instant, aware.
        call_seconds: longest wait for the database within a unary call.
    """

    def __init__(
        self,
        runs: LearningRuns,
        health: HealthChecks,
        registry: Registry,
        changed: Callable[[str], None],
        proposals: ProposalStore,
        clock: Callable[[], dt.datetime],
        *,
        call_seconds: float,
    ) -> None:
        ModelCalls.__init__(self, registry, changed, clock, call_seconds=call_seconds)
        ProposalCalls.__init__(self, proposals, clock)
        self._runs, self._health = runs, health

    def Learn(  # noqa: N802
        self, request: learning.LearnRequest, context: grpc.ServicerContext
    ) -> Iterator[learning.LearnResponse]:
        """Progress each time a client's run has moved, then the result."""
        started = time.monotonic()
        options = learn_options(request, self._clock())
        requested = (
            self._runs.request(request.client_id, options)
            if request.WhichOneof("scope") == "client_id"
            else self._runs.request_all(options)
        )
        states: dict[str, Run] = {}
        for progress in self._followed(requested, states, started, context):
            yield learning.LearnResponse(progress=progress)
        if context.is_active():
            seconds = time.monotonic() - started
            result = result_message(requested, states.values(), seconds)
            yield learning.LearnResponse(result=result)

    def Backfill(  # noqa: N802
        self, request: learning.BackfillRequest, context: grpc.ServicerContext
    ) -> Iterator[learning.BackfillResponse]:
        """Progress each time a client's run has moved, then what was done."""
        started = time.monotonic()
        options = backfill_options(request, self._clock())
        requested = (
            self._runs.request_backfill(request.client_id, options, force=request.force)
            if request.WhichOneof("scope") == "client_id"
            else self._runs.request_backfill_all(options, force=request.force)
        )
        states: dict[str, Run] = {}
        for progress in self._followed(requested, states, started, context):
            yield learning.BackfillResponse(progress=progress)
        if context.is_active():
            seconds = time.monotonic() - started
            done = backfill_message(requested, states.values(), seconds)
            yield learning.BackfillResponse(result=done)

    def CheckHealth(  # noqa: N802
        self, request: learning.CheckHealthRequest, _context: grpc.ServicerContext
    ) -> learning.CheckHealthResponse:
        """Warnings of one client, or of all that may learn, worst first.

        A page token counts clients from the top: a later page is checked anew.
        """
        found = self._health.check(request.client_id if request.HasField("client_id") else None)
        size, first = request.page_size or _HEALTH_PAGE, _count(request.page_token)
        at_least = severity_of(request.min_severity)
        page = found[first : first + size]
        return learning.CheckHealthResponse(
            clients=[client_health_message(health, at_least) for health in page],
            clients_checked=len(found),
            healthy=sum(not health.warnings for health in found),
            with_warnings=sum(bool(health.warnings) for health in found),
            total_warnings=sum(len(health.warnings) for health in found),
            next_page_token=page_token(str(first + size)) if first + size < len(found) else "",
            checked_time=timestamp(self._clock()),
        )

    def _followed(
        self,
        requested: Requested,
        states: dict[str, Run],
        started: float,
        context: grpc.ServicerContext,
    ) -> Iterator[learning.LearnProgress]:
        """Progress of the requested runs until all have ended or the caller is gone.

        Fills ``states`` with the last state of each client's run.

        Raises:
            DeadlinePassed: the runs take longer than one call follows them.
        """
        until = started + FOLLOW_SECONDS
        for seen in self._runs.follow(
            requested, lambda: context.is_active() and time.monotonic() < until
        ):
            for client_id, run in seen.items():
                if states.get(client_id) != run and not run.ended:
                    yield progress_message(run, self._clock())
                states[client_id] = run
        ended = all(run.ended for run in states.values()) and len(states) == len(requested.runs)
        if not ended and context.is_active():
            raise DeadlinePassed("the run goes on; GetLearningRun tells how far it is")

    def GetLearningRun(  # noqa: N802
        self, request: learning.GetLearningRunRequest, _context: grpc.ServicerContext
    ) -> learning.GetLearningRunResponse:
        """State, stages, timings, errors and results of one run id."""
        return learning.GetLearningRunResponse(run=run_message(self._runs.read(request.run_id)))

    def ListLearningRuns(  # noqa: N802
        self, request: learning.ListLearningRunsRequest, _context: grpc.ServicerContext
    ) -> learning.ListLearningRunsResponse:
        """Newest runs first, one entry per client and run id."""
        size = request.page_size or _DEFAULT_PAGE
        runs = self._runs.recent(
            request.client_id if request.HasField("client_id") else None,
            [state for number in request.states if (state := RUN_STATE(number)) is not None],
            size + 1,
            _before(request.page_token),
        )
        response = learning.ListLearningRunsResponse(runs=[run_message([r]) for r in runs[:size]])
        if len(runs) > size:
            last = runs[size - 1]
            when = last.requested_at.isoformat() if last.requested_at else ""
            response.next_page_token = page_token(when, last.run_id)
        return response


def _count(token: str) -> int:
    key = page_key(token, 1)
    if key is None:
        return 0
    if not key[0].isdecimal() or len(key[0]) > 9:
        raise InvalidInput("page_token", "is not a token that this list gave")
    return int(key[0])


def _before(token: str) -> tuple[dt.datetime, str] | None:
    key = page_key(token, 2)
    if key is None:
        return None
    try:
        return dt.datetime.fromisoformat(key[0]), key[1]
    except ValueError:
        raise InvalidInput("page_token", "is not a token that this list gave") from None
