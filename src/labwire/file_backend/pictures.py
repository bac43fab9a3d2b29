"""Frames as files: the newest one, always whole, and numbered ones beside it.

Source: file-ipc, "Frame Output" and "Directory Structure".
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from labwire.bounded import BoundedQueue, Policy
from labwire.errors import LabwireError
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.replace import replace_file, write_new
from labwire.picture import Picture, check_jpeg, encode_image, encode_jpeg, picture_pixels, to_format

_log = logging.getLogger(__name__)

_DEPTH = 16  # a disk may take a quarter of a second now and then
_DEPTH_BYTES = 64 << 20
_DIGITS = 16
_JPEG = ("jpg", "jpeg")
_LEAST_COMPRESSED = 100
_CLOSE_S = 10.0
_VOLUME_AFTER_US = 2_000_000


class PictureFileCounters(msgspec.Struct, frozen=True):
    """What has been counted since the start."""

    received: int = 0
    written: int = 0
    """Pictures that are, or were, in the folder."""
    dropped: int = 0
    """Pictures that a newer one overtook before they were written: the disk or the encoder is too slow."""
    failed: int = 0
    """Pictures that could not be written, because the disk was full or the folder not writable."""
    malformed: int = 0
    """Pictures that came broken, and are not written."""
    held_back: int = 0
    """Pictures that were not written because the disk was full, and lines go before pictures."""
    removed: int = 0
    """Numbered frames that made room for newer ones."""
    written_bytes: int = 0
    """Of the newest frame and of numbered frames."""


class PictureFiles:
    """Write pictures to a folder, in a thread of its own.

    ``latest.<extension>`` is replaced as a whole with every picture; ``frame<16 digits>.<extension>``, named for the
    microseconds since 1970, are kept up to a number. Pictures that come faster than they can be written drop the oldest
    that wait. Errors of the disk are counted and reported, never raised; when it has room again, writing goes on.

    Args:
        folder: An existing folder. Nothing in it is touched but files of those names.
        options: Extension, compression, number of frames, and whether to begin by clearing.
        on_event: Called in the writing thread with a kind and its data: ``written`` (the first picture is there),
            ``failed`` (``file``, ``reason``, ``errno``) and ``recovered`` (``file``, ``failed``), ``volume``
            (``bytes_per_hour``, once, when numbered frames have no limit).
        has_room: Asked before each numbered frame; False: the disk is nearly full, only the newest frame is written.
        policy: What happens when pictures come faster than they can be written: ``drop_old``, or ``block`` for a video
            that can wait.

    Raises:
        OSError: The folder cannot be read or cleared.
    """

    def __init__(
        self,
        folder: Path,
        options: FileIpcOptions,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
        *,
        has_room: Callable[[], bool] | None = None,
        policy: Policy = "drop_old",
    ) -> None:
        self._folder = folder
        self._extension = options.frame_extension
        self._compress = options.compress_frames
        self._max_count = options.max_frame_count
        self._on_event = on_event
        self.latest = folder / f"latest.{self._extension}"
        self._new = folder / f".latest.{self._extension}.new"
        self._new_numbered = folder / f".frame.{self._extension}.new"
        self._queue = BoundedQueue[Picture](
            _DEPTH, policy, depth_bytes=_DEPTH_BYTES, size_of=lambda picture: len(picture.data)
        )
        self._thread = threading.Thread(target=self._run, name="labwire-frames", daemon=True)
        self._written = self._failed = self._malformed = self._removed = self._held_back = self._written_bytes = 0
        self._failing = False
        self.paused = False
        """No picture is written: set while there is no room for lines."""
        self._has_room = has_room
        self._volume_from: tuple[int, int] | None = None
        if self._extension in _JPEG and not self._compress:
            _log.warning(
                "compress_frames is false, and a frame is a JPEG all the same: it is written with quality %d, three to "
                'five times as large; frame_extension "png" or "bmp" is lossless',
                _LEAST_COMPRESSED,
            )
        if options.truncate_on_init:
            self._clear()
        # Numbered frames, oldest first; only the last one matters when there is no limit.
        stamps = sorted(self._stamps())
        self._kept: deque[int] = deque(stamps, maxlen=None if self._max_count else 1)

    def start(self) -> Self:
        """Start writing."""
        self._thread.start()
        return self

    def put(self, picture: Picture) -> bool:
        """Hand over a picture; False if it, or older ones in its stead, had to be dropped. Never waits."""
        return self._queue.put(picture)

    def counters(self) -> PictureFileCounters:
        """Tell what has been counted."""
        queue = self._queue.statistics()
        return PictureFileCounters(
            received=queue.received,
            written=self._written,
            dropped=queue.dropped,
            failed=self._failed,
            malformed=self._malformed,
            held_back=self._held_back,
            removed=self._removed,
            written_bytes=self._written_bytes,
        )

    def close(self) -> None:
        """Write what waits, then stop. Safe to call twice."""
        self._queue.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def name_of(self, stamp_us: int) -> str:
        """Return the name of a numbered frame; zero-padded, so that names sort by time."""
        return f"frame{stamp_us:0{_DIGITS}d}.{self._extension}"

    def _run(self) -> None:
        for picture in self._queue:
            try:
                if self.paused:
                    self._held_back += 1
                else:
                    self._store(picture)
            except LabwireError as error:
                self._malformed += 1
                _log.debug("a picture was left out: %s", error)
            except OSError as error:
                self._failed += 1
                self._fail(error)
            except Exception:
                self._failed += 1
                _log.exception("writing a picture to %s failed in a way that was not foreseen", self._folder)

    def _store(self, picture: Picture) -> None:
        data = self._encoded(picture)
        write_new(self._new, data)
        replace_file(self._new, self.latest)
        self._written_bytes += len(data)
        if self._has_room is None or self._has_room():
            self._store_numbered(picture.epoch_us, data)
        self._written += 1
        self._succeed()

    def _store_numbered(self, epoch_us: int, data: bytes | memoryview) -> None:
        self._make_room()
        stamp_us = max(epoch_us, self._kept[-1] + 1 if self._kept else 0)
        name = self.name_of(stamp_us)
        write_new(self._new_numbered, data)
        self._new_numbered.rename(self._folder / name)
        self._kept.append(stamp_us)
        self._written_bytes += len(data)
        _log.debug("wrote %s, %d bytes", name, len(data))
        if not self._max_count:
            self._tell_volume(epoch_us, len(data))

    def _tell_volume(self, epoch_us: int, size_bytes: int) -> None:
        # Once, from the first two seconds: who leaves the number of frames unlimited should know what that costs.
        since_us, so_far = self._volume_from or (epoch_us, 0)
        self._volume_from = since_us, so_far + size_bytes
        if so_far >= 0 and epoch_us - since_us >= _VOLUME_AFTER_US:
            self._volume_from = since_us, -(1 << 62)
            self._report("volume", {"bytes_per_hour": round(so_far / (epoch_us - since_us) * 3.6e9)})

    def _encoded(self, picture: Picture) -> bytes | memoryview:
        if self._extension not in _JPEG:
            return encode_image(picture_pixels(picture), f".{self._extension}")
        if not self._compress:
            return encode_jpeg(picture_pixels(picture), _LEAST_COMPRESSED)
        data = to_format(picture, "jpeg").data
        check_jpeg(data)  # cameras send torn ones
        return data

    def _make_room(self) -> None:
        # Before the new frame comes, so that there are never more than the limit.
        while self._max_count and len(self._kept) >= self._max_count:
            (self._folder / self.name_of(self._kept[0])).unlink(missing_ok=True)
            self._kept.popleft()
            self._removed += 1

    def _stamps(self) -> Iterator[int]:
        own = re.compile(rf"frame(\d{{{_DIGITS}}})\.{self._extension}")
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if (match := own.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                    yield int(match[1])

    def _clear(self) -> None:
        for stamp_us in self._stamps():
            (self._folder / self.name_of(stamp_us)).unlink(missing_ok=True)
        for path in (self.latest, self._new, self._new_numbered):
            path.unlink(missing_ok=True)

    def _fail(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            reason = error.strerror or str(error)
            self._report("failed", {"file": str(self.latest), "reason": reason, "errno": error.errno})

    def _succeed(self) -> None:
        if self._failing:
            self._failing = False
            self._report("recovered", {"file": str(self.latest), "failed": self._failed})
        elif self._written == 1:
            self._report("written", {"file": str(self.latest)})

    def _report(self, kind: str, data: dict[str, Any]) -> None:
        try:
            if self._on_event is not None:
                self._on_event(kind, data)
        except Exception:
            _log.exception("telling of %s %r failed", kind, data)
