"""A clock that stands still until a test moves it."""

from __future__ import annotations

import mmap

from labwire.clock import RigClock
from labwire.errors import UsageError


class FakeClock(RigClock):
    """Rig time for tests. `set_now` and `offset_s` work as on the real one.

    >>> clock = FakeClock(100.0)
    >>> clock.advance(0.5)
    >>> clock.now()
    100.5

    Args:
        monotonic_s: What the monotonic clock shows at first, in seconds.
    """

    def __init__(self, monotonic_s: float = 1000.0) -> None:
        super().__init__(mmap.mmap(-1, mmap.PAGESIZE))
        self.monotonic_s = monotonic_s

    def now(self) -> float:
        """Return rig time in seconds."""
        return self.at(self.monotonic_s)

    def set_now(self, value: float) -> None:
        """Make rig time count from `value` (seconds) from now on."""
        self.follow_offset(value - self.monotonic_s)

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            UsageError: `seconds` is negative: the monotonic clock never goes back.
        """
        if not seconds >= 0:
            raise UsageError(f"time cannot pass by {seconds!r} seconds")
        self.monotonic_s += seconds
