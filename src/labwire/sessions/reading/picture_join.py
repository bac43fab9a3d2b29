"""Bring the pictures of a session, which stand in videos, back to the messages that announced them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import msgspec

from labwire.errors import needs_extra
from labwire.picture import decode_jpeg
from labwire.sessions.log.log_reader import LoggedMessage
from labwire.sessions.pictures.picture_message import RAW_FORMATS
from labwire.sessions.pictures.video_reader import RecordedPictures

_SEARCH = 2000  # pictures that may be missing in the log between two of the video
_EARLY_S = 2.0  # a picture is announced at most so long after it was taken, when reading begins in the middle


class _Announced(msgspec.Struct):
    timestamp: float
    format: str = "jpeg"
    width: int = 0
    height: int = 0


_decoder = msgspec.msgpack.Decoder(_Announced)


class PictureJoin:
    """Gives each message of a picture its raw part back.

    JPEG comes back byte for byte. A raw picture was encoded for the video: it comes back in its own format, with what
    JPEG has made of its pixels.

    Args:
        videos: The pictures of each topic.
    """

    def __init__(self, videos: Mapping[str, RecordedPictures]) -> None:
        self._videos = {topic.encode(): pictures for topic, pictures in videos.items()}
        self._next = dict.fromkeys(self._videos, 0)
        self.missing = 0
        """Pictures that were announced and are in no video."""

    def seek(self, arrival_s: float) -> None:
        """Begin with the messages that came at a moment, in seconds since the start of the session."""
        for topic, pictures in self._videos.items():
            self._next[topic] = pictures.number_at(arrival_s - _EARLY_S)

    def complete(self, message: LoggedMessage) -> LoggedMessage:
        """Return a message with its picture; all others as they are."""
        found = self._announced(message)
        if found is None:
            return message
        jpeg, picture_format = found
        return message._replace(parts=(*message.parts, _as_it_was(jpeg, picture_format)))

    def jpeg_of(self, message: LoggedMessage) -> bytes | None:
        """Return the picture of a message as the video has it; None if it stands in none."""
        found = self._announced(message)
        return found[0] if found is not None else None

    def _announced(self, message: LoggedMessage) -> tuple[bytes, str] | None:
        """Return the JPEG that a message announced, and the format in which the picture came."""
        parts = message.parts
        pictures = self._videos.get(parts[0])
        if pictures is None or len(parts) != 2 or not message.is_map:
            return None
        try:
            announced = _decoder.decode(parts[1])
        except (msgspec.DecodeError, ValueError):
            return None
        number = self._find(parts[0], pictures, announced.timestamp)
        if number is None:
            self.missing += 1
            return None
        return pictures.jpeg(number), announced.format

    def _find(self, topic: bytes, pictures: RecordedPictures, timestamp: float) -> int | None:
        start = self._next[topic]
        for number in range(start, min(len(pictures), start + _SEARCH)):
            if pictures.timestamps[number] == timestamp:
                self._next[topic] = number + 1
                return number
        return None


def _as_it_was(jpeg: bytes, picture_format: str) -> bytes:
    if picture_format not in RAW_FORMATS:
        return jpeg
    if picture_format == "gray":
        return decode_jpeg(jpeg, gray=True).tobytes()
    with needs_extra("camera"):
        cv2: Any = import_module("cv2")
    pixels = decode_jpeg(jpeg)
    if picture_format == "bgr":
        return pixels.tobytes()
    if picture_format == "rgb":
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).tobytes()
    return _planar_422(cv2, pixels)


def _planar_422(cv2: Any, pixels: Any) -> bytes:
    """Return planar 4:2:2: all brightness, then one blue and one red difference for two pixels side by side."""
    y, red, blue = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb))
    return y.tobytes() + b"".join((plane[:, ::2] // 2 + plane[:, 1::2] // 2).tobytes() for plane in (blue, red))
