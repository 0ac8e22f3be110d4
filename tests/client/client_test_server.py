"""A small server for the tests of the client: it does as the client id of the request says.

Run as a program (``client_test_server.py PORT``) it serves on a port that several share, and says
``ready`` once it takes calls.
"""

# ruff: noqa: N802 - the contract names the methods
from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from cis_client.v1 import learning_service_pb2_grpc, scoring_service_pb2_grpc
from cis_client.v1.core_pb2 import LeadScore, ModelInfo
from cis_client.v1.learning_service_pb2 import (
    LearnProgress,
    LearnRequest,
    LearnResponse,
    LearnResult,
    SetWeightsRequest,
)
from cis_client.v1.scoring_service_pb2 import (
    BatchScoreLeadsRequest,
    BatchScoreLeadsResponse,
    ScoreFailure,
    ScoreLeadRequest,
    ScoreTableRequest,
    ScoreTableResponse,
)
from cis_server import errors
from cis_server.rpc.status import abort, internal, status_of, unimplemented

MESSAGE_BYTES = 16 * 1024 * 1024

ERRORS: dict[str, Callable[[], errors.CisError]] = {
    "invalid": lambda: errors.InvalidInput(
        "lead.employee_count", "is -1, below 0", ("lead.email", "has no @")
    ),
    "unknown": lambda: errors.NotFound("client", "nobody"),
    "too_few": lambda: errors.PreconditionFailed(
        "TOO_FEW_CONVERSIONS", "7 conversions, 20 needed", {"converted": 7, "needed": 20}
    ),
    "away": lambda: errors.StoreUnavailable("the database is away", 0.05),
    "shed": lambda: errors.Overloaded("too many calls", 0.05),
    "shed long": lambda: errors.Overloaded("too many calls", 60.0),
}


@dataclass
class Seen:
    """What reached the server."""

    calls: Counter[str] = field(default_factory=Counter)
    peers: Counter[str] = field(default_factory=Counter)
    metadata: list[dict[str, str]] = field(default_factory=list)
    batches: list[BatchScoreLeadsRequest] = field(default_factory=list)
    cancelled: Counter[str] = field(default_factory=Counter)
    release: threading.Event = field(default_factory=threading.Event)
    """Lets go the calls for clients that are called ``held``."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, client_id: str, context: grpc.ServicerContext) -> int:
        """Counts the call; gives how many there were for the client id, this one included."""
        with self.lock:
            self.calls[client_id] += 1
            self.peers[context.peer()] += 1
            self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
            return self.calls[client_id]


def misbehave(client_id: str, count: int, context: grpc.ServicerContext) -> None:
    """Ends the call as the client id says: ``KIND`` always, ``KIND:N`` the first N times."""
    kind, _, times = client_id.partition(":")
    if times and count > int(times):
        return
    if kind in ERRORS:
        abort(context, status_of(ERRORS[kind]()))
    elif kind == "fault":
        abort(context, internal("id-1"))
    elif kind == "running":
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason="RUNNING", metadata={"run_id": "run-1"}))
        abort(context, status_pb2.Status(code=6, message="under way", details=[detail]))
    elif kind == "absent":
        abort(context, unimplemented("ScoreLead"))
    elif kind == "bare":
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not yours")
    elif kind == "anonymous":
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
    elif kind == "slow":
        time.sleep(0.5)


class Scoring(scoring_service_pb2_grpc.ScoringServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def ScoreLead(self, request: ScoreLeadRequest, context: grpc.ServicerContext) -> LeadScore:
        misbehave(request.client_id, self.seen.note(request.client_id, context), context)
        self._hold(request.client_id, context)
        if request.lead.lead_id.startswith("bad"):
            abort(context, status_of(ERRORS["invalid"]()))
        return LeadScore(
            lead_id=request.lead.lead_id,
            score=len(request.lead.lead_id),
            model=ModelInfo(model_version=str(os.getpid())),
        )

    def BatchScoreLeads(
        self, request: BatchScoreLeadsRequest, context: grpc.ServicerContext
    ) -> BatchScoreLeadsResponse:
        self.seen.batches.append(request)
        misbehave(request.client_id, self.seen.note(request.client_id, context), context)
        self._hold(request.client_id, context)
        ids = [lead.lead_id for lead in request.leads]
        return BatchScoreLeadsResponse(
            scores=[
                LeadScore(lead_id=each, score=len(each))
                for each in ids
                if not each.startswith("bad")
            ],
            failures=[
                ScoreFailure(index=index, lead_id=each, code=3, message="not told in full")
                for index, each in enumerate(ids)
                if each.startswith("bad")
            ],
            model=ModelInfo(model_version=str(os.getpid())),
        )

    def _hold(self, client_id: str, context: grpc.ServicerContext) -> None:
        if client_id == "held":
            while context.is_active() and not self.seen.release.wait(0.005):
                pass
            if not context.is_active():
                self.seen.cancelled[client_id] += 1

    def ScoreTable(
        self, request_iterator: Iterator[ScoreTableRequest], context: grpc.ServicerContext
    ) -> Iterator[ScoreTableResponse]:
        for request in request_iterator:
            if request.client_id:
                misbehave(request.client_id, self.seen.note(request.client_id, context), context)
            yield ScoreTableResponse(arrow_ipc=request.arrow_ipc[::-1])
            if request.client_id == "enough":
                return


class Learning(learning_service_pb2_grpc.LearningServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def Learn(
        self, request: LearnRequest, context: grpc.ServicerContext
    ) -> Iterator[LearnResponse]:
        count = self.seen.note(request.client_id, context)
        if request.client_id != "breaks":
            misbehave(request.client_id, count, context)
        for step in range(3):
            yield LearnResponse(progress=LearnProgress(run_id="run-1", fraction=step / 3))
            if request.client_id == "breaks" and step == 1:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            if request.client_id == "endless":
                while context.is_active():
                    time.sleep(0.01)
        yield LearnResponse(result=LearnResult(run_id="run-1"))

    def SetWeights(self, request: SetWeightsRequest, context: grpc.ServicerContext) -> None:
        self.seen.note(request.client_id, context)
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


@dataclass
class Running:
    """A server that runs in this process."""

    port: int
    seen: Seen
    health: health.HealthServicer

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def running(
    port: int = 0,
    *,
    credentials: grpc.ServerCredentials | None = None,
    threads: int = 16,
    with_health: bool = True,
) -> Iterator[Running]:
    """Serves until the block is left."""
    server = grpc.server(
        ThreadPoolExecutor(threads),
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
        ],
    )
    seen = Seen()
    state = health.HealthServicer()
    state.set("", health_pb2.HealthCheckResponse.SERVING)
    state.set("cis.v1.ScoringService", health_pb2.HealthCheckResponse.NOT_SERVING)
    scoring_service_pb2_grpc.add_ScoringServiceServicer_to_server(Scoring(seen), server)
    learning_service_pb2_grpc.add_LearningServiceServicer_to_server(Learning(seen), server)
    if with_health:
        health_pb2_grpc.add_HealthServicer_to_server(state, server)
    address = f"127.0.0.1:{port}"
    if credentials is None:
        bound = server.add_insecure_port(address)
    else:
        bound = server.add_secure_port(address, credentials)
    server.start()
    try:
        yield Running(bound, seen, state)
    finally:
        server.stop(0).wait()


if __name__ == "__main__":
    with running(int(sys.argv[1])):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        threading.Event().wait()
