"""Small batches in the full view: lead by lead, without a message for each score."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from cis_client.v1 import core_pb2
from cis_client.v1 import scoring_service_pb2 as scoring
from cis_server.domain.vocabulary import Tier
from cis_server.rpc.messages.batch_scores import SCORES, around_scores
from cis_server.rpc.messages.lead_scores import PreparedScoring
from cis_server.rpc.messages.values import TIER_OF_NUMBER
from cis_server.rpc.messages.wire import delimited, varint
from cis_server.rpc.services.batch_items import item_score

LEADS_AT_ONCE: Final = 32
"""Leads written before other threads get the interpreter lock."""


def response_in_full(leads: Iterable[core_pb2.Lead], prepared: PreparedScoring) -> bytes:
    """The answer to a batch in the full view, serialised; a lead that is wrong fails alone.

    For few leads; of many, columns make less work (`column_batches`).

    Args:
        leads: as the caller sent them.
        prepared: what they are scored with.
    """
    context = prepared.context
    pieces: list[bytes] = []
    failures: list[scoring.ScoreFailure] = []
    tiers = dict.fromkeys(Tier, 0)
    total = told = 0
    for place, lead in enumerate(leads):
        writer = prepared.only or prepared.writer(lead.lead_id)
        written = writer.write(lead)
        if written is None:
            alone = item_score(place, lead, context, full=True)
            if isinstance(alone, scoring.ScoreFailure):
                failures.append(alone)
                continue
            written = alone.SerializeToString(), alone.score, TIER_OF_NUMBER[alone.tier]
            told += alone.HasField("model")
        elif writer.context.model_info is not context.model_info:
            written = written[0] + writer.model, *written[1:]
            told += 1
        message, score, tier = written
        size = len(message)
        pieces += (_HEADS[size] if size < len(_HEADS) else _TAG + varint(size), message)
        tiers[tier] += 1
        total += score
        if place % LEADS_AT_ONCE == LEADS_AT_ONCE - 1:
            time.sleep(0)  # calls about one lead get their turn
    return b"".join(pieces) + around_scores(context, failures, tiers, total, told)


_TAG: Final = delimited(SCORES, b"")[:-1]
_HEADS: Final = tuple(_TAG + varint(size) for size in range(2048))
"""What stands before a score in the answer, by the size of the score."""
