"""The two clocks of a rig.

The *monotonic clock* never moves: it orders events and measures durations.
*Rig time* is the monotonic clock plus an offset that the Remote's ``T`` sets (ipc-backbone: "Timesync: make timestamps
count from 1234.56 from now on"). The offset lives in eight bytes of memory that all processes of a rig on one computer
share, so that a ``T`` acts on all of them at once.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable

from labwire.errors import UsageError

_OFFSET_BYTES = 8
_STEP_NS = 100_000_000  # NTP slews what is smaller; a slewed clock takes the monotonic clock along


def monotonic_s() -> float:
    """Return the monotonic clock in seconds; its zero means nothing and it never steps."""
    return time.monotonic()


def monotonic_ns() -> int:
    """Return the monotonic clock in nanoseconds."""
    return time.monotonic_ns()


def epoch_us() -> int:
    """Return the wall clock in microseconds since 1970-01-01 UTC; it may step."""
    return time.time_ns() // 1000


class RigClock:
    """Rig time: seconds as float64, shared by all processes of a rig on one computer.

    >>> clock = RigClock.create()
    >>> clock.set_now(1234.56)
    >>> 1234.56 <= clock.now() < 1235.0
    True
    >>> clock.close()

    A process that was handed the descriptor joins with ``RigClock.join(fd)``. The offset is one aligned double in
    shared memory, written and read whole by the processor.
    """

    def __init__(self, memory: mmap.mmap, fd: int | None = None) -> None:
        self._memory = memory
        self._cell = memoryview(memory).cast("d")
        self.fd = fd

    @classmethod
    def create(cls) -> RigClock:
        """Make a clock whose offset is 0; `fd` can be inherited by child processes (None where the OS has no memfd)."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("labwire-clock")
            os.ftruncate(fd, _OFFSET_BYTES)
            return cls(mmap.mmap(fd, _OFFSET_BYTES), fd)
        return cls(mmap.mmap(-1, _OFFSET_BYTES))

    @classmethod
    def join(cls, fd: int) -> RigClock:
        """Join the clock behind an inherited descriptor."""
        return cls(mmap.mmap(fd, _OFFSET_BYTES), fd)

    @property
    def offset_s(self) -> float:
        """Rig time minus monotonic clock, in seconds."""
        return self._cell[0]

    def now(self) -> float:
        """Return rig time in seconds; may be negative."""
        return time.monotonic() + self._cell[0]

    def at(self, monotonic: float) -> float:
        """Return the rig time of a moment given on the monotonic clock, in seconds."""
        return monotonic + self._cell[0]

    def set_now(self, value: float) -> None:
        """Make rig time count from `value` (seconds) from now on, in all processes.

        Raises:
            UsageError: `value` is not finite; the clock stays as it was.
        """
        if not -1e15 < value < 1e15:  # also false for NaN; beyond, a float64 no longer resolves 0.2 s
            raise UsageError(f"rig time cannot be set to {value!r}: it must be a finite number of seconds", value=value)
        self._cell[0] = value - time.monotonic()

    def follow_offset(self, offset_s: float) -> None:
        """Set the offset itself: for a process on another computer, which measures it by asking ``t``."""
        self._cell[0] = offset_s

    def close(self) -> None:
        """Let go of the shared memory. Safe to call twice."""
        self._cell.release()
        if not self._memory.closed:
            self._memory.close()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class EpochAnchor:
    """Microseconds since the epoch that never go back, whatever happens to the wall clock.

    >>> anchor = EpochAnchor()
    >>> anchor.at(monotonic_s()) <= anchor.at(monotonic_s())
    True

    The wall clock is read once; from then on the monotonic clock counts, so durations stay true. A wall clock that
    steps forward (first NTP answer, the computer slept) is followed; one that steps back is not, and `held_back_s`
    tells how far.

    Args:
        monotonic_ns: Reads the monotonic clock, in nanoseconds.
        epoch_ns: Reads the wall clock, in nanoseconds since 1970-01-01 UTC.
    """

    def __init__(
        self, monotonic_ns: Callable[[], int] = time.monotonic_ns, epoch_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._monotonic_ns, self._epoch_ns = monotonic_ns, epoch_ns
        self._offset_ns = self._seen_ns = epoch_ns() - monotonic_ns()

    def at(self, monotonic_s: float) -> int:
        """Return microseconds since the epoch for a moment on the monotonic clock, given in seconds."""
        self._follow()
        return (round(monotonic_s * 1e9) + self._offset_ns) // 1000

    def now_us(self) -> int:
        """Return microseconds since the epoch."""
        self._follow()
        return (self._monotonic_ns() + self._offset_ns) // 1000

    @property
    def held_back_s(self) -> float:
        """How far the wall clock was stepped back since the anchor was taken, in seconds; 0 when it was not."""
        return max(0.0, (self._offset_ns - (self._epoch_ns() - self._monotonic_ns())) / 1e9)

    def take_step_s(self) -> float:
        """Return how far the wall clock was stepped since this was last called, in seconds, forward if positive.

        0.0 if it was not; what is below 0.1 s counts as no step.
        """
        seen_ns = self._epoch_ns() - self._monotonic_ns()
        step_ns, self._seen_ns = seen_ns - self._seen_ns, seen_ns
        return step_ns / 1e9 if abs(step_ns) > _STEP_NS else 0.0

    def _follow(self) -> None:
        offset_ns = self._epoch_ns() - self._monotonic_ns()
        if offset_ns - self._offset_ns > _STEP_NS:
            self._offset_ns = offset_ns
