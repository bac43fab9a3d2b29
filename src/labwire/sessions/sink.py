"""What a local part of the recorder gets: messages as they came, and changes of the clock."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from labwire.operations.recordable import Recordable, StreamCounters
from labwire.sessions.pictures.picture_message import PictureMessage
from labwire.wire.bus_message import Header


class Received(NamedTuple):
    """A message on its way into the files."""

    parts: Sequence[bytes]
    """As they came off the bus, at least one."""
    monotonic_s: float
    """When it came, on the monotonic clock."""
    log_time_ns: int
    """The same moment in nanoseconds since 1970: wall clock at the start plus monotonic time since."""
    header: Header | None
    """Keys that the bus looks at; None if there is no payload or it is not a MessagePack map."""
    picture: PictureMessage | None = None
    """The picture that the video has taken; None if there is none or the video could not take it."""


class ClockChange(msgspec.Struct, frozen=True):
    """A ``T`` during the recording: rig time jumped, the axis of the log did not."""

    offset_before_s: float
    """Rig time minus monotonic clock."""
    offset_after_s: float
    monotonic_s: float
    """When it happened."""


class ClockReading(msgspec.Struct, frozen=True):
    """The three clocks at one moment."""

    monotonic_s: float
    rig_time_s: float
    epoch_us: int
    """Wall clock of the recorder's computer, microseconds since 1970; it may step."""


class Counts:
    """Counters that one thread raises and others read.

    The counters of `StreamCounters`, mutable.
    """

    __slots__ = ("dropped", "gaps", "malformed", "received", "written", "written_bytes")

    def __init__(self) -> None:
        self.received = self.written = self.dropped = self.gaps = self.malformed = self.written_bytes = 0


class LocalRecordable(Recordable):
    """A recordable in the recorder's own process.

    Attributes:
        reasons: Why a counter was last raised: ``dropped``, ``malformed`` or ``gaps`` and one sentence.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self._counts = Counts()

    def count_lost(self, error: Exception) -> None:
        """Count a message that could not be taken because of an error that is nobody's fault but ours."""
        self._counts.dropped += 1
        self.reasons["dropped"] = f"{type(error).__name__}: {error}"

    def counters(self) -> StreamCounters:
        """Tell what has been counted since start."""
        counts = self._counts
        return StreamCounters(
            received=counts.received,
            written=counts.written,
            dropped=counts.dropped,
            gaps=counts.gaps,
            malformed=counts.malformed,
            written_bytes=counts.written_bytes,
        )


class Sink(LocalRecordable):
    """A local recordable that is fed by the recorder's writer thread.

    Between `start` and `stop` only that thread calls `append`, `flush` and `change_clock`. An `OSError` from one of
    them ends the sink: it is not called again until `stop`, which then saves what can be saved. Any other error costs
    the one message.
    """

    @abstractmethod
    def append(self, message: Received) -> None:
        """Take a message; it may wait in memory until `flush`."""

    @abstractmethod
    def flush(self) -> None:
        """Hand everything to the operating system."""

    def change_clock(self, change: ClockChange) -> None:
        """Take note that rig time jumped; messages of before and after may still mix."""
