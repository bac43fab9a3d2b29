"""A picture as it came over the bus: what a message must have to become a frame of a video.

Source: ipc-backbone as Pupil Core speaks it: the payload of a ``frame.`` message has width, height, timestamp and
format, and exactly one raw part follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from labwire.errors import LabwireError
from labwire.picture import check_jpeg

MAX_SIDE_PX = 0xFFFF  # what JPEG and MP4 can say

RAW_FORMATS: dict[str, tuple[str, int]] = {
    "bgr": ("bgr24", 3),
    "rgb": ("rgb24", 3),
    "gray": ("gray", 1),
    "yuv": ("yuvj422p", 2),
}
"""Format on the bus -> pixel format of the video library, bytes per pixel. ``yuv`` is planar 4:2:2 from a camera."""


class PictureMessage(NamedTuple):
    """A message with one picture that has all that a video needs."""

    topic: bytes
    width: int
    height: int
    timestamp: float
    """Rig time of the exposure, in seconds."""
    format: str
    """``jpeg`` or a key of `RAW_FORMATS`."""
    data: bytes
    monotonic_s: float
    """When it arrived."""


class BadPictureError(ValueError):
    """A message of a picture topic that no video can take; the text says why."""


class _PicturePayload(msgspec.Struct):
    width: int
    height: int
    timestamp: float
    format: str


_decoder = msgspec.msgpack.Decoder(_PicturePayload)


def read_picture(parts: Sequence[bytes], monotonic_s: float) -> PictureMessage:
    """Read the picture in a message.

    Args:
        parts: The message's parts.
        monotonic_s: When it arrived.

    Raises:
        BadPictureError: A key is missing, the raw part has the wrong length, or the JPEG is broken.
    """
    if len(parts) != 3:
        raise BadPictureError(f"a picture has one raw part, not {max(0, len(parts) - 2)}")
    try:
        payload = _decoder.decode(parts[1])
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadPictureError(f"payload does not describe a picture: {error}") from error
    if not math.isfinite(payload.timestamp):
        raise BadPictureError(f"timestamp is {payload.timestamp}")
    data, width, height = parts[2], payload.width, payload.height
    if payload.format == "jpeg":
        width, height = _jpeg_size(data)
    elif payload.format in RAW_FORMATS:
        _check_raw(payload, len(data))
    else:
        raise BadPictureError(f"format {payload.format[:20]!r} is none of jpeg, {', '.join(RAW_FORMATS)}")
    return PictureMessage(parts[0], width, height, payload.timestamp, payload.format, data, monotonic_s)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    try:
        return check_jpeg(data)
    except LabwireError as error:
        raise BadPictureError(error.message) from error


def _check_raw(payload: _PicturePayload, data_bytes: int) -> None:
    width, height = payload.width, payload.height
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise BadPictureError(f"{width} x {height} is no size of a picture")
    expected = width * height * RAW_FORMATS[payload.format][1]
    if data_bytes != expected or (payload.format == "yuv" and width % 2):
        raise BadPictureError(f"{payload.format} of {width} x {height} needs {expected} bytes, not {data_bytes}")
