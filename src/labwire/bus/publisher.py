"""The sending end of the bus: one per process, shared by its threads.

Source: ipc-backbone, "Writing to the Backbone directly" and "Delivery Guarantees PUB-SUB".
"""

from __future__ import annotations

import os
import socket as network
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec
import zmq

from labwire.bus.connection_watch import ConnectionWatch
from labwire.bus.far_peer import notice_loss
from labwire.bus.parts import send_part
from labwire.errors import LabwireError, ResourceError, StateError, UsageError
from labwire.wire.bus_message import Part, encode_payload, notification_topic

# Plain integers: pyzmq's enumerations cost a microsecond per message where they are combined.
_NOBLOCK = int(zmq.NOBLOCK)
_MORE = int(zmq.SNDMORE | zmq.NOBLOCK)
_SUBSCRIBE = b"\x01"  # first byte of a subscription, as an XPUB receives it
_LOOK_EVERY_S = 0.25
_RETRY_S = 0.0005
_BLANKET_LIMIT_S = 0.1  # a labwire hub subscribes at once to everything; another one may never subscribe


class PublisherStatistics(msgspec.Struct, frozen=True):
    """What a publisher has counted since it was made."""

    published: int
    """Messages handed to ZeroMQ."""
    dropped: int
    """Messages that the hub did not take in time, because it was stalled."""
    unconnected: int
    """Messages published before the hub was there; ZeroMQ gives them to nobody."""
    connected: bool


class Publisher:
    """Publishes onto a bus. Safe to use from many threads; never waits longer than `block_s`.

    >>> publisher = Publisher("tcp://127.0.0.1:50021", name="camera")  # doctest: +SKIP
    >>> publisher.wait_connected(2.0)  # doctest: +SKIP
    >>> publisher.publish("weather.wind", {"speed_m_s": 3.4})  # doctest: +SKIP

    `publish` may lose messages as ZeroMQ's PUB does, but never unnoticed: a hub that does not take them makes it wait
    once, up to `block_s`; from then on messages are dropped and counted until the hub takes one again.

    Args:
        pub_url: Where publishers connect: ``tcp://HOST:PUB_PORT``.
        push_url: Where reliable messages go: ``tcp://HOST:PUSH_PORT``; None sends them as all others.
        context: ZeroMQ context; by default the process's own.
        name: Name of the emitter in numbered messages; by default host and process number.
        sndhwm: Most messages that wait here for the hub on each road, 0 for no bound.
        block_s: How long a message waits for room.
    """

    def __init__(
        self,
        pub_url: str,
        push_url: str | None = None,
        *,
        context: zmq.Context[Any] | None = None,
        name: str = "",
        sndhwm: int = 1000,
        block_s: float = 0.1,
    ) -> None:
        self.name = name or f"{network.gethostname()}-{os.getpid()}"
        self._context: zmq.Context[Any] = context or zmq.Context.instance()
        self._pub_url, self._push_url, self._sndhwm, self._block_s = pub_url, push_url, sndhwm, block_s
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._stalled: set[zmq.Socket[Any]] = set()
        self._published = self._dropped = self._unconnected = 0
        self._next_look_s = 0.0
        self._hub_listens = self._closed = False
        self._pub, self._watch = self._open_pub()
        try:
            self._push = self._open_push() if push_url else None
        except BaseException:
            self._watch.close()
            self._pub.close()
            raise

    def publish(self, topic: str, payload: Mapping[str, Any] | msgspec.Struct, raw: Sequence[Part] = ()) -> bool:
        """Publish a message; return False if it is known to be lost.

        Args:
            topic: Any topic; subscribers match it by its first bytes.
            payload: A map of what MessagePack can hold.
            raw: Parts that follow the payload as they are.

        Raises:
            UsageError: The payload cannot be sent.
            StateError: The publisher is closed.
        """
        body = _encode_map(topic, payload)
        with self._lock:
            return self._publish(topic, body, raw)

    def publish_numbered(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Part] = ()) -> bool:
        """Publish a message with the keys ``seq`` and ``emitter`` added, so that labwire readers can count gaps.

        ``seq`` counts the messages of this emitter on this topic, from 0. Only for topics that labwire itself defines,
        never for ``notify.``, ``logging.``, ``pupil.`` or ``gaze``: foreign readers know those.

        Raises:
            UsageError: The payload cannot be sent.
            StateError: The publisher is closed.
        """
        with self._lock:
            seq = self._numbers.get(topic, 0)
            body = encode_payload({**payload, "seq": seq, "emitter": self.name}, topic)
            self._numbers[topic] = seq + 1  # a message that is lost here shows as a gap there
            return self._publish(topic, body, raw)

    def notify(self, notification: Mapping[str, Any]) -> bool:
        """Send a notification, by the reliable road if there is one; return False if it is known to be lost.

        As in the original dispatcher the topic follows from the notification and is written into its payload; a
        ``delay`` (seconds) makes it a delayed one.

        Args:
            notification: A map with at least ``subject``.

        Raises:
            UsageError: There is no ``subject``, or the payload cannot be sent.
            StateError: The publisher is closed.
        """
        topic = notification_topic(notification)
        return self.notify_raw(topic, {**notification, "topic": topic})

    def notify_raw(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Part] = ()) -> bool:
        """Send any message by the reliable road: important and rare ones (ipc-backbone: "important low volume msgs").

        Raises:
            UsageError: The payload cannot be sent.
            StateError: The publisher is closed.
        """
        body = _encode_map(topic, payload)
        with self._lock:
            return self._send(self._push, topic, body, raw) if self._push else self._publish(topic, body, raw)

    def forward(self, parts: Sequence[Part]) -> bool:
        """Publish a message that is encoded already, part by part as it is; return False if it is known to be lost.

        Args:
            parts: Topic, payload, raw parts; the topic alone is a message, too.

        Raises:
            UsageError: There is no part, or one is not contiguous bytes.
            StateError: The publisher is closed.
        """
        if not _check_raw(parts):
            raise UsageError("a message has at least one part")
        with self._lock:
            return self._is_heard() and self._forward(self._pub, parts)

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the hub takes messages from here; False if it did not in time.

        A labwire hub subscribes to everything, so nothing published from now on is lost on its way there. With another
        hub, only what somebody has subscribed to gets there.
        """
        deadline = time.monotonic() + timeout_s
        if not self._watch.wait(timeout_s):
            return False
        limit = min(deadline, time.monotonic() + _BLANKET_LIMIT_S)
        while True:
            with self._lock:
                if self._closed:
                    return False
                self._look_at_hub()
                left_s = limit - time.monotonic()
                if self._hub_listens or left_s <= 0:
                    return True
                self._pub.poll(max(1, int(left_s * 1000)), zmq.POLLIN)

    def statistics(self) -> PublisherStatistics:
        """Return the counters."""
        with self._lock:
            connected = not self._closed and self._watch.connected
            return PublisherStatistics(self._published, self._dropped, self._unconnected, connected)

    def close(self, linger_s: float = 1.0) -> None:
        """Close; what is still on its way gets at most `linger_s`. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._watch.close()
            for socket in self._sockets:
                socket.close(linger=int(linger_s * 1000))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _sockets(self) -> list[zmq.Socket[Any]]:
        return [self._pub, self._push] if self._push else [self._pub]

    def _open_pub(self) -> tuple[zmq.Socket[Any], ConnectionWatch]:
        # An XPUB that must not drop says when the hub is full; a PUB would drop without a word.
        socket = self._context.socket(zmq.XPUB)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.sndhwm = self._sndhwm
        socket.immediate = 1  # while the hub is away nothing is stored, which would reach the next hub as old news
        notice_loss(socket, self._pub_url)
        watch = ConnectionWatch(self._context, socket)
        watch.connect(self._pub_url)
        return socket, watch

    def _open_push(self) -> zmq.Socket[Any]:
        socket = self._context.socket(zmq.PUSH)
        socket.sndhwm = self._sndhwm
        notice_loss(socket, self._push_url or "")
        try:
            socket.connect(self._push_url or "")
        except zmq.ContextTerminated:
            socket.close()
            raise
        except zmq.ZMQError as error:
            socket.close()
            raise UsageError(f"{self._push_url!r} is no address: write tcp://HOST:PORT") from error
        return socket

    def _reopen(self, socket: zmq.Socket[Any]) -> None:
        # A socket that closes takes an unfinished message back and sends the finished ones.
        if socket is self._push:
            self._push = self._open_push()
        else:
            self._watch.close()
            self._pub, self._watch = self._open_pub()
            self._hub_listens, self._next_look_s = False, 0.0
        socket.close(linger=int(self._block_s * 1000))

    # The methods below are called with the lock held.

    def _publish(self, topic: str, body: bytes, raw: Sequence[Part]) -> bool:
        return self._is_heard() and self._send(self._pub, topic, body, raw)

    def _is_heard(self) -> bool:
        if time.monotonic() >= self._next_look_s:
            self._look_at_hub()
            if not self._hub_listens:
                self._unconnected += 1
                return False
        return True

    def _forward(self, socket: zmq.Socket[Any], parts: Sequence[Part]) -> bool:
        last = len(parts) - 1
        try:
            for number, part in enumerate(parts):
                flags = _MORE if number < last else _NOBLOCK
                try:
                    send_part(socket, part, flags)
                except zmq.Again:  # only the first can meet a full queue
                    if not self._send_late(socket, part, flags):
                        return False
        except zmq.ZMQError as error:
            raise self._explain(error, bytes(parts[0][:80]).decode("utf-8", "backslashreplace")) from error
        except BaseException:  # Ctrl-C between two parts: the next message must not begin with half of this one
            self._reopen(socket)
            raise
        self._published += 1
        return True

    def _send(self, socket: zmq.Socket[Any], topic: str, body: bytes, raw: Sequence[Part]) -> bool:
        parts = _check_raw(raw) if raw else ()
        try:
            first = topic.encode()
            try:
                send_part(socket, first, _MORE)
            except zmq.Again:
                if not self._send_late(socket, first):
                    return False
            # A message that has begun can always be finished: libzmq counts whole messages against its bound.
            if parts:
                send_part(socket, body, _MORE)
                for part in parts[:-1]:
                    send_part(socket, part, _MORE)
                send_part(socket, parts[-1], _NOBLOCK)
            else:
                send_part(socket, body, _NOBLOCK)
        except UnicodeEncodeError as error:
            raise UsageError(f"{topic!r} is not a topic: it has no UTF-8 form") from error
        except zmq.ZMQError as error:
            raise self._explain(error, topic) from error
        except BaseException:  # Ctrl-C between two parts: the next message must not begin with half of this one
            self._reopen(socket)
            raise
        self._published += 1
        return True

    def _send_late(self, socket: zmq.Socket[Any], first: Part, flags: int = _MORE) -> bool:
        # Only the first message of a stall waits: a stalled hub must not slow its publishers down for ever.
        deadline = 0.0 if socket in self._stalled else time.monotonic() + self._block_s
        while True:
            socket.getsockopt(zmq.EVENTS)  # makes libzmq look at once, not within a millisecond, what the hub has taken
            try:
                send_part(socket, first, flags)
            except zmq.Again:
                if time.monotonic() >= deadline:
                    self._stalled.add(socket)
                    self._dropped += 1
                    return False
                time.sleep(_RETRY_S)
            else:
                self._stalled.discard(socket)
                return True

    def _look_at_hub(self) -> None:
        if self._closed:
            raise self._explain(None, "")
        while self._pub.getsockopt(zmq.EVENTS) & zmq.POLLIN:  # type: ignore[operator]
            self._hub_listens |= self._pub.recv(_NOBLOCK)[:1] == _SUBSCRIBE
        self._hub_listens &= self._watch.connected
        self._next_look_s = time.monotonic() + _LOOK_EVERY_S if self._hub_listens else 0.0

    def _explain(self, error: zmq.ZMQError | None, topic: str) -> LabwireError:
        if self._closed or isinstance(error, zmq.ContextTerminated):
            return StateError(f"the publisher {self.name!r} is closed; {topic!r} was not published")
        return ResourceError(f"{topic!r} was not published: {error}")


def _encode_map(topic: str, payload: Mapping[str, Any] | msgspec.Struct) -> bytes:
    if payload.__class__ is not dict and not _is_map(payload):
        what = f"it must be a map of keys and values, not {type(payload).__name__}"
        raise UsageError(f"payload of {topic!r} cannot be sent: {what}")
    return encode_payload(payload, topic)


def _is_map(payload: object) -> bool:
    return isinstance(payload, (Mapping, msgspec.Struct))


def _check_raw(raw: Sequence[Part]) -> Sequence[Part]:
    # Before the first part is sent, because a message cannot be taken back half-way.
    for number, part in enumerate(raw):
        try:
            contiguous = memoryview(part).contiguous
        except TypeError:
            contiguous = False
        if not contiguous:
            raise UsageError(f"raw part {number} must be contiguous bytes, not {type(part).__name__}")
    return raw
