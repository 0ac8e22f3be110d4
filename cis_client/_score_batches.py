"""Calls of ``ScoreLead`` as one ``BatchScoreLeads`` on the wire, and its answer as theirs.

A lead is serialised once, by its caller, and put into the batch as it is; a score is cut out of the
answer as it is and parsed by its caller. So each caller has a message of its own, which keeps no
other alive, and a batch costs little more than the copying of bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring


class Shared(NamedTuple):
    """What calls have in common that may travel together; nothing else stands in a request."""

    stored: bool
    """Whether leads are named (``lead_id``) or given by their attributes."""
    client_id: str
    campaign_id: str | None
    icp: bytes | None
    """Serialised, as the next one."""
    as_of_time: bytes | None
    persist: bool


def shared_of(request: scoring.ScoreLeadRequest) -> Shared | None:
    """With which calls this one may travel; None for one that names no lead at all."""
    target = request.WhichOneof("target")
    if target is None:
        return None
    given = request.HasField
    return Shared(
        target == "lead_id",
        request.client_id,
        request.campaign_id if given("campaign_id") else None,
        request.icp.SerializeToString() if given("icp") else None,
        request.as_of_time.SerializeToString() if given("as_of_time") else None,
        request.persist,
    )


def lead_of(request: scoring.ScoreLeadRequest) -> bytes | str:
    """The lead as it travels: serialised, or the id of a stored one."""
    return request.lead_id if request.HasField("lead_id") else request.lead.SerializeToString()


def batch_request(shared: Shared, leads: Sequence[bytes | str]) -> bytes:
    """The serialised request that asks for all of them in full."""
    request: bytes = _RawRequest(
        **({"lead_ids": leads} if shared.stored else {"leads": leads}),
        client_id=shared.client_id,
        campaign_id=shared.campaign_id,
        icp=shared.icp,
        as_of_time=shared.as_of_time,
        persist=shared.persist,
        view=scoring.LEAD_SCORE_VIEW_FULL,
    ).SerializeToString()
    return request


class RawScore(NamedTuple):
    """One score of a batch, still to be parsed."""

    score: bytes
    once: bytes
    """A serialised `LeadScore` with what the batch says once for all: ``weights``, ``model``."""

    def parsed(self) -> core.LeadScore:
        """The score as ``ScoreLead`` gives it."""
        score = core.LeadScore.FromString(self.score)
        # Weights being rolled out tell of themselves in the scores that they told.
        if not score.HasField("model"):
            score.MergeFromString(self.once)
        return score


def batch_scores(response: bytes, count: int) -> list[RawScore | None]:
    """The scores of a serialised answer.

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
    once = _RawScore(weights=answer.weights, model=answer.model).SerializeToString()
    scores = iter(answer.scores)
    return [None if place in failed else RawScore(next(scores), once) for place in range(count)]


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
            # Presence of a message is that of an optional field.
            field.ClearField("type_name")
        elif field.type == kinds.TYPE_ENUM:
            field.type = kinds.TYPE_INT32
            field.ClearField("type_name")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"cis_client.raw.{name}"))


_RawRequest: Final = _raw(scoring.BatchScoreLeadsRequest)
_RawResponse: Final = _raw(scoring.BatchScoreLeadsResponse)
_RawScore: Final = _raw(core.LeadScore)
