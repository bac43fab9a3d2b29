"""A simulated eye pair on the bus: ``pupil.*`` and ``gaze.*`` data, marked as simulated."""

from __future__ import annotations

import time

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.sources.config import SimulatedEyesConfig
from labwire.sources.simulated_eyes import SimulatedEyes as Generator
from labwire.strict import Strict

_MAX_BEHIND_S = 0.5
"""After a longer pause the samples that were missed are left out instead of being made up in a burst."""


class EyesOptions(Strict):
    """Options of the simulated eyes; the rig fills them in."""

    source: SimulatedEyesConfig


class SimulatedEyes(Actor):
    """Emits pupil and gaze data that nobody measured, for trying out and testing."""

    Config = EyesOptions
    options: EyesOptions

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._generator = Generator(self.options.source)
        self._interval_s = 1.0 / self.options.source.rate_hz
        self._born_s = self._next_s = 0.0

    def on_start(self) -> None:
        """Begin to emit."""
        self._born_s = self._next_s = time.monotonic()
        self._tick()
        for eye in self.options.source.eyes:
            self.notify("eye_process.started", eye_id=eye)

    def on_stop(self) -> None:
        """Say that the eyes are gone."""
        for eye in self.options.source.eyes:
            self.notify("eye_process.stopped", eye_id=eye)

    def on_notify(self, notification: Notification) -> None:
        """Simulate a pair of eyes.

        Reacts to notifications:
            ``eye_process.should_start``: Answers that the eye is there; it always is. Another eye is warned of.
            ``pupil_detector.broadcast_properties``: Answers with the properties of the simulated detectors.

        Emits notifications:
            ``eye_process.started``: The eye is simulated from now on.
            ``eye_process.stopped``: No longer.
            ``pupil_detector.properties.<eye id>.<detector>``: Properties of a detector.

        Emits data:
            ``pupil.<eye id>.2d``, ``pupil.<eye id>.3d``: Pupil data; its method says that it is simulated.
            ``gaze.3d.01.``: Gaze data of both eyes together.
            ``gaze.3d.<eye id>.``: Gaze data of one eye, while not both are seen well: during a blink.
        """
        subject = notification["subject"]
        if subject.startswith("eye_process.should_start"):
            self._answer_start(subject, notification.get("eye_id"))
        elif subject == "pupil_detector.broadcast_properties":
            for eye in self.options.source.eyes:
                for detector in ("Detector2DPlugin", "Pye3DPlugin"):
                    values = {"simulated": True, "rate_hz": self.options.source.rate_hz}
                    self.notify(f"pupil_detector.properties.{eye}.{detector}", values=values)

    def _answer_start(self, subject: str, eye: object) -> None:
        if eye in self.options.source.eyes:
            self.notify("eye_process.started", eye_id=eye)
        else:
            self.log.warning(
                "%s: no eye with eye_id %.40r is simulated, only %s", subject, eye, self.options.source.eyes
            )

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s - self._next_s > _MAX_BEHIND_S:
            self._next_s = now_s
        while self._next_s <= now_s:
            for topic, payload in self._generator.messages(self._next_s - self._born_s, self.clock.at(self._next_s)):
                self.emit(topic, payload)
            self._next_s += self._interval_s
        self.call_later(max(0.0, self._next_s - time.monotonic()), self._tick)
