"""`BatchScoreLeads`: many leads in, their scores out."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import grpc
import structlog
from google.protobuf.message import DecodeError

from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.lead import Lead
from cis_server.domain.scores import LeadScore
from cis_server.errors import InvalidInput, NotFound
from cis_server.residency import hidden
from cis_server.rpc.deadlines import remaining_seconds
from cis_server.rpc.messages.batch_scores import batch_response
from cis_server.rpc.messages.lead_scores import PreparedScoring
from cis_server.rpc.messages.leads import lead_from_message
from cis_server.rpc.rules import check_item, check_request
from cis_server.rpc.services.batch_items import failure
from cis_server.rpc.services.full_batches import response_in_full
from cis_server.serving.advisor import Advisor
from cis_server.serving.scoring_answers import ScoringContext, scored_batch

if TYPE_CHECKING:
    from cis_server.rpc.services.column_batches import ColumnBatches


_FEWEST: Final = 3
_FEWEST_IN_FULL: Final = 32
"""Leads from which on columns are faster; below, what they cost a batch is more than they save."""


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


class BatchCall:
    """A request as it came, to be read by the thread that answers it.

    Attributes:
        body: the serialised `cis.v1.BatchScoreLeadsRequest`.
        client_id: the client it is about; empty until it was read.
    """

    __slots__ = ("body", "client_id")

    def __init__(self, body: bytes) -> None:
        self.body, self.client_id = body, ""


class BatchScoring:
    """Scores batches.

    Args:
        advisor: reads stored leads.
        prepared_of: finds what the given leads of a checked request are scored with.
        context_of: gathers what a request's leads are scored with.
        persist: stores scores.
        store_seconds: longest wait for the database within a call.
    """

    def __init__(
        self,
        advisor: Advisor,
        prepared_of: Callable[[scoring.BatchScoreLeadsRequest], PreparedScoring],
        context_of: ContextOf,
        persist: Persist,
        *,
        store_seconds: float,
    ) -> None:
        self._advisor, self._context_of, self._persist = advisor, context_of, persist
        self._prepared_of = prepared_of
        self._store_seconds = store_seconds
        self._columns = _Columns()
        # A process has one core: batches computed at once would only keep calls about one lead
        # waiting for the interpreter lock behind all of them.
        self._turn = threading.Lock()

    def answer(
        self, request: BatchCall, context: grpc.ServicerContext
    ) -> bytes | scoring.BatchScoreLeadsResponse:
        """The answer to a request; a lead that is wrong fails alone.

        Raises:
            InvalidInput: the request breaks a rule.
            NotFound: there is no such client.
        """
        try:
            columns = self._columns.loaded()
            batch = columns.read(request.body) if columns is not None else None
            full = batch is not None and batch.head.view == scoring.LEAD_SCORE_VIEW_FULL
            fewest = _FEWEST_IN_FULL if full else _FEWEST
            if columns is not None and batch is not None and len(batch) >= fewest:
                request.client_id = batch.head.client_id
                check_request(batch.head)
                prepared = self._prepared_of(batch.head)
                with self._turn:
                    return columns.answer(batch, prepared)
            message = scoring.BatchScoreLeadsRequest.FromString(request.body)
        except DecodeError:
            # As grpc says it where it parses requests itself.
            context.abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
        request.client_id = message.client_id
        check_request(message)
        if message.leads and not message.persist and message.view == scoring.LEAD_SCORE_VIEW_FULL:
            with self._turn:
                return self.in_full(message)
        return self.scored(message, context)

    def in_full(self, request: scoring.BatchScoreLeadsRequest) -> bytes:
        """The answer to a checked request in the full view that needs no database, serialised."""
        return response_in_full(request.leads, self._prepared_of(request))

    def scored(
        self, request: scoring.BatchScoreLeadsRequest, context: grpc.ServicerContext
    ) -> scoring.BatchScoreLeadsResponse:
        """The answer to a checked request, lead by lead: the reference of every faster way."""
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
                failures.append(failure(index, lead_id, NotFound("lead", lead_id)))
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
                failures.append(failure(index, score.lead_id, missing))
        return kept


class _Columns:
    """The scorer of columns, once it can be used.

    Loading its kernels takes a moment, and where no process has compiled them before longer than a
    caller waits: that is done aside from the first batch on, and until then batches are scored lead
    by lead.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loading: threading.Thread | None = None
        self._batches: ColumnBatches | None = None

    def loaded(self) -> ColumnBatches | None:
        """The scorer; None when it is not there yet."""
        if self._batches is None and self._loading is None:
            with self._lock:
                if self._loading is None:
                    self._loading = threading.Thread(target=self._load, name=LOADING, daemon=True)
                    self._loading.start()
        return self._batches

    def _load(self) -> None:
        if _COLUMN_BATCHES not in sys.modules:
            # Compiling holds the interpreter lock for seconds: another process does it, and what is
            # imported here then comes from the disk cache.
            subprocess.run(
                ["nice", "-n", "10", sys.executable, "-c", _COMPILING],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            # Numba looks for scipy's linear algebra, which no kernel of scoring uses.
            with hidden("scipy"):
                module = importlib.import_module(_COLUMN_BATCHES)
            self._batches = module.checked_column_batches()
        except Exception as error:  # scoring goes on without
            structlog.get_logger("cis.rpc").error("column_kernels_off", exc_info=error)


LOADING: Final = "column-kernels"
"""Name of the thread that loads the scorer of columns."""
_COLUMN_BATCHES: Final = "cis_server.rpc.services.column_batches"
_COMPILING: Final = f"import {_COLUMN_BATCHES} as batches; batches.checked_column_batches()"


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
            failures.append(failure(index, message.lead_id, error))
    return leads
