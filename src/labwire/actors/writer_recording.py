"""The runs of a writer in a session: one line of JSON each, with the paths of the images' files."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from labwire.errors import DeviceError, StateError
from labwire.operations.recordable import Recordable, SessionStart, StreamCounters, StreamDescription

_MAX_LISTED = 1000
"""Most runs that the manifest lists; the lines have all."""

_MAX_FILES = 100
"""Most data files of a run in that list."""


class RunRecorder(Recordable):
    """Notes each run that ends while a session records. The images stay where the writer puts them.

    A writer on another computer, which does not have the session's folder, keeps its lines beside its images; the
    session then names the computer and the path.

    Args:
        name: Of the writer.
        folder: Its output folder.
        rig_time: Gives rig time.
    """

    def __init__(self, name: str, folder: str, rig_time: Callable[[], float]) -> None:
        self._name, self._folder, self._rig_time = name, str(Path(folder).absolute()), rig_time
        self._path = Path()
        self._host = ""
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._session: SessionStart | None = None
        self._recording = False
        self._runs: list[dict[str, Any]] = []
        self._count = self._lost = self._images = self._missing = self._image_bytes = 0

    @property
    def _file_name(self) -> str:
        return f"writer.{self._name}.jsonl"

    def prepare(self, session: SessionStart) -> StreamDescription:
        """See `Recordable.prepare`.

        Another session that is still open is ended first: its recorder is gone, or it would have stopped it.
        """
        if self._file is not None and self._session is not None:
            if session.uuid == self._session.uuid:
                raise StateError(f"writer {self._name} is being recorded already", path=self._session.path)
            self.stop()
        is_here = Path(session.path).is_dir()
        beside = Path(self._folder) / "sessions" / f"{session.name or 'session'}-{session.uuid}"
        self._host = "" if is_here else socket.gethostname()
        self._path = path = (Path(session.path) if is_here else beside) / self._file_name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except OSError as error:
            raise DeviceError(f"cannot write {path}: {error.strerror}", path=str(path)) from error
        with self._lock:
            self._file, self._session = file, session
            self._runs = []
            self._count = self._lost = self._images = self._missing = self._image_bytes = 0
        return self.describe()

    def start(self) -> None:
        """See `Recordable.start`."""
        if self._file is None:
            raise StateError("prepare comes before start")
        self._recording = True

    def stop(self) -> StreamCounters:
        """See `Recordable.stop`."""
        with self._lock:
            self._recording = False
            file, self._file = self._file, None
            if file is not None:
                file.close()
        return self.counters()

    def describe(self) -> StreamDescription:
        """See `Recordable.describe`."""
        about = {
            "format": "JSON Lines: one run each, as notify.writer.run_finished has it",
            "folder": self._folder,
            "runs": list(self._runs),
        }
        file = str(self._path) if self._host else self._file_name
        return StreamDescription(self._name, [file], self._host, about)

    def counters(self) -> StreamCounters:
        """See `Recordable.counters`: of images."""
        with self._lock:
            return StreamCounters(
                received=self._images,
                written=self._images,
                dropped=self._lost,
                gaps=self._missing,
                written_bytes=self._image_bytes,
            )

    def put(self, run: dict[str, Any]) -> None:
        """Take a run that has ended, from any thread; without a session nothing happens."""
        with self._lock:
            if self._file is None or not self._recording:
                return
            self._count += 1
            self._images += run["images"]
            self._missing += run["missing"]
            self._lost += run["failed"]
            self._image_bytes += run["stored_bytes"]
            line = msgspec.json.encode({**run, "timestamp": self._rig_time()}) + b"\n"
            try:
                self._file.write(line)
                self._file.flush()
            except OSError:
                self._lost += 1
            if len(self._runs) < _MAX_LISTED:
                self._runs.append(_listed(run))


def _listed(run: dict[str, Any]) -> dict[str, Any]:
    keys = ("run_number", "run_name", "socket_number", "ok", "images", "missing", "file_count", "master_file")
    return {**{key: run[key] for key in keys}, "files": run["files"][:_MAX_FILES]}
