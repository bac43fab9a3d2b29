"""One video file and the timestamps beside it."""

from __future__ import annotations

import os
from pathlib import Path

from labwire.sessions.files import append_whole
from labwire.sessions.pictures.mp4_format import TIME_BASE_HZ, Fragment, encode_fragment_head, encode_head, encode_index
from labwire.sessions.player.timestamps import SUFFIX as TIMESTAMPS_SUFFIX
from labwire.sessions.player.timestamps import TimestampFile

_FIRST_DURATION = TIME_BASE_HZ // 30  # of a picture before which there was none to measure by


class VideoFile:
    """A fragmented MP4 of JPEG pictures of one size; each picture is with the operating system once `add` returns.

    Args:
        folder: Of the session.
        name: Base name: ``world`` gives ``world.mp4`` and ``world_timestamps.npy``.
        width: Of the pictures, in pixels.
        height: Of the pictures, in pixels.
    """

    def __init__(self, folder: Path, name: str, *, width: int, height: int) -> None:
        self.path = folder / f"{name}.mp4"
        self._fragments: list[Fragment] = []
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            self._end = append_whole(self._fd, encode_head(width, height), 0)
            self._timestamps = TimestampFile(folder / f"{name}{TIMESTAMPS_SUFFIX}", ready=True)
        except OSError:
            os.close(self._fd)
            raise

    @property
    def count(self) -> int:
        """Pictures so far."""
        return len(self._fragments)

    @property
    def size_bytes(self) -> int:
        """Length of the file so far."""
        return self._end

    def add(self, jpeg: bytes, *, pts: int, timestamp: float) -> None:
        """Write one picture and its timestamp.

        Args:
            jpeg: A JPEG of the file's size.
            pts: In ticks, above that of the picture before.
            timestamp: Rig time, in seconds.
        """
        duration = pts - self._fragments[-1].pts if self._fragments else _FIRST_DURATION
        fragment = Fragment(self._end, pts)
        head = encode_fragment_head(len(self._fragments) + 1, pts, duration, len(jpeg))
        self._end = append_whole(self._fd, head + jpeg, self._end)
        self._fragments.append(fragment)
        self._timestamps.append(timestamp)
        self._timestamps.flush()
        self._timestamps.write_count()

    def close(self) -> None:
        """Write the index, close video and timestamps."""
        try:
            self._end = append_whole(self._fd, encode_index(self._fragments), self._end)
        finally:
            os.close(self._fd)
            self._timestamps.close()
