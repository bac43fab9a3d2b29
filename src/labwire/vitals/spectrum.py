"""Which rate a wave has, and how much it stands out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from labwire.errors import needs_extra

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FINE: Final = 8  # zero padding: points per width of a line
_OVERTONE: Final = 0.5
_BESIDE: Final = (1.4, 3.75)  # widths of a line
_FLAT_EDGE: Final = 0.1  # of the length, at each end


class Line(NamedTuple):
    """The strongest line of a spectrum."""

    hz: float
    snr_db: float
    """Power at the line and its first overtone over all other power in the band, as de Haan and Jeanne (2013)."""


class Spectrum:
    """Finds the rate of waves of one length.

    Which line is the strongest is decided with a taper that keeps lines apart; where it is, with one that is nearly
    flat, because the mean rate over the window is wanted, and with its overtone, which tells it twice as precisely.

    Args:
        count: Samples of a wave.
        rate_hz: Samples per second.
        rates_hz: Lowest and highest rate that is looked for.
        band_hz: What counts as signal or noise.
        width_hz: Half the width of a line.
    """

    def __init__(
        self,
        count: int,
        rate_hz: float,
        *,
        rates_hz: tuple[float, float],
        band_hz: tuple[float, float],
        width_hz: float,
    ) -> None:
        self.count = count
        self._size = 1 << (count * _FINE - 1).bit_length()
        self._hz = np.fft.rfftfreq(self._size, 1 / rate_hz)
        self._step_hz = rate_hz / self._size
        self._taper, self._flat_taper = np.hanning(count), _flat_taper(count)
        ramp = np.linspace(-1, 1, count)
        self._trend = np.linalg.qr(np.stack([np.ones(count), ramp, ramp**2], axis=1))[0]
        self._band = (self._hz >= band_hz[0]) & (self._hz <= band_hz[1])
        self._first, self._last = (int(np.searchsorted(self._hz, hz)) for hz in rates_hz)
        self._width_hz = width_hz

    def power(self, wave: NDArray[Any]) -> Floats:
        """Return the power spectrum along the last axis, without trend."""
        return self._power(wave, self._taper)

    def line(self, power: Floats) -> Line:
        """Return the strongest line of one power spectrum."""
        candidates = np.arange(self._first, self._last)
        at = int(candidates[np.argmax(power[candidates] + _OVERTONE * power[2 * candidates])])
        hz = at * self._step_hz
        return Line(hz, self.snr_db(power, hz))

    def refine(self, wave: NDArray[Any], hz: float) -> float:
        """Return the mean rate of one wave over its whole length, near a rate that is about right."""
        power = self._power(wave, self._flat_taper)
        # At half the rate stands nothing, but its overtone would be the line.
        reach = round(min(self._width_hz, 0.25 * hz) / self._step_hz)
        middle = round(hz / self._step_hz)
        near = np.arange(max(1, middle - reach), middle + reach + 1)
        score = power[near] + power[2 * near]
        at = int(np.argmax(score))
        return float(near[at] + _vertex(score, at)) * self._step_hz

    def contrast_db(self, power: Floats, hz: float) -> float:
        """Return how much stronger a line is than what is just beside it, in dB."""
        away = np.abs(self._hz - hz)
        line = float(power[away <= self._width_hz].mean())
        beside = float(power[(away > _BESIDE[0] * self._width_hz) & (away <= _BESIDE[1] * self._width_hz)].mean())
        return float(10 * np.log10(max(line, 1e-30) / max(beside, 1e-30)))

    def near(self, waves: NDArray[Any], hz: float) -> NDArray[np.complex128]:
        """Return the spectra of waves, along the last axis, within a line's width of a rate."""
        flat = waves - (waves @ self._trend) @ self._trend.T
        inside = np.abs(self._hz - hz) <= self._width_hz
        return np.fft.rfft(flat * self._taper, self._size)[..., inside]

    def drifts(self, power: Floats, hz: float) -> bool:
        """Tell whether a line is the edge of something slower than what is looked for."""
        at = round(hz / self._step_hz)
        return at == self._first and bool(power[at - 1] > power[at])

    def coherence(self, one: NDArray[Any], other: NDArray[Any], hz: float) -> float:
        """Return how much of one wave goes with another near a rate, in whatever phase, 0 to 1."""
        first, second = self.near(one, hz), self.near(other, hz)
        powers = float((np.abs(first) ** 2).sum()) * float((np.abs(second) ** 2).sum())
        return float(np.abs(np.vdot(second, first)) ** 2) / max(powers, 1e-30)

    def snr_db(self, power: Floats, hz: float) -> float:
        """Return how much a line and its overtone stand out, in dB."""
        near = np.abs(self._hz - hz) <= self._width_hz
        near |= np.abs(self._hz - 2 * hz) <= self._width_hz
        signal = float(power[near & self._band].sum())
        noise = float(power[self._band & ~near].sum())
        return float(10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)))

    def amplitude(self, wave: NDArray[Any], hz: float) -> float:
        """Return the root mean square of one wave at a rate, in the unit of the wave."""
        power = self._power(wave, self._flat_taper)
        near = np.abs(self._hz - hz) <= self._width_hz
        # Parseval: one side of the spectrum, as if the taper were not there.
        mean_square = 2 * float(power[near].sum()) / self._size / float((self._flat_taper**2).sum())
        return float(np.sqrt(mean_square))

    def _power(self, wave: NDArray[Any], taper: Floats) -> Floats:
        flat = wave - (wave @ self._trend) @ self._trend.T
        return np.abs(np.fft.rfft(flat * taper, self._size)) ** 2


def _flat_taper(count: int) -> Floats:
    taper = np.ones(count)
    edge = max(1, round(_FLAT_EDGE * count))
    rise = np.hanning(2 * edge + 1)[:edge]
    taper[:edge], taper[-edge:] = rise, rise[::-1]
    return taper


def _vertex(values: Floats, at: int) -> float:
    """Return where, between -1 and 1 steps from `at`, the parabola through three points has its vertex."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = (float(value) for value in values[at - 1 : at + 2])
    curve = before - 2 * here + after
    return 0.0 if curve >= 0 else float(np.clip(0.5 * (before - after) / curve, -1, 1))
