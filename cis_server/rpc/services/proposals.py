"""The RPCs of `cis.v1.LearningService` about proposals to people."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import grpc

from cis_client.v1 import learning_service_pb2 as learning
from cis_client.v1 import learning_service_pb2_grpc as learning_grpc
from cis_server.domain.recommendations import (
    ListedRecommendation,
    RecommendationState,
    StoredRecommendation,
)
from cis_server.errors import InvalidInput
from cis_server.rpc.messages.proposals import STATE, proposal_message, proposals_page
from cis_server.rpc.pages import page_key, page_token

_DEFAULT_PAGE = 20


class ProposalStore(Protocol):
    """Proposals as stored; every method raises `StoreUnavailable` when it cannot, and `NotFound`
    for a client or recommendation that does not exist."""

    def page(
        self,
        client_id: str,
        states: Sequence[RecommendationState],
        limit: int,
        after: tuple[float, str] | None,
    ) -> Sequence[ListedRecommendation]:
        """Most expected extra conversions first, then by id; those after (rank, id)."""
        ...

    def decide(
        self,
        client_id: str,
        recommendation_id: str,
        decision: RecommendationState,
        by: str,
        reason: str,
        at: dt.datetime,
    ) -> StoredRecommendation:
        """Record an approver's decision, unless there is one already."""
        ...


class ProposalCalls(learning_grpc.LearningServiceServicer):
    """Lists proposals and records what people decide; nothing is ever applied by itself.

    Args:
        store: where they are kept.
        clock: gives the present instant, aware.
    """

    def __init__(self, store: ProposalStore, clock: Callable[[], dt.datetime]) -> None:
        self._proposals, self._now = store, clock

    def GetRecommendations(  # noqa: N802
        self, request: learning.GetRecommendationsRequest, _context: grpc.ServicerContext
    ) -> learning.GetRecommendationsResponse:
        """Proposals, most expected extra conversions first; what cannot be told is named."""
        size = request.page_size or _DEFAULT_PAGE
        found = self._proposals.page(
            request.client_id, _states(request.states), size + 1, _after(request.page_token)
        )
        response = proposals_page(found[:size])
        if len(found) > size:
            last = found[size - 1]
            response.next_page_token = page_token(repr(last.rank), last.recommendation_id)
        return response

    def DecideRecommendation(  # noqa: N802
        self, request: learning.DecideRecommendationRequest, _context: grpc.ServicerContext
    ) -> learning.DecideRecommendationResponse:
        """Record an approver's decision."""
        decision = STATE(request.decision)
        if decision is None:
            raise InvalidInput("decision", "must be ACCEPTED or REJECTED")
        decided = self._proposals.decide(
            request.client_id,
            # UUIDs are written in lower case; a caller may spell them otherwise.
            request.recommendation_id.lower(),
            decision,
            request.approver,
            request.reason,
            self._now(),
        )
        return learning.DecideRecommendationResponse(recommendation=proposal_message(decided))


def _states(numbers: Sequence[int]) -> list[RecommendationState]:
    """The states of a filter: proposed ones when it is empty, all when it holds UNSPECIFIED."""
    if not numbers:
        return [RecommendationState.PROPOSED]
    found = [STATE(number) for number in numbers]
    wanted = [state for state in found if state is not None]
    return wanted if len(wanted) == len(found) else list(RecommendationState)


def _after(token: str) -> tuple[float, str] | None:
    key = page_key(token, 2)
    if key is None:
        return None
    try:
        expected = float(key[0])
    except ValueError:
        expected = math.nan
    if not math.isfinite(expected):
        raise InvalidInput("page_token", "is not a token that this list gave")
    return expected, key[1]
