"""A video file or a folder of images as a source of pictures: at its own pace, for ever if it loops."""

from __future__ import annotations

import threading
from pathlib import Path

from labwire.clock import EpochAnchor, monotonic_s
from labwire.errors import StateError
from labwire.picture import Picture
from labwire.sources.frame_times import FrameTimes
from labwire.sources.image_folder import ImageFolder
from labwire.sources.picture_source import SourceDescription
from labwire.sources.video_file import FilePicture, VideoFile

_MAX_LATE_S = 1.0
"""Later than that, play on from now, as a camera would, instead of hurrying after lost time."""


class VideoSource:
    """Play a video file.

    >>> source = VideoSource("clip.mp4")
    >>> source.open()  # doctest: +SKIP
    >>> source.read().format  # doctest: +SKIP
    'jpeg'

    Motion JPEG is passed on as it stands in the file; other codecs are decoded to bgr.

    Args:
        path: The file; or a folder of images, see `ImageFolder`.
        realtime: Wait until each picture is due. False: return them as fast as they are asked for; their timestamps
            are those that they would have had.
        loop: Begin again at the end. The time between the last and the first picture is one frame.
        times: A file with the time of each picture in milliseconds, one a line; times since 1970 become the pictures'
            timestamps.
        anchor: Turns moments of capture into microseconds since the epoch.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        realtime: bool = True,
        loop: bool = True,
        times: str | Path | None = None,
        anchor: EpochAnchor | None = None,
    ) -> None:
        self._path = Path(path)
        self._times_path = None if times is None else Path(times)
        self._times: FrameTimes | None = None
        self._in_file = 0
        self._realtime, self._loop = realtime, loop
        self._anchor = anchor or EpochAnchor()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._file: VideoFile | ImageFolder | None = None
        self._description = SourceDescription(kind="video", name=str(self._path))
        self._index = 0
        self._malformed = 0
        # Media time is counted on over loops and reopenings.
        self._base_s = 0.0
        self._last_s: float | None = None
        self._zero_s: float | None = None  # moment on the monotonic clock of media time 0

    @property
    def malformed(self) -> int:
        """Pictures of the file that could not be read, since the source was made."""
        file = self._file
        return self._malformed + (file.malformed if file else 0)

    def open(self) -> None:
        """Open the file and read its first picture; nothing happens if it is open.

        Raises:
            DeviceError: There is no such file, it is no video, or it has no picture.
            MissingExtraError: PyAV is not installed.
        """
        with self._lock:
            if self._file is None:
                self._closing.clear()
                self._open_file()
                self._zero_s = None

    def read(self) -> Picture | None:
        """Wait until the next picture is due and return it; None at the end, or when `close` was called.

        Raises:
            DeviceError: The file cannot be read any more.
            StateError: It is not open.
        """
        with self._lock:
            if self._closing.is_set():
                return None
            taken = self._take()
        if taken is None:
            return None
        due_s = self._due_s(taken.media_s)
        if self._realtime and self._closing.wait(max(0.0, due_s - monotonic_s())):
            return None
        picture = Picture(
            index=self._index,
            monotonic_s=due_s,
            epoch_us=self._epoch_us(taken, due_s),
            width=taken.width,
            height=taken.height,
            format=taken.format,
            data=taken.data,
        )
        self._index += 1
        return picture

    def close(self) -> None:
        """Close the file; a `read` that waits returns None. Safe to call twice."""
        self._closing.set()
        with self._lock:
            self._close_file()

    def describe(self) -> SourceDescription:
        """Tell size, rate and codec; 0 and empty until it was opened."""
        return self._description

    # The methods below are called with the lock held, except `_due_s`, which only the reading thread calls.

    def _take(self) -> FilePicture | None:
        if self._file is None:
            raise StateError(f"{self._path} is not open: call open() first")
        taken = next(self._file, None)
        if taken is None and self._loop:
            self._close_file()
            taken = next(self._open_file())
        if taken is None:
            return None
        if self._times is not None:
            at = self._in_file
            taken = taken._replace(media_s=self._times.media_s(at), epoch_us=self._times.epoch_us(at))
        self._in_file += 1
        self._last_s = self._base_s + taken.media_s
        return taken._replace(media_s=self._last_s)

    def _epoch_us(self, taken: FilePicture, due_s: float) -> int:
        # What a looping file says of its moment is true once only.
        if taken.epoch_us is None or self._loop:
            return self._anchor.at(due_s)
        return taken.epoch_us

    def _open_file(self) -> VideoFile | ImageFolder:
        if self._times_path is not None and self._times is None:
            self._times = FrameTimes(self._times_path)
        self._file = file = (ImageFolder if self._path.is_dir() else VideoFile)(self._path)
        self._in_file = 0
        self._description = file.description
        self._base_s = 0.0 if self._last_s is None else self._last_s + file.frame_s
        return file

    def _close_file(self) -> None:
        if self._file is not None:
            self._malformed += self._file.malformed
            self._file.close()
            self._file = None

    def _due_s(self, media_s: float) -> float:
        now_s = monotonic_s()
        if self._zero_s is None:
            self._zero_s = now_s - media_s
        late_s = now_s - (self._zero_s + media_s)
        if self._realtime and late_s > _MAX_LATE_S:
            self._zero_s += late_s
        return self._zero_s + media_s
