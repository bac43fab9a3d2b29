"""Looks after a running session once a second: disk, losses, clock, manifest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from labwire.clock import RigClock, monotonic_s
from labwire.operations.recordable import StreamCounters
from labwire.sessions import events
from labwire.sessions.config import RecorderConfig
from labwire.sessions.events import OnEvent
from labwire.sessions.log import bus_log
from labwire.sessions.pictures import video
from labwire.sessions.record.running_session import RunningSession
from labwire.sessions.sink import ClockChange

_TICK_S = 1.0
_MANIFEST_EVERY_S = 60.0
_STOP_WITHIN_S = 60.0
_SEGMENT_RETRY_S = 60.0
_KINDS = {events.DATA_LOST: "dropped", events.MALFORMED: "malformed", events.GAPS: "gaps"}
_TOO_SLOW = "the disk did not keep up, and the recorder's queue was full"


class SessionGuard:
    """Watch one session on a thread of its own.

    Args:
        session: The session.
        config: Limits and periods.
        clock: Rig time; a jump that nobody reported is found here.
        on_event: Hears what happens.
        end: Ends the session for a reason; True once somebody ends it.
        segment: Begins the next session of a series in place of this one; True once that is done.
        free_bytes: Tells the free space at a path.
    """

    def __init__(
        self,
        session: RunningSession,
        config: RecorderConfig,
        clock: RigClock,
        *,
        on_event: OnEvent,
        end: Callable[[str], bool],
        segment: Callable[[], bool],
        free_bytes: Callable[[Path], int],
    ) -> None:
        self._session, self._config, self._clock = session, config, clock
        self._on_event, self._end, self._segment, self._free_bytes = on_event, end, segment, free_bytes
        self._segment_due_s = config.segment_s or float("inf")
        self._thread = threading.Thread(target=self._run, name="labwire-recorder-guard", daemon=True)
        self._wake = threading.Event()
        self._stopping = False
        self._failures: deque[tuple[str, Exception]] = deque()
        self._failed: set[str] = set()
        self._counted: dict[str, StreamCounters] = {}
        self._warned = False
        self._end_reason = ""
        self._suspect: ClockChange | None = None
        self._manifest_due_s = monotonic_s() + _MANIFEST_EVERY_S
        self._sync_due_s = monotonic_s() + config.sync_s

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more. On the guard's own thread this returns at once."""
        self._stopping = True
        self._wake.set()
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(_STOP_WITHIN_S)

    def stream_failed(self, stream: str, error: Exception) -> None:
        """Hear, on any thread, that a stream failed."""
        self._failures.append((stream, error))
        self._wake.set()

    def manifest_changed(self) -> None:
        """Hear, on any thread, that the manifest should be written soon."""
        self._manifest_due_s = 0.0
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_TICK_S)
            self._wake.clear()
            if self._stopping:
                return
            try:
                self._look()
            except Exception as error:  # whatever goes wrong here, the session must still be watched
                self._tell(events.STREAM_FAILED, stream="recorder", reason=f"{type(error).__name__}: {error}")

    def _tell(self, kind: str, **data: object) -> None:
        try:
            self._on_event(kind, data)
        except Exception:  # a listener's mistake is not ours to die of
            return

    def _look(self) -> None:
        self._take_failures()
        self.report_losses()
        self._look_at_disk()
        self._look_at_clock()
        now_s = monotonic_s()
        try:
            if self._config.sync_s and now_s >= self._sync_due_s:
                self._sync_due_s = now_s + self._config.sync_s
                self._session.log.sync()
            if now_s >= self._manifest_due_s:
                self._manifest_due_s = now_s + _MANIFEST_EVERY_S
                self._session.write_progress()
        except OSError as error:
            self.stream_failed(bus_log.STREAM, error)
        if self._end_reason:
            self._stopping = self._end(self._end_reason) or self._stopping
        elif self._session.duration_s >= self._segment_due_s:
            self._segment_due_s = self._session.duration_s + _SEGMENT_RETRY_S
            self._stopping = self._segment() or self._stopping

    def _take_failures(self) -> None:
        videos = self._session.videos
        if videos is not None and videos.failure is not None:
            self._failures.append((video.STREAM, videos.failure))
        while self._failures:
            stream, error = self._failures.popleft()
            if stream in self._failed:
                continue
            self._failed.add(stream)
            self._session.fail(stream, error)
            self._tell(events.STREAM_FAILED, stream=stream, reason=str(error) or type(error).__name__)
            self._manifest_due_s = 0.0
            if stream == bus_log.STREAM or isinstance(error, OSError):
                self._end_reason = self._end_reason or events.DISK_FAILED

    def report_losses(self) -> None:
        """Tell what was lost or malformed since the last time."""
        for name, stream in self._session.local_streams().items():
            now, before = stream.counters(), self._counted.get(name, StreamCounters())
            self._counted[name] = now
            for kind, counter in _KINDS.items():
                messages = getattr(now, counter) - getattr(before, counter)
                if messages > 0:
                    reason = stream.reasons.get(counter, _TOO_SLOW)
                    self._tell(kind, stream=name, messages=messages, reason=reason)

    def _look_at_disk(self) -> None:
        try:
            free = self._free_bytes(self._session.folder)
        except OSError as error:
            self.stream_failed(bus_log.STREAM, error)
            return
        stopping = free < self._config.disk_stop_bytes
        limit = self._config.disk_stop_bytes if stopping else self._config.disk_warn_bytes
        if stopping and not self._end_reason:
            self._end_reason = events.DISK_WAS_LOW
        elif free >= limit or self._warned:
            return
        self._warned = True
        folder = str(self._session.folder)
        self._tell(events.DISK_LOW, path=folder, free_bytes=free, limit_bytes=limit, stopping=stopping)

    def _look_at_clock(self) -> None:
        """Find a jump of rig time of which no notification came: seen twice in a row, so that one has time to come."""
        offset_s = self._clock.offset_s
        suspect = self._suspect
        self._suspect = None
        if self._session.knows_offset(offset_s):
            return
        if suspect is not None and suspect.offset_after_s == offset_s:
            self._session.change_clock(suspect)
            self._manifest_due_s = 0.0
        else:
            self._suspect = ClockChange(self._session.offset_s, offset_s, monotonic_s())
