"""The file backend: one folder with what a camera shows and what is known of it.

Source: file-ipc. In this half: the folder, ``status.jsonl`` and the frames; the metrics' files are made empty, so that
readers that expect them can be started at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

import msgspec

from labwire.clock import EpochAnchor
from labwire.errors import DeviceError
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.jsonl_file import JsonlCounters, JsonlFile
from labwire.file_backend.locks import FolderLock
from labwire.file_backend.pictures import PictureFileCounters, PictureFiles
from labwire.picture import Picture

STATUS = "status.jsonl"
CORE_METRICS = "core_metrics.jsonl"
EDGE_METRICS = "edge_metrics.jsonl"


class StatusCode(IntEnum):
    """Codes that labwire puts into ``status.jsonl``. What looks at the pictures has codes of its own below 100."""

    OK = 0
    FRAMES_NOT_WRITTEN = 100
    CAMERA_FAILED = 101


class FileBackendCounters(msgspec.Struct, frozen=True):
    """What has been counted since the backend was opened."""

    frames: PictureFileCounters
    status: JsonlCounters


class FileBackend:
    """Write a camera's pictures and its status to a folder.

    >>> with FileBackend(FileIpcOptions(base_directory="out")) as backend:  # doctest: +SKIP
    ...     backend.put(picture)
    ...     backend.status(StatusCode.OK, "OK")

    Args:
        options: The nine options of the spec.
        on_event: Called with a kind and its data, in whatever thread it happens: ``written``, ``failed``,
            ``recovered``, ``repaired``, ``rotated``, ``lock_conflict``; see `PictureFiles` and `JsonlFile`.
        anchor: Gives microseconds since the epoch that never go back.
    """

    def __init__(
        self,
        options: FileIpcOptions,
        *,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
        anchor: EpochAnchor | None = None,
    ) -> None:
        self.folder = Path(options.base_directory).expanduser()
        self._options = options
        self._on_event = on_event
        self._anchor = anchor or EpochAnchor()
        self._cleanup = ExitStack()
        self._status: JsonlFile | None = None
        self._frames: PictureFiles | None = None
        self._last_status: tuple[int, str] | None = None

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
                if self._options.use_file_locking:
                    on_error.callback(FolderLock(self.folder).close)
                self._open_files(on_error)
            except OSError as error:
                raise DeviceError(
                    f"{self.folder} cannot be used ({error.strerror}): it must be a directory that this user can write "
                    f"to (ls -ld {self.folder}); or choose another base_directory",
                    folder=str(self.folder),
                ) from error
            self._cleanup = on_error.pop_all()
        return self

    def put(self, picture: Picture) -> bool:
        """Hand over a picture; False if it, or older ones in its stead, had to be dropped. Never waits."""
        return self._frames is not None and self._frames.put(picture)

    def status(self, code: int, message: str, *, repeat: bool = False) -> bool:
        """Write a line to ``status.jsonl``; False if nothing was written.

        Args:
            code: 0 means all is well.
            message: For people.
            repeat: Write it even if it is what was written last.
        """
        if self._status is None or (not repeat and self._last_status == (code, message)):
            return False
        written = self._status.append("status", self._anchor.now_us(), {"code": int(code), "message": message})
        if written:
            self._last_status = code, message
        return written

    def counters(self) -> FileBackendCounters:
        """Tell what has been counted."""
        return FileBackendCounters(
            self._frames.counters() if self._frames else PictureFileCounters(),
            self._status.counters() if self._status else JsonlCounters(),
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
        for name in (CORE_METRICS, EDGE_METRICS):
            self._opened(name).close()
        self._status = self._opened(STATUS)
        on_error.callback(self._status.close)
        self._frames = PictureFiles(self.folder, self._options, self._on_frames).start()
        on_error.callback(self._frames.close)

    def _opened(self, name: str) -> JsonlFile:
        options = self._options
        file = JsonlFile(
            self.folder / name,
            locking=options.use_file_locking,
            buffer_bytes=options.io_buffer_size,
            on_event=self._tell,
        )
        return file.open(truncate=options.truncate_on_init)

    def _on_frames(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "failed":
            self.status(StatusCode.FRAMES_NOT_WRITTEN, f"frames are not written: {data['reason']}")
        else:
            self.status(StatusCode.OK, "OK")
        self._tell(kind, data)

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        if self._on_event is not None:
            self._on_event(kind, data)
