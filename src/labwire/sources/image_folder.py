"""The pictures of a folder of image files, once from the first name to the last; no pace, no loop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from labwire.errors import DeviceError, LabwireError, needs_extra
from labwire.picture import check_jpeg, picture_of
from labwire.sources.picture_source import SourceDescription
from labwire.sources.video_file import FilePicture

if TYPE_CHECKING:
    from labwire.picture import Pixels

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_DEFAULT_FPS = 30.0
_STAMP = re.compile(r"\d{13,}$")  # microseconds at the end of a name, zero-padded
_EPOCH_FROM_US = 10**14  # 1973: a stamp below that counts from somewhere else


class ImageFolder:
    """The pictures of a folder, in the order of their names.

    >>> with ImageFolder(Path("file_ipc_output")) as folder:  # doctest: +SKIP
    ...     for picture in folder:
    ...         print(picture.media_s)

    Where all names end in at least 13 digits, as in ``frame1700000000033333.jpg``, these are microseconds, and the
    pictures have those times; else they are 1/30 s apart. JPEG is passed on as it stands in its file. What is broken is
    counted and left out; ``latest.jpg`` of a file backend is left out too.

    Raises:
        DeviceError: There is no image in the folder that can be read.
    """

    def __init__(self, path: Path, fps: float = _DEFAULT_FPS) -> None:
        self._path = path
        self.malformed = 0
        """Images that could not be read, so far."""
        self._fps = fps
        self._paths = _images_in(path)
        self._stamps_us = _stamps_of(self._paths)
        self._at = 0
        self._first_us: int | None = None
        self._ahead = self._next()
        if self._ahead is None:
            raise DeviceError(
                f"{path} has no image that can be read ({self.malformed} are broken); it must hold "
                f"{', '.join(SUFFIXES)} files",
                path=str(path),
            )
        self.description = self._describe(self._ahead)

    @property
    def frame_s(self) -> float:
        """Time from a picture to the next, in seconds; the mean, where the names tell their times."""
        if self._stamps_us and len(self._stamps_us) > 1:
            return (self._stamps_us[-1] - self._stamps_us[0]) / 1e6 / (len(self._stamps_us) - 1)
        return 1 / self._fps

    def __iter__(self) -> Iterator[FilePicture]:
        return self

    def __next__(self) -> FilePicture:
        taken, self._ahead = self._ahead, None
        taken = taken or self._next()
        if taken is None:
            raise StopIteration
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Read no more. Safe to call twice."""
        self._at, self._ahead = len(self._paths), None

    def _next(self) -> FilePicture | None:
        while self._at < len(self._paths):
            at, self._at = self._at, self._at + 1
            try:
                return self._read(at)
            except (LabwireError, OSError):
                self.malformed += 1
        return None

    def _read(self, at: int) -> FilePicture:
        path, media_s, epoch_us = self._paths[at], at / self._fps, None
        if self._stamps_us:
            stamp_us = self._stamps_us[at]
            self._first_us = stamp_us if self._first_us is None else self._first_us
            media_s = (stamp_us - self._first_us) / 1e6
            epoch_us = stamp_us if stamp_us >= _EPOCH_FROM_US else None
        if path.suffix.lower() in {".jpg", ".jpeg"}:
            data = path.read_bytes()
            width, height = check_jpeg(data)
            return FilePicture(media_s, width, height, "jpeg", data, epoch_us)
        made = picture_of(_pixels_of(path), index=0, monotonic_s=0, epoch_us=0)
        return FilePicture(media_s, made.width, made.height, made.format, made.data, epoch_us)

    def _describe(self, first: FilePicture) -> SourceDescription:
        return SourceDescription(
            kind="images",
            name=str(self._path),
            width=first.width,
            height=first.height,
            fps=1 / self.frame_s,
            codec=self._paths[self._at - 1].suffix.lower().lstrip("."),
            as_it_came=first.format == "jpeg",
        )


def _images_in(path: Path) -> list[Path]:
    try:
        found = [one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and not one.name.startswith(".")]
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    return sorted(one for one in found if one.stem != "latest")


def _stamps_of(paths: list[Path]) -> list[int] | None:
    """Return the microseconds in the names; None unless all have them and they rise."""
    matches = [_STAMP.search(path.stem) for path in paths]
    stamps_us = [int(match[0]) for match in matches if match]
    if len(stamps_us) < len(paths) or stamps_us != sorted(set(stamps_us)):
        return None
    return stamps_us


def _pixels_of(path: Path) -> Pixels:
    with needs_extra("camera"):
        import cv2
    pixels = cast("Pixels | None", cv2.imread(str(path), cv2.IMREAD_COLOR))
    if pixels is None:
        raise DeviceError(f"{path} is not an image that can be decoded", path=str(path))
    return pixels
