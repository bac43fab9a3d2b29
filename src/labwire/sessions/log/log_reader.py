"""Read the messages of a ``bus.mcap`` as they came off the bus, from a whole log or one that was cut off.

Memory does not grow with the log: it is mapped, and read stretch by stretch.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

import msgspec

from labwire.errors import NotFoundError, ProtocolError
from labwire.sessions.log import mcap_format as mcap
from labwire.sessions.log.bus_log import FILE_NAME, MSGPACK, OVERFLOW_TOPIC, RAW_PARTS_OF
from labwire.sessions.log.mcap_format import CHUNK_HEAD_BYTES, MESSAGE_HEAD_BYTES, PREFIX_BYTES, Opcode
from labwire.sessions.log.mcap_scan import LogScan, Report, ignore_progress
from labwire.sessions.log.mcap_writer import Channel

_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_REPORT_EVERY_BYTES = 4 << 20
_DONT_NEED: int | None = getattr(mmap, "MADV_DONTNEED", None)

Prefixes: TypeAlias = Sequence[str]


class LoggedMessage(NamedTuple):
    """One message of the bus, and when it came."""

    log_time_ns: int
    """When it came, in nanoseconds since 1970, on an axis that nothing bends."""
    parts: tuple[bytes, ...]
    """Topic, payload, raw parts; the raw part of a picture is missing where the video has it."""
    sequence: int
    """The payload's ``seq``, or 0."""
    is_map: bool
    """The payload is a MessagePack map."""


class Stretch(NamedTuple):
    """Records that lie one behind the other, a chunk of the file."""

    start: int
    """Where its first record is."""
    end: int
    start_time_ns: int
    end_time_ns: int


class LogReader:
    """A log that is open for reading.

    >>> with LogReader.open(folder) as log:  # doctest: +SKIP
    ...     for message in log.messages(prefixes=["pupil."]):
    ...         print(message.log_time_ns, message.parts[0])

    Args:
        path: The ``bus.mcap``.
        report: Hears of progress while the file is looked through.

    Raises:
        NotFoundError: There is no such file.
        ProtocolError: It is no log of labwire, or damaged inside.
    """

    def __init__(self, path: Path, report: Report = ignore_progress) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no log {path}", path=str(path)) from error
        self._data: mmap.mmap | bytes = b""
        try:
            if self._file.seek(0, 2):
                self._data = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            scan = LogScan(self._data, report)
        except BaseException:
            self.close()
            raise
        self.channels: Mapping[int, Channel] = scan.channels
        self.notes = scan.notes
        """Name and content of each metadata record."""
        self.torn_bytes = scan.torn_bytes
        """What stands behind the last whole record."""
        self.stretches = _stretches(scan)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the log of a session.

        Raises:
            NotFoundError: It has none.
        """
        return cls(folder / FILE_NAME)

    @property
    def end_time_ns(self) -> int:
        """Log time of the last message; 0 if there is none."""
        return max((stretch.end_time_ns for stretch in self.stretches), default=0)

    @property
    def topics(self) -> dict[str, int]:
        """Messages by topic; a message that found no channel counts under ``labwire.overflow``."""
        counts: dict[str, int] = {}
        for channel in self.channels.values():
            if RAW_PARTS_OF not in channel.metadata:
                counts[channel.topic] = counts.get(channel.topic, 0) + channel.count
        return counts

    def messages(
        self,
        *,
        prefixes: Prefixes = ("",),
        start_ns: int = 0,
        end_ns: int = mcap.MAX_TIME_NS,
        report: Report = ignore_progress,
    ) -> Iterator[LoggedMessage]:
        """Yield messages in the order in which they came.

        Args:
            prefixes: Of the topics wanted; the empty prefix means all.
            start_ns: Log time of the first one wanted.
            end_ns: Log time behind the last one wanted.
            report: Hears of progress, in bytes of the file.
        """
        wanted = _Channels(self.channels, prefixes)
        reported = 0
        for stretch in self.stretches:
            if stretch.end_time_ns < start_ns or stretch.start_time_ns >= end_ns:
                continue
            if stretch.end - reported >= _REPORT_EVERY_BYTES:
                reported = stretch.start
                report(stretch.start, len(self._data))
                self._let_go(stretch.start)
            for message in wanted.put_together(self._records(stretch)):
                if start_ns <= message.log_time_ns < end_ns:
                    yield message
        yield from wanted.rest(start_ns, end_ns)
        report(len(self._data), len(self._data))

    def _records(self, stretch: Stretch) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield channel, sequence, log time and data of each message in a stretch."""
        data, at = self._data, stretch.start
        while at < stretch.end:
            opcode, length = _RECORD.unpack_from(data, at)
            at += PREFIX_BYTES
            if opcode == Opcode.MESSAGE:
                channel, sequence, log_time_ns, _ = _MESSAGE.unpack_from(data, at)
                yield channel, sequence, log_time_ns, data[at + MESSAGE_HEAD_BYTES : at + length]
            at += length

    def check_crc(self, report: Report = ignore_progress) -> int:
        """Return how many stretches have another checksum than was written; this reads the whole file."""
        wrong = 0
        for stretch in self.stretches:
            head = bytes(self._data[stretch.start - CHUNK_HEAD_BYTES : stretch.start])
            whole = mcap.decode_chunk_head(head) if head[0] == Opcode.CHUNK else None
            expected = mcap.chunk_crc(head)
            if expected and whole is not None and whole.records_bytes == stretch.end - stretch.start:
                wrong += zlib.crc32(self._data[stretch.start : stretch.end]) != expected
            report(stretch.end, len(self._data))
            self._let_go(stretch.end)
        return wrong

    def _let_go(self, end: int) -> None:
        """Give the pages before a place back: what was read would otherwise count as this process's memory."""
        if isinstance(self._data, mmap.mmap) and _DONT_NEED is not None and end >= mmap.PAGESIZE:
            self._data.madvise(_DONT_NEED, 0, end - end % mmap.PAGESIZE)

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        if isinstance(self._data, mmap.mmap) and not self._data.closed:
            self._data.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stretches(scan: LogScan) -> list[Stretch]:
    stretches = [
        Stretch(chunk.offset + CHUNK_HEAD_BYTES, chunk.offset + chunk.length, chunk.start_time_ns, chunk.end_time_ns)
        for chunk in scan.chunks
        if chunk.index_offsets
    ]
    if scan.open_chunk is not None:
        stretches.append(Stretch(scan.open_chunk + CHUNK_HEAD_BYTES, scan.end, scan.open_start_ns, scan.open_end_ns))
    return stretches


class _Channels:
    """Puts messages together from the records of the wanted channels: the payload's, and those of raw parts behind."""

    def __init__(self, channels: Mapping[int, Channel], prefixes: Prefixes) -> None:
        topics = {number: _topic_of(channel) for number, channel in channels.items()}
        wanted = tuple(prefix.encode() for prefix in prefixes)
        self._topics = {number: topic for number, topic in topics.items() if topic.startswith(wanted)}
        self._wanted = wanted
        self._maps = {number for number, channel in channels.items() if channel.encoding == MSGPACK}
        self._raw = {number for number, channel in channels.items() if RAW_PARTS_OF in channel.metadata}
        self._alone = {number for number, channel in channels.items() if channel.metadata.get("parts") == "1"}
        self._overflow = {number for number, channel in channels.items() if channel.topic == OVERFLOW_TOPIC}
        self._pending: LoggedMessage | None = None

    def put_together(self, records: Iterator[tuple[int, int, int, bytes]]) -> Iterator[LoggedMessage]:
        for number, sequence, log_time_ns, data in records:
            if number in self._overflow:
                yield from self._take_overflow(log_time_ns, data)
                continue
            topic = self._topics.get(number)
            if topic is None:
                continue
            if number in self._raw:
                if self._pending is not None and self._pending.parts[0] == topic:
                    self._pending = self._pending._replace(parts=(*self._pending.parts, data))
                continue
            if self._pending is not None:
                yield self._pending
            parts = (topic,) if number in self._alone else (topic, data)
            self._pending = LoggedMessage(log_time_ns, parts, sequence, number in self._maps)

    def _take_overflow(self, log_time_ns: int, data: bytes) -> Iterator[LoggedMessage]:
        try:
            parts = tuple(msgspec.msgpack.decode(data, type=list[bytes]))
        except msgspec.DecodeError as error:
            raise ProtocolError(f"a message of {OVERFLOW_TOPIC} is no list of parts: {error}") from error
        pending, self._pending = self._pending, None
        # Where only the raw parts found no channel, the payload stands before it already.
        if pending is not None and not (pending.log_time_ns == log_time_ns and pending.parts == parts[:2]):
            yield pending
        if parts[0].startswith(self._wanted):
            self._pending = LoggedMessage(log_time_ns, parts, 0, len(parts) > 1 and _is_map(parts[1]))

    def rest(self, start_ns: int, end_ns: int) -> Iterator[LoggedMessage]:
        """Yield the last message, behind which nothing came."""
        if self._pending is not None and start_ns <= self._pending.log_time_ns < end_ns:
            yield self._pending


def _topic_of(channel: Channel) -> bytes:
    if topic_hex := channel.metadata.get("topic_hex"):
        try:
            return bytes.fromhex(topic_hex)
        except ValueError:
            pass  # damaged: the readable form stands for it
    return channel.metadata.get(RAW_PARTS_OF, channel.topic).encode()


def _is_map(payload: bytes) -> bool:
    try:
        return isinstance(msgspec.msgpack.decode(payload), dict)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
