"""Find what is whole in an MCAP file that `mcap_writer` wrote, wherever it was cut off.

Finished chunks are not read: their message indexes tell what is in them. Only the stretch behind the last of them is
read record by record.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Callable

from labwire.errors import ProtocolError
from labwire.sessions.log import mcap_format as mcap
from labwire.sessions.log.mcap_format import CHUNK_HEAD_BYTES, MESSAGE_HEAD_BYTES, PREFIX_BYTES, Opcode
from labwire.sessions.log.mcap_writer import Channel

_PREFIX = struct.Struct("<BQ")
_MESSAGE_INDEX_HEAD = struct.Struct("<HI")
_MESSAGE_HEAD = struct.Struct("<HIQ")  # channel, sequence, log time

Report = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all; may raise to end the work."""


def ignore_progress(done_bytes: int, total_bytes: int) -> None:
    """Take progress and do nothing."""


class LogScan:
    """What is whole in a log.

    Args:
        data: The whole file.
        report: Hears of progress.

    Raises:
        ProtocolError: It is no log of labwire.
    """

    def __init__(self, data: bytes | mmap.mmap, report: Report = ignore_progress) -> None:
        self.channels: dict[int, Channel] = {}
        """With their message counts; for the open chunk also with its message index."""
        self.chunks: list[mcap.ChunkIndex] = []
        self.metadata: list[mcap.MetadataIndex] = []
        self.notes: list[tuple[str, dict[str, str]]] = []
        """Name and content of each metadata record."""
        self.end = 0
        """Where the part ends that stays as it is; 0 if not even the header is there."""
        self.torn_bytes = 0
        """What is behind the last whole record."""
        self.open_chunk: int | None = None
        """Offset of the chunk that has yet to be closed."""
        self.open_start_ns, self.open_end_ns, self.open_crc = mcap.MAX_TIME_NS, 0, 0
        self._data, self._size = data, len(data)
        self._pending: tuple[int, int, int] | None = None  # a chunk's offset, the end of its records and of its index
        self._unread: list[int] = []  # offsets of finished chunks whose records were not looked at
        self._scan_file(report)
        del self._data

    @property
    def last_log_time_ns(self) -> int | None:
        """Log time of the last message; None if there is none."""
        times = [chunk.end_time_ns for chunk in self.chunks if chunk.index_offsets]
        return max([*times, self.open_end_ns]) or None

    def _record_at(self, at: int) -> tuple[int, int, bool] | None:
        """Return opcode, end and wholeness of the record at a place; None if not even its prefix is there."""
        if at + PREFIX_BYTES > self._size:
            return None
        opcode, length = _PREFIX.unpack_from(self._data, at)
        end = at + PREFIX_BYTES + length
        return opcode, end, end <= self._size

    def _scan_file(self, report: Report) -> None:
        at = self._scan_header()
        following: int | None = at or None
        while following is not None:
            at = following
            report(at, self._size)
            following = self._scan_record(at)
        self.end = whole_end = at
        if self._pending is not None:  # its index may be cut: nothing whole stands behind it
            self.open_chunk, self._pending = self._pending[0], None
        if self.open_chunk is not None:
            whole_end = max(whole_end, self._scan_open_chunk(self.open_chunk))
        self.torn_bytes = self._size - whole_end

    def _scan_header(self) -> int:
        magic, at = bytes(self._data[: len(mcap.MAGIC)]), len(mcap.MAGIC)
        if magic != mcap.MAGIC[: len(magic)]:
            raise ProtocolError(f"not an MCAP file: it begins with {magic!r}")
        record = self._record_at(at)
        if record is None:
            return 0
        opcode, end, whole = record
        content = bytes(self._data[at + PREFIX_BYTES : min(end, at + 256)])
        if not whole and len(content) < 64 and opcode == Opcode.HEADER:
            return 0
        try:
            library, _ = mcap.decode_string(content, mcap.decode_string(content, 0)[1])
        except ValueError:
            library = ""
        if opcode != Opcode.HEADER or not whole or not library.startswith(mcap.LIBRARY):
            raise ProtocolError(
                f"not a log of labwire but of {library[:40]!r}: mend it with that tool or 'mcap recover'"
            )
        return end

    def _scan_record(self, at: int) -> int | None:
        """Take in the record at a place; return where the next one is, None if the whole part ends before it."""
        record = self._record_at(at)
        if record is None:
            return None
        opcode, end, whole = record
        if opcode in (Opcode.OPEN_CHUNK, Opcode.CHUNK) and at + CHUNK_HEAD_BYTES <= self._size:
            self._commit_pending()
            head = mcap.decode_chunk_head(bytes(self._data[at : at + CHUNK_HEAD_BYTES]))
            if opcode == Opcode.CHUNK and whole and head is not None:
                self._pending = at, end, self._end_of_message_index(end)
                return self._pending[2]
            self.open_chunk = at
            return None
        if opcode == Opcode.DATA_END:
            self._commit_pending()
            return None
        if opcode == Opcode.METADATA and whole:
            self._commit_pending()
            self._take_metadata(at, end)
            return end
        return end if whole and opcode > Opcode.OPEN_CHUNK else None

    def _end_of_message_index(self, at: int) -> int:
        while (record := self._record_at(at)) and record[0] == Opcode.MESSAGE_INDEX and record[2]:
            at = record[1]
        return at

    def _commit_pending(self) -> None:
        """Take in a finished chunk by its message index, which is whole since something stands behind it."""
        if self._pending is None:
            return
        (offset, records_end, index_end), self._pending = self._pending, None
        offsets: dict[int, int] = {}
        counts: dict[int, int] = {}
        at = records_end
        while at < index_end:
            channel_id, entries_bytes = _MESSAGE_INDEX_HEAD.unpack_from(self._data, at + PREFIX_BYTES)
            offsets[channel_id], counts[channel_id] = at, entries_bytes // mcap.INDEX_ENTRY_BYTES
            at += PREFIX_BYTES + _MESSAGE_INDEX_HEAD.size + entries_bytes
        self._unread.append(offset)
        while not counts.keys() <= self.channels.keys():  # a channel usually begins in the chunk of its first message
            if not self._unread:
                raise ProtocolError(f"damaged inside: the chunk at {offset} has messages of an unknown channel")
            self._scan_records(self._unread.pop() + CHUNK_HEAD_BYTES, self._take_channel)
        for channel_id, count in counts.items():
            self.channels[channel_id].count += count
        start_ns, end_ns, _ = mcap.decode_chunk_head(bytes(self._data[offset : offset + CHUNK_HEAD_BYTES])) or (0, 0, 0)
        length = records_end - offset
        self.chunks.append(mcap.ChunkIndex(start_ns, end_ns, offset, length, offsets, index_end - records_end))

    def _scan_open_chunk(self, offset: int) -> int:
        start = offset + CHUNK_HEAD_BYTES
        end = self._scan_records(start, self._take_channel, lambda at, end: self._take_message(at, end, start))
        if end == start:  # nothing in it
            self.end, self.open_chunk = offset, None
        else:
            self.end = end
            self.open_crc = zlib.crc32(self._data[start:end])
        return end

    def _scan_records(
        self,
        at: int,
        take_channel: Callable[[int, int], bool],
        take_message: Callable[[int, int], bool] = lambda at, end: True,
    ) -> int:
        """Go through the records of a chunk; return where the last whole one ends."""
        while (record := self._record_at(at)) and record[2]:
            opcode, end, _ = record
            if opcode == Opcode.MESSAGE:
                good = take_message(at + PREFIX_BYTES, end)
            else:
                good = opcode == Opcode.CHANNEL and take_channel(at + PREFIX_BYTES, end)
            if not good:
                break
            at = end
        return at

    def _take_channel(self, at: int, end: int) -> bool:
        content = bytes(self._data[at:end])
        try:
            topic, behind = mcap.decode_string(content, 4)
            encoding, behind = mcap.decode_string(content, behind)
            metadata = mcap.decode_map(content, behind)
        except ValueError:
            return False
        channel_id = int.from_bytes(content[:2], "little")
        self.channels.setdefault(channel_id, Channel(channel_id, topic, encoding, metadata))
        return True

    def _take_message(self, at: int, end: int, chunk_start: int) -> bool:
        if end - at < MESSAGE_HEAD_BYTES:
            return False
        channel_id, _, log_time_ns = _MESSAGE_HEAD.unpack_from(self._data, at)
        channel = self.channels.get(channel_id)
        if channel is None:
            return False
        channel.count += 1
        channel.index += mcap.pack_index_entry(log_time_ns, at - PREFIX_BYTES - chunk_start)
        self.open_start_ns = min(self.open_start_ns, log_time_ns)
        self.open_end_ns = max(self.open_end_ns, log_time_ns)
        return True

    def _take_metadata(self, at: int, end: int) -> None:
        content = bytes(self._data[at + PREFIX_BYTES : end])
        try:
            name, behind = mcap.decode_string(content, 0)
            self.notes.append((name, mcap.decode_map(content, behind)))
        except ValueError:
            name = ""
        self.metadata.append(mcap.MetadataIndex(at, end - at, name))


def scan_log(fd: int, report: Report = ignore_progress) -> LogScan:
    """Find what is whole in an open log.

    Raises:
        ProtocolError: It is no log of labwire, or damaged inside.
    """
    if os.fstat(fd).st_size == 0:
        return LogScan(b"", report)
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
        return LogScan(data, report)
