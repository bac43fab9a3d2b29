"""Whether a confirmation is true: nothing overtakes it, and no connected subscriber misses what was confirmed."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import msgpack
import zmq

from benchmarks.bus.peers import Peer

_LIMIT_MS = 5000
_CONFIRMED, _MARKER = "notify.confirmed", "marker.confirmed"


class Confirmations(NamedTuple):
    """What was counted."""

    confirmed: int
    overtaken: int
    """A message that was published after the confirmation, on another connection, came first."""
    missed: int


def check_confirmations(peer: Peer, count: int) -> Confirmations:
    """Confirm, then publish a marker elsewhere, and look at the order in which a subscriber gets the two."""
    context: zmq.Context[Any] = zmq.Context()
    req, pub, sub = context.socket(zmq.REQ), context.socket(zmq.PUB), context.socket(zmq.SUB)
    try:
        req.connect(peer.url("remote"))
        pub.connect(peer.url("pub_port"))
        sub.subscribe(_CONFIRMED)
        sub.subscribe(_MARKER)
        sub.connect(peer.url("sub_port"))
        req.rcvtimeo = sub.rcvtimeo = _LIMIT_MS
        _join(pub, sub)
        overtaken = missed = 0
        for number in range(count):
            body = msgpack.packb({"subject": "confirmed", "number": number})
            req.send_multipart([_CONFIRMED.encode(), body])
            req.recv()
            pub.send_multipart([_MARKER.encode(), msgpack.packb(number)])
            first, second = sub.recv_multipart(), None
            if first[0] == _MARKER.encode():
                overtaken += 1
                second = sub.recv_multipart() if sub.poll(1000) else None
                missed += second is None
            else:
                sub.recv_multipart()
        return Confirmations(count, overtaken, missed)
    finally:
        context.destroy(linger=0)


def _join(pub: zmq.Socket[Any], sub: zmq.Socket[Any]) -> None:
    deadline = time.monotonic() + _LIMIT_MS / 1000
    while not sub.poll(50):
        if time.monotonic() > deadline:
            raise TimeoutError("the bus does not answer")
        pub.send_multipart([_MARKER.encode(), b""])
    while sub.poll(100):
        sub.recv_multipart()
