"""Coalesced calls of tasks: see `_gathering` for when they travel together."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

from cis_client._gathering import (
    LEAD_BYTES_MOST,
    Group,
    Outcome,
    failure_of,
    late,
    outcomes_of,
    own_error,
)
from cis_client._score_batches import Shared, batch_request, parts_of
from cis_client.errors import CisError
from cis_client.v1.core_pb2 import LeadScore
from cis_client.v1.scoring_service_pb2 import ScoreLeadRequest

PLACES: Final = 2
"""Calls of a kind that are under way, each by itself, before others wait. What is asked in one turn
of the loop comes together without waiting."""
WINDOW_SECONDS: Final = 0.0005
"""Longest that a call waits for others; the clock of an event loop adds up to 1 ms."""
WARM_SECONDS: Final = 0.002
"""How long after a batch the next call still expects others to come."""


class _AsyncAlone(Protocol):
    """Makes the call by itself."""

    def __call__(
        self, request: ScoreLeadRequest, /, *, timeout_seconds: float | None
    ) -> Awaitable[LeadScore]: ...


class _AsyncBatch(Protocol):
    """Sends a serialised ``BatchScoreLeads`` and gives the serialised answer."""

    def __call__(
        self, request: bytes, /, *, timeout_seconds: float | None, request_id: str | None
    ) -> Awaitable[bytes]: ...


class _Group(Group["_AwaitedCall"]):
    """Calls that may travel together."""

    __slots__ = ("flushing", "warm", "window")

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared, PLACES)
        self.flushing = False
        """Whether they are looked at by the end of this turn of the loop."""
        self.window: asyncio.TimerHandle | None = None
        self.warm: asyncio.TimerHandle | None = None
        """Set while others are expected because a batch has just come back."""


class _AwaitedCall:
    """A call whose task waits."""

    __slots__ = ("answer", "deadline", "flight", "group", "lead", "request")

    def __init__(
        self,
        group: _Group,
        request: ScoreLeadRequest,
        lead: bytes,
        deadline: float,
        answer: asyncio.Future[Outcome],
    ) -> None:
        self.group, self.request, self.lead = group, request, lead
        self.deadline, self.answer = deadline, answer
        self.flight: _Flight | None = None


class _Flight:
    """A batch that is under way, in a task of its own."""

    __slots__ = ("calls", "request_id", "task", "wanted")

    def __init__(self, calls: list[_AwaitedCall]) -> None:
        self.calls = calls
        self.wanted = len(calls)
        self.request_id = ""
        """Made when it is sent."""
        self.task: asyncio.Task[list[Outcome]] | None = None


class AsyncCoalescer:
    """Coalesces the calls of tasks on one event loop.

    What is asked in one turn of the loop leaves together at its end.

    Args:
        alone: makes a call by itself.
        batch: sends a batch.
        request_id: makes the id of a batch.
        window_seconds: longest that a call waits for others.
        warm_seconds: how long after a batch the next call still expects others.
    """

    _loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        alone: _AsyncAlone,
        batch: _AsyncBatch,
        request_id: Callable[[], str],
        *,
        window_seconds: float = WINDOW_SECONDS,
        warm_seconds: float = WARM_SECONDS,
    ) -> None:
        self._alone, self._batch, self._request_id = alone, batch, request_id
        self._window_seconds, self._warm_seconds = window_seconds, warm_seconds
        self._groups: dict[Shared, _Group] = {}
        self._flights: set[_Flight] = set()
        self._alarm: asyncio.TimerHandle | None = None

    async def score(self, request: ScoreLeadRequest, seconds: float) -> LeadScore:
        """The score, by itself or as part of a batch.

        Args:
            request: as of ``ScoreLead``.
            seconds: until its deadline, which may be infinite.

        Raises:
            CisError: as ``ScoreLead`` does.
        """
        parts = parts_of(request)
        if parts is None or len(parts[1]) > LEAD_BYTES_MOST:
            return await self._alone(request, timeout_seconds=seconds)
        self._loop = asyncio.get_running_loop()  # not known before: a client may be asked outside
        group = self._groups.get(parts[0])
        if group is None:
            return await self._first(parts[0], request, seconds)
        deadline = self._loop.time() + seconds
        call = _AwaitedCall(group, request, parts[1], deadline, self._loop.create_future())
        del parts  # what waits is walked by the garbage collector again and again
        group.waiting.append(call)
        if not group.flushing:
            group.flushing = True
            self._loop.call_soon(self._flush, group)
        if self._alarm is None or deadline < self._alarm.when():
            self._wake_at(deadline)
        try:
            outcome = await call.answer
        except asyncio.CancelledError:
            if call.answer.cancelled():
                self._withdraw(call)
            raise
        if isinstance(outcome, bytes):
            return LeadScore.FromString(outcome)
        if isinstance(outcome, LeadScore):
            return outcome
        if isinstance(outcome, CisError):
            raise own_error(outcome)
        left = deadline - self._loop.time()
        if left <= 0:
            raise late("")
        return await self._alone(request, timeout_seconds=left)

    async def _first(self, shared: Shared, request: ScoreLeadRequest, seconds: float) -> LeadScore:
        """A call that finds nothing of its kind under way, nor a moment ago."""
        group = self._groups[shared] = _Group(shared)
        group.under_way = 1
        try:
            return await self._alone(request, timeout_seconds=seconds)
        finally:
            group.come_back(1)
            self._depart(group)
            self._forget(group)

    def _flush(self, group: _Group) -> None:
        group.flushing = False
        self._depart(group)
        if group.waiting and group.window is None:
            group.window = self._loop.call_later(self._window_seconds, self._window_over, group)
        self._forget(group)

    def _window_over(self, group: _Group) -> None:
        group.window = None
        self._depart(group, window_over=True)

    def _depart(self, group: _Group, *, window_over: bool = False) -> None:
        for calls in group.departures(window_over=window_over):
            flight = _Flight(calls)
            for call in calls:
                call.flight = flight
            # Not the end of `_fly`: a task that is cancelled early never begins.
            flight.task = self._loop.create_task(self._fly(group, flight))
            flight.task.add_done_callback(partial(self._landed, group, flight))
            self._flights.add(flight)
        if not group.waiting and group.window is not None:
            group.window.cancel()
            group.window = None

    async def _fly(self, group: _Group, flight: _Flight) -> list[Outcome]:
        """Sends a batch; what came of it for each of its callers."""
        calls = flight.calls
        left = max(call.deadline for call in calls) - self._loop.time()
        flight.request_id = self._request_id()
        if left <= 0:
            raise late(flight.request_id)
        if len(calls) == 1:
            return [await self._alone(calls[0].request, timeout_seconds=left)]
        request = batch_request(group.shared, [call.lead for call in calls])
        response = await self._batch(request, timeout_seconds=left, request_id=flight.request_id)
        return outcomes_of(response, len(calls))

    def _landed(self, group: _Group, flight: _Flight, task: asyncio.Task[list[Outcome]]) -> None:
        """Hands out what came of a batch."""
        self._flights.discard(flight)
        group.come_back(len(flight.calls))
        self._depart(group)  # before those who are answered take their turns of the loop
        if group.warm is not None:
            group.warm.cancel()
        # Those who are answered now may ask again at once, and go together then.
        group.warm = self._loop.call_later(self._warm_seconds, self._cooled, group)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or (error is not None and not isinstance(error, Exception)):
            # The client was closed under the calls, the program ends, or nobody waits any more.
            for call in flight.calls:
                call.answer.cancel()
        else:
            count = len(flight.calls)
            outcomes = task.result() if error is None else [failure_of(error, count)] * count
            for call, outcome in zip(flight.calls, outcomes, strict=True):
                if not call.answer.done():
                    call.answer.set_result(outcome)
        # Each call knows its batch: left so, only the garbage collector could free them.
        flight.calls = []

    def _cooled(self, group: _Group) -> None:
        group.warm = None
        self._forget(group)

    def _forget(self, group: _Group) -> None:
        if group.idle and group.warm is None and self._groups.get(group.shared) is group:
            del self._groups[group.shared]

    def _withdraw(self, call: _AwaitedCall) -> None:
        """Takes out a call that nobody waits for any more."""
        flight, waiting = call.flight, call.group.waiting
        if flight is not None:
            flight.wanted -= 1
            if not flight.wanted and flight.task is not None:
                flight.task.cancel()
        elif call in waiting:
            waiting.remove(call)

    def _wake_at(self, deadline: float) -> None:
        """Sets the one alarm clock of all calls to the deadline that comes first."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if math.isinf(deadline) else self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        """Ends the calls whose deadlines have passed."""
        now, following = self._loop.time(), math.inf
        waiting = [call for group in self._groups.values() for call in group.waiting]
        flying = [call for flight in self._flights for call in flight.calls]
        for call in waiting + flying:
            if call.answer.done():
                continue
            if call.deadline <= now:
                call.answer.set_result(late(call.flight.request_id if call.flight else ""))
                self._withdraw(call)
            else:
                following = min(following, call.deadline)
        self._alarm = None
        self._wake_at(following)
