"""How long a request to the Remote takes, and how long a message takes over the bus to one's own subscriber.

Each is measured tight, one after the other, and spaced by 3 ms as in the spec (ipc-backbone, "Latency"): on a virtual
machine the spaced figures are those of waking an idle core. The pyzmq client is the same program whatever it talks to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgpack
import zmq

from benchmarks.bus.peers import Peer
from benchmarks.common import Case
from labwire.bus.publisher import Publisher
from labwire.bus.subscription import Subscription

SPACED_S = 0.003
LIMIT_S = 5.0
_SUBJECT = "pingback_test"
_TOPIC = f"notify.{_SUBJECT}"
_CONFIRMED = "notify.confirmed_test"  # not what the pingbacks listen to

RoundTrip = Callable[[], object]


class Counts(NamedTuple):
    """How many round trips a round has."""

    tight: int
    spaced: int


class Peers(NamedTuple):
    """Who answers."""

    rig: Peer
    bus: Peer
    proxy: Peer
    reply: Peer
    reply_again: Peer
    """The same program once more: the ratio of the two is what chance does."""
    reply_with_poller: Peer


REMOTE = {
    "t: pyzmq REQ-REP": "reply",
    "t: pyzmq REQ-REP, again": "reply_again",
    "t: pyzmq REQ-REP with poller": "reply_with_poller",
    "t: labwire, bus alone": "bus",
    "t: labwire, whole rig": "rig",
}
CONFIRMED = {
    "confirmed notification: labwire, bus alone": "bus",
    "confirmed notification: labwire, whole rig": "rig",
}
DIRECT = "bus: pyzmq, no proxy"
BARE = "bus: pyzmq, bare proxy"
PINGBACK = {
    BARE: "proxy",
    "bus: pyzmq, labwire bus alone": "bus",
    "bus: pyzmq, labwire whole rig": "rig",
}
CLIENT = {
    "bus: labwire client, bus alone": "bus",
    "bus: labwire client, whole rig": "rig",
}


@contextmanager
def latency_cases(peers: Peers, counts: Counts) -> Iterator[list[Case]]:
    """Open the connections and give one case per road and spacing; the connections stay open over all rounds."""
    context: zmq.Context[Any] = zmq.Context()
    clients: list[Publisher | Subscription[Any]] = []
    try:
        cases = [
            Case(name + suffix, _measure(trip, count, gap_s))
            for name, trip in _round_trips(context, peers, clients)
            for suffix, count, gap_s in ((TIGHT, counts.tight, 0.0), (SPACED, counts.spaced, SPACED_S))
        ]
        yield cases
    finally:
        for client in clients:
            client.close()
        context.destroy(linger=0)


TIGHT, SPACED = ", tight", ", 3 ms apart"


def _round_trips(
    context: zmq.Context[Any], peers: Peers, clients: list[Publisher | Subscription[Any]]
) -> Iterator[tuple[str, RoundTrip]]:
    for name, peer in REMOTE.items():
        yield name, _ask(context, getattr(peers, peer).url("remote"), [b"t"])
    for name, peer in CONFIRMED.items():
        message = [_CONFIRMED.encode(), msgpack.packb({"subject": _SUBJECT})]
        yield name, _ask(context, getattr(peers, peer).url("remote"), message)
    yield DIRECT, _pingback_direct(context)
    for name, peer in PINGBACK.items():
        yield name, _pingback(context, getattr(peers, peer))
    for name, peer in CLIENT.items():
        yield name, _pingback_of_client(context, getattr(peers, peer), clients)


def _measure(trip: RoundTrip, count: int, gap_s: float) -> Callable[[], list[float]]:
    def run() -> list[float]:
        trip()  # wakes what has slept while other cases ran
        samples: list[float] = []
        for _ in range(count):
            if gap_s:
                time.sleep(gap_s)
            start_s = time.perf_counter()
            trip()
            samples.append((time.perf_counter() - start_s) * 1e6)
        return samples

    return run


def _socket(context: zmq.Context[Any], kind: int) -> zmq.Socket[Any]:
    socket = context.socket(kind)
    socket.rcvtimeo = int(LIMIT_S * 1000)  # a lost message ends the benchmark instead of standing still
    return socket


def _ask(context: zmq.Context[Any], url: str, request: list[Any]) -> RoundTrip:
    socket = _socket(context, zmq.REQ)
    socket.connect(url)

    def trip() -> None:
        socket.send_multipart(request)
        socket.recv()

    return trip


def _pingback_direct(context: zmq.Context[Any]) -> RoundTrip:
    pub, sub = _socket(context, zmq.PUB), _socket(context, zmq.SUB)
    port = pub.bind_to_random_port("tcp://127.0.0.1")
    sub.subscribe(_TOPIC)
    sub.connect(f"tcp://127.0.0.1:{port}")
    return _joined(_pyzmq_pingback(pub, sub), sub)


def _pingback(context: zmq.Context[Any], peer: Peer) -> RoundTrip:
    pub, sub = _socket(context, zmq.PUB), _socket(context, zmq.SUB)
    sub.subscribe(_TOPIC)
    sub.connect(peer.url("sub_port"))
    pub.connect(peer.url("pub_port"))
    return _joined(_pyzmq_pingback(pub, sub), sub)


def _pyzmq_pingback(pub: zmq.Socket[Any], sub: zmq.Socket[Any]) -> RoundTrip:
    # As in the spec's own test: encode, two sends, receive, decode.
    def trip() -> None:
        body: bytes = msgpack.packb({"subject": _SUBJECT})  # pyright: ignore[reportAssignmentType]
        pub.send_string(_TOPIC, flags=zmq.SNDMORE)
        pub.send(body)
        _, received = sub.recv_multipart()
        msgpack.loads(received)

    return trip


def _joined(trip: RoundTrip, sub: zmq.Socket[Any]) -> RoundTrip:
    """Wait until messages come back; what was published too early is lost, as PUB-SUB has it."""
    sub.rcvtimeo = 50
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            trip()
        except zmq.Again:
            if time.monotonic() > deadline:
                raise
        else:
            break
    try:
        while True:
            sub.recv_multipart()  # a message that came after its trip was given up
    except zmq.Again:
        sub.rcvtimeo = int(LIMIT_S * 1000)
    return trip


def _pingback_of_client(
    context: zmq.Context[Any], peer: Peer, clients: list[Publisher | Subscription[Any]]
) -> RoundTrip:
    publisher = Publisher(peer.url("pub_port"), context=context)
    clients.append(publisher)
    topic = f"notify.client_pingback_test.{len(clients)}"  # not what the pyzmq pingbacks listen to
    subscription = Subscription(peer.url("sub_port"), [topic], context=context)
    clients.append(subscription)
    if not (publisher.wait_connected(LIMIT_S) and subscription.wait_connected(LIMIT_S)):
        raise TimeoutError("the bus does not answer")
    time.sleep(0.1)  # the bus learns the prefix right after the connection

    def trip() -> None:
        publisher.publish(topic, {"subject": _SUBJECT})
        subscription.recv(LIMIT_S)

    return trip
