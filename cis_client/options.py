"""What can be set on a client."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

RETRY_ATTEMPTS_MAX = 5
"""gRPC itself makes no more attempts than this, whatever its service config asks for."""


def new_request_id() -> str:
    """A fresh request id: 32 hexadecimal digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class TlsOptions:
    """How the connection is encrypted. All certificates and keys are PEM."""

    root_certificates: bytes | None = None
    """Authorities that may sign the server's certificate; None means those that gRPC brings."""
    client_certificate: bytes | None = None
    """This client's certificate chain, for servers that ask for one; needs ``client_key``."""
    client_key: bytes | None = field(default=None, repr=False)
    """Private key of ``client_certificate``."""
    server_name: str | None = None
    """Name to expect in the server's certificate; None means the host of the target."""

    def __post_init__(self) -> None:
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key are given together or not at all")


@dataclass(frozen=True)
class ClientOptions:
    """Settings of `Client` and `AsyncClient`. Nothing is read from the environment.

    Raises:
        ValueError: a setting is out of its range, or a token would travel unencrypted to another
            machine.
    """

    target: str = "127.0.0.1:50051"
    """Where the server is: ``host:port``, ``dns:///name:port`` or ``unix:/path``. Where a name has
    several addresses, calls are spread over all of them."""

    timeout_seconds: float = 5.0
    """Deadline of a call about one lead or one answer, retries included. ``math.inf``: none, and
    the server's maximum counts."""
    batch_timeout_seconds: float = 30.0
    """Deadline of a call with many items (batches, captures, lists, statistics)."""
    stream_timeout_seconds: float = 3600.0
    """Deadline of a stream (``learn``, ``backfill``, ``rescore_leads``, ``score_table``)."""

    retry_attempts: int = RETRY_ATTEMPTS_MAX
    """Attempts per call, the first included; 1 means no retries. Range: 1..5. Only calls that may
    safely be repeated are."""
    retry_backoff_seconds: float = 0.05
    """Mean pause before the second attempt; each further pause is twice as long."""
    retry_backoff_max_seconds: float = 1.0
    """Longest pause between attempts that the server has not asked for itself."""
    wait_for_ready: bool = True
    """Whether calls wait for a connection up to their deadline, so that they outlive a restart of
    the server. Off, a server that cannot be reached is reported at once."""

    connections: int = 16
    """Connections of this client's own; a call takes the one with the fewest calls under way. A
    connection stays with the server process that the kernel gave it, by chance: about four for each
    process of the server are needed to reach nearly all of them."""
    coalesce: bool = False
    """Whether calls of ``score_lead`` that are made at the same moment travel as one
    ``BatchScoreLeads``. A call that finds none under way is sent at once; while several are, later
    ones wait for one to come back, or for about a millisecond at most. Each keeps its own deadline,
    answer and error. Only calls that differ in nothing but the lead share a batch (an
    ``as_of_time`` that is taken from the clock for every call keeps them apart), and one with a
    ``request_id`` of its own travels alone, because the server logs one id for a batch."""
    max_message_bytes: int = 16 * 1024 * 1024
    """Largest message sent or received; the server's own limit has the same default."""

    tls: TlsOptions | None = None
    """Encryption; None means plaintext."""
    token: str | Callable[[], str] | None = field(default=None, repr=False)
    """Bearer token sent with every call, or a function that gives it. The function is called for
    every call and must return at once: keep the token until it expires."""
    allow_plaintext_token: bool = False
    """Whether ``token`` may be sent without TLS to another machine, where the network encrypts."""

    user_agent: str = ""
    """Name of the calling program, put before this package's own in the ``user-agent``."""
    request_id: Callable[[], str] = new_request_id
    """Makes the ``x-request-id`` of calls that are given none. The server logs it, errors carry
    it."""

    def __post_init__(self) -> None:
        if not self.target:
            raise ValueError("target is empty")
        for name in (
            "timeout_seconds",
            "batch_timeout_seconds",
            "stream_timeout_seconds",
            "retry_backoff_seconds",
            "retry_backoff_max_seconds",
        ):
            value = getattr(self, name)
            if math.isnan(value) or value <= 0:
                raise ValueError(f"{name} is {value}, and must be above 0")
        if not 1 <= self.retry_attempts <= RETRY_ATTEMPTS_MAX:
            raise ValueError(
                f"retry_attempts is {self.retry_attempts}, and must be in 1..{RETRY_ATTEMPTS_MAX}"
            )
        if self.connections < 1:
            raise ValueError(f"connections is {self.connections}, and must be at least 1")
        if self.max_message_bytes < 1024:
            raise ValueError(
                f"max_message_bytes is {self.max_message_bytes}, and must be at least 1024"
            )
        plaintext = self.tls is None and not _stays_here(self.target)
        if self.token is not None and plaintext and not self.allow_plaintext_token:
            raise ValueError(
                f"a token for {self.target} would travel unencrypted: give tls, or set "
                "allow_plaintext_token where the network encrypts"
            )


def _stays_here(target: str) -> bool:
    """Whether traffic to ``target`` never leaves this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    address = target.rpartition("/")[2].removeprefix("dns:").removeprefix("ipv4:")
    address = address.removeprefix("ipv6:")
    host = address.rpartition(":")[0] or address
    return host.strip("[]") in {"localhost", "::1", "127.0.0.1"}
