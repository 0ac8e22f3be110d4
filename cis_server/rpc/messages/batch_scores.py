"""`cis.v1.BatchScoreLeadsResponse` from scored leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cis_client.v1 import core_pb2
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.scores import LeadScore
from cis_server.domain.vocabulary import Tier
from cis_server.rpc.messages.scores import (
    basic_score_message,
    score_message,
    tier_counts,
    weights_message,
)
from cis_server.rpc.messages.values import model_message
from cis_server.serving.scoring_answers import ScoringContext, ScoringRollout

SCORES: Final = scoring.BatchScoreLeadsResponse.DESCRIPTOR.fields_by_name["scores"].number
"""Number of the field that takes the scores."""


def batch_response(
    scores: Sequence[LeadScore],
    failures: Sequence[scoring.ScoreFailure],
    context: ScoringContext,
    *,
    full: bool,
) -> scoring.BatchScoreLeadsResponse:
    """The answer to a batch.

    Weights and what told them stand once, in the response. During a rollout of weights the scores
    that the new ones told carry their own, and the response says which those are.

    Args:
        scores: in request order.
        failures: in any order.
        context: what the leads were scored with.
        full: whether each score is told in full.
    """
    rollout = context.rollout
    messages, told_by_rollout = score_messages(scores, context, full=full)
    return scoring.BatchScoreLeadsResponse(
        scores=messages,
        failures=sorted(failures, key=lambda failure: failure.index),
        tier_counts=tier_counts(scores),
        mean_score=sum(score.score for score in scores) / len(scores) if scores else None,
        weights=weights_message(context.weights),
        model=model_message(context.model_info),
        rollout=_rollout_message(rollout, told_by_rollout) if rollout is not None else None,
    )


def score_messages(
    scores: Sequence[LeadScore], context: ScoringContext, *, full: bool
) -> tuple[list[core_pb2.LeadScore], int]:
    """The messages of scores, and how many of them weights being rolled out told."""
    if context.rollout is not None:
        return _messages_in_parts(scores, context, context.rollout, full=full)
    return [_message(score, None, context.model_version, full=full) for score in scores], 0


def around_scores(
    context: ScoringContext,
    failures: Sequence[scoring.ScoreFailure],
    tiers: Mapping[Tier, int],
    total_score: int,
    told_by_rollout: int,
) -> bytes:
    """Everything of the answer but the scores, serialised; the scores' bytes stand beside it.

    Args:
        context: what the leads were scored with.
        failures: in any order.
        tiers: scored leads per effective tier.
        total_score: sum of the scores.
        told_by_rollout: how many scores the weights being rolled out told.
    """
    count = sum(tiers.values())
    rollout = context.rollout
    return scoring.BatchScoreLeadsResponse(
        failures=sorted(failures, key=lambda failure: failure.index),
        tier_counts=core_pb2.TierCounts(**{tier.label: tiers.get(tier, 0) for tier in Tier}),
        mean_score=total_score / count if count else None,
        weights=weights_message(context.weights),
        model=model_message(context.model_info),
        rollout=_rollout_message(rollout, told_by_rollout) if rollout is not None else None,
    ).SerializeToString()


def _messages_in_parts(
    scores: Sequence[LeadScore], context: ScoringContext, rollout: ScoringRollout, *, full: bool
) -> tuple[list[core_pb2.LeadScore], int]:
    """The scores, and how many of them the weights being rolled out told."""
    contexts: dict[tuple[bool, bool], ScoringContext] = {}
    messages, told = [], 0
    for score in scores:
        parts = rollout.parts(score.lead_id)
        own = contexts.get(parts)
        if own is None:
            own = contexts[parts] = rollout.applied(context, parts)
        told += parts[0]
        info = own.model_info if parts[0] else None
        messages.append(_message(score, info, own.model_version, full=full))
    return messages, told


def _message(
    score: LeadScore, model: ModelInfo | None, version: str, *, full: bool
) -> core_pb2.LeadScore:
    return (
        score_message(score, model, version) if full else basic_score_message(score, version, model)
    )


def _rollout_message(rollout: ScoringRollout, told: int) -> scoring.ScoreRollout | None:
    if not told or rollout.weights is None or rollout.weights_info is None:
        return None
    return scoring.ScoreRollout(
        weights=weights_message(rollout.weights.weights),
        model=model_message(rollout.weights_info),
        percentage=round(rollout.weights.share.percentage),
        scores=told,
    )
