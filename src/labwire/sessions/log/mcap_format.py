"""Records of an MCAP file: values to bytes, and bytes to values as far as a repair needs them.

Source: the MCAP format specification, version 0. All integers are little-endian; a string is its length as uint32 and
its UTF-8 bytes; a record is an opcode, the length of its content as uint64, and the content.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

MAGIC = b"\x89MCAP0\r\n"
LIBRARY = "labwire"
PREFIX_BYTES = 9  # opcode and length before the content of every record
MESSAGE_HEAD_BYTES = 22  # of a message's content, before the data
FOOTER_BYTES = PREFIX_BYTES + 20
MAX_CHANNELS = 0xFFFF
MAX_TIME_NS = 0xFFFF_FFFF_FFFF_FFFF


class Opcode(IntEnum):
    """What kind of record it is; values above 0x7F are private and readers skip them."""

    HEADER = 0x01
    FOOTER = 0x02
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F
    OPEN_CHUNK = 0x80


class ChunkIndex(NamedTuple):
    """Where a chunk lies and what is in it."""

    start_time_ns: int
    end_time_ns: int
    offset: int
    """Of the chunk record in the file."""
    length: int
    """Of the chunk record, prefix included."""
    index_offsets: dict[int, int]
    """Channel id -> offset in the file of its message index."""
    index_length: int
    """Bytes of all message indexes behind the chunk."""


class MetadataIndex(NamedTuple):
    """Where a metadata record lies."""

    offset: int
    length: int
    name: str


_MESSAGE = struct.Struct("<BQHIQQ")
pack_message_head = _MESSAGE.pack
"""Pack ``(Opcode.MESSAGE, MESSAGE_HEAD_BYTES + len(data), channel, sequence, log_time, publish_time)``."""
pack_index_entry = struct.Struct("<QQ").pack
INDEX_ENTRY_BYTES = 16

_CHUNK_HEAD = struct.Struct("<BQQQQIIQ")
CHUNK_HEAD_BYTES = _CHUNK_HEAD.size
"""Prefix and fields of an uncompressed chunk, up to its records."""
OPEN_CHUNK = struct.pack("<BQ", Opcode.OPEN_CHUNK, CHUNK_HEAD_BYTES - PREFIX_BYTES).ljust(CHUNK_HEAD_BYTES, b"\0")
"""What stands in place of a chunk's head while records are still appended behind it: a record that readers skip."""


def encode_string(text: str) -> bytes:
    """Encode a string with its length; what has no UTF-8 form is escaped."""
    data = text.encode("utf-8", "backslashreplace")
    return struct.pack("<I", len(data)) + data


def encode_record(opcode: int, content: bytes) -> bytes:
    """Encode a record."""
    return struct.pack("<BQ", opcode, len(content)) + content


def _encode_map(items: Mapping[str, str]) -> bytes:
    data = b"".join(encode_string(key) + encode_string(value) for key, value in items.items())
    return struct.pack("<I", len(data)) + data


def encode_header(library: str) -> bytes:
    """Encode the Header record; the profile stays empty."""
    return encode_record(Opcode.HEADER, encode_string("") + encode_string(library))


def encode_channel(channel_id: int, topic: str, encoding: str, metadata: Mapping[str, str]) -> bytes:
    """Encode a Channel record without a schema (MessagePack describes itself)."""
    content = struct.pack("<HH", channel_id, 0) + encode_string(topic) + encode_string(encoding) + _encode_map(metadata)
    return encode_record(Opcode.CHANNEL, content)


def encode_chunk_head(start_time_ns: int, end_time_ns: int, records_bytes: int, crc: int) -> bytes:
    """Encode all of an uncompressed Chunk record but its records, `CHUNK_HEAD_BYTES` long."""
    length = CHUNK_HEAD_BYTES - PREFIX_BYTES + records_bytes
    return _CHUNK_HEAD.pack(Opcode.CHUNK, length, start_time_ns, end_time_ns, records_bytes, crc, 0, records_bytes)


class ChunkHead(NamedTuple):
    """The head of an uncompressed chunk."""

    start_time_ns: int
    end_time_ns: int
    records_bytes: int


def decode_chunk_head(data: bytes) -> ChunkHead | None:
    """Decode the head of a chunk; None if it is compressed or its lengths contradict each other."""
    _, length, start, end, size, _, compression_bytes, records_bytes = _CHUNK_HEAD.unpack(data)
    if compression_bytes or size != records_bytes or length != CHUNK_HEAD_BYTES - PREFIX_BYTES + records_bytes:
        return None
    return ChunkHead(start, end, records_bytes)


def chunk_crc(data: bytes) -> int:
    """Return the checksum of a chunk's records from its head; 0 means that none was written."""
    return _CHUNK_HEAD.unpack(data)[5]


def encode_message_index(channel_id: int, entries: bytes | bytearray) -> bytes:
    """Encode a MessageIndex record; `entries` are packed pairs of log time and offset in the chunk's records."""
    return encode_record(Opcode.MESSAGE_INDEX, struct.pack("<HI", channel_id, len(entries)) + entries)


def encode_metadata(name: str, items: Mapping[str, str]) -> bytes:
    """Encode a Metadata record."""
    return encode_record(Opcode.METADATA, encode_string(name) + _encode_map(items))


def encode_data_end() -> bytes:
    """Encode the DataEnd record without a checksum: heads of chunks change after they were written."""
    return encode_record(Opcode.DATA_END, struct.pack("<I", 0))


def encode_chunk_index(chunk: ChunkIndex) -> bytes:
    """Encode a ChunkIndex record."""
    offsets = b"".join(struct.pack("<HQ", *item) for item in chunk.index_offsets.items())
    size = chunk.length - CHUNK_HEAD_BYTES
    content = struct.pack("<QQQQI", *chunk[:4], len(offsets)) + offsets
    return encode_record(Opcode.CHUNK_INDEX, content + struct.pack("<QIQQ", chunk.index_length, 0, size, size))


def encode_metadata_index(index: MetadataIndex) -> bytes:
    """Encode a MetadataIndex record."""
    content = struct.pack("<QQ", index.offset, index.length) + encode_string(index.name)
    return encode_record(Opcode.METADATA_INDEX, content)


def encode_statistics(
    counts: Mapping[int, int], *, metadata: int, chunks: int, start_time_ns: int, end_time_ns: int
) -> bytes:
    """Encode the Statistics record; `counts` are messages by channel id."""
    content = struct.pack(
        "<QHIIIIQQ", sum(counts.values()), 0, len(counts), 0, metadata, chunks, start_time_ns, end_time_ns
    )
    table = b"".join(struct.pack("<HQ", *item) for item in counts.items())
    return encode_record(Opcode.STATISTICS, content + struct.pack("<I", len(table)) + table)


def encode_summary_offset(opcode: int, start: int, length: int) -> bytes:
    """Encode a SummaryOffset record: where the records of one kind lie in the summary."""
    return encode_record(Opcode.SUMMARY_OFFSET, struct.pack("<BQQ", opcode, start, length))


def decode_string(data: bytes, at: int) -> tuple[str, int]:
    """Decode a string; return it and the position behind it.

    Raises:
        ValueError: It does not fit into `data`, or is not UTF-8.
    """
    end = at + 4 + int.from_bytes(data[at : at + 4], "little")
    if end > len(data) or at + 4 > len(data):
        raise ValueError("string runs over the end of its record")
    return data[at + 4 : end].decode(), end


def decode_map(data: bytes, at: int) -> dict[str, str]:
    """Decode a map of strings.

    Raises:
        ValueError: It does not fit into `data`.
    """
    end = at + 4 + int.from_bytes(data[at : at + 4], "little")
    if end > len(data):
        raise ValueError("map runs over the end of its record")
    items: dict[str, str] = {}
    at += 4
    while at < end:
        key, at = decode_string(data, at)
        items[key], at = decode_string(data, at)
    return items
