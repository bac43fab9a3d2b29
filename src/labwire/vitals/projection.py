"""From the colour of skin to a pulse wave: two ways to remove what light and motion do to all colours alike.

POS: Wang, den Brinker, Stuijk, de Haan, "Algorithmic principles of remote PPG" (IEEE TBME 2017). CHROM: de Haan and
Jeanne, "Robust pulse rate from chrominance-based rPPG" (IEEE TBME 2013). Both divide a short window by its mean,
project it onto a plane, weight the plane's two axes by their deviation, and add the windows up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from labwire.errors import needs_extra

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WINDOW_S: Final = 1.6

# Columns are the two axes of each plane; rows are red, green, blue.
_POS_AXES = ((0.0, -2.0), (1.0, 1.0), (-1.0, 1.0))
_CHROM_AXES = ((3.0, 1.5), (-2.0, 1.0), (0.0, -1.5))
_SIGN = (1.0, -1.0)  # POS adds the second axis, CHROM subtracts it


class PulseWave:
    """Turns colours at even steps into pulse waves, step by step; keeps the newest ones.

    Args:
        rate_hz: Steps per second.
        traces: How many traces of colour are handled at once.
        keep_s: How much is kept.
    """

    def __init__(self, rate_hz: float, traces: int, keep_s: float) -> None:
        self.window = round(WINDOW_S * rate_hz)
        self._keep = round(keep_s * rate_hz) + self.window
        self._colours: Floats = np.ones((traces, 2 * self.window, 3))
        # Twice as long as what is kept, so that the newest always stand in one piece.
        self._waves: Floats = np.zeros((2, traces, 2 * self._keep))
        self._windows: Floats = np.zeros(2 * self._keep)
        self.steps = 0
        """How many steps have been taken."""
        self._end = 0
        self._colour_end = 0
        self._axes = np.stack([np.array(_POS_AXES), np.array(_CHROM_AXES)])
        self._sign = np.array(_SIGN)[:, None, None]

    def add(self, colours: NDArray[Any]) -> None:
        """Take the colours of one step, (traces, 3), red, green, blue, above 0."""
        self._make_room()
        self._colours[:, self._colour_end] = colours
        self._colour_end += 1
        self._end += 1
        self.steps += 1
        if self.steps < self.window:
            return
        window = self._colours[:, self._colour_end - self.window : self._colour_end]
        self._waves[:, :, self._end - self.window : self._end] += self._project(window)
        self._windows[self._end - self.window : self._end] += 1

    def newest(self, count: int) -> Floats:
        """Return the newest waves, (2, traces, count): by POS and by CHROM; they grow with more light in green."""
        waves = self._waves[:, :, self._end - count : self._end]
        return waves / np.maximum(self._windows[self._end - count : self._end], 1)

    def _project(self, window: Floats) -> Floats:
        level = window / window.mean(axis=1, keepdims=True) - 1
        plane = np.matmul(level[None], self._axes[:, None])  # (2, traces, window, 2)
        plane -= plane.mean(axis=2, keepdims=True)
        spread = np.sqrt((plane**2).mean(axis=2))
        ratio = (spread[:, :, :1] / np.maximum(spread[:, :, 1:], 1e-12)) * self._sign
        return plane[:, :, :, 0] + ratio * plane[:, :, :, 1]

    def _make_room(self) -> None:
        if self._colour_end == self._colours.shape[1]:
            self._colours[:, : self.window - 1] = self._colours[:, -(self.window - 1) :]
            self._colour_end = self.window - 1
        if self._end == self._waves.shape[2]:
            kept = self._keep - 1
            self._waves[:, :, :kept] = self._waves[:, :, -kept:]
            self._windows[:kept] = self._windows[-kept:]
            self._waves[:, :, kept:], self._windows[kept:] = 0, 0
            self._end = kept
