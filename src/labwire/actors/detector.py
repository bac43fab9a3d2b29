"""A detector on the bus: its images go to writers, its state and its runs' results to everybody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from labwire.actors.camera_images import CameraImages
from labwire.actors.detector_config import CameraImagesConfig, DetectorConfig
from labwire.actors.detector_recording import DetectorRecorder, done_with
from labwire.actors.detector_runs import DetectorRuns
from labwire.actors.detector_settings import RunSettings
from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.errors import CancelledError, LabwireError, NotFoundError, StateError
from labwire.images.broker_json import BrokerConfig, read_broker_json
from labwire.images.build import make_pusher, make_sides
from labwire.images.stream import ImageStream
from labwire.images.stream_text import stream_event_text
from labwire.operations.detectors import (
    DetectorList,
    DetectorProgress,
    DetectorRun,
    Detectors,
    DetectorStatus,
)
from labwire.operations.job import Job, LocalJob
from labwire.operations.recordable import SessionStart
from labwire.operations.service import answer_later
from labwire.sources.image_source import ImageSource
from labwire.sources.image_sources import image_source_of
from labwire.wire.run_result import SocketResult

T = TypeVar("T")

_STATE_S = 1.0
_ASK_S = 2.0
_FORWARD_S = 30.0
_LOOK_S = 0.1
_SUBJECT = "detector.should_"
_LOST = {"writer_lost", "image_failed", "images_dropped", "note_refused", "second_reader"}


class Detector(Actor, Detectors):
    """Streams the images of one detector."""

    Config = DetectorConfig
    options: DetectorConfig
    hears = (_SUBJECT,)

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        begin = self._begin_with_session if self.options.run_on_record else None
        self._recorder = DetectorRecorder(self.name, self.clock.now, begin, self._end_with_session)
        self.offers = (self._recorder,)
        self._source: ImageSource
        self._stream: ImageStream
        self._broker: BrokerConfig
        self._runs: DetectorRuns
        self._past = (0.0, 0, 0)
        self._rates = (0.0, 0.0)
        self._aside = ThreadPoolExecutor(4, "detectors")

    def on_start(self) -> None:
        """Open the source and the sockets; writers may connect from now on."""
        options = self.options
        if options.broker is not None:
            self._broker = read_broker_json(Path(options.broker))
            for key in self._broker.ignored:
                self.log.warning("%s: not understood, and ignored: %s", options.broker, key)
        else:
            self._broker = BrokerConfig(pusher=options.stream, preview=options.preview, metadata=options.metadata)
        self._source = self._open_source()
        pusher = make_pusher(self._broker.pusher, self._on_event)
        try:
            self._preview, self._metadata = make_sides(self._broker.preview, self._broker.metadata)
        except BaseException:
            pusher.close()
            raise
        described = options.messages.self_described
        self._stream = ImageStream(pusher, preview=self._preview, metadata=self._metadata, self_described=described)
        self._runs = DetectorRuns(self.name, options, self._source, self._stream, self, self.log)
        if pusher.addresses:
            self.log.info("images at %s", ", ".join(pusher.addresses))
        self.every(_STATE_S, self._publish_state)
        self._publish_state()

    def on_stop(self) -> None:
        """Take a run back that is on, and close the sockets."""
        begun = hasattr(self, "_runs")
        if begun:
            self._runs.give_up()
        self._aside.shutdown(wait=False, cancel_futures=True)
        if hasattr(self, "_source"):
            self._source.close()  # a source that waits for a camera ends with it
        if begun:
            self._runs.close()
            self._stream.close()
        self._recorder.stop()

    def on_notify(self, notification: Notification) -> None:
        """Stream the images of a detector to writers.

        Each of these concerns all detectors, or the one that ``detector`` names.

        Reacts to notifications:
            ``detector.should_arm``: Prepares a run: START to all writers. ``images``, ``rate_hz``, ``file_prefix``,
                ``images_per_file``, ``run_number``, ``run_name``, ``wait_writers``, ``wait_s``.
            ``detector.should_start``: Starts the run that is armed, or a new one with the same fields.
            ``detector.should_stop``: Ends the run early; what was made is stored.
            ``detector.should_cancel``: Takes the run back.

        Emits notifications:
            ``detector.armed``: All writers have answered START; ``run_number``, ``run_name``, ``images``.
            ``detector.started``: The first image is on its way.
            ``detector.finished``: A run has ended: images, acknowledged, failed, dropped, missing, ``ok``, ``error``.
            ``detector.failed``: A run did not start, and why.
            ``detector.writer_connected``, ``detector.writer_lost``: A writer has come, or gone.
            ``detector.image_failed``, ``detector.images_dropped``: Images are lost, and why; once for each writer.

        Emits data:
            ``detector.<name>.state``: Each second, and when it changes: state, run, progress, rates.
        """
        subject = str(notification["subject"])
        if not subject.startswith(_SUBJECT) or notification.get("detector", self.name) != self.name:
            return
        try:
            self._obey(subject.removeprefix(_SUBJECT), notification)
        except LabwireError as error:
            self._runs.failed(error)
        except msgspec.ValidationError as error:
            self._runs.failed(LabwireError(f"{subject}: {error}"))

    def _obey(self, what: str, notification: Notification) -> None:
        match what:
            case "arm" | "start":
                settings = msgspec.convert({str(key): value for key, value in notification.items()}, RunSettings)
                self._runs.begin(settings, then_run=what == "start")
            case "stop":
                self._runs.stop()
            case "cancel":
                self._aside.submit(self._runs.cancel)
            case _:
                self.log.warning("%s%s is not known", _SUBJECT, what)

    def _open_source(self) -> ImageSource:
        source, channel = self.options.source, self.options.messages.channel
        if isinstance(source, CameraImagesConfig):
            return CameraImages(source.camera, channel, self.context.sub_url, self.context.zmq_context)
        return image_source_of(source, channel)

    # --- sessions

    def _begin_with_session(self, session: SessionStart) -> Future[None]:
        prefix = "/".join([*Path(session.path).parts[-2:], self.name])
        return done_with(self._runs.begin(RunSettings(file_prefix=prefix, run_name=prefix), then_run=True))

    def _end_with_session(self) -> Future[None]:
        self._runs.stop()
        return done_with(self._runs.ended())

    # --- what the bus hears, from any thread: the publisher may be used from any

    def on_state(self) -> None:
        """See `RunListener.on_state`."""
        self.post(self._publish_state)

    def on_run(self, what: str, /, **told: Any) -> None:
        """See `RunListener.on_run`."""
        self.notify(f"detector.{what}", detector=self.name, timestamp=self.clock.now(), **told)

    def on_finished(self, run: DetectorRun) -> None:
        """See `RunListener.on_finished`."""
        self._recorder.put_run(run)

    def _on_event(self, kind: str, data: dict[str, Any]) -> None:
        tell = self.log.warning if kind in _LOST else self.log.info
        tell("%s", stream_event_text(kind, data))
        self.on_run(kind, **data)
        self.on_state()

    def _publish_state(self) -> None:
        status = self._own_status()
        then_s, images, image_bytes = self._past
        now_s = time.monotonic()
        if now_s - then_s >= _STATE_S / 2:
            passed_s = now_s - then_s
            self._rates = (
                max(status.done_images - images, 0) / passed_s,
                max(status.image_bytes - image_bytes, 0) / passed_s,
            )
            self._past = now_s, status.done_images, status.image_bytes
        payload = {**msgspec.to_builtins(status), "timestamp": self.clock.now()}
        self.emit(f"detector.{self.name}.state", payload, numbered=True)

    def _own_status(self) -> DetectorStatus:
        runs, pusher, now = self._runs, self._stream.pusher, self._stream.progress()
        last = runs.last
        rates = self._rates if now is not None else (0.0, 0.0)
        return DetectorStatus(
            name=self.name,
            state=runs.state,
            source=_kind_of(self.options.source),
            stream=_kind_of(self._broker.pusher),
            addresses=list(pusher.addresses),
            preview_address=self._preview.address if self._preview else "",
            metadata_address=self._metadata.address if self._metadata else "",
            writers=pusher.waiting_writers if now is None else None,
            run_number=runs.run_number,
            done_images=now.done_images if now else last.images if last else 0,
            total_images=now.total_images if now else last.images if last else 0,
            acknowledged=now.acknowledged if now else (last.acknowledged or 0) if last else 0,
            failed=now.failed if now else last.failed if last else 0,
            dropped=now.dropped if now else last.dropped if last else 0,
            waiting=now.waiting if now else None,
            sockets=[_told(one) for one in now.sockets] if now else [],
            image_bytes=now.image_bytes if now else last.image_bytes if last else 0,
            images_per_s=rates[0],
            bytes_per_s=rates[1],
            runs=runs.done,
            last_run=last,
            last_error=runs.last_error,
        )

    # --- operations

    def list(self) -> DetectorList:
        """See `Detectors.list`."""
        names = self._names()
        if names == [self.name]:
            return [self._own_status()]
        return self._beside(lambda: [self._status_of(name) for name in names])

    def status(self, name: str) -> DetectorStatus:
        """See `Detectors.status`."""
        if self._is_own(name):
            return self._own_status()
        return self._beside(partial(self._other(name, _ASK_S).status, name))

    def arm(self, name: str, **settings: Any) -> DetectorStatus:
        """See `Detectors.arm`."""
        if self._is_own(name):
            return self._status_after(self._runs.begin(RunSettings(**settings), then_run=False))
        return self._beside(partial(self._other(name).arm, name, **settings))

    def start(self, name: str, **settings: Any) -> DetectorStatus:
        """See `Detectors.start`."""
        if self._is_own(name):
            return self._status_after(self._runs.begin(RunSettings(**settings), then_run=True))
        return self._beside(partial(self._other(name).start, name, **settings))

    def stop(self, name: str) -> DetectorStatus:
        """See `Detectors.stop`."""
        if self._is_own(name):
            self._runs.stop()
            return self._own_status()
        return self._beside(partial(self._other(name).stop, name))

    def cancel(self, name: str) -> DetectorStatus:
        """See `Detectors.cancel`."""
        if not self._is_own(name):
            return self._beside(partial(self._other(name).cancel, name))

        def work() -> DetectorStatus:
            self._runs.cancel()
            return self._own_status()

        return self._beside(work)

    def wait(self, name: str) -> Job[DetectorProgress, DetectorRun]:
        """See `Detectors.wait`."""
        own = self._is_own(name)

        def work(report: Callable[[DetectorProgress], None], cancelled: Callable[[], bool]) -> DetectorRun:
            pause, told = threading.Event(), None
            while not cancelled():
                status = self._own_status() if own else self._other(name, _ASK_S).status(name)
                progress = msgspec.convert(status, DetectorProgress, from_attributes=True)
                if progress != told:
                    report(progress)
                    told = progress
                if status.state == "idle":
                    if status.last_run is None:
                        raise StateError(status.last_error or f"{name} has had no run yet")
                    return status.last_run
                pause.wait(_LOOK_S)
            raise CancelledError(f"no longer waiting for {name}; its run goes on")

        return LocalJob(work)

    def _is_own(self, name: str) -> bool:
        if name == self.name:
            return True
        if name not in self._names():
            raise NotFoundError(f"no detector {name!r} in this rig; there are: {', '.join(self._names())}", name=name)
        return False

    def _names(self) -> list[str]:
        return [*self.context.rig_config.get("detectors", {self.name: None})]

    def _other(self, name: str, timeout_s: float = _FORWARD_S) -> Detectors:
        return self.service_of(Detectors, target=name, timeout_s=timeout_s)

    def _status_of(self, name: str) -> DetectorStatus:
        if name == self.name:
            return self._own_status()
        try:
            return self._other(name, _ASK_S).status(name)
        except LabwireError as error:
            return DetectorStatus(name=name, state="unreachable", last_error=str(error))

    def _status_after(self, begun: Future[None]) -> DetectorStatus:
        return answer_later(done_with(begun, self._own_status))

    def _beside(self, work: Callable[[], T]) -> T:
        """Do what waits beside the loop; the caller gets the answer when it is there."""
        return answer_later(self._aside.submit(work))


def _kind_of(config: msgspec.Struct) -> str:
    return str(config.__struct_config__.tag)


def _told(socket: SocketResult) -> dict[str, Any]:
    """Return what a connection has done so far; while a run is on, what is not answered for is not missing yet."""
    return {key: value for key, value in msgspec.to_builtins(socket).items() if not key.startswith("missing")}
