"""The calls of the blocking client, one class for each shape of an RPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import grpc
from google.protobuf.message import Message

from cis_client._coalesce import Coalescer
from cis_client._methods import Rpc, rpc_of
from cis_client._transport import (
    Attempts,
    call_seconds,
)
from cis_client.errors import CisError
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring

if TYPE_CHECKING:
    from cis_client.client import Client

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
B = TypeVar("B")
C = TypeVar("C")


A_co = TypeVar("A_co", covariant=True)


class _RunningStream(Protocol[A_co]):
    """What gRPC gives for a stream."""

    def __iter__(self) -> Iterator[A_co]: ...
    def cancel(self) -> object: ...


class ResponseStream(Iterator[A]):
    """The answers of a stream, in order. Leaving its ``with`` block ends the call.

    A stream that breaks off is never resumed by itself, as answers would come twice; one that the
    server sheds before its first answer is asked for again.

    Raises:
        CisError: from ``next``, when the call fails.
    """

    def __init__(
        self,
        start: Callable[[Attempts], _RunningStream[A]],
        attempts: Attempts,
        *,
        restartable: bool,
    ) -> None:
        self._start, self._attempts = start, attempts
        self._restartable = restartable
        self._begin()

    def _begin(self) -> None:
        self._call = self._start(self._attempts)
        self._answers = iter(self._call)

    @property
    def request_id(self) -> str:
        """The ``x-request-id`` of the call."""
        return self._attempts.request_id

    def cancel(self) -> None:
        """Ends the call. Work that the server does in a worker process goes on."""
        self._call.cancel()

    def __next__(self) -> A:
        while True:
            try:
                answer = next(self._answers)
            except grpc.RpcError as failure:
                time.sleep(self._attempts.pause_after(failure, repeatable=self._restartable))
                self._begin()
            else:
                self._restartable = False
                return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()


class UnaryCall(Generic[B, C]):
    """An RPC with one request and one answer, bound to a client."""

    def __init__(
        self,
        client: Client,
        rpc: Rpc,
        serialize: Callable[[B], bytes] | None,
        parse: Callable[[bytes], C] | None,
    ) -> None:
        self.rpc = rpc
        self._client = client
        self._stubs = [
            channel.unary_unary(rpc.path, serialize, parse) for channel in client._channels
        ]

    def __call__(
        self,
        request: B,
        /,
        *,
        timeout_seconds: float | None = None,
        request_id: str | None = None,
    ) -> C:
        """Makes the call.

        Args:
            request: what is asked.
            timeout_seconds: deadline, retries included; None: that of the client's options;
                ``math.inf``: none.
            request_id: ``x-request-id`` of the call; None: one is made.

        Raises:
            CisError: the call failed; the subclass says how.
        """
        attempts = Attempts(self._client.options, self.rpc, timeout_seconds, request_id)
        connections = self._client._connections
        while True:
            chosen = connections.take()
            try:
                answer: C = self._stubs[chosen](
                    request, timeout=attempts.next_timeout(), metadata=attempts.metadata()
                )
            except grpc.RpcError as failure:
                pause = attempts.pause_after(failure)
            else:
                return answer
            finally:
                connections.leave(chosen)
            time.sleep(pause)


class CoalescedCall(UnaryCall[scoring.ScoreLeadRequest, core.LeadScore]):
    """``ScoreLead`` where calls made at the same moment travel together."""

    def __init__(self, client: Client) -> None:
        super().__init__(
            client,
            rpc_of(scoring.ScoreLeadRequest, core.LeadScore),
            scoring.ScoreLeadRequest.SerializeToString,
            core.LeadScore.FromString,
        )
        batch_rpc = rpc_of(scoring.BatchScoreLeadsRequest, scoring.BatchScoreLeadsResponse)
        batch: UnaryCall[bytes, bytes] = UnaryCall(client, batch_rpc, None, None)
        self._coalescer = Coalescer(super().__call__, batch, client.options.request_id)
        self._seconds = call_seconds(client.options, self.rpc, None)

    def __call__(
        self,
        request: scoring.ScoreLeadRequest,
        /,
        *,
        timeout_seconds: float | None = None,
        request_id: str | None = None,
    ) -> core.LeadScore:
        """Makes the call, as `UnaryCall` does; one with a ``request_id`` travels alone."""
        if request_id is not None:
            return super().__call__(request, timeout_seconds=timeout_seconds, request_id=request_id)
        seconds = self._seconds
        if timeout_seconds is not None:
            seconds = call_seconds(self._client.options, self.rpc, timeout_seconds)
        return self._coalescer.score(request, seconds)


class StreamCall(Generic[Q, A]):
    """An RPC with one request and a stream of answers, bound to a client."""

    def __init__(self, client: Client, rpc: Rpc, request: type[Q], response: type[A]) -> None:
        self.rpc = rpc
        self._client = client
        self._stubs = [
            channel.unary_stream(rpc.path, request.SerializeToString, response.FromString)
            for channel in client._channels
        ]

    def __call__(
        self,
        request: Q,
        /,
        *,
        timeout_seconds: float | None = None,
        request_id: str | None = None,
    ) -> ResponseStream[A]:
        """Begins the call; arguments as for `UnaryCall`, errors come with the answers.

        The deadline holds for the whole stream.
        """

        def start(attempts: Attempts) -> _RunningStream[A]:
            stub = self._stubs[self._client._connections.next()]
            return stub(request, timeout=attempts.next_timeout(), metadata=attempts.metadata())

        attempts = Attempts(self._client.options, self.rpc, timeout_seconds, request_id)
        return ResponseStream(start, attempts, restartable=True)


class BidiCall(Generic[Q, A]):
    """An RPC with a stream of requests and a stream of answers, bound to a client."""

    def __init__(self, client: Client, rpc: Rpc, request: type[Q], response: type[A]) -> None:
        self.rpc = rpc
        self._client = client
        self._stubs = [
            channel.stream_stream(rpc.path, request.SerializeToString, response.FromString)
            for channel in client._channels
        ]

    def __call__(
        self,
        requests: Iterator[Q],
        /,
        *,
        timeout_seconds: float | None = None,
        request_id: str | None = None,
    ) -> ResponseStream[A]:
        """Begins the call, as `StreamCall` does.

        Requests are taken, on a thread of gRPC, as the server is ready for them; none is sent
        twice. What taking one raises ends the call, and comes out where the answers are taken.
        """
        taken = _Requests(requests)

        def start(attempts: Attempts) -> _RunningStream[A]:
            stub = self._stubs[self._client._connections.next()]
            return stub(taken, timeout=attempts.next_timeout(), metadata=attempts.metadata())

        attempts = Attempts(self._client.options, self.rpc, timeout_seconds, request_id)
        return _BidiStream(start, attempts, taken)


class _Requests(Iterator[Q]):
    """Requests as gRPC takes them, and what taking one raised: gRPC would say only that it did."""

    def __init__(self, requests: Iterator[Q]) -> None:
        self._requests = requests
        self.failure: Exception | None = None

    def __next__(self) -> Q:
        try:
            return next(self._requests)
        except StopIteration:
            raise
        except Exception as failure:
            self.failure = failure
            raise


class _BidiStream(ResponseStream[A]):
    """The answers of a call that streams both ways.

    Raises:
        Exception: from ``next``: what taking a request raised, whatever it is.
    """

    def __init__(
        self,
        start: Callable[[Attempts], _RunningStream[A]],
        attempts: Attempts,
        requests: _Requests[Any],
    ) -> None:
        super().__init__(start, attempts, restartable=False)
        self._requests = requests

    def __next__(self) -> A:
        try:
            return super().__next__()
        except CisError:
            if self._requests.failure is None:
                raise
        raise self._requests.failure
