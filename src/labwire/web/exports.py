"""Sessions in the formats of other tools, made for a browser: written to a temporary folder, then downloaded."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from labwire.errors import CancelledError, DiskLowError, NotFoundError, QueueFullError, StateError
from labwire.file_lock import is_locked
from labwire.operations.job import LocalJob
from labwire.sessions.log.bus_log import FILE_NAME as LOG_FILE
from labwire.sessions.manifest import RECORDING, read_manifest
from labwire.sessions.reading.export import ExportProgress, Format
from labwire.web.answer import Answer
from labwire.web.export_folder import ExportFolder, remove_left
from labwire.web.export_work import ExportMade, ExportOrder, export_apart

MAX_AT_ONCE = 2
"""Exports that are made at a time; further ones are refused."""
MAX_KEPT = 4
"""Exports that wait to be downloaded; the oldest goes first."""
_ROOM = 2.0
"""Room that an export must find, in sizes of the session: its files, and once more while they are packed."""
_END_WITHIN_S = 5.0
_BYTES = "application/octet-stream"


class ExportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session to be written in a format of other tools."""

    session: Annotated[str, msgspec.Meta(min_length=1, max_length=240, pattern="^[^\\x00-\\x1f\\x7f]*$")]
    """Name and running number as ``record.list`` gives them."""
    to: Format


class ExportReady(msgspec.Struct, frozen=True):
    """An export that can be downloaded: ``/api/session/exported?export=<id>``."""

    id: str
    name: str
    """Of the file: ``pilot_003_parquet.zip``."""
    size_bytes: int
    messages: int
    skipped: int
    """Messages whose payload is no map: they stand in the log only."""
    tables: int


class Exports:
    """Makes exports and keeps the newest until the server ends. Safe to use from many threads.

    What a server before was killed with is removed.

    Args:
        make: Does the work.
    """

    def __init__(
        self,
        make: Callable[[ExportOrder, Callable[[ExportProgress], None], Callable[[], bool]], ExportMade] = export_apart,
    ) -> None:
        remove_left()
        self._make = make
        self._lock = threading.Lock()
        self._at_work = 0
        self._nobody_works = threading.Condition(self._lock)
        self._folder: ExportFolder | None = None
        self._files: dict[str, Path] = {}
        self._running = 0
        self._closed = False

    def begin(self, folder: Path, request: ExportRequest) -> LocalJob[ExportProgress, ExportReady]:
        """Return the work of exporting a session.

        Raises:
            StateError: It is still being recorded.
            QueueFullError: Too many are made already.
            DiskLowError: There is no room for it.
            DeviceError: There is no place for temporary files.
        """
        if read_manifest(folder).state == RECORDING and is_locked(folder / LOG_FILE):
            raise StateError(f"{request.session} is being recorded: stop it first", session=request.session)
        with self._lock:
            if self._closed:
                raise StateError("the web server ends: nothing is exported any more")
            if self._running >= MAX_AT_ONCE:
                raise QueueFullError(f"{MAX_AT_ONCE} exports are made already: wait for one, or cancel one")
            if self._folder is not None and not self._folder.path.is_dir():  # who cleans up took it
                self._folder.remove()
                self._folder = None
            if self._folder is None:
                self._folder = ExportFolder()
            _check_room(folder, self._folder.path)
            self._running += 1
            place = self._folder.path / secrets.token_hex(8)

        def work(report: Callable[[ExportProgress], None], cancelled: Callable[[], bool]) -> ExportReady:
            with self._lock:
                self._at_work += 1
            try:
                order = ExportOrder(str(folder), str(place), request.to)
                made = self._make(order, report, lambda: cancelled() or self._closed)
                return self._keep(place.name, made)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise
            finally:
                with self._lock:
                    self._running -= 1
                    self._at_work -= 1
                    self._nobody_works.notify_all()

        return LocalJob(work)

    def download(self, export: str) -> Answer:
        """Return the file of an export.

        Raises:
            NotFoundError: It is not there, or not any more.
        """
        with self._lock:
            path = self._files.get(export)
        if path is None or not path.is_file():
            raise NotFoundError(
                f"there is no export {export[:40]!r}: only the newest {MAX_KEPT} are kept; make it again"
            )
        return Answer(200, b"", _BYTES, file=str(path))

    def close(self) -> None:
        """Remove all files; what is being made ends."""
        with self._lock:
            self._closed = True
            self._nobody_works.wait_for(lambda: self._at_work == 0, _END_WITHIN_S)
            if self._folder is not None:
                self._folder.remove()
                self._folder = None

    def _keep(self, name: str, made: ExportMade) -> ExportReady:
        path = Path(made.path)
        ready = ExportReady(name, path.name, path.stat().st_size, made.messages, made.skipped, made.tables)
        with self._lock:
            if self._closed:
                raise CancelledError("the web server ends")
            self._files[name] = path
            while len(self._files) > MAX_KEPT:
                oldest = self._files.pop(next(iter(self._files)))
                shutil.rmtree(oldest.parent, ignore_errors=True)
        return ready


def _check_room(folder: Path, place: Path) -> None:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it has gone meanwhile
            size += path.stat().st_size
    free = shutil.disk_usage(place).free
    if free < _ROOM * size:
        raise DiskLowError(
            f"an export of {size} bytes finds only {free} free in {place.parent}: use labwire export, which writes "
            "where you say",
            size_bytes=size,
            free_bytes=free,
        )
