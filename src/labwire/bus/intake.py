"""What a subscription does with one message: read its parts, look at its number, give it the form that was asked for.

This runs for every message of a stream, hence the care for tenths of a microsecond.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

import msgspec
import zmq

from labwire.errors import ProtocolError
from labwire.wire.bus_message import BusMessage, decode_message, decode_topic, peek_header
from labwire.wire.gap_counter import Gap, GapCounter

S = TypeVar("S", bound=msgspec.Struct)

_RCVMORE = int(zmq.RCVMORE)
_MAX_NOTICES = 1000
# What decoders raise on bytes that are not what they expect; no payload at all is an IndexError.
_UNREADABLE = (ProtocolError, msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError, IndexError)
_new_tuple: Callable[..., Any] = cast("Any", tuple).__new__  # half the time of a NamedTuple's own __new__


class TypedMessage(NamedTuple, Generic[S]):
    """A message whose payload was decoded into a struct."""

    topic: str
    payload: S
    raw: tuple[bytes, ...] = ()


class Malformed(NamedTuple):
    """A message that is skipped because it has not the form that was asked for."""

    parts: list[bytes]
    error: ProtocolError


Notice: TypeAlias = Gap | Malformed


class Intake:
    """Reads a SUB socket. Not for two threads at once: its subscription holds a lock around every call.

    Args:
        socket: Where the messages come from.
        typed: Struct to decode payloads into, or None.
        decode: False leaves messages as lists of parts.
        count_gaps: Whether to look at the numbers of messages.
        keep_notices: Whether somebody wants to hear of gaps and malformed messages.
    """

    def __init__(
        self,
        socket: zmq.Socket[Any],
        *,
        typed: type[msgspec.Struct] | None,
        decode: bool,
        count_gaps: bool,
        keep_notices: bool,
    ) -> None:
        self._recv: Callable[[int, bool], Any] = socket.recv
        self._socket = socket
        self._torn = False
        self._count_gaps, self._keep_notices = count_gaps, keep_notices
        self.received = self.malformed = self.missed = 0
        self.gaps = GapCounter()
        self.notices: deque[Notice] = deque(maxlen=_MAX_NOTICES)
        self.convert: Callable[[list[bytes]], Any] = list
        self.read: Callable[[int], Any] = self._read
        """Read one message and give it its form; None if it is malformed. Raises ``zmq.Again`` if there is none."""
        self._form: type[Any] = TypedMessage if typed else BusMessage
        self._typed = typed is not None
        self._decode_body: Callable[[bytes], Any] = msgspec.msgpack.Decoder(typed or dict[Any, Any]).decode
        if typed or decode:
            self.read = self._read_decoded
            self.convert = self._as_struct if typed else self._as_message
        elif not count_gaps:
            self.read = self.read_parts

    def read_parts(self, flags: int) -> list[bytes]:
        """Read the parts of one message.

        Raises:
            zmq.Again: There is none.
        """
        if self._torn:
            self._skip_rest()
        recv = self._recv
        try:
            # As frames, because a frame knows whether more follow; to ask the socket takes longer than the whole rest.
            head = recv(flags, False)
            if head.more:
                body = recv(0, False)
                parts = [head.bytes, body.bytes]
                while body.more:
                    body = recv(0, False)
                    parts.append(body.bytes)
            else:
                parts = [head.bytes]
        except zmq.ZMQError:
            raise
        except BaseException:
            self._torn = True  # Ctrl-C between two parts: the next message must not begin in the middle of this one
            raise
        self.received += 1
        return parts

    def look_at(self, parts: list[bytes]) -> None:
        """Look at the number of a message, whether it will be delivered or dropped: a gap is what did not arrive."""
        if not self._count_gaps:
            return
        try:
            header = peek_header(parts[1])
            if header.seq is not None:
                self._see(decode_topic(parts[0]), header.seq, header.emitter)
        except (ProtocolError, IndexError):
            pass  # where payloads are decoded it will be counted as malformed

    def _read(self, flags: int) -> Any:
        parts = self.read_parts(flags)
        self.look_at(parts)
        return self.convert(parts)

    def _read_decoded(self, flags: int) -> Any:
        # What `_read` does, in one piece for the common message of two parts: it saves a tenth of the whole.
        if self._torn:
            self._skip_rest()
        recv = self._recv
        try:
            head = recv(flags, False)
            body = recv(0, False) if head.more else None
            if body is None or body.more:
                return self._read_uncommon(head, body)
        except zmq.ZMQError:
            raise
        except BaseException:
            self._torn = True
            raise
        self.received += 1
        try:
            topic, payload = head.bytes.decode(), self._decode_body(body.bytes)
        except _UNREADABLE:
            return self._refuse([head.bytes, body.bytes])
        if self._count_gaps:
            if self._typed:
                self.look_at([head.bytes, body.bytes])
            elif "seq" in payload:
                self._see(topic, payload["seq"], payload.get("emitter"))
        return _new_tuple(self._form, (topic, payload, ()))

    def _read_uncommon(self, head: zmq.Frame, body: zmq.Frame | None) -> Any:
        parts = [head.bytes]
        while body is not None:
            parts.append(body.bytes)
            body = self._recv(0, False) if body.more else None
        self.received += 1
        self.look_at(parts)
        return self.convert(parts)

    def _skip_rest(self) -> None:
        while self._socket.getsockopt(_RCVMORE):
            self._recv(0, False)
        self._torn = False

    def _as_message(self, parts: list[bytes]) -> BusMessage | None:
        try:
            return decode_message(parts)
        except ProtocolError:
            return self._refuse(parts)

    def _as_struct(self, parts: list[bytes]) -> TypedMessage[Any] | None:
        try:
            topic, payload = parts[0].decode(), self._decode_body(parts[1])
        except _UNREADABLE:
            return self._refuse(parts)
        return _new_tuple(TypedMessage, (topic, payload, tuple(parts[2:]) if len(parts) > 2 else ()))

    def _see(self, topic: str, seq: object, emitter: object) -> None:
        if type(seq) is int and type(emitter) is str and (missed := self.gaps.see(emitter, topic, seq)):
            self.missed += missed
            if self._keep_notices:
                self.notices.append(Gap(emitter, topic, missed))

    def _refuse(self, parts: list[bytes]) -> None:
        self.malformed += 1
        if self._keep_notices:
            self.notices.append(Malformed(parts, self._why(parts)))

    def _why(self, parts: list[bytes]) -> ProtocolError:
        try:
            decode_message(parts)
            self._decode_body(parts[1])
        except ProtocolError as error:
            return error
        except IndexError:
            return ProtocolError(f"{parts[0].decode()!r}: there is no payload")
        except _UNREADABLE as error:
            return ProtocolError(f"{parts[0].decode()!r}: the payload does not fit the struct: {error}")
        return ProtocolError(f"{parts[0].decode()!r}: the message does not have the expected form")
