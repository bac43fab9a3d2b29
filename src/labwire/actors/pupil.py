"""Pupil Core, or another rig, as a part of this one: its data with corrected time, its recordings started from here."""

from __future__ import annotations

import socket
import threading
import time
from queue import Empty, Full, Queue

import msgspec

from labwire.actors.pupil_recording import PupilRecording
from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.client.joined_rig import JoinedEvents, JoinedRig
from labwire.client.rig import Rig
from labwire.clock_offset import ClockOffset
from labwire.errors import LabwireError
from labwire.names import NOTIFY
from labwire.sources.config import PupilConfig
from labwire.sources.foreign_time import shift_times
from labwire.strict import Strict
from labwire.wire.bus_message import BusMessage

_STATE_S = 1.0
_FAR_S = 1.0
"""A time that is so far from now says that the other clock was set."""
_MAX_RELAYS = 16
_ECHO_S = 2.0
"""The same command comes back within this time if two rigs relay to each other."""
_COMMANDS = {
    "recording.should_start": "R",
    "recording.should_stop": "r",
    "calibration.should_start": "C",
    "calibration.should_stop": "c",
}
_ORDERS = (
    *("start_plugin", "stop_plugin", "start_eye_plugin", "stop_eye_plugin"),
    *("pupil_detector.broadcast_properties", "meta.", "clock.changed", "ipc_startup"),
)
"""Subjects by which actors of this rig would act, besides those with ``should_`` and ``set_``."""
_ASKING = ("should_", "set_")
_FRAME_PLUGIN_BEFORE = (2, 1)
"""Pupil Core publishes pictures by a plugin that must be started; from this version on its network plugin does."""


class PupilOptions(Strict):
    """Options of this actor; the rig fills them in."""

    source: PupilConfig


class Pupil(Actor):
    """Joins Pupil Core, or another rig."""

    Config = PupilOptions
    options: PupilOptions
    hears = tuple(_COMMANDS)

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        source = self.options.source
        events = JoinedEvents(self._take, self._found, self._lost, self._measured)
        self._joined = JoinedRig(source.host, source.port, source.topics, events)
        self._offset: ClockOffset | None = None
        self._forwarded = self._withheld = 0
        self._relays: Queue[str | None] = Queue(_MAX_RELAYS)
        self._relayed: dict[str, float] = {}
        self._recording = PupilRecording(self.name, source.host, self._joined)
        # Where there is a recorder, it starts and stops us with all else, and hears whether that worked.
        self._with_recorder = bool(context.rig_config.get("recorder"))
        if source.relay and self._with_recorder:
            self.offers = [self._recording]
        self._relayer = threading.Thread(target=self._relay_for_ever, name="relay", daemon=True)

    def on_start(self) -> None:
        """Begin to look for it; the rig does not wait for it."""
        self._joined.start()
        self._relayer.start()
        self.every(_STATE_S, self._tell_state)

    def on_stop(self) -> None:
        """Leave it."""
        self._joined.close()
        if self._relayer.is_alive():
            self._empty_relays()
            self._relays.put(None)
            self._relayer.join()

    def on_notify(self, notification: Notification) -> None:
        """Take over what Pupil Core or another rig publishes, with times moved to rig time.

        Reacts to notifications:
            ``recording.should_start``, ``recording.should_stop``: Passed on, if the rig file says ``relay = true``.
            ``calibration.should_start``, ``calibration.should_stop``: Likewise.

        In a rig with a recorder, sessions are passed on by the recorder, whichever way they are started.

        Emits notifications:
            ``source.found``: It is there; ``gap_s`` tells how long it was not.
            ``source.lost``: It is gone, and is looked for.
            ``source.relayed``, ``source.relay_failed``: A command was passed on, with its reply; or could not be.
            Its own notifications, with ``source``: the name of this actor.

        Emits data:
            All of the chosen topics, as they come.
            ``source.<name>``: Each second: whether it is there, messages received, forwarded, withheld, malformed.
            ``clock.offset``: Every 2 s: how far its clock is from the monotonic one here.
        """
        subject = notification["subject"]
        if not self.options.source.relay or notification.get("source") == self.name:
            return
        name = notification.get("session_name")
        command = _COMMANDS.get(subject)
        if command is None or (self._with_recorder and subject.startswith("recording.")):
            return
        text = f"{command} {name}" if command == "R" and isinstance(name, str) and name else command
        now_s = time.monotonic()
        if now_s - self._relayed.get(text, -_ECHO_S) < _ECHO_S:
            return
        self._relayed = {**{one: at_s for one, at_s in self._relayed.items() if now_s - at_s < _ECHO_S}, text: now_s}
        try:
            self._relays.put_nowait(text)
        except Full:
            self.notify("source.relay_failed", source=self.name, command=text, reason="too many commands wait")

    # --- on the thread of the joined rig

    def _take(self, message: BusMessage) -> None:
        topic, payload, raw = message
        if topic.startswith(NOTIFY) and _is_order(topic.removeprefix(NOTIFY)):
            self._withheld += 1
            return
        if self.options.source.correct_time and self._offset:
            payload = shift_times(payload, self.clock.offset_s - self._offset.offset_s)
            stamp = payload.get("timestamp")
            if isinstance(stamp, float) and abs(stamp - self.clock.now()) > _FAR_S:
                self._joined.measure_soon()
        publisher = self.context.publisher
        try:
            if topic.startswith(NOTIFY):
                if topic == NOTIFY + "recording.started":
                    self._recording.started_there(payload)
                publisher.notify_raw(topic, {**payload, "source": self.name}, raw)
            else:
                publisher.publish(topic, payload, raw)
        except LabwireError as error:  # a payload that can be read, and not written again
            self._withheld += 1
            self.log.warning("%s of %s: %s", topic[:80], self.name, error.message)
            return
        self._forwarded += 1

    def _found(self, rig: Rig, gap_s: float) -> None:
        where = f"{rig.host}:{rig.remote_port}"
        self.log.info("joined %s%s", where, f" again, after {gap_s:.1f} s" if gap_s else "")
        self.post(lambda: self.notify("source.found", source=self.name, address=where, gap_s=gap_s))
        frames = self.options.source.frames
        if frames:
            try:
                ask_for_pictures(rig, frames)
            except LabwireError as error:
                self.log.warning("%s was not asked for pictures: %s", where, error.message)

    def _lost(self, why: str) -> None:
        self.log.warning("%s; looked for until it is there", why)
        self.post(lambda: self.notify("source.lost", source=self.name, reason=why, timestamp=self.clock.now()))

    def _measured(self, offset: ClockOffset) -> None:
        self._offset = offset
        measured = {**msgspec.structs.asdict(offset), "source": self.name, "host": self.options.source.host}
        payload = {"topic": "clock.offset", **measured, "timestamp": self.clock.now()}
        self.context.publisher.publish_numbered("clock.offset", payload)

    # --- relay

    def _relay_for_ever(self) -> None:
        """On a thread of its own: an answer may take its time."""
        while (command := self._relays.get()) is not None:
            try:
                reply = self._joined.request(command)
            except LabwireError as error:
                self._tell_relay("source.relay_failed", command, error.message)
            else:
                self._tell_relay("source.relayed", command, reply)

    def _tell_relay(self, subject: str, command: str, text: str) -> None:
        if subject == "source.relay_failed":
            self.log.error("%s was not passed on: %s", command, text)
        key = "reason" if subject == "source.relay_failed" else "reply"
        self.post(lambda: self.notify(subject, source=self.name, command=command, **{key: text}))

    def _empty_relays(self) -> None:
        try:
            while True:
                self._relays.get_nowait()
        except Empty:
            pass

    def _tell_state(self) -> None:
        joined, source = self._joined, self.options.source
        state = {
            "kind": "pupil",
            "host": source.host,
            "here": socket.gethostname(),
            "connected": joined.connected,
            "received": joined.received,
            "forwarded": self._forwarded,
            "withheld": self._withheld,
            "malformed": joined.malformed,
        }
        self.emit(f"source.{self.name}", {**state, "timestamp": self.clock.now()}, numbered=True)


def _is_order(subject: str) -> bool:
    return subject.startswith(_ORDERS) or any(part.startswith(_ASKING) for part in subject.split("."))


def ask_for_pictures(rig: Rig, picture_format: str) -> None:
    """Ask Pupil Core, or another rig, to publish pictures in a format.

    Raises:
        LabwireError: It does not answer.
    """
    if _has_frame_plugin(rig):
        rig.notify("start_plugin", name="Frame_Publisher", args={"format": picture_format})
    rig.notify("frame_publishing.set_format", format=picture_format)


def _has_frame_plugin(rig: Rig) -> bool:
    if rig.ports.push is not None:
        return False  # it is a labwire rig
    major, minor, *_ = (*rig.request("v").split("."), "", "")
    return not (major.isdecimal() and minor.isdecimal()) or (int(major), int(minor)) < _FRAME_PLUGIN_BEFORE
