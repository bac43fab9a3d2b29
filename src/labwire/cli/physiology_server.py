"""``physiology_server``: a camera in, pulse and breathing out, as files.

Source: file-ipc, "Command Line Usage". No rig and no bus: one process, one folder.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from labwire.cli.server_source import is_video, source_of
from labwire.cli.server_summary import summary
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
        self._video = is_video(given)
        # What can wait is not hurried: no picture of a video is ever left out, unless it is played at its own pace.
        self._policy: Literal["block", "drop_old"] = (
            "block" if self._video and not value_of(given, "realtime") else "drop_old"
        )
        self._newest_us = 0
        self._failure = ""
        self._status: Status | None = None
        self._line: VitalsLine | None = None

    def run(self) -> int:
        """Measure until the video ends, or until Ctrl-C; return the exit status.

        Raises:
            DeviceError: The video cannot be read to its end.
        """
        with ExitStack() as stack:
            source = source_of(self._given, self._anchor)
            source.open()  # what is wrong with it is told at once; what happens later is tried again
            stack.callback(source.close)
            files = stack.enter_context(self._files())
            self._line = VitalsLine(files.folder)
            physiology = stack.enter_context(self._physiology(files))
            feed = stack.enter_context(self._feed(source, files))
            remark(f"{PROGRAM}: {source.describe().name} → {files.folder.absolute()}; log: {self._log}")
            if not self._video:
                waiting = physiology.status
                files.status(waiting.code, waiting.message)
            try:
                self._pump(feed, files, physiology)
            except KeyboardInterrupt:
                remark("")
            physiology.close()
            files.close()
            there, lost = summary(feed.counters(), files.counters(), physiology.counters())
            remark(f"{PROGRAM}: {there} in {files.folder.absolute()}" + (f"; {lost}" if lost else ""))
        if self._failure:
            raise DeviceError(self._failure)
        return 0

    def _files(self) -> FileBackend:
        from labwire.file_backend.backend import FileBackend

        return FileBackend(
            self._options,
            on_event=lambda kind, data: _log.info("%s", event_text(kind, data)),
            on_status=self._on_status,
            anchor=self._anchor,
            now_us=self._video_us if self._video else None,
            policy=self._policy,
        )

    def _physiology(self, files: FileBackend) -> Physiology:
        from labwire.actors.physiology import Physiology
        from labwire.vitals.config import VitalsConfig

        return Physiology(
            VitalsConfig(metrics_interval_s=value_of(self._given, "buffer_duration")),
            files=files,
            on_event=lambda event, _: self._line and self._line.take(event),
            policy=self._policy,
            edge_metrics=value_of(self._given, "enable_edge_metrics"),
        )

    def _feed(self, source: PictureSource, files: FileBackend) -> PictureFeed:
        from labwire.sources.feed import PictureFeed

        return PictureFeed(
            source,
            depth=_DEPTH,
            policy=self._policy,
            once=self._video,
            on_event=lambda kind, data: self._on_source(files, kind, data),
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

    def _video_us(self) -> int:
        return self._newest_us or self._anchor.now_us()  # a video has its own time

    def _on_source(self, files: FileBackend, kind: str, data: dict[str, Any]) -> None:
        if kind == "failed":
            again_s: float | None = data["retry_in_s"]
            _log.info("%s; %s", data["reason"], "given up" if again_s is None else f"tried again in {again_s:g} s")
            files.alarm(StatusCode.CAMERA_FAILED, data["reason"])
            self._failure = data["reason"] if again_s is None else ""
        elif kind == "opened":
            _log.info("%s: %d x %d at %g/s, %s", *(data[key] for key in ("name", "width", "height", "fps", "codec")))
            files.clear(StatusCode.CAMERA_FAILED)

    def _on_status(self, status: Status, _stamp_us: int) -> None:
        if self._line:
            self._line.take_status(status.message)
        if status != self._status:
            self._status = status
            # What a person in front of the camera can change is on the live line.
            level = logging.WARNING if status.code in _TROUBLE else logging.INFO
            _log.log(level, "status %d: %s", status.code, status.message)


def main() -> None:
    """Run the program and exit."""
    sys.exit(run_guarded(lambda: serve(sys.argv[1:]), program=PROGRAM))
