"""Stores one run of one socket: its data files, and the master file if this is the first socket."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from labwire.errors import LabwireError, ProtocolError
from labwire.file_lock import is_locked
from labwire.images.config import WriterOptions
from labwire.images.data_file import MAX_MISSING_SHOWN, DataFile, FinishedFile
from labwire.images.disk_file import Ballast
from labwire.images.journal import SUFFIX
from labwire.images.master_file import MasterFile
from labwire.images.output_folder import FileFailedError, OutputFolder
from labwire.images.run_plan import RunPlan
from labwire.wire.image_message import CalibrationMessage, EndMessage, ImageMessage, StartMessage

T = TypeVar("T")

_MAX_FAILED_KEPT: Final = 100_000
"""Numbers of images that failed which are kept, to tell those that failed from those that never came."""

Ending: TypeAlias = Literal["end", "cancelled", "lost", "stopped", "failed"]
"""How a run ended: as it should, taken back by the sender, cut off, stopped at this side, or given up by this side."""


class WrittenRun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run at one writer."""

    run_number: int
    run_name: str
    socket_number: int
    ended: Ending
    files: tuple[str, ...] = ()
    """Data files that are finished."""
    master_file: str = ""
    images: int = 0
    """Images that are in these files."""
    announced: int = 0
    """Images of the whole run, of all sockets, as START said; 0: it did not."""
    missing: int = 0
    """Images that belong to this socket, as far as it can know, and did not come, or were in a file that is lost."""
    failed: int = 0
    """Images that came and could not be stored."""
    missing_images: tuple[int, ...] = ()
    """Numbers of the first of those that are in no finished file, missing or failed."""
    stored_bytes: int = 0
    duration_s: float = 0.0
    error: str = ""
    """The first thing that went wrong."""

    @property
    def ok(self) -> bool:
        """Whether all images that came, and all that should have come, are in finished files."""
        return self.ended == "end" and not (self.missing or self.failed or self.error)


class RunStore(Protocol):
    """What takes the images of one run: files, or nothing at all."""

    plan: RunPlan
    fault: Exception | None
    """Why a file could not be finished."""

    def write_calibration(self, message: CalibrationMessage) -> None:
        """Store calibration arrays."""
        ...

    def write_image(self, image_number: int, message: ImageMessage) -> int:
        """Store an image; return how many bytes it took.

        Raises:
            FileFailedError: A file cannot be written; the run is of no further use.
            LabwireError: This image cannot be stored; others may be.
        """
        ...

    def finish(self, ended: Ending, end: EndMessage | None = None, error: str = "", *, failed: int = 0) -> WrittenRun:
        """Finish all files and tell what became of the run; never raises.

        Args:
            ended: How the run ended.
            end: The message, if there was one.
            error: Why it ended so.
            failed: Images that came after the run was given up, and were not handed over.
        """
        ...


class RunFiles:
    """The files of one run.

    Images may come in any order, as far as the files that belong to them fit into `WriterOptions.open_files`; a file
    is finished when it is complete, or when the room is needed for a newer one.

    Args:
        root: The writer's output folder.
        plan: The run.
        start: START, with its arrays.
        options: How to store.

    Raises:
        FileFailedError: The folder cannot be written, or there are files of these names.
    """

    def __init__(self, root: Path, plan: RunPlan, start: StartMessage, options: WriterOptions) -> None:
        self.plan = plan
        self.fault: Exception | None = None
        self._options = options
        self._began_s = time.monotonic()
        self._open: dict[int, DataFile] = {}
        self._finished: dict[int, FinishedFile] = {}
        self._begun: set[int] = set()
        self._last = -1
        self._stored_bytes = 0
        self._failed = self._to_repair = 0
        self._failed_images: set[int] = set()
        self._error = ""
        self._master: MasterFile | None = None
        self._folder = OutputFolder(root, plan.folders)
        try:
            there = self._folder.names()
            self._refuse_existing(there)
            journals = (name for name in there if name.endswith(f".tmp{SUFFIX}"))
            self.left_behind = sum(not is_locked(self._folder.path / name) for name in journals)
            """Files in this folder that killed writers left under way."""
            self._ballast = self._make_ballast()
            if plan.write_master and options.format != "NXmxOnlyData":
                self._master = MasterFile(
                    self._folder,
                    plan,
                    start,
                    master_format=options.format,
                    ballast=self._ballast,
                    sync=options.sync,
                )
        except BaseException:
            self._folder.close()
            raise

    def _refuse_existing(self, there: set[str]) -> None:
        if self.plan.overwrite:
            return
        master = {self.plan.master_name} if self.plan.write_master else set[str]()
        ours = sorted(name for name in there if name in master or self._is_data_name(name))
        if ours:
            what = "it is of an earlier run; give another file_prefix, or let the writer overwrite"
            raise FileFailedError(errno.EEXIST, str(self._folder.path / ours[0]), what)

    def _is_data_name(self, name: str) -> bool:
        # On the first socket, any data file of that prefix; on others, the first of their own is enough to tell.
        start, end = f"{self.plan.prefix}_data_", ".h5"
        number = name[len(start) : -len(end)]
        if not (name.startswith(start) and name.endswith(end) and number.isascii() and number.isdigit()):
            return False
        return int(number) - 1 == self.plan.socket_number and int(number) <= self.plan.file_count

    def _make_ballast(self) -> Ballast:
        name = f"{self.plan.prefix}_ballast.{time.time_ns():x}.tmp"
        fd = self._folder.create(name)
        self._folder.remove(name)
        try:
            return Ballast(fd)
        except OSError as error:
            raise FileFailedError(error.errno, str(self._folder.path), "output folder") from error

    # --- images

    def write_calibration(self, message: CalibrationMessage) -> None:
        """Store calibration arrays in the master file; without one they are not stored."""
        if self._master is not None:
            self._master.add_calibration(message)

    def write_image(self, image_number: int, message: ImageMessage) -> int:
        """Store an image; return how many bytes it took.

        Raises:
            FileFailedError: A file cannot be written.
            ProtocolError: The image does not belong into this run, or is stored already.
        """
        try:
            return self._write_image(image_number, message)
        except (FileFailedError, LabwireError) as error:
            self._failed += 1
            if len(self._failed_images) < _MAX_FAILED_KEPT:
                self._failed_images.add(image_number)
            self._error = self._error or f"image {image_number}: {error}"
            raise

    def _write_image(self, image_number: int, message: ImageMessage) -> int:
        limit = self.plan.announced or self._options.max_images
        if image_number >= limit:
            said = "START announced" if self.plan.announced else "a run may have"
            raise ProtocolError(f"{said} {limit} images, from 0 to {limit - 1}")
        index, place = divmod(image_number, self.plan.images_per_file)
        file = self._open.get(index)
        if file is None:
            file = self._begin(index)
        size = file.write(place, message)
        self._stored_bytes += size
        self._last = max(self._last, image_number)
        if file.complete:
            self._finish(file)
        return size

    def _begin(self, index: int) -> DataFile:
        if index in self._finished:
            name = self.plan.data_name(index)
            raise ProtocolError(f"its file {name} is finished: it came more than {self._options.open_files} files late")
        if len(self._open) >= self._options.open_files:
            self._finish(next(iter(self._open.values())))
        options = self._options
        file = DataFile(
            self._folder, self.plan, index, ballast=self._ballast, sync=options.sync, flush_s=options.flush_s
        )
        self._open[index] = file
        self._begun.add(index)
        return file

    def _finish(self, file: DataFile) -> None:
        del self._open[file.index]
        try:
            self._finished[file.index] = file.finish(overwrite=self.plan.overwrite)
        except BaseException:
            self._to_repair += file.discard()
            raise

    # --- the end

    def finish(self, ended: Ending, end: EndMessage | None = None, error: str = "", *, failed: int = 0) -> WrittenRun:
        """Finish all files and tell what became of the run; never raises.

        A run that was taken back or cut off before its first image leaves nothing.

        Args:
            ended: How the run ended.
            end: The message, if there was one.
            error: Why it ended so.
            failed: Images that came after the run was given up, and were not handed over.
        """
        self._error = self._error or error
        for file in tuple(self._open.values()):
            self._guard(lambda file=file: self._finish(file))
        files = [self._finished[index] for index in sorted(self._finished)]
        master = self._finish_master(files, ended, end)
        self._ballast.drop()
        self._folder.close()
        if self._to_repair:
            hint = f"{self._to_repair} images that were stored are in a file that could not be closed"
            self._error += f"; {hint}: labwire images repair {self._folder.path}"
        missing, shown = self._missing(self._length(end), failed)
        return WrittenRun(
            run_number=self.plan.run_number,
            run_name=self.plan.run_name,
            socket_number=self.plan.socket_number,
            ended=ended,
            files=tuple(file.path for file in files),
            master_file=master,
            images=sum(file.images for file in files),
            announced=self.plan.announced,
            missing=missing,
            missing_images=tuple(shown),
            failed=self._failed + failed,
            stored_bytes=self._stored_bytes,
            duration_s=round(time.monotonic() - self._began_s, 3),
            error=self._error,
        )

    def _finish_master(self, files: list[FinishedFile], ended: Ending, end: EndMessage | None) -> str:
        master = self._master
        if master is None:
            return ""
        if ended != "end" and not files:
            master.discard()
            return ""
        path = self._guard(lambda: master.finish(files, end, images=self._length(end)))
        if path is None:
            master.discard()
        return path or ""

    def _guard(self, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except Exception as error:
            self.fault = self.fault or error
            self._error = self._error or str(error)
            return None

    def _length(self, end: EndMessage | None) -> int:
        """Return how many images the whole run has, of all sockets."""
        length = self.plan.announced or self._last + 1
        if end is not None and end.max_image_number is not None and end.max_image_number > self._last:
            length = min(length, end.max_image_number) if self.plan.announced else end.max_image_number
        return min(length, self._options.max_images)

    def _missing(self, length: int, failed: int) -> tuple[int, list[int]]:
        """Return how many images of this socket did not come; and the first of those that are in no finished file.

        Args:
            length: Images of the run, of all sockets.
            failed: Images that came and were not handed over.
        """
        total, shown = 0, list[int]()
        failed += sum(number < length and not self._is_stored(number) for number in self._failed_images)
        for index in self._own_files():
            first = index * self.plan.images_per_file
            count = max(0, min(self.plan.images_in(index), length - first))
            finished = self._finished.get(index)
            gone, places = finished.missing(count) if finished else (count, range(min(count, MAX_MISSING_SHOWN)))
            total += gone
            shown += [first + place for place in places][: MAX_MISSING_SHOWN - len(shown)]
        return max(0, total - failed), shown

    def _is_stored(self, number: int) -> bool:
        index, place = divmod(number, self.plan.images_per_file)
        finished = self._finished.get(index)
        return finished is not None and place in finished.present

    def _own_files(self) -> Sequence[int]:
        """Return which files belong to this socket: START does not say how many sockets there are.

        They are a constant number of files apart; with one file, or none, that number is not known.
        """
        own, plan = sorted(self._begun), self.plan
        if plan.announced and plan.file_count == 1 and plan.socket_number == 0:
            return [0]
        if not own or not plan.announced:
            return own
        step = math.gcd(*(index - plan.socket_number for index in own))
        return range(plan.socket_number % step, plan.file_count, step) if step else own
