"""The truth of a session: every message, byte for byte, in the order of arrival, in ``bus.mcap``.

How a message stands in the file:

- The payload is one MCAP message on the channel of its topic. `log_time` is the arrival on an axis that neither ``T``
  nor a step of the wall clock bends; `publish_time` is the payload's ``timestamp`` (rig time) in nanoseconds, or
  `log_time` if there is none; `sequence` is the payload's ``seq``, or 0.
- Raw parts follow at once, one MCAP message each, on the channel ``<topic>#raw`` (channel metadata ``raw_parts_of``),
  `sequence` counting them from 0. The raw part of a picture that the video took is left out, unless asked for.
- A payload that is not a MessagePack map stands byte for byte on a channel of the same topic whose encoding is empty.
- A message of one part has no payload: it is an empty MCAP message on a channel with metadata ``parts`` = ``1``.
- A topic that is not UTF-8 is shown with escapes; its bytes are in the channel metadata ``topic_hex``.
- When channels run out (65,535), or for a topic above 4 KiB, messages go to the channel ``labwire.overflow`` as the
  MessagePack list of their parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from labwire.errors import DeviceError, StateError
from labwire.file_lock import try_lock
from labwire.operations.recordable import SessionStart, StreamCounters, StreamDescription
from labwire.sessions.log import mcap_format as mcap
from labwire.sessions.log.mcap_repair import repair_log
from labwire.sessions.log.mcap_writer import Channel, McapWriter
from labwire.sessions.sink import ClockChange, Counts, Received, Sink
from labwire.version import __version__
from labwire.wire.gap_counter import GapCounter

FILE_NAME = "bus.mcap"
STREAM = "bus"
MSGPACK = "msgpack"
RAW_SUFFIX = "#raw"
RAW_PARTS_OF = "raw_parts_of"
"""Key in the metadata of a channel of raw parts: the topic that they belong to."""
OVERFLOW_TOPIC = "labwire.overflow"
SESSION_NOTE = "labwire.session"
CLOCK_NOTE = "labwire.clock_change"

_MAX_TOPIC_BYTES = 4096
_RESERVED_CHANNELS = 1  # the overflow's own
_MAX_SEQUENCE = 0xFFFF_FFFF

_PAYLOAD, _NOT_MSGPACK, _ALONE, _RAW = range(4)
_ENCODINGS = {_PAYLOAD: MSGPACK, _NOT_MSGPACK: "", _ALONE: "", _RAW: ""}


class BusLog(Sink):
    """Append messages to ``bus.mcap`` in the session's folder.

    Args:
        raw_in_log: Keep the raw part of a picture that the video took as well.
        refused: Tells how many messages the queue before this had no room for; they are counted as dropped.
    """

    def __init__(self, *, raw_in_log: bool = False, refused: Callable[[], int] = lambda: 0) -> None:
        super().__init__()
        self._raw_in_log = raw_in_log
        self._refused = refused
        self._gaps = GapCounter()
        self._channels: dict[tuple[bytes, int], Channel] = {}
        self._path: Path | None = None
        self._fd: int | None = None
        self._writer: McapWriter | None = None
        self._failed = False

    def prepare(self, session: SessionStart) -> StreamDescription:
        """Create the file, lock it for this process, and write what the session is."""
        if self._fd is not None:
            raise StateError("the log is open already")
        path = Path(session.path, FILE_NAME)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            try_lock(self._fd, wait=True)  # who only looks whether it is locked holds it for a moment
            writer = McapWriter(self._fd)
            writer.begin()
            writer.add_metadata(SESSION_NOTE, _session_note(session))
        except OSError as error:
            self._close()
            raise DeviceError(f"cannot write {path}: {error.strerror}", path=str(path)) from error
        self._path, self._writer, self._failed = path, writer, False
        self._counts, self._gaps, self._channels = Counts(), GapCounter(), {}
        return self.describe()

    def start(self) -> None:
        """Take messages from now on."""
        if self._writer is None:
            raise StateError("the log is not prepared")

    def append(self, message: Received) -> None:
        """Append a message."""
        writer = self._writer
        if writer is None or self._failed:
            return
        self._counts.received += 1
        try:
            self._append(writer, message)
        except OSError as error:
            self._counts.written += 1  # it waits in the writer for `stop`
            self._fail(error)
            raise
        self._counts.written += 1

    def _append(self, writer: McapWriter, message: Received) -> None:
        parts, _, log_time_ns, header, picture = message
        topic = parts[0]
        publish_time_ns, sequence = log_time_ns, 0
        if header is not None:
            kind = _PAYLOAD
            if header.timestamp is not None:
                publish_time_ns = _to_ns(header.timestamp, log_time_ns)
            if (seq := header.seq) is not None and 0 <= seq <= _MAX_SEQUENCE:
                sequence = seq
                self._count_gap(topic, seq, header.emitter)
        elif len(parts) > 1:
            kind = _NOT_MSGPACK
            self._counts.malformed += 1
            self.reasons["malformed"] = f"payload of {topic[:80]!r} is not a MessagePack map"
        else:
            kind = _ALONE
        channel = self._channels.get((topic, kind)) or self._open_channel(writer, topic, kind)
        if channel is None:
            self._append_overflow(writer, message)
            return
        data = parts[1] if len(parts) > 1 else b""
        writer.add_message(channel, data, log_time_ns=log_time_ns, publish_time_ns=publish_time_ns, sequence=sequence)
        if len(parts) > 2 and (picture is None or self._raw_in_log):
            self._append_raw(writer, message, publish_time_ns)

    def _count_gap(self, topic: bytes, seq: int, emitter: str | None) -> None:
        if emitter is not None and (missed := self._gaps.see(emitter, topic.decode("utf-8", "replace"), seq)):
            self._counts.gaps += missed
            self.reasons["gaps"] = f"{missed} of {topic[:80]!r} from {emitter[:80]!r} are missing before number {seq}"

    def _append_raw(self, writer: McapWriter, message: Received, publish_time_ns: int) -> None:
        topic = message.parts[0]
        channel = self._channels.get((topic, _RAW)) or self._open_channel(writer, topic, _RAW)
        if channel is None:
            self._append_overflow(writer, message)  # the payload then stands twice, the raw parts once
            return
        for number, part in enumerate(message.parts[2:]):
            writer.add_message(
                channel, part, log_time_ns=message.log_time_ns, publish_time_ns=publish_time_ns, sequence=number
            )

    def _append_overflow(self, writer: McapWriter, message: Received) -> None:
        key = (b"", -1)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = writer.add_channel(OVERFLOW_TOPIC, MSGPACK, {"list_of": "parts"})
        time_ns = message.log_time_ns
        data = msgspec.msgpack.encode(list(message.parts))
        writer.add_message(channel, data, log_time_ns=time_ns, publish_time_ns=time_ns)

    def _open_channel(self, writer: McapWriter, topic: bytes, kind: int) -> Channel | None:
        if len(topic) > _MAX_TOPIC_BYTES or len(writer.channels) >= mcap.MAX_CHANNELS - _RESERVED_CHANNELS:
            return None
        metadata: dict[str, str] = {}
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            text = topic.decode("utf-8", "backslashreplace")
            metadata["topic_hex"] = topic.hex()
        if kind == _RAW:
            metadata[RAW_PARTS_OF] = text
            text += RAW_SUFFIX
        elif kind == _ALONE:
            metadata["parts"] = "1"
        channel = self._channels[topic, kind] = writer.add_channel(text, _ENCODINGS[kind], metadata)
        return channel

    def change_clock(self, change: ClockChange) -> None:
        """Write a metadata record with the jump."""
        if self._writer is None or self._failed:
            return
        try:
            self._writer.add_metadata(CLOCK_NOTE, _as_strings(change))
        except OSError as error:
            self._fail(error)
            raise

    def flush(self) -> None:
        """Hand everything to the operating system."""
        if self._writer is None or self._failed:
            return
        try:
            self._writer.flush()
        except OSError as error:
            self._fail(error)
            raise

    def sync(self) -> None:
        """Force what was flushed to the disk itself; any thread may call it while the session runs."""
        fd = self._fd
        if fd is not None:
            os.fsync(fd)

    def stop(self) -> StreamCounters:
        """Write what waits, index and summary, and close the file.

        Raises:
            DeviceError: The disk takes no more; the file has to be repaired once there is room.
        """
        writer, self._writer = self._writer, None
        if writer is not None and self._path is not None:
            try:
                writer.finish()
            except OSError as error:
                self._fail(error)
                self._close()
                self._mend(self._path, count_messages(writer.channels))
            self._close()
            self._counts.written_bytes = self._path.stat().st_size
        return self.counters()

    def _mend(self, path: Path, written_before: int) -> None:
        """Finish the file without what could not be written."""
        try:
            scan = repair_log(path)
        except OSError as error:
            raise DeviceError(
                f"{self.reasons['dropped']}; repair the session once there is room", path=str(path)
            ) from error
        lost = min(written_before - count_messages(scan.channels), self._counts.written)
        self._counts.written -= lost
        self._counts.dropped += lost

    def _fail(self, error: OSError) -> None:
        self._failed = True
        self.reasons["dropped"] = f"cannot write {self._path}: {error.strerror}"

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def describe(self) -> StreamDescription:
        """Tell what is written and where."""
        return StreamDescription(STREAM, [FILE_NAME], about={"format": "mcap", "channels": len(self._channels)})

    def counters(self) -> StreamCounters:
        """Tell what has been counted since start."""
        counters, writer, refused = super().counters(), self._writer, self._refused()
        return msgspec.structs.replace(
            counters,
            received=counters.received + refused,
            dropped=counters.dropped + refused,
            written_bytes=writer.size_bytes if writer is not None else counters.written_bytes,
        )


def count_messages(channels: Mapping[int, Channel]) -> int:
    """Return how many messages of the bus stand on these channels of a log; raw parts belong to their message."""
    return sum(channel.count for channel in channels.values() if RAW_PARTS_OF not in channel.metadata)


def _to_ns(seconds: float, otherwise: int) -> int:
    """Return seconds as unsigned nanoseconds, or `otherwise` if they have no such form (negative, NaN, too large)."""
    return round(seconds * 1e9) if 0.0 <= seconds < 1.8e10 else otherwise


def _session_note(session: SessionStart) -> dict[str, str]:
    return {**_as_strings(session), "labwire": __version__}


def _as_strings(struct: msgspec.Struct) -> dict[str, str]:
    return {key: str(value) for key, value in msgspec.structs.asdict(struct).items()}
