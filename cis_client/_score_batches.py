"""Calls of ``ScoreLead`` as one ``BatchScoreLeads`` on the wire, and its answer as theirs.

A request is serialised once, by its caller, and its lead put into the batch as it is; a score is
cut out of the answer as it is and parsed by its caller. So each caller has a message of its own,
which keeps no other alive, and a batch costs little more than the copying of bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring

Shared = tuple[int, bytes, bytes]
"""What calls have in common that may travel together: the tag of the field that names the lead, and
the serialised fields before and behind it."""

_CLIENT_ID: Final = 1 << 3 | 2
_TARGETS: Final = (2 << 3 | 2, 3 << 3 | 2)
"""Tags of ``lead`` and ``lead_id``, which are those of ``leads`` and ``lead_ids`` of a batch: all
fields of ``ScoreLeadRequest`` have the numbers and the meaning they have in
``BatchScoreLeadsRequest`` (a test compares)."""
_FULL_VIEW: Final = scoring.BatchScoreLeadsRequest(
    view=scoring.LEAD_SCORE_VIEW_FULL
).SerializeToString()


def parts_of(request: scoring.ScoreLeadRequest) -> tuple[Shared, bytes] | None:
    """With which calls this one may travel, and its lead, a serialised field of a batch.

    None for a request that names no lead at all.
    """
    raw = request.SerializeToString()  # fields come in the order of their numbers
    size = len(raw)
    start = _behind(raw, 0) if size and raw[0] == _CLIENT_ID else 0
    if start >= size or raw[start] not in _TARGETS:
        return None
    end = _behind(raw, start)
    return (raw[start], raw[:start], raw[end:]), raw[start:end]


def _behind(raw: bytes, start: int) -> int:
    """Where the field of text or bytes ends that begins there with a tag of one byte."""
    length, at, shift = raw[start + 1], start + 2, 7
    while length >> shift:  # seven bits a byte, the lowest first; each but the last is marked
        length += (raw[at] - 1) << shift
        shift += 7
        at += 1
    return at + length


def batch_request(shared: Shared, leads: Sequence[bytes]) -> bytes:
    """The serialised request that asks for all of them in full."""
    _, before, behind = shared
    return b"".join((before, *leads, behind, _FULL_VIEW))


def batch_scores(response: bytes, count: int) -> list[bytes | None]:
    """The scores of a serialised answer, each a serialised `LeadScore` as of ``ScoreLead``.

    What the batch says once for all (``weights``, ``model``) is put behind each: a message that
    comes twice on the wire is merged.

    Args:
        response: of ``BatchScoreLeads``.
        count: leads that were asked for.

    Returns:
        One for each lead in the order of the request; None for those that failed, and for all of
        them when the answer does not account for each.
    """
    answer = _RawResponse.FromString(response)
    failed = {scoring.ScoreFailure.FromString(failure).index for failure in answer.failures}
    if len(answer.scores) + len(failed) != count:
        return [None] * count
    once = _RawScore(
        weights=answer.weights if answer.HasField("weights") else None,
        model=answer.model if answer.HasField("model") else None,
    ).SerializeToString()
    if answer.HasField("rollout"):
        scores = [score + _once(score, once, answer.rollout) for score in answer.scores]
    else:
        scores = [score + once for score in answer.scores]
    if not failed:
        return scores
    following = iter(scores)
    return [None if place in failed else next(following) for place in range(count)]


def _once(score: bytes, once: bytes, rollout: bytes) -> bytes:
    """What to put behind a score of a batch during a rollout of weights.

    Scores that the new weights told carry their own model.
    """
    raw = _RawScore.FromString(score)
    if not raw.HasField("model"):
        return once
    if raw.HasField("weights"):
        return b""
    weights = scoring.ScoreRollout.FromString(rollout).weights
    return core.LeadScore(weights=weights).SerializeToString()


def _raw(message: type[Message]) -> Any:
    """The message with its messages left as bytes, which is the same on the wire.

    Made of the contract itself, so that it cannot say anything else.
    """
    name = message.DESCRIPTOR.name
    file = descriptor_pb2.FileDescriptorProto(
        name=f"cis_client/raw/{name}.proto", package="cis_client.raw", syntax="proto3"
    )
    raw = file.message_type.add()
    message.DESCRIPTOR.CopyToProto(raw)
    kinds = descriptor_pb2.FieldDescriptorProto
    for field in raw.field:
        if field.type == kinds.TYPE_MESSAGE:
            field.type = kinds.TYPE_BYTES
            field.ClearField("type_name")
            if field.label == kinds.LABEL_OPTIONAL:
                # Whether a message is set shall show in its bytes too.
                field.proto3_optional = True
                field.oneof_index = len(raw.oneof_decl)
                raw.oneof_decl.add(name=f"_{field.name}")
        elif field.type == kinds.TYPE_ENUM:
            field.type = kinds.TYPE_INT32
            field.ClearField("type_name")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"cis_client.raw.{name}"))


_RawResponse: Final = _raw(scoring.BatchScoreLeadsResponse)
_RawScore: Final = _raw(core.LeadScore)
