"""One test for both clients: `Driven` makes the asynchronous one look like the other."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from client_test_server import Running, running

from cis_client import AsyncClient, Client, ClientOptions


class Driven:
    """An `AsyncClient` on a loop of its own, driven from a blocking test."""

    def __init__(self, options: ClientOptions) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = self._run(_make(options))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            async def work() -> Any:
                given = method(*args, **kwargs)
                if not hasattr(given, "__anext__"):
                    return await given
                return given

            given = self._run(work())
            return DrivenStream(self._run, given) if hasattr(given, "__anext__") else given

        return call

    def close(self) -> None:
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class DrivenStream:
    def __init__(self, run: Callable[[Any], Any], stream: Any) -> None:
        self._run, self._stream = run, stream

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._run(_next(self._stream))
        except StopAsyncIteration:
            raise StopIteration from None

    def cancel(self) -> None:
        self._run(_call(self._stream.cancel))


async def _make(options: ClientOptions) -> AsyncClient:
    return AsyncClient(options)


async def _next(stream: Any) -> Any:
    return await anext(stream)


async def _call(function: Callable[[], None]) -> None:
    function()


@pytest.fixture
def server() -> Iterator[Running]:
    with running() as it:
        yield it


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port on which nobody listens; servers of the test may, as it is held for sharing."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a client of either kind from options; all are closed at the end."""
    with ExitStack() as stack:

        def make(target: str, **options: Any) -> Any:
            settings = ClientOptions(target=target, **options)
            client = Client(settings) if request.param == "blocking" else Driven(settings)
            stack.callback(client.close)
            return client

        yield make
