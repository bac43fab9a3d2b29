"""Messages of ZRE, by which nodes of a local network find each other and talk in groups; version 2, as Pyre speaks it.

Source: ZeroMQ RFC 36 (ZRE). A node sends a beacon by UDP broadcast once a second; whoever hears it connects to its
port and says HELLO. A message is one frame with numbers in network order, after which WHISPER and SHOUT carry others.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from labwire.errors import ProtocolError

VERSION: Final = 2
BEACON_PORT: Final = 5670
MAX_HELLO_ENTRIES: Final = 1000
"""Most groups or headers that a HELLO may name."""

_BEACON = struct.Struct("!3sB16sH")
_BEACON_VERSION = 1
_HEAD = struct.Struct("!HBBH")
_SIGNATURE = 0xAAA1


class Kind(IntEnum):
    """What a message is."""

    HELLO = 1
    WHISPER = 2
    SHOUT = 3
    JOIN = 4
    LEAVE = 5
    PING = 6
    PING_OK = 7


_WITH_CONTENT = frozenset({Kind.WHISPER, Kind.SHOUT})
_WITH_GROUP = frozenset({Kind.SHOUT, Kind.JOIN, Kind.LEAVE})
_WITH_STATUS = frozenset({Kind.JOIN, Kind.LEAVE})


class Beacon(msgspec.Struct, frozen=True):
    """What a node broadcasts."""

    uuid: bytes
    """16 bytes."""
    port: int
    """Where it listens; 0: it is going away."""


class ZreMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message from node to node. Fields that a kind does not have are left at their defaults."""

    kind: Kind
    sequence: int = 0
    """Counts the messages to one peer, from 1; 65535 is followed by 0."""
    status: int = 0
    """Number of joins and leaves of the sender so far, 0 to 255."""
    group: str = ""
    content: Sequence[bytes] = ()
    """Frames of a WHISPER or SHOUT."""
    endpoint: str = ""
    """In a HELLO: where the sender listens, ``tcp://ADDRESS:PORT``."""
    groups: Sequence[str] = ()
    """In a HELLO: what the sender is in."""
    name: str = ""
    headers: dict[str, str] = {}


def encode_beacon(beacon: Beacon) -> bytes:
    """Return the 22 bytes of a beacon."""
    return _BEACON.pack(b"ZRE", _BEACON_VERSION, beacon.uuid, beacon.port)


def decode_beacon(data: bytes) -> Beacon | None:
    """Return a beacon; None if the datagram is something else."""
    if len(data) != _BEACON.size:
        return None
    magic, version, uuid, port = _BEACON.unpack(data)
    return Beacon(uuid, port) if (magic, version) == (b"ZRE", _BEACON_VERSION) else None


def encode_zre(message: ZreMessage) -> list[bytes]:
    """Return the frames of a message."""
    parts = [_HEAD.pack(_SIGNATURE, message.kind, VERSION, message.sequence)]
    if message.kind is Kind.HELLO:
        parts += [_short(message.endpoint), struct.pack("!I", len(message.groups)), *map(_long, message.groups)]
        parts += [bytes([message.status]), _short(message.name), struct.pack("!I", len(message.headers))]
        for key, value in message.headers.items():
            parts += [_short(key), _long(value)]
    if message.kind in _WITH_GROUP:
        parts.append(_short(message.group))
    if message.kind in _WITH_STATUS:
        parts.append(bytes([message.status]))
    return [b"".join(parts), *message.content]


def decode_zre(frames: Sequence[bytes]) -> ZreMessage:
    """Return the message in some frames.

    Raises:
        ProtocolError: They hold none, or one of another version.
    """
    try:
        signature, kind, version, sequence = _HEAD.unpack_from(frames[0])
        if (signature, version) != (_SIGNATURE, VERSION):
            raise ProtocolError(f"no ZRE message of version {VERSION}: signature {signature:#x}, version {version}")
        return _decode(Kind(kind), sequence, frames)
    except (struct.error, ValueError, IndexError) as error:
        raise ProtocolError(f"no ZRE message: {error}") from error


def _decode(kind: Kind, sequence: int, frames: Sequence[bytes]) -> ZreMessage:
    reader = _Reader(frames[0], _HEAD.size)
    content = list(frames[1:]) if kind in _WITH_CONTENT else []
    if kind is Kind.HELLO:
        return ZreMessage(
            kind=kind,
            sequence=sequence,
            endpoint=reader.short(),
            groups=[reader.long() for _ in range(reader.count())],
            status=reader.byte(),
            name=reader.short(),
            headers={reader.short(): reader.long() for _ in range(reader.count())},
        )
    group = reader.short() if kind in _WITH_GROUP else ""
    status = reader.byte() if kind in _WITH_STATUS else 0
    return ZreMessage(kind=kind, sequence=sequence, group=group, status=status, content=content)


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def byte(self) -> int:
        return self._take("!B", 1)

    def count(self) -> int:
        count = self._take("!I", 4)
        if count > MAX_HELLO_ENTRIES:
            raise ValueError(f"{count} entries, and {MAX_HELLO_ENTRIES} are the limit")
        return count

    def short(self) -> str:
        return self._text(self.byte())

    def long(self) -> str:
        return self._text(self._take("!I", 4))

    def _take(self, form: str, size: int) -> int:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += size
        return value

    def _text(self, size: int) -> str:
        raw = self._data[self._at : self._at + size]
        if len(raw) < size:
            raise ValueError(f"it ends after {len(self._data)} bytes")
        self._at += size
        return raw.decode()


def _short(text: str) -> bytes:
    raw = text.encode()[:255]
    return bytes([len(raw)]) + raw


def _long(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!I", len(raw)) + raw
