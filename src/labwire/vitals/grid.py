"""Samples at the moments of pictures made samples at even steps: rates are only as true as the times behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from labwire.errors import needs_extra

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MERGE: Final = 0.7  # of a step: what comes closer together is averaged, so that fast cameras have less noise


class EvenGrid:
    """Interpolates between samples onto steps of even length.

    >>> grid = EvenGrid(rate_hz=10)
    >>> [step for t in (0.0, 0.25) for step in grid.add(t, np.array([t]))]
    [array([0.]), array([0.1]), array([0.2])]

    Args:
        rate_hz: Steps per second.
    """

    def __init__(self, rate_hz: float) -> None:
        self.rate_hz = rate_hz
        self.next_s: float | None = None
        """Moment of the next step; None before the first sample."""
        self._last: tuple[float, Floats] | None = None
        self._merged: list[tuple[float, Floats]] = []

    def add(self, time_s: float, value: NDArray[Any]) -> list[Floats]:
        """Take a sample, later than the last one, and return the steps that are known now, in order."""
        self._merged.append((time_s, value))
        if self._last and time_s - self._last[0] < _MERGE / self.rate_hz:
            return []
        time_s = float(np.mean([time for time, _ in self._merged]))
        value = self._merged[0][1] if len(self._merged) == 1 else np.mean([one for _, one in self._merged], axis=0)
        self._merged.clear()
        steps = self._between(time_s, value)
        self._last = time_s, value
        return steps

    def _between(self, time_s: float, value: Floats) -> list[Floats]:
        if self._last is None or self.next_s is None:
            self.next_s = time_s + 1 / self.rate_hz
            return [value]
        then_s, before = self._last
        steps: list[Floats] = []
        while self.next_s <= time_s:
            share = (self.next_s - then_s) / (time_s - then_s)
            steps.append(before + share * (value - before))
            self.next_s += 1 / self.rate_hz
        return steps
