"""What surrounds every call: validation, error mapping, the log line, the cap on streams.

One interceptor does all of it, and wraps each method's handler once: wrapping per call, or chaining
several interceptors, costs measurably on a server whose own work takes microseconds.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import structlog
from google.rpc import code_pb2, status_pb2

from cis_server.errors import CisError, Overloaded
from cis_server.rpc.status import abort, code_name, internal, status_of, unimplemented

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

Validator = Callable[[Any], None]
"""Raises `InvalidInput` when a request breaks a rule."""


class CallInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps every handler of the server.

    Args:
        validate: checks a request message.
        stream_pool: executor of the response-streaming methods, so that followers of long runs
            never take a thread from scoring.
        stream_cap: open streams before RESOURCE_EXHAUSTED; the pool must have more threads than
            that, so that one stream too many is told so instead of waiting for a thread.
        waiting_pool: executor of the unary methods that may wait for the database.
        waiting: full names of the services whose unary methods those are, and paths of others.
        quiet: methods whose successes are logged only once in ``quiet_every``.
        quiet_every: see ``quiet``; errors are always logged.
    """

    def __init__(
        self,
        validate: Validator,
        *,
        stream_pool: ThreadPoolExecutor,
        stream_cap: int,
        waiting_pool: ThreadPoolExecutor,
        waiting: frozenset[str],
        quiet: frozenset[str] = frozenset(),
        quiet_every: int = 1000,
    ) -> None:
        self._validate = validate
        self._stream_pool = stream_pool
        self._waiting_pool, self._waiting = waiting_pool, waiting
        self._streams = _StreamCount(stream_cap)
        self._quiet = quiet
        self._quiet_every = quiet_every
        self._log = structlog.get_logger("cis.rpc")
        self._handlers: dict[str, Handler] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The wrapped handler of the method, made at its first call."""
        method: str = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        wrapped = self._wrapped(method, handler)
        self._handlers[method] = wrapped
        return wrapped

    def _wrapped(self, method: str, handler: Handler) -> Handler:
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if not handler.request_streaming and not handler.response_streaming:
            unary = self._unary(method, handler.unary_unary)
            if method.split("/")[1] in self._waiting or method in self._waiting:
                unary.experimental_thread_pool = self._waiting_pool  # type: ignore[attr-defined]
            return grpc.unary_unary_rpc_method_handler(unary, **codec)
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            if getattr(behaviour, "experimental_non_blocking", False):
                return handler  # watching the health takes no thread, hence no place either
            streaming = self._streaming(method, behaviour, validated=not handler.request_streaming)
            # grpcio runs a behaviour with this attribute on the executor it names.
            streaming.experimental_thread_pool = self._stream_pool  # type: ignore[attr-defined]
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(streaming, **codec)
        return handler

    def _unary(self, method: str, behaviour: Any) -> Callable[..., Any]:
        validate, clock = self._validate, time.perf_counter
        every = self._quiet_every if method in self._quiet else 1
        seen = 0

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            nonlocal seen
            started = clock()
            try:
                validate(request)
                response = behaviour(request, context)
            except CisError as error:
                self._known(method, request, context, error, started)
            except Exception as error:
                self._unexpected(method, request, context, error, started)
            seen += 1
            if seen % every == 0:
                self._line(method, request, context, "OK", started)
            return response

        return call

    def _streaming(
        self, method: str, behaviour: Any, *, validated: bool
    ) -> Callable[..., Iterator[Any]]:
        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            started = time.perf_counter()
            try:
                with self._streams:
                    if validated:
                        self._validate(request)
                    yield from behaviour(request, context)
            except CisError as error:
                self._known(method, request, context, error, started)
            except Exception as error:
                self._unexpected(method, request, context, error, started)
            self._line(method, request, context, "OK", started)

        return stream

    def _known(
        self,
        method: str,
        request: Any,
        context: grpc.ServicerContext,
        error: CisError,
        started: float,
    ) -> NoReturn:
        status = status_of(error)
        if status.code == code_pb2.INTERNAL:
            # Nothing the caller did: broken data, say. Whoever runs this must be able to find it.
            self._unexpected(method, request, context, error, started)
        self._refuse(method, request, context, status, started)

    def _refuse(
        self,
        method: str,
        request: Any,
        context: grpc.ServicerContext,
        status: status_pb2.Status,
        started: float,
    ) -> NoReturn:
        self._line(method, request, context, code_name(status), started)
        abort(context, status)

    def _unexpected(
        self,
        method: str,
        request: Any,
        context: grpc.ServicerContext,
        error: Exception,
        started: float,
    ) -> NoReturn:
        code = context.code()  # type: ignore[attr-defined]  # newer than the stubs
        if code is grpc.StatusCode.UNIMPLEMENTED:
            # The generated base class says so of every RPC that has no servicer here.
            self._refuse(method, request, context, unimplemented(method), started)
        if code is not None:
            raise error  # the handler ended the call itself; grpc raises a bare `Exception` then
        error_id = uuid.uuid4().hex
        self._log.error("call_failed", error_id=error_id, method=method, exc_info=error)
        self._refuse(method, request, context, internal(error_id), started)

    def _line(
        self, method: str, request: Any, context: grpc.ServicerContext, code: str, started: float
    ) -> None:
        self._log.info(
            "call",
            request_id=_request_id(context),
            client=_client_id(request),
            method=method,
            code=code,
            milliseconds=round((time.perf_counter() - started) * 1e3, 3),
        )


class _StreamCount:
    """Counts open streams; entering one too many raises `Overloaded`."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._open = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._open >= self._cap:
                raise Overloaded(f"{self._cap} streams are open, which is the most")
            self._open += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open -= 1


def _client_id(request: Any) -> str:
    """The client a request is about; empty when it is about none in particular."""
    about = getattr(request, "client", request)  # UpsertClient carries the whole record
    return str(getattr(about, "client_id", ""))


def _request_id(context: grpc.ServicerContext) -> str:
    """The caller's ``x-request-id``, or a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id":
            return str(value)[:128]
    return uuid.uuid4().hex
