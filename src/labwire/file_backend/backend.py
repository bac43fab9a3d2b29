"""The file backend: one folder with what a camera shows and what is known of it.

Source: file-ipc. Frames and metrics have a thread each, so that neither waits for the other; a status is written at
once, by whoever tells it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import msgspec

from labwire.bounded import Policy
from labwire.clock import EpochAnchor
from labwire.errors import DeviceError
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.disk import FULL, disk_floor_bytes, free_bytes
from labwire.file_backend.jsonl_file import JsonlCounters, JsonlFile, Line
from labwire.file_backend.line_writer import TICK_S, LineWriter, LineWriterCounters
from labwire.file_backend.locks import FolderLock
from labwire.file_backend.pictures import PictureFileCounters, PictureFiles
from labwire.file_backend.status_board import Status, StatusBoard, StatusCode
from labwire.picture import Picture

_log = logging.getLogger(__name__)

STATUS = "status.jsonl"
CORE_METRICS = "core_metrics.jsonl"
EDGE_METRICS = "edge_metrics.jsonl"

MetricsType: TypeAlias = Literal["core_metrics", "edge_metrics"]
_METRICS: dict[MetricsType, str] = {"core_metrics": CORE_METRICS, "edge_metrics": EDGE_METRICS}
_STATUS_RESERVE_BYTES = 16384  # for lines that say that the disk is full
_ENOUGH = 1.25  # of the floor: numbered frames begin again
_FAST_TICK_S = 0.05  # for time that may go many times as fast as that of the clock


class FileBackendCounters(msgspec.Struct, frozen=True):
    """What has been counted since the backend was opened."""

    frames: PictureFileCounters
    status: JsonlCounters
    core_metrics: JsonlCounters = JsonlCounters()
    edge_metrics: JsonlCounters = JsonlCounters()
    lines: LineWriterCounters = LineWriterCounters()


class FileBackend:
    """Write a camera's pictures, its metrics and its status to a folder.

    >>> with FileBackend(FileIpcOptions(base_directory="out")) as backend:  # doctest: +SKIP
    ...     backend.put(picture)
    ...     backend.metrics("core_metrics", picture.epoch_us, {"pulse": {"strict": {"value": 72.5, "confidence": 0.9}}})
    ...     backend.status(StatusCode.OK, "OK")

    Args:
        options: The nine options of the spec.
        on_event: Called with a kind and its data, in whatever thread it happens: ``written``, ``volume``, ``failed``,
            ``recovered``, ``repaired``, ``rotated``, ``lock_conflict``, ``lock_free``; see `PictureFiles` and
            `JsonlFile`.
        on_status: Called with each status that was written, its code, message and microseconds since 1970.
        anchor: Gives microseconds since the epoch that never go back.
        now_us: The time of a status that comes without one, in microseconds since 1970; by default the anchor's. For a
            video that is not played at its own pace.
        policy: What happens when more comes than can be written: ``drop_old``, or ``block`` for a video that can wait.
        disk_floor: Least bytes of the disk that numbered frames leave free; see `disk_floor_bytes`.
    """

    def __init__(
        self,
        options: FileIpcOptions,
        *,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
        on_status: Callable[[Status, int], None] | None = None,
        anchor: EpochAnchor | None = None,
        now_us: Callable[[], int] | None = None,
        policy: Policy = "drop_old",
        disk_floor: int | None = None,
    ) -> None:
        self.folder = Path(options.base_directory).expanduser()
        self._options = options
        self._on_event, self._on_status = on_event, on_status
        self._anchor = anchor or EpochAnchor()
        self._now_us = now_us or self._anchor.now_us
        self._tick_s = _FAST_TICK_S if now_us else TICK_S
        self._policy: Policy = policy
        self._floor_bytes = disk_floor
        self._cleanup = ExitStack()
        self._files: dict[str, JsonlFile] = {}
        self._frames: PictureFiles | None = None
        self._lines: LineWriter | None = None
        self._board = StatusBoard()
        self._full: set[str] = set()  # files that there was no room for
        self._is_low = False
        # Held while a status is written, which may bring about another one in the same thread.
        self._board_lock = threading.RLock()

    def open(self) -> Self:
        """Make the folder ready and start writing.

        Raises:
            DeviceError: The folder is not there and must not be created, or cannot be written to.
            StateError: Another process writes to it.
        """
        if self._options.enable_debug_logging:
            logging.getLogger(__name__.rpartition(".")[0]).setLevel(logging.DEBUG)
        with ExitStack() as on_error:
            self._make_folder()
            try:
                on_error.callback(FolderLock(self.folder).close)
                self._open_files(on_error)
            except OSError as error:
                raise DeviceError(
                    f"{self.folder} cannot be used ({error.strerror}): it must be a directory that this user can write "
                    f"to (ls -ld {self.folder}; chmod 755 {self.folder}); or choose another base_directory",
                    folder=str(self.folder),
                ) from error
            self._cleanup = on_error.pop_all()
        return self

    def put(self, picture: Picture) -> bool:
        """Hand over a picture; False if it, or older ones in its stead, had to be dropped."""
        return self._frames is not None and self._frames.put(picture)

    def metrics(self, kind: MetricsType, timestamp_us: int, payload: Mapping[str, Any]) -> bool:
        """Hand over metrics; False if they, or older ones in their stead, had to be dropped.

        Args:
            kind: ``core_metrics`` or ``edge_metrics``.
            timestamp_us: Moment of capture of the newest picture used, in microseconds since 1970-01-01 UTC.
            payload: JSON types; what was not measured is left out.
        """
        return self._lines is not None and self._lines.put(Line(kind, timestamp_us, payload))

    def status(self, code: int, message: str, *, timestamp_us: int | None = None, repeat: bool = False) -> bool:
        """Tell what the pictures show; False if nothing was written, because it is known or something is worse.

        Args:
            code: 0 means all is well.
            message: For people.
            timestamp_us: Microseconds since 1970-01-01 UTC; None: now.
            repeat: Write it even if it is what was written last.
        """
        with self._board_lock:
            due = self._board.base(Status(int(code), message))
            if repeat and not due and self._board.current == Status(int(code), message):
                due = [Status(int(code), message)]
            return self._write(due, timestamp_us)

    def alarm(self, code: StatusCode, message: str) -> None:
        """Tell what is wrong until `clear` is called with the same code."""
        with self._board_lock:
            self._write(self._board.alarm(Status(int(code), message)))

    def clear(self, code: StatusCode) -> None:
        """Tell that an alarm is over; nothing happens if there was none."""
        with self._board_lock:
            self._write(self._board.clear(code))

    def counters(self) -> FileBackendCounters:
        """Tell what has been counted."""
        files = {name: file.counters() for name, file in self._files.items()}
        return FileBackendCounters(
            frames=self._frames.counters() if self._frames else PictureFileCounters(),
            status=files.get(STATUS, JsonlCounters()),
            core_metrics=files.get(CORE_METRICS, JsonlCounters()),
            edge_metrics=files.get(EDGE_METRICS, JsonlCounters()),
            lines=self._lines.counters() if self._lines else LineWriterCounters(),
        )

    def close(self) -> None:
        """Write what waits, close the files, let others have the folder. Safe to call twice."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_folder(self) -> None:
        if self._options.create_if_missing:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DeviceError(
                    f"Failed to create directory {self.folder}: {error.strerror}. Create it yourself (mkdir -p "
                    f"{self.folder}; chmod 755 {self.folder}) or choose another base_directory",
                    folder=str(self.folder),
                ) from error
        elif not self.folder.is_dir():
            raise DeviceError(
                f"there is no directory {self.folder}; create it (mkdir -p {self.folder}) "
                "or set create_if_missing = true",
                folder=str(self.folder),
            )

    def _open_files(self, on_error: ExitStack) -> None:
        for name in (CORE_METRICS, EDGE_METRICS, STATUS):
            self._files[name] = self._opened(name)
            on_error.callback(self._files[name].close)
        if self._floor_bytes is None:
            self._floor_bytes = disk_floor_bytes(self.folder)
        self._frames = PictureFiles(
            self.folder, self._options, self._on_frames, has_room=self._has_room, policy=self._policy
        )
        self._lines = LineWriter(
            {kind: self._files[name] for kind, name in _METRICS.items()},
            self._tick,
            tick_s=self._tick_s,
            policy=self._policy,
        )
        on_error.callback(self._lines.start().close)
        on_error.callback(self._frames.start().close)

    def _opened(self, name: str) -> JsonlFile:
        options = self._options
        file = JsonlFile(
            self.folder / name,
            locking=options.use_file_locking,
            buffer_bytes=options.io_buffer_size,
            reserve_bytes=_STATUS_RESERVE_BYTES if name == STATUS else 0,
            on_event=self._on_lines,
        )
        return file.open(truncate=options.truncate_on_init)

    # --- what is wrong, and what follows

    def _write(self, due: list[Status], timestamp_us: int | None = None) -> bool:
        file, written = self._files.get(STATUS), False
        for status in due if file else []:
            stamp_us = self._now_us() if timestamp_us is None else timestamp_us
            if file and file.append("status", stamp_us, status._asdict()):
                written = True
                self._board.written(status, self._now_us() / 1e6)
                if self._on_status is not None:
                    self._on_status(status, stamp_us)
        return written

    def _tick(self) -> None:
        if step_s := self._anchor.take_step_s():
            text = f"the clock of this computer was set {'forward' if step_s > 0 else 'back'} by {abs(step_s):.1f} s"
            what = "timestamps have a gap" if step_s > 0 else "timestamps go on rising as if it had not been"
            with self._board_lock:
                self._write(self._board.event(Status(StatusCode.CLOCK_STEPPED, f"{text}: {what}")))
        self._has_room()
        with self._board_lock:
            self._write(self._board.tick(self._now_us() / 1e6))

    def _has_room(self) -> bool:
        # Numbered frames stop before the disk is full, so that there is room for lines.
        floor_bytes = self._floor_bytes or 0
        try:
            free = free_bytes(self.folder)
        except OSError:
            return True  # it is gone: whoever writes says so
        if self._frames is not None and self._frames.paused and free >= floor_bytes:
            self._pause_frames(paused=False)  # even if no line comes that would show it
        if free < floor_bytes and not self._is_low:
            self._is_low = True
            self.alarm(
                StatusCode.DISK_LOW,
                f"disk low: {free / 1e6:.1f} MB free, numbered frames stop below {floor_bytes / 1e6:.1f} MB. Free "
                "space, or set max_frame_count and truncate_on_init",
            )
        elif self._is_low and free >= _ENOUGH * floor_bytes:
            self._is_low = False
            self.clear(StatusCode.DISK_LOW)
        return not self._is_low

    def _on_frames(self, kind: str, data: dict[str, Any]) -> None:
        match kind:
            case "failed" if data["errno"] in FULL:
                self.alarm(StatusCode.FRAMES_NOT_WRITTEN, f"disk full: frames are not written ({data['reason']})")
            case "failed":
                self.alarm(StatusCode.FRAMES_NOT_WRITTEN, f"frames are not written: {data['reason']}")
            case "volume":
                self._warn_of_volume(data["bytes_per_hour"])
            case _:
                self.clear(StatusCode.FRAMES_NOT_WRITTEN)
                with self._board_lock:
                    self._write(self._board.first_ok())
        self._tell(kind, data)

    def _warn_of_volume(self, bytes_per_hour: int) -> None:
        _log.warning(
            "frames are kept without a limit: %.1f GB per hour; they stop when less than %.1f MB of the disk are free. "
            "max_frame_count limits them",
            bytes_per_hour / 1e9,
            (self._floor_bytes or 0) / 1e6,
        )

    def _on_lines(self, kind: str, data: dict[str, Any]) -> None:
        name = Path(data["file"]).name
        match kind:
            case "failed" if data["errno"] in FULL:
                self._full.add(name)
                self._pause_frames(paused=True)
                text = f"disk full: {name} cannot be written ({data['reason']}). Free space; frames wait for that"
                self.alarm(StatusCode.DISK_FULL, text)
            case "failed":
                self.alarm(StatusCode.LINES_NOT_WRITTEN, f"{name} cannot be written: {data['reason']}")
            case "recovered":
                self._full.discard(name)
                if not self._full:
                    self._pause_frames(paused=False)
                    self.clear(StatusCode.DISK_FULL)
                self.clear(StatusCode.LINES_NOT_WRITTEN)
            case "lock_conflict":
                self.alarm(StatusCode.LOCK_CONFLICT, self._lock_text(name, data["pid"]))
            case "lock_free":
                self.clear(StatusCode.LOCK_CONFLICT)
            case _:
                pass
        self._tell(kind, data)

    def _lock_text(self, name: str, pid: int | None) -> str:
        who = "somebody" if pid is None else f"process {pid}"
        return (
            f"Resource temporarily unavailable: {name} is locked by {who}; lines are written without the lock. See who "
            f"has it open (lsof | grep {self.folder.name}), or set use_file_locking to false"
        )

    def _pause_frames(self, *, paused: bool) -> None:
        if self._frames is not None:
            self._frames.paused = paused

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        if self._on_event is not None:
            self._on_event(kind, data)
