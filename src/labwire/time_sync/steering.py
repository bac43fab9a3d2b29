"""How a clock is brought to another one: large steps at once, small ones slowly, no jump in a recording."""

from __future__ import annotations

from labwire.clock_offset import ClockOffset

JUMP_S = 0.010
"""Above, the clock jumps."""
DEAD_BAND_S = 0.0001
"""Below, it is left alone."""
SLEW_RATE = 0.005
"""How fast it is slewed: seconds per second."""


class Steering:
    """Brings the offset of a clock to a target. Holds no clock: give it the time that has passed.

    >>> steering = Steering()
    >>> steering.aim(ClockOffset(0.002, 0.0001, 0.0002), offset_s=0.0, may_jump=True)
    0.0
    >>> round(steering.step(0.0, elapsed_s=0.1), 6)
    0.0005
    """

    def __init__(self) -> None:
        self._target_s: float | None = None

    @property
    def slewing(self) -> bool:
        """Whether there is anything for `step` to do."""
        return self._target_s is not None

    def aim(self, wanted: ClockOffset, offset_s: float, *, may_jump: bool) -> float:
        """Take a measurement in; return the offset to use at once.

        Args:
            wanted: What was measured.
            offset_s: The offset in use.
            may_jump: False while a recording runs: a jump then waits for its end.
        """
        self._target_s = None
        difference_s = wanted.offset_s - offset_s
        if abs(difference_s) <= max(wanted.uncertainty_s, DEAD_BAND_S):
            return offset_s
        if abs(difference_s) > JUMP_S:
            return wanted.offset_s if may_jump else offset_s
        self._target_s = wanted.offset_s
        return offset_s

    def step(self, offset_s: float, elapsed_s: float) -> float:
        """Return the offset to use after some time of slewing.

        Args:
            offset_s: The offset in use.
            elapsed_s: Since the last step.
        """
        if self._target_s is None:
            return offset_s
        most_s = SLEW_RATE * elapsed_s
        difference_s = self._target_s - offset_s
        if abs(difference_s) <= most_s:
            offset_s, self._target_s = self._target_s, None
            return offset_s
        return offset_s + (most_s if difference_s > 0 else -most_s)
