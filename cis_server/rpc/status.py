"""Which status code and which details an error becomes; the only such table."""

from __future__ import annotations

from typing import NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from cis_server.errors import (
    CisError,
    DeadlinePassed,
    InvalidInput,
    NotFound,
    Overloaded,
    PreconditionFailed,
    StoreUnavailable,
)

DOMAIN = "cis"
"""`ErrorInfo.domain` of every error this service raises."""


def status_of(error: CisError) -> status_pb2.Status:
    """The `google.rpc.Status` a caller sees for ``error``.

    Returns:
        INVALID_ARGUMENT with `BadRequest`, NOT_FOUND with `ResourceInfo`, FAILED_PRECONDITION
        with `ErrorInfo`, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE with `RetryInfo`;
        anything else INTERNAL without details.
    """
    match error:
        case InvalidInput():
            violations = [
                error_details_pb2.BadRequest.FieldViolation(field=path, description=text)
                for path, text in error.violations
            ]
            return _status(
                code_pb2.INVALID_ARGUMENT,
                str(error),
                error_details_pb2.BadRequest(field_violations=violations),
            )
        case NotFound():
            info = error_details_pb2.ResourceInfo(
                resource_type=error.kind, resource_name=error.name, description=str(error)
            )
            return _status(code_pb2.NOT_FOUND, str(error), info)
        case PreconditionFailed():
            detail = error_details_pb2.ErrorInfo(
                reason=error.reason, domain=DOMAIN, metadata=error.figures
            )
            return _status(code_pb2.FAILED_PRECONDITION, error.message, detail)
        case DeadlinePassed():
            return _status(code_pb2.DEADLINE_EXCEEDED, str(error))
        case Overloaded():
            return _status(
                code_pb2.RESOURCE_EXHAUSTED, str(error), _retry(error.retry_after_seconds)
            )
        case StoreUnavailable():
            return _status(code_pb2.UNAVAILABLE, str(error), _retry(error.retry_after_seconds))
        case _:
            return _status(code_pb2.INTERNAL, "internal error")


def internal(error_id: str) -> status_pb2.Status:
    """INTERNAL with the id under which the fault was logged, and nothing of the fault itself."""
    return _status(code_pb2.INTERNAL, f"internal error {error_id}")


def unimplemented(method: str) -> status_pb2.Status:
    """UNIMPLEMENTED for an RPC of the contract that this release does not serve."""
    return _status(code_pb2.UNIMPLEMENTED, f"{method} is not served by this release")


def abort(context: grpc.ServicerContext, status: status_pb2.Status) -> NoReturn:
    """End the call with ``status``; raises, as `ServicerContext.abort` does."""
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError  # abort_with_status always raises


def code_name(status: status_pb2.Status) -> str:
    """Upper-case name of the status code, for logs."""
    return str(code_pb2.Code.Name(status.code))


def _retry(seconds: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _status(code: int, message: str, *details: object) -> status_pb2.Status:
    packed = []
    for detail in details:
        holder = any_pb2.Any()
        holder.Pack(detail)  # type: ignore[arg-type]
        packed.append(holder)
    return status_pb2.Status(code=code, message=message, details=packed)
