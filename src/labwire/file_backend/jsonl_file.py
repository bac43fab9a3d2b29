"""A file of envelopes that grows line by line, whole lines only, in the order of their timestamps.

Source: file-ipc, "Performance Considerations" (locking, write ordering, streaming reads) and "Troubleshooting" (disk
full, lock conflicts, external rotation).
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self, TypeAlias

import msgspec

from labwire.errors import DeviceError
from labwire.file_backend import locks
from labwire.file_backend.disk import reserve
from labwire.file_backend.jsonl_tail import read_tail, repair_tail, timestamp_of
from labwire.file_backend.locks import PatientLock
from labwire.wire.envelope import Envelope, EnvelopeType, encode_envelope

_log = logging.getLogger(__name__)

OnEvent: TypeAlias = Callable[[str, dict[str, Any]], None]


class JsonlCounters(msgspec.Struct, frozen=True):
    """What has been counted since the file was opened."""

    written: int = 0
    """Lines."""
    dropped: int = 0
    """Lines that could not be written, because the disk was full or the file could not be opened."""
    lock_conflicts: int = 0
    """Lines written without the lock, because somebody held it for too long."""
    rotations: int = 0
    """How often the file was renamed, removed or cut by somebody else, and was begun again."""
    repaired_bytes: int = 0
    """Bytes of unterminated lines that were cut off."""
    moved_timestamps: int = 0
    """Timestamps that were raised, because a line of the same time or a later one stood before them."""


class Line(NamedTuple):
    """What becomes one line."""

    type: EnvelopeType
    timestamp_us: int
    """Microseconds since 1970-01-01 UTC."""
    payload: Mapping[str, Any]


class _Batch(NamedTuple):
    """Lines that one system call writes."""

    data: bytes
    stamps_us: list[int]


class JsonlFile:
    """Append envelopes to a file.

    >>> with JsonlFile(Path("status.jsonl")) as file:  # doctest: +SKIP
    ...     file.append("status", 1234567890123458, {"code": 0, "message": "OK"})
    True

    A line is there as soon as it was appended, by one system call; what a full disk took of a line is cut off again.
    Timestamps in a file always rise. Errors of the disk are counted and reported, never raised; when the disk has room
    again, writing goes on. Safe to use from several threads.

    A reader that takes the shared lock sees whole lines only. Without it the beginning of the newest line may be seen
    before its end: file systems let a file grow page by page.

    Args:
        path: The file; its folder exists.
        locking: Hold the exclusive lock (flock) while a line is written. A lock that somebody else keeps is waited for
            at most 50 ms; then the line is written all the same, and counted.
        buffer_bytes: Most bytes of whole lines that one system call writes.
        reserve_bytes: Keep about so much space of the disk for lines to come, so that they can still be written when
            it is full.
        on_event: Called with a kind and its data, in the thread that appends: ``failed`` (``file``, ``reason``,
            ``errno``) and ``recovered`` (``file``, ``dropped``), ``repaired`` (``file``, ``cut_bytes``), ``rotated``
            (``file``), ``lock_conflict`` (``file``, ``pid``) and ``lock_free`` (``file``).
    """

    def __init__(
        self,
        path: Path,
        *,
        locking: bool = True,
        buffer_bytes: int = 8192,
        reserve_bytes: int = 0,
        on_event: OnEvent | None = None,
    ) -> None:
        self.path = path
        self._path = str(path)  # what the system calls take, without a detour
        self._lock_of_file = PatientLock() if locking else None
        self._buffer_bytes = buffer_bytes
        self._reserve_bytes = reserve_bytes
        self._reserved_to = 0
        self._on_event = on_event
        self._lock = threading.Lock()
        self._fd = -1
        self._inode = self._device = 0  # of what is open
        self._closed = False
        self._size = 0  # as far as we know; anything else means that somebody else was here
        self._last_us = -1
        self._tail_is_known = False
        self._failing = False
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._written = self._dropped = self._rotations = self._cut_bytes = self._moved = 0

    def open(self, *, truncate: bool = False) -> Self:
        """Open the file, create it if it is not there.

        Args:
            truncate: Begin it anew. Else an unterminated line at its end is repaired before anything is appended: cut
                off, or terminated if it is a whole envelope.

        Raises:
            DeviceError: It cannot be opened.
        """
        try:
            with self._lock:
                self._begin(truncate=truncate)
        except OSError as error:
            self._close()
            raise DeviceError(
                f"{self.path} cannot be opened for writing ({error.strerror}); see who owns it and its folder "
                f"(ls -ld {self.path.parent}; chmod 755 {self.path.parent}), or choose another base_directory",
                path=str(self.path),
            ) from error
        finally:
            self._report_all()
        return self

    def append(self, kind: EnvelopeType, timestamp_us: int, payload: Mapping[str, Any]) -> bool:
        """Append one envelope at once; False if it could not be written.

        Args:
            kind: Type of the envelope.
            timestamp_us: Microseconds since 1970-01-01 UTC; raised if the line before has the same or a later one.
            payload: JSON types; numbers must be finite.

        Raises:
            UsageError: The payload cannot be written as JSON.
        """
        return self.append_all([Line(kind, timestamp_us, payload)]) == 1

    def append_all(self, lines: Sequence[Line]) -> int:
        """Append many envelopes with few system calls; return how many were written.

        Raises:
            UsageError: A payload cannot be written as JSON; nothing was written then.
        """
        try:
            with self._lock:
                return self._append(lines)
        finally:
            if self._events:
                self._report_all()

    def counters(self) -> JsonlCounters:
        """Tell what has been counted."""
        return JsonlCounters(
            self._written,
            self._dropped,
            self._lock_of_file.conflicts if self._lock_of_file else 0,
            self._rotations,
            self._cut_bytes,
            self._moved,
        )

    def close(self) -> None:
        """Close the file; what is appended later is dropped and counted. Safe to call twice."""
        with self._lock:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    # The methods below are called with the thread lock held.

    def _begin(self, *, truncate: bool) -> None:
        self._open()
        taken = self._take_lock()
        try:
            if truncate:
                os.ftruncate(self._fd, 0)
            self._look_at_tail()
        finally:
            if taken:
                locks.unlock(self._fd)

    def _append(self, lines: Sequence[Line]) -> int:
        before = self._written
        try:
            self._follow_rotation()
            taken = self._take_lock()
            try:
                if not self._tail_is_known:
                    self._look_at_tail()
                self._write(self._encoded(lines))
                if self._failing:
                    self._recover()
            finally:
                if taken:
                    locks.unlock(self._fd)
        except OSError as error:
            self._tail_is_known = False
            self._fail(error)
        written = self._written - before
        self._dropped += len(lines) - written
        return written

    def _open(self) -> None:
        self._close()
        self._closed = False
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        opened = os.fstat(self._fd)
        self._inode, self._device = opened.st_ino, opened.st_dev
        self._tail_is_known = False
        self._reserved_to = 0

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _follow_rotation(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the file is closed")
        if self._fd < 0:
            self._open()
            return
        # One look at what stands under the name tells both: whether it is ours, and how long it is.
        try:
            here = os.stat(self._path)  # noqa: PTH116  for each line: half the time
        except FileNotFoundError:
            here = None
        if here is None or here.st_ino != self._inode or here.st_dev != self._device:
            self._open()
        elif here.st_size >= self._size:
            self._tail_is_known &= here.st_size == self._size
            return
        self._tail_is_known = False
        self._rotations += 1
        self._events.append(("rotated", {"file": str(self.path)}))

    def _look_at_tail(self) -> None:
        tail = read_tail(self._fd)
        last_us = timestamp_of(tail.rest) or timestamp_of(tail.last_line)
        if last_us is not None:
            self._last_us = max(self._last_us, last_us)
        if tail.rest:
            cut_bytes = repair_tail(self._fd, tail)
            self._cut_bytes += cut_bytes
            self._events.append(("repaired", {"file": str(self.path), "cut_bytes": cut_bytes}))
        self._size = os.fstat(self._fd).st_size
        self._tail_is_known = True
        self._reserve()

    def _reserve(self) -> None:
        # Renewed when half of it is used, and after somebody cut the file, which gives it back.
        left_bytes = self._reserved_to - self._size
        if self._reserve_bytes and not self._reserve_bytes // 2 <= left_bytes <= self._reserve_bytes:
            self._reserved_to = self._size + self._reserve_bytes
            reserve(self._fd, self._size, self._reserve_bytes)

    def _encoded(self, lines: Iterable[Line]) -> list[_Batch]:
        batches: list[_Batch] = []
        pieces: list[bytes] = []
        stamps: list[int] = []
        last_us, size_bytes, moved = self._last_us, 0, 0
        for kind, stamp_us, payload in lines:
            if stamp_us <= last_us:
                stamp_us, moved = last_us + 1, moved + 1  # noqa: PLW2901
            line = encode_envelope(Envelope(kind, stamp_us, payload if isinstance(payload, dict) else dict(payload)))
            if pieces and size_bytes + len(line) > self._buffer_bytes:
                batches.append(_Batch(b"".join(pieces), stamps))
                pieces, stamps, size_bytes = [], [], 0
            pieces.append(line)
            stamps.append(stamp_us)
            last_us, size_bytes = stamp_us, size_bytes + len(line)
        if pieces:
            batches.append(_Batch(pieces[0] if len(pieces) == 1 else b"".join(pieces), stamps))
        self._moved += moved
        return batches

    def _write(self, batches: Iterable[_Batch]) -> None:
        for data, stamps in batches:
            done = os.write(self._fd, data)
            if done < len(data):
                self._end_short_write(data, stamps, done)
            self._written += len(stamps)
            self._last_us = stamps[-1]
            self._size += done
            if self._reserve_bytes:
                self._reserve()
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("%s: %d lines, %d bytes", self._path, len(stamps), done)

    def _end_short_write(self, data: bytes, stamps: Sequence[int], done: int) -> NoReturn:
        # No error yet, but part of a line is in the file: the disk is full. It is cut off, unless somebody else has
        # appended behind it.
        if whole := data.count(b"\n", 0, done):
            self._written += whole
            self._last_us = stamps[whole - 1]
        if os.fstat(self._fd).st_size == self._size + done:
            os.ftruncate(self._fd, self._size + data.rfind(b"\n", 0, done) + 1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _take_lock(self) -> bool:
        lock = self._lock_of_file
        if lock is None:
            return False
        taken = lock.take(self._fd)
        if lock.news:
            kind, data = lock.news
            lock.news = None
            self._events.append((kind, {"file": str(self.path), **data}))
        return taken

    def _fail(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            reason = error.strerror or str(error)
            self._events.append(("failed", {"file": str(self.path), "reason": reason, "errno": error.errno}))

    def _recover(self) -> None:
        self._failing = False
        self._events.append(("recovered", {"file": str(self.path), "dropped": self._dropped}))

    def _report_all(self) -> None:
        # Listeners are called after the lock was let go of: they may append to this very file.
        events, self._events = self._events, []
        for kind, data in events:
            self._report(kind, data)

    def _report(self, kind: str, data: dict[str, Any]) -> None:
        try:
            if self._on_event is not None:
                self._on_event(kind, data)
        except Exception:
            _log.exception("telling of %s %r failed", kind, data)
