"""The inlet's one way into the backbone, and the proof that a message has come out of it.

Source: ipc-backbone, "Delivery guarantees". An XPUB joins the XSUB by inproc; it does not filter and, with NODROP,
would rather wait than drop. A *fence* that is published behind a message proves that the message has come out at the
subscribers' side: one pipe is first in, first out.
"""

from __future__ import annotations

import itertools
import math
import struct
import time
from collections.abc import Sequence
from typing import Any

import zmq

from labwire.bus.backbone import MONITOR_INPROC, XPUB_INPROC, XSUB_INPROC
from labwire.bus.parts import parts_of, send_parts
from labwire.wire.bus_message import encode_payload

FENCE_TOPIC = b"bus.fence"
FENCE_LIMIT_S = 1.0
"""How long a confirmation waits for its fence."""
HASTY_SUBSCRIBER_S = 0.020
"""How long a confirmed message waits for a reader that has connected but not subscribed yet."""
SETTLE_S = 1e-6
"""A script's request overtakes the connection that the script opened before it, by some 20 µs. The system makes about
60 µs of the shortest sleep; without it, one of twenty scripts misses the answer that it asks for."""
_MAX_FENCES = 10_000  # others may publish on the topic too; our own fences are never more than a few
_MAX_NEWCOMERS = 1000
_SUBSCRIBE = b"\x01"  # first byte of a subscription; a cancelled one begins with \x00
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)  # pyzmq's flags are enums, and slow where they are combined
_EVENT = struct.Struct("=Hi")  # number and value of a monitor's event; the value is the connection's descriptor


class Entry:
    """Publishes into the backbone; used by one thread.

    Args:
        context: The backbone's context.
    """

    def __init__(self, context: zmq.Context[Any]) -> None:
        self.readers_connected = 0
        self.undelivered = 0
        """Messages that the backbone did not take within `FENCE_LIMIT_S`."""
        self._nonces = itertools.count(1)
        self._newcomers: dict[int, float] = {}
        self._out = context.socket(zmq.XPUB)
        self._fence = context.socket(zmq.SUB)
        self._readers = context.socket(zmq.PAIR)
        for socket in self.sockets:
            socket.linger = 0
        self._out.setsockopt(zmq.XPUB_NODROP, 1)
        self._out.setsockopt(zmq.XPUB_VERBOSE, 1)  # a subscription that another reader has already counts as well
        self._out.sndtimeo = self._fence.rcvtimeo = int(FENCE_LIMIT_S * 1000)
        self._out.connect(XSUB_INPROC)
        self._fence.rcvhwm = _MAX_FENCES
        self._fence.subscribe(FENCE_TOPIC)
        self._fence.connect(XPUB_INPROC)
        self._readers.rcvhwm = 0  # a full monitor would hold up the I/O thread of the whole hub
        self._readers.connect(MONITOR_INPROC)

    @property
    def sockets(self) -> tuple[zmq.Socket[Any], ...]:
        """Call `look` when one of these can be read."""
        return self._out, self._fence, self._readers

    def publish(self, parts: Sequence[bytes]) -> bool:
        """Publish a message; False, and counted, if the backbone stands still."""
        try:
            send_parts(self._out, parts)
        except zmq.Again:
            self.undelivered += 1
            return False
        return True

    def confirm(self, parts: Sequence[bytes]) -> bool:
        """Publish a message and wait until it has come out at the subscribers' side.

        Scripts subscribe and ask at once. So a connection that may be on its way is given `SETTLE_S` to arrive, and a
        reader that has just connected `HASTY_SUBSCRIBER_S` to subscribe.
        """
        time.sleep(SETTLE_S)
        self._see_readers()
        if self._newcomers:
            self._await_newcomers()
        nonce = encode_payload({"nonce": next(self._nonces)})
        return self.publish(parts) and self.publish((FENCE_TOPIC, nonce)) and self._await_fence(nonce)

    def look(self) -> None:
        """See which readers came, went and subscribed; forget fences that came too late."""
        self._see_readers()
        self._see_subscriptions()
        while can_read(self._fence):
            self._fence.recv_multipart(zmq.NOBLOCK)

    def close(self) -> None:
        """Close the sockets."""
        for socket in self.sockets:
            socket.close()

    def _await_fence(self, nonce: bytes) -> bool:
        deadline = time.monotonic() + FENCE_LIMIT_S
        try:
            while parts_of(self._fence, self._fence.recv(0, copy=False))[1:] != [nonce]:
                if time.monotonic() > deadline:
                    return False  # somebody else floods the topic
        except zmq.Again:
            return False
        return True

    def _await_newcomers(self) -> None:
        self._see_subscriptions()
        while self._newcomers:
            fd, accepted_s = next(iter(self._newcomers.items()))
            left_s = accepted_s + HASTY_SUBSCRIBER_S - time.monotonic()
            if left_s <= 0:
                del self._newcomers[fd]
                continue
            self._out.poll(math.ceil(left_s * 1000))
            self._see_subscriptions()

    def _see_readers(self) -> None:
        while can_read(self._readers):
            event, fd = _EVENT.unpack(self._readers.recv_multipart(zmq.NOBLOCK)[0])
            self._newcomers.pop(fd, None)
            if event != zmq.EVENT_ACCEPTED:
                self.readers_connected -= 1
                continue
            self.readers_connected += 1
            if len(self._newcomers) < _MAX_NEWCOMERS:
                self._newcomers[fd] = time.monotonic()

    def _see_subscriptions(self) -> None:
        # Whose subscription it is cannot be told; the reader that waits longest is the likeliest.
        while can_read(self._out):
            message = self._out.recv(zmq.NOBLOCK)
            if self._newcomers and message[:1] == _SUBSCRIBE:
                del self._newcomers[next(iter(self._newcomers))]


def can_read(socket: zmq.Socket[Any]) -> bool:
    """Tell whether a message waits in a socket, without an exception if there is none."""
    return bool(socket.getsockopt(_EVENTS) & _POLLIN)  # type: ignore[operator]
