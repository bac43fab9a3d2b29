"""A reader of a ZeroMQ image stream that does what a test tells it to."""

from __future__ import annotations

from typing import Any, Self

import zmq

from labwire.wire.image_codec import decode_message
from labwire.wire.image_message import EndMessage, ImageMessage, Message, StartMessage
from labwire.wire.image_user_data import read_user_data
from labwire.wire.writer_note import WriterNote, encode_note

LIMIT_MS = 20_000


class Puller:
    """One PULL socket; nothing is received unless a test asks for it."""

    def __init__(self, address: str, watermark: int = 1000) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.socket = self._context.socket(zmq.PULL)
        self.socket.linger = 0
        self.socket.rcvtimeo = LIMIT_MS
        self.socket.set_hwm(watermark)
        self.socket.rcvbuf = 4096
        self.socket.connect(address.removeprefix("zmq+"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self._context.term()

    def receive(self) -> Message:
        """Wait for one message."""
        return decode_message(self.socket.recv())

    def start(self) -> StartMessage:
        """Wait for one message, which must be START."""
        message = self.receive()
        assert isinstance(message, StartMessage)
        return message

    def images(self) -> list[ImageMessage]:
        """Take images until END comes."""
        found: list[ImageMessage] = []
        while not isinstance(message := self.receive(), EndMessage):
            assert isinstance(message, ImageMessage)
            found.append(message)
        return found

    def note(self, start: StartMessage, **changed: Any) -> None:
        """Report that all went well, or what is given instead."""
        address = read_user_data(start).writer_notification_zmq_addr
        assert address is not None
        told: dict[str, Any] = {
            "run_number": start.series_id,
            "run_name": start.series_unique_id,
            "socket_number": start.socket_number,
            "processed_images": 0,
            "ok": True,
            **changed,
        }
        self.send(address, encode_note(WriterNote(**told)))

    def send(self, address: str, *parts: bytes) -> None:
        """Send something to the notification socket."""
        with self._context.socket(zmq.PUSH) as push:
            push.linger = LIMIT_MS
            push.connect(address)
            push.send_multipart(parts)

    @property
    def waiting(self) -> bool:
        """Whether a message is there."""
        return bool(self.socket.poll(0))
