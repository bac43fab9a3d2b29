"""Where a picture stands on a video's time axis."""

from __future__ import annotations

from labwire.sessions.pictures.mp4_format import TIME_BASE_HZ

_FOREIGN_S = 10.0
"""A picture whose timestamp is further from its arrival than this was not stamped with any rig time we know."""
_MAX_SHIFTS = 16


class PictureTimes:
    """Turn timestamps into pts: ``round((timestamp - start) * 65535)``, strictly growing.

    Rig time may jump during a recording, and a foreign sender may stamp with another clock altogether. The axis of the
    video must not jump with it (a player would show a still picture for the length of the jump), so of all known shifts
    the one is taken that brings the timestamp nearest to the moment of arrival. The timestamps themselves are stored
    beside the video as they are.

    Args:
        start_rig_time_s: Rig time at the start of the session.
        start_monotonic_s: The same moment on the monotonic clock.
    """

    def __init__(self, start_rig_time_s: float, start_monotonic_s: float) -> None:
        self._start_rig_time_s = start_rig_time_s
        self._start_monotonic_s = start_monotonic_s
        self._shifts_s = [0.0]

    def add_shift(self, shift_s: float) -> None:
        """Learn that rig time runs ahead of what it was at the start by `shift_s` from now on."""
        if shift_s not in self._shifts_s:
            self._shifts_s = [*self._shifts_s[-_MAX_SHIFTS + 1 :], shift_s]

    def pts_of(self, timestamp: float, monotonic_s: float, last_pts: int) -> int:
        """Return the pts of a picture, in ticks.

        Args:
            timestamp: Of the picture, in seconds.
            monotonic_s: When it arrived.
            last_pts: Of the picture before it, -1 for the first.
        """
        elapsed_s = timestamp - self._start_rig_time_s
        expected_s = monotonic_s - self._start_monotonic_s
        shift_s = min(self._shifts_s, key=lambda shift: abs(elapsed_s - shift - expected_s))
        if abs(elapsed_s - shift_s - expected_s) > _FOREIGN_S:
            shift_s = elapsed_s - expected_s
            self.add_shift(shift_s)
        return max(round((elapsed_s - shift_s) * TIME_BASE_HZ), last_pts + 1)
