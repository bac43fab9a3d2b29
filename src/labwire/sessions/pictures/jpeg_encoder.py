"""JPEG from the raw pictures of the bus, with PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from labwire.errors import needs_extra
from labwire.sessions.pictures.mp4_format import TIME_BASE_HZ
from labwire.sessions.pictures.picture_message import RAW_FORMATS, PictureMessage

_BEST_QUALITY = "2"  # smallest quantiser of the encoder: differences of about one grey level
_ENCODED_AS = {"bgr": "yuvj444p", "rgb": "yuvj444p", "gray": "yuvj420p", "yuv": "yuvj422p"}
"""No colour resolution is given up that the picture has."""


class JpegEncoder:
    """Encode pictures of one size and format.

    Raises:
        MissingExtraError: PyAV or NumPy is not installed.
    """

    def __init__(self, width: int, height: int, picture_format: str) -> None:
        with needs_extra("record"):
            import av
            import numpy as np
        self._av, self._np = av, np
        self._format = picture_format
        self._encoder: Any = av.CodecContext.create("mjpeg", "w")
        self._encoder.width, self._encoder.height = width, height
        self._encoder.pix_fmt = _ENCODED_AS[picture_format]
        self._encoder.time_base = Fraction(1, TIME_BASE_HZ)
        self._encoder.thread_count = 1  # more would hold pictures back
        self._encoder.options = {"qmin": _BEST_QUALITY, "qmax": _BEST_QUALITY}

    def encode(self, picture: PictureMessage) -> bytes:
        """Encode one picture."""
        pixel_format, _ = RAW_FORMATS[self._format]
        frame: Any = self._av.VideoFrame(picture.width, picture.height, pixel_format)
        at = 0
        for plane in frame.planes:
            row_bytes = plane.width * (3 if pixel_format.endswith("24") else 1)
            pixels = self._np.frombuffer(picture.data, "u1", plane.height * row_bytes, at)
            rows = self._np.frombuffer(plane, "u1").reshape(-1, plane.line_size)
            rows[: plane.height, :row_bytes] = pixels.reshape(plane.height, row_bytes)
            at += pixels.size
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame.reformat(format=self._encoder.pix_fmt)))
