"""How connections are made and calls are treated, the same for both clients."""

from __future__ import annotations

import importlib.metadata
import json
import math
import random
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import Int32Value

from cis_client._methods import HEALTH, RPCS, Rpc, Timeout
from cis_client.errors import (
    DeadlineExceeded,
    ResourceExhausted,
    Temporary,
    Unavailable,
    Unimplemented,
    error_of,
)
from cis_client.options import ClientOptions, TlsOptions


class ServingStatus(IntEnum):
    """What the health service says, numbered as in `grpc.health.v1`."""

    UNKNOWN = 0
    """Not known."""
    SERVING = 1
    """Takes calls."""
    NOT_SERVING = 2
    """Starting, draining or broken."""
    SERVICE_UNKNOWN = 3
    """There is no such service."""


def channel_arguments(options: ClientOptions) -> list[tuple[str, Any]]:
    """Arguments of every channel of a client."""
    agent = f"cis-client/{importlib.metadata.version('cis')}"
    arguments: list[tuple[str, Any]] = [
        # Without this, channels of one process to one target share one connection.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        # A request that does not fit in this buffer is never retried; the default is 256 kB.
        ("grpc.per_rpc_retry_buffer_size", 2 * options.max_message_bytes),
        ("grpc.service_config", service_config(options)),
        # The defaults (1 s up to 2 min) would let a restarted server wait for its clients.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.primary_user_agent", f"{options.user_agent} {agent}".strip()),
    ]
    if options.tls is not None and options.tls.server_name is not None:
        arguments.append(("grpc.ssl_target_name_override", options.tls.server_name))
    return arguments


def service_config(options: ClientOptions) -> str:
    """The gRPC service config: balancing, waiting and retries.

    A call is repeated when it ends UNAVAILABLE before any answer arrived (a killed process, a reset
    connection) and repeating is safe. What never left this process, or was refused by a process
    that is going away, gRPC repeats by itself, for every RPC.
    """
    policy = {
        "maxAttempts": options.retry_attempts,
        "initialBackoff": f"{options.retry_backoff_seconds:.3f}s",
        "maxBackoff": f"{options.retry_backoff_max_seconds:.3f}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    repeatable: dict[str, Any] = {
        "name": [
            {"service": rpc.service, "method": rpc.name} for rpc in RPCS.values() if rpc.repeatable
        ],
        "waitForReady": options.wait_for_ready,
    }
    if options.retry_attempts > 1:
        repeatable["retryPolicy"] = policy
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [
                repeatable,
                {"name": [{"service": HEALTH.service}], "waitForReady": False},
                {"name": [{}], "waitForReady": options.wait_for_ready},
            ],
        }
    )


def channel_credentials(tls: TlsOptions) -> grpc.ChannelCredentials:
    """The gRPC form of ``tls``."""
    return grpc.ssl_channel_credentials(
        root_certificates=tls.root_certificates,
        private_key=tls.client_key,
        certificate_chain=tls.client_certificate,
    )


class Connections:
    """Which connection the next call takes: one with the fewest calls under way, those in turn.

    The kernel deals connections out among the processes of a server at random, so that some get
    more of them than others. Taking turns alone would load those more; this way a process that is
    behind is left alone until it has caught up.

    Args:
        count: how many connections there are.
    """

    def __init__(self, count: int) -> None:
        self._under_way = [0] * count
        self._following = 0
        self._lock = threading.Lock()

    def take(self) -> int:
        """The index of the connection for a call that begins."""
        with self._lock:
            least = min(self._under_way)
            try:
                chosen = self._under_way.index(least, self._following)
            except ValueError:
                chosen = self._under_way.index(least)
            self._under_way[chosen] += 1
            self._following = chosen + 1
            return chosen

    def leave(self, index: int) -> None:
        """Says that a call has ended."""
        with self._lock:
            self._under_way[index] -= 1

    def next(self) -> int:
        """The index of the connection for a stream, which is not counted: it may only wait."""
        chosen = self.take()
        self.leave(chosen)
        return chosen


class Attempts:
    """One call as the caller sees it: its id, its deadline, and the attempts made at it.

    Args:
        options: the client's.
        rpc: what is called.
        timeout_seconds: until the deadline; None: that of the options.
        request_id: of the call; None: one is made.
        clock: seconds on a clock that only goes forward.
        draw: a number in 0..1; spreads callers that were shed together.
    """

    def __init__(
        self,
        options: ClientOptions,
        rpc: Rpc,
        timeout_seconds: float | None,
        request_id: str | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.request_id = options.request_id() if request_id is None else request_id
        self._options = options
        self._made = 0
        self._clock, self._draw = clock, draw
        self._deadline = clock() + call_seconds(options, rpc, timeout_seconds)

    def next_timeout(self) -> float | None:
        """Counts one more attempt.

        Returns:
            Seconds it may take, as gRPC wants them: None means no end.
        """
        self._made += 1
        left = self._deadline - self._clock()
        return None if math.isinf(left) else max(left, 0.0)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Headers of the next attempt."""
        token = self._options.token
        token = token() if callable(token) else token
        identity = ("x-request-id", self.request_id)
        return (identity,) if token is None else (identity, ("authorization", f"Bearer {token}"))

    def pause_after(self, failure: grpc.RpcError, *, repeatable: bool = True) -> float:
        """How long to wait before a call that the server shed is made again.

        Only a server that refused for want of capacity, and said when to come back, is asked again:
        it has not begun the work, so that every RPC may be repeated. (A message that is too large
        ends in the same status, without a time.) All other retries are gRPC's own, by
        `service_config`.

        Args:
            failure: what the attempt ended in.
            repeatable: whether the call can be made again at all.

        Returns:
            Seconds, a random part of up to half as long again included.

        Raises:
            CisError: the call has failed.
        """
        error = error_of(failure, self.request_id)
        if (
            repeatable
            and isinstance(error, ResourceExhausted)
            and error.retry_after_seconds is not None
            and self._made < self._options.retry_attempts
        ):
            pause = error.retry_after_seconds * (1 + self._draw() / 2)
            if self._clock() + pause < self._deadline:
                return pause
        raise error from failure


def call_seconds(options: ClientOptions, rpc: Rpc, given: float | None) -> float:
    """Seconds until the deadline of a call.

    Args:
        options: the client's.
        rpc: what is called.
        given: by the caller; None: that of the options.

    Raises:
        ValueError: it is not above 0.
    """
    if given is not None:
        if math.isnan(given) or given <= 0:
            raise ValueError(f"timeout_seconds is {given}, and must be above 0")
        return given
    match rpc.timeout:
        case Timeout.CALL:
            return options.timeout_seconds
        case Timeout.BATCH:
            return options.batch_timeout_seconds
        case Timeout.STREAM:
            return options.stream_timeout_seconds


class ReadyWait:
    """The decisions of ``wait_ready``, which asks the health service again and again.

    Args:
        options: the client's.
        timeout_seconds: how long to ask.
        clock: seconds on a clock that only goes forward.
    """

    def __init__(
        self,
        options: ClientOptions,
        timeout_seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._timeout_seconds, self._clock = options, timeout_seconds, clock
        self._end = clock() + timeout_seconds
        self._last_answer: str | None = None

    def next_call(self) -> Attempts:
        """The next question, which gets a second at most so that a hung process is left alone."""
        left = self._end - self._clock()
        return Attempts(self._options, HEALTH, min(max(left, 0.001), 1.0), None)

    def pause_after(self, outcome: Int32Value | grpc.RpcError) -> float | None:
        """What to do after an answer, or a failure.

        Returns:
            None when the server takes calls (or has no health service to say so), else seconds
            until the next question.

        Raises:
            Unavailable: the time is over.
            CisError: asking again would not help.
        """
        cause: grpc.RpcError | None = None
        if isinstance(outcome, Int32Value):
            if outcome.value == ServingStatus.SERVING:
                return None
            said = self._last_answer = f"it answers {ServingStatus(outcome.value).name}"
        else:
            error = error_of(outcome, "")
            if isinstance(error, Unimplemented):
                return None
            if not isinstance(error, Temporary):
                raise error from outcome
            cause, said = outcome, error.message
            if isinstance(error, DeadlineExceeded) and self._last_answer:
                # The last question has little time left: what was heard before says more.
                said = self._last_answer
        if self._clock() < self._end:
            return _READY_POLL_SECONDS
        raise Unavailable(
            f"{self._options.target} was not ready within {self._timeout_seconds:g} s: {said}",
            code=grpc.StatusCode.UNAVAILABLE,
        ) from cause


_READY_POLL_SECONDS = 0.05
