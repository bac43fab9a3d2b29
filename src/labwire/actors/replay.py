"""A recording back on the bus: an actor that plays it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.names import FRAME
from labwire.operations.replay import ENDED, Replay, ReplayStatus
from labwire.picture import FORMATS
from labwire.sessions.replay.replay_source import open_source
from labwire.sessions.replay.replayed_frames import ReplayedFrames
from labwire.sessions.replay.replayer import Replayer
from labwire.strict import Strict

_STATE_S = 1.0
_SAME_S = 0.0005

SAID_BY_A_RIG = ("bus.", "logging.", "notify.meta.", "notify.clock.", "notify.rig.", "notify.actor.", "replay.")
"""What a rig says of itself, and the one that the replay runs in says anew."""


class ReplayOptions(Strict):
    """Options of a replay."""

    session: str
    """Folder of a session, or of a recording that Pupil Player opens."""
    speed: float = 1.0
    from_s: float = 0.0
    """Where to begin, in seconds since the start of the session."""
    loop: bool = False
    topics: tuple[str, ...] = ()
    """Prefixes of the topics to replay; none: all but what a rig says of itself, and `exclude`."""
    exclude: tuple[str, ...] = ()
    """Prefixes of topics to leave out, besides what a rig says of itself; not looked at where `topics` are given."""
    set_clock: bool = True
    """Set rig time to that of the recording, so that it agrees with the timestamps."""
    leave: bool = False
    """End this actor when the recording ends."""


class ReplayActor(Actor, Replay):
    """Plays a session, or a recording of Pupil Core, with the original topics, raw parts and timing."""

    Config = ReplayOptions
    options: ReplayOptions
    hears = ("frame_publishing.",)

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        options = self.options
        source = open_source(
            Path(options.session),
            topics=options.topics or ("",),
            exclude=() if options.topics else (*SAID_BY_A_RIG, *options.exclude),
        )
        self._frames = ReplayedFrames()
        try:
            self._replayer = Replayer(
                source,
                options.session,
                send=self._send,
                set_clock=self._set_clock if options.set_clock else None,
                on_change=self._changed,
                on_trouble=lambda text: self.log.error("%s", text),
                speed=options.speed,
                from_s=options.from_s,
                loop=options.loop,
            )
        except BaseException:
            source.close()
            raise

    def on_start(self) -> None:
        """Play."""
        self.every(_STATE_S, self._publish_state)
        self._replayer.start()

    def on_stop(self) -> None:
        """Stop, and close the recording."""
        self._replayer.close()

    def on_notify(self, notification: Notification) -> None:
        """Play a recording onto the bus, with its own topics, raw parts and timing.

        Reacts to notifications:
            ``frame_publishing.set_format``: Pictures that were recorded as JPEG go out in another format: bgr or gray;
                jpeg passes them on as they are.

        Emits notifications:
            ``frame_publishing.started``: Pictures are published, in this format.
            ``frame_publishing.failed``: That format is not known; the old one stays.

        Emits data:
            ``replay.state``: Each second, and whenever it changes: where the replay is, and how late its messages are.
            everything that was recorded: Except what a rig says of itself.
        """
        if notification["subject"] == "frame_publishing.set_format":
            wanted = notification.get("format")
            if wanted in FORMATS:
                self._frames.format = wanted
                self.notify("frame_publishing.started", format=wanted, camera=self.name)
            else:
                reason = f"{wanted!r:.80} is not a picture format: use one of {', '.join(FORMATS)}"
                self.notify("frame_publishing.failed", camera=self.name, format=str(wanted)[:80], reason=reason)

    # --- operations

    def status(self) -> ReplayStatus:
        """See `Replay.status`."""
        return self._replayer.status()

    def pause(self) -> ReplayStatus:
        """See `Replay.pause`."""
        return self._replayer.pause()

    def resume(self) -> ReplayStatus:
        """See `Replay.resume`."""
        return self._replayer.resume()

    def seek(self, time_s: float) -> ReplayStatus:
        """See `Replay.seek`."""
        return self._replayer.seek(time_s)

    def speed(self, factor: float) -> ReplayStatus:
        """See `Replay.speed`."""
        return self._replayer.set_speed(factor)

    # --- on the replay's thread

    def _send(self, parts: tuple[bytes, ...]) -> bool:
        if len(parts) == 3 and parts[0].startswith(FRAME.encode()):
            parts = self._frames.converted(parts)
        return self.context.publisher.forward(parts)

    def _set_clock(self, rig_time_s: float) -> None:
        if abs(self.clock.now() - rig_time_s) > _SAME_S:
            self.clock.set_now(rig_time_s)

    def _changed(self, status: ReplayStatus) -> None:
        self.post(self._publish_state)
        if status.state == ENDED and self.options.leave:
            self.leave()

    def _publish_state(self) -> None:
        state: dict[str, Any] = msgspec.structs.asdict(self._replayer.status())
        self.emit("replay.state", {**state, "timestamp": self.clock.now()}, numbered=True)
