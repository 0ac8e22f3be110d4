"""Asks a server for its health, as an orchestrator's probe does."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def health_of(target: str, timeout_seconds: float) -> str:
    """``SERVING``, ``NOT_SERVING``, or the name of the status code when nobody answers.

    Args:
        target: ``host:port``.
        timeout_seconds: longest wait.
    """
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.RpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
