"""Records of a ``.pldata`` file: MessagePack lists of a topic and the payload as a binary string.

Source: the recordings of Pupil Core: concatenated lists of two, ``[topic: str, payload: bin]``, the payload being the
MessagePack of the datum (encoded twice, so that a reader may skip it unread).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

from labwire.errors import ProtocolError
from labwire.wire.bus_message import peek_header

_LIST_OF_TWO = 0x92
_STR = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BIN = {0xC4: 1, 0xC5: 2, 0xC6: 4}


def encode_topic(topic: bytes) -> bytes:
    """Encode what stands before the payload of every datum of a topic.

    Args:
        topic: UTF-8.
    """
    size = len(topic)
    if size < 32:
        head = struct.pack("BB", _LIST_OF_TWO, 0xA0 | size)
    elif size < 1 << 8:
        head = struct.pack("BBB", _LIST_OF_TWO, 0xD9, size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", _LIST_OF_TWO, 0xDA, size)
    else:
        head = struct.pack(">BBI", _LIST_OF_TWO, 0xDB, size)
    return head + topic


def encode_record_head(payload_bytes: int) -> bytes:
    """Encode what stands directly before a payload of this length."""
    if payload_bytes < 1 << 8:
        return bytes((0xC4, payload_bytes))
    if payload_bytes < 1 << 16:
        return b"\xc5" + payload_bytes.to_bytes(2, "big")
    return b"\xc6" + payload_bytes.to_bytes(4, "big")


class PldataRecord(NamedTuple):
    """One datum that is whole."""

    timestamp: float
    end: int
    """Where it ends in the file."""
    topic_at: int
    topic_bytes: int
    payload_at: int


def read_records(data: bytes | mmap.mmap) -> Iterator[PldataRecord]:
    """Yield the data of a file up to the first that is torn or has no timestamp."""
    at, size = 0, len(data)
    while at < size:
        record = _read_record(data, at)
        if record is None:
            return
        yield record
        at = record.end


def _read_record(data: bytes | mmap.mmap, at: int) -> PldataRecord | None:
    head = data[at : at + 6]
    if len(head) < 2 or head[0] != _LIST_OF_TWO:
        return None
    if 0xA0 <= head[1] < 0xC0:
        topic_at, topic_bytes = at + 2, head[1] & 0x1F
    elif width := _STR.get(head[1]):
        topic_at, topic_bytes = at + 2 + width, int.from_bytes(head[2 : 2 + width], "big")
    else:
        return None
    at = topic_at + topic_bytes
    head = data[at : at + 5]
    width = _BIN.get(head[0]) if head else None
    if width is None or len(head) < 1 + width:
        return None
    start = at + 1 + width
    end = start + int.from_bytes(head[1 : 1 + width], "big")
    if end > len(data):
        return None
    try:
        timestamp = peek_header(data[start:end]).timestamp
    except ProtocolError:
        return None
    return None if timestamp is None else PldataRecord(timestamp, end, topic_at, topic_bytes, start)
