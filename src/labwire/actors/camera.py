"""A camera or video on the bus: pictures as ``frame.<name>``, vital signs, and both into the file backend."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from labwire.actors.eda_sensor import EdaSensor
from labwire.actors.physiology import Physiology
from labwire.bounded import Policy
from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.clock import EpochAnchor, monotonic_s
from labwire.errors import LabwireError, StateError, UsageError
from labwire.file_backend.backend import FileBackend
from labwire.file_backend.config import FileIpcConfig
from labwire.file_backend.event_text import event_text
from labwire.file_backend.status_board import REPEAT_S, Status, StatusCode
from labwire.names import FRAME
from labwire.picture import Picture
from labwire.sources.config import CameraConfig
from labwire.sources.feed import PictureFeed
from labwire.sources.from_config import picture_feed_of, picture_source_of
from labwire.strict import Strict
from labwire.vitals.config import VitalsConfig
from labwire.vitals.metrics import CoreMetrics, StatusChange, VitalsEvent

_COUNT_S = 1.0
_PROGRESS_STEP = 0.25


class CameraOptions(Strict):
    """Options of a camera actor; the rig fills them in."""

    camera: CameraConfig
    file_ipc: FileIpcConfig | None = None
    vitals: VitalsConfig | None = None


class Camera(Actor):
    """Reads pictures from a camera or video and puts them on the bus."""

    Config = CameraOptions
    options: CameraOptions

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._topic = FRAME + self.name
        self._files: FileBackend | None = None
        self._vitals: Physiology | None = None
        self._eda_sensor: EdaSensor | None = None
        self._anchor = EpochAnchor()
        # A video that may wait for the bus waits for the disk and for what is measured as well.
        self._policy: Policy = "block" if self.options.camera.queue_policy == "block" else "drop_old"
        self._feed: PictureFeed
        self._shown_progress = 0.0
        self._lost: tuple[float, str] | None = None  # when and why, on the feed's thread
        self._thread = threading.Thread(target=self._pump, name=f"pictures of {self.name}")

    def on_start(self) -> None:
        """Open the file backend if there is one, and begin to read."""
        camera, anchor = self.options.camera, self._anchor
        source = picture_source_of(camera, anchor=anchor, on_progress=self._making)
        self._feed = picture_feed_of(camera, source, self._source_event)
        if self.options.file_ipc:
            # Truncated once per start of the rig: a camera that died and came back appends.
            fresh = self.options.file_ipc.truncate_on_init and not self.context.incarnation
            options = msgspec.structs.replace(self.options.file_ipc, truncate_on_init=fresh)
            self._files = FileBackend(
                options, on_event=self._file_event, on_status=self._emit_status, anchor=anchor, policy=self._policy
            ).open()
        if self.options.vitals:
            self._start_vitals(self.options.vitals)
        self._feed.start()
        self._thread.start()
        self._announce()
        self.every(_COUNT_S, self._count)

    def on_stop(self) -> None:
        """Stop reading; write what waits."""
        if self._thread.is_alive():
            self._feed.close()
            self._thread.join(timeout=5)
        if self._vitals:
            self._vitals.close()
        if self._eda_sensor:
            self._eda_sensor.close()
        if self._files:
            self._files.close()

    def on_notify(self, notification: Notification) -> None:
        """Read pictures from a camera or a video file.

        Reacts to notifications:
            ``frame_publishing.set_format``: Publishes pictures in another format: jpeg, bgr or gray.

        Emits notifications:
            ``frame_publishing.started``: Pictures are published, in this format.
            ``frame_publishing.failed``: That format is not known; the old one stays.
            ``camera.failed``: The camera or file does not work; it is tried again, or given up: ``retry_in_s`` is None.
            ``recording.gap``: It works again; pictures are missing from then to now.

        Emits data:
            ``frame.<name>``: Pictures, one raw part each.
            ``camera.<name>``: Each second: pictures read, dropped, malformed; not measured, and not written as frames.
            ``core_metrics.<name>``: Several times a second: pulse and breathing, as far as they can be measured.
            ``edge_metrics.<name>``: With each picture: breathing traces; the arousal proxy, or what a sensor measured.
            ``status.<name>``: When it changes and every 10 s: what keeps vital signs from being measured, or OK.
        """
        if notification["subject"] == "frame_publishing.set_format":
            self._set_format(notification.get("format"))

    def _set_format(self, wanted: object) -> None:
        try:
            self._feed.set_format(str(wanted))
        except UsageError as error:
            self.log.warning("frame_publishing.set_format: %s", error)
            self.notify("frame_publishing.failed", camera=self.name, format=str(wanted)[:80], reason=error.message)
            return
        self._announce()

    def _announce(self) -> None:
        self.notify("frame_publishing.started", format=self._feed.format, camera=self.name)

    def _pump(self) -> None:
        """On a thread of its own: the publisher may be used from any thread, and waits for nobody."""
        while True:
            try:
                picture = self._feed.get()
            except StateError:
                return  # the source has ended
            self._publish(picture)
            if self._files:
                self._files.put(picture)
            if self._vitals:
                self._vitals.put(picture)

    def _start_vitals(self, config: VitalsConfig) -> None:
        if config.eda_topic:
            self._eda_sensor = EdaSensor(config, self.context.sub_url, self.context.zmq_context)
        try:
            self._vitals = Physiology(
                config,
                files=self._files,
                on_event=self._emit_vitals,
                eda=self._measured_eda if self._eda_sensor else None,
                policy=self._policy,
            )
        except LabwireError as error:  # the pictures are there all the same
            self.log.warning("no vital signs: %s", error)
            return
        self._vitals.start()
        status = self._vitals.status
        if self._files:
            self._files.status(status.code, status.message)
        else:
            self.every(REPEAT_S, self._repeat_status)

    def _measured_eda(self, picture: Picture) -> float | None:
        """On the thread that measures."""
        return self._eda_sensor.take(self.clock.at(picture.monotonic_s)) if self._eda_sensor else None

    def _emit_vitals(self, event: VitalsEvent, picture: Picture) -> None:
        """On the thread that measures."""
        if isinstance(event, StatusChange):
            if not self._files:  # which tells of it itself, and of its own
                self._emit_status(Status(event.code, event.message), event.timestamp_us)
            return
        kind = "core_metrics" if isinstance(event, CoreMetrics) else "edge_metrics"
        captured_s = picture.monotonic_s - (picture.epoch_us - event.timestamp_us) / 1e6
        self._emit_line(kind, event.payload(), captured_s, event.timestamp_us)

    def _emit_status(self, status: Status, stamp_us: int) -> None:
        """On whatever thread brings it about."""
        captured_s = monotonic_s() - (self._anchor.now_us() - stamp_us) / 1e6
        self._emit_line("status", status._asdict(), captured_s, stamp_us)

    def _emit_line(self, kind: str, payload: dict[str, Any], captured_s: float, epoch_us: int) -> None:
        times = {"timestamp": self.clock.at(captured_s), "epoch_us": epoch_us}
        self.emit(f"{kind}.{self.name}", {**payload, **times}, numbered=True)

    def _repeat_status(self) -> None:
        if self._vitals:
            status = self._vitals.status
            self._emit_status(Status(status.code, status.message), self._anchor.now_us())

    def _publish(self, picture: Picture) -> None:
        payload = {
            "width": picture.width,
            "height": picture.height,
            "index": picture.index,
            "timestamp": self.clock.at(picture.monotonic_s),
            "format": picture.format,
        }
        self.emit(self._topic, payload, [picture.data])

    def _count(self) -> None:
        counters = self._feed.counters()
        numbers: dict[str, int] = msgspec.structs.asdict(counters)
        if self._vitals:
            numbers["not_measured"] = self._vitals.counters().dropped
        if self._files:
            frames = self._files.counters().frames
            numbers["not_written"] = frames.dropped + frames.failed + frames.held_back
        self.emit(f"camera.{self.name}", {**numbers, "timestamp": self.clock.now()}, numbered=True)

    def _making(self, done: float) -> None:
        """Tell how far the demo's clip is, which is made at the first start."""
        if done - self._shown_progress >= _PROGRESS_STEP or done >= 1.0:
            self._shown_progress = done
            self.log.info("making the demo's clip, once: %d %%", round(done * 100))

    def _source_event(self, kind: str, data: dict[str, Any]) -> None:
        """On the feed's thread."""
        if self._files and kind in {"failed", "opened"}:
            if kind == "failed":
                self._files.alarm(StatusCode.CAMERA_FAILED, data["reason"])
            else:
                self._files.clear(StatusCode.CAMERA_FAILED)
        if kind == "failed":
            then = "given up" if data["retry_in_s"] is None else f"tried again in {data['retry_in_s']:g} s"
            self.log.error("%s; %s", data["reason"], then)
            self._lost = self._lost or (self.clock.now(), data["reason"])
            self.post(lambda: self.notify("camera.failed", camera=self.name, **data))
        else:
            self.log.info("%s", _in_words(kind, data))
            if kind == "opened" and self._lost:
                (since_s, reason), self._lost = self._lost, None
                gap = {"stream": self._topic, "reason": reason, "begin": since_s, "end": self.clock.now()}
                self.post(lambda: self.notify("recording.gap", camera=self.name, **gap))

    def _file_event(self, kind: str, data: dict[str, Any]) -> None:
        """On one of the backend's threads; what is written for the first time is no news."""
        if kind != "written":
            self.log.warning("%s", event_text(kind, data))


def _in_words(kind: str, data: dict[str, Any]) -> str:
    if kind != "opened":
        return "there are no more pictures" if kind == "ended" else kind
    how = "as they come" if data["as_it_came"] else "encoded here"
    return f"{data['name']}: {data['width']} x {data['height']} at {data['fps']:g}/s, {data['codec']}, {how}"
