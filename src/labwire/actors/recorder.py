"""The recorder on the bus: sessions start and stop by notification and by operation."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import zmq

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.errors import (
    DeviceError,
    InvalidNameError,
    LabwireError,
    NotFoundError,
    ProtocolError,
    ResourceError,
    UsageError,
)
from labwire.images.repair import repair_left
from labwire.operations.actors import ActorList, Actors
from labwire.operations.job import Job
from labwire.operations.recordable import Recordable
from labwire.operations.recording import (
    MARK_TOPIC,
    Mark,
    Recording,
    RecordingStarted,
    RecordingStopped,
    Repaired,
    RepairProgress,
    SessionList,
    StreamNames,
    StreamOffers,
)
from labwire.operations.session_check import Verified
from labwire.sessions import events
from labwire.sessions.check.housekeeping import Housekeeper
from labwire.sessions.config import RecorderConfig
from labwire.sessions.folder import find_interrupted
from labwire.sessions.manifest import Manifest, read_manifest
from labwire.sessions.record.growth import DiskTime, ImageWriters
from labwire.sessions.record.recording import SessionRecorder
from labwire.sessions.record.recording import State as RecorderState

_SLICE_MS = 100
_STARTERS_LIMIT_S = 3.0
_STARTERS_STEP_S = 0.05
_STATE_S = 1.0
_READ_UP_LIMIT_S = 2.0
_JUST_NOW_S = 60.0
"""A session that was cut off longer ago is not what this recorder's forerunner died of."""
_WORTH_GOING_ON_S = 3.0
"""A recorder that dies sooner after the start of a session would only fill the disk with beginnings."""
_JUMP_S = 0.1
"""A shift of rig time in a session that somebody should know of; what clocks that are synchronised do is smaller."""
_MAX_EVENTS = 1000
"""That wait for the loop; the oldest go first."""
_FOLLOWED = ("recording.should_start", "recording.should_stop")


class Recorder(Actor, Recording):
    """Records sessions: every message that the rig selects, and the pictures as video."""

    Config = RecorderConfig
    options: RecorderConfig
    reacts_to = _FOLLOWED

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._actors: list[str] = []
        self._events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=_MAX_EVENTS)
        self._recorder = SessionRecorder(
            self.options,
            self.clock,
            rig=dict(context.rig_config),
            recordables=self._find_recordables,
            actors=lambda: self._actors,
            on_event=self._post_event,
            repair_images=repair_left,
        )
        retention = self.options.retention
        self._house = Housekeeper(Path(self.options.root), retention) if retention.automatic else None
        self._ending = threading.Event()
        self._read_up = threading.Event()
        self._started_s = 0.0
        self._disk_time = DiskTime()
        self._image_writers = ImageWriters(Path(self.options.root))
        self._sub = context.zmq_context.socket(zmq.SUB)
        self._sub.linger = 0
        self._sub.rcvhwm = 100_000
        for prefix in self.options.topics:
            self._sub.subscribe(prefix)
        self._reader = threading.Thread(target=self._read, name="recorder reads")

    def on_start(self) -> None:
        """Read the bus from now on; what comes while no session runs is let go.

        Raises:
            DeviceError: There is no folder for sessions, and none can be made.
        """
        try:
            Path(self.options.root).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"cannot make the folder of sessions {self.options.root}: {error.strerror}; choose [recorder] root"
            raise DeviceError(text) from error
        self._sub.connect(self.context.sub_url)
        self._reader.start()
        self.every(_STATE_S, self._publish_state)
        if self.context.incarnation:
            self.call_later(0.0, self._go_on)

    def on_stop(self) -> None:
        """Make the running session whole."""
        try:
            if self._recorder.state is RecorderState.RECORDING:
                if self.context.rig_died_s is None:
                    self._stop_and_tell()
                else:
                    self._read_up.clear()
                    self._read_up.wait(_READ_UP_LIMIT_S)  # what the bus sent before it died is on its way still
                    self._recorder.rig_died(self.context.rig_died_s)
        finally:
            self._ending.set()
            if self._reader.is_alive():
                self._reader.join()
            self._sub.close()
            if self._house is not None:
                self._house.close()

    def on_notify(self, notification: Notification) -> None:
        """Record the bus into session folders.

        Reacts to notifications:
            ``recording.should_start``: Starts a new session, named by ``session_name``.
            ``recording.should_stop``: Stops the current session.
            ``clock.changed``: Notes in the session that rig time was set.

        Emits notifications:
            ``recording.started``: A new session has started; ``rec_path`` is its folder.
            ``recording.stopped``: The current session has ended and its files are whole.
            ``recording.failed``: It could not start, or was cut off; ``reason`` says why. A recorder that died in a
                session goes on in a new one.
            ``recording.segmented``: The next session of a series has begun in place of the one before.
            ``recording.checked``: A session was checked, and old ones were removed, as the rig file says.
            ``recording.warning``: Something to look at: the disk is getting full, a stream failed.

        Emits data:
            ``annotation``: A mark that somebody put with the operation `mark`.
            ``recorder.state``: Each second: what is recorded, how much, how long the disk lasts or would last.
        """
        match notification["subject"]:
            case "recording.should_start":
                self._on_should_start(notification.get("session_name"))
            case "recording.should_stop":
                self._on_should_stop()
            case "clock.changed":
                before_s, after_s = notification.get("offset_before_s"), notification.get("offset_after_s")
                moment_s = notification.get("monotonic_s")
                if isinstance(before_s, float) and isinstance(after_s, float) and isinstance(moment_s, float):
                    self._recorder.clock_changed(before_s, after_s, moment_s)
                    self._warn_of_jump(after_s - before_s)
            case _:
                pass

    def _warn_of_jump(self, by_s: float) -> None:
        if (session := self._recorder.session) and abs(by_s) >= _JUMP_S:
            text = "rig time was set by %+.3f s in the middle of %s: times before and after are that far apart"
            self.log.warning(text, by_s, session.path)

    def _on_should_start(self, name: object, after: Manifest | None = None) -> None:
        try:
            if not isinstance(name, str | None):
                raise InvalidNameError(f"session_name is text, not {name!r:.80}")
            follows, left_out = (after.uuid, after.left_out) if after else ("", ())
            self._start((name or "").strip(), follows=follows, left_out=left_out)
        except LabwireError as error:
            self._failed(error.message)

    def _on_should_stop(self) -> None:
        try:
            self.stop()
        except LabwireError as error:
            self.log.warning("recording.should_stop: %s", error)

    def _go_on(self) -> None:
        """Where another recorder died in the middle of a session: say so, and go on in a new one."""
        cut_off = find_interrupted(Path(self.options.root), _JUST_NOW_S)
        if cut_off is None or self._recorder.state is not RecorderState.IDLE:
            return
        text = "the recorder died in the middle of %s: `labwire sessions repair` makes its files whole"
        self.log.error(text, cut_off.path)
        self._tell_failed(text % cut_off.path, rec_path=cut_off.path)
        self._stop_the_others()
        if cut_off.duration_s >= _WORTH_GOING_ON_S:
            self._on_should_start(cut_off.name.rpartition("/")[0], _manifest_of(Path(cut_off.path)))

    def _stop_the_others(self) -> None:
        """Have those stop that still record into a session whose recorder is gone; for the others it does nothing."""
        try:
            for recordable in self._find_recordables().values():
                recordable.stop()
        except LabwireError as error:
            self.log.warning("what took part in the session that was cut off may go on: %s", error)

    # --- operations

    def start(self, name: str = "", *, require: bool = False, streams: StreamNames | None = None) -> RecordingStarted:
        """See `Recording.start`."""
        return self._start(name, require=require, streams=streams)

    def streams(self) -> StreamOffers:
        """See `Recording.streams`."""
        return self._recorder.streams({one.name: one.actor_class for one in self._recordable_actors()})

    def _start(self, name: str, **how: Any) -> RecordingStarted:
        absent = self._wait_for_starters()
        started = self._recorder.start(name, **how)
        for actor in absent:
            self.log.warning("%s is still starting; if it records, it is not in %s", actor, started.rec_path)
        self._started_s = time.monotonic()
        self.log.info("recording to %s", started.rec_path)
        for failure in started.failed:
            self.log.error("%s does not record: %s", failure.stream, failure.reason)
        session = self._recorder.session
        self.notify(
            "recording.started",
            rec_path=started.rec_path,
            session_name=started.session_name,
            start_time_synced=session.start_rig_time_s if session else self.clock.now(),
            record_eye=True,
            streams=started.started,
            failed=[msgspec.structs.asdict(failure) for failure in started.failed],
            timestamp=self.clock.now(),
        )
        return started

    def stop(self) -> RecordingStopped:
        """See `Recording.stop`."""
        return self._stop_and_tell()

    def list(self) -> SessionList:
        """See `Recording.list`."""
        return self._recorder.list()

    def repair(self, session: str) -> Job[RepairProgress, Repaired]:
        """See `Recording.repair`."""
        return self._recorder.repair(session)

    def verify(self, session: str) -> Job[RepairProgress, Verified]:
        """See `Recording.verify`."""
        return self._recorder.verify(session)

    def mark(self, label: str, *, timestamp: float | None = None, duration_s: float = 0.0) -> Mark:
        """See `Recording.mark`."""
        moment = self.clock.now() if timestamp is None else timestamp
        if not label or not math.isfinite(moment) or not math.isfinite(duration_s):
            raise UsageError(f"a mark needs a label and finite times: {label!r:.80}, {moment}, {duration_s}")
        payload = {"topic": MARK_TOPIC, "label": label, "timestamp": moment, "duration": duration_s}
        if not self.context.publisher.notify_raw(MARK_TOPIC, payload):
            raise ResourceError(f"the bus did not take the mark {label!r:.80}")
        session = self._recorder.session if self._recorder.selects(MARK_TOPIC.encode()) else None
        return Mark(label, moment, duration_s, session.path if session else "")

    # --- what the bus hears

    def _stop_and_tell(self) -> RecordingStopped:
        stopped = self._recorder.stop()
        self._tell_events()  # what happened before: the last of a series may just have begun
        self._tell_stopped(stopped.rec_path, stopped.duration_s, "stopped")
        return stopped

    def _tell_stopped(self, rec_path: str, duration_s: float, ended: str) -> None:
        self.log.info("recorded %.1f s to %s", duration_s, rec_path)
        self._keep_house(rec_path)
        self.notify(
            "recording.stopped", rec_path=rec_path, duration_s=duration_s, ended=ended, timestamp=self.clock.now()
        )

    def _failed(self, reason: str) -> None:
        self.log.error("not recording: %s", reason)
        self._tell_failed(reason)

    def _tell_failed(self, reason: str, **more: str) -> None:
        self.notify("recording.failed", reason=reason, **more, timestamp=self.clock.now())

    def _post_event(self, kind: str, data: dict[str, Any]) -> None:
        """On any thread."""
        self._events.append((kind, data))
        self.post(self._tell_events)

    def _tell_events(self) -> None:
        while self._events:
            self._recorder_event(*self._events.popleft())

    def _recorder_event(self, kind: str, data: dict[str, Any]) -> None:
        """On the loop: what goes wrong in a session, and sessions that end by themselves."""
        if kind == events.ENDED:
            self.log.error("the session ended by itself: %s", data.get("ended"))
            self._tell_stopped(str(data["rec_path"]), float(data["duration_s"]), str(data.get("ended")))
        elif kind == events.SEGMENTED:
            self._started_s = time.monotonic()
            self.log.info("recording on to %s", data["rec_path"])
            self.notify("recording.segmented", timestamp=self.clock.now(), **data)
            self._keep_house(str(data["ended_path"]))
        else:
            self.log.error("recording: %s %s", kind, data)
            self.notify("recording.warning", kind=kind, timestamp=self.clock.now(), **data)

    def _keep_house(self, rec_path: str) -> None:
        if self._house is not None:
            self._house.ended(Path(rec_path))

    def _look_at_house(self) -> None:
        kept = self._house.poll() if self._house is not None else None
        if kept is None:
            return
        if kept.error or not kept.whole:
            self.log.error("check of %s: %s", kept.path, kept.error or "; ".join(kept.problems))
        for row in kept.removed:
            self.log.info("removed %s: %s", row.name, row.why)
        fields = {**msgspec.to_builtins(kept), "removed": [row.name for row in kept.removed]}
        self.notify("recording.checked", timestamp=self.clock.now(), **fields)

    def _publish_state(self) -> None:
        self._look_at_house()
        counters = self._recorder.counters()
        session = self._recorder.session
        written_bytes = sum(stream.written_bytes for stream in counters.values())
        free_bytes = shutil.disk_usage(self.options.root).free
        state = {
            "recording": session is not None,
            "rec_path": session.path if session else "",
            "duration_s": time.monotonic() - self._started_s if session else 0.0,
            "written": sum(stream.written for stream in counters.values()),
            "written_bytes": written_bytes,
            "dropped": sum(stream.dropped for stream in counters.values()),
            "malformed": sum(stream.malformed for stream in counters.values()),
            "gaps": sum(stream.gaps for stream in counters.values()),
            "free_bytes": free_bytes,
            "disk_hours": self._disk_hours(session.path if session else "", written_bytes, free_bytes),
            "timestamp": self.clock.now(),
        }
        self.emit("recorder.state", state, numbered=True)

    def _disk_hours(self, session: str, written_bytes: int, free_bytes: int) -> float | None:
        """Hours until the disk is as full as the rig allows; None while nothing grows, or nobody can know.

        At the present rate; before a session at the rate of what it would take in.
        """
        forecast = self._recorder.forecast
        what = session or f"{forecast.not_known} not known"
        grown_bytes = written_bytes + self._image_writers.stored_bytes if session else forecast.grown_bytes
        left_bytes = free_bytes - self.options.disk_stop_bytes
        return self._disk_time.hours(what, grown_bytes, left_bytes, now_s=time.monotonic())

    def _wait_for_starters(self) -> list[str]:
        """Give actors that have just been started the time to join; return the names of those that have not."""
        actors, myself = self.service_of(Actors, timeout_s=2.0), self.context.name
        until_s = time.monotonic() + _STARTERS_LIMIT_S
        while starting := [a.name for a in actors.list() if a.state == "starting" and a.name != myself]:
            if time.monotonic() > until_s:
                break
            time.sleep(_STARTERS_STEP_S)
        return starting

    def _find_recordables(self) -> dict[str, Recordable]:
        """Return the other actors that can be recorded, as they are in the rig now."""
        return {one.name: self.service_of(Recordable, target=one.name) for one in self._recordable_actors()}

    def _recordable_actors(self) -> ActorList:
        actors = self.service_of(Actors, timeout_s=2.0).list()
        self._actors = [actor.name for actor in actors]
        return [actor for actor in actors if Recordable.service in actor.services]

    # --- the reader's thread

    def _read(self) -> None:
        poller = zmq.Poller()
        poller.register(self._sub, zmq.POLLIN)
        while not self._ending.is_set():
            if not poller.poll(_SLICE_MS):
                self._read_up.set()
                continue
            received_s = time.monotonic()
            try:
                while True:
                    parts = self._sub.recv_multipart(zmq.NOBLOCK)
                    self._recorder.put(parts, received_s)
                    self._image_writers.note(parts)
            except zmq.Again:
                continue


def _manifest_of(folder: Path) -> Manifest | None:
    """Return the manifest of a session; None if it cannot be read."""
    try:
        return read_manifest(folder)
    except (NotFoundError, ProtocolError):
        return None
