"""Three small classes for people who come from Pupil: receive, dispatch and stream messages with plain sockets.

They keep the names and the behaviour that scripts written for Pupil's own module of this name rely on: payloads are
dicts, raw parts stand under ``__raw_data__``, notifications go out by their ``subject``. New code is better served by
`labwire.connect`.

Source: ipc-backbone, "Notification Overview", "Latency", "A full example".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import zmq

from labwire.errors import ProtocolError, UsageError
from labwire.wire.bus_message import Part, decode_message, encode_payload

RAW_KEY = "__raw_data__"
"""Where the raw parts of a message stand in its payload; never on the wire."""

_CONNECT_LIMIT_MS = 10_000


class _Socket:
    """A socket that belongs to one of the classes below."""

    def __init__(self, context: zmq.Context[Any], kind: int, url: str, hwm: int | None) -> None:
        self.socket: zmq.Socket[Any] = context.socket(kind)
        self.socket.linger = 500
        if hwm is not None:
            self.socket.set_hwm(hwm)
        self._url = url

    def _connect(self, *, block: bool) -> None:
        if not block:
            self.socket.connect(self._url)
            return
        monitor = self.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self.socket.connect(self._url)
        there = bool(monitor.poll(_CONNECT_LIMIT_MS))
        self.socket.disable_monitor()
        monitor.close()
        if not there:
            self.close()
            raise TimeoutError(f"nobody answers at {self._url}")

    def close(self) -> None:
        """Close the socket; what was sent just now is given half a second to leave."""
        self.socket.close()

    def __del__(self) -> None:
        self.socket.close()


class Msg_Receiver(_Socket):  # noqa: N801  the name that scripts import
    """Receive messages.

    >>> receiver = Msg_Receiver(ctx, sub_url, topics=("notify.",))  # doctest: +SKIP
    >>> topic, payload = receiver.recv()  # doctest: +SKIP

    Args:
        ctx: ZeroMQ context.
        url: Where subscribers connect.
        topics: Prefixes to subscribe to.
        block_until_connected: Wait until the bus is there.
        hwm: Most messages that wait in the socket.

    Raises:
        TimeoutError: The bus did not come within 10 s.
    """

    def __init__(
        self,
        ctx: zmq.Context[Any],
        url: str,
        topics: Iterable[str] = (),
        block_until_connected: bool = True,  # noqa: FBT001, FBT002  as in the original
        hwm: int | None = None,
    ) -> None:
        super().__init__(ctx, zmq.SUB, url, hwm)
        self.malformed = 0
        """Messages that were skipped because they could not be read; the original raised on them."""
        for topic in topics:
            self.subscribe(topic)
        self._connect(block=block_until_connected)

    def subscribe(self, topic: str) -> None:
        """Receive the topics that begin with `topic`."""
        self.socket.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        """Receive them no longer."""
        self.socket.unsubscribe(topic)

    def recv(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next message; return its topic and payload, raw parts under ``__raw_data__``."""
        while True:
            try:
                topic, payload, raw = decode_message(self.socket.recv_multipart())
            except ProtocolError:
                self.malformed += 1
                continue
            if raw:
                payload[RAW_KEY] = raw
            return topic, payload

    @property
    def new_data(self) -> bool:
        """True if a message waits."""
        return bool(self.socket.poll(timeout=0))


class Msg_Streamer(_Socket):  # noqa: N801
    """Publish data, by PUB: fast, unconfirmed.

    Args:
        ctx: ZeroMQ context.
        url: Where publishers connect.
        hwm: Most messages that wait in the socket.
    """

    def __init__(self, ctx: zmq.Context[Any], url: str, hwm: int | None = None) -> None:
        super().__init__(ctx, zmq.PUB, url, hwm)
        self._connect(block=False)

    def send(self, payload: Mapping[str, Any], deprecated: Any = None) -> None:
        """Send a payload to the topic that it names under ``topic``; ``__raw_data__`` follows as raw parts.

        Scripts of before Pupil 1.10 call ``send(topic, payload)``; that works too.
        """
        if isinstance(payload, str):
            payload = {**deprecated, "topic": payload}
        topic = payload.get("topic")
        if not isinstance(topic, str):
            raise UsageError("a payload needs its 'topic'")
        raw: Sequence[Part] = payload.get(RAW_KEY) or ()
        body = {key: value for key, value in payload.items() if key != RAW_KEY}
        self.socket.send_multipart([topic.encode(), encode_payload(body), *raw])


class Msg_Dispatcher(Msg_Streamer):  # noqa: N801
    """Send messages and notifications, by PUSH: the reliable road into the bus.

    Args:
        ctx: ZeroMQ context.
        url: The push port, as the Remote's ``PUSH_PORT`` tells.
        hwm: Most messages that wait in the socket.
    """

    def __init__(self, ctx: zmq.Context[Any], url: str, hwm: int | None = None) -> None:
        _Socket.__init__(self, ctx, zmq.PUSH, url, hwm)
        self._connect(block=False)

    def notify(self, notification: Mapping[str, Any]) -> None:
        """Send a notification by its ``subject``; with a ``delay`` in seconds it comes out later."""
        subject = notification.get("subject")
        if not isinstance(subject, str):
            raise UsageError("a notification needs its 'subject'")
        prefix = "remote_notify" if notification.get("remote_notify") else "notify"
        if prefix == "notify" and notification.get("delay"):
            prefix = "delayed_notify"
        self.send({**notification, "topic": f"{prefix}.{subject}"})


__all__ = ["Msg_Dispatcher", "Msg_Receiver", "Msg_Streamer"]
