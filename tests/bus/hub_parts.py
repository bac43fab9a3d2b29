"""A backbone and an inlet in the test's own process, and peers for them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import zmq

from labwire.bus.access import AccessGuard
from labwire.bus.actor_runner import Wiring
from labwire.bus.backbone import Backbone
from labwire.bus.inlet import Inlet, InletEvents, InletPorts
from labwire.bus.rpc_port import RpcPort
from labwire.clock import RigClock
from labwire.wire.remote_command import ReplyStyle
from tests.bus.fake_hub import LIMIT_S, own_context, wait_until
from tests.leaks import zmq_threads

_probes = itertools.count()


class Hub:
    """A running backbone with its inlet; sockets that it makes are closed with it."""

    def __init__(self, context: zmq.Context[Any], peers: zmq.Context[Any], **options: Any) -> None:
        replies: ReplyStyle = options.get("replies", "spec")
        limit: int = options.get("max_message_bytes", 128 << 20)
        self.warnings: list[str] = []
        self.faults: list[BaseException] = []
        self.clock = RigClock.create()
        self.peers = peers
        self.backbone = Backbone(
            context,
            host="127.0.0.1",
            pub_port=0,
            sub_port=options.get("sub_port", 0),
            slow_subscriber_s=options.get("slow_subscriber_s", 2.0),
            max_message_bytes=limit,
        )
        self.inlet = Inlet(
            context,
            self.clock,
            host="127.0.0.1",
            remote_port=0,
            push_port=0,
            replies=replies,
            version="1.2.3",
            max_message_bytes=limit,
            events=InletEvents(self.warnings.append, self.faults.append),
        )
        self.rpc = RpcPort(
            context,
            host="127.0.0.1",
            port=0,
            max_message_bytes=limit,
            on_change=lambda: None,
            on_fault=self.faults.append,
        )
        self.backbone.start()
        self.inlet.start(InletPorts(self.backbone.pub_port, self.backbone.sub_port, self.rpc.port))
        self.rpc.start()
        self._remote = self.remote()
        self.ask(b"v")

    def close(self) -> None:
        self.backbone.forget_readers()
        self.rpc.stop()
        self.inlet.stop()
        self.backbone.stop()
        self.clock.close()

    @property
    def wiring(self) -> Wiring:
        """Addresses, as an actor needs them."""
        ports = (
            self.inlet.remote_port,
            self.backbone.pub_port,
            self.backbone.sub_port,
            self.inlet.push_port,
            self.rpc.port,
        )
        return Wiring(*(f"tcp://127.0.0.1:{port}" for port in ports))

    def remote(self) -> zmq.Socket[Any]:
        """A client of the Remote."""
        return self.connect(zmq.REQ, self.inlet.remote_port)

    def ask(self, *parts: bytes) -> str:
        """Send a request to the Remote and return the reply, which must come."""
        self._remote.send_multipart(parts)
        return answer(self._remote)

    def connect(self, kind: int, port: int) -> zmq.Socket[Any]:
        socket = self.peers.socket(kind)
        socket.linger = 0
        socket.rcvtimeo = socket.sndtimeo = int(LIMIT_S * 1000)
        socket.connect(f"tcp://127.0.0.1:{port}")
        return socket

    def subscriber(self, *topics: bytes, **options: int) -> zmq.Socket[Any]:
        """A subscriber whose subscriptions hold."""
        socket = self.peers.socket(zmq.SUB)
        socket.rcvhwm = options.get("rcvhwm", 0)
        socket.linger = 0
        socket.rcvtimeo = int(LIMIT_S * 1000)
        probe = b"probe.%d." % next(_probes)
        for topic in (*topics, probe):
            socket.subscribe(topic)
        socket.connect(f"tcp://127.0.0.1:{self.backbone.sub_port}")
        while not socket.poll(5):
            self.ask(probe, b"\x80")
        self.ask(probe + b"end", b"\x80")
        while socket.recv_multipart()[0] != probe + b"end":
            pass
        socket.unsubscribe(probe)
        return socket

    def publisher(self) -> zmq.Socket[Any]:
        """A publisher that is connected."""
        socket = self.connect(zmq.PUB, self.backbone.pub_port)
        listener = self.subscriber(probe := b"probe.%d" % next(_probes))
        while not listener.poll(2):
            socket.send_multipart([probe, b"\x80"])
        listener.close()
        return socket


def answer(remote: zmq.Socket[Any]) -> str:
    assert remote.poll(int(LIMIT_S * 1000)), "no answer from the Remote"
    return remote.recv().decode()


def receive(subscriber: zmq.Socket[Any], count: int) -> list[list[bytes]]:
    """Return the next messages, without fences."""
    found: list[list[bytes]] = []
    while len(found) < count:
        parts = subscriber.recv_multipart()
        if parts[0] != b"bus.fence":
            found.append(parts)
    return found


@contextmanager
def running_hub(**options: Any) -> Iterator[Hub]:
    """Run backbone and inlet.

    Args:
        **options: replies, max_message_bytes, slow_subscriber_s, sub_port.
    """
    threads = sum(1 for _ in zmq_threads())
    context: zmq.Context[Any] = zmq.Context()
    guard = AccessGuard(context, [])
    try:
        with own_context() as peers:
            hub = Hub(context, peers, **options)
            # libzmq's threads have their names only after their first moment; the leak check must know them by then.
            wait_until(lambda: sum(1 for _ in zmq_threads()) >= threads + 4, "the threads of two contexts")
            try:
                yield hub
                assert hub.faults == [], "a mistake of ours"
                assert hub.inlet._thread.is_alive()
                assert hub.rpc._thread.is_alive()
                assert hub.ask(b"v") == "1.2.3"
            finally:
                hub.close()
    finally:
        context.term()
        guard.join()


@contextmanager
def in_background(work: Any, *args: Any) -> Iterator[threading.Event]:
    """Run ``work(stop, *args)`` on a thread until the block ends."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work(stop, *args)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


def parts_of(topic: str, payload: bytes = b"\x80", raw: Sequence[bytes] = ()) -> list[bytes]:
    return [topic.encode(), payload, *raw]
