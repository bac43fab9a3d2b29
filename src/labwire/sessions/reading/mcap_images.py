"""Pictures as viewers of MCAP know them: the well-known schemas of Foxglove, in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from labwire.sessions.pictures.picture_message import BadPictureError, PictureMessage, read_picture
from labwire.sessions.reading.columns import to_json

_TIME = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}
_COMMON = {
    "timestamp": _TIME,
    "frame_id": {"type": "string"},
    "data": {"type": "string", "contentEncoding": "base64"},
}
_SIZES = {name: {"type": "integer", "minimum": 0} for name in ("width", "height", "step")}
_ENCODINGS = {"bgr": ("bgr8", 3), "rgb": ("rgb8", 3), "gray": ("mono8", 1), "yuv": ("yuyv", 2)}
"""Format on the bus -> encoding, bytes per pixel. Source: Foxglove's RawImage."""


class ImageKind(NamedTuple):
    """One of the two ways to show a picture."""

    suffix: str
    """Behind the topic of a camera: where its pictures are."""
    schema: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the schema."""
        return str(self.schema["title"])


COMPRESSED = ImageKind(
    "/image",
    {
        "title": "foxglove.CompressedImage",
        "type": "object",
        "properties": {**_COMMON, "format": {"type": "string"}},
    },
)
RAW = ImageKind(
    "/raw_image",
    {
        "title": "foxglove.RawImage",
        "type": "object",
        "properties": {**_COMMON, **_SIZES, "encoding": {"type": "string"}},
    },
)


class ShownImage(NamedTuple):
    """A picture for a viewer."""

    kind: ImageKind
    text: str
    """JSON."""


def image_of(parts: Sequence[bytes], jpeg: bytes | None, time_ns: int) -> ShownImage | None:
    """Return the picture of a message for a viewer; None if it has none that a viewer could show.

    Args:
        parts: The message as it stands in the log: a picture that stands in a video is not among them.
        jpeg: The picture in the video: a camera's own JPEG, or what was made of its raw pixels while recording.
        time_ns: When it was taken, nanoseconds since 1970.
    """
    if jpeg is not None:
        return _compressed(parts[0], jpeg, time_ns)
    try:
        picture = read_picture(parts, 0.0)
    except BadPictureError:
        return None
    if picture.format == "jpeg":
        return _compressed(parts[0], picture.data, time_ns)
    return _raw(picture, time_ns)


def _compressed(topic: bytes, jpeg: bytes, time_ns: int) -> ShownImage:
    return ShownImage(COMPRESSED, to_json({**_common(topic, jpeg, time_ns), "format": "jpeg"}))


def _raw(picture: PictureMessage, time_ns: int) -> ShownImage:
    encoding, pixel_bytes = _ENCODINGS[picture.format]
    data = _interleaved(picture) if picture.format == "yuv" else picture.data
    sizes = {"width": picture.width, "height": picture.height, "step": picture.width * pixel_bytes}
    return ShownImage(RAW, to_json({**_common(picture.topic, data, time_ns), **sizes, "encoding": encoding}))


def _common(topic: bytes, data: bytes, time_ns: int) -> dict[str, Any]:
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return {
        "timestamp": {"sec": seconds, "nsec": nanoseconds},
        "frame_id": topic.decode("utf-8", "backslashreplace"),
        "data": data,
    }


def _interleaved(picture: PictureMessage) -> bytes:
    """Return planar 4:2:2 as viewers want it: brightness, blue, brightness, red for two pixels side by side."""
    pixels = picture.width * picture.height
    pairs = bytearray(2 * pixels)
    pairs[0::2] = picture.data[:pixels]
    pairs[1::4] = picture.data[pixels : pixels + pixels // 2]
    pairs[3::4] = picture.data[pixels + pixels // 2 :]
    return bytes(pairs)
