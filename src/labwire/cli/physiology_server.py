"""``physiology_server``: a camera in, pulse and breathing out, as files.

Source: file-ipc, "Command Line Usage". No rig and no bus: one process, one folder.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labwire.cli.failures import run_guarded
from labwire.cli.output import remark, write_line
from labwire.cli.server_config import (
    ask_at_terminal,
    check_backend,
    check_folder,
    file_ipc_options,
    remarks,
    save_default_config,
)
from labwire.cli.server_flags import PROGRAM, Value, help_text, parse_flags, value_of
from labwire.cli.server_log import logging_to
from labwire.cli.vitals_line import VitalsLine, show_line
from labwire.clock import EpochAnchor
from labwire.errors import DeadlineError, DeviceError, StateError
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.event_text import event_text
from labwire.file_backend.status_board import Status, StatusCode
from labwire.version import __version__

if TYPE_CHECKING:
    from labwire.actors.physiology import Physiology
    from labwire.file_backend.backend import FileBackend
    from labwire.sources.feed import PictureFeed
    from labwire.sources.picture_source import PictureSource

_log = logging.getLogger(__name__)

_LINE_S = 0.2
_DEPTH = 60  # a second of a fast camera
_TROUBLE = frozenset(StatusCode) - {StatusCode.OK, StatusCode.PROCESSING_NOT_STARTED}
"""What the pictures do not show: the disk, the camera, the clock."""


def serve(arguments: Sequence[str]) -> int:
    """Do what the flags ask for; return the exit status.

    Raises:
        UsageError: A flag is wrong.
        ConfigError: The configuration file is wrong.
        DeviceError: The camera, video or folder cannot be used.
        StateError: Another process writes to the folder.
    """
    given = parse_flags(arguments)
    if value_of(given, "help"):
        write_line(help_text())
    elif value_of(given, "version"):
        write_line(f"{PROGRAM} {__version__}")
    elif value_of(given, "save_default_file_ipc_config"):
        write_line(save_default_config(Path.cwd(), ask_at_terminal))
    else:
        check_backend(given)
        options = file_ipc_options(given)
        check_folder(given, options)
        for line in remarks(given):
            remark(f"{PROGRAM}: {line}")
        debug = options.enable_debug_logging or value_of(given, "verbosity") > 0
        with logging_to(log_folder(), debug=debug, stderr=value_of(given, "also_log_to_stderr")) as log:
            return Server(given, options, log).run()
    return 0


def log_folder() -> Path:
    """Return the folder of the log files; it may not be there yet."""
    from labwire.bus.config import state_folder

    return state_folder() / "labwire" / "log"


class Server:
    """One run of the program.

    Args:
        given: The flags.
        options: Of the file backend.
        log: The log file.
    """

    def __init__(self, given: dict[str, Value], options: FileIpcOptions, log: Path) -> None:
        self._given, self._options, self._log = given, options, log
        self._anchor = EpochAnchor()
        video = value_of(given, "input_video_path")
        self._fast = bool(video) and not _is_url(video) and not value_of(given, "realtime")
        self._newest_us = 0
        self._failure = ""
        self._status: Status | None = None
        self._line: VitalsLine | None = None

    def run(self) -> int:
        """Measure until the video ends, or until Ctrl-C; return the exit status.

        Raises:
            DeviceError: The video cannot be read to its end.
        """
        from labwire.actors.physiology import Physiology
        from labwire.file_backend.backend import FileBackend
        from labwire.sources.feed import PictureFeed
        from labwire.sources.video import VideoSource
        from labwire.vitals.config import VitalsConfig

        policy = "block" if self._fast else "drop_old"
        with ExitStack() as stack:
            source = self._source()
            source.open()  # what is wrong with it is told at once; what happens later is tried again
            stack.callback(source.close)
            files = FileBackend(
                self._options,
                on_event=self._on_file_event,
                on_status=self._on_status,
                anchor=self._anchor,
                now_us=self._now_us,
                policy=policy,
            )
            stack.enter_context(files)
            self._line = VitalsLine(files.folder)
            config = VitalsConfig(metrics_interval_s=value_of(self._given, "buffer_duration"))
            physiology = Physiology(
                config,
                files=files,
                on_event=lambda event, _: self._line and self._line.take(event),
                policy=policy,
                edge_metrics=value_of(self._given, "enable_edge_metrics"),
            )
            stack.enter_context(physiology)
            feed = PictureFeed(
                source,
                depth=_DEPTH,
                policy=policy,
                once=isinstance(source, VideoSource),
                on_event=lambda kind, data: self._on_source(files, kind, data),
            )
            stack.enter_context(feed)
            remark(f"{PROGRAM}: {source.describe().name} → {files.folder.absolute()}; log: {self._log}")
            if not self._fast:
                waiting = physiology.status
                files.status(waiting.code, waiting.message)
            try:
                self._pump(feed, files, physiology)
            except KeyboardInterrupt:
                remark("")
            physiology.close()
            files.close()
            self._sum_up(feed, files, physiology)
        if self._failure:
            raise DeviceError(self._failure)
        return 0

    def _source(self) -> PictureSource:
        from labwire.sources.camera import CameraSource
        from labwire.sources.stream import StreamSource
        from labwire.sources.video import VideoSource

        def flag(name: str) -> Any:
            return value_of(self._given, name)

        video: str | None = flag("input_video_path")
        if video and _is_url(video):
            return StreamSource(video, anchor=self._anchor)
        if video:
            times: str | None = flag("input_video_time_path")
            return VideoSource(
                Path(video).expanduser(), realtime=not self._fast, loop=False, times=times, anchor=self._anchor
            )
        return CameraSource(
            flag("camera_device_index"),
            width_px=flag("capture_width_px"),
            height_px=flag("capture_height_px"),
            codec=flag("codec"),
            lock_exposure=flag("auto_lock"),
            anchor=self._anchor,
        )

    def _pump(self, feed: PictureFeed, files: FileBackend, physiology: Physiology) -> None:
        live = sys.stderr.isatty() and not value_of(self._given, "headless")
        shown_us = 0
        while True:
            try:
                picture = feed.get(_LINE_S)
            except DeadlineError:
                picture = None
            except StateError:
                break  # the video has ended
            if picture is not None:
                self._newest_us = picture.epoch_us
                files.put(picture)
                physiology.put(picture)
                if self._line:
                    self._line.count(picture.epoch_us)
            now_us = self._anchor.now_us()
            if live and self._line and now_us - shown_us >= _LINE_S * 1e6:
                shown_us = now_us
                show_line(self._line.text())
        if live:
            show_line("")

    def _now_us(self) -> int:
        # A video that is not played at its own pace has its own time.
        return self._newest_us if self._fast and self._newest_us else self._anchor.now_us()

    def _on_source(self, files: FileBackend, kind: str, data: dict[str, Any]) -> None:
        if kind == "failed":
            again_s: float | None = data["retry_in_s"]
            _log.info("%s; %s", data["reason"], "given up" if again_s is None else f"tried again in {again_s:g} s")
            files.alarm(StatusCode.CAMERA_FAILED, data["reason"])
            self._failure = data["reason"] if again_s is None else ""
        elif kind == "opened":
            _log.info("%s: %d x %d at %g/s, %s", *(data[key] for key in ("name", "width", "height", "fps", "codec")))
            files.clear(StatusCode.CAMERA_FAILED)

    def _on_file_event(self, kind: str, data: dict[str, Any]) -> None:
        _log.info("%s", event_text(kind, data))

    def _on_status(self, status: Status, _stamp_us: int) -> None:
        if self._line:
            self._line.take_status(status.message)
        if status != self._status:
            self._status = status
            # What a person in front of the camera can change is on the live line.
            level = logging.WARNING if status.code in _TROUBLE else logging.INFO
            _log.log(level, "status %d: %s", status.code, status.message)

    def _sum_up(self, feed: PictureFeed, files: FileBackend, physiology: Physiology) -> None:
        counted, read, measured = files.counters(), feed.counters(), physiology.counters()
        streams, frames = (counted.core_metrics, counted.edge_metrics, counted.status), counted.frames
        losses = {
            "pictures broken": read.malformed + measured.malformed,
            "pictures dropped": read.dropped + measured.dropped,
            "frames not written": frames.dropped + frames.failed + frames.held_back,
            "lines not written": counted.lines.dropped + sum(stream.dropped for stream in streams),
            "timestamps raised": counted.core_metrics.moved_timestamps + counted.edge_metrics.moved_timestamps,
        }
        told = ", ".join(f"{what}: {count}" for what, count in losses.items() if count)
        remark(
            f"{PROGRAM}: {measured.received} pictures, {counted.core_metrics.written} core metrics, "
            f"{counted.edge_metrics.written} edge metrics, {counted.status.written} statuses in "
            f"{files.folder.absolute()}" + (f"; {told}" if told else "")
        )


def _is_url(text: str) -> bool:
    from labwire.sources.stream import SCHEMES

    return urlsplit(text).scheme in SCHEMES


def main() -> None:
    """Run the program and exit."""
    sys.exit(run_guarded(lambda: serve(sys.argv[1:]), program=PROGRAM))
