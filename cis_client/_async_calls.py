"""The calls of the asynchronous client, one class for each shape of an RPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from cis_client._async_bidi import BidiAnswers
from cis_client._async_coalesce import AsyncCoalescer
from cis_client._methods import Rpc, rpc_of
from cis_client._transport import (
    Attempts,
    call_seconds,
)
from cis_client.errors import Cancelled
from cis_client.v1 import core_pb2 as core
from cis_client.v1 import scoring_service_pb2 as scoring

if TYPE_CHECKING:
    from cis_client.async_client import AsyncClient

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
B = TypeVar("B")
C = TypeVar("C")


A_co = TypeVar("A_co", covariant=True)


class _RunningStream(Protocol[A_co]):
    """What gRPC gives for a stream."""

    def __aiter__(self) -> AsyncIterator[A_co]: ...
    def cancel(self) -> object: ...


class AsyncResponseStream(AsyncIterator[A]):
    """The answers of a stream, in order. Leaving its ``async with`` block ends the call.

    A stream that breaks off is never resumed by itself, as answers would come twice; one that the
    server sheds before its first answer is asked for again.

    Raises:
        CisError: while iterating, when the call fails.
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
        self._cancelled = False
        self._begin()

    def _begin(self) -> None:
        self._call = self._start(self._attempts)
        self._answers = aiter(self._call)

    @property
    def request_id(self) -> str:
        """The ``x-request-id`` of the call."""
        return self._attempts.request_id

    def cancel(self) -> None:
        """Ends the call. Work that the server does in a worker process goes on."""
        self._cancelled = True
        self._call.cancel()

    async def __anext__(self) -> A:
        while True:
            try:
                answer = await anext(self._answers)
            except grpc.RpcError as failure:
                pause = self._attempts.pause_after(failure, repeatable=self._restartable)
                await asyncio.sleep(pause)
                self._begin()
            except asyncio.CancelledError:
                # gRPC says the same when the call was cancelled and when the task was.
                if not self._cancelled:
                    raise
                raise Cancelled(
                    "the stream was cancelled",
                    code=grpc.StatusCode.CANCELLED,
                    request_id=self.request_id,
                ) from None
            else:
                self._restartable = False
                return answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()


class AsyncUnaryCall(Generic[B, C]):
    """An RPC with one request and one answer, bound to a client."""

    def __init__(
        self,
        client: AsyncClient,
        rpc: Rpc,
        serialize: Callable[[B], bytes] | None,
        parse: Callable[[bytes], C] | None,
    ) -> None:
        self.rpc = rpc
        self._client = client
        self._stubs = [
            channel.unary_unary(rpc.path, serialize, parse) for channel in client._channels
        ]

    async def __call__(
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
                answer: C = await self._stubs[chosen](
                    request, timeout=attempts.next_timeout(), metadata=attempts.metadata()
                )
            except grpc.RpcError as failure:
                pause = attempts.pause_after(failure)
            else:
                return answer
            finally:
                connections.leave(chosen)
            await asyncio.sleep(pause)


class AsyncCoalescedCall(AsyncUnaryCall[scoring.ScoreLeadRequest, core.LeadScore]):
    """``ScoreLead`` where calls made at the same moment travel together."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(
            client,
            rpc_of(scoring.ScoreLeadRequest, core.LeadScore),
            scoring.ScoreLeadRequest.SerializeToString,
            core.LeadScore.FromString,
        )
        batch_rpc = rpc_of(scoring.BatchScoreLeadsRequest, scoring.BatchScoreLeadsResponse)
        batch: AsyncUnaryCall[bytes, bytes] = AsyncUnaryCall(client, batch_rpc, None, None)
        self._coalescer = AsyncCoalescer(super().__call__, batch, client.options.request_id)
        self._seconds = call_seconds(client.options, self.rpc, None)

    def __call__(
        self,
        request: scoring.ScoreLeadRequest,
        /,
        *,
        timeout_seconds: float | None = None,
        request_id: str | None = None,
    ) -> Coroutine[Any, Any, core.LeadScore]:
        """Makes the call, as `AsyncUnaryCall` does; one with a ``request_id`` travels alone."""
        if request_id is not None:
            return super().__call__(request, timeout_seconds=timeout_seconds, request_id=request_id)
        seconds = self._seconds
        if timeout_seconds is not None:
            seconds = call_seconds(self._client.options, self.rpc, timeout_seconds)
        return self._coalescer.score(request, seconds)


class AsyncStreamCall(Generic[Q, A]):
    """An RPC with one request and a stream of answers, bound to a client."""

    def __init__(self, client: AsyncClient, rpc: Rpc, request: type[Q], response: type[A]) -> None:
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
    ) -> AsyncResponseStream[A]:
        """Begins the call; arguments as for `AsyncUnaryCall`, errors come with the answers.

        The deadline holds for the whole stream.
        """

        def start(attempts: Attempts) -> _RunningStream[A]:
            stub = self._stubs[self._client._connections.next()]
            return stub(request, timeout=attempts.next_timeout(), metadata=attempts.metadata())

        attempts = Attempts(self._client.options, self.rpc, timeout_seconds, request_id)
        return AsyncResponseStream(start, attempts, restartable=True)


class AsyncBidiCall(Generic[Q, A]):
    """An RPC with a stream of requests and a stream of answers, bound to a client."""

    def __init__(self, client: AsyncClient, rpc: Rpc, request: type[Q], response: type[A]) -> None:
        self.rpc = rpc
        self._client = client
        self._stubs = [
            channel.stream_stream(rpc.path, request.SerializeToString, response.FromString)
            for channel in client._channels
        ]

    def __call__(
        self,
        requests: AsyncIterator[Q] | Iterator[Q],
        /,
        *,
        timeout_seconds: float | None = None,
        request_id: str | None = None,
    ) -> AsyncResponseStream[A]:
        """Begins the call, as `AsyncStreamCall` does.

        Requests are taken as the server is ready for them; none is sent twice. What taking one
        raises ends the call, and comes out where the answers are taken.
        """

        def start(attempts: Attempts) -> _RunningStream[A]:
            stub = self._stubs[self._client._connections.next()]
            # Without requests, which the types do not know of: `BidiAnswers` sends them.
            call = stub(  # type: ignore[call-arg]
                timeout=attempts.next_timeout(), metadata=attempts.metadata()
            )
            return BidiAnswers(call, requests)

        attempts = Attempts(self._client.options, self.rpc, timeout_seconds, request_id)
        return _BidiStream(start, attempts, restartable=False)


class _BidiStream(AsyncResponseStream[A]):
    """The answers of a call that streams both ways.

    Raises:
        Exception: while iterating: what taking a request raised, whatever it is.
    """

    _call: BidiAnswers[Any, A]

    async def __anext__(self) -> A:
        try:
            return await super().__anext__()
        except (Cancelled, asyncio.CancelledError):
            if self._call.failure_of_requests is None:
                raise
        raise self._call.failure_of_requests
