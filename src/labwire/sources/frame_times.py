"""The times of a video's pictures, from a file of their own: one number of milliseconds a line."""

from __future__ import annotations

import math
from pathlib import Path

from labwire.errors import DeviceError

_EPOCH_FROM_MS = 10**11  # 1973: what is below that counts from somewhere else
_MOST_MS = 253_402_300_800_000  # the year 10000
_MOST_BYTES = 1 << 28


class FrameTimes:
    """The times of the pictures of a video.

    Source: the public flag ``--input_video_time_path``: one timestamp in milliseconds for each picture, a line each.

    Raises:
        DeviceError: It cannot be read, holds something else, or the times do not rise.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._times_ms = _read(path)

    def __len__(self) -> int:
        return len(self._times_ms)

    def media_s(self, index: int) -> float:
        """Return the time of a picture in seconds, from the first one on.

        Raises:
            DeviceError: The file has no line for it.
        """
        return (self._of(index) - self._times_ms[0]) / 1e3

    def epoch_us(self, index: int) -> int | None:
        """Return the time in microseconds since 1970; None if the file counts from somewhere else."""
        return round(self._of(index) * 1e3) if self._times_ms[0] >= _EPOCH_FROM_MS else None

    def _of(self, index: int) -> float:
        if index >= len(self._times_ms):
            raise DeviceError(
                f"{self._path} has {len(self._times_ms)} lines, and the video has more pictures: one line is needed "
                "for each",
                path=str(self._path),
            )
        return self._times_ms[index]


def _read(path: Path) -> list[float]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DeviceError(f"{path} is too large for a file of times", path=str(path))
        lines = path.read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"{path} cannot be read as a file of times: {error}", path=str(path)) from error
    times_ms: list[float] = []
    for number, text in enumerate(lines, 1):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DeviceError(f"line {number} of {path} is no number of milliseconds: {text[:40]!r}", path=str(path))
        if abs(value) > _MOST_MS:
            raise DeviceError(f"line {number} of {path} is beyond the year 9999: {text[:40]}", path=str(path))
        if times_ms and value <= times_ms[-1]:
            raise DeviceError(f"line {number} of {path} is not above the line before: {text[:40]}", path=str(path))
        times_ms.append(value)
    if not times_ms:
        raise DeviceError(f"{path} has no times in it: one number of milliseconds a line is needed", path=str(path))
    return times_ms
