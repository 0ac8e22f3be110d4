"""A call of the asynchronous client that streams both ways, and ends in what the server said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable
from contextlib import suppress
from functools import cached_property
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")

STATUS_SECONDS = 1.0
"""How long a call whose request could not be sent waits to hear from the server why."""

_LOST_DETAILS = "Internal error from Core"


class BidiAnswers(Generic[Q, A]):
    """The answers of one call; its requests are sent by a task of its own.

    A server may end a call while requests are still being sent. gRPC (grpc/grpc#36066) then takes
    the request it could not send for the end of the call: INTERNAL, in the place of the status that
    the server has sent, or whose way here it has not waited for. This class keeps the server's.

    Must be made, used and ended on the event loop of the call.

    Args:
        call: as begun, without requests.
        requests: sent in order, each when the server is ready for it.
    """

    def __init__(
        self,
        call: grpc.aio.StreamStreamCall[Q, A],
        requests: AsyncIterable[Q] | Iterable[Q],
    ) -> None:
        self._call = call
        self._ended_by_server = asyncio.Event()
        self._status: grpc.aio.AioRpcError | None = None
        self.failure_of_requests: Exception | None = None
        """What taking a request raised, for which the call was cancelled."""
        call.add_done_callback(self._note_status)
        self._sending = asyncio.ensure_future(self._send(requests))

    def cancel(self) -> None:
        """Ends the call, and asks for no more requests."""
        self._call.cancel()
        self._sending.cancel()

    def __aiter__(self) -> AsyncIterator[A]:
        """The answers, in order.

        Raises:
            grpc.aio.AioRpcError: while iterating: the server ended the call with an error.
            asyncio.CancelledError: the call was cancelled, or what the requests wait for; or taking
                one raised `failure_of_requests`.
        """
        return self._answers

    @cached_property
    def _answers(self) -> AsyncIterator[A]:
        return self._take()

    async def _take(self) -> AsyncIterator[A]:
        try:
            async for answer in self._call:
                yield answer
        except grpc.aio.AioRpcError as failure:
            if failure.code() is not grpc.StatusCode.INTERNAL or failure.details() != _LOST_DETAILS:
                raise
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended_by_server.wait(), STATUS_SECONDS)
            if self._status is None:
                raise
            if self._status.code() is not grpc.StatusCode.OK:
                raise self._status from None
        finally:
            self._sending.cancel()

    async def _send(self, requests: AsyncIterable[Q] | Iterable[Q]) -> None:
        try:
            async for request in _each(requests):
                try:
                    await self._call.write(request)
                except (grpc.RpcError, asyncio.InvalidStateError):
                    return  # The call has ended, and its answers say how.
        except Exception as failure:
            self.failure_of_requests = failure
            self._call.cancel()
        except BaseException:
            # Not only the end of this task: the requests may wait for another that is cancelled.
            self._call.cancel()
            raise
        else:
            # It may have ended just now.
            with suppress(grpc.aio.InternalError, asyncio.InvalidStateError):
                await self._call.done_writing()

    def _note_status(self, call: grpc.aio.Call) -> None:
        """Called at each end that gRPC notes for the call; more than one when it has failed to send
        a request."""
        status = grpc.aio.AioRpcError(
            _known(call.code()),
            _known(call.initial_metadata()),
            _known(call.trailing_metadata()),
            _known(call.details()),
            _known(call.debug_error_string()),  # type: ignore[attr-defined]
        )
        if status.details() != _LOST_DETAILS:
            self._status = status
            self._ended_by_server.set()


async def _each(requests: AsyncIterable[Q] | Iterable[Q]) -> AsyncIterator[Q]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


def _known(said: Coroutine[Any, Any, T]) -> T:
    """What is known by now, of a call that has ended: it takes no turn of the event loop."""
    try:
        said.send(None)
    except StopIteration as known:
        value: T = known.value
        return value
    finally:
        said.close()
    raise RuntimeError("the call has not ended")
