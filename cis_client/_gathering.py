"""When calls of ``score_lead`` travel together, and how each gets its own answer.

A call that finds no other like it under way is sent at once, as itself: a lone caller pays nothing.
While several are, calls gather; what has gathered leaves when one of those comes back, when it
is a full batch, or when the first of them has waited for the window. So batches grow with the
load by themselves: the busier the server, the longer an answer takes and the more have gathered.

What a batch cannot tell apart is asked again alone, by its caller: a lead that failed, so that the
error is that of ``ScoreLead`` with its fields and details, and everybody of a batch that the server
refused as a whole where one of its leads may be the reason. Any other failure of a batch is that of
all its callers. Deadlines are the callers' own: a batch lives as long as the most patient of them,
and nobody waits for that.
"""

from __future__ import annotations

import copy
from enum import Enum, auto
from typing import Final, Generic, TypeVar

import grpc

from cis_client._score_batches import Shared, batch_scores
from cis_client.errors import (
    CisError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    ResourceExhausted,
)
from cis_client.v1.core_pb2 import LeadScore

CALLS_MOST: Final = 256
"""Calls of a batch."""
CALLS_LEAST: Final = 32
"""Calls of a batch below which splitting what has gathered costs more than it brings."""
PLACES_OF_BATCHES: Final = 2
"""Batches of a kind that are under way before calls wait: while the server works on one, the other
is being written or read."""
LEAD_BYTES_MOST: Final = 16 * 1024
"""Size of a lead above which it travels alone, so that a batch stays far from the message limit."""


class Again(Enum):
    """Says that the caller asks by itself."""

    AGAIN = auto()


Outcome = bytes | LeadScore | CisError | Again
"""What a caller gets; a score of a batch still serialised, so that callers parse their own."""


Call = TypeVar("Call")


class Group(Generic[Call]):
    """Calls that may travel together.

    Args:
        shared: what they have in common.
        places: calls under way, each by itself, before others wait.
    """

    __slots__ = ("batches", "places", "shared", "under_way", "waiting")

    def __init__(self, shared: Shared, places: int) -> None:
        self.shared, self.places = shared, places
        self.waiting: list[Call] = []
        self.under_way = self.batches = 0

    @property
    def idle(self) -> bool:
        """Whether it can be dropped."""
        return not self.waiting and not self.under_way

    @property
    def is_free(self) -> bool:
        """Whether a call that comes now need not wait for others."""
        return not self.waiting and self._free > 0

    @property
    def _free(self) -> int:
        """How many more may be under way; beside a batch, waiting for company pays."""
        places = min(self.places, PLACES_OF_BATCHES) if self.batches else self.places
        return places - self.under_way

    def departures(self, *, window_over: bool = False) -> list[list[Call]]:
        """What leaves now, counted as under way from here on; empty when all shall wait."""
        count = len(self.waiting)
        free = self._free
        if not count or (free <= 0 and count < CALLS_MOST and not window_over):
            return []
        wanted = min(free, PLACES_OF_BATCHES, count // CALLS_LEAST)
        batches = max(wanted, -(-count // CALLS_MOST), 1)
        size = -(-count // batches)
        parts = [self.waiting[first : first + size] for first in range(0, count, size)]
        self.batches += sum(len(part) > 1 for part in parts)
        self.under_way += len(parts)
        self.waiting = []  # last: Ctrl-C before it loses nobody
        return parts

    def come_back(self, count: int) -> None:
        """Says that so many calls, which left together, are no longer under way."""
        self.under_way -= 1
        self.batches -= count > 1


def outcomes_of(response: bytes, count: int) -> list[Outcome]:
    """What a serialised answer says to each of so many callers."""
    return [Again.AGAIN if raw is None else raw for raw in batch_scores(response, count)]


def failure_of(error: Exception, count: int) -> Outcome:
    """What the failure of a batch of so many means for each of its callers."""
    if not isinstance(error, CisError):
        return Again.AGAIN
    too_large = isinstance(error, ResourceExhausted) and error.retry_after_seconds is None
    if count > 1 and (too_large or isinstance(error, InvalidArgument | Internal)):
        return Again.AGAIN
    return error


def late(request_id: str) -> DeadlineExceeded:
    """The error of a caller whose deadline passes while its batch, if it is in one, goes on."""
    return DeadlineExceeded(
        "Deadline Exceeded", code=grpc.StatusCode.DEADLINE_EXCEEDED, request_id=request_id
    )


def own_error(error: CisError) -> CisError:
    """The error for one of several callers: each raises, and so marks, one of its own."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
