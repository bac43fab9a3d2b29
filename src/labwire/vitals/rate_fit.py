"""The mean rate of a wave whose rate changes slowly, to a fraction of what a spectrum resolves.

A line of a spectrum weights the middle of its window and takes a drifting rate for a blurred one. So a wave is fitted
whose rate is a parabola over the window, with its overtone; how far the rate may drift is a prior, weighed against the
noise that the fit itself finds. Gauss-Newton from the spectrum's line, a handful of steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from labwire.errors import needs_extra

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_STEPS: Final = 5


class RateFit:
    """Fits waves of one length.

    Args:
        count: Samples of a wave.
        rate_hz: Samples per second.
        line_hz: How far, about, the rate may be from the spectrum's line.
        drift_hz: How far, about, the rate at the ends of the window differs from that in the middle.
        overtone: The wave has one.
    """

    def __init__(self, count: int, rate_hz: float, *, line_hz: float, drift_hz: float, overtone: bool) -> None:
        ends = np.linspace(-1, 1, count)
        half_s = (count - 1) / rate_hz / 2
        # Phase by rate in the middle, slope of the rate, bend of the rate.
        self._phase = 2 * np.pi * half_s * np.stack([ends, ends**2 / 2, ends**3 / 3], axis=1)
        self._taper = np.minimum(1.0, 10 * (1 - np.abs(ends)) + 0.1)[:, None]
        self._level = np.stack([np.ones(count), ends], axis=1)
        self._prior_hz = np.array([line_hz, drift_hz, drift_hz])
        self._harmonics = (1, 2) if overtone else (1,)

    def mean_hz(self, wave: NDArray[Any], line_hz: float) -> float:
        """Return the mean rate of a wave over its window.

        Args:
            wave: (count,)
            line_hz: Where its spectrum has a line.
        """
        centre: Floats = np.array([line_hz, 0.0, 0.0])
        rate = centre
        waves, slopes = self._waves(rate)
        shape = _solved((waves * self._taper).T @ waves, (waves * self._taper).T @ wave)
        best = np.inf, line_hz
        for _ in range(_STEPS):
            waves, slopes = self._waves(rate)
            bend = (slopes @ shape[: slopes.shape[1]])[:, None] * self._phase
            rest = (wave - waves @ shape)[:, None] * self._taper
            noise = float((rest**2).sum() / (self._taper**2).sum())
            if noise < best[0]:
                best = noise, float(rate[0] + rate[2] / 3)
            columns = np.concatenate([waves, bend], axis=1) * self._taper
            aim = (wave + bend @ rate) * self._taper[:, 0]
            prior = np.zeros(columns.shape[1])
            prior[-3:] = noise / self._prior_hz**2
            wanted = columns.T @ aim
            wanted[-3:] += prior[-3:] * centre
            found = _solved(columns.T @ columns + np.diag(prior), wanted)
            shape, rate = found[:-3], found[-3:]
            rate[0] = np.clip(rate[0], line_hz - 2 * self._prior_hz[0], line_hz + 2 * self._prior_hz[0])
        # A fit that did not settle is worth less than the line.
        return best[1] if abs(best[1] - line_hz) < 2 * self._prior_hz[0] else line_hz

    def _waves(self, rate: Floats) -> tuple[Floats, Floats]:
        """Return the columns that make up a wave, and how those that turn change with the phase."""
        phase = self._phase @ rate
        turning: list[Floats] = []
        slopes: list[Floats] = []
        for harmonic in self._harmonics:
            cosine, sine = np.cos(harmonic * phase), np.sin(harmonic * phase)
            turning += [cosine, sine]
            slopes += [-harmonic * sine, harmonic * cosine]
        return np.concatenate([np.stack(turning, axis=1), self._level], axis=1), np.stack(slopes, axis=1)


def _solved(matrix: Floats, wanted: Floats) -> Floats:
    ridge = 1e-9 * float(np.trace(matrix)) / len(matrix) + 1e-30  # a wave of nothing has no shape
    return cast("Floats", np.linalg.solve(matrix + ridge * np.eye(len(matrix)), wanted))
