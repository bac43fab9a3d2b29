"""The one time axis of a session: seconds since its start, which no jump of a clock bends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from labwire.sessions.log.mcap_format import MAX_TIME_NS
from labwire.sessions.manifest import Manifest
from labwire.sessions.sink import ClockChange

FOREIGN_S = 10.0
"""A timestamp that is further from the arrival of its message than this is of another clock than rig time."""


class AxisStart(NamedTuple):
    """The start of a session on its clocks."""

    monotonic_s: float
    rig_time_s: float
    epoch_ns: int


class TimeAxis:
    """Turn arrivals and timestamps into seconds since the start of the session.

    A timestamp is rig time, which jumps when somebody sets it. Of all offsets that rig time has had, the one is taken
    that brings the timestamp nearest to the arrival of its message; so what was measured a moment before a jump, and
    came behind it, is still in its place. A timestamp of another clock altogether says nothing here: then the arrival
    stands for it.

    Args:
        start: Of the session.
        changes: Jumps of rig time, in order.
    """

    def __init__(self, start: AxisStart, changes: Sequence[ClockChange] = ()) -> None:
        self._start = start
        offset_s = start.rig_time_s - start.monotonic_s
        self._shifts_s = [0.0, *dict.fromkeys(change.offset_after_s - offset_s for change in changes)]

    @classmethod
    def of(cls, manifest: Manifest) -> TimeAxis:
        """Return the axis of a session."""
        start = AxisStart(manifest.start_monotonic_s, manifest.start_rig_time_s, manifest.start_epoch_us * 1000)
        return cls(start, manifest.clock_changes)

    def of_arrival(self, log_time_ns: int) -> float:
        """Return when a message came."""
        return (log_time_ns - self._start.epoch_ns) / 1e9

    def log_time_ns(self, time_s: float) -> int:
        """Return the log time of a moment; what lies outside all time is its first or last nanosecond."""
        if not math.isfinite(time_s):
            return MAX_TIME_NS if time_s > 0 else 0
        return min(max(0, self._start.epoch_ns + round(time_s * 1e9)), MAX_TIME_NS)

    def of_timestamp(self, timestamp: float | None, arrival_s: float) -> float:
        """Return when something was measured, by its timestamp; its arrival if that is none of rig time.

        Args:
            timestamp: Rig time, seconds.
            arrival_s: When the message came, on this axis.
        """
        if timestamp is None or not math.isfinite(timestamp):
            return arrival_s
        elapsed_s = timestamp - self._start.rig_time_s
        time_s = elapsed_s
        if len(self._shifts_s) > 1:  # in most sessions nobody sets the clock
            time_s = min((elapsed_s - shift_s for shift_s in self._shifts_s), key=lambda one: abs(one - arrival_s))
        return time_s if abs(time_s - arrival_s) <= FOREIGN_S else arrival_s
