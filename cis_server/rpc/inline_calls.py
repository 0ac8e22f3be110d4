"""Unary calls that never wait, answered on the very thread that reads calls from the wire.

grpcio hands every call to a pool: its reading thread queues the call, a thread of the pool asks for
the request and waits, the reading thread gets the request and wakes it. Two hand-overs of the
interpreter lock cost more than an answer from memory does. `InlineCalls` stands where that pool
would: it asks for the request at once and, when it is there, answers on the reading thread. While
an answer is being made nothing else is read, so only methods that answer in microseconds belong
here; a request that may wait for the database goes to a pool of its own all the same.

grpcio has no public way for that. What is used is its method handler's `experimental_thread_pool`
and how the functions of `grpc._server` work together; `is_known` compares that file with those this
was written against, and any other release is served by the ordinary pool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from grpc import _server
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # an extension without stubs

MayWait = Callable[[Any], bool]
"""Whether the answer to a request may have to wait."""

_KNOWN: Final = frozenset(
    ("cfefc717283c33d44f30204d8e54451a7d6cc796a47b9c431d6e5411c1f0cda6",)  # grpcio 1.85.1
)
"""SHA-256 of the releases of ``grpc/_server.py`` that work as this module takes them to."""


def is_known() -> bool:
    """Whether the installed grpcio works inside as this module takes it to."""
    try:
        source = Path(_server.__file__).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(source).hexdigest() in _KNOWN


class InlineCalls(ThreadPoolExecutor):
    """The executor of unary methods that answer from memory.

    Args:
        waiting: where a call goes on whose request may wait.
        may_wait: tells which; asked on the reading thread.
    """

    def __init__(self, waiting: ThreadPoolExecutor, may_wait: MayWait) -> None:
        # grpcio takes nothing but this class; threads are only made by its own `submit`.
        super().__init__(1)
        self._waiting, self._may_wait = waiting, may_wait

    def submit(self, run: Any, /, *args: Any, **_: Any) -> Future[Any]:
        """Ask for the request of a call; grpcio calls this while it holds the call's lock.

        Args:
            run: runs what follows in the call's context.
            args: `_server._unary_response_in_pool` and its arguments.
        """
        respond, rpc_event, state, behaviour, _, deserialise, serialise = args
        received = _server._receive_message(state, rpc_event.call, deserialise)

        def on_message(event: Any) -> Any:
            finished = received(event)
            request, state.request = state.request, None
            if finished[0] is not None:
                return finished  # cancelled meanwhile
            if request is None:
                _refuse_without_request(rpc_event, state)
                return finished
            execute = self._waiting.submit if self._may_wait(request) else _at_once
            execute(
                run, respond, rpc_event, state, behaviour, lambda: request, deserialise, serialise
            )
            return finished

        receive = cygrpc.ReceiveMessageOperation(0)
        rpc_event.call.start_server_batch((receive,), on_message)
        state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
        return _TAKEN


def _at_once(work: Callable[..., Any], /, *args: Any) -> None:
    work(*args)


def _refuse_without_request(rpc_event: Any, state: Any) -> None:
    """End a call whose caller sent no request; one that could not be read was ended already."""
    with state.condition:
        if state.client is _server._CLOSED and not state.statused:
            _server._abort(
                state,
                rpc_event.call,
                cygrpc.StatusCode.unimplemented,
                b"the call requires exactly one request message",
            )


class _Taken(Future[Any]):
    """What grpcio gets for a call: it only wants to be told when no thread holds it any more."""

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        fn(self)


_TAKEN: Final = _Taken()
