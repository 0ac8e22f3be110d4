"""The port is held for the RPC processes, and taken by nobody else."""

from __future__ import annotations

import select
import socket

import pytest

from cis_server.supervisor import PortInUse, reserved_port


def test_a_free_port_is_found_and_kept() -> None:
    with reserved_port("127.0.0.1", 0) as port:
        assert port > 0
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
    with reserved_port("127.0.0.1", port) as again:
        assert again == port


def test_processes_that_share_it_may_listen() -> None:
    with reserved_port("127.0.0.1", 0) as port, socket.socket() as one, socket.socket() as two:
        for listener in (one, two):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen()
            listener.setblocking(False)
        # The reservation does not listen, so every connection reaches one of the two.
        reached = 0
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=2):
                ready, _writable, _failed = select.select([one, two], [], [], 2)
                for listener in ready:
                    listener.accept()[0].close()
                    reached += 1
        assert reached == 20


def test_a_taken_port_is_told_as_such() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=f"127.0.0.1:{port}"), reserved_port("127.0.0.1", port):
            pass


def test_another_installation_on_the_port_is_seen() -> None:
    """Sharing is for our own processes only: a second supervisor must not join in."""
    with (
        reserved_port("127.0.0.1", 0) as port,
        pytest.raises(PortInUse),
        reserved_port("127.0.0.1", port),
    ):
        pass


def test_an_ipv6_address() -> None:
    with reserved_port("::1", 0) as port:
        assert port > 0
