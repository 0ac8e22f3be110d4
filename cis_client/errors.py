"""The exceptions of the client package.

CisError                  root: code, message, request_id
├── Refused               the same request will be refused again
│   ├── InvalidArgument       a value is wrong; `violations` name the fields
│   ├── NotFound              an unknown client, lead, run, pattern or model
│   ├── AlreadyExists         the same thing is there already; `reason`, `metadata`
│   ├── FailedPrecondition    the state does not allow it; `reason`, `metadata` with the counts
│   ├── Unauthenticated       no token, or one that is not valid
│   ├── PermissionDenied      the token does not allow it
│   └── Unimplemented         this release of the server does not serve the call
├── Temporary             the same request may succeed later
│   ├── Unavailable           the server, or the database it needs, is away
│   ├── ResourceExhausted     the server sheds load, or a message is too large
│   └── DeadlineExceeded      no answer in time; whether the work was done is not known
├── Cancelled             the caller gave the call up
└── Internal              a fault of the server; its log knows the id in the message

Every one of them is raised from the `grpc.RpcError` it was made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
"""Trailer that carries the `google.rpc.Status` (gRPC's richer error model)."""


@dataclass(frozen=True)
class FieldViolation:
    """One wrong field of a request."""

    field: str
    """Path of the field, e.g. ``leads[3].employee_count``."""
    description: str
    """What is wrong with it."""


class CisError(Exception):
    """Root of every error a call can end in.

    Attributes:
        code: the gRPC status.
        message: what the server, or gRPC itself, says.
        request_id: the ``x-request-id`` of the call, to be looked up in the server's log.
    """

    code: grpc.StatusCode
    message: str
    request_id: str

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        request_id: str = "",
    ) -> None:
        self.code, self.message, self.request_id = code, message, request_id
        super().__init__(f"{code.name}: {message} (request {request_id})")

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders in engines that use process pools.
        return _restored, (type(self), self.args, self.__dict__)

    def _take(self, details: _Details) -> None:
        """Keeps what of the details this error knows."""


class Refused(CisError):  # noqa: N818 - names say what happened, as in the tree above
    """The same request will be refused again."""


class InvalidArgument(Refused):
    """A value of the request is wrong.

    Attributes:
        violations: the wrong fields; empty when the server named none.
    """

    violations: tuple[FieldViolation, ...] = ()

    def _take(self, details: _Details) -> None:
        if details.bad_request is not None:
            self.violations = tuple(
                FieldViolation(each.field, each.description)
                for each in details.bad_request.field_violations
            )


class NotFound(Refused):
    """Something the request names does not exist.

    Attributes:
        resource_type: ``client``, ``lead``, ``run``, ``pattern`` or ``model``; empty when not told.
        resource_name: the id that was asked for; empty when not told.
    """

    resource_type: str = ""
    resource_name: str = ""

    def _take(self, details: _Details) -> None:
        if details.resource is not None:
            self.resource_type = details.resource.resource_type
            self.resource_name = details.resource.resource_name


class _Reasoned(Refused):
    """A refusal with a reason that programs can read.

    Attributes:
        reason: upper-snake-case code, e.g. ``TOO_FEW_CONVERSIONS``; empty when not told.
        metadata: the counts or ids behind it.
    """

    reason: str = ""
    metadata: Mapping[str, str] = {}

    def _take(self, details: _Details) -> None:
        if details.info is not None:
            self.reason = details.info.reason
            self.metadata = dict(details.info.metadata)


class AlreadyExists(_Reasoned):
    """The same thing is there already, or the same work is under way (`metadata` has its id)."""


class FailedPrecondition(_Reasoned):
    """The request is sound but the state does not allow it."""


class Unauthenticated(Refused):
    """The call carried no token, or one that is not valid."""


class PermissionDenied(Refused):
    """The token does not allow the call."""


class Unimplemented(Refused):
    """This release of the server does not serve the call."""


class Temporary(CisError):  # noqa: N818
    """The same request may succeed later.

    Attributes:
        retry_after_seconds: when to try again; None when the server did not say.
    """

    retry_after_seconds: float | None = None

    def _take(self, details: _Details) -> None:
        if details.retry is not None:
            delay = details.retry.retry_delay
            self.retry_after_seconds = delay.seconds + delay.nanos / 1e9


class Unavailable(Temporary):
    """The server, or the database it needs for this call, is away."""


class ResourceExhausted(Temporary):
    """The server sheds load (then ``retry_after_seconds`` is set), or a message is too large."""


class DeadlineExceeded(Temporary):
    """No answer came in time. Whether the server did the work is not known."""


class Cancelled(CisError):  # noqa: N818
    """The caller gave the call up."""


class Internal(CisError):  # noqa: N818
    """A fault of the server, or a status this service never means to send."""


def error_of(failure: grpc.RpcError, request_id: str) -> CisError:
    """The typed error for a failed call.

    Args:
        failure: the error of a call, of either API; both have the methods of `grpc.Call`.
        request_id: the ``x-request-id`` the call was made with.
    """
    call = cast(_FailedCall, failure)
    code = call.code()
    kind = _KINDS.get(code, Internal)
    error = kind(call.details() or "no details", code=code, request_id=request_id)
    error._take(_Details.of(call))
    return error


_KINDS: dict[grpc.StatusCode, type[CisError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
}


class _FailedCall(Protocol):
    """What the errors of `grpc` and of `grpc.aio` have in common."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


@dataclass(frozen=True)
class _Details:
    """The `google.rpc` details of a status; None for those it does not carry."""

    bad_request: error_details_pb2.BadRequest | None = None
    resource: error_details_pb2.ResourceInfo | None = None
    info: error_details_pb2.ErrorInfo | None = None
    retry: error_details_pb2.RetryInfo | None = None

    _TYPES: ClassVar[dict[str, type[Any]]] = {
        "bad_request": error_details_pb2.BadRequest,
        "resource": error_details_pb2.ResourceInfo,
        "info": error_details_pb2.ErrorInfo,
        "retry": error_details_pb2.RetryInfo,
    }

    @classmethod
    def of(cls, call: _FailedCall) -> _Details:
        """Reads the trailer by hand: `rpc_status.from_call` raises where a proxy has rewritten the
        status text, and an error must never be lost over its own details."""
        found: dict[str, Any] = {}
        for key, value in call.trailing_metadata() or ():
            if key != _DETAILS_KEY or not isinstance(value, bytes):
                continue
            try:
                status = status_pb2.Status.FromString(value)
                for packed in status.details:
                    for name, kind in cls._TYPES.items():
                        if packed.Is(kind.DESCRIPTOR):
                            found[name] = kind.FromString(packed.value)
            except DecodeError:
                continue
        return cls(**found)


def _restored(kind: type[CisError], args: tuple[Any, ...], state: dict[str, Any]) -> CisError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error
