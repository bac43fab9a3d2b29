"""The arousal proxy that stands in the field ``eda``: how much smaller the pulse's amplitude is than at the start.

No camera measures the conductance of skin. What it sees is that vessels narrow under sympathetic arousal: Braun et
al. (Biomed. Opt. Express 2023) found a median correlation of about 0.6 with contact EDA in 21 people. The amplitude is
taken from a fixed projection of colours, because POS scales itself and hides it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from labwire.errors import needs_extra

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WARM_UP_S: Final = 35.0
_LEAST_S: Final = 20.0  # of a pulse that is told, however late it comes
_HALF_BAND_HZ: Final = 0.35
_SMOOTH_S: Final = 4.0
_EDGE_S: Final = 0.5


class ArousalProxy:
    """Compares the pulse's amplitude with that of its first 35 s."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a new warm-up."""
        self._first: list[float] = []
        self._baseline: float | None = None
        self._warm_s = WARM_UP_S

    def update(self, seen_s: float, levels: NDArray[Any], rate_hz: float, pulse_hz: float) -> float | None:
        """Return the logarithm of the amplitude at the start over the amplitude now; None during the warm-up.

        Args:
            seen_s: For how long the face has been seen without a gap.
            levels: Newest colours of the face, (samples, 3), red, green, blue.
            rate_hz: Samples per second.
            pulse_hz: The pulse in them.
        """
        amplitude = pulse_amplitude(levels, rate_hz, pulse_hz)
        if self._baseline is None:
            if not self._first:
                self._warm_s = max(WARM_UP_S, seen_s + _LEAST_S)
            self._first.append(amplitude)
            if seen_s < self._warm_s:
                return None
            self._baseline = float(np.median(self._first))
            self._first.clear()
        return math.log(max(self._baseline, 1e-9) / max(amplitude, 1e-9))


def pulse_amplitude(levels: NDArray[Any], rate_hz: float, pulse_hz: float) -> float:
    """Return the amplitude of green against red and blue at the pulse's rate, as a share of the level.

    Args:
        levels: Newest colours, (samples, 3), red, green, blue.
        rate_hz: Samples per second.
        pulse_hz: The pulse in them.
    """
    relative = levels / levels.mean(axis=0) - 1
    wave = relative[:, 1] - (relative[:, 0] + relative[:, 2]) / 2
    whole = np.concatenate([wave, wave[::-1]])
    spectrum = np.fft.fft(whole - whole.mean())
    frequencies = np.fft.fftfreq(len(whole), 1 / rate_hz)
    spectrum[np.abs(frequencies - pulse_hz) > _HALF_BAND_HZ] = 0  # positive frequencies alone: the analytic signal
    envelope = 2 * np.abs(np.fft.ifft(spectrum)[: len(wave)])
    edge, smooth = round(_EDGE_S * rate_hz), round(_SMOOTH_S * rate_hz)
    return float(envelope[-(edge + smooth) : -edge].mean())
