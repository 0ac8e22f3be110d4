"""Serialised `cis.v1.LeadScore`s, in the basic view, of leads that were scored as columns.

The bytes are those of `basic_score_message`, put together by `score_wire_kernel` from what differs
between leads (id, score, tier, probability) and pieces that are serialised once a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cis_client.v1 import core_pb2
from cis_server.domain.scores import ConversionProbability
from cis_server.domain.vocabulary import Tier
from cis_server.rpc.messages.batch_scores import SCORES
from cis_server.rpc.messages.scores import probability_message
from cis_server.rpc.messages.values import TIER_NUMBER, model_message
from cis_server.scoring.column_gates import GATES
from cis_server.scoring.column_scorer import ScoredColumns
from cis_server.scoring.columns import Integers
from cis_server.scoring.distinct_texts import TextColumn
from cis_server.scoring.score_wire_kernel import LEFT_OUT, ROOM, WHOLE, write_scores
from cis_server.serving.scoring_answers import ScoringContext

TIER_NUMBERS: Final = np.array([TIER_NUMBER[tier] for tier in sorted(Tier)], dtype=np.int64)
GATE_PIECES: Final = tuple(
    b""
    if gate is None
    else core_pb2.LeadScore(suppressed=True, suppression_reason=gate.value).SerializeToString()
    for gate in GATES
)


def basic_scores(
    lead_ids: TextColumn,
    scored: ScoredColumns,
    groups: Integers,
    contexts: Sequence[ScoringContext],
    others: Mapping[int, bytes | None],
) -> bytes:
    """The field `scores` of the answer to n leads, in their order.

    Args:
        lead_ids: of the n leads.
        scored: their scores.
        groups: shape (n,): place in `contexts` of what each was scored with.
        contexts: in a rollout, several; a lead tells its own model where it is not that of the
            first.
        others: leads that were not scored here: the whole serialised `LeadScore`, or None for one
            that has none.
    """
    pieces = list(GATE_PIECES)
    for context in contexts:
        pieces += _ends(context, tells_model=context.model_info is not contexts[0].model_info)
    score, last = scored.score, len(GATE_PIECES) + 2 * groups
    middle = scored.gates
    if others:
        score, middle = score.copy(), middle.copy()
        for row, message in others.items():
            score[row] = LEFT_OUT if message is None else WHOLE
            middle[row] = len(pieces)
            pieces.append(message or b"")
    ends = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    sizes = np.diff(ends)
    room = int(
        (lead_ids.stop - lead_ids.start).sum()
        + (ROOM + sizes[middle] + sizes[last] + sizes[last + 1]).sum()
    )
    out = np.empty(room, dtype=np.uint8)
    written = write_scores(
        SCORES,
        lead_ids.data,
        lead_ids.start,
        lead_ids.stop,
        score,
        TIER_NUMBERS[scored.tier],
        middle,
        last,
        chance_bytes(scored),
        np.frombuffer(b"".join(pieces), dtype=np.uint8),
        ends,
        out,
    )
    return out[:written].tobytes()


def _ends(context: ScoringContext, *, tells_model: bool) -> tuple[bytes, bytes]:
    """What ends the message of the probability in a context, and what ends the score."""
    probability = b""
    if context.model is not None:
        known = ConversionProbability(0.0, 0.0, 0.0, context.model.model.target)
        message = probability_message(known, context.model_version)
        probability = b"" if message is None else message.SerializeToString()
    if not tells_model:
        return probability, b""
    told = core_pb2.LeadScore(model=model_message(context.model_info))
    return probability, told.SerializeToString()


def chance_bytes(scored: ScoredColumns) -> NDArray[np.uint8]:
    """Probability, low and high of each lead as bytes, shape (n, 24)."""
    n = len(scored.score)
    if scored.probabilities is None:
        return np.zeros((n, 24), dtype=np.uint8)
    doubles = np.ascontiguousarray(scored.probabilities, dtype="<f8")
    return doubles.view(np.uint8).reshape(n, 24)
