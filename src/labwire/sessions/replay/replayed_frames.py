"""Recorded pictures in the format that a reader asks for."""

from __future__ import annotations

from typing import Any

import msgspec

from labwire.errors import LabwireError
from labwire.picture import decode_jpeg

JPEG = "jpeg"
_decoder = msgspec.msgpack.Decoder(dict[Any, Any])


class ReplayedFrames:
    """Converts messages of pictures.

    Attributes:
        format: ``jpeg`` passes every picture on as it was recorded; ``bgr`` and ``gray`` decode those that are JPEG.
    """

    def __init__(self) -> None:
        self.format: str = JPEG

    def converted(self, parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return a message of a picture in the wanted format; one that cannot be converted as it is."""
        if self.format == JPEG:
            return parts
        try:
            payload = _decoder.decode(parts[1])
            if payload.get("format") != JPEG:
                return parts
            pixels = decode_jpeg(parts[2], gray=self.format == "gray")
        except (msgspec.DecodeError, ValueError, LabwireError):
            return parts
        return parts[0], msgspec.msgpack.encode({**payload, "format": self.format}), pixels.tobytes()
