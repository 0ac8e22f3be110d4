"""`cis.v1.LeadScore` from a scored lead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cis_client.v1 import core_pb2
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.rescoring import RescoringRun
from cis_server.domain.scores import ConversionProbability, LeadScore
from cis_server.domain.vocabulary import Tier
from cis_server.domain.weights import Weights
from cis_server.rpc.messages.values import TIER_NUMBER, model_message, timestamp
from cis_server.serving.top_leads import TopLead

_TARGET_NUMBER = {
    name.removeprefix("CONVERSION_TARGET_").lower(): number
    for name, number in core_pb2.ConversionTarget.items()
    if number
}


def weights_message(weights: Weights) -> core_pb2.Weights:
    """The message of five weights."""
    return core_pb2.Weights(**weights.as_dict())


def score_message(
    score: LeadScore, model: ModelInfo | None, model_version: str = ""
) -> core_pb2.LeadScore:
    """Everything about one scored lead.

    Args:
        score: the scored lead.
        model: what told the weights; None in batches, where it stands once.
        model_version: version of the model behind the conversion probability.
    """
    components = score.components.as_dict()
    contributions: dict[str, Any] = dict(zip(components, score.contributions, strict=True))
    return core_pb2.LeadScore(
        lead_id=score.lead_id,
        score=score.score,
        tier=TIER_NUMBER[score.tier],
        components=core_pb2.Components(**components),
        contributions=core_pb2.Contributions(**contributions),
        weighted_sum=score.weighted_sum,
        weights=weights_message(score.weights),
        suppressed=score.suppressed,
        suppression_reason=score.suppression_reason,
        tier_channels=score.tier_channels,
        channels=score.channels,
        conversion_probability=probability_message(score.conversion_probability, model_version),
        reasons=[
            core_pb2.Reason(factor=r.factor, points=r.points, text=r.text) for r in score.reasons
        ],
        model=model_message(model) if model is not None else None,
    )


def basic_score_message(
    score: LeadScore, model_version: str = "", model: ModelInfo | None = None
) -> core_pb2.LeadScore:
    """Id, score, tier, suppression and probability of one scored lead.

    Args:
        score: the scored lead.
        model_version: version of the model behind the conversion probability.
        model: what told the weights, where it is not what the response says once for all.
    """
    return core_pb2.LeadScore(
        lead_id=score.lead_id,
        score=score.score,
        tier=TIER_NUMBER[score.tier],
        suppressed=score.suppressed,
        suppression_reason=score.suppression_reason,
        conversion_probability=probability_message(score.conversion_probability, model_version),
        model=model_message(model) if model is not None else None,
    )


def top_lead_message(top: TopLead) -> core_pb2.LeadScore:
    """A stored score with what may be done with the lead now."""
    stored, parts = top.stored, top.contributions
    message = core_pb2.LeadScore(
        lead_id=stored.lead.lead_id,
        score=stored.score,
        tier=TIER_NUMBER[top.tier],
        tier_channels=top.tier_channels,
        channels=top.channels,
        conversion_probability=probability_message(stored.probability, stored.probability_version),
        model=model_message(
            ModelInfo(model_version=stored.weights_version, source=stored.weights_source)
        ),
        scored_time=timestamp(stored.scored_at),
    )
    if stored.components is not None and stored.weights is not None and parts is not None:
        components = stored.components.as_dict()
        named: dict[str, Any] = dict(zip(components, parts, strict=True))
        message.components.CopyFrom(core_pb2.Components(**components))
        message.contributions.CopyFrom(core_pb2.Contributions(**named))
        message.weights.CopyFrom(weights_message(stored.weights))
        for part in parts:
            message.weighted_sum += part
    return message


def rescoring_message(run: RescoringRun) -> scoring.RescoreLeadsResponse:
    """How far a rescoring is."""
    counts = {tier.label: count for tier, count in run.tier_counts.items()}
    return scoring.RescoreLeadsResponse(
        run_id=run.run_id,
        state=core_pb2.RunState.Value(f"RUN_STATE_{run.state.name}"),
        fraction=run.fraction,
        total=run.total,
        scored=run.scored,
        failed=run.failed,
        tier_moves=[
            scoring.TierMove(
                from_tier=core_pb2.TIER_UNSPECIFIED if before is None else TIER_NUMBER[before],
                to_tier=TIER_NUMBER[after],
                count=count,
            )
            for (before, after), count in sorted(
                run.moves.items(), key=lambda move: (move[0][0] or -1, move[0][1])
            )
            if before is not after
        ],
        tier_counts=core_pb2.TierCounts(**counts),
        model=model_message(run.scored_by.info) if run.scored_by is not None else None,
        message=run.message,
    )


def tier_counts(scores: Iterable[LeadScore]) -> core_pb2.TierCounts:
    """How many leads ended in each tier."""
    counts = dict.fromkeys(Tier, 0)
    for score in scores:
        counts[score.tier] += 1
    return core_pb2.TierCounts(**{tier.label: count for tier, count in counts.items()})


def probability_message(
    value: ConversionProbability | None, model_version: str
) -> core_pb2.ConversionProbability | None:
    """The message of a conversion probability; None stays unset.

    Args:
        value: the probability.
        model_version: version of the model behind it.
    """
    if value is None:
        return None
    return core_pb2.ConversionProbability(
        probability=value.probability,
        low=value.low,
        high=value.high,
        target=_TARGET_NUMBER.get(value.target, core_pb2.CONVERSION_TARGET_CONVERTED),
        model_version=model_version,
        base_log_odds=value.base_log_odds,
        factors=[
            core_pb2.ProbabilityFactor(
                feature=factor.feature, log_odds=factor.log_odds, text=factor.text
            )
            for factor in value.factors
        ],
    )
