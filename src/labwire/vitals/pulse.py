"""Pulse rate and pulse wave from the colour of the face's skin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from labwire.errors import needs_extra
from labwire.vitals.confidence import PulseQuality, pulse_confidence
from labwire.vitals.grid import EvenGrid
from labwire.vitals.projection import PulseWave
from labwire.vitals.rate_fit import RateFit
from labwire.vitals.skin import TRACES
from labwire.vitals.spectrum import Spectrum

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RATE_HZ: Final = 30.0
WINDOW_S: Final = 12.0
KEEP_S: Final = 60.0
GAP_S: Final = 1.0
"""A longer hole in the pictures begins everything anew."""

_COUNT: Final = round(WINDOW_S * RATE_HZ)
_RATES_HZ: Final = (0.67, 3.0)  # 40 to 180 beats per minute
_BAND_HZ: Final = (0.3, 4.0)
_WIDTH_HZ: Final = 0.12
_LINE_HZ, _DRIFT_HZ = 0.05, 0.015
_POS, _CHROM = 0, 1
# How blood changes red, green and blue (de Haan and van Leest, "Improved motion robustness of remote-PPG by using the
# blood volume pulse signature", Physiol. Meas. 2014), without what all three have in common.
_BLOOD: Final = (-0.684, 0.729, -0.042)
_ACROSS: Final = (0.408, 0.408, -0.816)


class PulseEstimate(NamedTuple):
    """What the last 12 s say."""

    bpm: float
    confidence: float
    """0 to 1."""
    quality: PulseQuality


class PulseMeter:
    """Takes colours, gives a pulse."""

    def __init__(self) -> None:
        self._spectrum = Spectrum(_COUNT, RATE_HZ, rates_hz=_RATES_HZ, band_hz=_BAND_HZ, width_hz=_WIDTH_HZ)
        self._fit = RateFit(_COUNT, RATE_HZ, line_hz=_LINE_HZ, drift_hz=_DRIFT_HZ, overtone=True)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._grid = EvenGrid(RATE_HZ)
        self._wave = PulseWave(RATE_HZ, TRACES, KEEP_S)
        self._levels: Floats = np.ones((_COUNT, 3))
        self._last_s: float | None = None

    def add(self, time_s: float, colours: NDArray[Any]) -> None:
        """Take the colours of one picture, (TRACES, 3), red, green, blue; its time is later than the last one's."""
        if self._last_s is not None and time_s - self._last_s > GAP_S:
            self.reset()
        self._last_s = time_s
        for step in self._grid.add(time_s, np.maximum(colours, 1.0)):
            self._wave.add(step)
            self._levels = np.roll(self._levels, -1, axis=0)
            self._levels[-1] = step[0]

    @property
    def steps(self) -> int:
        """How many steps of 1/30 s there are without a gap."""
        return self._wave.steps

    def step_s(self, step: int) -> float:
        """Return the moment of a step, counted from the first one."""
        assert self._grid.next_s is not None
        return self._grid.next_s - (self.steps - step) / RATE_HZ

    def wave(self, seconds: float) -> Floats | None:
        """Return the newest pulse wave of the whole face, by POS; None if there is not so much of it."""
        waves = self.waves(seconds)
        return None if waves is None else waves[0]

    def waves(self, seconds: float) -> Floats | None:
        """Return the same of the whole face and then of its parts, (TRACES, samples)."""
        count = round(seconds * RATE_HZ)
        return self._wave.newest(count)[_POS] if self.steps >= count else None

    def levels(self) -> Floats:
        """Return the colours of the whole face in the last 12 s, (360, 3), red, green, blue."""
        return self._levels

    def estimate(self, time_s: float) -> PulseEstimate | None:
        """Return the pulse of the last 12 s before a time; None if there are not as many, or the newest is old."""
        if self.steps < _COUNT or self._last_s is None or time_s - self._last_s > GAP_S:
            return None
        waves = self._wave.newest(_COUNT)
        power = self._spectrum.power(waves)
        line = self._spectrum.line(power[_POS, 0])
        chrom = self._spectrum.line(power[_CHROM, 0])
        quality = PulseQuality(
            snr_db=line.snr_db,
            contrast_db=self._spectrum.contrast_db(power[_POS, 0], line.hz),
            apart_bpm=abs(line.hz - chrom.hz) * 60,
            likeness=_likeness(self._spectrum.near(waves[_POS, 1:], line.hz)),
            blood=_blood(self._spectrum.near(_tint(self._levels).T, line.hz)),
            rate_hz=line.hz,
        )
        bpm = self._fit.mean_hz(waves[_POS, 0], self._spectrum.refine(waves[_POS, 0], line.hz)) * 60
        return PulseEstimate(bpm, pulse_confidence(quality), quality)


def _tint(levels: Floats) -> Floats:
    """Return how colours change, (steps, 3), without what all three do."""
    change = levels / levels.mean(axis=0) - 1
    return change - change.mean(axis=1, keepdims=True)


def _likeness(parts: NDArray[np.complex128]) -> float:
    """Return the mean correlation of each two parts, -1 to 1.

    Args:
        parts: Their spectra near the line, (parts, points).
    """
    size = np.sqrt((np.abs(parts) ** 2).sum(axis=1))
    alike = np.real(parts @ parts.conj().T) / np.maximum(np.outer(size, size), 1e-30)
    return float(alike[np.triu_indices(len(parts), 1)].mean())


def _blood(tint: NDArray[np.complex128]) -> float:
    """Return the share of a change of colour that blood could have made, 0 to 1.

    Args:
        tint: Spectra of red, green and blue near the line, (3, points).
    """
    along, across = (float((np.abs(np.array(axis) @ tint) ** 2).sum()) for axis in (_BLOOD, _ACROSS))
    return along / max(along + across, 1e-30)
