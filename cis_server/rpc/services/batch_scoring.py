"""`BatchScoreLeads`: many leads in, their scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import grpc
from google.rpc import code_pb2

from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.domain.scores import LeadScore
from cis_server.errors import CisError, InvalidInput, NotFound
from cis_server.rpc.deadlines import remaining_seconds
from cis_server.rpc.messages.batch_scores import batch_response
from cis_server.rpc.messages.leads import lead_from_message
from cis_server.rpc.rules import check_item
from cis_server.rpc.status import status_of
from cis_server.serving.advisor import Advisor
from cis_server.serving.scoring_answers import ScoringContext, scored_batch


class ContextOf(Protocol):
    """Gathers what a request's leads are scored with."""

    def __call__(
        self, request: scoring.BatchScoreLeadsRequest, stored_campaign: str | None, /
    ) -> ScoringContext:
        """The context, with the profile of `stored_campaign` where the request names none."""
        ...


class Persist(Protocol):
    """Stores scores with their leads."""

    def __call__(
        self,
        client_id: str,
        scores: Sequence[LeadScore],
        scoring_context: ScoringContext,
        context: grpc.ServicerContext,
        /,
    ) -> frozenset[str]:
        """Ids of the leads that were written."""
        ...


class BatchScoring:
    """Scores batches.

    Args:
        advisor: reads stored leads.
        context_of: gathers what a request's leads are scored with.
        persist: stores scores.
        store_seconds: longest wait for the database within a call.
    """

    def __init__(
        self, advisor: Advisor, context_of: ContextOf, persist: Persist, *, store_seconds: float
    ) -> None:
        self._advisor, self._context_of, self._persist = advisor, context_of, persist
        self._store_seconds = store_seconds

    def scored(
        self, request: scoring.BatchScoreLeadsRequest, context: grpc.ServicerContext
    ) -> scoring.BatchScoreLeadsResponse:
        """The answer to a checked request; a lead that is wrong fails alone."""
        scoring_context = self._context_of(request, None)
        failures: list[scoring.ScoreFailure] = []
        if request.leads:
            leads = _leads(request, failures)
        else:
            leads = self._stored(request, context, failures)
        full = request.view == scoring.LEAD_SCORE_VIEW_FULL
        scores = self._scored(request, leads, scoring_context, with_reasons=full)
        if request.persist:
            scores = self._kept(request, scores, scoring_context, context, failures)
        return batch_response([score for _, score in scores], failures, scoring_context, full=full)

    def _stored(
        self,
        request: scoring.BatchScoreLeadsRequest,
        context: grpc.ServicerContext,
        failures: list[scoring.ScoreFailure],
    ) -> list[_Placed]:
        ids = list(request.lead_ids)
        left = remaining_seconds(context, self._store_seconds)
        stored = self._advisor.stored_leads(request.client_id, ids, left)
        leads = []
        for index, lead_id in enumerate(ids):
            if lead_id in stored:
                found = stored[lead_id]
                leads.append(_Placed(index, found.lead, found.campaign_id))
            else:
                failures.append(_failure(index, lead_id, NotFound("lead", lead_id)))
        return leads

    def _scored(
        self,
        request: scoring.BatchScoreLeadsRequest,
        leads: Sequence[_Placed],
        scoring_context: ScoringContext,
        *,
        with_reasons: bool,
    ) -> list[tuple[int, LeadScore]]:
        """Scores with their places; a stored lead is scored for its own campaign, as alone."""
        by_campaign: dict[str | None, list[_Placed]] = {}
        for placed in leads:
            own = None if request.HasField("campaign_id") else placed.campaign_id
            by_campaign.setdefault(own, []).append(placed)
        scores: list[tuple[int, LeadScore]] = []
        for campaign_id, group in by_campaign.items():
            context = (
                scoring_context
                if campaign_id is None
                # Only the profile differs: weights and models of one answer must be the same.
                else replace(scoring_context, icp=self._context_of(request, campaign_id).icp)
            )
            batch = scored_batch([p.lead for p in group], context, with_reasons=with_reasons)
            scores += zip((placed.place for placed in group), batch.scores, strict=True)
        return sorted(scores, key=lambda score: score[0])

    def _kept(
        self,
        request: scoring.BatchScoreLeadsRequest,
        scores: list[tuple[int, LeadScore]],
        scoring_context: ScoringContext,
        context: grpc.ServicerContext,
        failures: list[scoring.ScoreFailure],
    ) -> list[tuple[int, LeadScore]]:
        """The scores that are stored now; leads that are not stored become failures."""
        # Of a lead that stands in the batch twice the last one is kept, as if they came singly.
        named = {score.lead_id: score for _, score in scores if score.lead_id}
        written = self._persist(request.client_id, list(named.values()), scoring_context, context)
        kept = []
        for index, score in scores:
            if score.lead_id in written:
                kept.append((index, score))
            else:
                missing = (
                    NotFound("lead", score.lead_id)
                    if score.lead_id
                    else InvalidInput(f"leads[{index}].lead_id", "is required with persist")
                )
                failures.append(_failure(index, score.lead_id, missing))
        return kept


class _Placed(NamedTuple):
    """A lead of a batch."""

    place: int
    """Its index in the request."""
    lead: Lead
    campaign_id: str | None = None
    """Of a stored lead."""


def _leads(
    request: scoring.BatchScoreLeadsRequest, failures: list[scoring.ScoreFailure]
) -> list[_Placed]:
    leads = []
    for index, message in enumerate(request.leads):
        path = f"leads[{index}]"
        try:
            check_item(message, path)
            leads.append(_Placed(index, lead_from_message(message, path)))
        except InvalidInput as error:
            failures.append(_failure(index, message.lead_id, error))
    return leads


def _failure(index: int, lead_id: str, error: CisError) -> scoring.ScoreFailure:
    status = status_of(error)
    return scoring.ScoreFailure(
        index=index, lead_id=lead_id, code=code_pb2.Code.ValueType(status.code), message=str(error)
    )
