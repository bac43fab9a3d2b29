"""The contract of whatever can be recorded: the bus log, the Player folder, a video, a detector, an instrument."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import msgspec

from labwire.errors import DeviceError, DiskLowError, StateError
from labwire.operations.service import Service, operation


class SessionStart(msgspec.Struct, frozen=True):
    """What a recordable needs to know of the session it is to take part in."""

    path: str
    """Folder of the session on the recorder's computer; the files are written there."""
    name: str
    """Session name, without the running number."""
    uuid: str
    start_monotonic_s: float
    """Start on the monotonic clock, in seconds."""
    start_rig_time_s: float
    """Start in rig time, in seconds."""
    start_epoch_us: int
    """Start on the wall clock, in microseconds since 1970."""


class StreamDescription(msgspec.Struct, frozen=True):
    """What a recordable writes."""

    stream: str
    """Its name in the session, unique there."""
    files: list[str]
    """Paths relative to the session folder."""
    host: str = ""
    """Computer that holds the files; empty means the recorder's own."""
    about: dict[str, Any] = {}
    """Format, topics, codec, size in pixels: whatever a reader needs."""


class StreamCounters(msgspec.Struct, frozen=True):
    """What a recordable has counted since start."""

    received: int = 0
    written: int = 0
    dropped: int = 0
    """Arrived but not written, because a bounded queue was full or the disk failed."""
    gaps: int = 0
    """Missing by their sequence numbers: lost before they arrived."""
    malformed: int = 0
    """Arrived, but not in the form that the stream needs."""
    written_bytes: int = 0


class Recordable(Service):
    """Take part in a session: prepare, start, stop, describe, count."""

    service = "recordable"

    @operation(errors=(StateError, DeviceError, DiskLowError))
    @abstractmethod
    def prepare(self, session: SessionStart) -> StreamDescription:
        """Open what is needed, so that `start` cannot fail for want of it.

        Args:
            session: The session to take part in.
        """

    @operation(errors=(StateError,))
    @abstractmethod
    def start(self) -> None:
        """Record from now on."""

    @operation(errors=(StateError,))
    @abstractmethod
    def stop(self) -> StreamCounters:
        """Stop recording, write what is buffered, close the files. Safe to call when not started."""

    @operation(changes=False)
    @abstractmethod
    def describe(self) -> StreamDescription:
        """Tell what is written and where."""

    @operation(changes=False)
    @abstractmethod
    def counters(self) -> StreamCounters:
        """Tell what has been counted since start."""
