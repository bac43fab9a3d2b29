"""The recorder: sessions one after the other, each an open folder of files."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from labwire.clock import RigClock, epoch_us, monotonic_s
from labwire.errors import ConfigError, DiskLowError, LabwireError, NotFoundError, StateError
from labwire.operations.job import LocalJob
from labwire.operations.recordable import Recordable, SessionStart, StreamCounters
from labwire.operations.recording import (
    RecordingStarted,
    RecordingStopped,
    Repaired,
    RepairProgress,
    SessionSummary,
    StreamOffer,
)
from labwire.operations.session_check import Verified
from labwire.sessions import events, manifest
from labwire.sessions.check.repair import repair_session
from labwire.sessions.check.verify import verify_session
from labwire.sessions.config import RecorderConfig
from labwire.sessions.events import OnEvent
from labwire.sessions.folder import create_session_folder, find_session, free_bytes, list_sessions, with_counters
from labwire.sessions.log import bus_log
from labwire.sessions.pictures import video
from labwire.sessions.player import player_format
from labwire.sessions.record.growth import Forecast
from labwire.sessions.record.guard import SessionGuard
from labwire.sessions.record.running_session import LOCAL_STREAMS, RunningSession, own_streams
from labwire.sessions.sink import ClockChange

_ABOUT_OWN = {
    bus_log.STREAM: "bus.mcap: every message of the bus, whatever else is chosen",
    player_format.STREAM: "the files that Pupil Player opens",
    video.STREAM: "pictures, as videos",
}


class State(Enum):
    """What the recorder is doing."""

    IDLE = "idle"
    STARTING = "starting"
    RECORDING = "recording"
    STOPPING = "stopping"


_WHAT_TO_DO = {
    State.IDLE: "stop it first, as `labwire record stop` does",
    State.RECORDING: "start a session first, as `labwire record start NAME` does",
}
"""By the state that is needed."""


class SessionRecorder:
    """Record sessions from a stream of bus messages.

    >>> recorder = SessionRecorder(RecorderConfig(root="recordings"), clock, on_event=print)
    >>> recorder.start("pilot").rec_path
    '/lab/recordings/pilot/000'
    >>> recorder.put([b"pupil.0", payload], monotonic_s())   # from the thread that reads the bus
    >>> recorder.stop().counters["bus"].written
    1

    All methods may be called from any thread. `put` never blocks and never raises.

    Args:
        config: How to record.
        clock: Rig time.
        recordables: Asked at each start what else takes part, by stream name: detectors, instruments, other computers.
            They are called on the thread that calls `start` or `stop`, and on the recorder's own thread when it ends a
            session by itself.
        rig: Configuration of the rig, kept in each session's manifest.
        actors: Asked at each start, after `recordables`, which parts the rig has; for the manifest, too.
        on_event: Hears of what goes wrong and of sessions that end by themselves (`labwire.sessions.events`). It must
            not call `stop`.
        free_bytes: Tells the free space at a path.
    """

    def __init__(
        self,
        config: RecorderConfig,
        clock: RigClock,
        *,
        recordables: Callable[[], Mapping[str, Recordable]] = dict,
        rig: dict[str, Any] | None = None,
        actors: Callable[[], Sequence[str]] = list,
        on_event: OnEvent = lambda kind, data: None,
        free_bytes: Callable[[Path], int] = free_bytes,
        repair_images: Callable[[Path], list[str]] = lambda folder: [],
    ) -> None:
        self._repair_images = repair_images
        self._config, self._clock, self._rig = config, clock, rig or {}
        self._recordables, self._actors = recordables, actors
        self._on_event, self._free_bytes = on_event, free_bytes
        self._topics = tuple(prefix.encode() for prefix in config.topics)
        self._exclude = tuple(prefix.encode() for prefix in config.exclude)
        self._lock = threading.Lock()
        self._turn = threading.RLock()  # whoever ends a session, or puts the next one in its place
        self._state = State.IDLE
        self._session: RunningSession | None = None
        self._guard: SessionGuard | None = None
        self.empty_messages = 0
        """Messages without a single part: nothing to record."""
        self.forecast = Forecast(config)
        """What a session would take in, counted while none runs."""

    @property
    def state(self) -> State:
        """What the recorder is doing."""
        return self._state

    @property
    def session(self) -> SessionStart | None:
        """The running session; None if there is none."""
        session = self._session
        return session.session if session is not None else None

    def start(
        self,
        name: str = "",
        *,
        require: bool = False,
        streams: Collection[str] | None = None,
        left_out: Collection[str] = (),
        follows: str = "",
    ) -> RecordingStarted:
        """Start a session.

        Args:
            name: Session name; empty means today's date.
            require: Start all streams or none. Otherwise only the log must start.
            streams: What to record, of what `streams` lists; None: everything. ``bus.mcap`` always is.
            left_out: What not to record; names that the rig does not have do no harm.
            follows: ``uuid`` of a session that was cut off, and that this one goes on from.

        Raises:
            StateError: One is running already.
            InvalidNameError: The name breaks the grammar or leads out of the root.
            NotFoundError: The rig has no such stream.
            DiskLowError: Less free space than `disk_stop_bytes`.
            DeviceError: The folder or the log cannot be written, or a required stream cannot record.
        """
        self._enter(State.STARTING, State.IDLE)
        try:
            self._check_disk()
            recordables = self._find_recordables()
            unwanted = _unwanted(streams, own_streams(self._config) | recordables.keys())
            session, self._guard = self._make_session(name, recordables, unwanted.union(left_out), follows)
            self._session = session  # from here on messages are taken: nothing that follows a start is missed
            session.prepare(require=require)
            started = session.start(require=require)
        except BaseException:
            if self._session is not None:
                self._session.discard()
            self._session = self._guard = None
            self._state = State.IDLE
            raise
        assert self._guard is not None
        self._guard.start()
        self._state = State.RECORDING
        return started

    def _check_disk(self) -> None:
        root, limit = Path(self._config.root).absolute(), self._config.disk_stop_bytes
        free = self._free_bytes(root)
        if free < limit:
            raise DiskLowError(
                f"not recording: {free / 1e9:.2f} GB free at {root}, the limit is {limit / 1e9:.2f} GB. "
                "Make room, or lower recorder.disk_stop_bytes",
                path=str(root),
                free_bytes=free,
                limit_bytes=limit,
            )

    def _find_recordables(self) -> Mapping[str, Recordable]:
        recordables = self._recordables()
        if taken := LOCAL_STREAMS & recordables.keys():
            raise ConfigError(f"{sorted(taken)} are streams of the recorder itself: name the others otherwise")
        return recordables

    def streams(self, about: Mapping[str, str]) -> list[StreamOffer]:
        """List what a session can have: the log first, then the recorder's own, then the others.

        Args:
            about: What the others are, by name.
        """
        own = own_streams(self._config)
        offers = [StreamOffer(name, text, name == bus_log.STREAM) for name, text in _ABOUT_OWN.items() if name in own]
        return [*offers, *(StreamOffer(name, text) for name, text in about.items())]

    def _make_session(
        self,
        name: str,
        recordables: Mapping[str, Recordable],
        left_out: Collection[str],
        follows: RunningSession | str,
    ) -> tuple[RunningSession, SessionGuard]:
        folder, name = create_session_folder(Path(self._config.root), name)
        now_s = monotonic_s()
        start = SessionStart(
            path=str(folder),
            name=name,
            uuid=str(uuid.uuid4()),
            start_monotonic_s=now_s,
            start_rig_time_s=self._clock.at(now_s),
            start_epoch_us=epoch_us(),
        )
        session = RunningSession(
            self._config, start, recordables,
            rig=self._rig, on_failure=self._on_failure, follows=follows, actors=self._actors(), left_out=left_out,
        )  # fmt: skip
        guard = SessionGuard(
            session, self._config, self._clock,
            on_event=self._on_event, end=self._end_by_itself, segment=self._begin_next, free_bytes=self._free_bytes,
        )  # fmt: skip
        return session, guard

    def put(self, parts: Sequence[bytes], received_monotonic_s: float) -> bool:
        """Take a message off the bus; False if it is not recorded: no session, not selected, or no room (counted).

        Args:
            parts: Its parts; they must not be changed afterwards.
            received_monotonic_s: When it came, on the monotonic clock.
        """
        session = self._session
        if session is None:
            if parts and self.selects(parts[0]):
                self.forecast.add(parts)
            return False
        if not parts:
            self.empty_messages += 1
            return False
        if not self.selects(parts[0]) or (len(parts) > 2 and parts[0].startswith(session.unwanted_pictures)):
            return False
        while not session.queue.put(parts, received_monotonic_s):
            current = self._session
            if current is None or current is session:
                return False
            session = current  # the next of the series has just taken over
        return True

    def selects(self, topic: bytes) -> bool:
        """Tell whether a topic is recorded at all."""
        return topic.startswith(self._topics) and not (self._exclude and topic.startswith(self._exclude))

    def clock_changed(self, offset_before_s: float, offset_after_s: float, monotonic_s: float) -> None:
        """Take note that a ``T`` moved rig time at this moment; hearing of it twice does no harm."""
        session, guard = self._session, self._guard
        if session is None or guard is None:
            return
        if session.change_clock(ClockChange(offset_before_s, offset_after_s, monotonic_s)):
            guard.manifest_changed()

    def stop(self) -> RecordingStopped:
        """Stop the running session and make its files whole.

        Raises:
            StateError: None is running.
        """
        return self._stop(events.STOPPED)

    def rig_died(self, at_monotonic_s: float) -> RecordingStopped:
        """Make the files of the running session whole, whose messages come to an end because the bus is gone.

        Args:
            at_monotonic_s: When that was.

        Raises:
            StateError: None is running.
        """
        return self._stop(events.RIG_DIED, at_monotonic_s)

    def _stop(self, ended: str, at_monotonic_s: float | None = None) -> RecordingStopped:
        with self._turn:
            return self._stop_now(ended, at_monotonic_s)

    def _stop_now(self, ended: str, at_monotonic_s: float | None) -> RecordingStopped:
        self._enter(State.STOPPING, State.RECORDING)
        session, guard = self._session, self._guard
        assert session is not None
        assert guard is not None
        try:
            guard.stop()
            stopped = session.end(ended, at_monotonic_s)
            guard.report_losses()
        finally:
            self._session = self._guard = None
            self._state = State.IDLE
        return stopped

    def _begin_next(self) -> bool:
        """On the guard's thread: put the next session of a series in the place of the running one.

        The new one takes messages before the old one is closed, so none is lost. The streams of others stop in between.
        """
        if not self._turn.acquire(blocking=False):
            return False  # somebody stops it at this moment
        try:
            old = self._session
            if old is None or self._state is not State.RECORDING:
                return False
            new, guard = self._make_session(old.session.name, self._find_recordables(), old.left_out, old)
            try:
                new.prepare_local()
                new.prepare_others(besides=old.others)
                old.stop_others()
                new.prepare_others()
                started = new.start(require=False)
            except BaseException:
                new.discard()
                raise
            self._session, self._guard = new, guard
            guard.start()
            stopped = old.end(events.SEGMENTED)
            # Before a stop that waits has its turn: it is told after this.
            told = {"rec_path": started.rec_path, "segment": new.segment, "failed": msgspec.to_builtins(started.failed)}
            self._on_event(events.SEGMENTED, {**told, "ended_path": stopped.rec_path, "duration_s": stopped.duration_s})
        except (LabwireError, OSError) as error:
            reason = f"no new session could be begun, this one goes on: {error}"
            self._on_event(events.STREAM_FAILED, {"stream": "recorder", "reason": reason})
            return False
        finally:
            self._turn.release()
        return True

    def _end_by_itself(self, ended: str) -> bool:
        try:
            stopped = self._stop(ended)
        except StateError:  # still starting: the next look tries again; or somebody else stops it already
            return self._state is not State.STARTING
        self._on_event(events.ENDED, {"ended": ended, **msgspec.to_builtins(stopped)})
        return True

    def _on_failure(self, stream: str, error: Exception) -> None:
        guard = self._guard
        if guard is not None:
            guard.stream_failed(stream, error)

    def _enter(self, state: State, needed: State) -> None:
        with self._lock:
            if self._state is not needed:
                session = self._session
                where = f" ({session.folder})" if session is not None else ""
                raise StateError(f"the recorder is {self._state.value}{where}; {_WHAT_TO_DO[needed]}")
            self._state = state

    def counters(self) -> dict[str, StreamCounters]:
        """Return what the running session has counted, by stream; empty if there is none."""
        session = self._session
        return session.counters() if session is not None else {}

    def list(self) -> list[SessionSummary]:
        """List the sessions below the root, newest first; the running one as it is now."""
        rows, session = list_sessions(Path(self._config.root)), self._session
        if session is None:
            return rows
        duration_s, counters = session.duration_s, session.counters()
        return [
            msgspec.structs.replace(with_counters(row, counters), duration_s=duration_s)
            if row.state == manifest.RECORDING and Path(row.path).resolve() == session.folder
            else row
            for row in rows
        ]

    def repair(self, session: str) -> LocalJob[RepairProgress, Repaired]:
        """Return the work of making a session whole.

        Args:
            session: Name and running number as `list` gives them: ``pilot/003``.

        Raises:
            NotFoundError: There is no such session.
        """
        folder = find_session(Path(self._config.root), session)
        images = self._repair_images
        return LocalJob(
            lambda report, cancelled: repair_session(folder, report=report, cancelled=cancelled, repair_images=images)
        )

    def verify(self, session: str) -> LocalJob[RepairProgress, Verified]:
        """Return the work of checking a session; `labwire.sessions.check.verify` tells what is done.

        Args:
            session: Name and running number as `list` gives them: ``pilot/003``.

        Raises:
            NotFoundError: There is no such session.
        """
        folder = find_session(Path(self._config.root), session)
        return LocalJob(lambda report, cancelled: verify_session(folder, report=report, cancelled=cancelled))


def _unwanted(streams: Collection[str] | None, known: Collection[str]) -> frozenset[str]:
    """Return what a choice of streams leaves out of what there is."""
    if streams is None:
        return frozenset()
    if unknown := sorted(set(streams).difference(known)):
        raise NotFoundError(f"there is no stream {', '.join(unknown)[:200]}; there are: {', '.join(sorted(known))}")
    return frozenset(known).difference(streams, {bus_log.STREAM})
