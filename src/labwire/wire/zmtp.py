"""The listening end of ZMTP, the wire format of ZeroMQ: enough to overhear a bus.

Source: ZMTP 3.0 (rfc.zeromq.org/spec/23), sections "Framing", "Greeting", "The NULL Security Mechanism"; a subscription
is a message that begins with 1 (rfc.zeromq.org/spec/29).

For whoever reads everything. ZeroMQ itself would wake a thread for each message and copy every part; here the owner of
the connection chooses when to read, and what is not looked at is only counted.
"""

from __future__ import annotations

import msgspec

from labwire.errors import ProtocolError

MAX_PART_BYTES = 1024 * 1024
"""A topic or payload that is longer is cut off here."""
_MORE, _LONG, _COMMAND = 1, 2, 4
_SHORT_HEAD_BYTES, _LONG_HEAD_BYTES = 2, 9
_MAX_SIZE_BYTES = 2**63 - 1
_GREETING_BYTES = 64
_MECHANISM = slice(12, 32)
_NULL = b"NULL".ljust(20, b"\0")
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + _NULL + bytes(32)
_READY = b"\x05READY"
_ERROR = b"\x05ERROR"
_HELLO = _READY + b"\x0bSocket-Type" + (3).to_bytes(4, "big") + b"SUB"
_SUBSCRIBE_TO_ALL = b"\x01"


class Heard(msgspec.Struct, frozen=True, gc=False):
    """A message, as far as it is looked at."""

    topic: bytes
    payload: bytes | None
    """The second part; None if there is none."""
    size_bytes: int
    """Of all parts, also of those that were not kept."""


class Listener:
    """A SUB peer that has subscribed to everything: bytes from the bus in, messages out.

    >>> listener = Listener()
    >>> len(listener.take_outgoing())  # to be sent at once; look again whenever something has been received
    64

    Args:
        max_part_bytes: Topics and payloads are cut off after so many bytes.
    """

    def __init__(self, max_part_bytes: int = MAX_PART_BYTES) -> None:
        self.ready = False
        """Whether the bus has let us in."""
        self._max_part_bytes = max_part_bytes
        self._outgoing: bytes = _GREETING
        self._greeted = False
        self._kept: bytes = b""  # the beginning of something that is not complete
        self._to_skip = 0
        self._topic: bytes | None = None
        self._payload: bytes | None = None
        self._size_bytes = 0

    def take_outgoing(self) -> bytes:
        """Return what is to be sent to the bus now."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def receive(self, data: bytes) -> list[Heard]:
        """Take the next bytes, cut wherever they may be; return the messages that they complete.

        Raises:
            ProtocolError: This is no ZeroMQ peer, or it refuses us; the connection is of no further use.
        """
        if self._to_skip >= len(data):
            self._to_skip -= len(data)
            return []
        data, at = self._kept + data, self._to_skip
        if not self._greeted:
            at = self._take_greeting(data)
        heard: list[Heard] = []
        if self._greeted:
            at = self._take_frames(data, at, heard)
        self._kept, self._to_skip = data[at:], max(0, at - len(data))
        return heard

    def _take_greeting(self, greeting: bytes) -> int:
        if len(greeting) < _GREETING_BYTES:
            return 0
        if greeting[0] != _GREETING[0] or greeting[9] != _GREETING[9] or greeting[10] < _GREETING[10]:
            raise ProtocolError(f"no ZMTP 3 greeting: {greeting[:12].hex()}")
        if greeting[_MECHANISM] != _NULL:
            raise ProtocolError(f"the bus demands the mechanism {greeting[_MECHANISM]!r}, not NULL")
        self._greeted = True
        self._outgoing += _frame(_HELLO, _COMMAND)
        return _GREETING_BYTES

    def _take_frames(self, data: bytes, at: int, heard: list[Heard]) -> int:
        """Return where the first frame begins that is not complete; beyond the end, if its rest is of no interest."""
        topic, payload, size_bytes = self._topic, self._payload, self._size_bytes
        end, limit = len(data), self._max_part_bytes
        while at + _SHORT_HEAD_BYTES <= end:
            flags, body = data[at], at + _SHORT_HEAD_BYTES
            if flags & _LONG:
                body = at + _LONG_HEAD_BYTES
                if body > end:
                    break
                size = _long_size(data[at + 1 : body])
            else:
                size = data[at + 1]
            if payload is None or flags > _MORE | _LONG:
                kept_end = body + size
                if size > limit:
                    kept_end = body + limit
                if kept_end > end:
                    break
                if flags > _MORE | _LONG:
                    self._take_command(flags, data[body:kept_end])
                    at = body + size
                    continue
                if topic is None:
                    topic = data[body:kept_end]
                else:
                    payload = data[body:kept_end]
            size_bytes += size
            at = body + size
            if not flags & _MORE:
                heard.append(Heard(topic or b"", payload, size_bytes))
                topic, payload, size_bytes = None, None, 0
        self._topic, self._payload, self._size_bytes = topic, payload, size_bytes
        return at

    def _take_command(self, flags: int, body: bytes) -> None:
        if flags & ~_LONG != _COMMAND:
            raise ProtocolError(f"a frame with the flags {flags:#04x}, which ZMTP does not know")
        if body.startswith(_ERROR):
            raise ProtocolError(f"the bus refuses the connection: {body[len(_ERROR) + 1 :].decode('utf-8', 'replace')}")
        if body.startswith(_READY) and not self.ready:
            self.ready = True
            self._outgoing += _frame(_SUBSCRIBE_TO_ALL)  # before, the bus would take it for a mistake


def _long_size(field: bytes) -> int:
    size = int.from_bytes(field, "big")
    if size > _MAX_SIZE_BYTES:
        raise ProtocolError(f"a frame of {size} bytes, more than ZMTP allows")
    return size


def _frame(body: bytes, flags: int = 0) -> bytes:
    return bytes((flags, len(body))) + body
