"""One session while it runs: its folder, queue, writer, streams and manifest."""

from __future__ import annotations

import platform
import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from labwire.clock import monotonic_s
from labwire.errors import DeviceError, LabwireError
from labwire.operations.recordable import Recordable, SessionStart, StreamCounters
from labwire.operations.recording import RecordingStarted, RecordingStopped, StreamFailure
from labwire.sessions import manifest
from labwire.sessions.ballast import drop_ballast, take_ballast
from labwire.sessions.config import RecorderConfig
from labwire.sessions.file_names import FileNames
from labwire.sessions.log import bus_log
from labwire.sessions.log.bus_log import BusLog
from labwire.sessions.log.clock_log import ClockLog
from labwire.sessions.pictures import video
from labwire.sessions.pictures.video import PictureVideos
from labwire.sessions.player import player_format
from labwire.sessions.player.player_format import PlayerFolder
from labwire.sessions.record.message_queue import MessageQueue
from labwire.sessions.record.streams import Streams
from labwire.sessions.record.writer import SessionWriter
from labwire.sessions.sink import ClockChange, LocalRecordable, Sink

_SAME_OFFSET_S = 1e-6

LOCAL_STREAMS = frozenset({bus_log.STREAM, player_format.STREAM, video.STREAM})
"""Names that other recordables may not have."""


def own_streams(config: RecorderConfig) -> frozenset[str]:
    """Return the names of the recorder's own streams that a rig file asks for."""
    chosen = {bus_log.STREAM: True, player_format.STREAM: config.player_folder, video.STREAM: bool(config.pictures)}
    return frozenset(name for name, on in chosen.items() if on)


class RunningSession:
    """One session from its folder to its end; used once.

    Args:
        config: How to record.
        session: The session; its folder is there and empty.
        recordables: What else records, by stream name.
        rig: Configuration of the rig, for the manifest.
        on_failure: Called on any thread with the stream and the reason when a local stream fails while it runs.
        follows: The session before it in a series; or the ``uuid`` of one that was cut off.
        actors: Names of the rig's parts, for the manifest.
        left_out: Streams that are not wanted, among them perhaps the recorder's own but the log.
    """

    def __init__(
        self,
        config: RecorderConfig,
        session: SessionStart,
        recordables: Mapping[str, Recordable],
        *,
        rig: dict[str, Any],
        on_failure: Callable[[str, Exception], None],
        follows: RunningSession | str = "",
        actors: Sequence[str] = (),
        left_out: Collection[str] = (),
    ) -> None:
        self.session = session
        self.left_out = frozenset(left_out)
        self.folder = Path(session.path)
        self.queue = MessageQueue(max_messages=config.queue_messages, max_bytes=config.queue_bytes)
        self.log = BusLog(raw_in_log=config.raw_in_log, refused=lambda: self.queue.refused)
        names, prefixes = FileNames(), tuple(prefix.encode() for prefix in config.pictures)
        wanted = own_streams(config) - self.left_out
        self.player = PlayerFolder(names, pictures=prefixes) if player_format.STREAM in wanted else None
        self.unwanted_pictures = prefixes if video.STREAM in self.left_out else ()
        """Prefixes of the topics whose raw parts are recorded nowhere; empty: there are none."""
        self.videos: PictureVideos | None = None
        if video.STREAM in wanted:
            self.videos = PictureVideos(names, prefixes=prefixes, queue_bytes=config.picture_queue_bytes)
        self.offset_s = session.start_rig_time_s - session.start_monotonic_s
        """Rig time minus monotonic clock, as far as this session knows."""
        self._local = Streams(self.local_streams())
        self._others = Streams({name: one for name, one in recordables.items() if name not in self.left_out})
        self._pause_s = config.flush_s / 2  # half for the batch to gather, half to write it
        self._on_failure = on_failure
        self._writer: SessionWriter | None = None
        self.segment = 0 if isinstance(follows, str) else follows.segment + 1
        """Place in its series."""
        before = follows if isinstance(follows, str) else follows.session.uuid
        self._manifest = msgspec.structs.replace(
            manifest.manifest_of(session, rig),
            segment=self.segment,
            follows=before,
            host=platform.node(),
            versions=dict(manifest.versions()),
            actors=list(actors),
            left_out=sorted(self.left_out),
        )
        self._manifest_lock = threading.Lock()
        self._changes: list[ClockChange] = []
        self._clocks = ClockLog(session)

    def local_streams(self) -> dict[str, LocalRecordable]:
        """Return the recorder's own streams by name, the truth first."""
        streams: dict[str, LocalRecordable | None] = {
            bus_log.STREAM: self.log,
            player_format.STREAM: self.player,
            video.STREAM: self.videos,
        }
        return {name: stream for name, stream in streams.items() if stream is not None}

    def prepare(self, *, require: bool) -> None:
        """Write the manifest and prepare all streams.

        Raises:
            LabwireError: The log cannot be written, or `require` is set and a stream cannot record: `discard` it.
        """
        self.prepare_local()
        self.prepare_others()
        self._check(require=require)

    def prepare_local(self) -> None:
        """Write the manifest and prepare the recorder's own streams.

        Raises:
            LabwireError: The log cannot be written: `discard` it.
        """
        try:
            self.write_manifest()
        except OSError as error:
            raise DeviceError(f"cannot write in {self.folder}: {error.strerror}", path=str(self.folder)) from error
        take_ballast(self.folder)
        self._local.prepare(self.session)
        self._check(require=False)

    @property
    def others(self) -> list[str]:
        """Streams that are not the recorder's own, and were started."""
        return self._others.started

    def prepare_others(self, besides: Collection[str] = ()) -> None:
        """Prepare the streams that are not the recorder's own; those that cannot record are in `failed`.

        Args:
            besides: Leave these for a second call: those that still record elsewhere. One that cannot record may take
                seconds to say so, and keeps no other from recording meanwhile.
        """
        self._others.prepare(self.session, besides)

    def start(self, *, require: bool) -> RecordingStarted:
        """Start all streams that are prepared; ours first, so that nothing of the others is missed.

        Raises:
            LabwireError: As in `prepare`.
        """
        self._local.start()
        started = {name: stream for name, stream in self.local_streams().items() if name in self._local.started}
        self._writer = SessionWriter(
            self.queue,
            {name: stream for name, stream in started.items() if isinstance(stream, Sink)},
            self.videos if video.STREAM in started else None,
            self.session,
            pause_s=self._pause_s,
            on_failure=self._on_failure,
        )
        self._writer.start()
        self._others.start()
        self._check(require=require)
        with suppress(OSError):  # the next try is a minute away at most, and a full disk shows itself elsewhere
            self.write_manifest()
        names = self._local.started + self._others.started
        return RecordingStarted(str(self.folder), self.session.name, names, self.failed())

    def _check(self, *, require: bool) -> None:
        """Raise if the log failed, or if all are required and one failed."""
        if bus_log.STREAM in self._local.failures or (require and self.failed()):
            error = self._local.first_error() or self._others.first_error()
            raise error or DeviceError("a stream cannot record")

    def discard(self) -> None:
        """Stop everything and remove the folder, as if the session had never been. Works at any stage."""
        self._others.stop()
        self.queue.close()
        with suppress(LabwireError):
            if self._writer is not None:
                self._writer.finish()
        self._local.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # the folder of the name, if it was made for this session
            self.folder.parent.rmdir()

    def end(self, ended: str, at_monotonic_s: float | None = None) -> RecordingStopped:
        """Stop all streams, drain the queue, make the files whole.

        Args:
            ended: Why, for the manifest.
            at_monotonic_s: When it ended, if that was not now.
        """
        self.stop_others()  # first: what they say at their end is still recorded
        duration_s = self.duration_s
        if at_monotonic_s is not None:
            duration_s = max(0.0, at_monotonic_s - self.session.start_monotonic_s)
        self.queue.close()
        state = self._close_files(duration_s)
        self._clocks.read(self.offset_s)
        with suppress(OSError):  # the session then looks cut off, and a repair sets it right
            self.write_manifest(state=state, ended=ended, duration_s=duration_s)
        return RecordingStopped(str(self.folder), duration_s, self.counters())

    def stop_others(self) -> None:
        """Stop the streams that are not the recorder's own; doing it twice does no harm."""
        self._others.stop()

    def _close_files(self, duration_s: float) -> str:
        drop_ballast(self.folder)
        try:
            if self._writer is not None:
                self._writer.finish()
        except DeviceError as error:
            self._local.fail(bus_log.STREAM, error)
            return manifest.BROKEN  # the writer still holds the files
        if self.player is not None:
            with suppress(OSError):
                self.player.write_duration(duration_s)
        self._local.stop()
        return manifest.BROKEN if self._local.unfinished else manifest.COMPLETE

    @property
    def duration_s(self) -> float:
        """Seconds since the start."""
        return monotonic_s() - self.session.start_monotonic_s

    def knows_offset(self, offset_s: float) -> bool:
        """Tell whether rig time stands where this session thinks it does."""
        return abs(offset_s - self.offset_s) < _SAME_OFFSET_S

    def change_clock(self, change: ClockChange) -> bool:
        """Take in a jump of rig time; False if it is known already."""
        if self.knows_offset(change.offset_after_s):
            return False
        self.offset_s = change.offset_after_s
        self._changes.append(change)
        self.queue.put_clock_change(change)
        return True

    def fail(self, stream: str, error: Exception) -> None:
        """Keep that a local stream failed while it ran."""
        self._local.fail(stream, error)

    def failed(self) -> list[StreamFailure]:
        """Return the streams that do not, or no longer, take part."""
        return self._local.failed() + self._others.failed()

    def counters(self) -> dict[str, StreamCounters]:
        """Return the counters of all streams; those of other processes as of when they stopped."""
        local = {name: stream.counters() for name, stream in self.local_streams().items()}
        return {**local, **self._others.counters}

    def write_progress(self) -> None:
        """Read the clocks, and bring the manifest and the Player's info up to date.

        Raises:
            OSError: The disk is full or fails; the old ones stand.
        """
        self._clocks.read(self.offset_s)
        self.write_manifest()
        if self.player is not None:
            self.player.write_duration(self.duration_s)

    def write_manifest(self, **changes: Any) -> None:
        """Replace ``session.json`` by what is known now.

        Raises:
            OSError: The disk is full or fails; the old one stands.
        """
        local = {name: stream.describe() for name, stream in self.local_streams().items()}
        known: dict[str, Any] = {
            "duration_s": self.duration_s,
            "clock_changes": list(self._changes),
            **self._clocks.for_manifest(),
            "streams": {**local, **self._others.descriptions},
            "counters": self.counters(),
            "failed": self.failed(),
        }
        with self._manifest_lock:
            self._manifest = msgspec.structs.replace(self._manifest, **{**known, **changes})
            manifest.write_manifest(self.folder, self._manifest)
