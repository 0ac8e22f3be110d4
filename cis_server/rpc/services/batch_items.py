"""One lead of a batch by itself: its score, or why it has none."""

from __future__ import annotations

from google.rpc import code_pb2

from cis_client.v1 import core_pb2
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.errors import CisError, InvalidInput
from cis_server.rpc.messages.batch_scores import score_messages
from cis_server.rpc.messages.leads import lead_from_message
from cis_server.rpc.rules import check_item
from cis_server.rpc.status import status_of
from cis_server.serving.scoring_answers import ScoringContext, scored_batch


def item_score(
    index: int, lead: core_pb2.Lead, context: ScoringContext, *, full: bool
) -> core_pb2.LeadScore | scoring.ScoreFailure:
    """Check and score one lead, by the reference of every faster way.

    Args:
        index: its place in the request.
        lead: as the caller sent it.
        context: what the leads of the request are scored with.
        full: whether the score is told in full.
    """
    path = f"leads[{index}]"
    try:
        check_item(lead, path)
        known = lead_from_message(lead, path)
    except InvalidInput as error:
        return failure(index, lead.lead_id, error)
    scores = scored_batch([known], context, with_reasons=full).scores
    return score_messages(scores, context, full=full)[0][0]


def failure(index: int, lead_id: str, error: CisError) -> scoring.ScoreFailure:
    """Why a lead failed.

    Args:
        index: its place in the request.
        lead_id: as the request names it.
        error: what was raised for it.
    """
    status = status_of(error)
    return scoring.ScoreFailure(
        index=index, lead_id=lead_id, code=code_pb2.Code.ValueType(status.code), message=str(error)
    )
