"""Batches scored as columns, from the bytes of the request to the bytes of the answer.

The reference is `batch_scoring`: parse, check, convert, score and build messages, lead by lead.
Here all leads go through each step together; those that the columns cannot hold for certain to be
valid are handed to the reference one by one. A test compares the answers.

Importing this module loads the kernels that walk messages, or compiles them where no process has
before, which takes several seconds.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Final

import numpy as np

from cis_client.v1 import core_pb2
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.suppression import IdentifierKind, suppression_key
from cis_server.domain.vocabulary import Tier
from cis_server.errors import ConfigurationError
from cis_server.rpc.messages.batch_scores import around_scores, batch_response
from cis_server.rpc.messages.column_scores import basic_scores
from cis_server.rpc.messages.full_column_scores import full_scores
from cis_server.rpc.messages.lead_batches import (
    LeadBatch,
    ReadLeads,
    batch_request,
    lead_columns,
)
from cis_server.rpc.messages.lead_scores import PreparedScoring
from cis_server.rpc.messages.lead_tables import LeadTables
from cis_server.rpc.messages.leads import lead_from_message
from cis_server.rpc.services.batch_items import item_score
from cis_server.scoring import compiled
from cis_server.scoring.column_features import attributes_of
from cis_server.scoring.column_scorer import ScoredColumns, score_columns
from cis_server.scoring.columns import (
    ContactShapes,
    Integers,
    LeadColumns,
    TextTables,
    contact_shapes,
)
from cis_server.scoring.suppression import SuppressionIndex
from cis_server.serving.memo import MemoBudget
from cis_server.serving.scoring_answers import ScoringContext, scored_batch


def checked_column_batches() -> ColumnBatches:
    """A `ColumnBatches` that was held against the reference.

    Machine code read from a stale or foreign cache would give wrong scores without any error.

    Raises:
        ConfigurationError: they disagree.
    """
    compiled.load()
    context = replace(
        ScoringContext.plain(_SAMPLE_DAY),
        competitor_domains=("rival.example",),
        suppression=SuppressionIndex.build(
            [suppression_key(IdentifierKind.DOMAIN, "listed.example", b"sample")], b"sample"
        ),
    )
    batches = ColumnBatches()
    prepared = PreparedScoring(context, LeadTables(MemoBudget()))
    leads = [lead_from_message(lead, "lead") for lead in _SAMPLE]
    scores = scored_batch(leads, context, with_reasons=True).scores
    for view in (scoring.LEAD_SCORE_VIEW_BASIC, scoring.LEAD_SCORE_VIEW_FULL):
        request = scoring.BatchScoreLeadsRequest(client_id="sample", leads=_SAMPLE, view=view)
        batch = batches.read(request.SerializeToString())
        full = view == scoring.LEAD_SCORE_VIEW_FULL
        told = batch_response(scores, (), context, full=full)
        if batch is None or told != scoring.BatchScoreLeadsResponse.FromString(
            batches.answer(batch, prepared)
        ):
            raise ConfigurationError(
                "the compiled kernels of batches disagree with their reference; "
                "clear the numba cache"
            )
    return batches


_SAMPLE_DAY: Final = dt.date(2026, 1, 1)
_SAMPLE: Final = (
    core_pb2.Lead(
        lead_id="sample-1",
        email="dana@northwind.example",
        email_status=core_pb2.EMAIL_STATUS_VERIFIED,
        phone="+61 400 000 000",
        linkedin_url="https://www.linkedin.com/in/dana",
        title="CEO",
        industry="Software",
        employee_count=40,
        country="Australia",
        employment_start_date="2025-11-01",
        latest_funding_date="2024-06-30",
        is_hiring=True,
        timezone="Australia/Sydney",
        revenue=1e6,
        attributes={"source": "fair"},
    ),
    core_pb2.Lead(lead_id="sample-2", email="a@eu.listed.example", seniority="Director"),
    core_pb2.Lead(domain="www.rival.example", title="Geschäftsführer", bounce_count=1),
    core_pb2.Lead(lead_id="sample-4", status=core_pb2.LEAD_STATUS_UNSUBSCRIBED, timezone="UTC"),
)


class ColumnBatches:
    """Scores batches from memory."""

    def __init__(self) -> None:
        self._tables = TextTables()

    def read(self, body: bytes) -> LeadBatch | None:
        """The request with its leads unparsed; None for one that is to be scored otherwise.

        Raises:
            DecodeError: the bytes are no message.
        """
        return batch_request(body)

    def leads(self, batch: LeadBatch, attributes: tuple[str, ...] = ()) -> ReadLeads:
        """See `lead_columns`."""
        return lead_columns(batch, self._tables, attributes)

    def answer(self, batch: LeadBatch, prepared: PreparedScoring) -> bytes:
        """The answer to a checked request, serialised.

        Args:
            batch: as read.
            prepared: what its leads are scored with.

        Raises:
            DecodeError: the bytes of a lead are no message.
        """
        context, full = prepared.context, batch.head.view == scoring.LEAD_SCORE_VIEW_FULL
        contexts, keys = _contexts(context)
        leads = self.leads(batch, keys)
        columns, regular = leads.columns, leads.regular
        groups = _groups(columns, context)
        shapes = contact_shapes(columns)
        scored = self._scored(columns, shapes, contexts, groups)
        others, failures = _others(batch, context, np.flatnonzero(~regular), full=full)
        whole = {row: message and message.SerializeToString() for row, message in others.items()}
        if full:
            writers = [prepared.of_parts(parts) for parts in _PARTS[: len(contexts)]]
            tables = prepared.tables
            messages = full_scores(
                leads, shapes, scored, groups, writers, tables, self._tables, whole
            )
        else:
            messages = basic_scores(columns.lead_id, scored, groups, contexts, whole)
        tiers = np.bincount(scored.tier[regular], minlength=len(Tier)).tolist()
        total = int(scored.score[regular].sum())
        told = int((groups[regular] % 2 == 1).sum())
        for message in others.values():
            if message is not None:
                tiers[message.tier - core_pb2.TIER_DEAD] += 1
                total += message.score
                told += message.HasField("model")
        counts = dict(zip(sorted(Tier), tiers, strict=True))
        return messages + around_scores(context, failures, counts, total, told)

    def _scored(
        self,
        columns: LeadColumns,
        shapes: ContactShapes,
        contexts: tuple[ScoringContext, ...],
        groups: Integers,
    ) -> ScoredColumns:
        """Scores in the order of the leads, each by the version that serves it."""
        if len(contexts) == 1:
            return self._by(columns, contexts[0], shapes)
        whole: ScoredColumns | None = None
        for group in np.unique(groups).tolist():
            rows = np.flatnonzero(groups == group)
            part = self._by(columns.take(rows), contexts[group])
            whole = part.placed(rows, len(columns), whole)
        return self._by(columns, contexts[0]) if whole is None else whole

    def _by(
        self, columns: LeadColumns, context: ScoringContext, shapes: ContactShapes | None = None
    ) -> ScoredColumns:
        return score_columns(
            columns,
            self._tables,
            as_of=context.as_of,
            icp=context.icp,
            weights=context.weights,
            competitor_domains=context.competitor_domains,
            suppression=context.suppression,
            model=context.model,
            shapes=shapes,
        )


_PARTS: Final = ((False, False), (True, False), (False, True), (True, True))
"""What a lead is in the share of in a rollout: of the weights, of the model."""


def _contexts(context: ScoringContext) -> tuple[tuple[ScoringContext, ...], tuple[str, ...]]:
    """What leads may be scored with, and the attributes that the models of all of it read.

    In a rollout four, in the order of `_PARTS`.
    """
    rollout = context.rollout
    if rollout is None:
        return (context,), attributes_of(context.model)
    contexts = tuple(rollout.applied(context, parts) for parts in _PARTS)
    keys = {key for each in contexts for key in attributes_of(each.model)}
    return contexts, tuple(sorted(keys))


def _groups(columns: LeadColumns, context: ScoringContext) -> Integers:
    """Place in `_contexts` of what each lead is scored with."""
    rollout = context.rollout
    if rollout is None:
        return np.zeros(len(columns), dtype=np.int64)
    ids = columns.lead_id
    parts = (rollout.parts(ids.text(row)) for row in range(len(columns)))
    return np.array([weights + 2 * model for weights, model in parts], dtype=np.int64)


def _others(
    batch: LeadBatch, context: ScoringContext, rows: Integers, *, full: bool
) -> tuple[dict[int, core_pb2.LeadScore | None], list[scoring.ScoreFailure]]:
    """Leads that are not regular, one by one: the message of each, None for one that fails."""
    messages: dict[int, core_pb2.LeadScore | None] = {}
    failures: list[scoring.ScoreFailure] = []
    for row in rows.tolist():
        told = item_score(row, batch.lead(row), context, full=full)
        if isinstance(told, core_pb2.LeadScore):
            messages[row] = told
        else:
            messages[row] = None
            failures.append(told)
    return messages, failures
