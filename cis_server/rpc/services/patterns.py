"""`cis.v1.PatternService`: what was learned, for people to look at."""

from __future__ import annotations

import grpc

from cis_client.v1 import pattern_service_pb2 as service
from cis_client.v1 import pattern_service_pb2_grpc as service_grpc
from cis_client.v1 import patterns_pb2
from cis_server.domain.vocabulary import PatternType, Source
from cis_server.domain.weights import DEFAULT_WEIGHTS
from cis_server.errors import InvalidInput, NotFound
from cis_server.rpc.messages.patterns import pattern_message, run_status_message
from cis_server.rpc.messages.runs import PATTERN_TYPE
from cis_server.rpc.messages.scores import weights_message
from cis_server.rpc.messages.values import model_message, timestamp
from cis_server.serving.advisor import Advisor, PatternAnswer


class PatternService(service_grpc.PatternServiceServicer):
    """Reads patterns; expired ones too, marked stale.

    Args:
        advisor: the answers.
    """

    def __init__(self, advisor: Advisor) -> None:
        self._advisor = advisor

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
        """All patterns of a client and how the last runs ended. There are six types: one page."""
        response = service.ListPatternsResponse()
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
                response.patterns.append(pattern)
        return response

    def GetWeights(  # noqa: N802
        self, request: service.GetWeightsRequest, _context: grpc.ServicerContext
    ) -> service.GetWeightsResponse:
        """The weights in force beside the defaults."""
        answer = self._advisor.weights(request.client_id)
        info, expired = answer.model_info, answer.expired
        learned = info.source is not Source.DEFAULT
        return service.GetWeightsResponse(
            weights=weights_message(answer.weights),
            default_weights=weights_message(DEFAULT_WEIGHTS),
            learned_weights=weights_message(expired) if expired is not None else None,
            learned_version=info.model_version if expired is not None else None,
            sample_size=info.sample_size if learned else 0,
            updated_time=timestamp(info.computed_at) if learned else None,
            model=model_message(info),
        )


def _pattern(answer: PatternAnswer) -> patterns_pb2.Pattern | None:
    if answer.pattern is None:
        return None
    return pattern_message(answer.record, answer.pattern.to_json(), answer.model.stale)
