"""A detector for the tests: PUSH sockets, and a PULL socket for the writers' notes; no frills."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import zmq

from labwire.testing.waiting import wait_until
from labwire.wire.cbor_values import Buffer
from labwire.wire.image_codec import encode_message
from labwire.wire.image_message import EndMessage, Message, StartMessage
from labwire.wire.image_user_data import start_for_socket
from labwire.wire.writer_note import WriterNote, decode_note
from tests.ports import lasting_port

LIMIT_MS = 20_000


class ZeroMqDetector:
    """Sends what it is told to, over so many sockets, to whoever pulls."""

    def __init__(self, sockets: int = 1) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._pushes = [self._socket(zmq.PUSH, f"tcp://127.0.0.1:{lasting_port()}") for _ in range(sockets)]
        self._notes = self._socket(zmq.PULL, "tcp://127.0.0.1:*")
        self.addresses = [f"zmq+{address_of(push)}" for push in self._pushes]
        self.note_address = address_of(self._notes)

    def _socket(self, kind: int, address: str) -> zmq.Socket[Any]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDTIMEO, LIMIT_MS)
        socket.setsockopt(zmq.RCVTIMEO, LIMIT_MS)
        try:
            socket.bind(address)
        except zmq.ZMQError:
            socket.close()
            raise
        return socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for socket in (*self._pushes, self._notes):
            socket.close()
        self._context.term()

    def begin(self, start: StartMessage) -> None:
        """Send START to all, each with its number and where its note goes."""
        for number in range(len(self._pushes)):
            self.send(
                start_for_socket(start, socket_number=number, writer_notification_zmq_addr=self.note_address), number
            )

    def send(self, message: Message | Sequence[Buffer], socket: int = 0) -> None:
        """Send one message; it waits for a writer and for room in its queue."""
        parts = message if isinstance(message, Sequence) else encode_message(message)
        self._pushes[socket].send(b"".join(parts))

    def send_parts(self, parts: Sequence[bytes], socket: int = 0) -> None:
        """Send a message of several parts, which no image stream has."""
        self._pushes[socket].send_multipart(parts)

    def end(self, run: int = 7, **more: Any) -> None:
        """Send END to all."""
        for number in range(len(self._pushes)):
            self.send(EndMessage(series_id=run, series_unique_id=f"run {run}", **more), number)

    def notes(self) -> list[WriterNote]:
        """Wait for one note from each writer; return them by socket."""
        came = [decode_note(self._notes.recv()) for _ in self._pushes]
        return sorted(came, key=lambda note: note.socket_number)

    def has_note(self) -> bool:
        """Whether a note waits."""
        return bool(self._notes.poll(0))

    def rebind(self, between: Callable[[], object] = lambda: None, socket: int = 0) -> None:
        """Close a socket, and open it again at the same place, as soon as ZeroMQ has left that."""
        address = address_of(self._pushes[socket])
        self._pushes[socket].close()
        between()
        wait_until(lambda: self._bound_again(socket, address), f"{address} is free")

    def _bound_again(self, socket: int, address: str) -> bool:
        try:
            self._pushes[socket] = self._socket(zmq.PUSH, address)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            return False
        return True


def address_of(socket: zmq.Socket[Any]) -> str:
    """Return where a socket is bound."""
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
