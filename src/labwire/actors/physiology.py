"""A camera's pictures through the vital signs, and what comes out of that into the file backend and to a listener."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Self

import msgspec

from labwire.bounded import BoundedQueue, Policy
from labwire.file_backend.backend import FileBackend
from labwire.picture import Picture
from labwire.vitals.config import VitalsConfig
from labwire.vitals.metrics import CoreMetrics, EdgeMetrics, StatusChange, VitalsEvent
from labwire.vitals.monitor import VitalsMonitor

_log = logging.getLogger(__name__)

_DEPTH = 60  # a second of a fast camera: looking for a face takes much longer than following it
_DEPTH_BYTES = 64 << 20
_CLOSE_S = 30.0


class PhysiologyCounters(msgspec.Struct, frozen=True):
    """What has been counted since the start."""

    received: int
    """Pictures."""
    dropped: int
    """Pictures that were not looked at, because newer ones came before this computer was done."""
    malformed: int
    """Pictures that could not be decoded."""
    core_metrics: int
    edge_metrics: int


class Physiology:
    """Look at pictures in a thread of its own, so that neither camera nor disk ever waits for it.

    >>> with Physiology(VitalsConfig(), files=backend) as physiology:  # doctest: +SKIP
    ...     physiology.put(picture)

    Args:
        config: What to measure.
        files: Where metrics and status are written; None: nowhere.
        on_event: Called in the thread with what is known, and the picture that brought it.
        eda: Called in the thread with each picture: returns skin conductance that a sensor has measured since the last
            one, or None. The arousal proxy is not told then.
        policy: What happens to pictures that come too fast: ``drop_old``, or ``block`` for a video that can wait.
        edge_metrics: Write edge metrics too.

    Raises:
        MissingExtraError: OpenCV is not installed.
        DeviceError: This OpenCV has no face detector.
    """

    def __init__(
        self,
        config: VitalsConfig,
        *,
        files: FileBackend | None = None,
        on_event: Callable[[VitalsEvent, Picture], None] | None = None,
        eda: Callable[[Picture], float | None] | None = None,
        policy: Policy = "drop_old",
        edge_metrics: bool = True,
    ) -> None:
        self._monitor = VitalsMonitor(msgspec.structs.replace(config, eda=config.eda and eda is None))
        self._eda = eda if config.eda else None
        self._files = files
        self._on_event = on_event
        self._edge_metrics = edge_metrics
        self._queue = BoundedQueue[Picture](
            _DEPTH, policy, depth_bytes=_DEPTH_BYTES, size_of=lambda picture: len(picture.data)
        )
        self._core = self._edge = 0
        self._thread = threading.Thread(target=self._run, name="labwire-vitals", daemon=True)

    @property
    def status(self) -> StatusChange:
        """What the pictures show now."""
        return self._monitor.status

    def start(self) -> Self:
        """Start looking."""
        self._thread.start()
        return self

    def put(self, picture: Picture) -> bool:
        """Hand over a picture; False if it, or older ones in its stead, had to be dropped."""
        return self._queue.put(picture)

    def counters(self) -> PhysiologyCounters:
        """Tell what has been counted."""
        queue = self._queue.statistics()
        return PhysiologyCounters(queue.received, queue.dropped, self._monitor.malformed, self._core, self._edge)

    def close(self) -> None:
        """Look at what waits, then stop. Safe to call twice."""
        self._queue.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        for picture in self._queue:
            try:
                for event in self._with_eda(self._monitor.take(picture), picture):
                    self._hand_on(event, picture)
            except Exception:
                _log.exception("measuring failed in a way that was not foreseen")

    def _with_eda(self, events: list[VitalsEvent], picture: Picture) -> list[VitalsEvent]:
        value = self._eda(picture) if self._eda else None
        if value is None:
            return events
        for at, event in enumerate(events):
            if isinstance(event, EdgeMetrics):
                events[at] = msgspec.structs.replace(event, eda=value)
                return events
        return [*events, EdgeMetrics(timestamp_us=picture.epoch_us, eda=value)]

    def _hand_on(self, event: VitalsEvent, picture: Picture) -> None:
        match event:
            case CoreMetrics():
                self._core += 1
                if self._files:
                    self._files.metrics("core_metrics", event.timestamp_us, event.payload())
            case EdgeMetrics():
                if not self._edge_metrics:
                    return
                self._edge += 1
                if self._files:
                    self._files.metrics("edge_metrics", event.timestamp_us, event.payload())
            case StatusChange():
                if self._files:
                    self._files.status(event.code, event.message, timestamp_us=event.timestamp_us)
        if self._on_event is not None:
            self._on_event(event, picture)
