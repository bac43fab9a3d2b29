"""What the measured workers do: nothing, or make an array."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from labwire.instruments.driver import Driver

NAME = "benchmarks.instruments.drivers:Nothing"
PARAMS = {"range": 10.0, "samples": 100}


class Nothing(Driver):
    """Does nothing, so that only the way is measured."""

    def open(self) -> None:
        """Get ready."""
        self._waveforms: dict[int, npt.NDArray[np.float32]] = {}

    def nothing(self, range: float, samples: int) -> None:  # noqa: A002
        """Do nothing with two parameters."""

    def waveform(self, points: int) -> npt.NDArray[np.float32]:
        """Return an array, made once."""
        if points not in self._waveforms:
            self._waveforms[points] = np.arange(points, dtype=np.float32)
        return self._waveforms[points]

    def sleep(self, duration_s: float) -> None:
        """Take a while."""
        time.sleep(duration_s)
