"""The clocks of a session, read again and again: how they stand to each other, and how they drift."""

from __future__ import annotations

from typing import Any

from labwire.clock import epoch_us, monotonic_s
from labwire.operations.recordable import SessionStart
from labwire.sessions.sink import ClockReading

MAX_READINGS = 5000
"""Above this every second one is dropped, so that a manifest stays small over weeks; three days at one a minute."""
_LONG_ENOUGH_S = 59.0


class ClockLog:
    """Readings of the three clocks, the first at the start of the session.

    Args:
        start: Of the session.
    """

    def __init__(self, start: SessionStart) -> None:
        self._readings = [ClockReading(start.start_monotonic_s, start.start_rig_time_s, start.start_epoch_us)]

    def read(self, rig_offset_s: float) -> None:
        """Read the clocks now.

        Args:
            rig_offset_s: Rig time minus monotonic clock.
        """
        before_s = monotonic_s()
        now_us = epoch_us()
        now_s = (before_s + monotonic_s()) / 2  # the moment of the reading between the two
        if len(self._readings) >= MAX_READINGS:
            self._readings = self._readings[::2]
        self._readings.append(ClockReading(now_s, now_s + rig_offset_s, now_us))

    def for_manifest(self) -> dict[str, Any]:
        """Return the keys of the manifest that tell of the clocks."""
        first, last = self._readings[0], self._readings[-1]
        elapsed_s = last.monotonic_s - first.monotonic_s
        offset_s = (last.epoch_us - first.epoch_us) / 1e6 - elapsed_s if len(self._readings) > 1 else None
        drift_ppm = offset_s / elapsed_s * 1e6 if offset_s is not None and elapsed_s >= _LONG_ENOUGH_S else None
        return {"clocks": list(self._readings), "wall_offset_s": offset_s, "wall_drift_ppm": drift_ppm}
