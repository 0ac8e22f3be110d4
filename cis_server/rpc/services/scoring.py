"""`cis.v1.ScoringService`: leads in, scores out."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import grpc

from cis_client.v1 import scoring_service_pb2 as scoring
from cis_client.v1 import scoring_service_pb2_grpc as scoring_grpc
from cis_client.v1.core_pb2 import LeadScore as LeadScoreMessage
from cis_server.domain.rescoring import RescoreOptions
from cis_server.domain.scores import LeadScore, StampedScore
from cis_server.domain.top_leads import LeadOrder, RankFilter, RankKey, StoredScore
from cis_server.errors import DeadlinePassed, InvalidInput, NotFound
from cis_server.rpc.deadlines import remaining_seconds
from cis_server.rpc.messages.lead_scores import PreparedScoring
from cis_server.rpc.messages.lead_tables import LeadTables
from cis_server.rpc.messages.leads import icp_from_message, lead_from_message
from cis_server.rpc.messages.scores import (
    rescoring_message,
    score_message,
    top_lead_message,
)
from cis_server.rpc.messages.values import TIER_OF_NUMBER, instant, model_message
from cis_server.rpc.pages import page_key, page_token
from cis_server.rpc.rules import check_request
from cis_server.rpc.services.batch_scoring import BatchCall, BatchScoring
from cis_server.rpc.services.score_table import TableScoring
from cis_server.serving.advisor import Advisor
from cis_server.serving.held_contexts import HeldContexts
from cis_server.serving.memo import MemoBudget
from cis_server.serving.rescorings import Rescorings
from cis_server.serving.scoring_answers import ScoringContext, scored_lead
from cis_server.serving.top_leads import TopLeadReader, top_leads_page
from cis_server.version import code_version

FOLLOW_SECONDS: Final = 3600.0
"""Longest that one call follows a rescoring; the work itself may take longer."""
DEFAULT_PAGE: Final = 100

Request = scoring.ScoreLeadRequest | scoring.BatchScoreLeadsRequest


class ScoreWriter(Protocol):
    """Stores scores with their leads."""

    def write_scores(
        self, client_id: str, scores: Sequence[StampedScore], timeout_seconds: float
    ) -> frozenset[str]:
        """Write all in one transaction, committed on return; whatever versions made them.

        Returns:
            Ids of the leads that exist and were written.

        Raises:
            StoreUnavailable: not written in time.
        """
        ...


class ScoringService(scoring_grpc.ScoringServiceServicer):
    """Scores leads from memory; the database is asked only for `lead_id` and `persist`.

    Args:
        advisor: the answers.
        writer: stores scores.
        clock: gives the present instant, aware.
        top_leads: reads stored scores in rank order.
        rescorings: requests and follows rescorings.
        store_seconds: longest wait for the database within a call.
    """

    def __init__(
        self,
        advisor: Advisor,
        writer: ScoreWriter,
        clock: Callable[[], dt.datetime],
        *,
        top_leads: TopLeadReader,
        rescorings: Rescorings,
        store_seconds: float,
    ) -> None:
        self._top_leads, self._rescorings = top_leads, rescorings
        self._advisor, self._writer, self._clock = advisor, writer, clock
        self._store_seconds = store_seconds
        tables = LeadTables(MemoBudget())
        self._contexts = HeldContexts(advisor, lambda context: PreparedScoring(context, tables))
        self._table_scoring = TableScoring(advisor)
        self._batches = BatchScoring(
            advisor,
            self._prepared,
            self._scoring_context,
            self._persist,
            store_seconds=store_seconds,
        )

    def ScoreLead(  # noqa: N802
        self, request: scoring.ScoreLeadRequest, context: grpc.ServicerContext
    ) -> Any:
        """One lead, with reasons: a `LeadScore`, serialised already when it is told from memory."""
        if request.HasField("lead") and not request.persist:
            prepared = self._prepared(request)
            writer = prepared.only or prepared.writer(request.lead.lead_id)
            written = writer.write(request.lead)
            if written is not None:
                return written[0] + writer.model
        check_request(request)
        return self._score_lead(request, context)

    ScoreLead.checks_requests = True  # type: ignore[attr-defined]  # read by `CallInterceptor`

    def _prepared(self, request: Request) -> PreparedScoring:
        """What the leads of such a request are scored with.

        Raises:
            InvalidInput: the request breaks a rule; what is held was of requests that broke none.
        """
        client_id = request.client_id
        campaign_id = request.campaign_id if request.HasField("campaign_id") else None
        if request.HasField("icp") or request.HasField("as_of_time"):
            check_request(request)
            as_of = instant(request, "as_of_time", "as_of_time")
            return self._contexts.of(
                client_id,
                campaign_id,
                icp_from_message(request.icp) if request.HasField("icp") else None,
                as_of.date() if as_of is not None else None,
            )
        prepared = self._contexts.find(client_id, campaign_id)
        if prepared is None:
            check_request(request)
            prepared = self._contexts.of(client_id, campaign_id)
        return prepared

    def _score_lead(
        self, request: scoring.ScoreLeadRequest, context: grpc.ServicerContext
    ) -> LeadScoreMessage:
        """The reference: everything by itself and nothing kept; stored leads, and `persist`."""
        if request.HasField("lead"):
            lead = lead_from_message(request.lead, "lead")
            scoring_context = self._scoring_context(request)
        else:
            client_id, lead_id = request.client_id, request.lead_id
            left = remaining_seconds(context, self._store_seconds)
            stored = self._advisor.stored_leads(client_id, (lead_id,), left).get(lead_id)
            if stored is None:
                raise NotFound("lead", lead_id)
            lead = stored.lead
            scoring_context = self._scoring_context(request, stored.campaign_id)
        scoring_context = scoring_context.of(lead.lead_id)
        score = scored_lead(lead, scoring_context)
        if request.persist:
            if not lead.lead_id:
                raise InvalidInput("lead.lead_id", "is required with persist")
            if not self._persist(request.client_id, [score], scoring_context, context):
                raise NotFound("lead", lead.lead_id)
        return score_message(score, scoring_context.model_info, scoring_context.model_version)

    def BatchScoreLeads(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        """Many leads; one that is wrong fails alone. Takes a `BatchCall`."""
        return self._batches.answer(request, context)

    # Read by `CallInterceptor`.
    BatchScoreLeads.reads_requests = BatchCall  # type: ignore[attr-defined]
    BatchScoreLeads.checks_requests = True  # type: ignore[attr-defined]

    def ListTopLeads(  # noqa: N802
        self, request: scoring.ListTopLeadsRequest, context: grpc.ServicerContext
    ) -> scoring.ListTopLeadsResponse:
        """Stored active leads in rank order, without those suppressed by now."""
        wanted = _rank_filter(request)
        scoring_context = self._advisor.scoring_context(request.client_id)

        def read(limit: int, after: RankKey | None) -> tuple[Sequence[StoredScore], RankKey | None]:
            left = remaining_seconds(context, self._store_seconds)
            return self._top_leads.top_leads(request.client_id, wanted, limit, after, left)

        leads, following = top_leads_page(
            read,
            scoring_context,
            request.page_size or DEFAULT_PAGE,
            _after(request.page_token, wanted),
        )
        return scoring.ListTopLeadsResponse(
            scores=[top_lead_message(lead) for lead in leads],
            next_page_token="" if following is None else _token_of(wanted, following),
            model=model_message(scoring_context.model_info),
        )

    def ScoreTable(  # noqa: N802
        self,
        request_iterator: Iterator[scoring.ScoreTableRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[scoring.ScoreTableResponse]:
        """A table of any length as Arrow IPC, its scores likewise."""
        return self._table_scoring.answers(request_iterator, context)

    def RescoreLeads(  # noqa: N802
        self, request: scoring.RescoreLeadsRequest, context: grpc.ServicerContext
    ) -> Iterator[scoring.RescoreLeadsResponse]:
        """Progress each time the run has moved; it goes on when the caller leaves."""
        self._advisor.require_client(request.client_id)
        until = time.monotonic() + FOLLOW_SECONDS
        options = RescoreOptions(
            campaign_id=request.campaign_id if request.HasField("campaign_id") else None,
            as_of=instant(request, "as_of_time", "as_of_time"),
            reason="requested",
        )
        run_id = self._rescorings.request(request.client_id, options)
        ended = False
        for run in self._rescorings.follow(
            run_id, lambda: context.is_active() and time.monotonic() < until
        ):
            ended = run.ended
            yield rescoring_message(run)
        if not ended and context.is_active():
            raise DeadlinePassed("the rescoring goes on; RescoreLeads attaches to it again")

    def _scoring_context(
        self, request: Request, stored_campaign: str | None = None
    ) -> ScoringContext:
        return self._advisor.scoring_context(
            request.client_id,
            campaign_id=request.campaign_id if request.HasField("campaign_id") else stored_campaign,
            icp=icp_from_message(request.icp) if request.HasField("icp") else None,
            as_of=instant(request, "as_of_time", "as_of_time"),
        )

    def _persist(
        self,
        client_id: str,
        scores: Sequence[LeadScore],
        scoring_context: ScoringContext,
        context: grpc.ServicerContext,
    ) -> frozenset[str]:
        # During a rollout leads have different versions, and one write all the same.
        rollout, now = scoring_context.rollout, self._clock()
        stamps: dict[tuple[bool, bool], dict[str, Any]] = {}
        stamped = []
        for score in scores:
            parts = (False, False) if rollout is None else rollout.parts(score.lead_id)
            stamp = stamps.get(parts)
            if stamp is None:
                own = (
                    scoring_context if rollout is None else rollout.applied(scoring_context, parts)
                )
                stamp = stamps[parts] = _stamp(own, now)
            stamped.append(StampedScore(score=score, **stamp))
        left = remaining_seconds(context, self._store_seconds)
        return self._writer.write_scores(client_id, stamped, left)


def _stamp(made_by: ScoringContext, now: dt.datetime) -> dict[str, Any]:
    """What is stored of how scores were made: a `StampedScore` but for the score."""
    weights_version = made_by.model_info.model_version
    return {
        "scored_at": now,
        "as_of": dt.datetime.combine(made_by.as_of, dt.time(), dt.UTC),
        "scorer_version": f"{code_version()}+{weights_version or 'defaults'}",
        "weights_version": weights_version,
        "probability_version": made_by.model_version,
    }


def _rank_filter(request: scoring.ListTopLeadsRequest) -> RankFilter:
    tiers = [TIER_OF_NUMBER.get(number) for number in request.tiers]
    if None in tiers:
        place = tiers.index(None)
        raise InvalidInput(f"tiers[{place}]", "is not a tier")
    by_probability = request.order_by == scoring.LEAD_ORDER_CONVERSION_PROBABILITY
    return RankFilter(
        order=LeadOrder.CONVERSION_PROBABILITY if by_probability else LeadOrder.SCORE,
        tiers=frozenset(tier for tier in tiers if tier is not None),
        campaign_id=request.campaign_id if request.HasField("campaign_id") else None,
    )


def _token_of(wanted: RankFilter, key: RankKey) -> str:
    """A token names its list too: it goes on with the same order and filters only."""
    return page_token(_list_of(wanted), repr(key.probability), str(key.score), key.lead_id)


def _list_of(wanted: RankFilter) -> str:
    tiers = ",".join(str(int(tier)) for tier in sorted(wanted.tiers))
    return f"{wanted.order}/{tiers}/{wanted.campaign_id or ''}"


def _after(token: str, wanted: RankFilter) -> RankKey | None:
    key = page_key(token, 4)
    if key is None:
        return None
    if key[0] != _list_of(wanted):
        raise InvalidInput("page_token", "is of a list with another order or filter")
    try:
        return RankKey(float(key[1]), int(key[2]), key[3])
    except ValueError:
        raise InvalidInput("page_token", "is not a token that this list gave") from None
