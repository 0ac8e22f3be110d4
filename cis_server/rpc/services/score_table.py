"""`ScoreTable`: a table of leads streamed in, its scores streamed out.

Memory is bounded by what is between two messages: the next piece of the table is asked for when the
scores of the one before have been sent, so that a caller who does not read is not read from. What
handles Arrow is imported when the first table comes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import grpc

from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.errors import InvalidInput, Overloaded
from cis_server.residency import hidden
from cis_server.rpc.messages.leads import icp_from_message
from cis_server.rpc.messages.scores import weights_message
from cis_server.rpc.messages.values import instant, model_message
from cis_server.rpc.rules import check_request
from cis_server.scoring import compiled
from cis_server.serving.advisor import Advisor
from cis_server.serving.scoring_answers import ScoringContext

MOST_SECONDS: Final = 3600.0
"""Longest that one table may take."""
MOST_TABLES: Final = 16
"""Tables scored at once by a process: each holds a record batch and its scores."""


class TableScoring:
    """Answers `ScoreTable`.

    Args:
        advisor: what leads are scored with.
        most_seconds: longest that a call may take, whatever its deadline.
        most_tables: tables at once.
    """

    def __init__(
        self,
        advisor: Advisor,
        *,
        most_seconds: float = MOST_SECONDS,
        most_tables: int = MOST_TABLES,
    ) -> None:
        self._advisor = advisor
        self._most_seconds, self._most_tables = most_seconds, most_tables
        self._places = threading.BoundedSemaphore(most_tables)

    def answers(
        self, requests: Iterator[scoring.ScoreTableRequest], context: grpc.ServicerContext
    ) -> Iterator[scoring.ScoreTableResponse]:
        """What told the scores, then the scores.

        Raises:
            InvalidInput: the first message breaks a rule, or the bytes are no table of leads.
            NotFound: there is no such client.
            Overloaded: too many tables are being scored.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded(f"{self._most_tables} tables are being scored, which is the most")
        # Nothing else ends a call whose caller has stopped sending and set no deadline.
        limit = threading.Timer(self._most_seconds, context.cancel)
        limit.daemon = True
        limit.start()
        try:
            yield from self._answers(requests)
        except grpc.RpcError:
            return  # the caller is gone: nobody is left to be told
        finally:
            limit.cancel()
            self._places.release()

    def _answers(
        self, requests: Iterator[scoring.ScoreTableRequest]
    ) -> Iterator[scoring.ScoreTableResponse]:
        first = next(requests, None)
        if first is None:
            raise InvalidInput("client_id", "is required")
        check_request(first)
        context = self._advisor.scoring_context(
            first.client_id,
            campaign_id=first.campaign_id if first.HasField("campaign_id") else None,
            icp=icp_from_message(first.icp) if first.HasField("icp") else None,
            as_of=instant(first, "as_of_time", "as_of_time"),
        )
        # Numba looks for scipy's linear algebra, which no kernel of scoring uses.
        with hidden("scipy"):
            from cis_server.rpc.tables.scored import ScoredTable

            compiled.load()
        table = ScoredTable(context)
        yield _told(context, table.columns)
        for written in table.scored(_chunks(first, requests)):
            yield scoring.ScoreTableResponse(arrow_ipc=written)


def _chunks(
    first: scoring.ScoreTableRequest, requests: Iterator[scoring.ScoreTableRequest]
) -> Iterator[bytes]:
    yield first.arrow_ipc
    first.Clear()
    for request in requests:
        yield request.arrow_ipc


def _told(context: ScoringContext, columns: tuple[str, ...]) -> scoring.ScoreTableResponse:
    """The first message: what tells the scores, and which columns they depend on."""
    answer = scoring.ScoreTableResponse(
        model=model_message(context.model_info),
        weights=weights_message(context.weights),
        columns=columns,
    )
    rollout = context.rollout
    if rollout is not None and rollout.weights is not None and rollout.weights_info is not None:
        answer.rollout.CopyFrom(
            scoring.ScoreRollout(
                weights=weights_message(rollout.weights.weights),
                model=model_message(rollout.weights_info),
                percentage=int(rollout.weights.share.percentage),
            )
        )
    return answer
