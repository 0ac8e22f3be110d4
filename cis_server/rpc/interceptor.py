"""What surrounds every call: validation, error mapping, the log line, the cap on streams.

Everything that can be decided beforehand is decided once, when a method is registered: a chain of
interceptors that is walked per call costs measurably on a server whose own work takes microseconds.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc
import structlog
from google.rpc import code_pb2, status_pb2

from cis_server.errors import CisError, Overloaded
from cis_server.rpc.inline_calls import InlineCalls, MayWait
from cis_server.rpc.recalled import Recall, Recalled
from cis_server.rpc.status import abort, code_name, internal, status_of, unimplemented

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

Validator = Callable[[Any], None]
"""Raises `InvalidInput` when a request breaks a rule."""


class CallInterceptor:
    """Wraps every handler of the server as it is registered.

    Args:
        validate: checks a request message.
        stream_pool: executor of the response-streaming methods, so that followers of long runs
            never take a thread from scoring.
        stream_cap: open streams before RESOURCE_EXHAUSTED; the pool must have more threads than
            that, so that one stream too many is told so instead of waiting for a thread.
        waiting_pool: executor of the unary methods that may wait for the database.
        waiting: full names of the services whose unary methods those are, and paths of others.
        inline: paths of the methods that are answered on the reading thread, with what tells their
            requests that may wait; see `inline_calls`. Those go to ``call_pool``.
        call_pool: executor of such requests; required with ``inline``.
        own_pools: executors of single unary methods, by path.
        recalls: paths of the methods that keep answers, with what finds them.
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
        inline: Mapping[str, MayWait] | None = None,
        call_pool: ThreadPoolExecutor | None = None,
        recalls: Mapping[str, Recall] | None = None,
        own_pools: Mapping[str, ThreadPoolExecutor] | None = None,
        quiet: frozenset[str] = frozenset(),
        quiet_every: int = 1000,
    ) -> None:
        self._validate = validate
        self._stream_pool = stream_pool
        self._waiting_pool, self._waiting = waiting_pool, waiting
        self._inline, self._call_pool = inline or {}, call_pool
        self._own_pools = own_pools or {}
        self._recalls = recalls or {}
        self._streams = _StreamCount(stream_cap)
        self._quiet = quiet
        self._quiet_every = quiet_every
        self._log = structlog.get_logger("cis.rpc")

    def around(self, server: grpc.Server) -> grpc.Server:
        """What to register services with in place of ``server``; good for nothing else."""
        return cast(grpc.Server, _Registrar(server, self._wrapped))

    def _wrapped(self, method: str, handler: Handler) -> Handler:
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": _serialiser(handler.response_serializer),
        }
        if not handler.request_streaming and not handler.response_streaming:
            recall = self._recalls.get(method)
            if recall is not None and handler.request_deserializer is not None:
                codec["request_deserializer"] = _recalling(recall, handler.request_deserializer)
            reader = getattr(handler.unary_unary, "reads_requests", None)
            if reader is not None:  # the behaviour reads the bytes itself, on its own thread
                codec["request_deserializer"] = reader
            unary = self._unary(method, handler.unary_unary)
            pool = self._pool_of(method)
            if pool is not None:
                # grpcio runs a behaviour with this attribute on the executor it names.
                unary.experimental_thread_pool = pool  # type: ignore[attr-defined]
            return grpc.unary_unary_rpc_method_handler(unary, **codec)
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            if getattr(behaviour, "experimental_non_blocking", False):
                return handler  # watching the health takes no thread, hence no place either
            streaming = self._streaming(method, behaviour, validated=not handler.request_streaming)
            streaming.experimental_thread_pool = self._stream_pool  # type: ignore[attr-defined]
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(streaming, **codec)
        return handler

    def _pool_of(self, method: str) -> ThreadPoolExecutor | None:
        """The executor of a unary method; None for that of the server."""
        if method.split("/")[1] in self._waiting or method in self._waiting:
            return self._waiting_pool
        may_wait = self._inline.get(method)
        if may_wait is None or self._call_pool is None:
            return self._own_pools.get(method)
        return InlineCalls(
            self._call_pool,
            lambda request: request.__class__ is not Recalled and may_wait(request),
        )

    def _unary(self, method: str, behaviour: Any) -> Callable[..., Any]:
        checks_itself = getattr(behaviour, "checks_requests", False)
        validate = _checked_later if checks_itself else self._validate
        clock = time.perf_counter
        every = self._quiet_every if method in self._quiet else 1
        seen = 0

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            nonlocal seen
            started = clock()
            try:
                if request.__class__ is Recalled:
                    response = request.answer
                else:
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


def _checked_later(_: object) -> None:
    """For a behaviour with the attribute ``checks_requests``, which checks what it reads."""


class _Registrar:
    """Takes handlers as a server does and hands them on wrapped."""

    def __init__(self, server: grpc.Server, wrapped: Callable[[str, Handler], Handler]) -> None:
        self._server, self._wrapped = server, wrapped

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Register the methods of a service."""
        wrapped = {
            name: self._wrapped(f"/{service_name}/{name}", handler)
            for name, handler in method_handlers.items()
        }
        # newer than the stubs
        self._server.add_registered_method_handlers(service_name, wrapped)  # type: ignore[attr-defined]

    def add_generic_rpc_handlers(self, _: object) -> None:
        """Nothing: generated code offers each method a second time, for older grpcio."""


def _recalling(recall: Recall, parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Makes of a request its answer where there is one, else the message."""

    def read(raw: bytes) -> Any:
        recalled = recall(raw)
        return parse(raw) if recalled is None else recalled

    return read


def _serialiser(serialise: Callable[[Any], bytes] | None) -> Callable[[Any], bytes] | None:
    """Lets a behaviour answer with bytes, serialised already, as well as with a message."""
    if serialise is None:
        return None

    def serialised(answer: Any) -> bytes:
        return answer if answer.__class__ is bytes else serialise(answer)

    return serialised


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
