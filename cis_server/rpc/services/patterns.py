"""`cis.v1.PatternService`: what was learned, for people to look at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Protocol

import grpc

from cis_client.v1 import pattern_service_pb2 as service
from cis_client.v1 import pattern_service_pb2_grpc as service_grpc
from cis_client.v1 import patterns_pb2
from cis_server.domain.pattern_history import HistoryPage, HistoryPosition
from cis_server.domain.vocabulary import PatternType, Source
from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.errors import InvalidInput, NotFound
from cis_server.rpc.deadlines import remaining_seconds
from cis_server.rpc.messages.history import version_message
from cis_server.rpc.messages.patterns import pattern_message, run_status_message
from cis_server.rpc.messages.runs import PATTERN_TYPE
from cis_server.rpc.messages.scores import weights_message
from cis_server.rpc.messages.values import model_message, timestamp
from cis_server.rpc.pages import page_key, page_token
from cis_server.serving.advisor import Advisor, PatternAnswer

_HISTORY_PAGE = 10


class HistoryReader(Protocol):
    """Reads earlier versions of patterns."""

    def read_history(
        self,
        client_id: str,
        type_: PatternType | None,
        limit: int,
        after: HistoryPosition | None,
        timeout_seconds: float,
    ) -> HistoryPage:
        """Versions of one type, or of all, newest first.

        Raises:
            StoreUnavailable: no answer within the time given.
        """
        ...


class PatternService(service_grpc.PatternServiceServicer):
    """Reads patterns; expired ones too, marked stale.

    Args:
        advisor: the answers.
        history: earlier versions.
        clock: gives the present instant, aware.
        call_seconds: longest wait for the database within a call.
    """

    def __init__(
        self,
        advisor: Advisor,
        history: HistoryReader,
        clock: Callable[[], dt.datetime],
        *,
        call_seconds: float,
    ) -> None:
        self._advisor, self._history, self._clock = advisor, history, clock
        self._call_seconds = call_seconds

    def GetPattern(  # noqa: N802
        self, request: service.GetPatternRequest, _context: grpc.ServicerContext
    ) -> service.GetPatternResponse:
        """One pattern with how its type's last run ended."""
        kind = PATTERN_TYPE(request.type)
        if kind is None:
            raise InvalidInput("type", "is no pattern type")
        answer = self._advisor.pattern(request.client_id, kind)
        pattern = _pattern(answer)
        return service.GetPatternResponse(
            pattern=pattern,
            last_run=run_status_message(answer.record, pattern),
            model=model_message(answer.model),
        )

    def ListPatterns(  # noqa: N802
        self, request: service.ListPatternsRequest, _context: grpc.ServicerContext
    ) -> service.ListPatternsResponse:
        """Patterns of a client, and on every page how the last runs of all types ended."""
        after = _type_of(request.page_token)
        response = service.ListPatternsResponse()
        patterns: list[tuple[PatternType, patterns_pb2.Pattern]] = []
        for kind in PatternType:
            try:
                answer = self._advisor.pattern(request.client_id, kind)
            except NotFound as error:
                if error.kind == "client":
                    raise
                continue
            pattern = _pattern(answer)
            run = run_status_message(answer.record, pattern)
            if run is not None:
                response.last_runs.append(run)
            if pattern is not None and (request.include_expired or not pattern.stale):
                patterns.append((kind, pattern))
        if after is not None:
            order = list(PatternType)
            left = order[order.index(after) + 1 :]
            patterns = [(kind, pattern) for kind, pattern in patterns if kind in left]
        page = patterns[: request.page_size or None]
        response.patterns.extend(pattern for _, pattern in page)
        if len(page) < len(patterns):
            response.next_page_token = page_token(page[-1][0].value)
        return response

    def ListPatternHistory(  # noqa: N802
        self, request: service.ListPatternHistoryRequest, context: grpc.ServicerContext
    ) -> service.ListPatternHistoryResponse:
        """Earlier versions, newest first."""
        kind = PATTERN_TYPE(request.type)
        if request.type and kind is None:
            raise InvalidInput("type", "is no pattern type")
        after = _position(request.page_token)
        self._advisor.require_client(request.client_id)
        page = self._history.read_history(
            request.client_id,
            kind,
            request.page_size or _HISTORY_PAGE,
            after,
            remaining_seconds(context, self._call_seconds),
        )
        now = self._clock()
        response = service.ListPatternHistoryResponse(
            versions=[version_message(request.client_id, v, now) for v in page.versions],
            total_size=page.total,
        )
        if page.more:
            last = page.versions[-1]
            response.next_page_token = page_token(
                last.archived_at.isoformat(), last.type.value, str(last.version)
            )
        return response

    def GetWeights(  # noqa: N802
        self, request: service.GetWeightsRequest, _context: grpc.ServicerContext
    ) -> service.GetWeightsResponse:
        """The weights in force beside the defaults."""
        answer = self._advisor.weights(request.client_id)
        info, standing, rollout = answer.model_info, answer.standing, answer.rollout
        learned = info.source is not Source.DEFAULT
        return service.GetWeightsResponse(
            weights=weights_message(answer.weights),
            default_weights=weights_message(DEFAULT_WEIGHTS),
            learned_weights=weights_message(answer.learned) if answer.learned else None,
            learned_version=answer.learned_version or None,
            previous_version=standing.previous_version,
            manual=learned and standing.by_hand,
            sample_size=standing.leads if learned else 0,
            converted=standing.converted if learned else 0,
            updated_time=timestamp(standing.live_since or info.computed_at) if learned else None,
            model=model_message(info),
            rollout_weights=weights_message(rollout.weights) if rollout is not None else None,
            rollout_version=rollout.record.version if rollout is not None else None,
            rollout_percentage=round(rollout.share.percentage) if rollout is not None else 0,
        )


def _pattern(answer: PatternAnswer) -> patterns_pb2.Pattern | None:
    if answer.pattern is None:
        return None
    return pattern_message(answer.record, answer.pattern.to_json(), answer.model.stale)


def _type_of(token: str) -> PatternType | None:
    """The type that the page before ended with."""
    key = page_key(token, 1)
    try:
        return PatternType(key[0]) if key is not None else None
    except ValueError:
        raise InvalidInput("page_token", "is not a token that this list gave") from None


def _position(token: str) -> HistoryPosition | None:
    key = page_key(token, 3)
    if key is None:
        return None
    archived, kind, version = key
    try:
        position = HistoryPosition(
            archived_at=dt.datetime.fromisoformat(archived),
            type=PatternType(kind),
            version=int(version),
        )
    except ValueError:
        position = None
    if position is None or position.archived_at.tzinfo is None or not 0 < position.version < 2**31:
        raise InvalidInput("page_token", "is not a token that this list gave")
    return position
