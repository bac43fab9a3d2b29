"""Append to an MCAP file so that a crash costs nothing that was flushed, and a finished file is fully indexed.

While it is written, a file holds plain records, one behind the other. Each stretch of them begins with a private record
that readers skip and that is exactly as long as the head of an uncompressed chunk. Once a stretch is long enough, its
message index is appended and the placeholder is overwritten by the head of the chunk that the stretch then is. So
nothing waits in memory to fill a chunk, and still the official readers find every message by time and topic.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping

from labwire.sessions.files import append_whole
from labwire.sessions.log import mcap_format as mcap
from labwire.sessions.log.mcap_format import Opcode

CHUNK_BYTES = 1 << 20  # 7 s at the 480 messages/s of the spec: fine enough to seek, few enough to list in the summary
_FLUSH_BYTES = 1 << 20  # a longer batch is written in pieces, so that memory stays bounded

_INDEX_ENTRY = mcap.pack_index_entry
_MESSAGE_HEAD = mcap.pack_message_head


class Channel:
    """A channel of the file and what has been counted on it."""

    __slots__ = ("count", "encoding", "id", "index", "metadata", "topic")

    def __init__(self, channel_id: int, topic: str, encoding: str, metadata: Mapping[str, str]) -> None:
        self.id = channel_id
        self.topic = topic
        self.encoding = encoding
        self.metadata = metadata
        self.count = 0
        self.index = bytearray()
        """Packed message index of the open chunk."""

    def encode(self) -> bytes:
        """Encode the Channel record."""
        return mcap.encode_channel(self.id, self.topic, self.encoding, self.metadata)


class McapWriter:
    r"""Append records to a file descriptor that stands at the end of the file.

    Call `begin` on an empty file; call `flush` as often as a loss would hurt; call `finish` at the end. After an
    `OSError` from the disk nothing is lost yet: what could not be written waits in memory, and `finish` tries again.

    >>> writer = McapWriter(fd); writer.begin()
    >>> channel = writer.add_channel("pupil.0", "msgpack", {})
    >>> writer.add_message(channel, b"\x80", log_time_ns=1, publish_time_ns=1)
    >>> writer.finish()
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()
        self._written = 0
        self._chunk_offset: int | None = None
        self._chunk_bytes = 0  # of its records, flushed ones only
        self._chunk_crc = 0
        self._chunk_start_ns = mcap.MAX_TIME_NS
        self._chunk_end_ns = 0
        self.channels: dict[int, Channel] = {}
        self.chunks: list[mcap.ChunkIndex] = []
        self.metadata: list[mcap.MetadataIndex] = []

    @property
    def size_bytes(self) -> int:
        """Length of the file so far, with what still waits in memory."""
        return self._written + len(self._buffer)

    def begin(self) -> None:
        """Write the magic and the header."""
        self._write(mcap.MAGIC + mcap.encode_header(mcap.LIBRARY))

    def resume(
        self,
        size_bytes: int,
        *,
        channels: dict[int, Channel],
        chunks: list[mcap.ChunkIndex],
        metadata: list[mcap.MetadataIndex],
    ) -> None:
        """Take up a file that has these parts; the descriptor stands at its end."""
        self._written, self.channels, self.chunks, self.metadata = size_bytes, channels, chunks, metadata

    def resume_chunk(self, offset: int, *, crc: int, start_time_ns: int, end_time_ns: int) -> None:
        """Take up an open chunk that reaches to the end of the file; the channels hold its message index."""
        self._chunk_offset, self._chunk_crc = offset, crc
        self._chunk_bytes = self._written - offset - mcap.CHUNK_HEAD_BYTES
        self._chunk_start_ns, self._chunk_end_ns = start_time_ns, end_time_ns

    def add_channel(self, topic: str, encoding: str, metadata: Mapping[str, str]) -> Channel:
        """Add a channel; at most `mcap_format.MAX_CHANNELS` of them.

        Args:
            topic: What readers show; need not be unique.
            encoding: Encoding of its messages; empty if there is none that a reader would know.
            metadata: Whatever else a reader should know.
        """
        if self._chunk_offset is None:
            self._open_chunk()
        channel = Channel(len(self.channels), topic, encoding, metadata)
        self.channels[channel.id] = channel
        self._buffer += channel.encode()
        return channel

    def add_message(
        self, channel: Channel, data: bytes, *, log_time_ns: int, publish_time_ns: int, sequence: int = 0
    ) -> None:
        """Add a message; it is in the file after the next `flush`."""
        if self._chunk_offset is None:
            self._open_chunk()
        buffer = self._buffer
        channel.index += _INDEX_ENTRY(log_time_ns, self._chunk_bytes + len(buffer))
        channel.count += 1
        # Measured: min() and max() take a message from 0.55 to 0.72 us.
        if log_time_ns < self._chunk_start_ns:  # noqa: PLR1730
            self._chunk_start_ns = log_time_ns
        if log_time_ns > self._chunk_end_ns:  # noqa: PLR1730
            self._chunk_end_ns = log_time_ns
        # 5 and 22 are Opcode.MESSAGE and mcap.MESSAGE_HEAD_BYTES, spelled out: this line runs for every message.
        buffer += _MESSAGE_HEAD(5, 22 + len(data), channel.id, sequence, log_time_ns, publish_time_ns)
        buffer += data
        if len(buffer) >= _FLUSH_BYTES:
            self.flush()

    def add_metadata(self, name: str, items: Mapping[str, str]) -> None:
        """Add a metadata record, and write it at once."""
        self.close_chunk()
        record = mcap.encode_metadata(name, items)
        offset = self._written
        self._write(record)
        self.metadata.append(mcap.MetadataIndex(offset, len(record), name))

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._write_buffer()
        if self._chunk_bytes >= CHUNK_BYTES:
            self.close_chunk()

    def close_chunk(self) -> None:
        """Turn the records since the last chunk into one."""
        self._write_buffer()
        if self._chunk_offset is None:
            return
        # The index goes first: a crash between the two leaves an open chunk, which a repair closes again.
        chunk = self._write_message_index(self._chunk_offset)
        head = mcap.encode_chunk_head(chunk.start_time_ns, chunk.end_time_ns, self._chunk_bytes, self._chunk_crc)
        os.pwrite(self._fd, head, chunk.offset)
        self.chunks.append(chunk)
        self._chunk_offset, self._chunk_bytes, self._chunk_crc = None, 0, 0
        self._chunk_start_ns, self._chunk_end_ns = mcap.MAX_TIME_NS, 0

    def finish(self) -> None:
        """Write the summary and the end of the file."""
        self.close_chunk()
        self._write(mcap.encode_data_end())
        groups = self._summary_groups()
        self._write(encode_summary(groups, self._written))

    def _open_chunk(self) -> None:
        offset = self._written
        self._write(mcap.OPEN_CHUNK)
        self._chunk_offset = offset

    def _write_buffer(self) -> None:
        if self._buffer:
            self._write(self._buffer)
            self._chunk_crc = zlib.crc32(self._buffer, self._chunk_crc)
            self._chunk_bytes += len(self._buffer)
            self._buffer.clear()

    def _write_message_index(self, chunk_offset: int) -> mcap.ChunkIndex:
        offsets: dict[int, int] = {}
        records = bytearray()
        indexed = [channel for channel in self.channels.values() if channel.index]
        for channel in indexed:
            offsets[channel.id] = self._written + len(records)
            records += mcap.encode_message_index(channel.id, channel.index)
        self._write(records)
        for channel in indexed:
            channel.index.clear()
        start_ns = self._chunk_start_ns if offsets else 0
        length = mcap.CHUNK_HEAD_BYTES + self._chunk_bytes
        return mcap.ChunkIndex(start_ns, self._chunk_end_ns, chunk_offset, length, offsets, len(records))

    def _summary_groups(self) -> list[tuple[Opcode, bytes]]:
        with_messages = [chunk for chunk in self.chunks if chunk.index_offsets]
        statistics = mcap.encode_statistics(
            {channel.id: channel.count for channel in self.channels.values()},
            metadata=len(self.metadata),
            chunks=len(self.chunks),
            start_time_ns=min((chunk.start_time_ns for chunk in with_messages), default=0),
            end_time_ns=max((chunk.end_time_ns for chunk in with_messages), default=0),
        )
        return [
            (Opcode.CHANNEL, b"".join(channel.encode() for channel in self.channels.values())),
            (Opcode.STATISTICS, statistics),
            (Opcode.CHUNK_INDEX, b"".join(map(mcap.encode_chunk_index, self.chunks))),
            (Opcode.METADATA_INDEX, b"".join(map(mcap.encode_metadata_index, self.metadata))),
        ]

    def _write(self, data: bytes | bytearray) -> None:
        self._written = append_whole(self._fd, data, self._written)


def encode_summary(groups: list[tuple[Opcode, bytes]], start: int) -> bytes:
    """Encode the summary section, its offsets, the footer and the closing magic; `start` is its place in the file."""
    body, offsets, at = bytearray(), bytearray(), start
    for opcode, records in groups:
        if records:
            body += records
            offsets += mcap.encode_summary_offset(opcode, at, len(records))
            at += len(records)
    footer_head = struct.pack("<BQQQ", Opcode.FOOTER, mcap.FOOTER_BYTES - mcap.PREFIX_BYTES, start, at)
    section = bytes(body + offsets) + footer_head
    return section + struct.pack("<I", zlib.crc32(section)) + mcap.MAGIC
