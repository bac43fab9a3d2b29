"""Small classes for people who come from Pupil: receive, dispatch and stream messages with plain sockets.

They keep the names and the behaviour that scripts written for Pupil's own module of this name rely on: payloads are
dicts, raw parts stand under ``__raw_data__``, notifications go out by their ``subject``, one object per thread. They
differ where the original could be killed: a message that cannot be read is counted and skipped, and a payload that
cannot be sent leaves the socket whole. New code is better served by `labwire.connect`.

Source: ipc-backbone, "Notification Overview", "Latency", "A full example".
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import zmq

from labwire.bus.connection_watch import ConnectionWatch
from labwire.bus.log_handler import record_payload
from labwire.errors import PeerGoneError, ProtocolError, UsageError
from labwire.wire.bus_message import Part, decode_message, decode_payload, encode_payload, notification_topic

RAW_KEY = "__raw_data__"
"""Where the raw parts of a message stand in its payload; never on the wire."""

_CONNECT_LIMIT_S = 10.0
_LINGER_MS = 500


class _Socket:
    """A socket that belongs to one of the classes below."""

    socket: zmq.Socket[Any]

    def _open(
        self, context: zmq.Context[Any], kind: int, url: str, *, hwm: int | None = None, block: bool = False
    ) -> None:
        self.socket = context.socket(kind)
        self.socket.linger = _LINGER_MS
        if hwm is not None:
            self.socket.set_hwm(hwm)
        watch = ConnectionWatch(context, self.socket)
        watch.connect(url)
        try:
            there = watch.wait(_CONNECT_LIMIT_S) if block else True
        finally:
            watch.close()
        if not there:
            self.close()
            raise PeerGoneError(f"nobody answers at {url} within {_CONNECT_LIMIT_S:g} s", url=url)

    def close(self) -> None:
        """Close the socket; what was sent just now is given half a second to leave."""
        self.socket.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it never came to a socket
            self.socket.close()


class Msg_Receiver(_Socket):  # noqa: N801  the name that scripts import
    """Receive messages. Not for two threads at once.

    >>> receiver = Msg_Receiver(ctx, sub_url, topics=("notify.",))  # doctest: +SKIP
    >>> topic, payload = receiver.recv()  # doctest: +SKIP

    Args:
        ctx: ZeroMQ context.
        url: Where subscribers connect: ``tcp://HOST:SUB_PORT``.
        topics: Prefixes to subscribe to.
        block_until_connected: Wait until the bus is there.
        hwm: Most messages that wait in the socket; None for ZeroMQ's 1000.

    Raises:
        PeerGoneError: The bus did not come within 10 s.
        UsageError: `topics` is a text instead of a list of texts.
    """

    def __init__(
        self,
        ctx: zmq.Context[Any],
        url: str,
        topics: Iterable[str] = (),
        block_until_connected: bool = True,  # noqa: FBT001, FBT002  as in the original
        hwm: int | None = None,
    ) -> None:
        if isinstance(topics, str):
            raise UsageError(f"topics is a list of topics: ({topics!r},)")
        self.malformed = 0
        """Messages that were skipped because they could not be read; the original raised on them."""
        self._open(ctx, zmq.SUB, url, hwm=hwm, block=block_until_connected)
        for topic in topics:
            self.subscribe(topic)

    def subscribe(self, topic: str) -> None:
        """Receive the topics that begin with `topic`."""
        self.socket.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        """Receive them no longer."""
        self.socket.unsubscribe(topic)

    def recv(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next message; return its topic and payload, raw parts as a tuple under ``__raw_data__``.

        The payload of a message of one part is empty.
        """
        while True:
            try:
                topic, payload, raw = decode_message(self.socket.recv_multipart())
            except ProtocolError:
                self.malformed += 1
                continue
            if raw:
                payload[RAW_KEY] = raw
            return topic, payload

    def recv_topic(self) -> str:
        """Wait for the next message and return its topic alone; take the rest with `recv_remaining_frames`."""
        return self.socket.recv().decode("utf-8", "replace")

    def recv_remaining_frames(self) -> Iterator[bytes]:
        """Yield the parts of the present message that have not been taken yet."""
        while self.socket.getsockopt(zmq.RCVMORE):
            yield self.socket.recv()

    def deserialize_payload(self, payload_serialized: bytes, *extra_frames: bytes) -> dict[str, Any]:
        """Decode a payload and put the raw parts into it.

        Raises:
            ProtocolError: It is not a MessagePack map.
        """
        payload = decode_payload(payload_serialized)
        return {**payload, RAW_KEY: extra_frames} if extra_frames else payload

    @property
    def new_data(self) -> bool:
        """True if a message waits."""
        return bool(self.socket.poll(timeout=0))


class Msg_Streamer(_Socket):  # noqa: N801
    """Send data, by PUB: fast, unconfirmed, lost before the connection stands. Not for two threads at once.

    Args:
        ctx: ZeroMQ context.
        url: Where publishers connect: ``tcp://HOST:PUB_PORT``.
        hwm: Most messages that wait in the socket; None for ZeroMQ's 1000.
        socket_type: Kind of socket.
    """

    def __init__(
        self, ctx: zmq.Context[Any], url: str, hwm: int | None = None, socket_type: int = int(zmq.PUB)
    ) -> None:
        self._open(ctx, socket_type, url, hwm=hwm)

    def send(self, payload: Mapping[str, Any] | str, deprecated: Any = ()) -> None:
        """Send a payload to the topic that it names under ``topic``; what is in ``__raw_data__`` follows as raw parts.

        Scripts of before Pupil 1.10 call ``send(topic, payload)``; that works too.

        Raises:
            UsageError: There is no topic, or the payload cannot be sent; nothing is.
        """
        if isinstance(payload, str):
            payload = {**deprecated, "topic": payload}
        topic = payload.get("topic")
        if not isinstance(topic, str):
            raise UsageError(f"a payload needs its 'topic': {dict(payload)!r:.200}")
        raw: Sequence[Part] = payload.get(RAW_KEY) or ()
        body = encode_payload({key: value for key, value in payload.items() if key != RAW_KEY})
        try:
            self.socket.send_multipart([topic.encode(), body, *raw])
        except (TypeError, UnicodeEncodeError) as error:
            raise UsageError(f"{topic!r} cannot be sent: {error}") from error


class Msg_Dispatcher(Msg_Streamer):  # noqa: N801
    """Send messages and notifications, by PUSH: the reliable road into the bus. Not for two threads at once.

    Args:
        ctx: ZeroMQ context.
        url: The push port, as the Remote's ``PUSH_PORT`` tells.
    """

    def __init__(self, ctx: zmq.Context[Any], url: str) -> None:
        super().__init__(ctx, url, socket_type=int(zmq.PUSH))

    def notify(self, notification: Mapping[str, Any]) -> None:
        """Send a notification by its ``subject``; with a ``delay`` in seconds it comes out later.

        Raises:
            UsageError: There is no ``subject``.
        """
        self.send({**notification, "topic": notification_topic(notification)})


class ZMQ_handler(logging.Handler):  # noqa: N801
    """Send log records to the bus as ``logging.<level>``.

    Args:
        ctx: ZeroMQ context.
        ipc_push_url: The push port, as the Remote's ``PUSH_PORT`` tells.
    """

    def __init__(self, ctx: zmq.Context[Any], ipc_push_url: str) -> None:
        super().__init__()
        self.socket = Msg_Dispatcher(ctx, ipc_push_url)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            self.socket.send(record_payload(record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
        super().close()


__all__ = ["Msg_Dispatcher", "Msg_Receiver", "Msg_Streamer", "ZMQ_handler"]
