"""The offset between rig time and this computer's monotonic clock, measured by asking ``t``."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec


class ClockOffset(msgspec.Struct, frozen=True):
    """Rig time minus this computer's monotonic clock."""

    offset_s: float
    uncertainty_s: float
    """Half of the best round trip: the true offset is within this of `offset_s`."""
    round_trip_s: float
    """The best round trip."""

    def now(self) -> float:
        """Return rig time, in seconds."""
        return time.monotonic() + self.offset_s


def measure_offset(ask: Callable[[], float], count: int) -> ClockOffset:
    """Ask for the time `count` times and trust the fastest answer.

    The answer was given somewhere between question and reply; the middle is off by half of the round trip at most.

    Args:
        ask: Asks the rig for its time, in seconds.
        count: How often; at least once.
    """
    best: ClockOffset | None = None
    for _ in range(max(1, count)):
        before = time.monotonic()
        rig_time = ask()
        after = time.monotonic()
        if best is None or after - before < best.round_trip_s:
            round_trip_s = after - before
            best = ClockOffset(rig_time - (before + after) / 2, round_trip_s / 2, round_trip_s)
    assert best is not None
    return best
