"""Content answers as messages."""

from __future__ import annotations

from collections.abc import Iterable

from cis_client.v1 import core_pb2
from cis_client.v1 import recommendation_service_pb2 as recommendation
from cis_server.domain.rates import SegmentRate
from cis_server.rpc.messages.values import VERDICT_NUMBER, model_message, rate_message
from cis_server.serving.answers import ContentAnswer, ContentRanking


def content_message(answer: ContentAnswer) -> recommendation.GetContentResponse:
    """What content converts and what does not."""
    length = answer.optimal_length
    return recommendation.GetContentResponse(
        pain_points=_ranking(answer.pain_points),
        ctas=_ranking(answer.ctas),
        angles=_ranking(answer.angles),
        subject_patterns=_ranking(answer.subject_patterns),
        optimal_length=recommendation.LengthAdvice(
            optimal=length.optimal,
            range_min=length.range_min,
            range_max=length.range_max,
            unit=length.unit,
            verdict=VERDICT_NUMBER[length.verdict],
            estimate=rate_message(length.estimate),
        ),
        personalization_lift=[
            recommendation.PersonalizationEffect(
                value=effect.value,
                present=rate_message(effect.present),
                absent=rate_message(effect.absent),
                lift=effect.lift,
                verdict=VERDICT_NUMBER[effect.verdict],
            )
            for effect in answer.personalization_lift
        ],
        template_ranking=_segments(answer.template_ranking),
        model=model_message(answer.model),
    )


def _ranking(ranking: ContentRanking) -> recommendation.ContentRanking:
    return recommendation.ContentRanking(
        effective=_segments(ranking.effective),
        ineffective=_segments(ranking.ineffective),
        undecided=_segments(ranking.undecided),
    )


def _segments(rates: Iterable[SegmentRate]) -> list[core_pb2.SegmentRate]:
    return [
        core_pb2.SegmentRate(
            value=rate.value,
            estimate=rate_message(rate.estimate),
            verdict=VERDICT_NUMBER[rate.verdict],
        )
        for rate in rates
    ]
