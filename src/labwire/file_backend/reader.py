"""Read what a file backend writes, afterwards or while it is written.

Source: file-ipc, "Python Client Example" and "Concurrent Access". Nothing in here needs more than plain Python, so it
works on any computer that sees the folder.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias

import msgspec

from labwire.errors import LabwireError, NotFoundError
from labwire.file_backend.file_watch import FileWatch
from labwire.file_backend.line_reader import LineReader, RawLine
from labwire.picture import check_jpeg
from labwire.wire.envelope import EnvelopeType, Timestamp, decode_envelope

STREAMS = ("core_metrics", "edge_metrics", "status")
"""What a folder holds: one file ``<stream>.jsonl`` each."""

_STOP_LOOK_S = 0.1
_FRAME_NAMES = ("latest.jpg", "latest.jpeg", "latest.png", "latest.bmp")
_FRAME_TRIES = 20
_FRAME_PAUSE_S = 0.002


class Record(msgspec.Struct, frozen=True):
    """One line that was read."""

    type: EnvelopeType
    timestamp: Timestamp
    """Microseconds since 1970-01-01 UTC."""
    payload: dict[str, Any]
    stream: str
    """Which file it stands in: ``core_metrics``, ``edge_metrics`` or ``status``."""
    offset: int
    """Where the line behind it begins in that file, in bytes: reading can go on from there."""


OnBad: TypeAlias = Callable[[str, int, str], None]
"""Called with stream, offset behind the line, and reason for each line that is no envelope."""


class FolderReader:
    """What has come into a folder since the last look.

    >>> with FolderReader("file_ipc_output") as reader:  # doctest: +SKIP
    ...     records = reader.take()

    Args:
        folder: The folder; it need not be there yet.
        since: Offset by stream, where to begin; a stream that is not named begins at its start.
        on_bad: Called for each line that is no envelope; it is counted and left out in any case.
    """

    def __init__(
        self, folder: str | Path, *, since: Mapping[str, int] | None = None, on_bad: OnBad | None = None
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.bad_lines = 0
        """Lines that were no envelopes."""
        self._on_bad = on_bad
        offsets = since or {}
        self.files = {name: LineReader(self.folder / f"{name}.jsonl", offsets.get(name, 0)) for name in STREAMS}

    @property
    def offsets(self) -> dict[str, int]:
        """Where each stream was read to: what `since` takes."""
        return {name: file.offset for name, file in self.files.items()}

    def take(self) -> list[Record]:
        """Return what has come, in the order of its timestamps.

        Raises:
            OSError: A file is there and cannot be read.
        """
        streams = [list(self.records(name)) for name in STREAMS]
        return sorted(itertools.chain.from_iterable(streams), key=_time_of)

    def records(self, stream: str) -> Iterator[Record]:
        """Yield what has come into one stream."""
        while lines := self.files[stream].take():
            for line in lines:
                if (record := self._record(stream, line)) is not None:
                    yield record

    def close(self) -> None:
        """Close the files. Safe to call twice."""
        for file in self.files.values():
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _record(self, stream: str, line: RawLine) -> Record | None:
        try:
            envelope = decode_envelope(line.data)
        except LabwireError as error:
            self.bad_lines += 1
            if self._on_bad is not None:
                self._on_bad(stream, line.offset, error.message)
            return None
        return Record(envelope.type, envelope.timestamp, envelope.payload, stream, line.offset)


def read(
    folder: str | Path, *, since: Mapping[str, int] | None = None, on_bad: OnBad | None = None
) -> Iterator[Record]:
    """Yield what a folder holds now, all streams together in the order of their timestamps.

    >>> for record in read("file_ipc_output"):  # doctest: +SKIP
    ...     print(record.timestamp, record.type, record.payload)

    An unterminated line at the end of a file is not there yet. Memory does not grow with the files.

    Args:
        folder: What ``base_directory`` named.
        since: Offset by stream, to go on where an earlier reader stopped: `Record.offset` of its last record.
        on_bad: Called for each line that is no envelope; without it such lines are left out silently.

    Raises:
        NotFoundError: There is no such folder.
        OSError: A file is there and cannot be read.
    """
    reader = FolderReader(folder, since=since, on_bad=on_bad)
    if not reader.folder.is_dir():
        raise NotFoundError(f"there is no folder {reader.folder}", path=str(reader.folder))
    return _merged(reader)


def follow(
    folder: str | Path,
    *,
    since: Mapping[str, int] | None = None,
    settle_s: float = 0.25,
    stop: threading.Event | None = None,
    idle_s: float | None = None,
    on_bad: OnBad | None = None,
) -> Generator[Record]:
    """Yield what a folder holds and then what comes, all streams together in the order of their timestamps.

    >>> for record in follow("file_ipc_output"):  # doctest: +SKIP
    ...     print(record.timestamp, record.type, record.payload)

    Rotated, truncated and removed files are followed; the folder need not be there yet.

    Args:
        folder: What ``base_directory`` named.
        since: As in `read`.
        settle_s: How long a record is held back for another stream's earlier ones. The writer is never later than
            0.2 s. 0 yields at once, then the order holds only within a stream.
        stop: Ends it within 0.1 s when it is set.
        idle_s: Ends it when nothing has come for so long; None: never.
        on_bad: As in `read`.

    Raises:
        OSError: A file is there and cannot be read.
    """
    with FolderReader(folder, since=since, on_bad=on_bad) as reader:
        watch = FileWatch([file.path for file in reader.files.values()])
        try:
            yield from _following(reader, watch, _Settling(settle_s), stop, idle_s)
        finally:
            watch.close()


def latest_frame(folder: str | Path) -> bytes | None:
    """Return the newest frame of a folder as an image file, whole; None if there is none.

    Writers that write in place are read until what is there is whole; ours replaces it, so that the first look is good.
    Of several extensions, because somebody has changed it, the one that was written last counts.
    """
    for path in _latest_in(Path(folder).expanduser()):
        for _ in range(_FRAME_TRIES):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                break
            if _is_whole(data, path.suffix):
                return data
            time.sleep(_FRAME_PAUSE_S)
    return None


def _latest_in(folder: Path) -> list[Path]:
    found: list[tuple[float, Path]] = []
    for name in _FRAME_NAMES:
        with contextlib.suppress(FileNotFoundError):
            found.append(((folder / name).stat().st_mtime, folder / name))
    return [path for _, path in sorted(found, reverse=True)]


def _is_whole(data: bytes, suffix: str) -> bool:
    if suffix == ".png":
        return data.endswith(b"IEND\xaeB\x60\x82")
    if suffix == ".bmp":
        return data[:2] == b"BM" and len(data) == int.from_bytes(data[2:6], "little")
    try:
        check_jpeg(data)
    except LabwireError:
        return False
    return True


def _time_of(record: Record) -> int:
    return record.timestamp


def _merged(reader: FolderReader) -> Iterator[Record]:
    with reader:
        yield from heapq.merge(*(reader.records(name) for name in STREAMS), key=_time_of)


class _Settling:
    """Records that wait for earlier ones of other streams."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._waiting: list[tuple[int, int, float, Record]] = []
        self._newest_us: dict[str, int] = {}
        self._count = itertools.count()

    def add(self, records: list[Record], now_s: float) -> None:
        for record in records:
            heapq.heappush(self._waiting, (record.timestamp, next(self._count), now_s + self._settle_s, record))
            self._newest_us[record.stream] = max(record.timestamp, self._newest_us.get(record.stream, 0))

    def settled(self, now_s: float) -> Iterator[Record]:
        while self._waiting and (self._waiting[0][2] <= now_s or self._is_overtaken(self._waiting[0][0])):
            yield heapq.heappop(self._waiting)[3]

    def wait_s(self, now_s: float) -> float | None:
        return max(0.0, self._waiting[0][2] - now_s) if self._waiting else None

    def _is_overtaken(self, timestamp_us: int) -> bool:
        # Every stream has come past it, and within a stream timestamps rise.
        return all(self._newest_us.get(name, -1) >= timestamp_us for name in STREAMS)


def _following(
    reader: FolderReader, watch: FileWatch, settling: _Settling, stop: threading.Event | None, idle_s: float | None
) -> Generator[Record]:
    last_s, told = time.monotonic(), True
    while stop is None or not stop.is_set():
        records, now_s = reader.take(), time.monotonic()
        if records:
            last_s = now_s
            settling.add(records, now_s)
            if not told:
                watch.missed()
        yield from settling.settled(now_s)
        wait_s = settling.wait_s(now_s)
        if wait_s is None and idle_s is not None and now_s - last_s >= idle_s:
            return
        limits = [limit for limit in (wait_s, stop and _STOP_LOOK_S, idle_s) if limit is not None]
        told = watch.wait(min(limits, default=60.0))
