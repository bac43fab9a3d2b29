"""The pictures of one topic: one video, or several when their size changes."""

from __future__ import annotations

from pathlib import Path

from labwire.sessions.file_names import DATA_NAMES, VIDEO_NAMES, FileNames, safe_file_name
from labwire.sessions.pictures.jpeg_encoder import JpegEncoder
from labwire.sessions.pictures.picture_message import PictureMessage
from labwire.sessions.pictures.picture_times import PictureTimes
from labwire.sessions.pictures.video_file import VideoFile
from labwire.sessions.player.timestamps import SUFFIX as TIMESTAMPS_SUFFIX

_MAX_SIZE_CHANGES = 16
_EYE = "eye."


def video_name(topic: bytes, prefixes: tuple[bytes, ...], names: FileNames) -> str:
    """Choose the base name of a topic's video.

    ``frame.world`` gives ``world``, ``frame.eye.0`` gives ``eye0``: the names that Pupil Player knows. Any other name
    must not begin like one of these, or the Player would take it for a further piece of that video.

    Args:
        topic: Of the pictures.
        prefixes: Of picture topics, the longest first.
        names: Base names taken in the session's folder.
    """
    prefix = next((prefix for prefix in prefixes if topic.startswith(prefix)), b"")
    rest = topic[len(prefix) :].decode("utf-8", "backslashreplace")
    if rest.startswith(_EYE):
        rest = f"eye{rest[len(_EYE) :]}"
    wanted = safe_file_name(rest)
    if wanted in VIDEO_NAMES and names.is_free(wanted):
        return names.claim(wanted)
    if wanted.startswith(tuple(VIDEO_NAMES)):
        wanted = f"video_{wanted}"
    return names.claim(wanted, reserved=DATA_NAMES)


class VideoStream:
    """Write the pictures of one topic.

    Args:
        folder: Of the session.
        name: Base name of the first file. A change of size begins ``<name>_002``; Pupil Player joins it to the first.
        names: Base names taken in the session's folder.
        times: The time axis.
    """

    def __init__(self, folder: Path, name: str, names: FileNames, times: PictureTimes) -> None:
        self.name = name
        self.files: list[str] = []
        """Names of the files that exist."""
        self._folder = folder
        self._names = names
        self._times = times
        self._offered_size: tuple[int, int] | None = None
        self._size_changes = 0
        self._size: tuple[int, int] | None = None
        self._file: VideoFile | None = None
        self._encoder: tuple[tuple[int, int, str], JpegEncoder] | None = None
        self._last_pts = -1
        self._number = 0

    def refuse(self, picture: PictureMessage) -> str:
        """Return why a picture cannot be taken, empty if it can; called in the order in which `write` will be."""
        size = picture.width, picture.height
        if size != self._offered_size:
            if self._size_changes > _MAX_SIZE_CHANGES:
                return f"its size changed more than {_MAX_SIZE_CHANGES} times"
            self._offered_size = size
            self._size_changes += 1
        return ""

    def write(self, picture: PictureMessage) -> int:
        """Write one picture; return its bytes in the file.

        Raises:
            OSError: The disk is full or fails.
            ValueError: The picture cannot be encoded.
        """
        jpeg = picture.data if picture.format == "jpeg" else self._encode(picture)
        size = picture.width, picture.height
        if self._file is None or size != self._size:
            self._next_file(size)
        file = self._file
        assert file is not None
        pts = self._times.pts_of(picture.timestamp, picture.monotonic_s, self._last_pts)
        file.add(jpeg, pts=pts, timestamp=picture.timestamp)
        self._last_pts = pts
        return len(jpeg)

    def _encode(self, picture: PictureMessage) -> bytes:
        kind = picture.width, picture.height, picture.format
        if self._encoder is None or self._encoder[0] != kind:
            self._encoder = kind, JpegEncoder(*kind)
        return self._encoder[1].encode(picture)

    def _next_file(self, size: tuple[int, int]) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._number += 1
        name = self.name if self._number == 1 else self._names.claim(f"{self.name}_{self._number:03d}")
        self._file = VideoFile(self._folder, name, width=size[0], height=size[1])
        self._size = size
        self.files += [self._file.path.name, f"{name}{TIMESTAMPS_SUFFIX}"]

    def about(self) -> dict[str, object]:
        """Describe the video for the manifest."""
        width, height = self._size or (0, 0)
        return {"file": f"{self.name}.mp4", "width": width, "height": height, "pieces": self._number}

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
