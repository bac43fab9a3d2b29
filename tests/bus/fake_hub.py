"""A hub that does only what a test tells it: one end of the bus, in the test's own hands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import zmq

from labwire.bus.publisher import Publisher
from labwire.testing.waiting import LIMIT_S, wait_until
from tests.ports import HIGHEST, LOWEST

__all__ = [
    "LIMIT_S",
    "KeepingContext",
    "PublisherSide",
    "SubscriberSide",
    "bind_again",
    "own_context",
    "unpack",
    "wait_until",
]


class KeepingContext(zmq.Context[Any]):
    """A context that keeps its sockets until it ends, so that tests need not close those of their fakes."""

    _kept: list[Any] | None = None

    def socket(self, *args: Any, **kwargs: Any) -> Any:
        """Make a socket and keep it."""
        socket = super().socket(*args, **kwargs)
        self._kept = [*(self._kept or ()), socket]
        return socket

    @property
    def open_sockets(self) -> list[Any]:
        """Those that nobody has closed."""
        return [socket for socket in self._kept or () if not socket.closed]


@contextmanager
def own_context() -> Iterator[KeepingContext]:
    """Yield a ZeroMQ context that takes all its sockets with it."""
    context = KeepingContext()
    try:
        yield context
    finally:
        context.destroy(linger=0)


def unpack(part: bytes) -> Any:
    """Decode a payload with the reference decoder."""
    return msgpack.loads(part)


def _bound(socket: zmq.Socket[Any]) -> str:
    # On a port that is still free when a test ends this hub and lets another one listen there.
    return f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1', LOWEST, HIGHEST)}"


def bind_again(socket: zmq.Socket[Any], url: str) -> None:
    """Listen where a socket listened that has just been closed; libzmq lets the port go a moment later."""

    def is_bound() -> bool:
        try:
            socket.bind(url)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            return False
        return True

    wait_until(is_bound, f"{url} is free")


class PublisherSide:
    """Stands where publishers connect: an XSUB that has subscribed to everything, and a PULL."""

    def __init__(self, context: zmq.Context[Any], *, blanket: bool = True, hwm: int = 0) -> None:
        self.socket, self.pull = context.socket(zmq.XSUB), context.socket(zmq.PULL)
        self.socket.rcvhwm = hwm
        self.pub_url, self.push_url = _bound(self.socket), _bound(self.pull)
        if blanket:
            self.socket.send(b"\x01")

    def meet(self, publisher: Publisher) -> None:
        """Wait until the publisher knows that this hub listens; an XSUB greets newcomers only while it is looked at."""
        waiting = threading.Thread(target=lambda: wait_until(lambda: publisher.wait_connected(1) and _hears(publisher)))
        waiting.start()
        while waiting.is_alive():
            self.socket.poll(1)
        waiting.join()

    def recv(self) -> list[bytes]:
        """Return the next published message."""
        assert self.socket.poll(int(LIMIT_S * 1000)), "nothing was published"
        return self.socket.recv_multipart()

    def pulled(self) -> list[bytes]:
        """Return the next message that came by the reliable road."""
        assert self.pull.poll(int(LIMIT_S * 1000)), "nothing was pushed"
        return self.pull.recv_multipart()


def _hears(publisher: Publisher) -> bool:
    return publisher._hub_listens


class SubscriberSide:
    """Stands where subscribers connect: an XPUB that shows the subscriptions."""

    def __init__(self, context: zmq.Context[Any]) -> None:
        self.socket = context.socket(zmq.XPUB)
        self.socket.sndhwm = 0
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.sub_url = _bound(self.socket)

    def subscription(self) -> bytes:
        """Wait for the next subscription (it begins with 1) or its end (it begins with 0)."""
        assert self.socket.poll(int(LIMIT_S * 1000)), "nobody subscribed"
        return self.socket.recv()

    def send(self, topic: str, payload: object = None, *raw: bytes) -> None:
        """Publish a message; without a payload, one of a single part."""
        parts = [topic.encode()] if payload is None else [topic.encode(), msgpack.packb(payload), *raw]
        self.socket.send_multipart(parts)
