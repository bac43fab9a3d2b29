"""Breathing rate and breathing traces from the motion of the chest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from labwire.errors import needs_extra
from labwire.vitals.confidence import breathing_confidence
from labwire.vitals.grid import EvenGrid
from labwire.vitals.rate_fit import RateFit
from labwire.vitals.spectrum import Spectrum
from labwire.vitals.sway import SwaySplit

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RATE_HZ: Final = 10.0
WINDOW_S: Final = 30.0
GAP_S: Final = 1.0
"""A longer hole in the pictures begins everything anew."""

_COUNT: Final = round(WINDOW_S * RATE_HZ)
_RATES_HZ: Final = (0.075, 0.75)  # 4.5 to 45 breaths per minute
_BAND_HZ: Final = (0.05, 2.0)
_WIDTH_HZ: Final = 0.06
_LINE_HZ, _DRIFT_HZ = 0.02, 0.007
_BASELINE_S: Final = 12.0  # what is slower than this is posture
_CHEST, _HEAD = 0, slice(1, 3)
_HEAD_LEADS: Final = 1.5  # a head that moves so much more than the chest is not moved by breath


class BreathingEstimate(NamedTuple):
    """What the last 30 s say."""

    breaths_per_min: float
    confidence: float
    """0 to 1."""
    snr_db: float
    """How much breathing stands out, in dB."""
    amplitude: float
    """Root mean square of the chest's own motion at this rate, percent of the face's height."""


class Traces(NamedTuple):
    """How far the chest is above where it was on average, percent of the face's height; None if it does not show."""

    upper: float | None
    lower: float | None


class BreathingMeter:
    """Takes motion, gives breathing."""

    def __init__(self) -> None:
        self._spectrum = Spectrum(_COUNT, RATE_HZ, rates_hz=_RATES_HZ, band_hz=_BAND_HZ, width_hz=_WIDTH_HZ)
        self._fit = RateFit(_COUNT, RATE_HZ, line_hz=_LINE_HZ, drift_hz=_DRIFT_HZ, overtone=False)
        self._split = SwaySplit(_COUNT, RATE_HZ, _BAND_HZ)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._grid = EvenGrid(RATE_HZ)
        self._motion: Floats = np.zeros((_COUNT, 3))
        self._steps = 0
        self._last_s: float | None = None
        self._baseline: Floats | None = None

    def add(
        self, time_s: float, moved: NDArray[Any], weights: NDArray[Any], head: tuple[float, float] = (0.0, 0.0)
    ) -> Traces:
        """Take the motion of one picture; its time is later than the last one's.

        Args:
            time_s: Moment of capture.
            moved: How far each block has moved up, (2, BLOCKS), percent of the face's height; NaN in a part that does
                not show.
            weights: How much each block has to tell, (2, BLOCKS).
            head: How far the head has moved to the left and up, percent of the face's height.
        """
        if self._last_s is not None and time_s - self._last_s > GAP_S:
            self.reset()
        shown = np.nan_to_num(moved)
        total = max(float(weights.sum()), 1e-9)
        for step in self._grid.add(time_s, np.array([float((shown * weights).sum()) / total, *head])):
            self._motion = np.roll(self._motion, -1, axis=0)
            self._motion[-1] = step
            self._steps += 1
        return self._traces(time_s, shown, weights)

    def estimate(self, time_s: float) -> BreathingEstimate | None:
        """Return the breathing of the last 30 s before a time; None if there are not as many, or the newest is old."""
        if self._steps < _COUNT or self._last_s is None or time_s - self._last_s > GAP_S:
            return None
        head = self._motion[:, _HEAD]
        own, sway = self._split.split(self._motion[:, _CHEST], head)
        power = self._spectrum.power(own)
        line = self._spectrum.line(power)
        amplitude = self._spectrum.amplitude(own, line.hz)
        confidence = breathing_confidence(
            snr_db=line.snr_db,
            contrast_db=self._spectrum.contrast_db(power, line.hz),
            amplitude=amplitude,
            sway=float(sway.std()),
            like_head=self._like_head(own, head, line.hz, amplitude),
        )
        if self._spectrum.drifts(power, line.hz):
            confidence = 0.0
        rate = self._fit.mean_hz(own, self._spectrum.refine(own, line.hz)) * 60
        return BreathingEstimate(rate, confidence, line.snr_db, amplitude)

    def _like_head(self, own: Floats, head: Floats, hz: float, amplitude: float) -> float:
        """Return how much of the chest's own motion goes with a head that moves more, 0 to 1."""
        leading = [way for way in head.T if self._spectrum.amplitude(way, hz) > _HEAD_LEADS * amplitude]
        return max((self._spectrum.coherence(own, way, hz) for way in leading), default=0.0)

    def _traces(self, time_s: float, shown: Floats, weights: NDArray[Any]) -> Traces:
        sums = weights.sum(axis=1)
        level = (shown * weights).sum(axis=1) / np.maximum(sums, 1e-9)
        if self._baseline is None or self._last_s is None:
            self._baseline, self._last_s = level, time_s
        step_s, self._last_s = time_s - self._last_s, time_s
        # Quick at first, so that the trace does not begin with a minute of slope.
        pace_s = min(_BASELINE_S, 1.0 + self._steps / RATE_HZ)
        self._baseline = self._baseline + min(1.0, step_s / pace_s) * (level - self._baseline)
        above = level - self._baseline
        return Traces(*(float(value) if weight > 0 else None for value, weight in zip(above, sums, strict=True)))
