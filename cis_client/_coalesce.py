"""Coalesced calls of threads: see `_gathering` for when they travel together."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from cis_client._gathering import (
    LEAD_BYTES_MOST,
    Again,
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

PLACES: Final = 8
"""Calls of a kind that are under way, each by itself, before others wait. With fewer, a handful of
threads would wait for each other while the server is idle."""
WINDOW_SECONDS: Final = 0.001
"""Longest that a call waits for others."""
WAKERS: Final = 2
"""Threads of a batch that are woken by the one that sent it. Each wakes another before it goes on:
woken all at once, they would only queue for the interpreter, and sleep and wake once more there."""
SLOW_SECONDS: Final = 0.004
"""How long a thread takes to wake where others keep the interpreter busy. Then all that are left
are woken, so that they queue once together and not one after the other."""


class _Alone(Protocol):
    """Makes the call by itself."""

    def __call__(
        self, request: ScoreLeadRequest, /, *, timeout_seconds: float | None
    ) -> LeadScore: ...


class _Batch(Protocol):
    """Sends a serialised ``BatchScoreLeads`` and gives the serialised answer."""

    def __call__(
        self, request: bytes, /, *, timeout_seconds: float | None, request_id: str | None
    ) -> bytes: ...


class _BlockedCall:
    """A call whose thread waits."""

    __slots__ = ("asleep", "deadline", "flight", "gate", "lead", "outcome", "request", "woken")

    def __init__(self, request: ScoreLeadRequest, lead: bytes, deadline: float) -> None:
        self.request, self.lead, self.deadline = request, lead, deadline
        self.outcome: Outcome | None = None
        self.flight: list[_BlockedCall] | None = None
        self.asleep: list[_BlockedCall] = []
        """Those of its batch that nobody has woken yet, the next one last; all share one list."""
        self.woken = math.inf
        self.gate = threading.Lock()
        self.gate.acquire()

    def wake_next(self) -> None:
        """Wakes who comes next, or all that are left when this one took long to wake.

        A call that was not woken, because its deadline came first, does so too: whoever wakes it
        later wakes nobody.
        """
        if self.asleep:
            everyone = time.monotonic() - self.woken > SLOW_SECONDS
            _wake(self.asleep, len(self.asleep) if everyone else 1, besides=self)


def _wake(asleep: list[_BlockedCall], count: int, *, besides: _BlockedCall) -> None:
    """Wakes so many of those who sleep, while there are any; others may do so at the same time."""
    while count > 0:
        now = time.monotonic()
        try:
            call = asleep.pop()  # found by nobody else from here on
        except IndexError:
            return
        if call is not besides:
            call.woken = now
            call.gate.release()
            count -= 1


class Coalescer:
    """Coalesces the calls of threads.

    There is no thread beside theirs: a batch is sent by that of its callers with the latest
    deadline, while the others wait, each until its own.

    Args:
        alone: makes a call by itself.
        batch: sends a batch.
        request_id: makes the id of a batch.
        window_seconds: longest that a call waits for others.
    """

    def __init__(
        self,
        alone: _Alone,
        batch: _Batch,
        request_id: Callable[[], str],
        *,
        window_seconds: float = WINDOW_SECONDS,
    ) -> None:
        self._alone, self._batch, self._request_id = alone, batch, request_id
        self._window_seconds = window_seconds
        self._groups: dict[Shared, Group[_BlockedCall]] = {}
        self._lock = threading.Lock()

    def score(self, request: ScoreLeadRequest, seconds: float) -> LeadScore:
        """The score, by itself or as part of a batch.

        Args:
            request: as of ``ScoreLead``.
            seconds: until its deadline, which may be infinite.

        Raises:
            CisError: as ``ScoreLead`` does.
        """
        parts = parts_of(request)
        if parts is None or len(parts[1]) > LEAD_BYTES_MOST:
            return self._alone(request, timeout_seconds=seconds)
        shared, lead = parts
        call = None
        try:
            with self._lock:
                group = self._groups.get(shared) or self._groups.setdefault(
                    shared, Group(shared, PLACES)
                )
                if group.is_free:
                    group.under_way += 1
                else:
                    call = _BlockedCall(request, lead, time.monotonic() + seconds)
                    group.waiting.append(call)
                    is_first = len(group.waiting) == 1
                    self._depart(group)
            if call is not None:
                self._wait(group, call, is_first=is_first)
                call.wake_next()
                if call.flight is not None:
                    return self._fly(group, call, call.flight)
        except BaseException:
            if call is not None:
                self._leave(group, call)
            raise
        if call is None:
            try:
                return self._alone(request, timeout_seconds=seconds)
            finally:
                with self._lock:
                    self._come_back(group, 1)
        match call.outcome:
            case bytes():
                return LeadScore.FromString(call.outcome)
            case CisError():
                raise own_error(call.outcome)
            case _:
                return self._ask_alone(call)

    def _depart(self, group: Group[_BlockedCall], *, window_over: bool = False) -> None:
        """Wakes the one that sends, for each batch that is due; the lock is held."""
        parts = group.departures(window_over=window_over)
        try:
            for calls in parts:
                captain = max(calls, key=lambda call: call.deadline)
                captain.flight = calls
                captain.gate.release()
        except BaseException:  # Ctrl-C: nobody looks for these calls any more
            for calls in parts:
                if not any(call.flight for call in calls):
                    group.come_back(len(calls))
                    for call in calls:
                        call.outcome = Again.AGAIN
                for call in calls:
                    if (call.flight or call.outcome) and call.gate.locked():
                        call.gate.release()
            raise

    def _wait(self, group: Group[_BlockedCall], call: _BlockedCall, *, is_first: bool) -> None:
        """Returns once there is an outcome, or a batch to send.

        Raises:
            DeadlineExceeded: the call's own deadline has passed.
        """
        if is_first:
            left = call.deadline - time.monotonic()
            if call.gate.acquire(timeout=max(0.0, min(self._window_seconds, left))):
                return
            with self._lock:
                if call in group.waiting:
                    self._depart(group, window_over=True)
        left = call.deadline - time.monotonic()
        timeout = -1.0 if math.isinf(left) else min(max(0.0, left), threading.TIMEOUT_MAX)
        if not call.gate.acquire(timeout=timeout) and self._withdraw(group, call):
            raise late("")

    def _leave(self, group: Group[_BlockedCall], call: _BlockedCall) -> None:
        """Sees to it that nobody waits for a thread that goes, at Ctrl-C or a deadline."""
        self._withdraw(group, call)
        if call.flight is not None:
            self._land(group, call, call.flight, [Again.AGAIN] * len(call.flight))
        call.wake_next()

    def _withdraw(self, group: Group[_BlockedCall], call: _BlockedCall) -> bool:
        """Whether nothing was decided on the call, which then leaves."""
        with self._lock:
            if call.flight is not None or call.outcome is not None:
                return False
            if call in group.waiting:
                group.waiting.remove(call)
            call.outcome = Again.AGAIN  # nobody is left to be woken
            return True

    def _fly(
        self, group: Group[_BlockedCall], call: _BlockedCall, calls: list[_BlockedCall]
    ) -> LeadScore:
        """Sends a batch and hands out what came of it."""
        outcomes: Sequence[Outcome] = [Again.AGAIN] * len(calls)
        try:
            if len(calls) == 1:
                return self._ask_alone(call)
            left = call.deadline - time.monotonic()
            request_id = self._request_id()
            if left <= 0:
                raise late(request_id)
            request = batch_request(group.shared, [each.lead for each in calls])
            response = self._batch(request, timeout_seconds=left, request_id=request_id)
            outcomes = outcomes_of(response, len(calls))
        except CisError as error:
            outcomes = [failure_of(error, len(calls))] * len(calls)
            if isinstance(outcomes[0], CisError):
                raise
        finally:
            self._land(group, call, calls, outcomes)
        own = outcomes[calls.index(call)]
        return LeadScore.FromString(own) if isinstance(own, bytes) else self._ask_alone(call)

    def _land(
        self,
        group: Group[_BlockedCall],
        captain: _BlockedCall,
        calls: Sequence[_BlockedCall],
        outcomes: Sequence[Outcome],
    ) -> None:
        """Gives all but the captain what came of their batch, and wakes the first of them."""
        asleep: list[_BlockedCall] = []
        try:
            with self._lock:
                for call, outcome in zip(calls, outcomes, strict=True):
                    if call is not captain and call.outcome is None:
                        asleep.append(call)
                        call.asleep, call.outcome = asleep, outcome
                asleep.reverse()
                captain.flight = None  # or only the garbage collector could free it
                self._come_back(group, len(calls))
        finally:
            _wake(asleep, WAKERS, besides=captain)

    def _come_back(self, group: Group[_BlockedCall], count: int) -> None:
        """Lets others leave in the place of so many; the lock is held."""
        group.come_back(count)
        self._depart(group)
        if group.idle:
            del self._groups[group.shared]

    def _ask_alone(self, call: _BlockedCall) -> LeadScore:
        left = call.deadline - time.monotonic()
        if left <= 0:
            raise late("")
        return self._alone(call.request, timeout_seconds=left)
