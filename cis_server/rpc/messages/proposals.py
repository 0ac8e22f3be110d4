"""Proposals to people as messages."""

from __future__ import annotations

from collections.abc import Sequence

from cis_client.v1 import core_pb2
from cis_client.v1 import learning_service_pb2 as learning
from cis_server.domain.model_info import ModelInfo
from cis_server.domain.recommendations import (
    EvidenceBasis,
    ListedRecommendation,
    RecommendationKind,
    RecommendationState,
    StoredRecommendation,
)
from cis_server.domain.vocabulary import Source
from cis_server.rpc.messages.experiments import plan_message
from cis_server.rpc.messages.values import model_message, number_of, timestamp, word_of

STATE = word_of(learning.RecommendationState, RecommendationState)
_STATE_NUMBER = number_of(learning.RecommendationState, RecommendationState)
_KIND_NUMBER = number_of(learning.RecommendationKind, RecommendationKind)
_BASIS_NUMBER = number_of(learning.EvidenceBasis, EvidenceBasis)


def proposals_page(listed: Sequence[ListedRecommendation]) -> learning.GetRecommendationsResponse:
    """A page of proposals; those that cannot be read are named beside the others."""
    readable = [entry.stored for entry in listed if entry.stored is not None]
    return learning.GetRecommendationsResponse(
        recommendations=[proposal_message(stored) for stored in readable],
        model=proposals_model(readable),
        unreadable_recommendation_ids=[
            entry.recommendation_id for entry in listed if entry.stored is None
        ],
    )


def proposal_message(stored: StoredRecommendation) -> learning.Recommendation:
    """The message of a proposal."""
    found = stored.recommendation
    evidence = found.evidence
    return learning.Recommendation(
        recommendation_id=found.recommendation_id,
        client_id=stored.client_id,
        kind=_KIND_NUMBER[found.kind],
        title=found.title,
        text=found.text,
        evidence=found.evidence_text,
        basis=_BASIS_NUMBER[found.basis],
        expected_extra_conversions=found.expected,
        low=found.low,
        high=found.high,
        state=_STATE_NUMBER[stored.state],
        created_time=timestamp(stored.created_at),
        approver=stored.decided_by,
        decided_time=timestamp(stored.decided_at),
        reason=stored.decision_reason,
        element=found.element,
        power_plan=plan_message(found.power_plan) if found.power_plan is not None else None,
        run_id=stored.run_id,
        finding=learning.RecommendationFinding(
            pattern=evidence.pattern.value,
            key=evidence.key,
            value=evidence.value,
            unit=evidence.unit,
            sample=evidence.sample,
            converted=evidence.converted,
            rate=evidence.rate,
            low=evidence.low,
            high=evidence.high,
            other_rate=evidence.other_rate,
            other_sample=evidence.other_sample,
            q_value=evidence.q_value,
        ),
    )


def proposals_model(shown: list[StoredRecommendation]) -> core_pb2.ModelInfo:
    """What told the proposals of a page: the run of the newest one."""
    if not shown:
        return model_message(ModelInfo())
    newest = max(shown, key=lambda stored: (stored.created_at, stored.run_id))
    return model_message(
        ModelInfo(
            model_version=newest.run_id,
            source=Source.LEARNED,
            computed_at=newest.created_at,
            sample_size=max(
                one.recommendation.evidence.sample + one.recommendation.evidence.other_sample
                for one in shown
            ),
        )
    )
