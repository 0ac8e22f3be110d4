"""Calls from HTTP/2 frames made beforehand: a caller that costs a few µs a call.

A caller of grpcio in Python costs as much as the server does, so that on few cores a server is
never busy for long. Here connections keep several calls under way each, and of an answer no more is
read than where it ends (RFC 9113 §4, gRPC over HTTP2).
"""

from __future__ import annotations

import itertools
import multiprocessing as mp
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final

from tests.bench.harness import Calls, Side, cpu_seconds

CONNECTIONS: Final = 4
UNDER_WAY: Final = 8
"""Calls on each connection."""
_WARM_SECONDS: Final = 0.3
_STARTING_SECONDS: Final = 2.5
"""For processes to load."""
_HEAD: Final = struct.Struct(">IBBI")  # the length has three bytes, the first of the four is 0
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW: Final = 4
_LARGEST: Final = 2**31 - 1


class _Connection:
    """One connection to a server.

    Attributes:
        ended: calls that were answered.
    """

    def __init__(self, target: str, method: str, bodies: Sequence[bytes]) -> None:
        host, _, port = target.rpartition(":")
        self.ended = 0
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next, self._unread = 1, b""
        fields = {
            ":path": method,
            ":authority": target,
            "content-type": "application/grpc",
            "te": "trailers",
            "grpc-timeout": "9S",
        }
        # 0x83 and 0x86 stand for POST and http in the static table of HPACK (RFC 7541 §A).
        block = b"\x83\x86" + b"".join(_field(*field) for field in fields.items())
        self._headers = (_frame(_HEADERS, _END_HEADERS, block), block)
        payloads = [struct.pack(">BI", 0, len(body)) + body for body in bodies]
        self._calls = itertools.cycle(
            [(_frame(_DATA, _END_STREAM, payload)[:5], payload) for payload in payloads]
        )
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(_SETTINGS, 0, struct.pack(">HI", _INITIAL_WINDOW, _LARGEST), whole=True)
            + _frame(_WINDOW, 0, struct.pack(">I", _LARGEST - 65_535), whole=True)
        )

    def send(self, calls: int) -> None:
        """Begin as many calls."""
        pieces: list[bytes] = []
        head, block = self._headers[0][:5], self._headers[1]
        for (before, payload), _ in zip(self._calls, range(calls), strict=False):
            stream = self._next.to_bytes(4, "big")
            pieces += (head, stream, block, before, stream, payload)
            self._next += 2
        self.socket.sendall(b"".join(pieces))

    def read(self) -> int:
        """Read what is there; how many calls it ended.

        Raises:
            ConnectionError: the server refused a call or closed the connection.
        """
        read = self.socket.recv(1 << 18)
        data = self._unread + read
        at = ended = 0
        answer = b""
        while len(data) - at >= 9:
            size, kind, flags, _ = _HEAD.unpack_from(b"\0" + data[at : at + 9])
            end = at + 9 + size
            if end > len(data):
                break
            if kind in (_DATA, _HEADERS):
                ended += flags & _END_STREAM
            elif kind == _SETTINGS and not flags & _ACK:
                answer += _frame(_SETTINGS, _ACK, b"", whole=True)
            elif kind == _PING and not flags & _ACK:
                answer += _frame(_PING, _ACK, data[at + 9 : end], whole=True)
            elif kind in (_RESET, _GO_AWAY):
                raise ConnectionError(f"the server ended it: {data[at:end]!r}")
            at = end
        if not read:
            raise ConnectionError("the server closed the connection")
        self._unread = data[at:]
        if answer:
            self.socket.sendall(answer)
        self.ended += ended
        return ended


def _field(name: str, value: str) -> bytes:
    """A header, literal and not indexed, of less than 127 bytes each."""
    return b"".join((b"\0", *(bytes([len(text)]) + text.encode() for text in (name, value))))


def _frame(kind: int, flags: int, payload: bytes, *, whole: bool = False) -> bytes:
    """The head of a frame, or a whole one of the connection itself."""
    head = _HEAD.pack(len(payload), kind, flags, 0)[1:]
    return head + payload if whole else head


def poured(side: Side, pid: int, core: int, seconds: float, begin: float = 0.0) -> Calls:
    """Keep a server busy from this process, which moves to a core and stays there.

    Args:
        side: what is called.
        pid: of the process whose processor time counts.
        core: number of that core.
        seconds: length of the measurement.
        begin: when it begins, as by `time.time`; at once if that is over.

    Returns:
        The calls, without their times.
    """
    os.sched_setaffinity(0, {core})
    connections = {}
    poll = select.poll()
    for _ in range(CONNECTIONS):
        connection = _Connection(side.target, side.method, side.bodies)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.POLLIN)
        connection.send(UNDER_WAY)

    def run(until: float) -> int:
        while time.perf_counter() < until:
            for number, _ in poll.poll(10_000):
                if ended := connections[number].read():
                    connections[number].send(ended)
        return sum(connection.ended for connection in connections.values())

    try:
        before = run(time.perf_counter() + max(_WARM_SECONDS, begin - time.time()))
        cpu, started = cpu_seconds(pid), time.perf_counter()
        count = run(started + seconds) - before
        taken = time.perf_counter() - started
        return Calls(count, taken, cpu_seconds(pid) - cpu, [])
    finally:
        for connection in connections.values():
            connection.socket.close()


def poured_at_once(sides: Sequence[tuple[Side, int, int]], seconds: float) -> list[Calls]:
    """Several servers kept busy at once, by a process each.

    Args:
        sides: (what is called, pid, core) of each, see `poured`.
        seconds: length of the measurement.
    """
    with ProcessPoolExecutor(len(sides), mp_context=mp.get_context("spawn")) as pool:
        begin = time.time() + _STARTING_SECONDS if len(sides) > 1 else 0.0
        jobs: list[Future[Calls]] = [pool.submit(poured, *each, seconds, begin) for each in sides]
        return [job.result() for job in jobs]


def poured_in_turn(
    sides: Sequence[Side], pid: int, seconds: float, rounds: int
) -> list[list[Calls]]:
    """A pinned server kept busy by each of several sides, from its own core: round by round."""
    core = min(os.sched_getaffinity(pid))
    return [
        [poured_at_once([(side, pid, core)], seconds)[0] for side in sides] for _ in range(rounds)
    ]
