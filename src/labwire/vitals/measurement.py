"""One person being measured: the stages from a frame to metrics, each of which can also be used alone."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from labwire.errors import needs_extra
from labwire.vitals.arousal import ArousalProxy
from labwire.vitals.breathing import BreathingEstimate, BreathingMeter, Traces
from labwire.vitals.chest import ChestMotion
from labwire.vitals.config import VitalsConfig
from labwire.vitals.face import Face, FaceWatch
from labwire.vitals.frame import Frame
from labwire.vitals.hrv import WINDOW_S as HRV_WINDOW_S
from labwire.vitals.hrv import hrv_of
from labwire.vitals.metrics import CoreMetrics, EdgeMetrics, Hrv, Measure, TraceSample
from labwire.vitals.projection import WINDOW_S as SETTLE_S
from labwire.vitals.pulse import RATE_HZ, PulseEstimate, PulseMeter
from labwire.vitals.pulse import WINDOW_S as PULSE_WINDOW_S
from labwire.vitals.skin import SkinColour

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HRV_EVERY_S: Final = 1.0
_MOST_TRACE_S: Final = 2.0  # of the wave at once, when a value is told for the first time


class Measurement:
    """Turns frames into metrics.

    Args:
        config: What to measure.
    """

    def __init__(self, config: VitalsConfig) -> None:
        self._config, self._least = config, config.least_confidence
        self.faces = FaceWatch()
        self.skin, self.pulse = SkinColour(), PulseMeter()
        self.chest, self.breathing = ChestMotion(), BreathingMeter()
        self.arousal = ArousalProxy()
        self._place = self._chest_restarts = 0
        self._traces: Traces | None = None
        self._told_steps = 0
        self._hrv: Hrv | None = None
        self._hrv_s = float("-inf")
        self._qualities: deque[tuple[float, PulseEstimate]] = deque()

    def look(self, frame: Frame, time_s: float) -> None:
        """Take a frame at a time, in seconds from the first one."""
        self._traces = None
        self.faces.look(frame, time_s)
        if self.faces.place != self._place:
            self._place = self.faces.place
            self._begin_anew()
        face = self.faces.face
        if face is None or self.faces.count != 1:
            return
        if self._config.pulse:
            colours = self.skin.look(frame, face, time_s)
            if colours is not None:
                self.pulse.add(time_s, colours)
        if self._config.breathing:
            self._look_at_chest(frame, face, time_s)

    def metrics(self, at_us: int, time_s: float, *, rates: bool) -> list[CoreMetrics | EdgeMetrics]:
        """Return what is known now.

        Args:
            at_us: Moment of capture, microseconds since 1970-01-01 UTC.
            time_s: The same in seconds from the first frame.
            rates: False: only what is told with every picture.
        """
        told: list[CoreMetrics | EdgeMetrics] = []
        eda: float | None = None
        if rates and self.faces.count <= 1:  # of several people nobody is meant, from the first moment on
            pulse, breathing = self._pulse(time_s), self._breathing(time_s)
            if pulse or breathing:
                told.append(self._core(at_us, time_s, pulse, breathing))
            if pulse and self._config.eda:
                eda = self.arousal.update(self.pulse.steps / RATE_HZ, self.pulse.levels(), RATE_HZ, pulse.bpm / 60)
        upper, lower = self._traces or (None, None)
        if any(value is not None for value in (upper, lower, eda)):
            told.append(
                EdgeMetrics(timestamp_us=at_us, upper_breathing_trace=upper, lower_breathing_trace=lower, eda=eda)
            )
        return told

    def _begin_anew(self) -> None:
        """Somebody else may sit there now."""
        for stage in (self.skin, self.pulse, self.chest, self.breathing, self.arousal):
            stage.reset()
        self._qualities.clear()
        self._told_steps, self._hrv = 0, None

    def _look_at_chest(self, frame: Frame, face: Face, time_s: float) -> None:
        moved = self.chest.look(frame, face, time_s)
        if self.chest.restarts != self._chest_restarts:
            self._chest_restarts = self.chest.restarts
            self.breathing.reset()
        if moved is not None:
            head = -self.faces.moved_x * self.chest.percent_per_px, -self.faces.moved_y * self.chest.percent_per_px
            self._traces = self.breathing.add(time_s, moved, self.chest.weights, head)

    def _pulse(self, time_s: float) -> PulseEstimate | None:
        estimate = self.pulse.estimate(time_s)
        if estimate is None:
            return None
        self._qualities.append((time_s, estimate))
        while time_s - self._qualities[0][0] > HRV_WINDOW_S - PULSE_WINDOW_S:
            self._qualities.popleft()
        return estimate if estimate.confidence >= self._least else None

    def _breathing(self, time_s: float) -> BreathingEstimate | None:
        estimate = self.breathing.estimate(time_s)
        return estimate if estimate and estimate.confidence >= self._least else None

    def _core(
        self, at_us: int, time_s: float, pulse: PulseEstimate | None, breathing: BreathingEstimate | None
    ) -> CoreMetrics:
        return CoreMetrics(
            timestamp_us=at_us,
            pulse=Measure(pulse.bpm, pulse.confidence) if pulse else None,
            pulse_trace=self._pulse_trace(at_us, time_s) if pulse else (),
            breathing=Measure(breathing.breaths_per_min, breathing.confidence) if breathing else None,
            hrv=self._variability(time_s, pulse) if pulse and self._config.hrv else None,
        )

    def _pulse_trace(self, at_us: int, time_s: float) -> tuple[TraceSample, ...]:
        """Return the wave since it was last told, as far as it is final, in units of its own deviation."""
        wave = self.pulse.wave(PULSE_WINDOW_S)
        if wave is None:
            return ()
        final = len(wave) - round(SETTLE_S * RATE_HZ)
        final_step = self.pulse.steps - round(SETTLE_S * RATE_HZ)
        count = min(final, round(_MOST_TRACE_S * RATE_HZ), max(0, final_step - self._told_steps))
        self._told_steps = final_step
        scale = max(float(wave.std()), 1e-9)
        newest: NDArray[np.float64] = wave[final - count : final] / scale
        first = final_step - count
        return tuple(
            TraceSample(at_us + round((self.pulse.step_s(first + n) - time_s) * 1e6), float(value))
            for n, value in enumerate(newest)
        )

    def _variability(self, time_s: float, pulse: PulseEstimate) -> Hrv | None:
        waves = self.pulse.waves(HRV_WINDOW_S)
        if waves is None or min(one.confidence for _, one in self._qualities) < self._least:
            self._hrv = None
        elif time_s - self._hrv_s >= _HRV_EVERY_S:
            self._hrv_s = time_s
            snr_db = float(np.mean([one.quality.snr_db for _, one in self._qualities]))
            self._hrv = hrv_of(waves, RATE_HZ, pulse.bpm, snr_db)
        return self._hrv
