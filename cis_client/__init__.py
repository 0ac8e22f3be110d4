"""Client of the Conversion Intelligence System.

`Client` blocks, `AsyncClient` is for asyncio; both take the request messages of ``cis_client.v1``
and raise the errors of ``cis_client.errors``.
"""

from cis_client._async_calls import AsyncResponseStream
from cis_client._calls import ResponseStream
from cis_client._transport import ServingStatus
from cis_client.async_client import AsyncClient
from cis_client.client import Client
from cis_client.errors import (
    AlreadyExists,
    Cancelled,
    CisError,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Refused,
    ResourceExhausted,
    Temporary,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from cis_client.options import ClientOptions, TlsOptions

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "AsyncResponseStream",
    "Cancelled",
    "CisError",
    "Client",
    "ClientOptions",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "Refused",
    "ResourceExhausted",
    "ResponseStream",
    "ServingStatus",
    "Temporary",
    "TlsOptions",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]
