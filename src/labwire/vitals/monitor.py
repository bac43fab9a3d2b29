"""The front door: pictures in, metrics and changes of the status out."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from labwire.errors import ProtocolError, TooLargeError, UsageError
from labwire.picture import Picture
from labwire.vitals.config import VitalsConfig
from labwire.vitals.metrics import StatusChange, VitalsEvent
from labwire.vitals.status import Scene, StatusTrack

if TYPE_CHECKING:
    from labwire.vitals.frame import Frame

_FPS_SPAN_S: Final = 3.0
_STEP_BACK_US: Final = 1_000_000


class VitalsMonitor:
    """Measures vital signs of the one person in front of a camera.

    >>> monitor = VitalsMonitor()  # doctest: +SKIP
    >>> for picture in pictures:
    ...     for event in monitor.take(picture):
    ...         print(event.timestamp_us, event.payload())

    Not thread-safe: one thread calls it. It never raises for what a picture shows; a picture that cannot be decoded or
    whose time does not rise is counted and left out. Time that goes back by more than a second begins everything anew.

    Args:
        config: What to measure.

    Raises:
        MissingExtraError: numpy or OpenCV is not installed.
        DeviceError: This OpenCV has no face detector.
    """

    def __init__(self, config: VitalsConfig | None = None) -> None:
        from labwire.vitals.frame import frame_of
        from labwire.vitals.measurement import Measurement

        self._new_measurement = Measurement
        self.config = config or VitalsConfig()
        self.malformed = 0
        """Pictures that could not be decoded."""
        self.out_of_order = 0
        """Pictures that were not newer than the one before."""
        self._frame_of = frame_of
        self._begin()

    def _begin(self) -> None:
        self.measurement = self._new_measurement(self.config)
        """The stages."""
        self._status = StatusTrack()
        self._times_s: deque[float] = deque()
        self._start_us: int | None = None
        self._last_us = 0
        self._next_rates_s = 0.0

    @property
    def status(self) -> StatusChange:
        """The status as it is now; to be repeated now and then for those who join late."""
        return StatusChange(self._last_us, self._status.code, self._status.message)

    def take(self, picture: Picture, timestamp_us: int | None = None) -> list[VitalsEvent]:
        """Take one picture and return what is known since, in the order of time.

        Args:
            picture: As JPEG, colours or grey; grey has no pulse. Wide pictures are looked at in a smaller size.
            timestamp_us: Moment of capture in microseconds since 1970-01-01 UTC; it must rise. Default: the picture's.
        """
        at_us = picture.epoch_us if timestamp_us is None else timestamp_us
        if at_us < self._last_us - _STEP_BACK_US:
            self._begin()
        if self._start_us is None:
            self._start_us = at_us
        elif at_us <= self._last_us:
            self.out_of_order += 1
            return []
        try:
            frame = self._frame_of(picture)
        except (ProtocolError, TooLargeError, UsageError):
            self.malformed += 1
            return []
        self._last_us = at_us
        return self._measure(frame, at_us, (at_us - self._start_us) / 1e6)

    def _measure(self, frame: Frame, at_us: int, time_s: float) -> list[VitalsEvent]:
        self._count(time_s)
        self.measurement.look(frame, time_s)
        events: list[VitalsEvent] = []
        if self._status.update(self._scene(frame), time_s):
            events.append(self.status)
        rates = time_s >= self._next_rates_s
        if rates:
            # Counted from the last time, not from a grid: after a gap there is no backlog.
            interval_s = self.config.metrics_interval_s
            self._next_rates_s = max(self._next_rates_s + interval_s, time_s + interval_s / 2)
        events += self.measurement.metrics(at_us, time_s, rates=rates)
        return events

    def _count(self, time_s: float) -> None:
        self._times_s.append(time_s)
        while time_s - self._times_s[0] > _FPS_SPAN_S:
            self._times_s.popleft()

    def _fps(self) -> float | None:
        span_s = self._times_s[-1] - self._times_s[0]
        return (len(self._times_s) - 1) / span_s if span_s > _FPS_SPAN_S / 2 else None

    def _scene(self, frame: Frame) -> Scene:
        face = self.measurement.faces.face
        if face is None:
            return Scene(width=frame.width, height=frame.height, faces=0, brightness=float(frame.gray.mean()))
        reach = face.size * 0.4
        left, right = (max(0, int((face.centre_x + side * reach) / frame.scale)) for side in (-1, 1))
        top, bottom = (max(0, int((face.centre_y + side * reach) / frame.scale)) for side in (-1, 1))
        shown = frame.gray[top:bottom, left:right]
        return Scene(
            width=frame.width,
            height=frame.height,
            faces=self.measurement.faces.count,
            centre_x=face.centre_x,
            centre_y=face.centre_y,
            size=face.size,
            brightness=float(shown.mean()) if shown.size else 0.0,
            saturated=float((shown >= 250).mean()) if shown.size else 0.0,
            fps=self._fps(),
        )
