"""Sentences for prompts as messages."""

from __future__ import annotations

from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_server.rpc.messages.runs import PATTERN_TYPE_NUMBER
from cis_server.rpc.messages.values import model_message, rate_message
from cis_server.serving.answers import PromptContextAnswer


def prompt_context_message(
    answer: PromptContextAnswer,
) -> recommendation.GetPromptContextResponse:
    """What was learned, as sentences."""
    return recommendation.GetPromptContextResponse(
        lines=[
            recommendation.PromptLine(
                text=line.text,
                type=PATTERN_TYPE_NUMBER[line.type],
                key=line.key,
                estimate=rate_message(line.estimate),
                figures=line.figures,
                sample_size=line.sample_size,
                confidence=line.confidence,
            )
            for line in answer.lines
        ],
        model=model_message(answer.model),
    )
