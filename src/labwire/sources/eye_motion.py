"""How simulated eyes move: fixations and saccades, blinks, pupils that answer to light."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

_SIDE_DEG, _UP_DEG = 22.0, 15.0  # how far the eyes turn
_TURN = 2 * math.pi


class Pose(NamedTuple):
    """The eyes at one moment."""

    right_deg: float
    """Where both look: degrees to the right of straight ahead."""
    up_deg: float
    openness: float
    """Of the lids: 1 open, 0 closed."""
    pupil_mm: float
    """Diameter of the pupils."""
    depth_mm: float
    """Distance of what is looked at."""


class EyeMotion:
    """A pair of eyes that looks around.

    What it does depends on the seed and on time only, not on how often it is asked. Time must not go back.
    """

    def __init__(self, seed: int) -> None:
        # One for each, so that neither depends on when the other is asked.
        self._saccades, self._blinks = random.Random(f"saccades {seed}"), random.Random(f"blinks {seed}")
        self._from = self._to = (0.0, 0.0)
        self._saccade_start_s = 0.0
        self._saccade_s = 0.001
        self._next_saccade_s = 0.3
        self._blink_start_s = self._blinks.uniform(1.0, 4.0)
        self._blink_s = 0.2

    def at(self, elapsed_s: float) -> Pose:
        """Return the eyes at a time since they began, in seconds."""
        while elapsed_s >= self._next_saccade_s:
            self._plan_saccade()
        while elapsed_s >= self._blink_start_s + self._blink_s:
            self._plan_blink()
        right_deg, up_deg = self._direction(elapsed_s)
        return Pose(
            right_deg,
            up_deg,
            self._openness(elapsed_s),
            pupil_mm=3.6 + 0.4 * math.sin(_TURN * elapsed_s / 19) + 0.12 * math.sin(_TURN * 0.23 * elapsed_s),
            depth_mm=600 + 150 * math.sin(_TURN * elapsed_s / 47),
        )

    def _plan_saccade(self) -> None:
        chance = self._saccades
        self._from = self._to
        self._to = (
            _clip(chance.gauss(0, 9), _SIDE_DEG),
            _clip(chance.gauss(0, 6), _UP_DEG),
        )
        self._saccade_start_s = self._next_saccade_s
        # The main sequence of saccades: 21 ms and 2.2 ms for each degree (Carpenter 1988).
        self._saccade_s = 0.021 + 0.0022 * math.dist(self._from, self._to)
        fixation_s = 0.18 + min(chance.expovariate(1 / 0.22), 1.2)
        self._next_saccade_s = self._saccade_start_s + self._saccade_s + fixation_s

    def _plan_blink(self) -> None:
        self._blink_start_s += self._blink_s + self._blinks.uniform(2.0, 6.0)
        self._blink_s = self._blinks.uniform(0.12, 0.25)

    def _direction(self, elapsed_s: float) -> tuple[float, float]:
        done = min(1.0, max(0.0, (elapsed_s - self._saccade_start_s) / self._saccade_s))
        done = done**3 * (10 - 15 * done + 6 * done**2)  # least jerk: starts and ends at rest
        # Eyes drift a little while they fixate.
        drift_x = 0.08 * math.sin(_TURN * 0.9 * elapsed_s) + 0.03 * math.sin(_TURN * 7.3 * elapsed_s)
        drift_y = 0.08 * math.sin(_TURN * 1.1 * elapsed_s) + 0.03 * math.sin(_TURN * 6.1 * elapsed_s)
        return (
            self._from[0] + done * (self._to[0] - self._from[0]) + drift_x,
            self._from[1] + done * (self._to[1] - self._from[1]) + drift_y,
        )

    def _openness(self, elapsed_s: float) -> float:
        within = (elapsed_s - self._blink_start_s) / self._blink_s
        return 1 - math.sin(math.pi * within) ** 2 if 0 < within < 1 else 1.0


def _clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))
