"""A peer that was cut is told from one that left."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from labwire.bus.peer_watch import PeerWatch
from tests.bus.fake_hub import own_context, wait_until


class Listener:
    def __init__(self, context: zmq.Context[Any], handshake_ms: int = 30_000) -> None:
        self.cuts: list[tuple[str, str]] = []
        self.watch = PeerWatch(context, lambda *cut: self.cuts.append(cut))
        self.socket = context.socket(zmq.PULL)
        self.socket.maxmsgsize = 1000
        self.socket.handshake_ivl = handshake_ms
        self.watch.add(self.socket, "[bus] push_port")
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")

    def connections(self) -> int:
        self.watch.look()
        return len(self.watch._connections)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


@contextmanager
def listening(**options: int) -> Iterator[Listener]:
    with own_context() as context:
        made = Listener(context, **options)
        yield made
        made.watch.close()


def test_who_sends_too_much_is_cut(listener: Listener) -> None:
    with own_context() as peers:
        peer = peers.socket(zmq.PUSH)
        peer.connect(f"tcp://127.0.0.1:{listener.port}")
        peer.send(bytes(1000))
        assert len(listener.socket.recv()) == 1000
        wait_until(listener.connections, "the connection")
        assert listener.cuts == []
        peer.send(bytes(1001))
        wait_until(lambda: listener.watch.look() or listener.cuts, "a cut")
        ((address, option),) = listener.cuts
        assert address.startswith("127.0.0.1:")
        assert option == "[bus] push_port"
        wait_until(lambda: _arrives(peer, b"it may come back", listener), "the peer again")
    wait_until(lambda: listener.connections() == 0, "the end of all connections")


def _arrives(peer: zmq.Socket[Any], message: bytes, listener: Listener) -> bool:
    # What a peer sends before it has noticed that it was cut is lost with the connection.
    peer.send(message)
    return bool(listener.socket.poll(100)) and listener.socket.recv() == message


def test_who_begins_like_zeromq_and_does_not_go_on_is_cut() -> None:
    with listening(handshake_ms=100) as listener:
        wait_until(lambda: _stops_in_its_greeting(listener), "a cut")  # one that is cut before it is seen goes untold
        ((address, option),) = listener.cuts
        assert (address.rpartition(":")[0], option) == ("127.0.0.1", "[bus] push_port")


def _stops_in_its_greeting(listener: Listener) -> bool:
    with socket.create_connection(("127.0.0.1", listener.port)) as peer:
        peer.sendall(b"\xff\0\0\0\0\0\0\0\1\x7f\3")
        peer.setblocking(False)
        wait_until(lambda: listener.watch.look() or listener.cuts or _has_ended(peer), "the end of the connection")
        return bool(listener.cuts)


def _has_ended(peer: socket.socket) -> bool:
    try:
        return not peer.recv(100)
    except BlockingIOError:
        return False


def test_who_leaves_was_not_cut(listener: Listener) -> None:
    with own_context() as peers:
        peer = peers.socket(zmq.PUSH)
        peer.connect(f"tcp://127.0.0.1:{listener.port}")
        peer.send(bytes(1000))
        assert len(listener.socket.recv()) == 1000
        assert listener.connections() == 1
    with socket.create_connection(("127.0.0.1", listener.port)):
        wait_until(lambda: listener.connections() >= 1, "a connection")
    wait_until(lambda: listener.connections() == 0, "the end of all connections")
    assert listener.cuts == []
    assert listener.watch.cut == 0
