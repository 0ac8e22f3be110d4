"""Every RPC of the service, read from the contract itself, and how a call of each is treated.

Both clients take their methods from here by name; what differs between them is only how a call is
made, so that nothing is written twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from cis_client.v1 import (
    admin_service_pb2,
    analytics_service_pb2,
    capture_service_pb2,
    experiment_service_pb2,
    learning_service_pb2,
    pattern_service_pb2,
    recommendation_service_pb2,
    scoring_service_pb2,
)


class Timeout(Enum):
    """Which of the options is the deadline of a call that names none."""

    CALL = auto()
    BATCH = auto()
    STREAM = auto()


@dataclass(frozen=True)
class Rpc:
    """One RPC."""

    service: str
    """Full name of its service, e.g. ``cis.v1.ScoringService``."""
    name: str
    """Name in the service, e.g. ``ScoreLead``."""
    request: str
    """Full name of the request message."""
    response: str
    """Full name of the answer message."""
    request_streaming: bool
    """Whether requests are a stream."""
    response_streaming: bool
    """Whether answers are a stream."""
    timeout: Timeout
    """Deadline of a call that names none."""
    repeatable: bool
    """Whether a call whose fate is not known may be made again: it only reads, or doing it twice
    leaves the same state as doing it once."""

    @property
    def path(self) -> str:
        """Name on the wire."""
        return f"/{self.service}/{self.name}"

    @property
    def text(self) -> str:
        """What it takes and gives, in words."""
        takes, gives = (full.rpartition(".")[2] for full in (self.request, self.response))
        takes = f"stream of {takes}" if self.request_streaming else takes
        gives = f"stream of {gives}" if self.response_streaming else gives
        return f"`{self.service}.{self.name}`: takes a {takes}, gives a {gives}."


_FILES = (
    scoring_service_pb2,
    recommendation_service_pb2,
    pattern_service_pb2,
    learning_service_pb2,
    admin_service_pb2,
    capture_service_pb2,
    experiment_service_pb2,
    analytics_service_pb2,
)

_READS = re.compile(r"(Get|List|Check|Analyze|Score|BatchScore)[A-Z]")
"""Names of RPCs that only read. A score that is persisted twice is the same score."""

_SAFE_WRITES = frozenset(
    {
        # A second call follows the run that is under way.
        "Learn",
        "Backfill",
        "RescoreLeads",
        # The last state wins, and it is the same one.
        "UpsertClient",
        "UpsertCampaigns",
        "UpsertTemplates",
        "Suppress",
        "Unsuppress",
        "EraseLead",
        # Every item has its idempotency key.
        "UpsertLeads",
        "RecordActivities",
        "RecordEmailEvents",
        "RecordReplies",
        "RecordMeetings",
        "RecordDeals",
        "RecordOutcomes",
        "UpdateThread",
        "UpsertPoolPersons",
        "AssignPoolPersons",
        # Stable by keyed hash.
        "AssignVariant",
    }
)

_MANY_ITEMS = re.compile(
    r"BatchScore|List|CheckHealth|Upsert(?!Client)|Record|UpdateThread|AssignPool"
    r"|Suppress|Unsuppress|EraseLead|Get\w+Stats"
)
"""Names of RPCs whose work grows with the number of items they carry or count."""


def snake_case(name: str) -> str:
    """The Python name of an RPC: ``ScoreLead`` is ``score_lead``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _rpc(service: str, method: MethodDescriptor) -> Rpc:
    if method.client_streaming or method.server_streaming:
        timeout = Timeout.STREAM
    elif _MANY_ITEMS.match(method.name):
        timeout = Timeout.BATCH
    else:
        timeout = Timeout.CALL
    # A stream of requests is used up by the first attempt.
    repeatable = not method.client_streaming and (
        method.name in _SAFE_WRITES or _READS.match(method.name) is not None
    )
    return Rpc(
        service=service,
        name=method.name,
        request=method.input_type.full_name,
        response=method.output_type.full_name,
        request_streaming=method.client_streaming,
        response_streaming=method.server_streaming,
        timeout=timeout,
        repeatable=repeatable,
    )


RPCS: Mapping[str, Rpc] = {
    snake_case(method.name): _rpc(service.full_name, method)
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""Every RPC by its Python name."""

_BY_REQUEST = {rpc.request: rpc for rpc in RPCS.values()}


def rpc_of(request: type[Message], response: type[Message]) -> Rpc:
    """The RPC that takes ``request`` and gives ``response``; every RPC has a request of its own.

    Raises:
        TypeError: there is none.
    """
    rpc = _BY_REQUEST.get(request.DESCRIPTOR.full_name)
    if rpc is None or rpc.response != response.DESCRIPTOR.full_name:
        raise TypeError(f"no RPC takes {request.__name__} and gives {response.__name__}")
    return rpc


HEALTH = Rpc(
    service="grpc.health.v1.Health",
    name="Check",
    # The two messages of the health protocol hold a string and an enumeration in field 1. On the
    # wire they are these wrappers, and the generated ones would need one more package.
    request="google.protobuf.StringValue",
    response="google.protobuf.Int32Value",
    request_streaming=False,
    response_streaming=False,
    timeout=Timeout.CALL,
    repeatable=False,
)
"""The health protocol of gRPC."""
