"""Operations of the recorder."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeAlias

import msgspec

from labwire.errors import DeviceError, DiskLowError, InvalidNameError, NotFoundError, StateError, UsageError
from labwire.operations.job import Job
from labwire.operations.recordable import StreamCounters
from labwire.operations.service import Service, operation
from labwire.operations.session_check import Verified

MARK_TOPIC = "annotation"
"""Source: the recordings of Pupil Core: annotations have this topic, a label, a timestamp and a duration."""


class StreamFailure(msgspec.Struct, frozen=True):
    """A stream that could not take part, and why."""

    stream: str
    reason: str


class StreamOffer(msgspec.Struct, frozen=True):
    """A stream that a session can have."""

    name: str
    about: str
    """What it writes, in a few words; of another part of the rig, its class."""
    always: bool = False
    """It cannot be left out."""


class RecordingStarted(msgspec.Struct, frozen=True):
    """A session that began."""

    rec_path: str
    """Absolute path of the session folder."""
    session_name: str
    started: list[str]
    """Streams that record."""
    failed: list[StreamFailure] = []


class RecordingStopped(msgspec.Struct, frozen=True):
    """A session that ended."""

    rec_path: str
    duration_s: float
    counters: dict[str, StreamCounters]
    """By stream."""


class SessionSummary(msgspec.Struct, frozen=True):
    """One row of the list of sessions."""

    name: str
    """Session name and running number: ``pilot/003``."""
    path: str
    start_epoch_us: int
    duration_s: float
    """Of one that another recorder writes, or that was cut off: until its log grew last."""
    state: str
    """``recording``, ``complete``, ``repaired`` or ``broken`` (needs repair)."""
    size_bytes: int
    messages: int | None
    """In the log; None as long as nobody has counted them: another recorder writes it, or it was cut off."""
    gaps: int | None = None
    """Missing by their numbers: lost before they reached the recorder; None as `messages`."""
    dropped: int | None = None
    """Reached it and could not be written; None as `messages`."""
    ended: str = ""
    """What ended it if nobody asked for that: ``segmented``, ``disk_low``, ``disk_failed`` or ``rig_died``."""


class RepairProgress(msgspec.Struct, frozen=True):
    """How far a repair is."""

    step: str
    done_bytes: int
    total_bytes: int


class Repaired(msgspec.Struct, frozen=True):
    """What a repair did."""

    path: str
    changes: list[str]
    """One sentence per thing that was mended; empty if the session was whole."""
    messages: int


class Mark(msgspec.Struct, frozen=True):
    """A mark on the time axis: a message ``annotation``, as Pupil Core has it."""

    label: str
    timestamp: float
    """Rig time, in seconds."""
    duration: float = 0.0
    """Of what is marked, in seconds; 0 is a moment."""
    rec_path: str = ""
    """Folder of the session that has it; empty if none is running."""


SessionList: TypeAlias = list[SessionSummary]
StreamOffers: TypeAlias = list[StreamOffer]
StreamNames: TypeAlias = list[str]


class Recording(Service):
    """Record sessions."""

    service = "record"

    @operation(errors=(StateError, InvalidNameError, NotFoundError, DiskLowError, DeviceError))
    @abstractmethod
    def start(self, name: str = "", *, require: bool = False, streams: StreamNames | None = None) -> RecordingStarted:
        """Start a session everywhere.

        Args:
            name: Session name; empty means today's date. Spaces are allowed, ``..`` is not.
            require: Start all selected streams or none.
            streams: What to write beside the session log, of what `streams` lists; not given: everything. The log,
                ``bus.mcap``, has every message of the bus in any case, but pictures only with ``pictures``.
        """

    @operation(changes=False)
    @abstractmethod
    def streams(self) -> StreamOffers:
        """List what a session can have: the recorder's own files, and the parts of the rig that can be recorded."""

    @operation(errors=(StateError,))
    @abstractmethod
    def stop(self) -> RecordingStopped:
        """Stop the running session and make its files whole."""

    @operation(changes=False)
    @abstractmethod
    def list(self) -> SessionList:
        """List the sessions under the recordings' root, newest first."""

    @operation(errors=(NotFoundError, StateError))
    @abstractmethod
    def repair(self, session: str) -> Job[RepairProgress, Repaired]:
        """Make a session whole that a crash cut off.

        Args:
            session: Name and running number as `list` gives them: ``pilot/003``.
        """

    @operation(errors=(NotFoundError, StateError), changes=False)
    @abstractmethod
    def verify(self, session: str) -> Job[RepairProgress, Verified]:
        """Prove what a session holds: count all that is numbered again, open every file, name what is missing.

        What is not numbered is named, too, and who died or stood still meanwhile.

        Args:
            session: Name and running number as `list` gives them: ``pilot/003``.
        """

    @operation(errors=(UsageError,))
    @abstractmethod
    def mark(self, label: str, *, timestamp: float | None = None, duration_s: float = 0.0) -> Mark:
        """Put a mark on the time axis: ``annotation`` on the bus, and in the session that is running.

        Args:
            label: What happened.
            timestamp: When, in rig time; by default now.
            duration_s: How long it lasted; 0 is a moment.
        """
